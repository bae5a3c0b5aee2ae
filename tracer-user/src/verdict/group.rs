//! Holder groups: a backup is a job of several processes, and the verdict accuses the job.
//!
//! From a holder the way leads upwards while the parent belongs to the same session. It ends below an ancestor of the target, pid
//! 1, a kernel thread or a session broker. All processes below the topmost are one group. Three more bonds join processes:
//! - children that left the session but run the parent's own program (fork without exec: jobs of fio, backends of a database).
//! - the same process group (a pipeline of one shell, a script without its shell). It must not hold the target, one of its
//!   ancestors or pid 1: there only descent counts.
//! - the same systemd unit or container (a backup that became a daemon). It must not hold the target, one of its ancestors or a
//!   broker.
//!
//! A process of the target is never in a group with another one. The identity of a process is its index, that is its pid and start.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    constants::MOST_NAMES,
    job::{self, JobCgroup, is_broker, job_cgroups},
};
use crate::{
    class::Resource,
    model::books::{Books, Process, ProcessId, worker_name},
};

/// Index of a group: the lowest index of its members.
pub type GroupId = usize;

/// Which process belongs to which group.
#[derive(Clone, Debug)]
pub(super) struct Groups {
    of: Vec<GroupId>,
}

/// A reason to put two processes into one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Bond<'a> {
    /// Session and process group of the topmost.
    Pipeline(u32, u32),
    /// A unit or container.
    Cgroup(JobCgroup<'a>),
    /// Kernel threads of one name.
    Kernel(&'a str),
}

impl Groups {
    /// Groups all processes of the books.
    #[must_use]
    pub(super) fn new(books: &Books) -> Self {
        let tree = Tree::new(&books.processes);
        let mut groups = Self {
            of: (0..books.processes.len()).collect(),
        };
        let mut first: HashMap<Bond<'_>, ProcessId> = HashMap::new();
        for id in 0..books.processes.len() {
            if books.processes[id].target {
                continue;
            }
            groups.join(id, tree.top(id));
            for bond in tree.bonds(id) {
                groups.join(id, *first.entry(bond).or_insert(id));
            }
        }
        for id in 0..groups.of.len() {
            groups.of[id] = groups.root(id);
        }
        groups
    }

    /// The group of a process.
    #[must_use]
    pub(super) fn of(&self, process: ProcessId) -> GroupId {
        self.of[process]
    }

    /// Name of a job: these members' names in the order of their starts, as in a pipeline, each once.
    #[must_use]
    pub(super) fn name(&self, books: &Books, members: &[ProcessId], resource: Resource) -> String {
        let mut ordered: Vec<ProcessId> = members.to_vec();
        ordered.sort_by_key(|id| (books.processes[*id].start_ns, books.processes[*id].pid));
        let mut names: Vec<String> = Vec::new();
        for id in ordered {
            let process = &books.processes[id];
            let worker = worker_name(&books.works, id).filter(|_| resource == Resource::Cpu);
            let name = match process.kernel {
                true => worker.unwrap_or_else(|| kernel_name(&process.comm).to_owned()),
                false => process.comm.to_string(),
            };
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > MOST_NAMES {
            names.truncate(MOST_NAMES);
            names.push("…".to_owned());
        }
        names.join(" | ")
    }

    /// The lowest index that is joined with `id` so far. Links lead downwards only.
    fn root(&self, mut id: ProcessId) -> ProcessId {
        while self.of[id] != id {
            id = self.of[id];
        }
        id
    }

    fn join(&mut self, a: ProcessId, b: ProcessId) {
        let (a, b) = (self.root(a), self.root(b));
        self.of[a.max(b)] = a.min(b);
    }
}

/// Processes with what stands in the way of a bond.
struct Tree<'a> {
    processes: &'a [Process],
    /// All ancestors of the target's processes.
    ancestors: HashSet<ProcessId>,
    /// Process groups that hold the target, an ancestor of it, or pid 1.
    mixed_pgids: HashSet<u32>,
    /// Units and containers that hold one of those, or a broker; and units below which others lie.
    mixed_cgroups: HashSet<JobCgroup<'a>>,
}

impl<'a> Tree<'a> {
    fn new(processes: &'a [Process]) -> Self {
        let mut tree = Self {
            processes,
            ancestors: HashSet::new(),
            mixed_pgids: HashSet::from([0, 1]),
            mixed_cgroups: HashSet::new(),
        };
        for id in (0..processes.len()).filter(|id| processes[*id].target) {
            tree.add_ancestors(id);
        }
        for (id, process) in processes.iter().enumerate() {
            let near = process.target || tree.ancestors.contains(&id);
            if near || process.pid == 1 {
                tree.mixed_pgids.insert(process.pgid);
            }
            if near || is_broker(process) {
                tree.mixed_cgroups.extend(job_cgroups(&process.cgroup));
            }
        }
        tree.mix_inner_cgroups();
        tree
    }

    fn add_ancestors(&mut self, target: ProcessId) {
        let mut above = self.parent(target);
        while let Some(id) = above {
            if !self.ancestors.insert(id) {
                break;
            }
            above = self.parent(id);
        }
    }

    /// A unit below which other cgroups lie is no leaf.
    fn mix_inner_cgroups(&mut self) {
        let paths: BTreeMap<&'a str, ()> = self
            .processes
            .iter()
            .map(|process| (process.cgroup.as_str(), ()))
            .collect();
        for path in paths.keys() {
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            self.mixed_cgroups.extend(above.map(JobCgroup::Unit));
        }
    }

    /// The parent, unless its id is another's by now.
    fn parent(&self, id: ProcessId) -> Option<ProcessId> {
        job::parent(self.processes, id)
    }

    /// The topmost process above `id` that still belongs to the same job.
    fn top(&self, id: ProcessId) -> ProcessId {
        let mut top = id;
        // A chain of parents cannot be longer than there are processes, unless it is a circle of reused ids.
        for _ in 0..self.processes.len() {
            let Some(parent) = self.parent(top) else {
                break;
            };
            let above = &self.processes[parent];
            let process = &self.processes[top];
            let foreign = above.sid != process.sid && above.sid != 0 && !is_copy(process, above);
            let ends = self.ancestors.contains(&parent)
                || above.target
                || above.kernel
                || above.pid <= 1
                || foreign
                || is_broker(above);
            if ends {
                break;
            }
            top = parent;
        }
        top
    }

    /// The bonds of a process besides descent. An ancestor of the target has none, because its process group and cgroups are mixed.
    fn bonds(&self, id: ProcessId) -> Vec<Bond<'a>> {
        let process = &self.processes[id];
        if process.kernel {
            return vec![Bond::Kernel(kernel_name(&process.comm))];
        }
        let cgroups = job_cgroups(&process.cgroup);
        let clean = cgroups
            .into_iter()
            .filter(|cgroup| !self.mixed_cgroups.contains(cgroup));
        let mut bonds: Vec<Bond<'a>> = clean.map(Bond::Cgroup).collect();
        let top = &self.processes[self.top(id)];
        if !self.mixed_pgids.contains(&top.pgid) {
            bonds.push(Bond::Pipeline(top.sid, top.pgid));
        }
        bonds
    }
}

/// Does a child still run its parent's program? Its command line is the same, or one that it wrote itself (`postgres: checkpointer`).
fn is_copy(child: &Process, parent: &Process) -> bool {
    let titled = || {
        let title = child.cmdline.strip_prefix(child.comm.as_str());
        title.is_some_and(|title| title.starts_with(": "))
    };
    child.comm == parent.comm
        && !child.cmdline.is_empty()
        && (child.cmdline == parent.cmdline || titled())
}

/// Kernel threads of one kind: `kworker/0:1-events` and `kworker/u4:2` are kworkers.
pub(super) fn kernel_name(comm: &str) -> &str {
    comm.split(['/', ':']).next().unwrap_or_default()
}
