//! The processes in a group with a limit, and what each has moved from and to disks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{class::Resource, standing::OwnLimit};

/// Most members looked at.
const MOST: usize = 512;
/// The same of the whole machine.
const MOST_OF_MACHINE: usize = 8192;

/// A member of a group, with its counts since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// Process.
    pub(crate) pid: u32,
    /// Bytes that it moved from disks, to disks, or both, as far as they are limited. Reads count before a limit holds them back.
    pub(crate) moved: u64,
    /// Memory of its own, bytes; 0 where disks are limited.
    pub(crate) own: u64,
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
    // A thread of the kernel has no memory of its own: nothing else is read of it then.
    let own = match of_memory {
        true => own_bytes(pid)?,
        false => 0,
    };
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    Some(Member {
        pid,
        moved: moved(&io, ways),
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
    let figure = |key: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|number| number.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    let mut bytes = 0;
    if ways.reads {
        bytes += figure("read_bytes:");
    }
    if ways.writes {
        bytes += figure("write_bytes:");
    }
    bytes
}

/// Memory of a process that is no file's, in memory or swapped out (`status`, proc(5)); `None` if it has no memory.
fn own_bytes(pid: u32) -> Option<u64> {
    own_in(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn own_in(status: &str) -> Option<u64> {
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.trim().strip_suffix("kB"));
        number.and_then(|number| number.trim().parse::<u64>().ok())
    };
    Some(1024 * (kib("RssAnon:")? + kib("VmSwap:").unwrap_or(0)))
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
        assert_eq!(own_in("Name:\tkworker/0:1\n"), None);
    }

    #[test]
    fn a_process_has_memory_of_its_own() {
        let buffer = vec![7_u8; 8 << 20];
        let with = own_bytes(std::process::id()).unwrap();
        assert!(with >= buffer.len() as u64, "{with}");
        assert_eq!(own_bytes(u32::MAX), None);
    }
}
