//! Holder groups: a backup is a job of several processes, named after it (design §5).
//!
//! From the holder upwards while the parent is no ancestor of the target, not pid 1, no kernel thread, no session broker and of the
//! same session; what hangs below is one group. Groups at the top of the same process group (a pipeline of one shell) are one, unless
//! the target is in that process group too.

use std::collections::{BTreeMap, HashSet};

use crate::model::books::{Books, Process, ProcessId};

/// Index of a group: the lowest index of its members.
pub type GroupId = usize;

/// Programs that start other people's jobs: their children have nothing in common.
const BROKERS: &[&str] = &[
    "sshd",
    "sshd-session",
    "cron",
    "crond",
    "CRON",
    "atd",
    "systemd",
    "init",
    "containerd-shim",
    "conmon",
    "dockerd",
    "containerd",
    "tmux",
    "tmux: server",
    "screen",
    "SCREEN",
    "sudo",
    "su",
    "login",
    "runsv",
    "runsvdir",
    "supervisord",
    "s6-supervise",
];
const SHELLS: &[&str] = &["bash", "sh", "dash", "zsh", "fish", "ksh", "busybox"];

/// Names joined in the name of a group.
const MOST_NAMES: usize = 4;

/// Which process belongs to which group.
#[derive(Clone, Debug)]
pub struct Groups {
    of: Vec<GroupId>,
}

/// A group by its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index.
    pub id: GroupId,
    /// Members.
    pub members: Vec<ProcessId>,
}

/// What makes two roots one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Root(ProcessId),
    Pipeline(u32, u32),
    Kernel(String),
}

impl Groups {
    /// Groups all processes of the books.
    #[must_use]
    pub fn new(books: &Books) -> Self {
        let processes = &books.processes;
        let ancestors = ancestors(processes);
        let shared: HashSet<u32> = processes
            .iter()
            .filter(|process| process.target)
            .map(|process| process.pgid)
            .collect();
        let mut first: BTreeMap<Key, GroupId> = BTreeMap::new();
        let mut of = Vec::with_capacity(processes.len());
        for id in 0..processes.len() {
            let key = key(processes, id, &ancestors, &shared);
            of.push(*first.entry(key).or_insert(id));
        }
        Self { of }
    }

    /// The group of a process.
    #[must_use]
    pub fn of(&self, process: ProcessId) -> GroupId {
        self.of[process]
    }

    /// Name of a group: the names of its members in the order in which they were started, as in a pipeline.
    #[must_use]
    pub fn name(&self, books: &Books, members: &[ProcessId]) -> String {
        let mut ordered: Vec<&Process> = members.iter().map(|id| &books.processes[*id]).collect();
        ordered.sort_by_key(|process| (process.start_ns, process.pid));
        let mut names: Vec<&str> = Vec::new();
        for process in ordered {
            if !names.contains(&process.comm.as_str()) {
                names.push(&process.comm);
            }
        }
        if names.len() > MOST_NAMES {
            names.truncate(MOST_NAMES);
            names.push("…");
        }
        names.join(" | ")
    }
}

/// All ancestors of the target's processes.
fn ancestors(processes: &[Process]) -> HashSet<ProcessId> {
    let mut ancestors = HashSet::new();
    for target in processes.iter().filter(|process| process.target) {
        let mut parent = target.parent;
        while let Some(id) = parent {
            if !ancestors.insert(id) {
                break;
            }
            parent = processes[id].parent;
        }
    }
    ancestors
}

fn key(
    processes: &[Process],
    id: ProcessId,
    ancestors: &HashSet<ProcessId>,
    shared: &HashSet<u32>,
) -> Key {
    let process = &processes[id];
    if process.kernel {
        let name = process.comm.split(['/', ':']).next().unwrap_or_default();
        return Key::Kernel(name.to_owned());
    }
    let root = root(processes, id, ancestors);
    let top = &processes[root];
    if ancestors.contains(&root) || top.pgid == 0 || shared.contains(&top.pgid) {
        return Key::Root(root);
    }
    Key::Pipeline(top.sid, top.pgid)
}

/// The topmost process above `id` that still belongs to the same job.
fn root(processes: &[Process], id: ProcessId, ancestors: &HashSet<ProcessId>) -> ProcessId {
    let mut root = id;
    // A chain of parents cannot be longer than there are processes, unless it is a circle of reused ids.
    for _ in 0..processes.len() {
        let Some(parent) = processes[root].parent else {
            break;
        };
        let above = &processes[parent];
        let foreign = above.sid != processes[root].sid && above.sid != 0;
        if ancestors.contains(&parent)
            || above.pid <= 1
            || above.kernel
            || above.target
            || foreign
            || is_broker(above)
        {
            break;
        }
        root = parent;
    }
    root
}

fn is_broker(process: &Process) -> bool {
    BROKERS.contains(&process.comm.as_str())
        || process.comm.starts_with("containerd-shim")
        || is_login_shell(process)
}

/// A shell in which somebody types: each of its jobs has a process group of its own. A script has its name and arguments.
fn is_login_shell(process: &Process) -> bool {
    let name = process.comm.trim_start_matches('-');
    let has_arguments = process
        .cmdline
        .split_whitespace()
        .nth(1)
        .is_some_and(|argument| !argument.starts_with('-') || argument == "-c");
    SHELLS.contains(&name)
        && (process.cmdline.starts_with('-') || (process.pid == process.sid && !has_arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (pid, parent's index, pgid, sid, comm, cmdline, target)
    type Row = (
        u32,
        Option<usize>,
        u32,
        u32,
        &'static str,
        &'static str,
        bool,
    );

    fn books(rows: &[Row]) -> Books {
        let process = |&(pid, parent, pgid, sid, comm, cmdline, target): &Row| Process {
            pid,
            parent,
            pgid,
            sid,
            comm: comm.to_owned(),
            cmdline: cmdline.to_owned(),
            target,
            start_ns: u64::from(pid),
            ..Process::default()
        };
        Books {
            processes: rows.iter().map(process).collect(),
            ..Books::default()
        }
    }

    #[test]
    fn a_pipeline_of_one_shell_is_one_group_and_another_job_of_it_is_not() {
        let books = books(&[
            (1, None, 1, 1, "systemd", "", false),
            (100, Some(0), 100, 100, "bash", "-bash", false),
            (201, Some(1), 201, 100, "tar", "tar c /", false),
            (202, Some(1), 201, 100, "gzip", "gzip -9", false),
            (300, Some(1), 300, 100, "make", "make", false),
            (50, Some(0), 50, 50, "nginx", "nginx", true),
        ]);
        let groups = Groups::new(&books);
        assert_eq!(groups.of(2), groups.of(3));
        assert_ne!(groups.of(2), groups.of(4));
        assert_eq!(groups.name(&books, &[3, 2]), "tar | gzip");
    }

    #[test]
    fn a_cron_job_with_short_lived_children_is_one_group() {
        let books = books(&[
            (1, None, 1, 1, "systemd", "", false),
            (40, Some(0), 40, 40, "cron", "cron -f", false),
            (400, Some(1), 400, 400, "sh", "sh -c /backup.sh", false),
            (401, Some(2), 400, 400, "backup.sh", "sh /backup.sh", false),
            (402, Some(3), 400, 400, "gzip", "gzip a", false),
            (403, Some(3), 400, 400, "gzip", "gzip b", false),
            (50, Some(0), 50, 50, "nginx", "nginx", true),
        ]);
        let groups = Groups::new(&books);
        assert_eq!(groups.of(4), groups.of(5));
        assert_eq!(groups.of(4), groups.of(3));
        assert_eq!(groups.name(&books, &[4, 5]), "gzip");
    }

    #[test]
    fn target_and_backup_under_one_script_stay_apart() {
        let books = books(&[
            (1, None, 1, 1, "systemd", "", false),
            (500, Some(0), 500, 500, "run.sh", "sh run.sh", false),
            (501, Some(1), 500, 500, "server", "server", true),
            (502, Some(1), 500, 500, "backup", "backup", false),
            (503, Some(3), 500, 500, "xz", "xz", false),
            (504, Some(1), 500, 500, "bystander", "bystander", false),
        ]);
        let groups = Groups::new(&books);
        assert_eq!(groups.of(3), groups.of(4));
        assert_ne!(groups.of(3), groups.of(2));
        assert_ne!(groups.of(3), groups.of(5));
    }

    #[test]
    fn a_backup_that_became_a_daemon_is_its_own_group() {
        let books = books(&[
            (1, None, 1, 1, "systemd", "", false),
            (600, Some(0), 600, 600, "restic", "restic backup", false),
            (601, Some(0), 601, 601, "sshd", "sshd: x", false),
            (50, Some(0), 50, 50, "nginx", "nginx", true),
        ]);
        let groups = Groups::new(&books);
        assert_ne!(groups.of(1), groups.of(2));
    }
}
