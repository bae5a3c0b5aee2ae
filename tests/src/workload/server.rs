//! A small web server for files: plain or compressed, a thread for each connection or a fixed pool of them.

use std::{
    fs::File,
    io::{self, BufReader, Read as _, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Component, Path, PathBuf},
    sync::Arc,
    thread,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, write::GzEncoder};

use super::http::Head;

/// How much of a file is read and sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// The files to serve, and how.
#[derive(clap::Args)]
pub struct Args {
    /// Address to listen on
    #[arg(long)]
    pub listen: SocketAddr,
    /// Directory of the files to serve
    #[arg(long)]
    pub root: PathBuf,
    /// Serve connections with so many threads instead of one thread for each
    #[arg(long)]
    pub threads: Option<usize>,
    /// Compress each answer: work for the CPU
    #[arg(long)]
    pub gzip: bool,
}

/// Serves until the process is ended.
pub fn run(args: Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen)
        .with_context(|| format!("could not listen on {}", args.listen))?;
    let args = Arc::new(args);
    let listener = Arc::new(listener);
    // The pool's threads accept for themselves, so that a waiting connection is taken by whoever is free.
    for _ in 1..args.threads.unwrap_or(1) {
        let (args, listener) = (Arc::clone(&args), Arc::clone(&listener));
        thread::spawn(move || accept(&listener, &args));
    }
    accept(&listener, &args)
}

fn accept(listener: &TcpListener, args: &Arc<Args>) -> Result<()> {
    loop {
        let (connection, _) = listener.accept().context("could not accept a connection")?;
        if args.threads.is_some() {
            converse(&connection, args);
            continue;
        }
        let args = Arc::clone(args);
        thread::spawn(move || converse(&connection, &args));
    }
}

/// Answers the requests of one connection. A client that goes away is its own business, not an error of ours.
fn converse(connection: &TcpStream, args: &Args) {
    let _gone = answer_all(connection, args);
}

fn answer_all(connection: &TcpStream, args: &Args) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection);
    while let Some(request) = Head::read(&mut requests)? {
        match open(&args.root, &request) {
            Some(file) if args.gzip => send_compressed(file, connection)?,
            Some(file) => send(file, connection)?,
            None => {
                (&*connection).write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            }
        }
    }
    Ok(())
}

/// The file that a request asks for, if it is a file below the root.
pub fn open(root: &Path, request: &Head) -> Option<File> {
    let path = Path::new(request.path()?.trim_start_matches('/'));
    if path
        .components()
        .any(|part| !matches!(part, Component::Normal(_)))
    {
        return None;
    }
    let file = File::open(root.join(path)).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

fn send(mut file: File, mut to: impl Write) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut chunk = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    let head_bytes = chunk.len();
    chunk.resize(head_bytes + CHUNK_BYTES, 0);
    // The head travels with the first chunk: one send for a small file, as servers do it.
    let mut from = head_bytes;
    loop {
        let read = file.read(&mut chunk[from..])?;
        to.write_all(&chunk[..from + read])?;
        if read == 0 {
            return Ok(());
        }
        from = 0;
    }
}

fn send_compressed(mut file: File, mut to: impl Write) -> io::Result<()> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    io::copy(&mut file, &mut packed)?;
    let packed = packed.finish()?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        packed.len()
    );
    to.write_all(&[head.as_bytes(), &packed].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str) -> Head {
        Head::read(&mut format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn files_outside_the_root_are_not_served() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "x").unwrap();
        assert!(open(root.path(), &asked("/a")).is_some());
        for path in ["/../a", "/", "/b", "/a/../a"] {
            assert!(open(root.path(), &asked(path)).is_none(), "{path}");
        }
    }

    #[test]
    fn a_file_is_sent_whole_after_its_head() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let content = vec![7; CHUNK_BYTES + 13];
        std::fs::write(&path, &content).unwrap();
        let mut sent = Vec::new();
        send(File::open(path).unwrap(), &mut sent).unwrap();
        let body = sent
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap()
            + 4;
        assert!(sent.starts_with(b"HTTP/1.1 200 OK\r\nContent-Length: 65549\r\n"));
        assert_eq!(&sent[body..], content);
    }
}
