//! A web server that has others do its work: it passes requests on, and passes the answers back.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use anyhow::{Result, ensure};
use clap::Parser as _;
use tracer_tests::workload::limit_lifetime;

/// Passes requests on to another server.
#[derive(clap::Parser)]
struct Args {
    /// Address to listen on
    #[arg(long)]
    listen: String,
    /// Address of the server that does the work
    #[arg(long)]
    to: String,
    /// Ends after so many seconds, whatever happens
    #[arg(long, default_value_t = 120)]
    limit: u32,
}

fn main() -> Result<()> {
    let args = Args::parse();
    limit_lifetime(args.limit);
    let listener = TcpListener::bind(&args.listen)?;
    for client in listener.incoming() {
        let (client, server) = (client?, TcpStream::connect(&args.to)?);
        thread::spawn(move || relay(client, server));
    }
    Ok(())
}

/// One request at a time: each is one read, and its answer has its length in its head.
fn relay(mut client: TcpStream, mut server: TcpStream) -> Result<()> {
    let mut chunk = [0; 65_536];
    loop {
        let n = client.read(&mut chunk)?;
        if n == 0 {
            return Ok(());
        }
        server.write_all(&chunk[..n])?;
        let answer = answer(&mut server)?;
        client.write_all(&answer)?;
    }
}

/// Reads one answer.
fn answer(server: &mut TcpStream) -> Result<Vec<u8>> {
    let (mut answer, mut chunk) = (Vec::new(), [0; 65_536]);
    loop {
        let n = server.read(&mut chunk)?;
        ensure!(n > 0, "the server hung up");
        answer.extend_from_slice(&chunk[..n]);
        if let Some(length) = length(&answer)
            && answer.len() >= length
        {
            return Ok(answer);
        }
    }
}

/// Bytes of an answer, once its head is there.
fn length(answer: &[u8]) -> Option<usize> {
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let lines = &mut text.lines();
    let body: usize =
        lines.find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())?;
    Some(head + 4 + body)
}
