//! Limits that the target is under, and what the members of their groups have used of them so far. Read again and again in a trace,
//! so that a limit that is set or changed meanwhile is seen.
//!
//! The CPU time of members is counted in the kernel half, because a member may live for a millisecond. What they moved from and to
//! disks is read here, from `/proc`.

mod members;

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::proc::{IoLimit, io_limits, limited_disk, own_limits};
use crate::{
    class::Resource,
    counters::named,
    standing::{Hierarchy, Means, OwnLimit},
};

pub(crate) use members::{Done, Member, done, of_machine};

/// Most groups looked at below one limit: a container has a few.
const MOST_GROUPS: usize = 256;

/// The state of a limit at one moment. All counts are since the group was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its file and value.
    pub(crate) limit: Option<OwnLimit>,
    /// Disk that it limits, as the kernel packs its number; 0 for another resource.
    pub(crate) dev: u32,
    /// Numbers of the group with the limit and of those below it.
    pub(crate) groups: Vec<u64>,
    /// How often or how long it stopped the group: ns of a CPU, times of memory; 0 if that is not counted.
    pub(crate) held_back: u64,
    /// Pages read again after they had been evicted from the group.
    pub(crate) read_again: u64,
    /// The members; none for a CPU.
    pub(crate) members: Vec<Member>,
}

/// Looks for limits.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    means: Means,
    memory: Option<Hierarchy>,
}

impl Limits {
    /// On a machine with these means; `memory` is the hierarchy that divides memory.
    #[must_use]
    pub(crate) fn new(means: &Means, memory: Option<Hierarchy>) -> Self {
        Self {
            means: means.clone(),
            memory,
        }
    }

    /// The limits that these processes are under now, each once. Those of I/O come again with the groups that bios carry.
    #[must_use]
    pub(crate) fn look(&self, pids: &[u32]) -> (Vec<Seen>, Vec<IoLimit>) {
        let (mut seen, mut io): (Vec<Seen>, Vec<IoLimit>) = (Vec::new(), Vec::new());
        for pid in pids {
            let limits = own_limits(*pid, &self.means, self.memory.as_ref());
            io.extend(io_limits(*pid, &self.means, &limits));
            for limit in limits {
                if !seen
                    .iter()
                    .any(|known| known.limit.as_ref() == Some(&limit))
                {
                    seen.push(see(limit));
                }
            }
        }
        (seen, io)
    }
}

fn see(limit: OwnLimit) -> Seen {
    let folder = Path::new(&limit.file).parent().unwrap_or(Path::new("/"));
    let folders = at_and_below(folder);
    let mut seen = Seen {
        dev: limited_disk(&limit).unwrap_or(0),
        groups: folders.iter().map(|(_, number)| *number).collect(),
        ..Seen::default()
    };
    match limit.resource {
        Resource::Cpu => seen.held_back = throttled_ns(folder),
        Resource::Memory => {
            seen.held_back = times_full(folder);
            seen.read_again = read_again(folder);
            seen.members = members::of(&folders, &limit);
        }
        _ => seen.members = members::of(&folders, &limit),
    }
    Seen {
        limit: Some(limit),
        ..seen
    }
}

/// A folder and those below it, nearer ones first, each with its inode.
fn at_and_below(top: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = VecDeque::from([top.to_owned()]);
    while let Some(folder) = folders.pop_front().filter(|_| found.len() < MOST_GROUPS) {
        let Ok(metadata) = fs::metadata(&folder) else {
            continue;
        };
        // A folder of a control group has two links, and one more for each group in it.
        if metadata.nlink() != 2 {
            let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
            let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|t| t.is_dir());
            folders.extend(inside.filter(is_folder).map(|entry| entry.path()));
        }
        found.push((folder, metadata.ino()));
    }
    found
}

fn text_of(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

/// Time that the group was throttled on each CPU, summed, ns: `cpu.stat` of v2, else of v1.
fn throttled_ns(folder: &Path) -> u64 {
    let text = text_of(folder, "cpu.stat");
    let unified = named(&text, "throttled_usec").map(|us| us.saturating_mul(1000));
    unified
        .or_else(|| named(&text, "throttled_time"))
        .unwrap_or(0)
}

/// How often the group was full: `memory.events` of v2, `memory.failcnt` of v1.
pub(crate) fn times_full(folder: &Path) -> u64 {
    let events = text_of(folder, "memory.events");
    let unified = ["max", "high"].map(|word| named(&events, word));
    match unified {
        [None, None] => text_of(folder, "memory.failcnt")
            .trim()
            .parse()
            .unwrap_or(0),
        [max, high] => max.unwrap_or(0) + high.unwrap_or(0),
    }
}

/// Pages that were read again, from `memory.stat`. In v1 the figures with `total_` include the groups below, in v2 all do.
pub(super) fn read_again(folder: &Path) -> u64 {
    let text = text_of(folder, "memory.stat");
    let first = |words: &[&str]| words.iter().find_map(|word| named(&text, word));
    let files = first(&[
        "total_workingset_refault_file",
        "workingset_refault_file",
        "workingset_refault",
    ]);
    let swapped = first(&["total_workingset_refault_anon", "workingset_refault_anon"]);
    files.unwrap_or(0) + swapped.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("limits-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        folder
    }

    #[test]
    fn both_versions_count_how_long_a_group_was_throttled() {
        let old = folder(
            "old",
            &[(
                "cpu.stat",
                "nr_periods 5\nnr_throttled 2\nthrottled_time 7000\n",
            )],
        );
        let new = folder(
            "new",
            &[(
                "cpu.stat",
                "usage_usec 5\nnr_throttled 2\nthrottled_usec 7\n",
            )],
        );
        assert_eq!((throttled_ns(&old), throttled_ns(&new)), (7000, 7000));
        for folder in [old, new] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn both_versions_count_how_often_memory_was_full_and_what_was_read_again() {
        let stat = "cache 1\npgpgin 90\nworkingset_refault_file 3\ntotal_pgpgin 100\n\
                    total_workingset_refault_anon 2\ntotal_workingset_refault_file 60\n";
        let old = folder(
            "mem-old",
            &[("memory.failcnt", "11\n"), ("memory.stat", stat)],
        );
        let events = "low 0\nhigh 2\nmax 7\noom 0\n";
        let stat = "anon 1\npgsteal 50\nworkingset_refault_anon 1\nworkingset_refault_file 40\n";
        let new = folder(
            "mem-new",
            &[("memory.events", events), ("memory.stat", stat)],
        );
        assert_eq!((times_full(&old), read_again(&old)), (11, 62));
        assert_eq!((times_full(&new), read_again(&new)), (9, 41));
        for folder in [old, new] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn a_limit_counts_for_its_group_and_those_below() {
        let top = folder("tree", &[]);
        fs::create_dir_all(top.join("a/b")).unwrap();
        let found = at_and_below(&top);
        let numbers = [top.clone(), top.join("a"), top.join("a/b")].map(|folder| {
            let number = fs::metadata(&folder).unwrap().ino();
            (folder, number)
        });
        fs::remove_dir_all(&top).unwrap();
        assert_eq!(found, numbers);
        assert_eq!(at_and_below(&top), []);
    }
}
