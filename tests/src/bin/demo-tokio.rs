//! A web server of tokio's: tasks on a few threads, and files that a pool of other threads reads (`spawn_blocking`).

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use flate2::{Compression, write::GzEncoder};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    task,
};
use tracer_tests::workload::{http::Head, limit_lifetime, server};

/// Serves a directory's files over HTTP.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    server: server::Args,
    /// End after so many seconds
    #[arg(long, default_value_t = 300)]
    lifetime: u32,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    limit_lifetime(cli.lifetime);
    let mut runtime = Builder::new_multi_thread();
    if let Some(threads) = cli.server.threads {
        runtime.worker_threads(threads);
    }
    let runtime = runtime.enable_io().build();
    let runtime = runtime.context("could not start the threads of the runtime")?;
    runtime.block_on(serve(cli.server))
}

async fn serve(args: server::Args) -> Result<()> {
    let listener = TcpListener::bind(args.listen).await;
    let listener = listener.with_context(|| format!("could not listen on {}", args.listen))?;
    let args = Arc::new(args);
    loop {
        let accepted = listener.accept().await;
        let (connection, _) = accepted.context("could not accept a connection")?;
        let args = Arc::clone(&args);
        task::spawn(async move {
            // A client that goes away is its own business, not an error of ours.
            let _gone = converse(&connection, &args).await;
        });
    }
}

async fn converse(connection: &TcpStream, args: &Arc<server::Args>) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut heard = Vec::new();
    while let Some(request) = next(connection, &mut heard).await? {
        let args = Arc::clone(args);
        let answering = task::spawn_blocking(move || answer(&request, &args));
        let answer = answering.await.map_err(io::Error::other)??;
        send(connection, &answer).await?;
    }
    Ok(())
}

/// The next request, once its head is whole; `None` where the client has left.
async fn next(connection: &TcpStream, heard: &mut Vec<u8>) -> io::Result<Option<Head>> {
    const END: &[u8] = b"\r\n\r\n";
    loop {
        if let Some(at) = heard.windows(END.len()).position(|four| four == END) {
            let head: Vec<u8> = heard.drain(..at + END.len()).collect();
            return Head::read(&mut head.as_slice());
        }
        connection.readable().await?;
        let mut chunk = [0; 4096];
        match connection.try_read(&mut chunk) {
            Ok(0) => return Ok(None),
            Ok(read) => heard.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(connection: &TcpStream, mut answer: &[u8]) -> io::Result<()> {
    while !answer.is_empty() {
        connection.writable().await?;
        match connection.try_write(answer) {
            Ok(written) => answer = &answer[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Head and body of the answer. It waits for the disk, and so must not run on the runtime's own threads.
fn answer(request: &Head, args: &server::Args) -> io::Result<Vec<u8>> {
    let Some(mut file) = server::open(&args.root, request) else {
        return Ok(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    };
    let mut body = Vec::new();
    file.read_to_end(&mut body)?;
    let mut encoding = "";
    if args.gzip {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body)?;
        body = packed.finish()?;
        encoding = "Content-Encoding: gzip\r\n";
    }
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\n{encoding}Content-Length: {length}\r\n\r\n");
    Ok([head.as_bytes(), &body].concat())
}
