//! Processes by identity, through fork, exec, exit and reuse of ids.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use arcstr::ArcStr;
use rustc_hash::FxHashMap as HashMap;

use super::{
    alike::{Alike, Entry, Forgotten, Gone},
    books::{Process, ProcessId},
};
use crate::event;

/// So many ended processes are remembered although nothing depends on them. The kernel half may still have figures of them, which
/// are read at the end. Four times as many took 3 MB where a thousand processes a second come and go.
const MOST_ENDED: usize = 1024;

/// So many processes beyond those at attach are known by themselves once something is charged to them. Further ones share an entry with
/// those that are alike: some 500 bytes each, in this fold and in that of each process that the target asks.
const MOST_NAMED: usize = 4096;

/// All processes seen, but for those that ended long ago and held nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processes {
    all: Vec<Process>,
    /// The ties of each.
    ties: Vec<Ties>,
    /// Ended, the oldest first.
    ended: VecDeque<ProcessId>,
    /// Places in `all` of those that were forgotten.
    free: Vec<ProcessId>,
    forgotten: u64,
    by_pid: HashMap<u32, ProcessId>,
    /// How many were named that were not there at attach.
    named: usize,
    alike: Alike,
    gone: Gone,
    /// Processes of which the parent was not yet known: `/proc` lists a child before its parent where ids have wrapped.
    orphans: Vec<(ProcessId, u32)>,
}

/// Why a process that ended is not forgotten.
#[derive(Clone, Copy, Debug, Default)]
struct Ties {
    /// Children of which something is known: a job is found by its ancestors.
    children: u32,
    /// Its index was given out.
    named: bool,
    /// It is to be forgotten with the last of its children.
    last: bool,
    /// The entry that it shares: the index that is given out instead of its own.
    shares: Option<ProcessId>,
    /// It is such an entry.
    is_shared: bool,
}

impl Processes {
    /// A process that was there at attach; what a fork or exec said meanwhile is newer.
    pub(crate) fn found(&mut self, found: &event::Process) {
        // One that is like its predecessor, of the same service or the same container, shares its words.
        let like = self.all.last().cloned().unwrap_or_default();
        let process = Process {
            pid: found.pid,
            parent: None,
            pgid: found.pgid,
            sid: found.sid,
            start_ns: found.start_ns,
            comm: shared(&found.comm, &like.comm),
            cmdline: shared(&found.cmdline, &like.cmdline),
            cgroup: shared(&found.cgroup, &like.cgroup),
            kernel: found.kernel,
            target: found.target,
            exited: false,
            titled: false,
        };
        let id = self.insert(process);
        self.ties[id].named = true;
        self.orphans.push((id, found.parent_pid));
    }

    /// A new process, of the target or not: it begins as the image of its parent.
    pub(crate) fn forked(&mut self, fork: &event::Fork, target: bool) {
        if fork.pid != fork.tid {
            return;
        }
        let parent = self.unnamed(fork.parent_pid);
        self.ties[parent].children += 1;
        let image = &self.all[parent];
        let process = Process {
            pid: fork.pid,
            parent: Some(parent),
            pgid: fork.pgid,
            sid: fork.sid,
            start_ns: fork.start_ns,
            comm: shared(&fork.comm, &image.comm),
            cmdline: image.cmdline.clone(),
            cgroup: image.cgroup.clone(),
            kernel: image.kernel,
            target,
            exited: false,
            titled: false,
        };
        self.insert(process);
    }

    /// A process became another program.
    pub(crate) fn executed(&mut self, exec: &event::Exec) {
        // It may be forgotten like any other: most programs that run hold nothing.
        let id = self.unnamed(exec.pid);
        self.ties[id].shares = None;
        let process = &mut self.all[id];
        process.comm = ArcStr::from(&exec.comm);
        process.cmdline = ArcStr::from(&exec.cmdline);
        process.sid = exec.sid;
        process.pgid = exec.pgid;
        process.kernel = false;
    }

    /// A process is in another control group than its parent was. One that shares an entry is its own again: the entry is of those of
    /// one group.
    pub(crate) fn moved(&mut self, moved: &event::Moved) {
        let Some(&id) = self.by_pid.get(&moved.pid) else {
            return;
        };
        self.ties[id].shares = None;
        self.all[id].cgroup = ArcStr::from(&moved.cgroup);
    }

    /// A process has written a title over its command line.
    pub(crate) fn titled(&mut self, pid: u32, cmdline: &str) {
        let known = self.by_pid.get(&pid);
        let Some(process) = known.map(|id| &mut self.all[*id]) else {
            return;
        };
        process.titled = true;
        if process.cmdline != cmdline {
            process.cmdline = ArcStr::from(cmdline);
        }
    }

    /// The title that was last read of the process that has this id now.
    pub(crate) fn title(&self, pid: u32) -> Option<&str> {
        let process = &self.all[*self.by_pid.get(&pid)?];
        process.titled.then_some(process.cmdline.as_str())
    }

    /// A process ended; its id may come back as another's. Returns those that are forgotten for it.
    #[must_use]
    pub(crate) fn exited(&mut self, pid: u32) -> Vec<Forgotten> {
        let mut forgotten = Vec::new();
        let Some(&id) = self.by_pid.get(&pid) else {
            return forgotten;
        };
        self.left(id);
        while self.ended.len() > MOST_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest, &mut forgotten);
        }
        forgotten
    }

    /// Forgets an ended process, unless something hangs on it.
    fn forget(&mut self, id: ProcessId, forgotten: &mut Vec<Forgotten>) {
        // No recursion: a program that forks and exits again and again makes a chain as long as the trace.
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let ties = &mut self.ties[id];
            ties.last = ties.children > 0;
            let Ties {
                named,
                last,
                shares,
                ..
            } = *ties;
            if last && !named {
                return;
            }
            // What it wrote may reach the disk later.
            self.gives_up_its_id(id, if named { Some(id) } else { shares });
            if named {
                return;
            }
            self.free.push(id);
            forgotten.push(Forgotten {
                process: id,
                shares,
            });
            if let Some(parent) = self.all[id].parent {
                let ties = &mut self.ties[parent];
                ties.children = ties.children.saturating_sub(1);
                next = (ties.last && ties.children == 0).then_some(parent);
            }
        }
    }

    /// No process has this id now. What is still found under it belongs to the entry.
    fn gives_up_its_id(&mut self, id: ProcessId, entry: Option<ProcessId>) {
        let pid = self.all[id].pid;
        if self.by_pid.get(&pid) == Some(&id) {
            self.by_pid.remove(&pid);
            self.forgotten += 1;
            self.gone.insert(pid, entry);
        }
    }

    /// A process has ended. If it stands for all that share its entry, the next one that comes does so.
    fn left(&mut self, id: ProcessId) {
        let process = &mut self.all[id];
        if std::mem::replace(&mut process.exited, true) {
            return;
        }
        self.ended.push_back(id);
        let identity = (process.pid, process.start_ns);
        if let Some(entry) = self.ties[id].shares.map(|entry| &mut self.all[entry])
            && (entry.pid, entry.start_ns) == identity
        {
            entry.exited = true;
        }
    }

    /// Index of the process that has this id now; made up if it was never seen. From now on it is not forgotten.
    pub(crate) fn id(&mut self, pid: u32) -> ProcessId {
        if let Some(gone) = self.gone.get(pid) {
            return gone;
        }
        let id = self.unnamed(pid);
        let ties = self.ties[id];
        match ties.shares {
            _ if ties.named => id,
            Some(entry) => entry,
            None if self.named < MOST_NAMED => self.own_id(pid),
            None => self.share(id),
        }
    }

    /// The same of the process that had this id at a time, ns since boot; `None` if another one has had it since, and nothing is known of
    /// the one before.
    pub(crate) fn id_at(&mut self, pid: u32, ns: u64) -> Option<ProcessId> {
        let has_it = |id: &ProcessId| self.all[*id].pid == pid && self.all[*id].start_ns <= ns;
        let now = self.by_pid.get(&pid);
        if now.is_some_and(has_it) || now.is_none() && self.gone.get(pid).is_none() {
            return Some(self.id(pid));
        }
        let had_it = (0..self.all.len()).filter(has_it);
        let known = had_it.filter(|id| !self.free.contains(id));
        let id = known.max_by_key(|id| self.all[*id].start_ns)?;
        let ties = &mut self.ties[id];
        if ties.shares.is_some() {
            return ties.shares;
        }
        self.named += usize::from(!std::mem::replace(&mut ties.named, true));
        Some(id)
    }

    /// The same for one that is to be known by itself, whatever its kind: its own books are kept.
    pub(crate) fn own_id(&mut self, pid: u32) -> ProcessId {
        let id = self.unnamed(pid);
        let ties = &mut self.ties[id];
        ties.shares = None;
        self.named += usize::from(!std::mem::replace(&mut ties.named, true));
        id
    }

    /// The process shares the entry of those that are alike. That has the words of the first, and the id of a living one if possible.
    fn share(&mut self, id: ProcessId) -> ProcessId {
        let entry = match self.alike.entry(&self.all, id) {
            Entry::Known(known) => known,
            Entry::New(kind, process) => {
                if let Some(parent) = process.parent {
                    self.ties[parent].children += 1;
                }
                let entry = self.add(process);
                self.ties[entry].is_shared = true;
                self.alike.insert(kind, entry);
                entry
            }
        };
        self.alike.folded += 1;
        self.ties[id].shares = Some(entry);
        if self.all[entry].exited {
            let Process {
                pid,
                start_ns,
                exited,
                ..
            } = self.all[id];
            let known = &mut self.all[entry];
            (known.pid, known.start_ns, known.exited) = (pid, start_ns, exited);
        }
        entry
    }

    /// How many processes share an entry with others, and how many entries that are.
    pub(super) fn folded(&self) -> (u64, u64) {
        (self.alike.folded, self.alike.kinds() as u64)
    }

    /// Those that are not forgotten yet and share an entry.
    pub(super) fn sharing(&self) -> Vec<Forgotten> {
        let ties = self.ties.iter().enumerate();
        let sharing = ties.filter(|(_, ties)| ties.shares.is_some());
        let sharing = sharing.map(|(process, ties)| Forgotten {
            process,
            shares: ties.shares,
        });
        sharing.collect()
    }

    /// Name of the process that has this id now, if it was seen.
    pub(crate) fn comm(&self, pid: u32) -> Option<&str> {
        let id = self.by_pid.get(&pid)?;
        Some(&self.all[*id].comm)
    }

    /// The same for what may be forgotten with the process; `None` if that was.
    pub(crate) fn id_if_there(&mut self, pid: u32) -> Option<ProcessId> {
        if let Some(gone) = self.gone.get(pid) {
            // The figures of one are not those of all that share an entry.
            return (!self.ties[gone].is_shared).then_some(gone);
        }
        (self.forgotten == 0 || self.by_pid.contains_key(&pid)).then(|| self.unnamed(pid))
    }

    /// A process that is there now, and was before; `None` if it ended, or was never seen.
    pub(crate) fn living(&self, pid: u32) -> Option<ProcessId> {
        let id = self.by_pid.get(&pid)?;
        (!self.all[*id].exited).then_some(*id)
    }

    fn unnamed(&mut self, pid: u32) -> ProcessId {
        if let Some(id) = self.by_pid.get(&pid) {
            return *id;
        }
        self.insert(Process {
            pid,
            comm: unseen(pid),
            ..Process::default()
        })
    }

    /// The target that had this id first.
    pub(crate) fn target(&mut self, pid: u32) -> ProcessId {
        let is_it = |process: &Process| process.target && process.pid == pid;
        match self.all.iter().position(is_it) {
            Some(id) => id,
            None => self.id(pid),
        }
    }

    /// A process is traced as a part of the target from now on.
    pub(crate) fn adopt(&mut self, pid: u32) {
        let id = self.unnamed(pid);
        self.all[id].target = true;
        self.ties[id].shares = None;
    }

    /// As another process would see them: it is the target.
    #[must_use]
    pub(crate) fn seen_by(&self, target: ProcessId) -> Self {
        let mut seen = self.clone();
        for (id, process) in seen.all.iter_mut().enumerate() {
            process.target = id == target;
        }
        // Who is alike is another matter where another is the target.
        seen.alike = Alike::default();
        for ties in &mut seen.ties {
            ties.shares = None;
        }
        seen
    }

    /// The latest process of each pid and start; of one that was never seen only the pid is known.
    #[must_use]
    pub(crate) fn by_start(&self) -> HashMap<(u32, u64), ProcessId> {
        let all = self.all.iter().enumerate();
        all.map(|(id, process)| ((process.pid, process.start_ns), id))
            .collect()
    }

    /// A process that other books know.
    pub(crate) fn add(&mut self, process: Process) -> ProcessId {
        let named = Ties {
            named: true,
            ..Ties::default()
        };
        self.push(process, named)
    }

    fn insert(&mut self, process: Process) -> ProcessId {
        let pid = process.pid;
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id] = process;
                self.ties[id] = Ties::default();
                id
            }
            None => self.push(process, Ties::default()),
        };
        self.gone.remove(pid);
        if let Some(before) = self.by_pid.insert(pid, id)
            && self.all[before].start_ns != self.all[id].start_ns
        {
            // The record of its end was lost.
            self.left(before);
        }
        id
    }

    fn push(&mut self, process: Process, ties: Ties) -> ProcessId {
        self.all.push(process);
        self.ties.push(ties);
        self.all.len() - 1
    }

    /// Is the process traced?
    #[must_use]
    pub(crate) fn is_target(&self, id: ProcessId) -> bool {
        self.all[id].target
    }

    /// All, by index.
    #[must_use]
    pub(crate) fn all(&self) -> &[Process] {
        &self.all
    }

    /// All, given away.
    #[must_use]
    pub(crate) fn into_all(mut self) -> Vec<Process> {
        // A parent that `/proc` named at attach was there at attach, whoever has its id now.
        let there: HashMap<u32, ProcessId> = self
            .orphans
            .iter()
            .map(|(id, _)| (self.all[*id].pid, *id))
            .collect();
        for (id, parent_pid) in self.orphans {
            let parent = there
                .get(&parent_pid)
                .or_else(|| self.by_pid.get(&parent_pid));
            self.all[id].parent = parent.copied().filter(|parent| *parent != id);
        }
        self.all
    }
}

/// A name for a process of which nothing is known but its id.
fn unseen(pid: u32) -> ArcStr {
    if pid == 0 {
        arcstr::literal!("kernel")
    } else {
        arcstr::literal!("unknown")
    }
}

/// The text; `of` itself, if it is the same.
fn shared(text: &str, of: &ArcStr) -> ArcStr {
    if text == of {
        of.clone()
    } else {
        ArcStr::from(text)
    }
}
