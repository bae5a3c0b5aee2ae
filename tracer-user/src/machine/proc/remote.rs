//! File systems without a block device below the mounts of a process: there it waits for another process or machine.

use std::{collections::BTreeSet, fs, path::Path};

use super::disk::unescape;
use crate::{event::RemoteMount, file_system::Kind};

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

/// Does a process hold the device over which the kernel asks the servers of FUSE file systems?
fn serves_files(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    let mut files = open.flatten().map(|fd| fs::read_link(fd.path()));
    files.any(|file| file.is_ok_and(|file| file == Path::new("/dev/fuse")))
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
