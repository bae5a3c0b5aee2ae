//! Scenarios of a machine whose memory is short, or nearly so. Memory must be filled within seconds, so they need a guest that has
//! little.
//!
//! The first disk has the pages that the server needs again. It takes few requests a second, and long ones: a file is soon read whole, and
//! slowly page by page. What fills memory comes from the second disk, or from none: nobody but the server uses the first.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage, files_on},
};
use crate::world::{
    self,
    disk::{Disk, FileSystem},
    process::Program,
    python::{self, Form},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "memory-evicted",
        about: "a server needs pages of a file that fits into memory; cat reads a larger one from another disk and evicts them",
        quick: false,
        make: evicted,
    },
    Scenario {
        name: "memory-direct",
        about: "the same, but dd reads the larger file around the page cache",
        quick: false,
        make: direct,
    },
    Scenario {
        name: "memory-hog",
        about: "a program takes all memory, and then more and more, so that the server's own is swapped out",
        quick: false,
        make: hog,
    },
    Scenario {
        name: "memory-holds",
        about: "a program takes half of the memory that the server leaves, and no more",
        quick: false,
        make: holds,
    },
    Scenario {
        name: "memory-own",
        about: "the file that a server needs does not fit into memory; dd reads another disk around the page cache",
        quick: false,
        make: own,
    },
];

const MIB: usize = 1 << 20;

/// The most memory that is filled in time.
const MOST: usize = 1 << 30;

/// Bytes of this machine's memory, which must be little.
fn little_memory() -> Result<usize> {
    let text = fs::read_to_string("/proc/meminfo").context("could not read /proc/meminfo")?;
    let total = total_bytes(&text).context("/proc/meminfo has no MemTotal")?;
    ensure!(
        total <= MOST,
        "it needs a machine with no more than 1 GiB of memory: play it in a guest by `cargo xtask vm --lab memory`"
    );
    Ok(total)
}

fn total_bytes(meminfo: &str) -> Option<usize> {
    let found = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = found.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// A part of all memory, in whole MiB.
fn part(total: usize, numerator: usize, denominator: usize) -> usize {
    total / MIB * numerator / denominator * MIB
}

const SERVED: usize = 8;
const SERVED_BYTES: usize = 4096;

/// Each answer needs some pages, and then waits as for a service elsewhere. Else a start of any program would double the time that it
/// takes on a guest's CPUs.
const EACH: [&str; 2] = ["--pages=8", "--sleep-ms=200"];

/// A server whose answers need memory, as these options say.
fn needing(stage: &Stage, options: [&str; 2]) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let room = &stage.room;
    let server = python::server(room, Form::Threads, address, &served, options)?;
    let server = server.with(EACH).on_cpus(vec![stage.cpu]);
    let client = room
        .client(address, &served)
        .with(["--connections=4", "--think-ms=20"])
        .on_cpus(stage.elsewhere.clone());
    Ok(Scene::new(server, address, client))
}

/// It needs pages of a file of so many bytes on the first disk.
fn of_a_file(stage: &Stage, bytes: usize) -> Result<Scene> {
    let disk = stage.whole_disk(0, FileSystem::Ext4)?;
    let file = files_on(&disk, "needed", 1, bytes)?.join("0000.txt");
    let file = format!("--file={}", file.display());
    Ok(needing(stage, ["--work=map", file.as_str()])?.with_disk(disk))
}

/// It needs pages of so many bytes of its own, which can be swapped out to the first disk.
fn of_its_own(stage: &Stage, bytes: usize) -> Result<Scene> {
    stage.swap_to_whole_disk(0)?;
    let bytes = format!("--bytes={bytes}");
    needing(stage, ["--work=anon", bytes.as_str()])
}

const CAT: &str = r#"while :; do cat "$1"/* >/dev/null || exit; done"#;
const DD: &str = r#"while :; do dd if="$1/0000.txt" of=/dev/null bs=256k iflag=direct status=none || exit; done"#;

/// A script that reads a file of so many bytes on the second disk, and that disk.
fn reader(stage: &Stage, script: &str, bytes: usize) -> Result<(Program, Disk)> {
    let disk = stage.whole_disk(1, FileSystem::Ext4)?;
    let files = files_on(&disk, "large", 1, bytes)?;
    let program = stage
        .room
        .script(script, &files)
        .on_cpus(stage.elsewhere.clone());
    Ok((program, disk))
}

/// How much a reader reads at least, in bytes per second.
const READ: f64 = 5e6;

/// The least of what the server reads again, and the most of what it reads where nothing was evicted, in bytes per second: two pages, and
/// one.
const READ_AGAIN: f64 = 8192.0;
const READ_ANYWAY: f64 = 4096.0;

/// Pages that are taken back each second, at least, where a reader fills memory; and at most where nobody does.
const TAKEN_BACK: f64 = 500.0;
const TAKEN_BACK_ANYWAY: f64 = 100.0;

/// Pages that are swapped in each second, at least, where the server's are swapped out; and at most where they are not.
const SWAPPED_IN: f64 = 5.0;
const SWAPPED_IN_ANYWAY: f64 = 1.0;

/// The server's file is an eighth of memory, the other one does not fit.
fn beside_reader(stage: &Stage, script: &str) -> Result<(Scene, Program, Disk)> {
    let total = little_memory()?;
    let scene = of_a_file(stage, part(total, 1, 8))?;
    let (program, disk) = reader(stage, script, part(total, 3, 2))?;
    let scene = scene.at_least(Meter::Read(Who::Backup(0)), READ);
    Ok((scene, program, disk))
}

fn evicted(stage: &Stage) -> Result<Scene> {
    let (scene, cat, disk) = beside_reader(stage, CAT)?;
    Ok(scene
        .guilty("reader", cat)
        .holds("disk", None)
        .at_least(Meter::TakenBack, TAKEN_BACK)
        .at_least(Meter::Read(Who::Server), READ_AGAIN)
        .with_disk(disk))
}

fn direct(stage: &Stage) -> Result<Scene> {
    let (scene, dd, disk) = beside_reader(stage, DD)?;
    Ok(scene
        .innocent("reader", dd)
        .unharmed()
        .at_most(Meter::TakenBack, TAKEN_BACK_ANYWAY)
        .at_most(Meter::Read(Who::Server), READ_ANYWAY)
        .with_disk(disk))
}

/// A program that holds a part of the memory that the server leaves, and then takes so many MiB more each second.
fn beside_holder(stage: &Stage, part_left: &str, mib_per_second: &str) -> Result<(Scene, Program)> {
    let total = little_memory()?;
    let scene = of_its_own(stage, part(total, 1, 8))?;
    let holder = python::hold(&stage.room, part_left, mib_per_second)?;
    Ok((scene, holder.on_cpus(stage.elsewhere.clone())))
}

/// It takes all that there is at once, so that pages are swapped out as tracer begins. What it takes later leaves the disk time for pages
/// that are swapped in.
fn hog(stage: &Stage) -> Result<Scene> {
    let (scene, hog) = beside_holder(stage, "1", "2")?;
    Ok(scene
        .guilty("hog", hog)
        .holds("memory", None)
        .at_least(Meter::SwappedIn, SWAPPED_IN))
}

fn holds(stage: &Stage) -> Result<Scene> {
    let (scene, holder) = beside_holder(stage, "0.5", "0")?;
    Ok(scene
        .innocent("holder", holder)
        .unharmed()
        .at_most(Meter::SwappedIn, SWAPPED_IN_ANYWAY))
}

/// Each page that the server reads takes the place of another one of its file.
fn own(stage: &Stage) -> Result<Scene> {
    let total = little_memory()?;
    let scene = of_a_file(stage, part(total, 5, 4))?;
    let (dd, disk) = reader(stage, DD, part(total, 1, 8))?;
    Ok(scene
        .innocent("reader", dd)
        .at_least(Meter::Read(Who::Backup(0)), READ)
        .at_least(Meter::Read(Who::Server), READ_AGAIN)
        .at_least(Meter::TakenBack, 1.0)
        .with_disk(disk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes_and_parted_in_whole_mib() {
        let total = total_bytes("MemTotal:         450000 kB\nMemFree:  1 kB\n");
        assert_eq!(total, Some(450_000 * 1024));
        assert_eq!(part(450_000 * 1024, 3, 2), 658 * MIB);
        assert_eq!(total_bytes("MemFree:  1 kB\n"), None);
    }
}
