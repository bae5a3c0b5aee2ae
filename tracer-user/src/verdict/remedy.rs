//! What to do: a table, each row with its check against this machine. "Does nothing here, because …" is said too.

use super::{Culprit, Hypothesis, Verdict};
use crate::{class::Resource, model::books::Books};

/// A remedy, whether it helps here or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Ready to run.
    pub command: String,
    /// Why it would help.
    pub why: &'static str,
    /// Does it do anything here?
    pub applies: bool,
    /// What it costs, or why it does nothing.
    pub note: String,
}

/// One row: for which resource, and the remedy for a culprit; `None` if it is no remedy for this culprit.
struct Row {
    resource: Resource,
    make: fn(&Books, &Hypothesis, &Culprit) -> Option<Remedy>,
}

const TABLE: &[Row] = &[
    Row {
        resource: Resource::Disk,
        make: ionice,
    },
    Row {
        resource: Resource::Network,
        make: bwlimit,
    },
    Row {
        resource: Resource::Cpu,
        make: renice,
    },
];

/// Remedies for the culprits of the verdict.
pub fn remedies(books: &Books, verdict: &Verdict) -> Vec<Remedy> {
    let Some(first) = verdict.primary() else {
        return Vec::new();
    };
    let rows = TABLE.iter().filter(|row| row.resource == first.resource);
    let user = |culprit: &&Culprit| !books.processes[culprit.process].kernel;
    rows.flat_map(|row| {
        first
            .culprits
            .iter()
            .filter(user)
            .filter_map(|culprit| (row.make)(books, first, culprit))
    })
    .collect()
}

fn pids(books: &Books, culprit: &Culprit) -> String {
    let alive = culprit
        .members
        .iter()
        .map(|id| &books.processes[*id])
        .filter(|process| !process.exited);
    let pids: Vec<String> = alive.map(|process| process.pid.to_string()).collect();
    if pids.is_empty() {
        books.processes[culprit.process].pid.to_string()
    } else {
        pids.join(" ")
    }
}

/// ionice(1): the idle class is honoured by BFQ, and by mq-deadline since 6.1; `none` and kyber ignore it.
fn ionice(books: &Books, hypothesis: &Hypothesis, culprit: &Culprit) -> Option<Remedy> {
    let place = &books.places[hypothesis.place?];
    let disk = books.disks.iter().find(|disk| disk.name == *place)?;
    let applies = matches!(disk.scheduler.as_str(), "bfq" | "mq-deadline");
    let scheduler = if disk.scheduler.is_empty() {
        "none"
    } else {
        &disk.scheduler
    };
    Some(Remedy {
        command: format!("ionice -c3 -p {}", pids(books, culprit)),
        why: "lets the backup use the disk only when nobody else does",
        applies,
        note: if applies {
            "the backup takes longer while the disk is busy; buffered writes are not slowed (ionice(1))".to_owned()
        } else {
            format!(
                "does nothing here, because the scheduler of {place} is {scheduler}, which ignores I/O classes (ionice(1))"
            )
        },
    })
}

/// rsync(1): the rate is fixed at start.
fn bwlimit(books: &Books, _: &Hypothesis, culprit: &Culprit) -> Option<Remedy> {
    let process = &books.processes[culprit.process];
    if process.comm != "rsync" {
        return None;
    }
    let limited = process.cmdline.contains("--bwlimit");
    Some(Remedy {
        command: "rsync --bwlimit=RATE …".to_owned(),
        why: "leaves part of the link to others",
        applies: !limited,
        note: if limited {
            "it is started with --bwlimit already: choose a lower rate".to_owned()
        } else {
            "needs a restart of the backup, which then takes longer (rsync(1))".to_owned()
        },
    })
}

/// renice(1)
fn renice(books: &Books, _: &Hypothesis, culprit: &Culprit) -> Option<Remedy> {
    Some(Remedy {
        command: format!("renice -n 19 -p {}", pids(books, culprit)),
        why: "gives way to others on a contended CPU",
        applies: true,
        note: "the backup takes longer while the CPU is busy; \
               inside a CPU cgroup nice counts only among its members (renice(1))"
            .to_owned(),
    })
}
