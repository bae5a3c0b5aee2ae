//! Processes that are alike. A machine that starts a thousand programs a second has millions of processes in a day, and a holder for each
//! would fill its memory. So the first thousands to which something is charged are known by themselves. Further ones share an entry with
//! those of the same name that were started by processes of the same names: a job is found by them. Sums stay whole, only coarser.

use std::collections::VecDeque;

use arcstr::ArcStr;
use rustc_hash::FxHashMap as HashMap;

use super::books::{Process, ProcessId};

/// Kinds that are told apart by name and by the names of those that started them. Further ones are told apart by name alone.
const MOST_KINDS: usize = 2048;
/// The same of those that are told apart by name alone. The processes of all other names are one kind.
const MOST_COMMS: usize = 1024;
/// Names upwards from a process by which it is told apart: a script, the shell that runs it, and the job's.
const ABOVE: usize = 3;

/// So many ended processes are still found by their ids: what they wrote may reach the disk 30 s later (`dirty_expire_centisecs` of the
/// kernel), while a thousand a second come and go.
const MOST_GONE: usize = 1 << 15;

/// What processes that share an entry have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    target: bool,
    kernel: bool,
    comm: ArcStr,
    cgroup: ArcStr,
    above: [ArcStr; ABOVE],
    /// Are all processes of this name one kind?
    by_comm: bool,
}

impl Kind {
    fn of(all: &[Process], id: ProcessId) -> Self {
        let process = &all[id];
        let mut above: [ArcStr; ABOVE] = Default::default();
        let mut next = process.parent;
        for name in &mut above {
            let Some(parent) = next else { break };
            name.clone_from(&all[parent].comm);
            next = all[parent].parent;
        }
        Self {
            target: process.target,
            kernel: process.kernel,
            comm: process.comm.clone(),
            cgroup: process.cgroup.clone(),
            above,
            by_comm: false,
        }
    }

    /// The same for all processes of its name.
    fn coarser(&self) -> Self {
        Self {
            cgroup: ArcStr::default(),
            above: Default::default(),
            by_comm: true,
            ..self.clone()
        }
    }

    /// The same for all processes.
    fn coarsest(&self) -> Self {
        Self {
            comm: ArcStr::default(),
            ..self.coarser()
        }
    }
}

/// The kinds, each with the entry that its processes share.
#[derive(Clone, Debug, Default)]
pub(super) struct Alike {
    entries: HashMap<Kind, ProcessId>,
    /// Kinds by name alone among them.
    comms: usize,
    /// Processes that share an entry so far.
    pub(super) folded: u64,
}

/// The entry of a kind: there is one, or it is to be made up.
pub(super) enum Entry {
    Known(ProcessId),
    New(Kind, Process),
}

impl Alike {
    /// The entry that a process shares.
    pub(super) fn entry(&self, all: &[Process], id: ProcessId) -> Entry {
        let kind = Kind::of(all, id);
        if let Some(known) = self.entries.get(&kind) {
            return Entry::Known(*known);
        }
        if self.entries.len() - self.comms < MOST_KINDS {
            return Entry::New(kind, all[id].clone());
        }
        let kind = kind.coarser();
        if let Some(known) = self.entries.get(&kind) {
            return Entry::Known(*known);
        }
        let stranger = Process {
            parent: None,
            cgroup: ArcStr::default(),
            ..all[id].clone()
        };
        if self.comms < MOST_COMMS {
            return Entry::New(kind, stranger);
        }
        let kind = kind.coarsest();
        if let Some(known) = self.entries.get(&kind) {
            return Entry::Known(*known);
        }
        let others = Process {
            comm: arcstr::literal!("others"),
            cmdline: ArcStr::default(),
            ..stranger
        };
        Entry::New(kind, others)
    }

    /// The kind has this entry from now on.
    pub(super) fn insert(&mut self, kind: Kind, entry: ProcessId) {
        self.comms += usize::from(kind.by_comm);
        self.entries.insert(kind, entry);
    }

    /// How many kinds there are.
    pub(super) fn kinds(&self) -> usize {
        self.entries.len()
    }
}

/// A process that is forgotten: its index will be another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    pub(crate) process: ProcessId,
    /// The entry that it shares: what is known of it belongs there.
    pub(crate) shares: Option<ProcessId>,
}

/// Processes that ended some time ago, by their ids.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    entries: HashMap<u32, ProcessId>,
    /// The oldest first. An id that was reused meanwhile is in it, too.
    pids: VecDeque<u32>,
}

impl Gone {
    /// The entry of the process that had this id, if no other has it now.
    pub(super) fn get(&self, pid: u32) -> Option<ProcessId> {
        self.entries.get(&pid).copied()
    }

    /// A process is no longer found elsewhere. Nothing is kept of one without an entry.
    pub(super) fn insert(&mut self, pid: u32, entry: Option<ProcessId>) {
        let Some(entry) = entry else { return };
        if self.pids.len() >= MOST_GONE
            && let Some(oldest) = self.pids.pop_front()
        {
            self.entries.remove(&oldest);
        }
        self.pids.push_back(pid);
        self.entries.insert(pid, entry);
    }

    /// Another process has this id.
    pub(super) fn remove(&mut self, pid: u32) {
        self.entries.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(comm: &str, parent: Option<ProcessId>) -> Process {
        Process {
            comm: ArcStr::from(comm),
            parent,
            ..Process::default()
        }
    }

    /// The entry of the last of these processes, which is made if need be.
    fn entry(alike: &mut Alike, all: &mut Vec<Process>, id: ProcessId) -> ProcessId {
        match alike.entry(all, id) {
            Entry::Known(known) => known,
            Entry::New(kind, process) => {
                all.push(process);
                alike.insert(kind, all.len() - 1);
                all.len() - 1
            }
        }
    }

    #[test]
    fn a_kind_is_a_name_and_the_names_of_those_that_started_it() {
        let (mut alike, mut all) = (Alike::default(), Vec::new());
        all.extend([process("cron", None), process("sshd", None)]);
        all.extend([
            process("sh", Some(0)),
            process("sh", Some(0)),
            process("sh", Some(1)),
        ]);
        for shell in 2..5 {
            all.push(process("gzip", Some(shell)));
        }
        let [one, two, other] = [5, 6, 7].map(|id| entry(&mut alike, &mut all, id));
        assert_eq!(one, two);
        assert_ne!(one, other);
        assert_eq!(all[one].parent, Some(2));
    }

    #[test]
    fn kinds_are_bounded_and_the_last_is_that_of_all_others() {
        let (mut alike, mut all) = (Alike::default(), Vec::new());
        for number in 0..2 * (MOST_KINDS + MOST_COMMS) {
            all.push(process(&format!("job-{number}"), None));
            let id = all.len() - 1;
            entry(&mut alike, &mut all, id);
        }
        assert_eq!(alike.kinds(), MOST_KINDS + MOST_COMMS + 1);
        let last = all.iter().filter(|process| process.comm == "others");
        assert_eq!(last.count(), 1);
    }
}
