//! The processes that lost most in an interval, and the books of each: as if it were the target of a trace of this interval alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    class::Class,
    event::{Counted, End, Event, Process, Start, Thread},
    model::{
        Model,
        books::{Books, Budget},
    },
    recording::Standing,
    standing::home,
};

/// Most victims of which books are kept: as many as a person reads.
const MOST_VICTIMS: usize = 8;

/// The fewest: whoever is harmed most is hardly third by what it lost.
const FEWEST_VICTIMS: usize = 3;

/// Events that are folded as an interval ends, those of all victims together: some 20 ms of work. Where there are more of them in an
/// interval, books are kept of fewer victims.
const MOST_FOLDED: usize = 1 << 17;

/// Who lost less than one part in so many of the interval is no victim.
const LEAST_PART: u64 = 100;

/// Classes of waits that may be for somebody else. Who waits for an answer, or for something without a name, may just have nothing to do.
const LOSSES: [Class; 6] = [
    Class::Cpu,
    Class::Disk,
    Class::Network,
    Class::Memory,
    Class::Lock,
    Class::Stopped,
];

/// Longest way from a process to its ancestors: a circle of reused ids ends there.
const MOST_ANCESTORS: usize = 64;

/// One interval, with all that is known as it ends.
pub(super) struct Interval<'a> {
    pub(super) begin_ns: u64,
    pub(super) end: &'a Counted,
    pub(super) standing: &'a Standing,
    pub(super) ended: &'a BTreeMap<u32, Process>,
    pub(super) signals: &'a BTreeMap<u32, Event>,
    pub(super) events: &'a [Event],
}

/// Processes that are one to whoever looks: a server and its workers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// The oldest first.
    pub(super) pids: Vec<u32>,
}

/// Name of a family, and where it runs: in a unit or a container, else in a session.
type Kind = (String, Result<String, u32>);

impl Interval<'_> {
    /// A process of this interval.
    pub(super) fn process(&self, pid: u32) -> Option<&Process> {
        self.standing.process(pid).or_else(|| self.ended.get(&pid))
    }

    /// Nanoseconds since 1970 at a time of the trace.
    pub(super) fn wall_ns(&self, ns: u64) -> u64 {
        let start = self.standing.start();
        start.wall_ns.saturating_add(ns.saturating_sub(start.ns))
    }

    /// The families that lost most, the worst first.
    pub(super) fn victims(&self, lost: &BTreeMap<u32, Budget>) -> Vec<Family> {
        let mut sums: BTreeMap<Kind, u64> = BTreeMap::new();
        for (pid, budget) in lost {
            let sum: u64 = LOSSES.iter().map(|class| budget[class.index()]).sum();
            if let Some(process) = self.process(*pid).filter(|process| !process.kernel) {
                let known = sums.entry(self.kind(process)).or_default();
                *known = known.saturating_add(sum);
            }
        }
        let least_ns = self.end.ns.saturating_sub(self.begin_ns) / LEAST_PART;
        let mut worst: Vec<(Kind, u64)> = sums.into_iter().collect();
        worst.retain(|(_, ns)| *ns > least_ns);
        worst.sort_by_key(|(_, ns)| Reverse(*ns));
        worst.truncate(most_victims(self.events.len()));
        let kinds = worst.iter().map(|(kind, _)| kind);
        kinds.map(|kind| self.family(kind)).collect()
    }

    /// The kind of a process. A child with the name of its parent is of the parent's kind.
    fn kind(&self, process: &Process) -> Kind {
        let mut root = process;
        for _ in 0..MOST_ANCESTORS {
            let parent = self.process(root.parent_pid);
            let Some(parent) =
                parent.filter(|parent| parent.comm == root.comm && parent.pid != root.pid)
            else {
                break;
            };
            root = parent;
        }
        let container = home::container(&process.cgroup).map(|container| container.path);
        let place = container.or_else(|| home::unit(&process.cgroup));
        let place = place.map(str::to_owned).ok_or(root.sid);
        (process.comm.clone(), place)
    }

    fn family(&self, kind: &Kind) -> Family {
        let all = self.standing.processes().chain(self.ended.values());
        let named = all.filter(|process| process.comm == kind.0 && !process.kernel);
        let members = named.filter(|process| self.kind(process) == *kind);
        let mut members: Vec<&Process> = members.collect();
        members.sort_by_key(|process| (process.start_ns, process.pid));
        let mut pids: Vec<u32> = members.into_iter().map(|process| process.pid).collect();
        pids.dedup();
        Family { pids }
    }

    /// The books of a family in this interval.
    pub(super) fn books(&self, family: &Family, concerned: &BTreeSet<u32>) -> Books {
        let targets: BTreeSet<u32> = family.pids.iter().copied().collect();
        let mut model = Model::new();
        model.apply(&Event::Start(Box::new(self.start(family))));
        for pid in concerned.union(&targets) {
            if let Some(process) = self.process(*pid) {
                let target = targets.contains(pid);
                let process = process.clone();
                model.apply(&Event::Process(Process { target, ..process }));
            }
        }
        let machine = self.standing.others().filter(|event| is_of_machine(event));
        machine.for_each(|event| model.apply(event));
        for watch in self.standing.shed() {
            model.apply(&Event::Watch(*watch));
        }
        let signals = family.pids.iter().filter_map(|pid| self.signals.get(pid));
        signals.for_each(|signal| model.apply(signal));
        let of_family = |event: &&Event| match event.subject() {
            Some(pid) => targets.contains(&pid),
            None => true,
        };
        let open = self.open(&targets);
        for event in self.seeds(&targets) {
            model.apply(&event);
        }
        self.events
            .iter()
            .filter(of_family)
            .for_each(|event| model.apply(event));
        open.iter().for_each(|event| model.apply(event));
        model.apply(&Event::End(Box::new(End {
            ns: self.end.ns,
            ..End::default()
        })));
        model.close()
    }

    fn start(&self, family: &Family) -> Start {
        let start = self.standing.start();
        let disks = self.standing.others().filter_map(|event| match event {
            Event::Disk(disk) => Some(disk.dev),
            _ => None,
        });
        let first = family.pids.first().and_then(|pid| self.process(*pid));
        let cgroup = first.map(|process| process.cgroup.clone());
        let cgroup = cgroup.filter(|cgroup| !cgroup.is_empty());
        Start {
            ns: self.begin_ns,
            wall_ns: self.wall_ns(self.begin_ns),
            targets: family.pids.clone(),
            unit: cgroup.as_deref().and_then(home::unit).map(str::to_owned),
            cgroup,
            listening: Vec::new(),
            target_disks: disks.collect(),
            ..start.clone()
        }
    }

    /// Waits of some processes that are open as the interval ends, and what may hold them.
    fn open(&self, targets: &BTreeSet<u32>) -> Vec<Event> {
        let requests = self.end.requests.iter().cloned().map(Event::Io);
        let slices = self.end.slices.iter().cloned().map(Event::Slice);
        let waits = self.end.waits.iter();
        let waits = waits.filter(|wait| targets.contains(&wait.pid));
        let waits = waits.cloned().map(Event::Wait);
        requests.chain(slices).chain(waits).collect()
    }

    /// The threads of some processes that waited: they were there as the interval began, on a CPU unless a wait says something else. And
    /// the stacks in which they slept.
    fn seeds(&self, targets: &BTreeSet<u32>) -> Vec<Event> {
        let (mut threads, mut stacks) = (BTreeMap::new(), BTreeSet::new());
        let closed = self.events.iter().filter_map(|event| match event {
            Event::Wait(wait) => Some(wait),
            _ => None,
        });
        let waits = closed.chain(&self.end.waits);
        for wait in waits.filter(|wait| targets.contains(&wait.pid)) {
            threads.insert(wait.tid, wait.pid);
            stacks.extend([wait.stack, wait.waker_stack]);
        }
        let known = stacks.iter().filter_map(|id| self.standing.stack(*id));
        let known = known.cloned().map(Event::Stack);
        let seed = |(tid, pid)| {
            Event::Thread(Thread {
                pid,
                tid,
                state: 'R',
                stack: Vec::new(),
            })
        };
        known.chain(threads.into_iter().map(seed)).collect()
    }

    /// The processes that did something in this interval, with all their ancestors: a job is found by these.
    pub(super) fn concerned(&self) -> BTreeSet<u32> {
        let mut all = BTreeSet::new();
        for event in self.events {
            match event {
                Event::Wait(wait) => all.extend([wait.pid, wait.waker_pid]),
                Event::Slice(slice) => _ = all.insert(slice.pid),
                Event::Io(io) => _ = all.insert(io.pid),
                Event::Link(link) => _ = all.insert(link.pid),
                Event::Queue(sent) => _ = all.insert(sent.link.pid),
                Event::Packets(packets) => _ = all.insert(packets.pid),
                Event::Work(work) => _ = all.insert(work.pid),
                Event::LockTried(tried) => _ = all.insert(tried.owner_pid),
                _ => {}
            }
        }
        all.extend(self.end.slices.iter().map(|slice| slice.pid));
        all.extend(self.end.requests.iter().map(|io| io.pid));
        all.extend(self.end.waits.iter().map(|wait| wait.pid));
        for event in self.signals.values() {
            if let Event::Signal(signal) = event {
                all.insert(signal.sender_pid);
            }
        }
        for pid in all.clone() {
            let mut pid = pid;
            // An ancestor that is there has its own.
            while let Some(process) = self.process(pid)
                && all.insert(process.parent_pid)
            {
                pid = process.parent_pid;
            }
        }
        all
    }
}

/// Most victims of an interval with so many events.
fn most_victims(events: usize) -> usize {
    let most = MOST_FOLDED.checked_div(events).unwrap_or(MOST_VICTIMS);
    most.clamp(FEWEST_VICTIMS, MOST_VICTIMS)
}

/// Is it a fact about the machine, and of no target?
fn is_of_machine(event: &Event) -> bool {
    matches!(
        event,
        Event::Disk(_) | Event::Tracer(_) | Event::Called(_) | Event::RemoteMount(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_happens_the_fewer_victims_have_books() {
        assert_eq!(most_victims(0), MOST_VICTIMS);
        assert_eq!(most_victims(1000), MOST_VICTIMS);
        assert_eq!(most_victims(MOST_FOLDED / 5), 5);
        assert_eq!(most_victims(usize::MAX), FEWEST_VICTIMS);
    }
}
