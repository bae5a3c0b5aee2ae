//! Processes by identity, through fork, exec, exit and reuse of ids.

use std::collections::VecDeque;

use arcstr::ArcStr;
use rustc_hash::FxHashMap as HashMap;

use super::books::{Process, ProcessId};
use crate::event;

/// So many ended processes are remembered although nothing depends on them. The kernel half may still have figures of them, which
/// are read at the end. Four times as many took 3 MB where a thousand processes a second come and go.
const MOST_ENDED: usize = 1024;

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
        let id = self.id(exec.pid);
        let process = &mut self.all[id];
        process.comm = ArcStr::from(&exec.comm);
        process.cmdline = ArcStr::from(&exec.cmdline);
        process.sid = exec.sid;
        process.pgid = exec.pgid;
        process.kernel = false;
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

    /// A process ended; its id may come back as another's. Returns the indices of those that are forgotten for it: they will be
    /// reused.
    #[must_use]
    pub(crate) fn exited(&mut self, pid: u32) -> Vec<ProcessId> {
        let mut forgotten = Vec::new();
        let Some(&id) = self.by_pid.get(&pid) else {
            return forgotten;
        };
        if !std::mem::replace(&mut self.all[id].exited, true) && !self.all[id].target {
            self.ended.push_back(id);
        }
        while self.ended.len() > MOST_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.forget(oldest, &mut forgotten);
        }
        forgotten
    }

    /// Forgets an ended process, unless something hangs on it.
    fn forget(&mut self, id: ProcessId, forgotten: &mut Vec<ProcessId>) {
        // No recursion: a program that forks and exits again and again makes a chain as long as the trace.
        let mut next = Some(id);
        while let Some(id) = next.take() {
            let ties = &mut self.ties[id];
            ties.last = ties.children > 0;
            if ties.named || ties.last {
                return;
            }
            let pid = self.all[id].pid;
            if self.by_pid.get(&pid) == Some(&id) {
                self.by_pid.remove(&pid);
            }
            self.free.push(id);
            self.forgotten += 1;
            forgotten.push(id);
            if let Some(parent) = self.all[id].parent {
                let ties = &mut self.ties[parent];
                ties.children = ties.children.saturating_sub(1);
                next = (ties.last && ties.children == 0).then_some(parent);
            }
        }
    }

    /// Index of the process that has this id now; made up if it was never seen. From now on it is not forgotten.
    pub(crate) fn id(&mut self, pid: u32) -> ProcessId {
        let id = self.unnamed(pid);
        self.ties[id].named = true;
        id
    }

    /// Name of the process that has this id now, if it was seen.
    pub(crate) fn comm(&self, pid: u32) -> Option<&str> {
        let id = self.by_pid.get(&pid)?;
        Some(&self.all[*id].comm)
    }

    /// The same for what may be forgotten with the process; `None` if that was.
    pub(crate) fn id_if_there(&mut self, pid: u32) -> Option<ProcessId> {
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

    /// A process is traced as a part of the target from now on.
    pub(crate) fn adopt(&mut self, pid: u32) {
        let id = self.id(pid);
        self.all[id].target = true;
    }

    /// As another process would see them: it is the target.
    #[must_use]
    pub(crate) fn seen_by(&self, target: ProcessId) -> Self {
        let mut seen = self.clone();
        for (id, process) in seen.all.iter_mut().enumerate() {
            process.target = id == target;
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
        self.by_pid.insert(pid, id);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn fork(pid: u32, parent_pid: u32) -> event::Fork {
        event::Fork {
            pid,
            tid: pid,
            parent_pid,
            start_ns: u64::from(pid),
            comm: format!("process-{pid}"),
            ..event::Fork::default()
        }
    }

    /// A shell at attach, and what it forks in a minute.
    fn forks(each: impl Fn(&mut Processes, u32)) -> Processes {
        let mut processes = Processes::default();
        processes.found(&event::Process {
            pid: 1,
            comm: "sh".to_owned(),
            ..event::Process::default()
        });
        for pid in 2..60_000 {
            processes.forked(&fork(pid, 1), false);
            each(&mut processes, pid);
        }
        processes
    }

    #[test]
    fn those_that_ended_long_ago_and_held_nothing_are_forgotten() {
        let mut processes = forks(|processes, pid| _ = processes.exited(pid));
        assert!(processes.all().len() <= MOST_ENDED + 3);
        assert_eq!(processes.id_if_there(100), None);
        let shell = processes.id(1);
        assert_eq!(processes.all()[shell].comm, "sh");
        let last = processes.id(59_999);
        assert_eq!(processes.all()[last].comm, "process-59999");
        assert_eq!(processes.all()[last].parent, Some(shell));
    }

    #[test]
    fn who_was_named_is_kept_and_so_are_its_ancestors() {
        let mut processes = forks(|processes, pid| {
            if pid == 10 {
                processes.forked(&fork(100_000, 10), false);
                processes.id(100_000);
                _ = processes.exited(100_000);
            }
            _ = processes.exited(pid);
        });
        let held = processes.id(100_000);
        let parent = processes.all()[held].parent.unwrap();
        assert_eq!(processes.all()[held].comm, "process-100000");
        assert_eq!(processes.all()[parent].pid, 10);
        assert!(processes.all().len() <= MOST_ENDED + 5);
    }

    #[test]
    fn a_parent_goes_after_its_last_child() {
        let processes = forks(|processes, pid| {
            processes.forked(&fork(pid + 100_000, pid), false);
            _ = processes.exited(pid);
            _ = processes.exited(pid + 100_000);
        });
        assert!(processes.all().len() <= MOST_ENDED + 4);
    }

    #[test]
    fn a_program_that_forks_and_exits_again_and_again_is_forgotten_at_once() {
        let mut processes = Processes::default();
        for pid in 1..200_000 {
            processes.forked(&fork(pid + 1, pid), false);
            _ = processes.exited(pid);
        }
        // Each has a child until the last one is gone.
        _ = processes.exited(200_000);
        for pid in 300_000..=300_000 + MOST_ENDED as u32 {
            processes.forked(&fork(pid, 1_000_000), false);
            _ = processes.exited(pid);
        }
        assert!(processes.free.len() >= 199_000, "{}", processes.free.len());
    }

    #[test]
    fn nobody_is_forgotten_while_it_lives() {
        let mut processes = forks(|_, _| {});
        assert_eq!(processes.all().len(), 59_999);
        assert!(processes.exited(2).is_empty());
    }
}
