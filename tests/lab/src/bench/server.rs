//! The web server of the bench: nginx with one worker, on a CPU of its own.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{net::ends, rounds::Run};
use crate::world::{
    Room,
    files::{open_to_others, write_files},
    process::{Program, Running, family},
};

/// Bytes of a small answer: the work is the requests', not the bytes'.
const ANSWER: usize = 4096;
/// The longest time the master may take to start its worker.
const FORKS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// A server that takes connections; dropped, it is ended.
pub(super) struct Server {
    _master: Running,
    /// The process that answers. A peer with `-p` sees no child of its target, so this is the target of all.
    pub(super) worker: u32,
}

/// A directory with the small answer, in memory.
pub(super) fn files(room: &Room) -> Result<PathBuf> {
    let files = room.subdir("files")?;
    write_files(&files, 1, ANSWER)?;
    open_to_others(&files)?;
    Ok(files)
}

/// Where the small answer is.
pub(super) fn url(address: SocketAddr) -> String {
    format!("http://{address}/0000.txt")
}

/// Starts nginx on the last CPU.
pub(super) fn start(nginx: Program, address: SocketAddr) -> Result<Server> {
    let (_, last) = ends()?;
    let mut master = nginx.on_cpus(vec![last]).start(Stdio::null())?;
    master.expect_listening(address)?;
    let worker = worker(&mut master)?;
    Ok(Server {
        _master: master,
        worker,
    })
}

/// The master listens before it starts its worker.
fn worker(master: &mut Running) -> Result<u32> {
    let end = Instant::now() + FORKS;
    while Instant::now() < end {
        master.expect_alive().context("nginx has no worker")?;
        let others: Vec<u32> = family(master.pid())
            .into_iter()
            .filter(|pid| *pid != master.pid())
            .collect();
        if let [worker] = others[..] {
            return Ok(worker);
        }
        thread::sleep(LOOK);
    }
    bail!("nginx does not have one worker")
}

/// Its own CPU time in a run for each of so many requests, ns.
pub(super) fn own_cpu(run: &Run, requests: f64) -> Result<f64> {
    let ns = run
        .server_ns
        .context("a load without a server has no CPU time of one")?;
    ensure!(requests > 0.0, "no request was answered");
    Ok(ns / requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_cpu_time_is_shared_by_its_requests() {
        let run = |server_ns| Run {
            text: String::new(),
            cpu_ns: 9e9,
            server_ns,
        };
        assert!((own_cpu(&run(Some(1.2e8)), 8000.0).unwrap() - 15_000.0).abs() < 1e-6);
        assert!(own_cpu(&run(Some(1.2e8)), 0.0).is_err());
        assert!(own_cpu(&run(None), 8000.0).is_err());
    }
}
