//! The block path: small random reads of a disk that is memory.

use std::{fs, fs::File, path::Path};

use anyhow::{Context as _, Result};
use xtask::command::{output, say};

use super::{
    figures::json_in,
    rounds::{Figure, Plan, play},
    table::{Found, Limit, To},
    watcher::{Target, Watcher, command, rows},
};
use crate::world::{
    Room, ledger,
    made::Made,
    process::{Program, usable_cpus},
    tools::tool,
};

/// A file system in memory.
pub(crate) const MEMORY: &str = "/dev/shm";
const BYTES: u64 = 256 << 20;

/// The work of `biosnoop`, with tracepoints that every kernel has. It keeps a request's facts from its issue, and prints a line at
/// its end.
const A_LINE_PER_REQUEST: &str = r#"
tracepoint:block:block_rq_issue {
  @start[args->dev, args->sector] = nsecs; @pid[args->dev, args->sector] = pid; @comm[args->dev, args->sector] = comm;
}
tracepoint:block:block_rq_complete /@start[args->dev, args->sector]/ {
  printf("%-12u %-9d %-16s %-6d %7d\n", elapsed / 1000, args->dev, @comm[args->dev, args->sector],
    @pid[args->dev, args->sector], (nsecs - @start[args->dev, args->sector]) / 1000);
  delete(@start[args->dev, args->sector]); delete(@pid[args->dev, args->sector]); delete(@comm[args->dev, args->sector]);
}
"#;
/// Where bpftrace looks for the tracepoints' fields.
const TRACEFS: &str = "/sys/kernel/tracing";

const WATCHERS: &[Watcher] = &[
    Watcher::peer("biolatency", &[&["biolatency"]], Target::All, true),
    Watcher::peer("biosnoop", &[&["biosnoop"]], Target::All, true),
    Watcher::peer(
        "bpftrace, a line per request",
        &[&["bpftrace", "-e", A_LINE_PER_REQUEST]],
        Target::All,
        true,
    ),
    Watcher::tracer("tracer, another", Target::Unrelated, true),
    Watcher::tracer("tracer, itself", Target::Load, false),
];

/// Tracer keeps the histograms of `biolatency`, for each process, and owners besides. `biosnoop` prints each request; where the
/// kernel refuses it, bpftrace stands in.
const LIMITS: &[Limit] = &[
    Limit {
        of: "tracer, another",
        to: To::Peers(&["biolatency"]),
        target: 1.5,
        fails: 4.0,
    },
    Limit {
        of: "tracer, another",
        to: To::Peers(&["biosnoop"]),
        target: 0.5,
        fails: 2.0,
    },
    Limit {
        of: "tracer, another",
        to: To::Peers(&["bpftrace, a line per request"]),
        target: 0.5,
        fails: 2.0,
    },
];

/// The limit against `biolatency`, shown and not judged by `--short`.
const OF_TIME: &[Limit] = &[Limit {
    of: "tracer, another",
    to: To::Peers(&["biolatency"]),
    target: 1.5,
    fails: f64::INFINITY,
}];

/// The time of a read depends on which thread waits for which, on which CPU. It varies by more than any watcher adds. The CPU time
/// of all threads together hardly varies, and it includes the watcher's own reader.
const FIGURES: &[Figure] = &[
    Figure {
        title: "block (ns per 4 KiB read at depth 32)",
        read: |run| Ok(1e9 / iops(&run.text)?),
        limits: OF_TIME,
    },
    Figure {
        title: "block (CPU ns per 4 KiB read at depth 32)",
        read: |run| Ok(run.cpu_ns / reads_done(&run.text)?),
        limits: LIMITS,
    },
];

/// Measures on a loop device over a file in memory.
pub(crate) fn run(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let device = disk(&room)?;
    show_tracepoints();
    let last = usable_cpus()?.last().copied().context("no usable CPU")?;
    let plan = Plan {
        load: reads(&device, if short { "700ms" } else { "1500ms" }).on_cpus(vec![last]),
        lead_in: None,
        figures: FIGURES,
        watchers: rows(WATCHERS, short),
        rounds,
        server: None,
    };
    let found = play(&plan)?;
    ledger::undo(mark)?;
    Ok(found)
}

/// Mounts the tracepoints where nobody has: without them a peer is left out.
pub(crate) fn show_tracepoints() {
    if Path::new(TRACEFS).join("events").exists() {
        return;
    }
    let mounting = || {
        let mut mount = tool("mount");
        mount.args(["-t", "tracefs", "tracefs", TRACEFS]);
        output(&mut mount, "mount the tracepoints")
    };
    if let Err(error) = ledger::make(Made::Mount(TRACEFS.into()), mounting) {
        say(&format!("{error:#}"));
    }
}

/// One process that reads at random for `time`.
pub(crate) fn reads(device: &str, time: &str) -> Program {
    let words = [
        "fio",
        "--name=bench",
        "--direct=1",
        "--rw=randread",
        "--bs=4k",
        "--iodepth=32",
        "--ioengine=libaio",
        "--time_based",
        "--norandommap",
        "--output-format=json",
        "--thread",
    ];
    command(&words).with([format!("--filename={device}"), format!("--runtime={time}")])
}

/// A loop device of which every byte was written.
pub(crate) fn disk(room: &Room) -> Result<String> {
    let image = room.dir.join("disk");
    let file = File::create_new(&image).context("could not make a disk in memory")?;
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..BYTES >> 20 {
        std::io::Write::write_all(&mut &file, &zeros).context("could not fill a disk in memory")?;
    }
    attach(&image)
}

/// A loop device over a file, for as long as the room is there.
pub(crate) fn attach(image: &Path) -> Result<String> {
    let attaching = || {
        output(
            tool("losetup").args(["--find", "--show"]).arg(image),
            "attach a loop device",
        )
    };
    let device = ledger::make(Made::Loop(image.to_owned()), attaching)?
        .trim()
        .to_owned();
    let name = device.trim_start_matches("/dev/");
    // Not for its value: a device without a queue would measure nothing.
    fs::metadata(format!("/sys/block/{name}/queue"))
        .with_context(|| format!("{device} has no queue"))?;
    Ok(device)
}

fn iops(text: &str) -> Result<f64> {
    of_reads(text, "iops")
}

fn reads_done(text: &str) -> Result<f64> {
    of_reads(text, "total_ios")
}

/// A figure of fio's report that is not 0.
fn of_reads(text: &str, name: &str) -> Result<f64> {
    let figure = json_in(text)?["jobs"][0]["read"][name].as_f64();
    let figure = figure.filter(|figure| *figure > 0.0);
    figure.context("fio's report has no reads")
}
