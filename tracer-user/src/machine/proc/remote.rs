//! File systems without a block device below the mounts of a process: there it waits for another process or machine.

use std::{collections::BTreeSet, fs, path::Path};

use super::disk::unescape;
use crate::{event::RemoteMount, file_system::Kind};

/// The device over which the kernel asks the servers of FUSE file systems.
pub(super) const DEVICE: &str = "/dev/fuse";

/// The type of a file system that the host of a virtual machine serves.
const ON_HOST: &str = "virtiofs";

/// Bits of the kernel's number of a device that are the minor one (`include/linux/kdev_t.h`).
const MINOR_BITS: u32 = 20;

/// The mounts of a process, each once; none if it is gone.
#[must_use]
pub(crate) fn remote_mounts(pid: u32) -> Vec<RemoteMount> {
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mounts = String::from_utf8_lossy(&mounts);
    let mounts: BTreeSet<RemoteMount> = mounts.lines().filter_map(parse).collect();
    mounts.into_iter().collect()
}

/// Does `answering` serve a file system in a process (FUSE), and has `asking` such a mount? Which of several mounts is not known.
#[must_use]
pub(crate) fn asks_over_files(asking: u32, answering: u32) -> bool {
    serves_files(answering)
        && remote_mounts(asking)
            .iter()
            .any(|mount| mount.kind == Kind::Fuse)
}

/// The number of the connection over which the kernel asks another process for the files of a process (FUSE): those of the mount that one
/// of its descriptors is open on, else those of its only such mount. The server itself is not asked.
pub(super) fn asked_over(pid: u32, descriptor: Option<u64>) -> Option<u32> {
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mount = match descriptor {
        Some(fd) => Some(mount_of(pid, fd)?),
        None => None,
    };
    let is_meant = |found: &Served| mount.is_none_or(|mount| mount == found.mount);
    let found = mounts.lines().filter_map(served).filter(is_meant);
    let found: BTreeSet<(u32, bool)> = found.map(|found| (found.connection, found.here)).collect();
    let only = found.first().copied().filter(|_| found.len() == 1);
    only.filter(|(_, here)| *here)
        .map(|(connection, _)| connection)
}

/// A mount of a FUSE file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Served {
    mount: u32,
    /// Its connection: the kernel's number of the device there.
    connection: u32,
    /// Does a process of this machine serve it?
    here: bool,
}

/// The mount of the file that a descriptor is open for.
fn mount_of(pid: u32, fd: u64) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let mount = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    mount?.trim().parse().ok()
}

/// The mount of a line, if it is one of FUSE.
fn served(line: &str) -> Option<Served> {
    let (head, tail) = line.split_once(" - ")?;
    let name = tail.split(' ').next()?;
    let mut words = head.split(' ');
    let mount = words.next()?.parse().ok()?;
    let (major, minor) = words.nth(1)?.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    (Kind::of_type(name)? == Kind::Fuse).then_some(Served {
        mount,
        connection: (major << MINOR_BITS) | minor,
        here: name != ON_HOST,
    })
}

/// Does a process hold the device over which the kernel asks the servers of FUSE file systems?
fn serves_files(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut files = open.flatten().map(|fd| fs::read_link(fd.path()));
    files.any(|file| file.is_ok_and(|file| file == Path::new(DEVICE)))
}

/// `ID PARENT 0:MINOR ROOT POINT OPTIONS [TAG]… - TYPE SOURCE OPTIONS`
fn parse(line: &str) -> Option<RemoteMount> {
    let (_, tail) = line.split_once(" - ")?;
    let (name, rest) = tail.split_once(' ')?;
    Some(RemoteMount {
        kind: Kind::of_type(name)?,
        source: unescape(rest.split(' ').next()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_elsewhere_is_found() {
        let lines = "36 35 0:52 / /srv rw shared:1 - nfs4 files:/export/a\\040b rw,vers=4.2\n\
                     37 35 0:53 / /mnt rw - fuse.sshfs me@box: rw,user_id=0\n\
                     38 35 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     39 35 0:5 / /proc rw - proc proc rw\n";
        let found: Vec<(Kind, String)> = lines
            .lines()
            .filter_map(parse)
            .map(|mount| (mount.kind, mount.source))
            .collect();
        assert_eq!(
            found,
            [
                (Kind::Nfs, "files:/export/a b".to_owned()),
                (Kind::Fuse, "me@box:".to_owned())
            ]
        );
        assert_eq!(remote_mounts(u32::MAX), []);
    }

    #[test]
    fn a_mount_of_fuse_has_the_connection_of_its_device_and_no_other_has_one() {
        let of = |line: &str| served(line).map(|found| (found.mount, found.connection, found.here));
        let sshfs = "37 35 0:53 / /mnt rw shared:2 - fuse.sshfs me@box: rw,user_id=0";
        assert_eq!(of(sshfs), Some((37, 53, true)));
        let on_disk = "41 35 8:1 / /win rw - fuseblk /dev/sda1 rw";
        assert_eq!(of(on_disk), Some((41, (8 << 20) | 1, true)));
        let on_host = "42 35 0:60 / /host rw - virtiofs share rw";
        assert_eq!(of(on_host), Some((42, 60, false)));
        assert_eq!(of("36 35 0:52 / /srv rw - nfs4 files:/export rw"), None);
        assert_eq!(of("nothing"), None);
    }

    #[test]
    fn a_descriptor_is_open_on_a_mount() {
        let file = fs::File::open("/proc/self/mountinfo").unwrap();
        let fd = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&file)).unwrap();
        let own = std::process::id();
        assert!(mount_of(own, fd).is_some());
        assert_eq!(mount_of(own, u64::MAX), None);
        // It is none of FUSE.
        assert_eq!(asked_over(own, Some(fd)), None);
    }

    #[test]
    fn only_a_process_that_holds_the_device_serves_files() {
        let own = std::process::id();
        assert!(!serves_files(own));
        match fs::File::open("/dev/fuse") {
            Ok(_device) => assert!(serves_files(own)),
            Err(error) => eprintln!("SKIP the device of FUSE cannot be opened: {error}"),
        }
        assert!(!serves_files(u32::MAX));
    }
}
