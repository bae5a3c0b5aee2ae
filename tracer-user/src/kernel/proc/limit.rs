//! Disks on which a process's own I/O is limited: what a kernel thread queues there for its group was held back by the limit.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{
    disk::{packed, parse_device},
    standing::{counting, path_in},
};
use crate::{
    class::Resource,
    standing::{Hierarchy, Means, OwnLimit},
};

/// A disk on which a process's group, or one above it, has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoLimit {
    /// Disk, as the kernel packs it.
    pub dev: u32,
    /// Number of the process's own group (inode of its folder): bios carry it, whichever group above has the limit.
    pub group: u64,
    /// The process.
    pub pid: u32,
}

/// The disks that `limits`, those of the process, are about; none where its group cannot be found.
#[must_use]
pub fn io_limits(pid: u32, means: &Means, limits: &[OwnLimit]) -> Vec<IoLimit> {
    let mut disks: Vec<u32> = limits.iter().filter_map(disk).collect();
    disks.sort_unstable();
    disks.dedup();
    if disks.is_empty() {
        return Vec::new();
    }
    let Some(group) = means.io.as_ref().and_then(|io| group(pid, io)) else {
        return Vec::new();
    };
    let disks = disks.into_iter();
    disks.map(|dev| IoLimit { dev, group, pid }).collect()
}

/// The number of the process's group.
fn group(pid: u32, hierarchy: &Hierarchy) -> Option<u64> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = path_in(&lines, hierarchy.unified, "io")?;
    let path = counting(path, hierarchy, "io")?;
    let folder = fs::metadata(format!("{}{path}", hierarchy.mount)).ok()?;
    Some(folder.ino())
}

/// The device in front of a disk's limit: `8:0 1048576`, `8:0 rbps=1048576 …`.
fn disk(limit: &OwnLimit) -> Option<u32> {
    let device = limit.value.split_ascii_whitespace().next()?;
    packed(parse_device(device)?).filter(|_| limit.resource == Resource::Disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_disks_limit_names_a_device() {
        let limit = |resource, value: &str| OwnLimit {
            resource,
            file: String::new(),
            value: value.to_owned(),
        };
        assert_eq!(
            disk(&limit(Resource::Disk, "8:16 2097152")),
            Some(8 << 20 | 16)
        );
        let of_v2 = limit(Resource::Disk, "7:0 rbps=max wbps=1048576");
        assert_eq!(disk(&of_v2), Some(7 << 20));
        assert_eq!(disk(&limit(Resource::Cpu, "50000 100000")), None);
        let means = super::super::means();
        assert_eq!(io_limits(u32::MAX, &means, &[of_v2]), []);
    }
}
