//! A client of databases: it asks one kind of question in a closed loop, and thinks between questions. It measures each from the
//! first byte it writes to the last byte of the answer. It speaks as much of PostgreSQL's, MySQL's and redis' protocols as that needs.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Error, ErrorKind, Read as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{client::Seen, drop_pages, stamped::Stamped};

/// How long a server may take until it answers at all.
const STARTED: Duration = Duration::from_secs(20);
/// The collation of what is asked: `utf8_general_ci`.
const UTF8: u8 = 33;
/// Smaller files are the database's own and not what it is asked for.
const LARGE_BYTES: u64 = 1 << 20;

/// Whom to ask, what, and for how long.
#[derive(clap::Args)]
pub struct Args {
    /// The language of the server
    #[arg(long)]
    pub protocol: Protocol,
    /// Address of the server
    #[arg(long)]
    pub address: SocketAddr,
    /// The question; each `{n}` becomes another number
    #[arg(long)]
    pub ask: String,
    /// Numbers are below this one
    #[arg(long, default_value_t = 1000)]
    pub numbers: u64,
    /// Before each question, drop the large files below this directory from the page cache
    #[arg(long)]
    pub cold: Option<PathBuf>,
    /// Connections, each with one question at a time
    #[arg(long, default_value_t = 4)]
    pub connections: u64,
    /// Pause between an answer and the next question, in milliseconds
    #[arg(long, default_value_t = 10)]
    pub think_ms: u64,
    /// How long to ask, in milliseconds
    #[arg(long, default_value_t = 4000)]
    pub for_ms: u64,
    /// Questions asked in the first so many milliseconds are not counted
    #[arg(long, default_value_t = 300)]
    pub warm_up_ms: u64,
    /// After so many seconds without a byte a question has failed
    #[arg(long, default_value_t = 20)]
    pub patience_s: u64,
}

/// The protocol that the server understands.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
pub enum Protocol {
    /// PostgreSQL's version 3, simple queries, user and database `postgres` without a password.
    Postgres,
    /// MySQL's text protocol, user `root` without a password and database `lab`.
    Mysql,
    /// Redis' inline commands.
    Redis,
}

/// Asks and measures until the time is over.
pub fn run(args: &Args) -> Result<Seen> {
    let cold = match &args.cold {
        Some(dir) => large_files(dir)?,
        None => Vec::new(),
    };
    let begin = Instant::now();
    let mut all = Seen::default();
    thread::scope(|scope| {
        let cold = &cold;
        let connections =
            (0..args.connections).map(|k| scope.spawn(move || ask(args, begin, k, cold)));
        for connection in connections.collect::<Vec<_>>() {
            let seen = connection
                .join()
                .expect("a connection's thread does not panic")?;
            all.join(seen);
        }
        anyhow::Ok(())
    })?;
    Ok(all)
}

fn ask(args: &Args, begin: Instant, number: u64, cold: &[File]) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut session = Session::open_in_time(args)?;
    let end = Duration::from_millis(args.for_ms);
    let mut numbers = Numbers(number);
    for turn in 0.. {
        // Between half of the think time and one and a half, so that connections do not march in step.
        let step = (turn * 7 + number * 3) % 11;
        thread::sleep(Duration::from_millis(args.think_ms).mul_f64(0.5 + step as f64 / 10.0));
        let age = begin.elapsed();
        if age >= end {
            break;
        }
        cold.iter().for_each(drop_pages);
        let question = numbers.fill_in(&args.ask, args.numbers);
        let asked = Instant::now();
        let bytes = session
            .ask(&question)
            .with_context(|| format!("no answer to {question:?}"))?;
        let time = asked.elapsed().as_nanos();
        seen.stamps.push(session.stream.get_mut().answered());
        if age >= Duration::from_millis(args.warm_up_ms) {
            seen.times_ns.push(u64::try_from(time).unwrap_or(u64::MAX));
            seen.bytes += bytes;
        }
    }
    Ok(seen)
}

/// Numbers that look random, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn fill_in(&mut self, question: &str, below: u64) -> String {
        let mut parts = question.split("{n}");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text += &format!("{}{part}", self.next() % below.max(1));
        }
        text
    }

    /// Knuth's MMIX generator; its high bits are good enough.
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn large_files(dir: &Path) -> Result<Vec<File>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let listing = || format!("could not list {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(listing)? {
            let path = entry.with_context(listing)?.path();
            // A database removes files of its own whenever it likes.
            let Ok(meta) = fs::symlink_metadata(&path) else {
                continue;
            };
            if meta.is_dir() {
                open.push(path);
            } else if meta.is_file() && meta.len() >= LARGE_BYTES {
                found.extend(File::open(&path));
            }
        }
    }
    if found.is_empty() {
        bail!("there are no large files below {}", dir.display());
    }
    Ok(found)
}

/// A connection, ready for a question.
struct Session {
    protocol: Protocol,
    stream: BufReader<Stamped>,
}

impl Session {
    /// A database listens before it answers: after a crash it repairs itself first.
    fn open_in_time(args: &Args) -> Result<Self> {
        let begin = Instant::now();
        loop {
            match Self::open(args) {
                Err(_) if begin.elapsed() < STARTED => thread::sleep(Duration::from_millis(20)),
                opened => {
                    return opened
                        .with_context(|| format!("could not open a session at {}", args.address));
                }
            }
        }
    }

    fn open(args: &Args) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&args.address, STARTED)?;
        let patience = Some(Duration::from_secs(args.patience_s));
        stream.set_nodelay(true)?;
        stream.set_read_timeout(patience)?;
        stream.set_write_timeout(patience)?;
        let mut session = Self {
            protocol: args.protocol,
            stream: BufReader::with_capacity(64 << 10, Stamped::new(stream)?),
        };
        match args.protocol {
            Protocol::Postgres => {
                let parameters = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
                session.send(None, parameters)?;
                session.until_ready()?;
            }
            Protocol::Mysql => session.log_in()?,
            // It answers nothing else while it loads its data.
            Protocol::Redis => {
                session.ask("PING")?;
            }
        }
        Ok(session)
    }

    /// Asks, and reads the whole answer; returns its length in bytes.
    fn ask(&mut self, question: &str) -> io::Result<u64> {
        match self.protocol {
            Protocol::Postgres => {
                let text = [question.as_bytes(), b"\0"].concat();
                self.send(Some(b'Q'), &text)?;
                self.until_ready()
            }
            Protocol::Mysql => {
                const QUERY: &[u8] = &[3];
                self.packet(0, &[QUERY, question.as_bytes()].concat())?;
                self.result()
            }
            Protocol::Redis => {
                let text = format!("{question}\r\n");
                self.stream.get_mut().ask(text.as_bytes())?;
                self.reply()
            }
        }
    }

    /// A message of PostgreSQL's: its kind, except at the very beginning, then its length in bytes, which counts itself.
    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len() + 4).map_err(Error::other)?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend(length.to_be_bytes());
        message.extend(body);
        self.stream.get_mut().ask(&message)
    }

    fn until_ready(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let [kind, length @ ..] = head;
            let length = u64::from(u32::from_be_bytes(length)).saturating_sub(4);
            let body = self.take(length)?;
            bytes += length + 5;
            match kind {
                b'Z' => return Ok(bytes),
                b'E' => return Err(Error::other(String::from_utf8_lossy(&body).into_owned())),
                _ => {}
            }
        }
    }

    /// Answers the greeting of a MySQL server.
    fn log_in(&mut self) -> io::Result<()> {
        /// Long passwords, a database to begin with, version 4.1, transactions, authentication by a plugin.
        const ABLE: u32 = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
        /// The longest packet that we would take, bytes.
        const LONGEST: u32 = 1 << 24;
        self.next_packet()?;
        let mut answer = [ABLE.to_le_bytes(), LONGEST.to_le_bytes()].concat();
        answer.push(UTF8);
        answer.resize(answer.len() + 23, 0);
        // An empty password has no bytes.
        answer.extend(b"root\0\0lab\0mysql_native_password\0");
        self.packet(1, &answer)?;
        let (number, said) = self.next_packet()?;
        if said.first() == Some(&0xfe) {
            // It asks by another plugin, to which nothing is the right answer too.
            self.packet(number.wrapping_add(1), &[])?;
            return self.next_packet().and_then(|(_, said)| refused(&said));
        }
        refused(&said)
    }

    /// A packet of MySQL's: its length in bytes, its number in the conversation.
    fn packet(&mut self, number: u8, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(Error::other)?;
        let mut packet = length.to_le_bytes();
        packet[3] = number;
        self.stream.get_mut().ask(&[&packet[..], body].concat())
    }

    fn next_packet(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let [a, b, c, number] = head;
        let body = self.take(u64::from(u32::from_le_bytes([a, b, c, 0])))?;
        Ok((number, body))
    }

    /// What MySQL answers to a statement: a word, or columns and rows, each list with an end.
    fn result(&mut self) -> io::Result<u64> {
        const LISTS: usize = 2;
        let (_, first) = self.next_packet()?;
        refused(&first)?;
        let mut bytes = first.len() as u64 + 4;
        let mut ended = if first.first() == Some(&0) { LISTS } else { 0 };
        while ended < LISTS {
            let (_, part) = self.next_packet()?;
            refused(&part)?;
            bytes += part.len() as u64 + 4;
            // A row that begins so is longer.
            ended += usize::from(part.first() == Some(&0xfe) && part.len() < 9);
        }
        Ok(bytes)
    }

    /// One reply of redis', with all that it consists of.
    fn reply(&mut self) -> io::Result<u64> {
        let mut bytes = 0;
        let mut missing = 1;
        while missing > 0 {
            missing -= 1;
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            bytes += line.len() as u64;
            let text = line.trim_end();
            let number = || text[1..].parse::<i64>().map_err(Error::other);
            match text.as_bytes().first() {
                Some(b'+' | b':') => {}
                // An absent value has the length -1.
                Some(b'$') => {
                    if let Ok(length) = u64::try_from(number()?) {
                        bytes += self.take(length + 2)?.len() as u64;
                    }
                }
                Some(b'*') => missing += number()?.max(0),
                Some(b'-') => return Err(Error::other(text.to_owned())),
                _ => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
        Ok(bytes)
    }

    fn take(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let read = (&mut self.stream).take(length).read_to_end(&mut body)?;
        if (read as u64) < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(body)
    }
}

/// The error in a packet of MySQL's, if it is one.
fn refused(packet: &[u8]) -> io::Result<()> {
    match packet {
        [0xff, why @ ..] => Err(Error::other(String::from_utf8_lossy(why).into_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    /// A server that says this to whatever it hears first.
    fn answered(protocol: Protocol, says: &'static [u8]) -> io::Result<u64> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serving = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 512];
            assert!(stream.read(&mut heard).unwrap() > 0);
            stream.write_all(says).unwrap();
        });
        let stream = TcpStream::connect(address).unwrap();
        let stream = BufReader::new(Stamped::new(stream).unwrap());
        let answer = Session { protocol, stream }.ask("x");
        serving.join().unwrap();
        answer
    }

    #[test]
    fn an_answer_of_redis_ends_with_its_last_part() {
        let says = b"*3\r\n$3\r\nabc\r\n:7\r\n$-1\r\n";
        assert_eq!(answered(Protocol::Redis, says).unwrap(), says.len() as u64);
        assert!(answered(Protocol::Redis, b"-ERR no\r\n").is_err());
        assert!(answered(Protocol::Redis, b"$9\r\nabc").is_err());
    }

    #[test]
    fn an_answer_of_postgresql_ends_when_it_is_ready() {
        let says = b"D\0\0\0\x06abZ\0\0\0\x05I";
        assert_eq!(
            answered(Protocol::Postgres, says).unwrap(),
            says.len() as u64
        );
        assert!(answered(Protocol::Postgres, b"E\0\0\0\x06no").is_err());
    }

    #[test]
    fn an_answer_of_mysql_ends_with_a_word_or_with_its_last_row() {
        let word = b"\x07\0\0\x01\0\x01\0\x02\0\0\0";
        assert_eq!(answered(Protocol::Mysql, word).unwrap(), word.len() as u64);
        // One column, its definition, the end of these, a row, the end of all.
        let rows =
            b"\x01\0\0\x01\x01\x02\0\0\x02ab\x05\0\0\x03\xfe\0\0\0\0\x02\0\0\x04\x015\x05\0\0\x05\xfe\0\0\0\0";
        assert_eq!(answered(Protocol::Mysql, rows).unwrap(), rows.len() as u64);
        assert!(answered(Protocol::Mysql, b"\x03\0\0\x01\xff\x01\0").is_err());
    }

    #[test]
    fn each_number_is_another() {
        let mut numbers = Numbers(1);
        let text = numbers.fill_in("a {n} b {n}", 1000);
        let both: Vec<_> = text
            .split(' ')
            .filter_map(|word| word.parse::<u64>().ok())
            .collect();
        assert_eq!(both.len(), 2);
        assert_ne!(both[0], both[1]);
    }
}
