//! File systems with their content elsewhere than on a disk of this machine. Found by the names of their mounts and kernel
//! functions.

use serde::{Deserialize, Serialize};

use crate::functions::{is_meant, plain};

/// Kind of such a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// NFS.
    Nfs,
    /// SMB.
    Cifs,
    /// A file system in a process of this machine, which may ask another machine.
    Fuse,
    /// Ceph.
    Ceph,
    /// Plan 9, by which virtual machines share directories with their host.
    Plan9,
}

/// Kind, name, types in mountinfo (up to a dot), and kernel functions. Only this kind sleeps in these functions (5.10 to 7.2). A
/// function that ends in `*` is a prefix.
const TABLE: [(Kind, &str, &[&str], &[&str]); 5] = [
    (
        Kind::Nfs,
        "nfs",
        &["nfs", "nfs4"],
        &["rpc_wait_bit_killable", "__rpc_execute", "nfs_*", "nfs4_*"],
    ),
    (
        Kind::Cifs,
        "cifs",
        &["cifs", "smb3"],
        &[
            "wait_for_response",
            "wait_for_free_credits",
            "cifs_*",
            "smb2_*",
        ],
    ),
    (
        Kind::Fuse,
        "fuse",
        &["fuse", "fuseblk", "virtiofs"],
        &["request_wait_answer", "__fuse_*", "fuse_*"],
    ),
    (Kind::Ceph, "ceph", &["ceph"], &["ceph_*"]),
    (Kind::Plan9, "9p", &["9p"], &["p9_*", "v9fs_*"]),
];

/// Through it, the kernel brings in a page that a process or the kernel touched.
const FAULT: &str = "handle_mm_fault";
/// The device from which the process of a FUSE file system reads what it is asked: there it waits for work.
const SERVER: &str = "fuse_dev_*";

impl Kind {
    /// The kind of a mount, by its type in mountinfo (`fuse.sshfs`).
    #[must_use]
    pub fn of_type(name: &str) -> Option<Self> {
        let name = name.split('.').next().unwrap_or(name);
        let row = TABLE.iter().find(|(_, _, types, _)| types.contains(&name));
        row.map(|(kind, ..)| *kind)
    }

    /// The kind with a function in a stack, innermost first. A page fault in the middle of it is about memory, which may be a file
    /// of another file system: only what lies within counts.
    #[must_use]
    pub fn of_stack(frames: &[String]) -> Option<Self> {
        let within = frames
            .iter()
            .take_while(|frame| !is_meant(FAULT, plain(frame)));
        let within = within.filter(|frame| !is_meant(SERVER, plain(frame)));
        let within: Vec<&String> = within.collect();
        let is_in = |pattern: &&str| within.iter().any(|frame| is_meant(pattern, plain(frame)));
        let row = TABLE
            .iter()
            .find(|(_, _, _, functions)| functions.iter().any(is_in));
        row.map(|(kind, ..)| *kind)
    }

    /// Its name, as a report shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = TABLE.iter().find(|(kind, ..)| *kind == self);
        row.map_or("", |(_, name, ..)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_and_a_stack_tell_the_kind() {
        assert_eq!(Kind::of_type("fuse.sshfs"), Some(Kind::Fuse));
        assert_eq!(Kind::of_type("nfs4"), Some(Kind::Nfs));
        assert_eq!(Kind::of_type("nfsd"), None);
        let stack = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let read = stack(&["schedule", "rpc_wait_bit_killable", "__rpc_execute"]);
        assert_eq!(Kind::of_stack(&read), Some(Kind::Nfs));
        let asked = stack(&["schedule", "request_wait_answer", "__fuse_simple_request"]);
        assert_eq!(Kind::of_stack(&asked), Some(Kind::Fuse));
        assert_eq!(Kind::of_stack(&stack(&["io_schedule"])), None);
    }

    #[test]
    fn neither_a_fault_inside_a_write_nor_the_server_of_a_file_system_waits_for_it() {
        let of = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|n| (*n).to_owned()).collect();
            Kind::of_stack(&names)
        };
        let fault = ["io_schedule", "filemap_fault", "handle_mm_fault"];
        assert_eq!(of(&[&fault[..], &["nfs_file_write"]].concat()), None);
        let inside = ["nfs_read_folio", "filemap_fault", "handle_mm_fault"];
        assert_eq!(of(&inside), Some(Kind::Nfs));
        assert_eq!(of(&["schedule", "fuse_dev_do_read", "fuse_dev_read"]), None);
    }
}
