//! Limits of a group that the server shares with others, or has for itself.

use anyhow::Result;

use super::cpu::{QUEUED, compressing};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{self, cgroup::Cgroup, disk};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "quota-shared",
        about: "the server's group may use half a CPU, and a busy program in the group uses it up on another CPU",
        quick: false,
        make: quota_shared,
    },
    Scenario {
        name: "quota-of-parent",
        about: "the group above may use half a CPU; a busy program in a group beside the server's uses it up",
        quick: false,
        make: quota_of_parent,
    },
    Scenario {
        name: "quota-short-lived",
        about: "a script of short compressors uses up the CPU quota of the server's group",
        quick: false,
        make: quota_short_lived,
    },
    Scenario {
        name: "quota-cut",
        about: "the CPU quota of the server's group is cut while tracer watches, and a busy program in the group uses it up",
        quick: false,
        make: |stage| quota_cut(stage, true),
    },
    Scenario {
        name: "quota-cut-elsewhere",
        about: "the same, but the busy program is alone in the group",
        quick: false,
        make: |stage| quota_cut(stage, false),
    },
    Scenario {
        name: "quota-beside-idle",
        about: "the server uses up the CPU quota of its group; a program in the group hardly runs, another one outside is busy",
        quick: false,
        make: quota_beside_idle,
    },
    Scenario {
        name: "io-limit-shared",
        about: "the server's group may read 8 MB/s of its disk, and a backup in the group reads the same disk",
        quick: false,
        make: io_limit_shared,
    },
    Scenario {
        name: "io-limit-other-disk",
        about: "the server uses up its group's limit of its disk; a backup in the group reads another disk without a limit",
        quick: false,
        make: io_limit_other_disk,
    },
    Scenario {
        name: "memory-limit-shared",
        about: "a copy of large files fills the memory of the server's group, which is full",
        quick: false,
        make: memory_limit_shared,
    },
    Scenario {
        name: "memory-limit-own",
        about: "the server's files do not fit into the memory of its group; a backup outside reads the same disk a little",
        quick: false,
        make: memory_limit_own,
    },
];

/// The quota of a shared group, in percent of one CPU.
const QUOTA: u64 = 50;

fn quota_shared(stage: &Stage) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), QUOTA)?;
    let mut scene = compressing(stage, false)?;
    scene.server = scene.server.also_in(group.procs());
    let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
    Ok(scene
        .guilty("hog", hog.also_in(group.procs()))
        .holds("cpu", None)
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED))
}

fn quota_of_parent(stage: &Stage) -> Result<Scene> {
    let above = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), QUOTA)?;
    let (mine, other) = (above.below("mine")?, above.below("other")?);
    let mut scene = compressing(stage, false)?;
    scene.server = scene.server.also_in(mine.procs());
    let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
    Ok(scene
        .guilty("hog", hog.also_in(other.procs()))
        .holds("cpu", None)
        .at_least(Meter::Throttled(above.cpu_stat()), QUEUED))
}

fn quota_short_lived(stage: &Stage) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), QUOTA)?;
    let files = stage.files("small", 32, 96 << 10)?;
    let script = r#"while :; do for file in "$1"/*; do gzip -9 -c "$file" >/dev/null; done; done"#;
    let backup = stage.room.script(script, &files).in_a_session();
    let mut scene = compressing(stage, false)?;
    scene.server = scene.server.also_in(group.procs());
    let backup = backup.on_cpus(stage.elsewhere.clone());
    Ok(scene
        .guilty("script", backup.also_in(group.procs()))
        .holds("cpu", None)
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED))
}

/// A quota that nobody uses up, in percent of one CPU.
const PLENTY: u64 = 10_000;
/// `$1` is the file of a quota, `$2` the quota. It is cut while tracer watches.
const CUT: &str = r#"sleep 2.5; echo "$2" >"$1"; exec sleep 1000"#;
/// The quota may still be what it was at the end of an earlier run.
const GIVEN_BACK: &str = r#"echo "$2" >"$1"; shift 2; exec "$@""#;

fn quota_cut(stage: &Stage, shared: bool) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), PLENTY)?;
    let (file, plenty) = group.cpu_quota(PLENTY);
    let (_, little) = group.cpu_quota(QUOTA);
    let mut scene = compressing(stage, false)?;
    let mut server = stage.room.script(GIVEN_BACK, &file).with([plenty]);
    server.words.extend(scene.server.words);
    scene.server = server.on_cpus(vec![stage.cpu]);
    let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
    let hog = hog.also_in(group.procs());
    let cut = stage.room.script(CUT, &file).with([little]);
    let cut = cut.on_cpus(stage.elsewhere.clone());
    let scene = match shared {
        true => {
            scene.server = scene.server.also_in(group.procs());
            scene.guilty("hog", hog).holds("cpu", None)
        }
        // The client may wait for the busy program itself: they share a CPU.
        false => scene.innocent("hog", hog),
    };
    Ok(scene
        .innocent("who cuts it", cut)
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED))
}

fn quota_beside_idle(stage: &Stage) -> Result<Scene> {
    let group = Cgroup::with_cpu_quota(&format!("{}-quota", world::name()), 20)?;
    let mut scene = compressing(stage, false)?;
    scene.server = scene.server.also_in(group.procs());
    let rare = stage.hog(1).with(["--busy-ms=1", "--pause-ms=150"]);
    let rare = rare.on_cpus(stage.elsewhere.clone());
    let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
    Ok(scene
        .innocent("rare", rare.also_in(group.procs()))
        .innocent("hog", hog)
        .at_least(Meter::Throttled(group.cpu_stat()), QUEUED)
        .at_least(Meter::OnCpu(Who::Backup(1)), 0.5))
}

const SERVED: usize = 384;
const SERVED_BYTES: usize = 64 << 10;
const BACKED_UP: usize = 4;

/// A server and a backup that reads, both in a group with this limit of the server's disk, bytes a second. The backup's files are on that
/// disk, or on another one.
fn io_limited(stage: &Stage, limit: u64, on_same: bool) -> Result<Scene> {
    const BACKED_UP_BYTES: usize = 64 << 20;
    let bytes = SERVED * SERVED_BYTES + BACKED_UP_BYTES;
    let mine = disk::attach(&stage.room, "disk", disk::bytes_for(bytes as u64), None)?;
    let other = disk::attach(&stage.room, "other", disk::bytes_for(bytes as u64), None)?;
    let served = files_on(&mine, "served", SERVED, SERVED_BYTES)?;
    let on = if on_same { &mine } else { &other };
    let backed_up = files_on(on, "backed-up", BACKED_UP, BACKED_UP_BYTES / BACKED_UP)?;
    let group = Cgroup::make(&format!("{}-limit", world::name()))?;
    group.limit_reads(&disk::whole_disk(&served)?, limit)?;
    let address = world::loopback()?;
    let room = &stage.room;
    let mut server = room.server(address, &served, false);
    server.groups = vec![group.procs()];
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=2", "--think-ms=20"]);
    let mut backup = room
        .backup("read-direct", &backed_up)
        .with(["--parallel=2", "--request-bytes=65536"])
        .on_cpus(stage.elsewhere.clone());
    if !on_same {
        backup = backup.with(["--pause-ms=5"]);
    }
    backup.groups = vec![group.procs()];
    let scene = Scene::new(server, address, client);
    Ok(match on_same {
        true => scene
            .guilty("reader", backup)
            .holds("disk", None)
            .at_least(Meter::Read(Who::Backup(0)), 0.4 * limit as f64),
        false => scene
            .innocent("reader", backup)
            .at_least(Meter::Read(Who::Backup(0)), 1e6)
            .at_least(Meter::Read(Who::Server), 0.5 * limit as f64),
    }
    .with_disk(mine)
    .with_disk(other))
}

fn io_limit_shared(stage: &Stage) -> Result<Scene> {
    io_limited(stage, 8_000_000, true)
}

fn io_limit_other_disk(stage: &Stage) -> Result<Scene> {
    io_limited(stage, 2_000_000, false)
}

/// A server of this many files in a group with so much memory.
fn full(stage: &Stage, served: usize, memory: u64) -> Result<(Scene, Cgroup, disk::Disk)> {
    const COPIED_BYTES: usize = 256 << 20;
    let disk = stage.slow_disk("disk", served * SERVED_BYTES + COPIED_BYTES, None)?;
    let files = files_on(&disk, "served", served, SERVED_BYTES)?;
    files_on(&disk, "copied", BACKED_UP, COPIED_BYTES / BACKED_UP)?;
    let group = Cgroup::with_memory_limit(&format!("{}-memory", world::name()), memory)?;
    let address = world::loopback()?;
    let server = stage.room.server(address, &files, false);
    let server = server.also_in(group.procs()).on_cpus(vec![stage.cpu]);
    let client = stage
        .room
        .client(address, &files)
        .with(["--connections=2", "--think-ms=20"]);
    Ok((Scene::new(server, address, client), group, disk))
}

/// The server's 18 MB of files fit into the group's memory, until others' files come. They take more than half of it: the kernel keeps
/// a smaller part for pages in use (`inactive_is_low`).
fn memory_limit_shared(stage: &Stage) -> Result<Scene> {
    let (scene, group, disk) = full(stage, 288, 26 << 20)?;
    let script = r#"while :; do cat "$1"/* >/dev/null; done"#;
    let copied = disk.point.join("copied");
    let copy = stage.room.script(script, &copied).in_a_session();
    Ok(scene
        .guilty(
            "cat",
            copy.also_in(group.procs()).on_cpus(stage.elsewhere.clone()),
        )
        .holds("memory", None)
        .at_least(Meter::Full(group.memory_stat()), 10.0)
        .with_disk(disk))
}

/// The server's 24 MB of files do not fit into the group's memory.
fn memory_limit_own(stage: &Stage) -> Result<Scene> {
    let (scene, group, disk) = full(stage, 384, 16 << 20)?;
    let copied = disk.point.join("copied");
    let reader = stage.room.backup("read-direct", &copied).with([
        "--parallel=1",
        "--request-bytes=65536",
        "--pause-ms=100",
    ]);
    Ok(scene
        .innocent("reader", reader)
        .at_least(Meter::Full(group.memory_stat()), 10.0)
        .with_disk(disk))
}
