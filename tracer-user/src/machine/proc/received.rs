//! What TCP receives through an interface, by process.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    process,
};

use super::{
    diag,
    links::inodes,
    numbers_in,
    socket::{ANY, LISTEN},
    wrapping::addresses,
};

/// States of sockets that receive.
const RECEIVING: u32 = ANY & !(1 << LISTEN);

/// The bytes that each TCP socket of the tracer's network namespace has received since it began, by its inode.
pub(crate) type BySocket = HashMap<u64, u64>;

/// What all have received so far. `None` if the kernel does not tell.
#[must_use]
pub(crate) fn received() -> Option<BySocket> {
    let mut all = BySocket::new();
    let listed = diag::received(process::id(), RECEIVING, |line, bytes| {
        if line.inode != 0 {
            all.insert(line.inode, bytes);
        }
    });
    listed.ok().map(|()| all)
}

/// The process that has received most since `before` on the addresses of an interface, and how many bytes. Sockets that are closed by
/// now, and those of other network namespaces, are not seen. `None` if the kernel does not tell.
#[must_use]
pub(crate) fn receiver(before: &BySocket, ifindex: u32) -> Option<(u32, u64)> {
    let own = addresses(ifindex);
    let mut grew = BySocket::new();
    let listed = diag::received(process::id(), RECEIVING, |line, bytes| {
        let since = bytes.saturating_sub(before.get(&line.inode).copied().unwrap_or(0));
        if line.inode != 0 && since > 0 && own.contains(&line.local.ip()) {
            grew.insert(line.inode, since);
        }
    });
    listed.ok()?;
    most(&grew, numbers_in("/proc").map(|pid| (pid, inodes(pid))))
}

/// The process that has most of these bytes on its sockets. Of several that share them, the one that was there first.
fn most<I: Iterator<Item = u64>>(
    grew: &BySocket,
    processes: impl Iterator<Item = (u32, I)>,
) -> Option<(u32, u64)> {
    let sums = processes.map(|(pid, inodes)| {
        let its: BTreeSet<u64> = inodes.collect();
        let bytes: u64 = its.iter().filter_map(|inode| grew.get(inode)).sum();
        (pid, bytes)
    });
    let some = sums.filter(|(_, bytes)| *bytes > 0);
    some.max_by_key(|(pid, bytes)| (*bytes, Reverse(*pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_bytes_on_all_its_sockets_together_receives_most() {
        let grew: BySocket = [(1, 60), (2, 30), (3, 40), (4, 5)].into();
        let of = |processes: &[(u32, &[u64])]| {
            let processes = processes.iter();
            most(
                &grew,
                processes.map(|(pid, inodes)| (*pid, inodes.iter().copied())),
            )
        };
        assert_eq!(of(&[(7, &[1]), (8, &[2, 3, 3, 99])]), Some((8, 70)));
        // A child has its parent's sockets.
        assert_eq!(of(&[(8, &[1]), (7, &[1])]), Some((7, 60)));
        assert_eq!(of(&[(7, &[99])]), None);
    }
}
