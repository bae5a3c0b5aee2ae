//! The parts of all scenes: slow disks, shaped links, control groups, programs and their certain end.
//!
//! Code map: a [`Room`] is a directory and a control group. [`disk`], [`link`], [`upper`] and [`files`] furnish it. [`process`] starts
//! programs in it, with [`nginx`], [`apache`], [`lighttpd`], [`runtimes`], [`database`], [`mariadb`] and [`etcd`] for the real
//! servers. [`supervise`], [`ledger`] and [`made`] make sure that nothing stays behind, however a run ends.

pub(crate) mod apache;
pub(crate) mod caller;
pub(crate) mod cgroup;
pub(crate) mod database;
pub(crate) mod disk;
pub(crate) mod etcd;
pub(crate) mod files;
pub(crate) mod ledger;
pub(crate) mod lighttpd;
pub(crate) mod link;
pub(crate) mod made;
pub(crate) mod mariadb;
pub(crate) mod meeting;
pub(crate) mod nginx;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod runtimes;
pub(crate) mod ssh;
pub(crate) mod supervise;
pub(crate) mod tools;
pub(crate) mod upper;
pub(crate) mod web;

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use xtask::paths;

use self::{cgroup::Cgroup, made::Made, process::Program};

/// The ground on which every scene is made.
pub(crate) struct Room {
    /// A directory of our own.
    pub(crate) dir: PathBuf,
    /// The group of all the scene's programs.
    pub(crate) group: Cgroup,
}

impl Room {
    /// Makes an empty room.
    pub(crate) fn make(scratch: &Path) -> Result<Self> {
        let name = name();
        let dir = scratch.join(&name);
        // `create_dir` refuses a name that exists: nobody can put a link of theirs in our way.
        let making =
            || fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()));
        ledger::make(Made::Dir(dir.clone()), making)?;
        let group = Cgroup::make(&name)?;
        Ok(Self { dir, group })
    }

    /// A new directory inside.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        Ok(dir)
    }

    /// A program of the room.
    pub(crate) fn program<W: Into<OsString>>(&self, words: impl IntoIterator<Item = W>) -> Program {
        Program::new(self.group.procs(), words)
    }

    /// One of the demo's own programs.
    pub(crate) fn own(&self, name: &str) -> Program {
        self.program([paths::target().join("release").join(name)])
    }

    /// A real web server for these files: nginx, a master and a worker.
    pub(crate) fn nginx(&self, address: SocketAddr, files: &Path, gzip: bool) -> Result<Program> {
        Ok(self.nginx_with(nginx::config(&self.dir, address, files, gzip)?))
    }

    /// nginx with this configuration.
    pub(crate) fn nginx_with(&self, config: PathBuf) -> Program {
        self.program([
            OsString::from("nginx"),
            "-c".into(),
            config.into(),
            "-e".into(),
            self.dir.join("nginx.log").into(),
        ])
    }

    /// The demo's own web server for these files.
    pub(crate) fn server(&self, address: SocketAddr, files: &Path, gzip: bool) -> Program {
        let server = self
            .own("demo-server")
            .with(["--listen", &address.to_string()])
            .with(["--root".into(), files.as_os_str().to_owned()]);
        if gzip {
            server.with(["--gzip"])
        } else {
            server
        }
    }

    /// The client for these files.
    pub(crate) fn client(&self, address: SocketAddr, files: &Path) -> Program {
        let address = address.to_string();
        self.own("demo-client")
            .with(["--address", &address])
            .with(["--files".into(), files.as_os_str().to_owned()])
    }

    /// The demo's own backup with its task's name, over these files.
    pub(crate) fn backup(&self, task: &str, files: &Path) -> Program {
        self.own("demo-backup")
            .with([OsString::from(task), "--files".into(), files.into()])
    }

    /// A shell script over a directory, which it sees as `$1`.
    pub(crate) fn script(&self, text: &str, dir: &Path) -> Program {
        self.program([
            OsString::from("sh"),
            "-c".into(),
            text.into(),
            "backup".into(),
            dir.into(),
        ])
    }
}

/// The name of this demo's things: no other process has it.
pub(crate) fn name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// How all such names begin.
pub(crate) const PREFIX: &str = "tracer-demo-";

/// A port of the loopback that is free now.
pub(crate) fn loopback() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(listener.local_addr()?)
}

/// Removes directories that stayed behind when the machine lost power. The caller holds the ledger's lock, so no demo runs.
pub(crate) fn sweep(scratch: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    let listing = || format!("could not list {}", scratch.display());
    for entry in fs::read_dir(scratch).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let ours = number.is_some_and(|number| number.parse::<u32>().is_ok());
        if ours
            && entry
                .metadata()
                .is_ok_and(|meta| meta.is_dir() && meta.uid() == 0)
        {
            Made::Dir(entry.path()).remove()?;
        }
    }
    Ok(())
}
