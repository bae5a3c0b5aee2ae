//! A web server of one thread over a ring of `io_uring`: each answer is a block of one file, read past the page cache by the same ring.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use tracer_tests::workload::{
    limit_lifetime,
    ring::{Completion, Entry, Ring},
};

/// Bytes of an answer.
const BLOCK: usize = 4096;
/// Bytes taken of a client at once.
const CHUNK: usize = 2048;
/// Chunks from which the ring chooses.
const CHUNKS: usize = 64;

/// Serves blocks of a file over HTTP.
#[derive(Parser)]
struct Cli {
    /// Address to listen on
    #[arg(long)]
    listen: SocketAddr,
    /// File to serve blocks of, in no order
    #[arg(long)]
    file: PathBuf,
    /// Have a thread of the kernel take from the ring: it receives, reads and sends
    #[arg(long)]
    sqpoll: bool,
    /// Accept and receive again and again by one entry each, into buffers that the ring chooses
    #[arg(long)]
    multishot: bool,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

/// What an entry was for.
#[derive(Clone, Copy, PartialEq)]
enum Work {
    Accept,
    Receive,
    Read,
    Send,
    Provide,
}

impl Work {
    const ALL: [Self; 5] = [
        Self::Accept,
        Self::Receive,
        Self::Read,
        Self::Send,
        Self::Provide,
    ];

    /// The number of its entry on this connection.
    fn number(self, fd: i32) -> u64 {
        (self as u64) << 32 | u64::from(fd as u32)
    }

    fn of(number: u64) -> (Self, i32) {
        (Self::ALL[(number >> 32) as usize], number as u32 as i32)
    }
}

/// Memory that a disk can write to by itself.
#[repr(align(4096))]
struct Block([u8; BLOCK]);

/// A client.
struct Connection {
    _stream: TcpStream,
    /// Where it is received, if the ring does not choose.
    chunk: Box<[u8; CHUNK]>,
    heard: Vec<u8>,
    block: Box<Block>,
    answer: Vec<u8>,
    sent: usize,
    /// Is a read or a send under way, which uses its memory?
    busy: bool,
    gone: bool,
}

struct Server {
    ring: Ring,
    listener: TcpListener,
    file: File,
    blocks: u64,
    /// The last block, in a row of numbers that repeats late.
    last: u64,
    multishot: bool,
    chunks: Vec<u8>,
    connections: HashMap<i32, Connection>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    let listener = TcpListener::bind(cli.listen);
    let listener = listener.with_context(|| format!("could not listen on {}", cli.listen))?;
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(&cli.file);
    let file = file.with_context(|| format!("could not open {}", cli.file.display()))?;
    let blocks = file.metadata()?.len() / BLOCK as u64;
    anyhow::ensure!(blocks > 0, "{} has no block", cli.file.display());
    let mut server = Server {
        ring: Ring::new(cli.sqpoll).context("the kernel gives no ring")?,
        listener,
        file,
        blocks,
        last: 1,
        multishot: cli.multishot,
        chunks: vec![0; CHUNKS * CHUNK],
        connections: HashMap::new(),
    };
    server.run()
}

impl Server {
    fn run(&mut self) -> Result<()> {
        if self.multishot {
            self.provide(0, CHUNKS)?;
        }
        self.accept()?;
        loop {
            while let Some(done) = self.ring.pop() {
                self.done(done)?;
            }
            self.ring.enter(1)?;
        }
    }

    fn put(&mut self, entry: Entry, work: Work, fd: i32) -> io::Result<()> {
        // SAFETY: chunks live as long as the ring. A connection lives as long as anything is under way that uses its memory; its blocks
        // and chunks do not move with it, and its answer is not touched until it is sent.
        unsafe { self.ring.push(entry.with(work.number(fd))) }
    }

    fn accept(&mut self) -> io::Result<()> {
        let listener = self.listener.as_raw_fd();
        self.put(
            Entry::accept(listener, self.multishot),
            Work::Accept,
            listener,
        )
    }

    /// Gives the ring so many chunks to choose from.
    fn provide(&mut self, first: u16, count: usize) -> io::Result<()> {
        let at = usize::from(first) * CHUNK;
        let chunks = &mut self.chunks[at..at + count * CHUNK];
        let entry = Entry::provide(chunks, CHUNK, first);
        self.put(entry, Work::Provide, 0)
    }

    fn hear(&mut self, fd: i32) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        let entry = match self.multishot {
            true => Entry::receive_all(fd),
            false => Entry::receive(fd, &mut connection.chunk[..]),
        };
        self.put(entry, Work::Receive, fd)
    }

    fn done(&mut self, done: Completion) -> Result<()> {
        let (work, fd) = Work::of(done.user_data);
        match work {
            Work::Accept => self.accepted(done)?,
            Work::Receive => self.received(fd, done)?,
            Work::Read => self.read(fd, done.result)?,
            Work::Send => self.sent(fd, done.result)?,
            Work::Provide if done.result < 0 => bail!("the ring takes no buffers: {}", done.result),
            Work::Provide => {}
        }
        Ok(())
    }

    fn accepted(&mut self, done: Completion) -> Result<()> {
        if !done.has_more() {
            self.accept()?;
        }
        if done.result < 0 {
            bail!(
                "could not accept: {}",
                io::Error::from_raw_os_error(-done.result)
            );
        }
        // SAFETY: the kernel has just opened it for us.
        let stream = unsafe { TcpStream::from_raw_fd(done.result) };
        stream.set_nodelay(true)?;
        let connection = Connection {
            _stream: stream,
            chunk: Box::new([0; CHUNK]),
            heard: Vec::new(),
            block: Box::new(Block([0; BLOCK])),
            answer: Vec::new(),
            sent: 0,
            busy: false,
            gone: false,
        };
        self.connections.insert(done.result, connection);
        Ok(self.hear(done.result)?)
    }

    fn received(&mut self, fd: i32, done: Completion) -> Result<()> {
        let count = usize::try_from(done.result).unwrap_or(0);
        if let Some(connection) = self.connections.get_mut(&fd) {
            let from = match done.buffer() {
                Some(number) => &self.chunks[usize::from(number) * CHUNK..],
                None => &connection.chunk[..],
            };
            connection.heard.extend_from_slice(&from[..count]);
            let has_ended = count == 0 && done.result != -libc::ENOBUFS;
            connection.gone |= has_ended;
        }
        if let Some(number) = done.buffer() {
            self.provide(number, 1)?;
        }
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        if connection.gone {
            self.leave(fd);
            return Ok(());
        }
        let is_whole = take_head(&mut connection.heard);
        // Without more chunks, the ring hears nothing more by the same entry.
        if !done.has_more() && (self.multishot || !is_whole) {
            self.hear(fd)?;
        }
        if is_whole {
            self.begin_read(fd)?;
        }
        Ok(())
    }

    fn begin_read(&mut self, fd: i32) -> io::Result<()> {
        // Constants of Knuth's MMIX.
        self.last = self.last.wrapping_mul(6_364_136_223_846_793_005);
        self.last = self.last.wrapping_add(1_442_695_040_888_963_407);
        let offset = (self.last >> 33) % self.blocks * BLOCK as u64;
        let file = self.file.as_raw_fd();
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        connection.busy = true;
        let entry = Entry::read(file, offset, &mut connection.block.0);
        self.put(entry, Work::Read, fd)
    }

    fn read(&mut self, fd: i32, result: i32) -> Result<()> {
        let count = usize::try_from(result);
        let count = count.map_err(|_| io::Error::from_raw_os_error(-result))?;
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {count}\r\n\r\n");
        connection.answer.clear();
        connection.answer.extend_from_slice(head.as_bytes());
        connection
            .answer
            .extend_from_slice(&connection.block.0[..count]);
        connection.sent = 0;
        Ok(self.begin_send(fd)?)
    }

    fn begin_send(&mut self, fd: i32) -> io::Result<()> {
        let Some(connection) = self.connections.get(&fd) else {
            return Ok(());
        };
        let entry = Entry::send(fd, &connection.answer[connection.sent..]);
        self.put(entry, Work::Send, fd)
    }

    fn sent(&mut self, fd: i32, result: i32) -> Result<()> {
        let Some(connection) = self.connections.get_mut(&fd) else {
            return Ok(());
        };
        // A client that goes away is its own business, not an error of ours.
        let count = usize::try_from(result).unwrap_or(0);
        connection.gone |= count == 0;
        connection.sent += count;
        if !connection.gone && connection.sent < connection.answer.len() {
            return Ok(self.begin_send(fd)?);
        }
        connection.busy = false;
        if connection.gone {
            self.leave(fd);
        } else if !self.multishot {
            self.hear(fd)?;
        }
        Ok(())
    }

    /// Forgets a client that has left, once nothing is under way for it.
    fn leave(&mut self, fd: i32) {
        if self
            .connections
            .get(&fd)
            .is_some_and(|connection| !connection.busy)
        {
            self.connections.remove(&fd);
        }
    }
}

/// Takes a request out, if it is whole.
fn take_head(heard: &mut Vec<u8>) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    let at = heard.windows(END.len()).position(|four| four == END);
    if let Some(at) = at {
        heard.drain(..at + END.len());
    }
    at.is_some()
}
