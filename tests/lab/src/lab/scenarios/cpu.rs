//! Scenarios of one CPU that others want too.

use anyhow::Result;

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{self, process::Program};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "cpu-70-30",
        about: "two programs on the server's CPU, one with seven busy threads, one with three",
        quick: true,
        make: seven_and_three,
    },
    Scenario {
        name: "cpu-70-30-nice",
        about: "two programs with four busy threads each on the server's CPU, one of them nice 4",
        quick: false,
        make: nice_four,
    },
    Scenario {
        name: "cpu-gzip",
        about: "nginx compresses, and four gzip -9 beside it",
        quick: false,
        make: |stage| compressors(stage, true, &each("gzip -9 -c"), |script| script),
    },
    Scenario {
        name: "cpu-zstd",
        about: "zstd -19 with a thread for each CPU",
        quick: false,
        make: |stage| compressors(stage, true, &each("zstd -q -19 -T0 -c"), |script| script),
    },
    Scenario {
        name: "cpu-xz",
        about: "xz with two threads",
        quick: false,
        make: |stage| compressors(stage, false, &each("xz -T2 -c"), |script| script),
    },
    Scenario {
        name: "cpu-bzip2",
        about: "bzip2 of four files at a time",
        quick: false,
        make: |stage| compressors(stage, true, &each("bzip2 -9 -c"), |script| script),
    },
    Scenario {
        name: "cpu-openssl",
        about: "openssl encrypts a backup, four files at a time",
        quick: false,
        make: |stage| {
            let encrypts = "openssl enc -aes-256-ctr -pbkdf2 -pass pass:lab -in";
            compressors(stage, false, &each(encrypts), |script| script)
        },
    },
    Scenario {
        name: "cpu-short-lived",
        about: "a script compresses one small file after the other, four at a time",
        quick: false,
        make: short_lived,
    },
    Scenario {
        name: "cpu-nice-minus-5",
        about: "one gzip -9 with nice -5",
        quick: false,
        make: |stage| {
            let one = r#"while :; do gzip -9 -c "$1"/0000.txt >/dev/null; done"#;
            compressors(stage, false, one, |script| script.nice(-5))
        },
    },
    Scenario {
        name: "cpu-real-time",
        about: "a real-time program that needs more than half of the CPU, 50 ms at a time",
        quick: false,
        make: real_time,
    },
    Scenario {
        name: "cpu-beside-innocent",
        about: "a busy program on the server's CPU, another one on another CPU",
        quick: false,
        make: |stage| {
            let hog = || stage.hog(3);
            Ok(compressing(stage, false)?
                .guilty("here", hog().on_cpus(vec![stage.cpu]))
                .innocent("elsewhere", hog().on_cpus(stage.elsewhere.clone()))
                .holds("cpu", None)
                .at_least(Meter::Queued(Who::Server), QUEUED))
        },
    },
];

pub(crate) const SERVED: usize = 16;
/// Some milliseconds of compression: more than a scheduler gives a waking thread on credit.
pub(crate) const SERVED_BYTES: usize = 128 << 10;
const BACKED_UP: usize = 4;
const BACKED_UP_BYTES: usize = 8 << 20;
/// How many seconds per second the server must have queued, at least, to be waiting for its CPU.
pub(crate) const QUEUED: f64 = 0.2;

/// A server that compresses what it serves, on its CPU, with a client elsewhere.
pub(crate) fn compressing(stage: &Stage, real: bool) -> Result<Scene> {
    compressing_for(stage, real, ["--connections=2", "--think-ms=40"])
}

/// The same, for a client with these options.
pub(crate) fn compressing_for(stage: &Stage, real: bool, client: [&str; 2]) -> Result<Scene> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let client = stage
        .room
        .client(address, &served)
        .with(client)
        .on_cpus(stage.elsewhere.clone());
    let server = if real {
        stage.room.nginx(address, &served, true)?
    } else {
        stage.room.server(address, &served, true)
    };
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

/// A compressor for each file, again and again.
pub(crate) fn each(compressor: &str) -> String {
    format!(
        r#"for file in "$1"/*; do while :; do {compressor} "$file" >/dev/null; done & done; wait"#
    )
}

/// A script, which sees files to compress below `$1`, on the server's CPU; `how` says how it is started.
pub(crate) fn compressors(
    stage: &Stage,
    real: bool,
    script: &str,
    how: fn(Program) -> Program,
) -> Result<Scene> {
    let files = stage.files("backed-up", BACKED_UP, BACKED_UP_BYTES)?;
    let backup = how(stage.room.script(script, &files)).on_cpus(vec![stage.cpu]);
    Ok(compressing(stage, real)?
        .guilty("backup", backup)
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// All threads weigh the same, so that a program's share of the CPU is its share of the threads.
fn seven_and_three(stage: &Stage) -> Result<Scene> {
    let hog = |threads| stage.hog(threads).on_cpus(vec![stage.cpu]);
    two(stage, hog(7), hog(3))
}

/// A nice 4 thread weighs 423 where one of nice 0 weighs 1024 (`sched_prio_to_weight`).
fn nice_four(stage: &Stage) -> Result<Scene> {
    let hog = || stage.hog(4).on_cpus(vec![stage.cpu]);
    two(stage, hog(), hog().nice(4))
}

fn two(stage: &Stage, large: Program, small: Program) -> Result<Scene> {
    Ok(compressing(stage, false)?
        .guilty("large", large)
        .guilty("small", small)
        .holds("cpu", Some(|backup| Meter::OnCpu(Who::Backup(backup))))
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// Each compressor lives for some milliseconds.
fn short_lived(stage: &Stage) -> Result<Scene> {
    let script = r#"for lane in 1 2 3 4; do
        while :; do for file in "$1"/*; do gzip -9 -c "$file" >/dev/null; done; done & done; wait"#;
    let files = stage.files("small", 32, 96 << 10)?;
    let backup = stage.room.script(script, &files).on_cpus(vec![stage.cpu]);
    Ok(compressing(stage, false)?
        .guilty("backup", backup)
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

fn real_time(stage: &Stage) -> Result<Scene> {
    let hog = stage.hog(1).with(["--busy-ms=50", "--pause-ms=30"]);
    let words = ["chrt", "--fifo", "5"].map(std::ffi::OsString::from);
    let backup = stage.room.program(words.into_iter().chain(hog.words));
    Ok(compressing(stage, false)?
        .guilty("backup", backup.on_cpus(vec![stage.cpu]))
        .holds("cpu", None)
        .at_least(Meter::OnCpu(Who::Backup(0)), 0.4)
        .at_least(Meter::Queued(Who::Server), 0.05))
}
