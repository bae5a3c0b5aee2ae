//! Fills a machine with processes, threads, sockets or disks before tracer starts on it, and ends them for certain.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::block::attach;
use crate::world::{
    Room, ledger,
    made::{Made, set},
    process::Running,
};

/// How many ids of processes and threads a kernel gives out at a time.
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Ids that the rest of the machine needs.
const OTHERS: usize = 10_000;
/// How long a crowd may take to go.
const GOES: Duration = Duration::from_secs(20);
/// Bytes of a disk that nobody reads.
const DISK: u64 = 1 << 20;

/// The things of which there are many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Crowd {
    Nobody,
    Processes(usize),
    Threads(usize),
    /// Sockets of the target itself.
    Sockets(usize),
    /// Loop devices over files in memory.
    Disks(usize),
    /// Forks a second.
    Forks(usize),
}

impl Crowd {
    /// As it is shown.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Nobody => "alone".to_owned(),
            Self::Processes(count) => format!("{count} processes"),
            Self::Threads(count) => format!("{count} threads"),
            Self::Sockets(count) => format!("{count} sockets of the target"),
            Self::Disks(count) => format!("{count} disks"),
            Self::Forks(rate) => format!("{rate} forks a second"),
        }
    }

    /// The arguments of the program that makes it.
    fn words(self) -> Option<[String; 2]> {
        let (what, count) = match self {
            Self::Nobody | Self::Disks(_) => return None,
            Self::Processes(count) => ("processes", count),
            Self::Threads(count) => ("threads", count),
            Self::Sockets(count) => ("sockets", count),
            Self::Forks(rate) => ("forks", rate),
        };
        Some([what.to_owned(), count.to_string()])
    }

    /// Makes it, does something, and waits until it is gone. `there` gets the target's pid, if the target is the crowd's process.
    pub(crate) fn around<T>(
        self,
        room: &Room,
        there: impl FnOnce(Option<u32>) -> Result<T>,
    ) -> Result<T> {
        let mark = ledger::mark()?;
        if let Self::Processes(count) | Self::Threads(count) = self {
            allow_ids(count + OTHERS)?;
        }
        if let Self::Disks(count) = self {
            (0..count).try_for_each(|number| disk(room, number))?;
        }
        let crowd = self.words().map(|words| start(room, words)).transpose()?;
        let pid = crowd.as_ref().map(Running::pid);
        let done = there(pid.filter(|_| matches!(self, Self::Sockets(_))));
        drop(crowd);
        gone(room)?;
        ledger::undo(mark)?;
        done
    }
}

fn start(room: &Room, words: [String; 2]) -> Result<Running> {
    let mut crowd = room.own("bench-crowd").with(words).start(Stdio::piped())?;
    let said = crowd.line()?;
    ensure!(said == "ready", "the crowd said {said:?}");
    Ok(crowd)
}

/// Lets the kernel give out at least `count` ids, until everything is removed again.
fn allow_ids(count: usize) -> Result<()> {
    let was = fs::read_to_string(PID_MAX).context("could not read how many ids there may be")?;
    let was = was.trim().to_owned();
    if was.parse::<usize>()? >= count {
        return Ok(());
    }
    ledger::make(Made::Setting(PID_MAX.into(), was), || {
        set(Path::new(PID_MAX), &count.to_string()).context("could not allow more processes")
    })
}

fn disk(room: &Room, number: usize) -> Result<()> {
    let image = room.dir.join(format!("crowd-{number}"));
    let file = File::create(&image).context("could not make a disk in memory")?;
    file.set_len(DISK)?;
    attach(&image).map(drop)
}

/// Waits until all ended processes are gone.
fn gone(room: &Room) -> Result<()> {
    let end = Instant::now() + GOES;
    while !fs::read_to_string(room.group.procs())?.is_empty() {
        ensure!(Instant::now() < end, "a crowd does not go");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
