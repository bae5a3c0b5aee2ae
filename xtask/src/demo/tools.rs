//! The system's own programs that the demo uses, and the packages they come in.

use std::{env, process::Command};

use anyhow::{Result, bail};

use super::{Args, process::ends_with_us};
use crate::command::find;

/// A program and the Debian package that has it.
struct Tool {
    name: &'static str,
    package: &'static str,
}

const WORLDS: &[Tool] = &[
    Tool { name: "losetup", package: "mount" },
    Tool { name: "mount", package: "mount" },
    Tool { name: "umount", package: "mount" },
    Tool { name: "mountpoint", package: "util-linux" },
    Tool { name: "mkfs.ext4", package: "e2fsprogs" },
    Tool { name: "ip", package: "iproute2" },
    Tool { name: "tc", package: "iproute2" },
];

const NGINX: &[Tool] = &[
    Tool { name: "nginx", package: "nginx-light" },
    Tool { name: "rsync", package: "rsync" },
    Tool { name: "tar", package: "tar" },
    Tool { name: "gzip", package: "gzip" },
];

/// The Debian packages that a demo with these arguments needs and this machine lacks.
pub fn missing(args: &Args) -> Vec<&'static str> {
    let real = if args.real() { NGINX } else { &[] };
    let absent = WORLDS.iter().chain(real).filter(|tool| find(tool.name).is_none());
    let mut packages: Vec<_> = absent.map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

/// Refuses where something is missing, and says what to install.
pub fn needs(args: &Args) -> Result<()> {
    let packages = missing(args);
    if packages.is_empty() {
        return Ok(());
    }
    let packages = packages.join(" ");
    bail!("the demo needs programs that are not here: `apt-get install --no-install-recommends {packages}`");
}

/// A command that is found where only root's PATH would find it, speaks English, and ends when we are ended.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    command.env("PATH", path).env("LC_ALL", "C");
    ends_with_us(command, libc::SIGKILL)
}
