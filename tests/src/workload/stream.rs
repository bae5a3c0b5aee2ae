//! A bulk stream over the loopback between two threads, each on its own CPU: how long a MiB takes.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::busy;

/// Bytes sent and received at once.
const CHUNK: usize = 64 << 10;

/// How much, and where.
#[derive(clap::Args)]
pub struct Args {
    /// MiB to send
    #[arg(long)]
    pub mib: u64,
    /// CPU of the sender
    #[arg(long)]
    pub sender: usize,
    /// CPU of the receiver
    #[arg(long)]
    pub receiver: usize,
}

/// Sends it; the MiB that arrived and the nanoseconds that they took.
///
/// # Errors
/// If there is no such CPU or the stream breaks.
pub fn run(args: &Args) -> Result<Value> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
    let address = listener.local_addr()?;
    let (mib, cpu) = (args.mib, args.sender);
    let sender = thread::spawn(move || -> Result<()> {
        busy::bind(cpu)?;
        let mut to = TcpStream::connect(address)?;
        let chunk = vec![0; CHUNK];
        for _ in 0..mib * (1 << 20) / CHUNK as u64 {
            to.write_all(&chunk)?;
        }
        Ok(())
    });
    busy::bind(args.receiver)?;
    let (mut from, _) = listener.accept().context("could not accept the stream")?;
    let (begin, mut bytes) = (Instant::now(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match from.read(&mut chunk).context("the stream broke")? {
            0 => break,
            read => bytes += read as u64,
        }
    }
    let ns = begin.elapsed().as_nanos() as u64;
    let Ok(sent) = sender.join() else {
        bail!("the sender panicked");
    };
    sent.context("could not send")?;
    Ok(json!({"mib": bytes >> 20, "ns": ns}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_sent_arrives() {
        let cpu = crate::truth::last_cpu();
        let args = Args {
            mib: 3,
            sender: cpu,
            receiver: cpu,
        };
        assert_eq!(run(&args).unwrap()["mib"], 3);
    }
}
