//! What to do: a table, each row with its check against this machine. "Does nothing here, because …" is said too.

use super::{Culprit, Hypothesis, Verdict};
use crate::{
    class::Resource,
    model::books::{Books, Holder, ProcessId},
};

/// A remedy, whether it helps here or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Ready to run. Text from outside is not escaped in it.
    pub command: String,
    /// Why it would help.
    pub why: &'static str,
    /// Does it do anything here?
    pub applies: bool,
    /// What it costs the culprit, or why it does nothing; with the page of the manual.
    pub note: String,
}

/// What a row looks at: the verdict's hypothesis and one of its culprits.
struct Case<'a> {
    books: &'a Books,
    found: &'a Hypothesis,
    culprit: &'a Culprit,
}

/// One row.
struct Row {
    /// For waits for this.
    resource: Resource,
    why: &'static str,
    /// Ready to run; `None` if it is no remedy against this culprit at all.
    command: fn(&Case<'_>) -> Option<String>,
    /// What it costs where it applies, or why it does nothing here.
    check: fn(&Case<'_>) -> Result<String, String>,
}

const TABLE: &[Row] = &[
    Row {
        resource: Resource::Disk,
        why: "lets it use the disk only when nobody else does",
        command: |case| Some(format!("ionice -c3 -p {}", pids(case))),
        check: ionice,
    },
    Row {
        resource: Resource::Network,
        why: "leaves part of the link to others",
        command: bwlimit_command,
        check: bwlimit,
    },
    Row {
        resource: Resource::Cpu,
        why: "makes it give way to others on a contended CPU",
        command: |case| Some(format!("renice -n 19 -p {}", pids(case))),
        check: renice,
    },
];

/// Remedies against the culprits of the verdict. A kernel thread takes no orders.
pub fn remedies(books: &Books, verdict: &Verdict) -> Vec<Remedy> {
    let Some(found) = verdict.primary() else {
        return Vec::new();
    };
    let rows = TABLE.iter().filter(|row| row.resource == found.resource);
    rows.flat_map(|row| {
        let culprits = found.culprits.iter();
        let users = culprits.filter(|culprit| !books.processes[culprit.process].kernel);
        users.filter_map(|culprit| {
            row.remedy(&Case {
                books,
                found,
                culprit,
            })
        })
    })
    .collect()
}

impl Row {
    fn remedy(&self, case: &Case<'_>) -> Option<Remedy> {
        let command = (self.command)(case)?;
        let check = (self.check)(case);
        Some(Remedy {
            command,
            why: self.why,
            applies: check.is_ok(),
            note: check.unwrap_or_else(|because| format!("does nothing here, because {because}")),
        })
    }
}

/// The members that are still there, or else the one that held most.
fn pids(case: &Case<'_>) -> String {
    let pid = |id: &ProcessId| case.books.processes[*id].pid.to_string();
    let alive = case.culprit.members.iter();
    let alive = alive.filter(|id| !case.books.processes[**id].exited);
    let pids: Vec<String> = alive.map(pid).collect();
    if pids.is_empty() {
        return pid(&case.culprit.process);
    }
    pids.join(" ")
}

/// Did every member end? Then a command with its pid comes too late.
fn gone(case: &Case<'_>) -> Result<(), String> {
    let mut members = case.culprit.members.iter();
    match members.all(|id| case.books.processes[*id].exited) {
        true => Err(format!(
            "{} has ended: start it with the limit next time",
            case.culprit.name
        )),
        false => Ok(()),
    }
}

/// ionice(1): classes are honoured by BFQ, and by mq-deadline since 5.14 (Documentation/block/ioprio.rst); others ignore them.
fn ionice(case: &Case<'_>) -> Result<String, String> {
    gone(case)?;
    let place = case.found.place.map(|place| &case.books.places[place]);
    let place = place.ok_or("the disk is not known")?;
    let disk = case.books.disks.iter().find(|disk| disk.name == *place);
    let scheduler = disk.map_or("", |disk| disk.scheduler.as_str());
    match scheduler {
        "bfq" => {}
        "mq-deadline" if is_since(&case.books.start.kernel, (5, 14)) => {}
        "mq-deadline" => {
            return Err(format!(
                "the scheduler of {place}, mq-deadline, knows I/O classes only since Linux 5.14 (ionice(1))"
            ));
        }
        "" => return Err(format!("the scheduler of {place} is not known (ionice(1))")),
        other => {
            return Err(format!(
                "the scheduler of {place} is {other}, which ignores I/O classes (ionice(1))"
            ));
        }
    }
    Ok(
        "it takes longer while others use the disk; buffered writes are not slowed (ionice(1))"
            .to_owned(),
    )
}

/// Is a kernel release (`6.12.43+deb13-amd64`) at least this? A scheduler's abilities show nowhere else.
fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}

/// The member that is rsync and talks to another machine, in person or through its ssh.
fn rsync(case: &Case<'_>) -> Option<ProcessId> {
    let remote = |id: &ProcessId| {
        let process = &case.books.processes[*id];
        process.comm == "rsync" && process.cmdline.contains(':')
    };
    let members = &case.culprit.members;
    members.iter().copied().find(remote)
}

/// The same command with a limit of half of what it sent, in the KiB/s that rsync takes.
fn bwlimit_command(case: &Case<'_>) -> Option<String> {
    let rsync = rsync(case)?;
    let sent = case.culprit.members.iter().filter_map(|id| {
        let key = (Resource::Network, case.found.place, Holder::Process(*id));
        Some(case.books.held.get(&key)?.bytes)
    });
    let seconds = case.books.window_ns() as f64 / 1e9;
    let rate = (sent.sum::<u64>() as f64 / seconds / 2.0 / 1024.0).round();
    let limit = match rate >= 1.0 {
        true => format!("--bwlimit={rate}"),
        false => "--bwlimit=RATE".to_owned(),
    };
    let cmdline = &case.books.processes[rsync].cmdline;
    let (program, arguments) = cmdline.split_once(' ')?;
    Some(format!("{program} {limit} {arguments}"))
}

/// rsync(1): the rate is fixed at start.
fn bwlimit(case: &Case<'_>) -> Result<String, String> {
    let limited =
        rsync(case).is_some_and(|rsync| case.books.processes[rsync].cmdline.contains("--bwlimit"));
    match limited {
        true => Err("it has a --bwlimit already: choose a lower one (rsync(1))".to_owned()),
        false => Ok("needs a restart of the backup, which then takes longer (rsync(1))".to_owned()),
    }
}

/// renice(1), and taskset(1) where there is another CPU to go to.
fn renice(case: &Case<'_>) -> Result<String, String> {
    gone(case)?;
    let mut note =
        "it takes longer while others want the CPU; in a CPU cgroup nice counts among its members only (renice(1))"
            .to_owned();
    if case.books.start.cpus > 1 {
        note.push_str("; or keep it on CPUs that the target does not use: `taskset -a -c -p CPUS PID` (taskset(1))");
    }
    Ok(note)
}
