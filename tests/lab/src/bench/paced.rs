//! A web server at a steady pace, which leaves its CPU idle most of the time: while nothing is contended, and while it waits for a disk
//! behind a backup. What a watcher adds is the server's own CPU time, and the time that its clients wait.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use tracer_tests::slow_disk::SPEED;

use super::{
    block::MEMORY,
    net::{ends, of_bare},
    peers::{BY_CALLS, BY_SOCKETS, How, THREE, of_peers},
    rounds::{Figure, Plan, Run, play},
    server::{self, Server},
    table::{Found, Limit, To},
    watcher::{Target, Watcher, command},
};
use crate::{
    latency::Latency,
    world::{
        Room,
        disk::{self, Disk},
        files::{open_to_others, write_files},
        ledger, loopback, nginx,
        process::{Program, Running},
    },
};

/// Requests a second of all connections together.
const PACE: f64 = 8000.0;
/// So many connections, each with its part of the pace.
const CLIENTS: &[&str] = &["--h1", "--clients=16", "--threads=1", "--rps=500"];
/// The length of a run, and of the same load before it: longer than what tracer takes to see that nothing is contended.
const RUN: &str = "2s";
const LEAD_IN: &str = "1s";
/// The length of a run with `--short`, which has no load before it.
const SHORT: &str = "600ms";

/// Prints the log of `h2load`, a line for each request: begin in microseconds since 1970, status, length in microseconds. Its arguments
/// are the log, and those of `h2load`.
const LOAD: &str =
    r#"log="$1"; shift; rm -f "$log"; h2load --log-file="$log" "$@" >/dev/null && cat "$log""#;

/// Beside the peers.
const TRACERS: &[Watcher] = &[
    Watcher::tracer("tracer, another", Target::Unrelated, false),
    Watcher::tracer("tracer, itself", Target::Load, true),
];

/// Where its peers cost nothing, tracer may add so many ns to a request.
const FREE_NS: f64 = 500.0;
const OF_CPU: &[Limit] = &[
    of_peers_or(&[BY_SOCKETS]),
    of_peers_or(&[BY_CALLS]),
    of_peers_or(&[THREE]),
];
/// `--short` fails as it does for requests at full speed.
const OF_MEDIAN: &[Limit] = &[
    of_bare("tracer, another", 0.03, 0.5),
    of_bare("tracer, itself", 0.03, 1.0),
];
const OF_SLOWEST: &[Limit] = &[same("tracer, another"), same("tracer, itself")];
const OF_CONTENDED: &[Limit] = &[
    of_peers(&[BY_SOCKETS], 1.5),
    of_peers(&[BY_CALLS], 1.5),
    of_peers(&[THREE], 1.5),
];

const fn of_peers_or(peers: &'static [&'static str]) -> Limit {
    Limit {
        to: To::PeersOr(peers, FREE_NS),
        ..of_peers(peers, 1.0)
    }
}

/// The usual level of a test.
const fn same(of: &'static str) -> Limit {
    Limit {
        of,
        to: To::Same,
        target: 0.05,
        fails: f64::INFINITY,
    }
}

const COSTS: &[Figure] = &[
    Figure {
        title: "net, nginx at 8,000 requests/s (nginx's own CPU ns per request)",
        read: cpu_of_each,
        limits: OF_CPU,
    },
    Figure {
        title: "net, nginx at 8,000 requests/s (median of a request, ns)",
        read: |run| Ok(latency(&run.text)?.p50_ns as f64),
        limits: OF_MEDIAN,
    },
    Figure {
        title: "net, nginx at 8,000 requests/s (p99 of a request, ns)",
        read: |run| Ok(latency(&run.text)?.p99_ns as f64),
        limits: OF_SLOWEST,
    },
];
const CONTENDED_COST: &[Figure] = &[Figure {
    title: "net, nginx at 8,000 requests/s, its disk contended (nginx's own CPU ns per request)",
    read: cpu_of_each,
    limits: OF_CONTENDED,
}];

/// Measures both loads.
pub(super) fn run(how: &How) -> Result<Vec<Found>> {
    let mut found = alone(how)?;
    found.extend(behind_a_backup(how)?);
    Ok(found)
}

/// Nothing is contended.
fn alone(how: &How) -> Result<Vec<Found>> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let files = server::files(&room)?;
    let address = loopback()?;
    let nginx = room.nginx(address, &files, false)?;
    let server = server::start(nginx, address)?;
    let found = play(&plan(how, &room, address, &server, COSTS)?)?;
    drop(server);
    ledger::undo(mark)?;
    Ok(found)
}

/// The same worker is also asked for files that only a slow disk has. A backup reads that disk, too.
fn behind_a_backup(how: &How) -> Result<Vec<Found>> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let files = server::files(&room)?;
    let disk = slow_disk(&room)?;
    let address = loopback()?;
    // Another address, where the same port is as free.
    let cold = SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), address.port());
    let served = disk.point.join(SERVED.name);
    let site = format!(
        "{gzip}
    server {{ listen {address}; root {files}; }}
    server {{ listen {cold}; root {served}; }}",
        gzip = nginx::gzip_of(false),
        files = files.display(),
        served = served.display(),
    );
    let nginx = room.nginx_with(nginx::site(&room.dir, &site)?);
    let server = server::start(nginx, address)?;
    let mut others = contend(&room, cold, &disk)?;
    expect_queue(&disk)?;
    let found = play(&plan(how, &room, address, &server, CONTENDED_COST)?)?;
    others.iter_mut().try_for_each(Running::expect_alive)?;
    drop((others, server));
    ledger::undo(mark)?;
    Ok(found)
}

fn plan(
    how: &How,
    room: &Room,
    address: SocketAddr,
    server: &Server,
    figures: &'static [Figure],
) -> Result<Plan> {
    let (length, lead_in) = if how.short {
        (SHORT, None)
    } else {
        (RUN, Some(LEAD_IN))
    };
    let lead_in = lead_in.map(|length| load(room, address, length));
    Ok(Plan {
        load: load(room, address, length)?,
        lead_in: lead_in.transpose()?,
        figures,
        watchers: how.rows(TRACERS),
        rounds: how.rounds,
        server: Some(server.worker),
    })
}

/// A client on the first CPU that asks at a steady pace for so long.
fn load(room: &Room, address: SocketAddr, length: &str) -> Result<Program> {
    let (first, _) = ends()?;
    let program = command(&["sh", "-c", LOAD, "paced"])
        .with([room.dir.join("requests")])
        .with(CLIENTS)
        .with([format!("--duration={length}"), server::url(address)]);
    Ok(program.on_cpus(vec![first]))
}

/// Files of one size on the slow disk.
struct Files {
    name: &'static str,
    count: usize,
    bytes: usize,
}

/// Small ones, as on web servers, and large ones for the backup.
const SERVED: Files = Files {
    name: "served",
    count: 64,
    bytes: 64 << 10,
};
const BACKED_UP: Files = Files {
    name: "backed-up",
    count: 4,
    bytes: 16 << 20,
};

/// The client of the cold files: it leaves the worker time for its pace.
const COLD: &[&str] = &[
    "--cold",
    "--connections=1",
    "--think-ms=200",
    "--for-ms=7200000",
    "--lifetime=7200",
];

/// A disk in memory that is as slow as a hard disk for the room's group. The limit is on another disk below it: so a queue stands at
/// this one, as at a real disk.
fn slow_disk(room: &Room) -> Result<Disk> {
    let kinds = [SERVED, BACKED_UP];
    let bytes: usize = kinds.iter().map(|files| files.count * files.bytes).sum();
    let bytes = disk::bytes_for(bytes as u64);
    let below = disk::attach(room, "below", disk::bytes_for(bytes), None)?;
    let disk = disk::attach_on(room, &below, "disk", bytes)?;
    for files in &kinds {
        let dir = disk.point.join(files.name);
        fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        write_files(&dir, files.count, files.bytes)?;
        open_to_others(&dir)?;
    }
    // What was written is on the disk then, and no longer in memory.
    disk.remount()?;
    room.group.limit_reads(&below.number()?, SPEED)?;
    Ok(disk)
}

/// Starts the client of the cold files and the backup, on the CPU that is not the server's.
fn contend(room: &Room, cold: SocketAddr, disk: &Disk) -> Result<Vec<Running>> {
    let (first, _) = ends()?;
    let client = room.client(cold, &disk.point.join(SERVED.name)).with(COLD);
    let backup = room.backup("read", &disk.point.join(BACKED_UP.name));
    [client, backup.with(["--lifetime=7200"])]
        .into_iter()
        .map(|program| program.on_cpus(vec![first]).start(Stdio::null()))
        .collect()
}

/// As long as a queue is looked at before the first run.
const LOOK: Duration = Duration::from_secs(1);
/// Requests in the disk's queue on average, at least: otherwise nobody waits for another's.
const QUEUE: f64 = 2.0;

/// Fails where nothing is contended: field 11 of the disk's `stat` is the sum of its requests' time in milliseconds.
fn expect_queue(disk: &Disk) -> Result<()> {
    let before = disk::figure(disk.name(), 11)?;
    thread::sleep(LOOK);
    let queue = (disk::figure(disk.name(), 11)? - before) / (1e3 * LOOK.as_secs_f64());
    ensure!(
        queue >= QUEUE,
        "{} has {queue:.1} requests in its queue, so it is not contended",
        disk.device
    );
    Ok(())
}

/// The server's own CPU time for each request, ns. Requests for cold files are fewer than one in a thousand, and not counted.
fn cpu_of_each(run: &Run) -> Result<f64> {
    server::own_cpu(run, requests(&run.text)?.len() as f64)
}

fn latency(log: &str) -> Result<Latency> {
    let requests = requests(log)?;
    let times = requests.iter().map(|request| 1000 * request.took_us);
    Latency::of(times.collect()).context("no request was answered")
}

/// A request of a paced client.
struct Request {
    begin_us: u64,
    took_us: u64,
}

/// The requests in a log of `h2load`, if none failed and they came about as fast as they were to.
fn requests(log: &str) -> Result<Vec<Request>> {
    let requests: Vec<Request> = log.lines().map(request).collect::<Result<_>>()?;
    let begins = || requests.iter().map(|request| request.begin_us);
    let ends = begins().min().zip(begins().max());
    let (first, last) = ends.context("no request was answered")?;
    let pace = requests.len() as f64 * 1e6 / (last - first) as f64;
    ensure!(
        pace > PACE / 2.0,
        "{pace:.0} requests a second are not the pace of {PACE}"
    );
    Ok(requests)
}

fn request(line: &str) -> Result<Request> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [begin, status, took, ..] = fields[..] else {
        bail!("h2load logs {line:?}");
    };
    ensure!(status == "200", "a request failed: {line:?}");
    Ok(Request {
        begin_us: begin.parse()?,
        took_us: took.parse()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of requests that begin so many microseconds after each other, and take 100, 101, 102 … µs.
    fn log(between_us: u64) -> String {
        let line = |number| {
            format!(
                "{}\t200\t{}\n",
                5_000_000 + between_us * number,
                100 + number
            )
        };
        (0..200).map(line).collect()
    }

    #[test]
    fn a_log_of_requests_becomes_their_quantiles_and_their_cpu_time() {
        let run = Run {
            text: log(125),
            cpu_ns: 0.0,
            server_ns: Some(3e6),
        };
        let found = latency(&run.text).unwrap();
        assert_eq!((found.p50_ns, found.p99_ns), (199_000, 297_000));
        assert!((cpu_of_each(&run).unwrap() - 15_000.0).abs() < 1e-6);
    }

    #[test]
    fn a_request_that_failed_or_has_no_figures_is_no_run() {
        assert!(requests(&(log(125) + "5000000\t-1\t7\n")).is_err());
        assert!(requests(&(log(125) + "5000000\t200\n")).is_err());
        assert!(requests("").is_err());
    }

    #[test]
    fn requests_that_come_at_half_the_pace_are_no_paced_load() {
        assert!(requests(&log(125)).is_ok());
        assert!(requests(&log(260)).is_err());
    }
}
