//! What a scene consists of: a web server, a client of it, a backup in its way, and the room they live in.

use std::{
    ffi::OsString,
    fs,
    io::{BufWriter, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Args, cgroup::Cgroup, ledger, made::Made, nginx, process::Program};
use crate::paths;

/// A scene, ready to be played.
pub struct World {
    /// What must run before the backup can, such as the sink of its streams.
    pub extras: Vec<Program>,
    /// The web server.
    pub server: Program,
    /// Where it listens.
    pub address: SocketAddr,
    /// The backup.
    pub backup: Program,
    /// The client, without the length of its run.
    pub client: Program,
    /// A mounted disk that is emptied from the page cache before each run, by mounting it anew.
    pub disk: Option<Disk>,
}

/// A mounted disk.
pub struct Disk {
    /// The block device.
    pub device: String,
    /// Where it is mounted.
    pub point: PathBuf,
}

/// What every scene starts from.
pub struct Room<'a> {
    /// What the user asked for.
    pub args: &'a Args,
    /// A directory of our own.
    pub dir: PathBuf,
    /// The group of all the scene's programs.
    pub group: Cgroup,
}

impl<'a> Room<'a> {
    /// Makes an empty room.
    pub fn make(args: &'a Args) -> Result<Self> {
        let name = name();
        let dir = args.scratch.join(&name);
        // `create_dir` refuses a name that exists: nobody can put a link of theirs in our way.
        let making =
            || fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()));
        ledger::make(Made::Dir(dir.clone()), making)?;
        let group = Cgroup::make(&name)?;
        Ok(Self { args, dir, group })
    }

    /// A new directory inside.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        Ok(dir)
    }

    /// A program of the room.
    pub fn program<W: Into<OsString>>(&self, words: impl IntoIterator<Item = W>) -> Program {
        Program::new(self.group.procs(), words)
    }

    /// One of the demo's own programs.
    pub fn own(&self, name: &str) -> Program {
        self.program([paths::target().join("release").join(name)])
    }

    /// The web server for these files: the demo's own, or nginx.
    pub fn server(&self, address: SocketAddr, files: &Path, gzip: bool) -> Result<Program> {
        if self.args.real() {
            let config = nginx::config(&self.dir, address, files, gzip)?;
            return Ok(self.program([
                OsString::from("nginx"),
                "-c".into(),
                config.into(),
                "-e".into(),
                self.dir.join("nginx.log").into(),
            ]));
        }
        let server = self
            .own("demo-server")
            .with(["--listen", &address.to_string()])
            .with(["--root".into(), files.as_os_str().to_owned()]);
        Ok(if gzip {
            server.with(["--gzip"])
        } else {
            server
        })
    }

    /// The client for these files.
    pub fn client(&self, address: SocketAddr, files: &Path) -> Program {
        let address = address.to_string();
        self.own("demo-client")
            .with(["--address", &address])
            .with(["--files".into(), files.as_os_str().to_owned()])
    }

    /// The demo's own backup with its task's name, over these files.
    pub fn backup(&self, task: &str, files: &Path) -> Program {
        self.own("demo-backup")
            .with([OsString::from(task), "--files".into(), files.into()])
    }

    /// A shell script over a directory, which it sees as `$1`.
    pub fn script(&self, text: &str, dir: &Path) -> Program {
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
pub fn name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// How all such names begin.
pub const PREFIX: &str = "tracer-demo-";

/// A port of the loopback that is free now.
pub fn loopback() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(listener.local_addr()?)
}

/// Writes `count` files of `bytes` each, of text that compresses like text.
pub fn write_files(dir: &Path, count: usize, bytes: usize) -> Result<()> {
    let text = text(1 << 20);
    for number in 0..count {
        let path = dir.join(format!("{number:04}.txt"));
        let writing = || format!("could not write {}", path.display());
        let mut file = BufWriter::new(fs::File::create(&path).with_context(writing)?);
        // No two files begin alike, so that nothing is gained by having seen another.
        let mut at = number * 4099 % text.len();
        let mut left = bytes;
        while left > 0 {
            let part = &text[at..text.len().min(at + left)];
            file.write_all(part).with_context(writing)?;
            left -= part.len();
            at = 0;
        }
        file.flush().with_context(writing)?;
    }
    Ok(())
}

/// Words in an order that looks random and is the same each time.
fn text(bytes: usize) -> Vec<u8> {
    const WORDS: &str = "the server waits for a disk that a backup holds while every reader of old pages \
                         asks again and nobody knows whose turn it is at seven in the evening";
    let words: Vec<_> = WORDS.split_whitespace().collect();
    let mut text = Vec::with_capacity(bytes + 16);
    let mut state: u32 = 1;
    while text.len() < bytes {
        // Numerical Recipes' generator; its high bits are good enough for choosing words.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.extend_from_slice(words[(state >> 16) as usize % words.len()].as_bytes());
        text.push(if state >> 29 == 0 { b'\n' } else { b' ' });
    }
    text.truncate(bytes);
    text
}

/// Removes directories that a machine which lost power kept. The caller holds the ledger's lock, so no demo runs.
pub fn sweep(scratch: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_each_time_and_has_the_length_asked_for() {
        assert_eq!(text(1000), text(1000));
        assert_eq!(text(1000).len(), 1000);
    }
}
