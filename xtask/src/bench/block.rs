//! The block path: small random reads of a disk that is memory.

use std::{borrow::Cow, fs, fs::File, path::Path};

use anyhow::{Context as _, Result};

use super::{
    figures::json_in,
    rounds::{Figure, Plan, play},
    table::{Found, Limit, To},
    watcher::{TRACER, Target, Watcher, command, rows},
};
use crate::{
    command::output,
    world::{
        Room, ledger,
        made::Made,
        process::{Program, usable_cpus},
        tools::tool,
    },
};

/// A file system in memory.
pub const MEMORY: &str = "/dev/shm";
const BYTES: u64 = 256 << 20;

const WATCHERS: &[Watcher] = &[
    Watcher {
        name: Cow::Borrowed("biolatency"),
        programs: &[&["biolatency"]],
        target: Target::All,
        short: true,
    },
    Watcher {
        name: Cow::Borrowed("biosnoop"),
        programs: &[&["biosnoop"]],
        target: Target::All,
        short: true,
    },
    Watcher {
        name: Cow::Borrowed("tracer, another"),
        programs: &[&[TRACER, "attach", "--duration", "60s", "--pid"]],
        target: Target::Unrelated,
        short: true,
    },
    Watcher {
        name: Cow::Borrowed("tracer, itself"),
        programs: &[&[TRACER, "attach", "--duration", "60s", "--pid"]],
        target: Target::Load,
        short: false,
    },
];

/// It keeps what `biolatency` does, for each process, and owners besides; `biosnoop` prints each request.
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
];

/// Measures on a loop device over a file in memory.
pub fn run(rounds: u32, short: bool) -> Result<Vec<Found>> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let device = disk(&room)?;
    let last = usable_cpus()?.last().copied().context("no usable CPU")?;
    let plan = Plan {
        load: reads(&device, "1500ms").on_cpus(vec![last]),
        figures: &[Figure {
            title: "block (ns per 4 KiB read at depth 32)",
            read: figure,
            limits: LIMITS,
        }],
        watchers: rows(WATCHERS, short),
        rounds,
        server: None,
    };
    let found = play(&plan)?;
    ledger::undo(mark)?;
    Ok(found)
}

/// Random reads for so long; one process.
pub fn reads(device: &str, time: &str) -> Program {
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
pub fn disk(room: &Room) -> Result<String> {
    let image = room.dir.join("disk");
    let file = File::create_new(&image).context("could not make a disk in memory")?;
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..BYTES >> 20 {
        std::io::Write::write_all(&mut &file, &zeros).context("could not fill a disk in memory")?;
    }
    attach(&image)
}

/// A loop device over a file, for as long as the room is there.
pub fn attach(image: &Path) -> Result<String> {
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

fn figure(text: &str) -> Result<f64> {
    let all = json_in(text)?;
    let iops = all["jobs"][0]["read"]["iops"]
        .as_f64()
        .filter(|iops| *iops > 0.0);
    Ok(1e9 / iops.context("fio's report has no reads")?)
}
