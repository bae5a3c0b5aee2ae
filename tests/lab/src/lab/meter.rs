//! The kernel's own counters, none of them ours. They prove a scenario, and give the true shares.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use xtask::command::output;

use crate::world::{disk, tools::tool};

/// A counter that only grows. Times are in seconds, amounts in bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Meter {
    /// Time on CPUs, of processes and the children they have waited for (`/proc/PID/stat`).
    OnCpu(Who),
    /// Time in which threads were runnable and did not run (`/proc/PID/task/TID/schedstat`, field 2).
    Queued(Who),
    /// Bytes that were read from disks (`/proc/PID/io`, `read_bytes`).
    Read(Who),
    /// Bytes that were read from anything (`/proc/PID/io`, `rchar`). A program that sends files has read what it sent; that file
    /// does not count bytes written by `send`.
    Taken(Who),
    /// Time in which a disk had work (`/sys/class/block/NAME/stat`, field 10).
    DiskBusy(String),
    /// Bytes that were written to a disk (the same file, field 7).
    DiskWritten(String),
    /// Bytes that left through a device's queueing discipline (`tc -s qdisc`).
    Sent(String),
    /// Packets that a device's queueing discipline held back or dropped (`tc -s qdisc`: overlimits and dropped).
    HeldBack(String),
    /// Time in which a control group was throttled (`cpu.stat`), read from this file.
    Throttled(PathBuf),
    /// Pages that the kernel took back because memory was short (`/proc/vmstat`, `pgsteal_kswapd` and `pgsteal_direct`).
    TakenBack,
    /// Pages that were read back from swap (`/proc/vmstat`, `pswpin`).
    SwappedIn,
    /// Times that a control group's memory was full (`memory.events`, `memory.failcnt`), read from this file.
    Full(PathBuf),
}

/// The owner of a counter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Who {
    /// The target.
    Server,
    /// The backup of this number.
    Backup(usize),
}

/// The processes of a play.
pub(crate) struct Cast {
    /// The target's.
    pub(crate) server: Vec<u32>,
    /// Each backup's.
    pub(crate) backups: Vec<Vec<u32>>,
    /// Those of each program that runs from the beginning.
    pub(crate) extras: Vec<Vec<u32>>,
}

impl Cast {
    fn of(&self, who: Who) -> &[u32] {
        match who {
            Who::Server => &self.server,
            Who::Backup(number) => self.backups.get(number).map_or(&[], Vec::as_slice),
        }
    }
}

impl Meter {
    /// Its value now. Processes that are gone count nothing.
    pub(crate) fn read(&self, cast: &Cast) -> Result<f64> {
        let sum = |who: Who, of: fn(u32) -> Option<f64>| {
            cast.of(who).iter().filter_map(|&pid| of(pid)).sum()
        };
        Ok(match self {
            Self::OnCpu(who) => sum(*who, on_cpu),
            Self::Queued(who) => sum(*who, queued),
            Self::Read(who) => sum(*who, |pid| io(pid, "read_bytes: ")),
            Self::Taken(who) => sum(*who, |pid| io(pid, "rchar: ")),
            Self::DiskBusy(disk) => disk::figure(disk, 10)? / 1000.0,
            Self::DiskWritten(disk) => disk::figure(disk, 7)? * SECTOR_BYTES,
            Self::Sent(device) => qdisc(device, &["Sent"])?,
            Self::HeldBack(device) => qdisc(device, &["dropped", "overlimits"])?,
            Self::TakenBack => vmstat(&["pgsteal_kswapd", "pgsteal_direct"])?,
            Self::SwappedIn => vmstat(&["pswpin"])?,
            Self::Throttled(stat) => throttled(stat)?,
            Self::Full(file) => full(file)?,
        })
    }

    /// The name of the count, with its unit, for the table.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::OnCpu(who) => format!("{} on CPU s/s", who.name()),
            Self::Queued(who) => format!("{} queued for CPU s/s", who.name()),
            Self::Read(who) => format!("{} reads B/s", who.name()),
            Self::Taken(who) => format!("{} takes B/s", who.name()),
            Self::DiskBusy(disk) => format!("{disk} busy s/s"),
            Self::DiskWritten(disk) => format!("{disk} written B/s"),
            Self::Sent(device) => format!("{device} sends B/s"),
            Self::HeldBack(device) => format!("{device} holds back packets/s"),
            Self::TakenBack => "taken back pages/s".to_owned(),
            Self::SwappedIn => "swapped in pages/s".to_owned(),
            Self::Throttled(_) => "throttled s/s".to_owned(),
            Self::Full(_) => "memory full times/s".to_owned(),
        }
    }
}

impl Who {
    fn name(self) -> String {
        match self {
            Self::Server => "server".to_owned(),
            Self::Backup(number) => format!("backup {}", number + 1),
        }
    }
}

/// User and system time, in seconds, with that of children waited for: fields 14 to 17 of proc(5). The kernel scales their sum to
/// the time that the scheduler measured.
fn on_cpu(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    // The state is field 3.
    let ticks: u64 = fields
        .skip(11)
        .take(4)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    // SAFETY: sysconf takes a number and touches no memory.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some(ticks as f64 / per_second as f64)
}

fn queued(pid: u32) -> Option<f64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    Some(tasks.flatten().filter_map(of).sum::<u64>() as f64 / 1e9)
}

fn io(pid: u32, name: &str) -> Option<f64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines()
        .find_map(|line| line.strip_prefix(name))?
        .parse()
        .ok()
}

/// Of that file, whatever blocks the disk has.
const SECTOR_BYTES: f64 = 512.0;

fn vmstat(names: &[&str]) -> Result<f64> {
    let text = fs::read_to_string("/proc/vmstat").context("could not read /proc/vmstat")?;
    Ok(counters(&text, names))
}

/// The sum of the counters of these names, each of which has a line.
fn counters(text: &str, names: &[&str]) -> f64 {
    let count = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        count.parse::<f64>().ok().filter(|_| names.contains(&name))
    };
    text.lines().filter_map(count).sum()
}

fn throttled(stat: &PathBuf) -> Result<f64> {
    let text =
        fs::read_to_string(stat).with_context(|| format!("could not read {}", stat.display()))?;
    let value = |name, per_second: f64| {
        let found = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(found.trim().parse::<f64>().ok()? / per_second)
    };
    // Version 1 counts nanoseconds, version 2 microseconds.
    value("throttled_time ", 1e9)
        .or_else(|| value("throttled_usec ", 1e6))
        .with_context(|| {
            format!(
                "{} does not say how long the group was throttled",
                stat.display()
            )
        })
}

fn full(file: &PathBuf) -> Result<f64> {
    let text =
        fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    times_full(&text)
        .with_context(|| format!("{} does not say how often it was full", file.display()))
}

/// The number of v1, or the sum of v2's `max` and `high`.
fn times_full(text: &str) -> Option<f64> {
    if let Ok(times) = text.trim().parse() {
        return Some(times);
    }
    let value = |name| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))?
            .parse::<f64>()
            .ok()
    };
    Some(value("max ")? + value("high ")?)
}

/// The sum of the numbers that belong to these words in the first line of `tc -s qdisc`'s figures.
fn qdisc(device: &str, words: &[&str]) -> Result<f64> {
    let mut tc: Command = tool("tc");
    let text = output(
        tc.args(["-s", "qdisc", "show", "dev", device]),
        "ask tc for its figures",
    )?;
    Ok(figures(&text, words))
}

/// ` Sent 1234 bytes 5 pkt (dropped 6, overlimits 7 requeues 8)`
fn figures(text: &str, wanted: &[&str]) -> f64 {
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("Sent "))
        .unwrap_or_default();
    let words: Vec<_> = line
        .split([' ', '(', ')', ','])
        .filter(|word| !word.is_empty())
        .collect();
    let after = |name: &&str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1)?.parse::<f64>().ok()
    };
    wanted.iter().filter_map(after).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_count_how_often_memory_was_full() {
        assert_eq!(times_full("17\n"), Some(17.0));
        assert_eq!(times_full("low 0\nhigh 2\nmax 3\noom 0\n"), Some(5.0));
        assert_eq!(times_full("low 0\n"), None);
    }

    #[test]
    fn counters_of_memory_are_summed_by_name() {
        let text =
            "pswpin 4\npswpout 9\npgsteal_kswapd 10\npgsteal_direct 5\npgsteal_direct_throttle 1\n";
        assert_eq!(counters(text, &["pgsteal_kswapd", "pgsteal_direct"]), 15.0);
        assert_eq!(counters(text, &["pswpin"]), 4.0);
        assert_eq!(counters(text, &["pgfault"]), 0.0);
    }

    #[test]
    fn figures_of_a_queueing_discipline_are_found_by_name() {
        let text = "qdisc tbf 8001: root refcnt 9 rate 50Mbit\n Sent 1234 bytes 5 pkt (dropped 6, overlimits 7 requeues 8) \n backlog 0b";
        assert_eq!(figures(text, &["Sent"]), 1234.0);
        assert_eq!(figures(text, &["dropped", "overlimits"]), 13.0);
        assert_eq!(figures("", &["Sent"]), 0.0);
    }

    #[test]
    fn this_process_has_been_on_a_cpu() {
        let me = std::process::id();
        assert!(on_cpu(me).is_some());
        assert!(queued(me).is_some());
    }
}
