//! Everything the demo makes, written down before it is made, so that all of it can be unmade whatever happens.
//!
//! The ledger is a file. One process plays the scenes and adds to it. Another ([`supervise`](super::supervise)) waits for the end
//! of the first, be it an error, a panic, a Ctrl-C or a SIGKILL. It then removes everything that the file lists. If it is killed
//! too, the next start does it. A running demo holds a lock: its next holder knows that everything listed was left behind.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use xtask::command::say;

use super::made::Made;

const DIR: &str = "/run/tracer-demo";

/// The right to make things and to remove them.
pub(crate) struct Lock {
    _dir: File,
}

impl Lock {
    /// Takes the lock and removes what an earlier demo left behind.
    pub(crate) fn take() -> Result<Self> {
        let lock = Self {
            _dir: locked_dir()?,
        };
        let found = listed()?.len();
        if found > 0 {
            say(&format!(
                "removing what an earlier demo left behind ({found} things)"
            ));
            undo(0)?;
        }
        Ok(lock)
    }

    /// Removes everything, and the ledger itself.
    pub(crate) fn release(self) -> Result<()> {
        undo(0)?;
        // Where this fails an empty directory in a memory file system stays.
        let _absent = fs::remove_file(file());
        let _used = fs::remove_dir(DIR);
        Ok(())
    }
}

/// Makes a thing with `how`, writing it down first.
pub(crate) fn make<T>(thing: Made, how: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut made = listed()?;
    made.push(thing);
    save(&made)?;
    how()
}

/// How much there is; [`undo`] goes back to it.
pub(crate) fn mark() -> Result<usize> {
    Ok(listed()?.len())
}

/// Removes what was made since `mark`, the latest first. A thing that cannot be removed stays listed and is named in the error; the
/// rest is removed.
pub(crate) fn undo(mark: usize) -> Result<()> {
    let mut made = listed()?;
    // Nothing can be removed under a process that uses it.
    made.iter().skip(mark).for_each(Made::end_processes);
    let mut kept = Vec::new();
    let mut errors = Vec::new();
    while made.len() > mark {
        let Some(thing) = made.pop() else { break };
        if let Err(error) = thing.remove() {
            errors.push(format!("{error:#}"));
            kept.push(thing);
        }
    }
    made.extend(kept.into_iter().rev());
    save(&made)?;
    if !errors.is_empty() {
        bail!(
            "could not clean up; the next `cargo xtask demo` tries again: {}",
            errors.join("; ")
        );
    }
    Ok(())
}

fn locked_dir() -> Result<File> {
    loop {
        fs::create_dir_all(DIR).with_context(|| format!("could not make {DIR}"))?;
        let dir = File::open(DIR).with_context(|| format!("could not open {DIR}"))?;
        // SAFETY: the descriptor is open while `dir` lives; flock touches no memory of ours.
        if unsafe { libc::flock(dir.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            bail!(
                "another demo is running on this machine, and two would disturb each other: wait for its end"
            );
        }
        // The one before us removes the directory when it ends: a lock on the removed one protects nothing.
        let current = fs::metadata(DIR).map(|meta| meta.ino()).ok();
        if current == Some(dir.metadata()?.ino()) {
            return Ok(dir);
        }
    }
}

fn file() -> PathBuf {
    Path::new(DIR).join("made")
}

fn listed() -> Result<Vec<Made>> {
    match fs::read_to_string(file()) {
        Ok(text) => text
            .lines()
            .map(Made::parse)
            .collect::<Result<_>>()
            .with_context(|| {
                format!(
                    "{} lists things this version does not know: remove them and the file by hand",
                    file().display()
                )
            }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("could not read {}", file().display())),
    }
}

fn save(made: &[Made]) -> Result<()> {
    let text: String = made.iter().map(|thing| format!("{thing}\n")).collect();
    let new = file().with_extension("new");
    // Renamed into place, so that a SIGKILL at any point leaves the old list or the new one.
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, file()))
        .with_context(|| format!("could not write {}", file().display()))
}
