//! Limits of a process's own CPU time and I/O, by its cgroups and those above them. Each has its file and value.

use std::{fs, path::PathBuf};

use super::{
    means::hierarchy,
    standing::{above, path_in},
};
use crate::{
    class::Resource,
    standing::{Hierarchy, Means, OwnLimit},
};

/// Files with a limit: resource, controller in v2, is it of v2, name.
const FILES: [(Resource, &str, bool, &str); 10] = [
    (Resource::Cpu, "cpu", true, "cpu.max"),
    (Resource::Cpu, "cpu", false, "cpu.cfs_quota_us"),
    (Resource::Disk, "io", true, "io.max"),
    (
        Resource::Disk,
        "io",
        false,
        "blkio.throttle.read_bps_device",
    ),
    (
        Resource::Disk,
        "io",
        false,
        "blkio.throttle.write_bps_device",
    ),
    (
        Resource::Disk,
        "io",
        false,
        "blkio.throttle.read_iops_device",
    ),
    (
        Resource::Disk,
        "io",
        false,
        "blkio.throttle.write_iops_device",
    ),
    (Resource::Memory, "memory", true, "memory.max"),
    (Resource::Memory, "memory", true, "memory.high"),
    (Resource::Memory, "memory", false, "memory.limit_in_bytes"),
];

/// Bytes that stand for no limit of memory: v1 shows the largest number of pages instead of a word.
const NO_MEMORY_LIMIT: u64 = 1 << 60;

/// The hierarchy that divides memory.
#[must_use]
pub(crate) fn memory_hierarchy() -> Option<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    hierarchy(&mounts, "memory")
}

/// Folders of the groups of a process that divide memory, the nearest first, without the root: that is the whole machine.
#[must_use]
pub(crate) fn memory_groups(pid: u32, hierarchy: &Hierarchy) -> Vec<PathBuf> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let path = path_in(&lines, hierarchy.unified, "memory");
    let paths = std::iter::successors(path, |path| above(path)).filter(|path| *path != "/");
    let folders = paths.map(|path| PathBuf::from(format!("{}{path}", hierarchy.mount)));
    folders
        .filter(|folder| folder.join("memory.stat").exists())
        .collect()
}

/// The limits that a process is under, those of its own group first. `memory` is the hierarchy that divides memory.
#[must_use]
pub(crate) fn own_limits(pid: u32, means: &Means, memory: Option<&Hierarchy>) -> Vec<OwnLimit> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for (resource, controller, unified, name) in FILES {
        let hierarchy = match resource {
            Resource::Cpu => means.cpu.as_ref(),
            Resource::Memory => memory,
            _ => means.io.as_ref(),
        };
        let Some(hierarchy) = hierarchy.filter(|h| h.unified == unified) else {
            continue;
        };
        let path = path_in(&lines, unified, controller);
        // In v1 a limit of I/O holds back the group's own I/O, not that of the groups below.
        let levels = match resource == Resource::Disk && !unified {
            true => 1,
            false => usize::MAX,
        };
        for path in std::iter::successors(path, |path| above(path)).take(levels) {
            limits.extend(of_file(resource, hierarchy, path, name));
        }
    }
    limits
}

fn of_file(resource: Resource, hierarchy: &Hierarchy, path: &str, name: &str) -> Vec<OwnLimit> {
    let file = format!("{}{}/{name}", hierarchy.mount, path.trim_end_matches('/'));
    let text = fs::read_to_string(&file).unwrap_or_default();
    let limit = |value: &str| OwnLimit {
        resource,
        file: file.clone(),
        value: value.to_owned(),
    };
    text.lines()
        .filter(|line| limits(line))
        .map(limit)
        .collect()
}

/// Does a line set a limit? Of a CPU, `50000 100000`, `max 100000`, `-1`; of a disk, `8:0 1048576`, `8:0 rbps=1048576 wbps=max …`; of
/// memory, a number of bytes.
fn limits(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    match first.contains(':') {
        true => words.any(|word| word.ends_with(|c: char| c.is_ascii_digit())),
        false => first
            .parse()
            .is_ok_and(|limit: u64| limit < NO_MEMORY_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_number_limits_nothing() {
        for line in [
            "50000 100000",
            "50000",
            "8:0 1048576",
            "8:0 rbps=max wbps=1048576 riops=max wiops=max",
        ] {
            assert!(limits(line), "{line}");
        }
        for line in [
            "max 100000",
            "-1",
            "",
            "8:0 rbps=max wbps=max",
            "9223372036854771712",
        ] {
            assert!(!limits(line), "{line}");
        }
    }

    #[test]
    fn a_limit_comes_with_its_file_and_value() {
        let dir = std::env::temp_dir().join(format!("own-limit-{}", std::process::id()));
        fs::create_dir_all(dir.join("a")).unwrap();
        fs::write(dir.join("a/cpu.max"), "50000 100000\n").unwrap();
        let hierarchy = Hierarchy {
            unified: true,
            mount: dir.to_string_lossy().into_owned(),
        };
        let found = of_file(Resource::Cpu, &hierarchy, "/a", "cpu.max");
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].value, "50000 100000");
        assert!(found[0].file.ends_with("/a/cpu.max"), "{}", found[0].file);
        assert_eq!(own_limits(u32::MAX, &Means::default(), None), []);
    }
}
