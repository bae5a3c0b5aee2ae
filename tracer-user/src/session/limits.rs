//! The limits that the target is under, read several times a second beside the loop that reads, and who has used them since.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tracer_common::quota;

use super::memory::Memory;
use crate::{
    class::Resource,
    event::{Disk, Event, Follow, Joined, LimitUse},
    kernel::Kernel,
    machine::{
        clocks::now_ns,
        evidence::Line,
        limits::{self, Member, Seen},
        memory,
        proc::{self, IoLimit},
        rounds::Rounds,
    },
    standing::{Means, OwnLimit},
    units::time,
};

/// Most processes of which the limits are read: the target's own have the same ones, as a rule.
const MOST: usize = 16;

/// How long a look may take at the begin and at the end: files of control groups are read in a millisecond.
const PATIENCE: Duration = Duration::from_millis(200);

/// After a look, rest 200 times the CPU time that it took: looking costs at most half a percent of a CPU, however many members a group
/// has.
const REST: u32 = 200;

/// What one look saw.
struct Look {
    ns: u64,
    seen: Vec<Seen>,
    io: Vec<IoLimit>,
    memory: memory::Seen,
}

/// What a look needs to know of the one before.
struct Reader {
    limits: limits::Limits,
    memory: memory::Memory,
}

impl Reader {
    fn look(&mut self, pids: &[u32]) -> Look {
        let (seen, io) = self.limits.look(pids);
        let memory = self.memory.look(pids.first().copied());
        Look {
            ns: now_ns(),
            seen,
            io,
            memory,
        }
    }
}

/// The limits, and their counts at the last look.
pub(super) struct Limits {
    looks: Rounds<Look, Reader>,
    pids: Vec<u32>,
    disks: Vec<Disk>,
    /// By file and disk.
    before: HashMap<(String, u32), (u64, Seen)>,
    /// The first sight of each, in the order in which they were found.
    first: Vec<Seen>,
    groups: Vec<u64>,
    cpu_ns: HashMap<quota::Member, u64>,
    io: Vec<IoLimit>,
    /// The machine's memory, which is a limit for all.
    memory: Memory,
    /// The last value of each, in the order in which they were found.
    current: Vec<OwnLimit>,
}

impl Limits {
    /// Begins with the `limits` of these processes at attach.
    #[must_use]
    pub(super) fn begin(pids: &[u32], means: &Means, limits: &[OwnLimit]) -> Self {
        let hierarchy = proc::memory_hierarchy();
        let reader = Reader {
            limits: limits::Limits::new(means, hierarchy.clone()),
            memory: memory::Memory::new(hierarchy.clone()),
        };
        let mut limits = Self {
            looks: Rounds::with(reader, REST),
            pids: pids.iter().copied().take(MOST).collect(),
            disks: Vec::new(),
            before: HashMap::new(),
            first: Vec::new(),
            groups: Vec::new(),
            cpu_ns: HashMap::new(),
            io: Vec::new(),
            memory: Memory::new(hierarchy),
            current: limits.to_vec(),
        };
        limits.look();
        limits
    }

    /// Takes note of the processes that are followed, and of the disks.
    pub(super) fn see(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Follow(Follow { pid, .. })
                | Event::FollowHand(Follow { pid, .. })
                | Event::Joined(Joined { pid, .. })
                    if self.pids.len() < MOST =>
                {
                    self.pids.push(*pid);
                }
                Event::Disk(disk) => self.disks.push(disk.clone()),
                _ => {}
            }
        }
    }

    /// The limits at the begin: from now on waits for them are kept, and their use is counted. Waits for the look under way.
    pub(super) fn first(&mut self, kernel: &mut Kernel) -> Vec<Event> {
        self.wait(kernel)
    }

    /// The uses that the last look found. Begins the next one when it is time.
    pub(super) fn take(&mut self, kernel: &mut Kernel) -> Vec<Event> {
        let look = self.looks.take();
        let events = look.map(|look| self.found(kernel, look));
        if self.looks.is_due(Duration::ZERO) {
            self.look();
        }
        events.unwrap_or_default()
    }

    /// The uses up to the end. Waits for a look that is under way, and for a last one.
    pub(super) fn end(&mut self, kernel: &mut Kernel) -> Vec<Event> {
        let mut events = self.wait(kernel);
        if !self.looks.is_looking() {
            self.look();
            events.extend(self.wait(kernel));
        }
        events
    }

    fn wait(&mut self, kernel: &mut Kernel) -> Vec<Event> {
        let look = self.looks.wait(PATIENCE);
        let events = look.map(|look| self.found(kernel, look));
        events.unwrap_or_default()
    }

    fn look(&mut self) {
        let pids = self.pids.clone();
        self.looks.begin_with(move |reader| reader.look(&pids));
    }

    /// A line for each limit that stopped its group in the window, and one if memory of the machine was short.
    #[must_use]
    pub(super) fn evidence(&self) -> Vec<Line> {
        let line = |first: &Seen| {
            let limit = first.limit.as_ref()?;
            let (_, last) = self.before.get(&(limit.file.clone(), first.dev))?;
            let held_back = last.held_back.saturating_sub(first.held_back);
            let again = last.read_again.saturating_sub(first.read_again);
            let file = &limit.file;
            let text = match limit.resource {
                _ if held_back == 0 => None,
                Resource::Cpu => Some(format!(
                    "{file}: its group was throttled for {}",
                    time(held_back)
                )),
                Resource::Memory => Some(format!(
                    "{file}: its group was full {held_back} times, and {again} evicted pages were read again"
                )),
                _ => None,
            };
            Some(Line::of(file, text?))
        };
        let lines = self.first.iter().filter_map(line);
        let of_memory = self.memory.evidence();
        let of_memory = of_memory.map(|text| Line::of(memory::VMSTAT, text));
        lines.chain(of_memory).collect()
    }

    /// The limits, each with its last value.
    #[must_use]
    pub(super) fn current(&self) -> &[OwnLimit] {
        &self.current
    }

    fn found(&mut self, kernel: &mut Kernel, look: Look) -> Vec<Event> {
        let of_cpu = |seen: &&Seen| resource(seen) == Some(Resource::Cpu);
        let mut groups: Vec<u64> = look
            .seen
            .iter()
            .filter(of_cpu)
            .flat_map(|s| s.groups.clone())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        if groups != self.groups {
            kernel.share_quota(&groups);
            self.groups = groups;
        }
        if look.io != self.io {
            kernel.limit_io(&look.io);
            self.io = look.io;
        }
        let ran = match self.groups.is_empty() {
            true => Vec::new(),
            false => self.ran(kernel.quota_used()),
        };
        let events = look.seen.into_iter().filter_map(|seen| {
            let limit = seen.limit.clone()?;
            let ns = if limit.resource == Resource::Cpu {
                now_ns()
            } else {
                look.ns
            };
            self.remember(&limit);
            let key = (limit.file.clone(), seen.dev);
            let before = self.before.insert(key, (ns, seen.clone()));
            if before.is_none() {
                self.first.push(seen.clone());
            }
            let used = self.uses(&limit, (ns, &seen), before.as_ref(), &ran);
            Some(Event::LimitUse(Box::new(used)))
        });
        let mut events: Vec<Event> = events.collect();
        let of_memory = self.memory.seen(look.ns, look.memory, &self.pids);
        events.extend(of_memory.map(|used| Event::MemoryUse(Box::new(used))));
        events
    }

    /// CPU time of each member since the last time that this was asked, ns.
    fn ran(&mut self, now: Vec<(quota::Member, u64)>) -> Vec<(quota::Member, u64)> {
        let own = std::process::id();
        let since = |(member, ns): (quota::Member, u64)| {
            let before = self.cpu_ns.get(&member).copied().unwrap_or(0);
            // The kernel half may have forgotten the member meanwhile, and counted anew.
            let ran = ns.checked_sub(before).unwrap_or(ns);
            (ran > 0 && member.pid != own).then_some((member, ran))
        };
        let ran = now.iter().copied().filter_map(since).collect();
        self.cpu_ns = now.into_iter().collect();
        ran
    }

    fn uses(
        &self,
        limit: &OwnLimit,
        (ns, seen): (u64, &Seen),
        before: Option<&(u64, Seen)>,
        ran: &[(quota::Member, u64)],
    ) -> LimitUse {
        let (begin_ns, old) = before.map_or((ns, seen), |(ns, old)| (*ns, old));
        let used = match limit.resource {
            Resource::Cpu => by_process(ran, &seen.groups),
            _ => moved(&seen.members, &old.members, &self.pids),
        };
        let disk = self
            .disks
            .iter()
            .find(|disk| disk.dev == seen.dev && seen.dev != 0);
        LimitUse {
            begin_ns,
            ns,
            resource: limit.resource,
            file: limit.file.clone(),
            disk: disk.map(|disk| disk.name.clone()).unwrap_or_default(),
            held_back: seen.held_back.saturating_sub(old.held_back),
            read_again: seen.read_again.saturating_sub(old.read_again),
            used,
        }
    }

    fn remember(&mut self, limit: &OwnLimit) {
        let device = |limit: &OwnLimit| {
            let first = limit.value.split(' ').next().unwrap_or_default();
            first.contains(':').then(|| first.to_owned())
        };
        let same =
            |known: &&mut OwnLimit| known.file == limit.file && device(known) == device(limit);
        match self.current.iter_mut().find(same) {
            Some(known) => known.value.clone_from(&limit.value),
            None => self.current.push(limit.clone()),
        }
    }
}

fn resource(seen: &Seen) -> Option<Resource> {
    seen.limit.as_ref().map(|limit| limit.resource)
}

/// CPU time of the members of these groups, ns.
fn by_process(ran: &[(quota::Member, u64)], groups: &[u64]) -> Vec<(u32, u64)> {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for (member, ns) in ran {
        if groups.contains(&member.group) {
            *sums.entry(member.pid).or_default() += ns;
        }
    }
    sums.into_iter().collect()
}

/// Bytes that each member moved, or that its memory grew by, since `before`. The `asked` processes come in any case: they show whose
/// limit it is.
fn moved(now: &[Member], before: &[Member], asked: &[u32]) -> Vec<(u32, u64)> {
    let own = std::process::id();
    let since = |done: limits::Done| {
        let bytes = done.moved + done.grew;
        let counts = (bytes > 0 || asked.contains(&done.pid)) && done.pid != own;
        counts.then_some((done.pid, bytes))
    };
    limits::done(now, before)
        .into_iter()
        .filter_map(since)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(pid: u32, moved: u64, own: u64) -> Member {
        Member {
            pid,
            parent: 0,
            moved,
            own,
        }
    }

    #[test]
    fn who_moved_or_grew_has_used_it_and_the_target_is_named_in_any_case() {
        let before = [member(1, 100, 0), member(2, 500, 50), member(3, 7, 0)];
        let now = [
            member(1, 100, 0),
            member(2, 900, 20),
            member(3, 7, 0),
            member(4, 60, 5),
        ];
        assert_eq!(moved(&now, &before, &[1]), [(1, 0), (2, 400), (4, 65)]);
    }

    #[test]
    fn only_time_in_groups_under_the_limit_counts() {
        let ran = |group, pid, ns| {
            let member = quota::Member {
                group,
                pid,
                reserved: 0,
            };
            (member, ns)
        };
        let ran = [ran(5, 1, 10), ran(6, 1, 20), ran(7, 2, 40)];
        assert_eq!(by_process(&ran, &[5, 6]), [(1, 30)]);
        assert_eq!(by_process(&ran, &[7, 6]), [(1, 20), (2, 40)]);
    }
}
