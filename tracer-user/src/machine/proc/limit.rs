//! Disks on which a process's own I/O is limited. The limit has held back the I/O that a kernel thread queues there for the
//! process's cgroup.

use std::{
    collections::VecDeque,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    disk::{packed, parse_device},
    standing::{counting, path_in},
};
use crate::{
    class::Resource,
    counters::named,
    standing::{Hierarchy, Means, OwnLimit},
};

/// A disk on which a process's group, or one above it, has a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IoLimit {
    /// Device number of the disk, as the kernel packs it.
    pub(crate) dev: u32,
    /// Number of the process's own cgroup: the inode of its folder. Bios carry it, whichever group above has the limit.
    pub(crate) group: u64,
    /// The process.
    pub(crate) pid: u32,
}

/// The disks of `limits`, the limits of the process; none if its group cannot be found.
#[must_use]
pub(crate) fn io_limits(pid: u32, means: &Means, limits: &[OwnLimit]) -> Vec<IoLimit> {
    let mut disks: Vec<u32> = limits.iter().filter_map(limited_disk).collect();
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

/// Most folders looked into for a group: a machine with more has its containers near the top.
const MOST_FOLDERS: usize = 10_000;

/// The process that has moved most bytes to and from disks in a group, by the group's number.
#[must_use]
pub(crate) fn busiest_of_group(group: u64, means: &Means) -> Option<u32> {
    let mount = &means.io.as_ref()?.mount;
    let folder = folder_of(group, Path::new(mount))?;
    let procs = fs::read_to_string(folder.join("cgroup.procs")).ok()?;
    let pids = procs.lines().filter_map(|line| line.parse().ok());
    pids.max_by_key(|pid| moved_bytes(*pid))
}

/// The folder with this inode, at or below `top`; nearer ones first.
fn folder_of(number: u64, top: &Path) -> Option<PathBuf> {
    let mut folders = VecDeque::from([top.to_owned()]);
    for _ in 0..MOST_FOLDERS {
        let folder = folders.pop_front()?;
        if fs::metadata(&folder)
            .ok()
            .is_some_and(|found| found.ino() == number)
        {
            return Some(folder);
        }
        let inside = fs::read_dir(&folder).into_iter().flatten().flatten();
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        folders.extend(inside.filter(is_folder).map(|entry| entry.path()));
    }
    None
}

/// `read_bytes` and `write_bytes` of `/proc/PID/io`.
fn moved_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let moved = ["read_bytes", "write_bytes"].map(|name| named(&text, name));
    moved.into_iter().flatten().sum()
}

/// The device in front of a disk's limit: `8:0 1048576`, `8:0 rbps=1048576 …`. `None` for the limit of another resource.
#[must_use]
pub(crate) fn limited_disk(limit: &OwnLimit) -> Option<u32> {
    let device = limit.value.split_ascii_whitespace().next()?;
    packed(parse_device(device)?).filter(|_| limit.resource == Resource::Disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_by_its_number_at_any_depth() {
        let top = std::env::temp_dir().join(format!("folders-{}", std::process::id()));
        let deep = top.join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        let number = fs::metadata(&deep).unwrap().ino();
        let (found, missing) = (folder_of(number, &top), folder_of(u64::MAX, &top));
        fs::remove_dir_all(&top).unwrap();
        assert_eq!((found, missing), (Some(deep), None));
    }

    #[test]
    fn only_a_disks_limit_names_a_device() {
        let limit = |resource, value: &str| OwnLimit {
            resource,
            file: String::new(),
            value: value.to_owned(),
        };
        assert_eq!(
            limited_disk(&limit(Resource::Disk, "8:16 2097152")),
            Some(8 << 20 | 16)
        );
        let of_v2 = limit(Resource::Disk, "7:0 rbps=max wbps=1048576");
        assert_eq!(limited_disk(&of_v2), Some(7 << 20));
        assert_eq!(limited_disk(&limit(Resource::Cpu, "50000 100000")), None);
        let means = super::super::means();
        assert_eq!(io_limits(u32::MAX, &means, &[of_v2]), []);
    }
}
