//! The folders of control groups in the hierarchies that are mounted, and the processes in them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::super::{SmallFiles, process::stat};

/// Most groups that are looked at, and most processes found in them: a slice may hold a whole machine.
const MOST_FOLDERS: usize = 8192;
const MOST_MEMBERS: usize = 16_384;

/// Bytes read of a list of members: so many take less.
const LONGEST_LIST: u64 = 1 << 20;

/// Where the hierarchies of v1 and v2 are mounted, by a list of mounts.
pub(super) fn mount_points(mounts: &str) -> Vec<&str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind) = (fields.next()?, fields.next()?);
        matches!(kind, "cgroup" | "cgroup2").then_some(point)
    });
    lines.collect()
}

/// The folders of a group that `/proc/PID/cgroup` shows by this path. With v1 each hierarchy may have one.
pub(super) fn of_path(path: &str, mounts: &[&str]) -> Vec<PathBuf> {
    let folders = mounts
        .iter()
        .map(|mount| PathBuf::from(format!("{mount}{path}")));
    folders.filter(|folder| folder.is_dir()).collect()
}

/// The processes in these groups and in those below, the oldest first. Threads of the kernel, the tracer itself, and processes that this
/// pid namespace does not know are left out.
#[must_use]
pub(crate) fn members(folders: &[PathBuf]) -> Vec<u32> {
    let mut files = SmallFiles::default();
    let mut pids: BTreeSet<u32> = BTreeSet::new();
    let (mut left, mut looked) = (folders.to_vec(), 0);
    while let Some(folder) = left.pop() {
        looked += 1;
        if looked > MOST_FOLDERS || pids.len() > MOST_MEMBERS {
            break;
        }
        // A threaded group of v2 has no list: its domain, which lies above, names its processes.
        let list = files.read_up_to(
            format_args!("{}/cgroup.procs", folder.display()),
            LONGEST_LIST,
        );
        pids.extend(list.into_iter().flat_map(numbers));
        left.extend(below(&folder));
    }
    pids.remove(&0);
    pids.remove(&std::process::id());
    let mut by_age: Vec<(u64, u32)> = pids
        .into_iter()
        .filter_map(|pid| {
            let stat = stat(&mut files, pid)?;
            (!stat.is_kernel_thread()).then_some((stat.start_ticks, pid))
        })
        .collect();
    by_age.sort_unstable();
    by_age.into_iter().map(|(_, pid)| pid).collect()
}

fn numbers(list: &[u8]) -> impl Iterator<Item = u32> {
    let end = list.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    let lines = list[..end].split(|byte| *byte == b'\n');
    lines.filter_map(|line| str::from_utf8(line).ok()?.parse().ok())
}

/// The groups in a group. There is no link in these file systems, and none is followed.
fn below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found_among_the_mounts() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n\
                      proc /proc proc rw 0 0\n\
                      broken\n";
        let expected = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/cpu,cpuacct"];
        assert_eq!(mount_points(mounts), expected);
        let folder = std::env::temp_dir();
        let mounts = [folder.to_str().unwrap(), "/no such folder"];
        assert_eq!(of_path("/.", &mounts).len(), 1);
    }

    #[test]
    fn members_of_groups_and_of_those_below_come_once_and_by_age() {
        let dir = std::env::temp_dir().join(format!("tracer-members-{}", std::process::id()));
        let inner = dir.join("inner");
        fs::create_dir_all(&inner).unwrap();
        let mut older = Command::new("sleep").arg("60").spawn().unwrap();
        let mut younger = Command::new("sleep").arg("60").spawn().unwrap();
        let (own, pids) = (std::process::id(), [older.id(), younger.id()]);
        // 0 is of another namespace, and what has no end of a line may have been cut.
        let list = format!("0\n{own}\n{}\nx\n-1\n{}\n1", pids[1], u32::MAX);
        fs::write(dir.join("cgroup.procs"), list).unwrap();
        fs::write(
            inner.join("cgroup.procs"),
            format!("{}\n{}\n", pids[0], pids[1]),
        )
        .unwrap();
        let mut found = members(&[dir.clone(), dir.clone()]);
        for child in [&mut older, &mut younger] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        fs::remove_dir_all(&dir).unwrap();
        // Both may have started within one tick.
        found.sort_unstable();
        let mut expected = pids.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(members(&[dir]), [0; 0]);
    }
}
