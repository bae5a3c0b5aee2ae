//! Who fills the machine's memory while the kernel takes pages back, from one look to the next.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use crate::{
    event::MemoryUse,
    machine::{
        limits::{Member, done, times_full},
        memory::Seen,
        proc,
    },
    standing::Hierarchy,
    units::bytes,
};

/// Who moved less than this part of all that was moved fills memory by so little that nobody asks how.
const WORTH_A_LOOK: f64 = 0.05;

/// Most processes named as those with the most memory.
const MOST_NAMED: usize = 3;

/// Processes and groups of which something is known. Once there are more, they are asked again: most have ended.
const MOST_KNOWN: usize = 1024;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Memory {
    first: Option<Seen>,
    before: Option<(u64, Seen)>,
    /// Processes that read or write around the page cache, as far as that was asked.
    around: HashMap<u32, bool>,
    hierarchy: Option<Hierarchy>,
    /// How often the groups of those that fill most have been full.
    times_full: HashMap<PathBuf, u64>,
}

impl Memory {
    /// On a machine on which this hierarchy divides memory. Nothing was seen yet.
    pub(super) fn new(hierarchy: Option<Hierarchy>) -> Self {
        Self {
            hierarchy,
            ..Self::default()
        }
    }

    /// The use since the last look. `None` while memory is not short, and for the first look since it is.
    pub(super) fn seen(&mut self, ns: u64, seen: Seen, targets: &[u32]) -> Option<MemoryUse> {
        self.first.get_or_insert_with(|| seen.clone());
        let used = self.before.as_ref().and_then(|(begin_ns, old)| {
            let known = !old.members.is_empty() && !seen.members.is_empty();
            known.then(|| between((*begin_ns, old), (ns, &seen), targets))
        });
        self.before = Some((ns, seen));
        used.map(|used| self.taken_from_others(used, targets))
    }

    /// Leaves out what took no memory from others: it went around the page cache, or the process's group was full and took it from
    /// itself.
    fn taken_from_others(
        &mut self,
        (mut used, moved): (MemoryUse, Moved),
        targets: &[u32],
    ) -> MemoryUse {
        let all: u64 = moved.values().sum();
        let groups = |hierarchy: &Hierarchy, pid: u32| proc::memory_groups(pid, hierarchy);
        let hierarchy = self.hierarchy.clone();
        let shared: HashSet<PathBuf> = match (&hierarchy, targets.first()) {
            (Some(hierarchy), Some(target)) => HashSet::from_iter(groups(hierarchy, *target)),
            _ => HashSet::new(),
        };
        for (pid, bytes) in &mut used.used {
            let moved = moved.get(pid).copied().unwrap_or(0);
            if targets.contains(pid) || moved == 0 || (moved as f64) < WORTH_A_LOOK * all as f64 {
                continue;
            }
            if self.around.len() >= MOST_KNOWN {
                self.around.clear();
            }
            let around = self.around.entry(*pid);
            let around = *around.or_insert_with(|| proc::is_direct(*pid));
            let own = hierarchy
                .iter()
                .flat_map(|hierarchy| groups(hierarchy, *pid));
            let own: Vec<PathBuf> = own.filter(|group| !shared.contains(group)).collect();
            if self.was_full(&own) || around {
                *bytes -= moved;
            }
        }
        used
    }

    /// Was one of these groups full since the last look at it?
    fn was_full(&mut self, groups: &[PathBuf]) -> bool {
        let mut was_full = false;
        if self.times_full.len() >= MOST_KNOWN {
            self.times_full.clear();
        }
        for group in groups {
            let times = times_full(group);
            let before = self.times_full.insert(group.clone(), times);
            was_full |= before.is_some_and(|before| before < times);
        }
        was_full
    }

    /// A line, if the kernel took pages back in the window: how many, and who has the most memory.
    #[must_use]
    pub(super) fn evidence(&self) -> Option<String> {
        let (first, (_, last)) = (self.first.as_ref()?, self.before.as_ref()?);
        let page = |now: u64, before: u64| bytes(now.saturating_sub(before) * 4096);
        if last.reclaimed <= first.reclaimed {
            return None;
        }
        let mut largest: Vec<&Member> = last.members.iter().collect();
        largest.sort_by_key(|member| std::cmp::Reverse(member.own));
        let name = |member: &&Member| {
            let comm = proc::comm(member.pid)?;
            Some(format!("{comm} (pid {}) {}", member.pid, bytes(member.own)))
        };
        let named: Vec<String> = largest.iter().take(MOST_NAMED).filter_map(name).collect();
        Some(format!(
            "/proc/vmstat: memory was short: the kernel took back {}, and {} were read back from swap; most memory of its own has {}",
            page(last.reclaimed, first.reclaimed),
            page(last.swapped_in, first.swapped_in),
            named.join(", ")
        ))
    }
}

/// Bytes that each process moved between disks and memory.
type Moved = HashMap<u32, u64>;

fn between(
    (begin_ns, old): (u64, &Seen),
    (ns, seen): (u64, &Seen),
    targets: &[u32],
) -> (MemoryUse, Moved) {
    let targets: HashSet<u32> = targets.iter().copied().collect();
    let own = std::process::id();
    let (mut used, mut moved_by, mut moved_in_all) = (Vec::new(), Moved::new(), 0);
    for done in done(&seen.members, &old.members) {
        let bytes = done.moved + done.grew;
        moved_in_all += done.moved;
        if (bytes > 0 || targets.contains(&done.pid)) && done.pid != own {
            used.push((done.pid, bytes));
            moved_by.insert(done.pid, done.moved);
        }
    }
    let grew = |now: u64, before: u64| now.saturating_sub(before);
    let used = MemoryUse {
        begin_ns,
        ns,
        reclaimed: grew(seen.reclaimed, old.reclaimed),
        read_again: grew(seen.read_again, old.read_again),
        used,
        unknown: grew(seen.filled, old.filled).saturating_sub(moved_in_all),
    };
    (used, moved_by)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(reclaimed: u64, filled: u64, members: &[(u32, u64, u64)]) -> Seen {
        let member = |&(pid, moved, own): &(u32, u64, u64)| Member {
            pid,
            parent: 0,
            moved,
            own,
        };
        Seen {
            reclaimed,
            read_again: reclaimed / 2,
            filled,
            swapped_in: 0,
            members: members.iter().map(member).collect(),
        }
    }

    #[test]
    fn who_moved_or_grew_has_filled_memory_and_the_rest_is_unknown() {
        let mut memory = Memory::default();
        assert_eq!(memory.seen(1, seen(10, 1000, &[]), &[7]), None);
        let first = seen(20, 2000, &[(7, 100, 50), (8, 0, 0)]);
        assert_eq!(memory.seen(2, first, &[7]), None);
        let second = seen(30, 3000, &[(7, 100, 40), (8, 600, 5), (9, 300, 0)]);
        let used = memory.seen(3, second, &[7]).unwrap();
        assert_eq!((used.begin_ns, used.ns), (2, 3));
        assert_eq!((used.reclaimed, used.read_again), (10, 5));
        assert_eq!(used.used, [(7, 0), (8, 605), (9, 300)]);
        assert_eq!(used.unknown, 100);
    }

    #[test]
    fn a_group_is_full_if_it_was_so_once_more_since_the_last_look() {
        let folder = std::env::temp_dir().join(format!("full-group-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (mut memory, groups) = (Memory::default(), [folder.clone()]);
        let mut was_full = |times: u32| {
            std::fs::write(folder.join("memory.failcnt"), format!("{times}\n")).unwrap();
            memory.was_full(&groups)
        };
        let seen = [5, 5, 6, 6].map(&mut was_full);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(seen, [false, false, true, false]);
    }

    #[test]
    fn what_went_around_the_page_cache_fills_nothing() {
        let mut memory = Memory {
            around: HashMap::from([(8, true), (9, false)]),
            ..Memory::default()
        };
        assert_eq!(
            memory.seen(1, seen(1, 0, &[(8, 0, 0), (9, 0, 0)]), &[]),
            None
        );
        let used = memory.seen(2, seen(2, 0, &[(8, 600, 5), (9, 300, 0)]), &[]);
        assert_eq!(used.unwrap().used, [(8, 5), (9, 300)]);
    }
}
