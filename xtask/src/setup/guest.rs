//! The tools for virtual machines: qemu and what makes file systems for guests, from Debian; virtme-ng, from PyPI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::apt::{self, Need};
use crate::{
    build::is_static,
    command::{find, run, say, succeeds},
    paths,
};

/// The release of virtme-ng that was tried.
const VIRTME: &str = "virtme-ng==1.42";

/// Programs that every guest needs.
const NEEDS: &[Need] = &[
    Need::of("qemu-system-x86_64", "qemu-system-x86"),
    // virtme-ng asks it what kind of file a kernel or a busybox is.
    Need::of("file", "file"),
    Need::of("depmod", "kmod"),
    Need::of("cpio", "cpio"),
    Need::of("gzip", "gzip"),
    Need::of("apt-get", "apt"),
    Need::of("python3", "python3"),
];

/// The program `vng`, which boots a kernel on this machine's own root file system.
pub fn vng() -> Result<PathBuf> {
    apt::need(NEEDS, "virtual machines")?;
    // Of it virtme-ng makes what a guest begins with.
    busybox()?;
    let venv = paths::tools().join("virtme-ng");
    let vng = venv.join("bin/vng");
    if vng.exists() {
        return Ok(vng);
    }
    let python = find("python3").context("could not find python3")?;
    // Debian keeps the part that makes virtual environments in a package of its own.
    if !succeeds(Command::new(&python).args(["-c", "import venv, ensurepip"])) {
        apt::install(&["python3-venv"], "a virtual environment for virtme-ng")?;
    }
    say(&format!("installing {VIRTME} into {}", venv.display()));
    run(
        Command::new(python).args(["-m", "venv"]).arg(&venv),
        "make a virtual environment: is python3-venv installed?",
    )?;
    run(
        Command::new(venv.join("bin/pip")).args(["install", "--quiet", VIRTME]),
        "install virtme-ng",
    )?;
    Ok(vng)
}

/// A statically linked busybox, with which every guest begins. In one with a root file system of its own it is the only other
/// program.
pub fn busybox() -> Result<PathBuf> {
    let found = || find("busybox").filter(|file| is_static_file(file));
    if found().is_none() {
        apt::install(&["busybox-static"], "what guests begin with")?;
    }
    found().context("could not find a static busybox: install Debian's busybox-static")
}

fn is_static_file(file: &Path) -> bool {
    fs::read(file).is_ok_and(|bytes| is_static(&bytes))
}
