//! `cargo xtask vm --lab`: plays the lab's scenarios in a guest, with disks that are slow by themselves.
//!
//! Debian's kernels have ext4, XFS and btrfs as modules, the controllers of cgroup v2, and queueing disciplines that a machine may
//! lack. The guest sees this machine's programs. Its CPUs are slow, so all takes longer than on the machine itself.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::{guest::Drive, quoted};
use crate::{build, paths, setup};

/// The kernel that is booted when none is named.
pub(super) const KERNEL: &str = "6.12";
/// Longest that a guest may take, in seconds: a scenario takes two to four minutes.
pub(super) const LIMIT_S: u32 = 3600;
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
pub(super) fn drives() -> Result<Vec<Drive>> {
    let dir = paths::target().join("vm/disks");
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    let drive = |name: &'static str| {
        let file = dir.join(name);
        let slow = name != SCRATCH;
        let bytes = if slow { SLOW_BYTES } else { SCRATCH_BYTES };
        // Shortened first, so that nothing is left of an earlier guest's.
        File::create(&file)
            .and_then(|file| file.set_len(bytes))
            .with_context(|| format!("could not make {}", file.display()))?;
        Ok(Drive { name, file, slow })
    };
    [SCRATCH].into_iter().chain(SLOW).map(drive).collect()
}

/// The directory of this machine for recordings, reports and labels.
pub(super) fn kept() -> Result<PathBuf> {
    let dir = paths::target().join("vm/lab");
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}
