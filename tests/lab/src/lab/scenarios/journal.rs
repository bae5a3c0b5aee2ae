//! Scenarios of file systems that first write a journal or a log when a file is to be on the disk: ext4, XFS, btrfs.
//!
//! Each has a whole disk to itself, which is slow of its own accord and has a queue. The file systems may be modules of the kernel.

use anyhow::Result;

use super::files::{LIGHT_WRITES, WRITTEN, writer, writing_to};
use crate::lab::{
    meter::Meter,
    scenario::{Scenario, Scene, Stage},
};
use crate::world::disk::FileSystem::{self, Btrfs, Ext4, Xfs};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "journal-ext4",
        about: "a server on ext4 writes short files and waits for each; tar unpacks small files on the same disk",
        quick: false,
        make: |stage| unpacking(stage, Ext4),
    },
    Scenario {
        name: "journal-ext4-apart",
        about: "the same, but another program writes to another disk",
        quick: false,
        make: |stage| apart(stage, Ext4),
    },
    Scenario {
        name: "journal-xfs",
        about: "a server on XFS writes short files and waits for each; tar unpacks small files on the same disk",
        quick: false,
        make: |stage| unpacking(stage, Xfs),
    },
    Scenario {
        name: "journal-xfs-apart",
        about: "the same, but another program writes to another disk",
        quick: false,
        make: |stage| apart(stage, Xfs),
    },
    Scenario {
        name: "journal-btrfs",
        about: "a server on btrfs writes short files and waits for each; tar unpacks small files on the same disk",
        quick: false,
        make: |stage| unpacking(stage, Btrfs),
    },
    Scenario {
        name: "journal-btrfs-apart",
        about: "the same, but another program writes to another disk",
        quick: false,
        make: |stage| apart(stage, Btrfs),
    },
];

/// The files that are unpacked. With shorter ones a guest's CPU would be the limit, and not the disk.
const SMALL: usize = 128;
const SMALL_BYTES: usize = 128 << 10;

/// It unpacks a directory's files over and over, and waits each time until they are on the disk: else they stay in memory.
const UNPACKS: &str = r#"tar cf "$1.tar" -C "$1" . || exit
for lane in 1 2; do while :; do
    mkdir -p "$2/$lane" && tar xf "$1.tar" -C "$2/$lane" || exit
    sync -f "$2"; rm -r "$2/$lane"; done & done; wait"#;

fn unpacking(stage: &Stage, kind: FileSystem) -> Result<Scene> {
    let here = stage.whole_disk(0, kind)?;
    let scene = writing_to(stage, "log", &here)?;
    let small = stage.files("small", SMALL, SMALL_BYTES)?;
    let backup = stage
        .script(UNPACKS, &small, &here.point)
        .on_cpus(stage.elsewhere.clone());
    let busy = Meter::DiskBusy(here.name().to_owned());
    Ok(scene
        .guilty("unpack", backup)
        .holds("disk", None)
        .at_least(busy, WRITTEN)
        .with_disk(here))
}

fn apart(stage: &Stage, kind: FileSystem) -> Result<Scene> {
    let here = stage.whole_disk(0, kind)?;
    let there = stage.whole_disk(1, kind)?;
    let scene = writing_to(stage, "log", &here)?;
    let busy = Meter::DiskBusy(there.name().to_owned());
    Ok(scene
        .innocent("backup", writer(stage, LIGHT_WRITES, &there))
        .unharmed()
        .at_least(busy, 0.005)
        .with_disk(here)
        .with_disk(there))
}
