//! Limits of a process's own I/O: what a kernel thread queues for its group on such a disk was held back by the limit.

use std::{fs, os::unix::fs::MetadataExt as _};

use super::{
    disk::{packed, parse_device},
    standing::{above, counting, path_in},
};
use crate::standing::{Hierarchy, Means};

/// Files of cgroup v1 with a limit for each device (`8:0 1048576`).
const OLD_FILES: [&str; 4] = [
    "blkio.throttle.read_bps_device",
    "blkio.throttle.write_bps_device",
    "blkio.throttle.read_iops_device",
    "blkio.throttle.write_iops_device",
];

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

/// The limits of a process's I/O; none where its group cannot be found.
#[must_use]
pub fn io_limits(pid: u32, means: &Means) -> Vec<IoLimit> {
    let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let limits = means.io.as_ref().and_then(|io| limits(pid, &lines, io));
    limits.unwrap_or_default()
}

fn limits(pid: u32, lines: &str, hierarchy: &Hierarchy) -> Option<Vec<IoLimit>> {
    let path = path_in(lines, hierarchy.unified, "io")?;
    let path = counting(path, hierarchy, "io")?;
    let folder = |path: &str| format!("{}{path}", hierarchy.mount);
    let group = fs::metadata(folder(path)).ok()?.ino();
    let files: &[&str] = if hierarchy.unified {
        &["io.max"]
    } else {
        &OLD_FILES
    };
    let mut devices = Vec::new();
    for path in std::iter::successors(Some(path), |path| above(path)) {
        for file in files {
            let text = fs::read_to_string(format!("{}/{file}", folder(path))).unwrap_or_default();
            devices.extend(text.lines().filter_map(limited));
        }
    }
    devices.sort_unstable();
    devices.dedup();
    let limits = devices.into_iter();
    Some(limits.map(|dev| IoLimit { dev, group, pid }).collect())
}

/// The device of `8:0 1048576` (v1) or `8:0 rbps=1048576 wbps=max riops=max wiops=max` (v2), if anything is limited.
fn limited(line: &str) -> Option<u32> {
    let (device, limits) = line.split_once(' ')?;
    let is_limit =
        |word: &str| !word.ends_with("max") && word.ends_with(|c: char| c.is_ascii_digit());
    let dev = packed(parse_device(device)?)?;
    limits.split_ascii_whitespace().any(is_limit).then_some(dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_limited_if_one_of_its_figures_is() {
        assert_eq!(limited("8:16 2097152"), Some(8 << 20 | 16));
        let of_v2 = "7:0 rbps=max wbps=1048576 riops=max wiops=max";
        assert_eq!(limited(of_v2), Some(7 << 20));
        assert_eq!(limited("7:0 rbps=max wbps=max riops=max wiops=max"), None);
        assert_eq!(limited(""), None);
    }

    #[test]
    fn who_is_gone_has_no_limits() {
        assert_eq!(io_limits(u32::MAX, &super::super::means()), []);
    }
}
