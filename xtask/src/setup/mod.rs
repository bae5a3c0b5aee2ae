//! `cargo xtask setup`: names the missing programs, then installs them.
//!
//! Every other task begins with the part of this that it needs. When all is there that costs a few milliseconds, and
//! nothing is printed.

mod apt;
mod bpf;
mod guest;

use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use self::apt::Need;

pub use self::{
    bpf::build_tools,
    guest::{busybox, vng},
};
use crate::{
    command::{cargo, run as run_command, say, succeeds},
    toolchain::Toolchain,
};

/// The groups of tools to install.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask setup              what build, test and demo need\n  \
    cargo xtask setup build        only what the build needs\n  cargo xtask setup demo nginx   the demo with real programs"
)]
pub struct Args {
    /// Groups of tools; all but nginx, lab and bench when none is named
    groups: Vec<Group>,
}

/// Tools that are needed together.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Group {
    /// A compiler with the source of its core library, and bpf-linker
    Build,
    /// Network namespaces, traffic shaping, loop disks
    Demo,
    /// The real programs of `demo --with nginx`
    Nginx,
    /// The real programs of the lab's scenarios
    Lab,
    /// The peers of `bench`, and its loads
    Bench,
    /// Virtual machines for other kernels
    Vm,
}

/// Programs for the scenes of the demo and of the kernel tests.
const DEMO: &[Need] = &[
    Need::of("ip", "iproute2"),
    Need::of("tc", "iproute2"),
    Need::of("mkfs.ext4", "e2fsprogs"),
    Need::of("losetup", "util-linux"),
    Need::of("mount", "mount"),
    Need::of("nsenter", "util-linux"),
];

/// The backups of the kernel tests.
const TEST: &[Need] = &[
    Need::of("rsync", "rsync"),
    Need::of("zstd", "zstd"),
    Need::of("xz", "xz-utils"),
    Need::of("pigz", "pigz"),
];

/// The real server and the real backups.
const NGINX: &[Need] = &[
    Need::of("nginx", "nginx-light"),
    Need::of("rsync", "rsync"),
    Need::of("tar", "tar"),
    Need::of("gzip", "gzip"),
];

/// The real backups of the lab.
const LAB: &[Need] = &[
    Need::of("fio", "fio"),
    Need::of("zstd", "zstd"),
    Need::of("xz", "xz-utils"),
    Need::of("chrt", "util-linux"),
    Need::of("restic", "restic"),
    Need::of("borg", "borgbackup"),
    Need::of("bzip2", "bzip2"),
    Need::of("cpio", "cpio"),
    Need::of("python3", "python3"),
    Need::of("gunicorn", "gunicorn"),
    Need::of("h2load", "nghttp2-client"),
    Need::of("openssl", "openssl"),
    Need::of("socat", "socat"),
    Need::of("nft", "nftables"),
    Need::of("node", "nodejs"),
    Need::of("javac", "default-jdk-headless"),
];

/// What makes the file systems, the swap space and the tunnels of the lab's guests.
const GUEST: &[Need] = &[
    Need::of("mkswap", "util-linux"),
    Need::of("swapon", "mount"),
    Need::of("mkfs.xfs", "xfsprogs"),
    Need::of("mkfs.btrfs", "btrfs-progs"),
    Need::of("wg", "wireguard-tools"),
];

/// The lab's other real servers, each with the name of its service, which is not to run on its own.
const LAB_SERVERS: &[(Need, &str)] = &[
    (Need::of("redis-server", "redis-server"), "redis-server"),
    (Need::of("apache2", "apache2"), "apache2"),
    (Need::of("lighttpd", "lighttpd"), "lighttpd"),
    // Its server is not on PATH; this comes with every server and with no client.
    (Need::of("pg_ctlcluster", "postgresql"), "postgresql"),
    (Need::of("sshd", "openssh-server"), "ssh.service"),
    (Need::of("caddy", "caddy"), "caddy"),
    (Need::of("etcd", "etcd-server"), "etcd"),
    // Its client, which may be there without it, has the name of its service.
    (Need::of("mariadbd", "mariadb-server"), "mariadb.service"),
];

/// The peers that tracer is measured beside, and the loads.
const BENCH: &[Need] = &[
    Need::of("runqlat", "libbpf-tools"),
    Need::of("bpftrace", "bpftrace"),
    Need::of("perf", "linux-perf"),
    Need::of("fio", "fio"),
    Need::of("wrk", "wrk"),
    Need::of("h2load", "nghttp2-client"),
];

/// Installs what was asked for.
pub fn run(args: &Args) -> Result<()> {
    let all = [Group::Build, Group::Demo, Group::Vm];
    let groups = if args.groups.is_empty() {
        &all[..]
    } else {
        &args.groups
    };
    for group in groups {
        match group {
            Group::Build => drop(build_tools()?),
            Group::Demo => demo_tools()?,
            Group::Nginx => nginx_tools()?,
            Group::Lab => lab_tools()?,
            Group::Bench => bench_tools()?,
            Group::Vm => drop((vng()?, busybox()?)),
        }
    }
    say("everything that was asked for is installed");
    Ok(())
}

/// Installs rustfmt and clippy where they are missing: a minimal toolchain lacks them.
pub fn lint_tools(toolchain: &Toolchain) -> Result<()> {
    let works = |name: &str| succeeds(cargo().args([name, "--version"]));
    if !works("fmt") || !works("clippy") {
        say("installing rustfmt and clippy by rustup");
        let mut rustup = Command::new("rustup");
        run_command(
            rustup.args(["component", "add", "rustfmt", "clippy"]),
            "install rustfmt and clippy",
        )?;
    }
    if toolchain.compiler.is_debian() && toolchain.compiler.clippy().is_none() {
        apt::install(&["rust-web-clippy"], "lints of the kernel half")?;
    }
    Ok(())
}

/// Installs the missing tools for the scenes of the demo and of the kernel tests.
pub fn demo_tools() -> Result<()> {
    apt::need(DEMO, "network namespaces, traffic shaping and loop disks")
}

/// Installs what is missing for the kernel tests.
pub fn test_tools() -> Result<()> {
    demo_tools()?;
    apt::need(TEST, "the backups of the kernel tests")
}

/// Installs the missing real programs of `demo --with nginx`. An nginx that did not run before does not run afterwards.
pub fn nginx_tools() -> Result<()> {
    apt::need_without_starting(
        NGINX,
        "the demo with a real server and real backups",
        "nginx",
    )
}

/// Installs the missing real programs of the lab's scenarios.
pub fn lab_tools() -> Result<()> {
    nginx_tools()?;
    for (server, service) in LAB_SERVERS {
        apt::need_without_starting(
            std::slice::from_ref(server),
            "the lab's real servers",
            service,
        )?;
    }
    apt::need(LAB, "the lab's real backups")
}

/// Installs what is missing for the lab in a guest, which sees this machine's programs.
pub fn guest_lab_tools() -> Result<()> {
    demo_tools()?;
    lab_tools()?;
    apt::need(GUEST, "the lab's guests")
}

/// Installs the missing peers and loads of the bench.
pub fn bench_tools() -> Result<()> {
    demo_tools()?;
    nginx_tools()?;
    apt::need(BENCH, "the bench's peers and loads")
}
