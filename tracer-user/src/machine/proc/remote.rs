//! File systems without a block device below the mounts of a process: there it waits for another process or machine.

use std::{collections::BTreeSet, fs};

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
}
