//! The processes in a group with a limit, and what each has moved from and to disks.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{class::Resource, counters::named, standing::OwnLimit};

/// A chain of commands that wait for one another and end together (`sh`, `sudo`, `nice`, `tar`) is no longer.
const MOST_GENERATIONS: usize = 8;
/// Most members looked at.
const MOST: usize = 512;
/// The same of the whole machine.
const MOST_OF_MACHINE: usize = 8192;

/// A member of a group, with its counts since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Process.
    pub(crate) pid: u32,
    /// The process that waits for it; 0 where that is not known.
    pub(crate) parent: u32,
    /// Bytes that it and the children that it waited for moved from disks, to disks, or both, as far as they are limited. Reads
    /// count before a limit holds them back.
    pub(crate) moved: u64,
    /// Memory of its own, bytes; 0 where disks are limited.
    pub(crate) own: u64,
}

/// What a process has done between two looks, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Process.
    pub(crate) pid: u32,
    /// It moved so much.
    pub(crate) moved: u64,
    /// Its own memory grew by so much.
    pub(crate) grew: u64,
}

/// What each member has done since the look `before`. A process that is new has done nothing before. The counts of one that has
/// ended are added to those of the process that waited for it: that one has done no more than what was not known of it.
pub(crate) fn done(now: &[Member], before: &[Member]) -> Vec<Done> {
    let pids: HashSet<u32> = now.iter().map(|member| member.pid).collect();
    let known: HashMap<u32, &Member> = before.iter().map(|old| (old.pid, old)).collect();
    let mut ended: HashMap<u32, u64> = HashMap::new();
    for old in before.iter().filter(|old| !pids.contains(&old.pid)) {
        // Where the one that waited for it ended too, its parent has the counts of both.
        let mut parent = old.parent;
        for _ in 0..MOST_GENERATIONS {
            match known.get(&parent).filter(|_| !pids.contains(&parent)) {
                Some(ended) => parent = ended.parent,
                None => break,
            }
        }
        *ended.entry(parent).or_default() += old.moved;
    }
    let done = |member: &Member| {
        let old = known.get(&member.pid).copied().copied().unwrap_or_default();
        let moved = member.moved.saturating_sub(old.moved);
        let of_children = ended.get(&member.pid).copied().unwrap_or(0);
        Done {
            pid: member.pid,
            moved: moved.saturating_sub(of_children),
            grew: member.own.saturating_sub(old.own),
        }
    };
    now.iter().map(done).collect()
}

/// Directions that count for a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ways {
    reads: bool,
    writes: bool,
}

/// The members of these groups.
pub(super) fn of(folders: &[(PathBuf, u64)], limit: &OwnLimit) -> Vec<Member> {
    let (ways, of_memory) = (ways(limit), limit.resource == Resource::Memory);
    let pids = folders.iter().flat_map(|(folder, _)| pids_in(folder));
    let member = |pid| member(pid, ways, of_memory);
    pids.take(MOST).filter_map(member).collect()
}

/// All processes of the machine, with what they moved and their memory. A kernel thread has none of its own.
#[must_use]
pub(crate) fn of_machine() -> Vec<Member> {
    let both = Ways {
        reads: true,
        writes: true,
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let member = |pid| member(pid, both, true);
    pids.take(MOST_OF_MACHINE).filter_map(member).collect()
}

fn member(pid: u32, ways: Ways, of_memory: bool) -> Option<Member> {
    let status = || fs::read_to_string(format!("/proc/{pid}/status")).ok();
    // A thread of the kernel has no memory of its own: nothing else is read of it then.
    let (own, parent) = match of_memory {
        true => status().and_then(|status| Some((own_in(&status)?, parent_in(&status))))?,
        false => (0, parent_in(&status().unwrap_or_default())),
    };
    Some(Member {
        pid,
        parent,
        moved: moved(&fs::read_to_string(format!("/proc/{pid}/io")).ok()?, ways),
        own,
    })
}

fn pids_in(folder: &Path) -> Vec<u32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// The ways that a limit is about: the name of v1's file, the keys of v2's. What is in memory came from both.
fn ways(limit: &OwnLimit) -> Ways {
    let has = |key: &str| {
        let mut words = limit.value.split_ascii_whitespace();
        words.any(|word| word.starts_with(key) && !word.ends_with("max"))
    };
    let name = limit.file.rsplit('/').next().unwrap_or_default();
    match name {
        "io.max" => Ways {
            reads: has("rbps=") || has("riops="),
            writes: has("wbps=") || has("wiops="),
        },
        _ if limit.resource == Resource::Disk => Ways {
            reads: name.contains(".read_"),
            writes: name.contains(".write_"),
        },
        _ => Ways {
            reads: true,
            writes: true,
        },
    }
}

/// Bytes in `/proc/PID/io` that count.
fn moved(io: &str, ways: Ways) -> u64 {
    let reads = ways.reads.then(|| named(io, "read_bytes")).flatten();
    let writes = ways.writes.then(|| named(io, "write_bytes")).flatten();
    reads.unwrap_or(0) + writes.unwrap_or(0)
}

fn line<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    value.map(str::trim)
}

fn parent_in(status: &str) -> u32 {
    let parent = line(status, "PPid:").and_then(|pid| pid.parse().ok());
    parent.unwrap_or(0)
}

/// Memory of a process that is no file's, in memory or swapped out (`status`, proc(5)); `None` if it has no memory.
fn own_in(status: &str) -> Option<u64> {
    let kib = |key: &str| {
        let number = line(status, key).and_then(|value| value.strip_suffix("kB"));
        number.and_then(|number| number.trim().parse::<u64>().ok())
    };
    let is_zombie = line(status, "State:").is_some_and(|state| state.starts_with('Z'));
    // Its memory is gone, and its counts are its own until somebody waits for it.
    let resident = kib("RssAnon:").or(is_zombie.then_some(0))?;
    Some(1024 * (resident + kib("VmSwap:").unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(resource: Resource, file: &str, value: &str) -> OwnLimit {
        OwnLimit {
            resource,
            file: file.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn only_the_ways_that_a_limit_is_about_count() {
        let io =
            "rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 9\n";
        let bytes = |file, value| moved(io, ways(&limit(Resource::Disk, file, value)));
        assert_eq!(bytes("/g/blkio.throttle.read_bps_device", "8:0 1"), 4096);
        assert_eq!(bytes("/g/blkio.throttle.write_iops_device", "8:0 1"), 512);
        assert_eq!(
            bytes("/g/io.max", "8:0 rbps=max wbps=7 riops=max wiops=max"),
            512
        );
        assert_eq!(
            bytes("/g/io.max", "8:0 rbps=5 wbps=max riops=max wiops=2"),
            4608
        );
        let memory = limit(Resource::Memory, "/g/memory.max", "1000");
        assert_eq!(moved(io, ways(&memory)), 4608);
    }

    #[test]
    fn memory_that_is_swapped_out_is_still_a_processs_own() {
        let status = "Name:\tsh\nVmRSS:\t     900 kB\nRssAnon:\t     300 kB\nRssFile:\t 600 kB\nVmSwap:\t      20 kB\n";
        assert_eq!(own_in(status), Some(320 * 1024));
        assert_eq!(own_in("Name:\tkworker/0:1\nState:\tI (idle)\n"), None);
        assert_eq!(own_in("Name:\tsh\nState:\tZ (zombie)\n"), Some(0));
    }

    #[test]
    fn what_a_child_moved_is_not_its_parents_once_more() {
        let member = |pid, parent, moved| Member {
            pid,
            parent,
            moved,
            own: 0,
        };
        let before = [member(1, 0, 500), member(2, 1, 1000), member(3, 1, 70)];
        // 2 has ended after 40 bytes more, and 1 waited for it; 4 began.
        let now = [member(1, 0, 1540), member(3, 1, 75), member(4, 1, 30)];
        // 5 and 6, which waited for it, have ended at once.
        let chain = [member(1, 0, 500), member(5, 1, 0), member(6, 5, 9000)];
        let after = [member(1, 0, 9600)];
        assert_eq!(done(&after, &chain)[0].moved, 100);
        let moved: Vec<(u32, u64)> = done(&now, &before)
            .iter()
            .map(|done| (done.pid, done.moved))
            .collect();
        assert_eq!(moved, [(1, 40), (3, 5), (4, 30)]);
    }

    #[test]
    fn a_process_has_memory_of_its_own_and_a_parent() {
        let buffer = vec![7_u8; 8 << 20];
        let both = Ways {
            reads: true,
            writes: true,
        };
        let with = member(std::process::id(), both, true).unwrap();
        assert!(with.own >= buffer.len() as u64, "{with:?}");
        assert_eq!(with.parent, std::os::unix::process::parent_id());
        assert_eq!(member(u32::MAX, both, true), None);
    }
}
