//! `cargo xtask vm --lab`: plays the lab's scenarios in a guest, with disks that are slow by themselves.
//!
//! Debian's kernels have ext4, XFS and btrfs as modules, the controllers of cgroup v2, and many queueing disciplines. The guest sees
//! this machine's programs, its CPUs are slow, and its memory can be so small that scenarios fill it.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    guest::{Drive, MEMORY, Speed},
    quoted,
};
use crate::{build, paths, setup};

/// The kernel that is booted when none is named.
pub(super) const KERNEL: &str = "6.12";
/// Longest that a guest may take, in seconds: a scenario takes two to four minutes, and a family has up to 30.
pub(super) const LIMIT_S: u32 = 8400;
/// What is played when no scenario is named.
const USUAL: &str = "journal";

/// The disk on which scenes are made. It must not be what holds them up.
const SCRATCH: &str = "scratch";
/// The disks that scenarios overwrite.
const SLOW: [&str; 2] = ["slow-0", "slow-1"];
/// How large a disk seems. Its file takes the space that was written.
const SCRATCH_BYTES: u64 = 4 << 30;
/// A file system writes a part of its disk when it is made: on a slow one that takes a while.
const SLOW_BYTES: u64 = 1 << 30;

/// What a guest has for its scenarios.
pub(super) struct Ground {
    /// Its memory.
    pub(super) memory: &'static str,
    /// The speeds of the disks that scenarios overwrite.
    speeds: [Speed; SLOW.len()],
}

/// For most scenarios.
const USUAL_GROUND: Ground = Ground {
    memory: MEMORY,
    speeds: [Speed::Slow; SLOW.len()],
};

/// For scenarios that fill memory. One disk has the pages that are missed, the other one what takes their place.
const LITTLE_MEMORY: Ground = Ground {
    memory: "480M",
    speeds: [Speed::Seeking, Speed::Steady],
};

/// The family of scenarios that fill memory, and its scenarios.
pub const IN_LITTLE_MEMORY: [&str; 6] = [
    "memory",
    "memory-evicted",
    "memory-direct",
    "memory-hog",
    "memory-holds",
    "memory-own",
];

/// What a guest must have for these scenarios.
pub(super) fn ground(names: &[String]) -> Result<Ground> {
    let fills = |name: &&String| IN_LITTLE_MEMORY.contains(&name.as_str());
    let filling = names.iter().filter(fills).count();
    ensure!(
        filling == 0 || filling == names.len(),
        "scenarios of the family memory need a guest with little memory: name no others with them"
    );
    Ok(match filling {
        0 => USUAL_GROUND,
        _ => LITTLE_MEMORY,
    })
}

/// Before the lab: no udev loads drivers or names disks. The file system of the scratch disk leaves nothing to be done later.
const BEGIN: &str = r#"modprobe -a virtio_blk loop || exit
disk() {
    for at in /sys/block/vd*; do
        [ "$(cat "$at/serial")" = "$1" ] && echo "/dev/${at##*/}"
    done
}
"#;
const MAKE: &str =
    "mkfs.ext4 -q -F -N 65536 -O ^has_journal -E nodiscard,lazy_itable_init=0 \"$scratch\" || exit";

/// Where the lab keeps its recordings in the guest, below its scratch directory.
const KEPT: &str = "/var/tmp/kept";

/// Options of the lab on CPUs that are slow: tracer watches for longer, and begins later.
const SLOWLY: &str = "--duration 20s --margin 40s";

/// Installs and builds what the guest needs. Returns its script, which plays these scenarios with more options.
pub(super) fn script(names: &[String], options: &[String]) -> Result<String> {
    setup::guest_lab_tools()?;
    build::scene_programs()?;
    let lab = build::lab()?;
    let mut words = names.to_vec();
    if words.is_empty() {
        words.push(USUAL.to_owned());
    }
    words.extend_from_slice(options);
    let disks: String = SLOW
        .iter()
        .map(|name| format!(" --disk \"$(disk {name})\""))
        .collect();
    let quote = |path: PathBuf| quoted(&[path.display().to_string()]).trim().to_owned();
    let (lab, target, shared) = (quote(lab), quote(paths::target()), quote(kept()?));
    Ok(format!(
        "{BEGIN}scratch=$(disk {SCRATCH})\n{MAKE}\nmount \"$scratch\" /var/tmp || exit\n\
         CARGO_TARGET_DIR={target} {lab} lab --built --keep {KEPT} {SLOWLY}{disks} {words}\
         status=$?\ncp {KEPT}/* {shared}\nexit $status\n",
        words = quoted(&words)
    ))
}

/// The guest's disks, empty.
pub(super) fn drives(ground: &Ground) -> Result<Vec<Drive>> {
    let dir = paths::target().join("vm/disks");
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    let drive = |(name, bytes, speed): (&'static str, u64, Speed)| {
        let file = dir.join(name);
        // Shortened first, so that nothing is left of an earlier guest's.
        File::create(&file)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("could not make {}", file.display()))?;
        Ok(Drive { name, file, speed })
    };
    let slow = SLOW.into_iter().zip(ground.speeds);
    let slow = slow.map(|(name, speed)| (name, SLOW_BYTES, speed));
    let scratch = [(SCRATCH, SCRATCH_BYTES, Speed::Full)];
    scratch.into_iter().chain(slow).map(drive).collect()
}

/// The directory of this machine for recordings, reports and labels.
pub(super) fn kept() -> Result<PathBuf> {
    let dir = paths::target().join("vm/lab");
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scenarios_that_fill_memory_have_little_of_it_and_they_have_no_others_beside_them() {
        let memory = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            ground(&names).map(|ground| ground.memory).ok()
        };
        assert_eq!(memory(&[]), Some(MEMORY));
        assert_eq!(memory(&["journal", "memory-limit-own"]), Some(MEMORY));
        assert_eq!(memory(&["memory-own", "memory"]), Some("480M"));
        assert_eq!(memory(&["memory", "journal"]), None);
    }
}
