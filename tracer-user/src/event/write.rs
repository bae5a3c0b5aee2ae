//! Writes that nobody takes, and what nobody permits.

use serde::{Deserialize, Serialize};

/// A thread sleeps in a write to a full pipe or queue of messages, in a send or connect on a Unix socket, in a send over TCP to somebody
/// who has no room for it, or until a scanner permits what it does to a file, or a process serves it (FUSE). Who has to read, to permit, or
/// to serve it, was found by the state of that, so the wait need not have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteSeen {
    /// When the look at it began, ns.
    pub ns: u64,
    /// When it was known where it writes, ns. A sleep that lasted from one to the other is the one that was looked at.
    pub known_ns: u64,
    /// Process that writes.
    pub pid: u32,
    /// Thread that writes.
    pub tid: u32,
    /// The processes that can read there: several may have the same end open. Empty if none was found.
    pub readers: Vec<u32>,
    /// Those that can read there and write into the same pipe. They may keep it for somebody else, or write there themselves.
    pub keepers: Vec<u32>,
    /// The pipe, queue or socket, or the address of the one that has no room, in the words of the report; empty if it has no name, and one
    /// process reads there.
    pub place: String,
}
