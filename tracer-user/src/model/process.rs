//! Who is who: processes by identity, through fork, exec, exit and reuse of ids.

use rustc_hash::FxHashMap as HashMap;

use super::books::{Process, ProcessId};
use crate::event;

/// All processes seen.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    all: Vec<Process>,
    by_pid: HashMap<u32, ProcessId>,
    /// Processes whose parent was not yet known: `/proc` lists a child before its parent where ids have wrapped.
    orphans: Vec<(ProcessId, u32)>,
}

impl Processes {
    /// A process that was there at attach; what a fork or exec said meanwhile is newer.
    pub fn found(&mut self, found: &event::Process) {
        let process = Process {
            pid: found.pid,
            parent: None,
            pgid: found.pgid,
            sid: found.sid,
            start_ns: found.start_ns,
            comm: found.comm.clone(),
            cmdline: found.cmdline.clone(),
            cgroup: found.cgroup.clone(),
            kernel: found.kernel,
            target: found.target,
            exited: false,
        };
        let id = self.insert(process);
        self.orphans.push((id, found.parent_pid));
    }

    /// A new process: it begins as the image of its parent.
    pub fn forked(&mut self, fork: &event::Fork) {
        if fork.pid != fork.tid {
            return;
        }
        let parent = self.id(fork.parent_pid);
        let image = &self.all[parent];
        let process = Process {
            pid: fork.pid,
            parent: Some(parent),
            pgid: fork.pgid,
            sid: fork.sid,
            start_ns: fork.start_ns,
            comm: fork.comm.clone(),
            cmdline: image.cmdline.clone(),
            cgroup: image.cgroup.clone(),
            kernel: image.kernel,
            target: fork.target,
            exited: false,
        };
        self.insert(process);
    }

    /// A process became another program.
    pub fn executed(&mut self, exec: &event::Exec) {
        let id = self.id(exec.pid);
        let process = &mut self.all[id];
        process.comm.clone_from(&exec.comm);
        process.cmdline.clone_from(&exec.cmdline);
        process.sid = exec.sid;
        process.pgid = exec.pgid;
        process.kernel = false;
    }

    /// A process ended; its id may come back as another's.
    pub fn exited(&mut self, pid: u32) {
        if let Some(id) = self.by_pid.get(&pid) {
            self.all[*id].exited = true;
        }
    }

    /// Index of the process that has this id now; made up if it was never seen.
    pub fn id(&mut self, pid: u32) -> ProcessId {
        if let Some(id) = self.by_pid.get(&pid) {
            return *id;
        }
        self.insert(Process {
            pid,
            comm: unseen(pid),
            ..Process::default()
        })
    }

    /// As another process would see them: it is the target.
    #[must_use]
    pub fn seen_by(&self, target: ProcessId) -> Self {
        let mut seen = self.clone();
        for (id, process) in seen.all.iter_mut().enumerate() {
            process.target = id == target;
        }
        seen
    }

    /// The same process (pid and start; of one that was never seen only the pid is known).
    #[must_use]
    pub fn find(&self, other: &Process) -> Option<ProcessId> {
        let same = |known: &Process| (known.pid, known.start_ns) == (other.pid, other.start_ns);
        self.all.iter().rposition(same)
    }

    /// A process that other books know.
    pub fn add(&mut self, process: Process) -> ProcessId {
        self.all.push(process);
        self.all.len() - 1
    }

    fn insert(&mut self, process: Process) -> ProcessId {
        self.by_pid.insert(process.pid, self.all.len());
        self.all.push(process);
        self.all.len() - 1
    }

    /// Is the process traced?
    #[must_use]
    pub fn is_target(&self, id: ProcessId) -> bool {
        self.all[id].target
    }

    /// All, by index.
    #[must_use]
    pub fn all(&self) -> &[Process] {
        &self.all
    }

    /// All, given away.
    #[must_use]
    pub fn into_all(mut self) -> Vec<Process> {
        // A parent of which `/proc` spoke at attach is one that was there at attach, whoever has its id now.
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
fn unseen(pid: u32) -> String {
    if pid == 0 {
        "kernel".to_owned()
    } else {
        "unknown".to_owned()
    }
}
