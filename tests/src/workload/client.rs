//! A client that asks for files in a closed loop, and thinks between requests. It measures each request from the first byte it
//! writes to the last byte it receives, and lists what the kernel says of its packets.

use std::{
    fs::{self, File},
    io::{self, BufReader, Error},
    net::{SocketAddr, TcpStream},
    os::fd::FromRawFd as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{
    drop_pages, http,
    quantile::nearest_rank,
    stamped::{Stamped, Stamps},
};

/// After this long without a byte a request has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much a slow client reads at once, at most.
const SIP_BYTES: u64 = 16 * 1024;

/// How many bytes a client of this rate, bytes a second, reads at once. Larger sips would leave its window open for long: the
/// server would wait for the link, not for the client.
fn sip(rate: u64) -> usize {
    (rate / 20).clamp(1, SIP_BYTES) as usize
}

/// Whom to ask, for what, and for how long.
#[derive(clap::Args)]
pub struct Args {
    /// Address of the server
    #[arg(long)]
    pub address: SocketAddr,
    /// Directory of the files to ask for by name; the server serves the same
    #[arg(long)]
    pub files: PathBuf,
    /// Drop each file from the page cache before asking for it, so that the server must read the disk
    #[arg(long)]
    pub cold: bool,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Pause between an answer and the next request, in milliseconds
    #[arg(long, default_value_t = 10)]
    pub think_ms: u64,
    /// Read answers so slowly, in bytes per second, through a small receive window
    #[arg(long)]
    pub bytes_per_second: Option<u64>,
    /// How long to ask, in milliseconds
    #[arg(long, default_value_t = 4000)]
    pub for_ms: u64,
    /// Requests begun in the first so many milliseconds are not counted
    #[arg(long, default_value_t = 300)]
    pub warm_up_ms: u64,
}

/// The figures of one connection, or of all of them.
#[derive(Default)]
pub struct Seen {
    /// Length of each request that is counted, by the own clock, in nanoseconds.
    pub times_ns: Vec<u64>,
    /// All requests that were answered, by the kernel's stamps.
    pub stamps: Vec<Stamps>,
    /// Requests that failed.
    pub errors: u64,
    /// Bytes of all bodies received.
    pub bytes: u64,
}

impl Seen {
    /// Those of another connection, too.
    pub(super) fn join(&mut self, other: Self) {
        self.times_ns.extend(other.times_ns);
        self.stamps.extend(other.stamps);
        self.errors += other.errors;
        self.bytes += other.bytes;
    }

    /// The figures, as `demo-client/1`. Whoever knows a window finds the requests that fall into it among `requests`, each with its begin
    /// since 1970 and its length. `send_ns` is how long a send takes that nothing interrupts.
    pub fn summary(mut self) -> serde_json::Value {
        self.times_ns.sort_unstable();
        let times = &self.times_ns;
        let mut sends: Vec<u64> = self.stamps.iter().map(|stamps| stamps.send_ns).collect();
        sends.sort_unstable();
        let requests = self.stamps.iter();
        let requests: Vec<[u64; 2]> = requests.map(|one| [one.begin_ns, one.length_ns]).collect();
        let mean_ns = times.iter().sum::<u64>().checked_div(times.len() as u64);
        json!({
            "schema": "demo-client/1", "count": times.len(), "errors": self.errors, "bytes": self.bytes, "mean_ns": mean_ns,
            "p50_ns": nearest_rank(times, 0.5), "p99_ns": nearest_rank(times, 0.99), "max_ns": times.last(),
            "send_ns": nearest_rank(&sends, 0.1), "requests": requests,
        })
    }
}

/// Asks and measures until the time is over.
pub fn run(args: &Args) -> Result<Seen> {
    let names = names(args)?;
    let begin = Instant::now();
    let mut all = Seen::default();
    thread::scope(|scope| {
        let names = &names;
        let connections = (0..args.connections)
            .map(|k| scope.spawn(move || Connection::new(args, begin, k).ask(names)));
        for connection in connections.collect::<Vec<_>>() {
            let seen = connection
                .join()
                .expect("a connection's thread does not panic");
            all.join(seen);
        }
    });
    Ok(all)
}

/// The names of the files to ask for, in an order that is the same each time.
fn names(args: &Args) -> Result<Vec<String>> {
    let reading = || format!("could not list the files in {}", args.files.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&args.files).with_context(reading)? {
        names.push(
            entry
                .with_context(reading)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.sort_unstable();
    ensure!(
        names.len() >= args.connections,
        "{} needs a file for each connection",
        args.files.display()
    );
    Ok(names)
}

struct Connection<'a> {
    args: &'a Args,
    begin: Instant,
    number: usize,
    stream: Option<BufReader<Stamped>>,
    seen: Seen,
}

impl<'a> Connection<'a> {
    fn new(args: &'a Args, begin: Instant, number: usize) -> Self {
        Self {
            args,
            begin,
            number,
            stream: None,
            seen: Seen::default(),
        }
    }

    fn ask(mut self, names: &[String]) -> Seen {
        // Connection k asks for every file with a number that is k modulo the connections: none drops another's pages.
        let mine = names
            .iter()
            .skip(self.number)
            .step_by(self.args.connections)
            .cycle();
        let end = Duration::from_millis(self.args.for_ms);
        for (turn, name) in mine.enumerate() {
            thread::sleep(self.think(turn));
            let age = self.begin.elapsed();
            if age >= end {
                break;
            }
            self.ask_once(name, age >= Duration::from_millis(self.args.warm_up_ms));
        }
        self.seen
    }

    /// The pause before a request: between half and one and a half think times, the same in every run. So the connections do not
    /// march in step.
    fn think(&self, turn: usize) -> Duration {
        let step = (turn * 7 + self.number * 3) % 11;
        Duration::from_millis(self.args.think_ms).mul_f64(0.5 + step as f64 / 10.0)
    }

    fn ask_once(&mut self, name: &str, counted: bool) {
        if self.args.cold {
            // Where this fails the request fails too, and is counted as an error there.
            let _missing = File::open(self.args.files.join(name)).map(|file| drop_pages(&file));
        }
        match self.request(name) {
            Ok(answer) => {
                self.seen.stamps.push(answer.stamps);
                if counted {
                    let time = answer.time.as_nanos();
                    let time_ns = u64::try_from(time).unwrap_or(u64::MAX);
                    self.seen.times_ns.push(time_ns);
                    self.seen.bytes += answer.bytes;
                }
            }
            Err(_) => {
                self.stream = None;
                self.seen.errors += 1;
            }
        }
    }

    fn request(&mut self, name: &str) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.args)?,
        };
        let request = format!(
            "GET /{name} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: gzip\r\n\r\n",
            self.args.address
        );
        let begin = Instant::now();
        stream.get_mut().ask(request.as_bytes())?;
        let head = http::Head::read(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let bytes = match self.args.bytes_per_second {
            None => http::skip_body(&head, &mut stream)?,
            Some(rate) => http::skip_body(
                &head,
                &mut BufReader::with_capacity(
                    sip(rate),
                    Slow {
                        from: &mut stream,
                        rate,
                    },
                ),
            )?,
        };
        let time = begin.elapsed();
        let stamps = stream.get_mut().answered();
        if head.status() != Some(200) {
            return Err(Error::other(format!("the server answers {}", head.first)));
        }
        if head.field("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(Answer {
            bytes,
            time,
            stamps,
        })
    }
}

/// An answer.
struct Answer {
    /// Bytes of its body.
    bytes: u64,
    /// How long it took, by the own clock.
    time: Duration,
    /// The same by the kernel's stamps.
    stamps: Stamps,
}

/// Reads a little, then waits until so many bytes may have been read.
struct Slow<'a> {
    from: &'a mut BufReader<Stamped>,
    rate: u64,
}

impl io::Read for Slow<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        thread::sleep(Duration::from_secs_f64(read as f64 / self.rate as f64));
        Ok(read)
    }
}

fn connect(args: &Args) -> io::Result<BufReader<Stamped>> {
    let stream = if args.bytes_per_second.is_some() {
        connect_narrow(args.address)?
    } else {
        TcpStream::connect_timeout(&args.address, PATIENCE)?
    };
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let buffer_bytes = args.bytes_per_second.map_or(64 * 1024, sip);
    Ok(BufReader::with_capacity(
        buffer_bytes,
        Stamped::new(stream)?,
    ))
}

/// A connection with a receive window that stays small: the size must be set before it is announced.
fn connect_narrow(address: SocketAddr) -> io::Result<TcpStream> {
    let SocketAddr::V4(address) = address else {
        return Err(Error::other("a slow client speaks IPv4"));
    };
    // SAFETY: the call touches no memory.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    let stream = unsafe { TcpStream::from_raw_fd(fd) };
    let size: libc::c_int = 16 * 1024;
    let name = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(*address.ip()).to_be(),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: both pointers are to values that outlive the calls, with their sizes.
    let result = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        )
        .min(libc::connect(
            fd,
            (&raw const name).cast(),
            size_of_val(&name) as libc::socklen_t,
        ))
    };
    if result < 0 {
        return Err(Error::last_os_error());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::server;

    #[test]
    fn the_client_measures_what_the_server_serves() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(dir.path().join(name), "x".repeat(1000)).unwrap();
        }
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let serving = server::Args {
            listen: free,
            root: dir.path().to_owned(),
            threads: None,
            gzip: false,
        };
        thread::spawn(move || server::run(serving));
        let files = dir.path().to_owned();
        let args = Args {
            address: free,
            files,
            cold: true,
            connections: 2,
            think_ms: 1,
            bytes_per_second: None,
            for_ms: 300,
            warm_up_ms: 100,
        };
        let seen = run(&args).unwrap();
        assert!(
            seen.times_ns.len() > 20,
            "only {} requests",
            seen.times_ns.len()
        );
        assert_eq!(seen.bytes, 1000 * seen.times_ns.len() as u64);
        // Those of the first moments are not counted, but they are listed.
        assert!(seen.stamps.len() > seen.times_ns.len());
        let summary = seen.summary();
        assert!(summary["p50_ns"].as_u64() <= summary["p99_ns"].as_u64());
        assert!(summary["mean_ns"].as_u64().is_some());
        assert!(summary["mean_ns"].as_u64() <= summary["max_ns"].as_u64());
    }
}
