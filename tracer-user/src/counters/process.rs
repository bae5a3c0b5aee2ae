//! Processes and their connections: `/proc/PID/io`, and what `sock_diag(7)` says of each TCP socket.

use serde::{Deserialize, Serialize};

use super::named;

/// One process. It was read at a moment of its own, because many are read in turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessCounts {
    /// Process.
    pub pid: u32,
    /// When it was read, ns.
    pub ns: u64,
    /// Bytes that it had read from disks.
    pub read: u64,
    /// Bytes that it had written to disks, or that were to be written for it.
    pub written: u64,
    /// Bytes of these that were not written after all, because the file was cut or removed before.
    pub cancelled: u64,
}

impl ProcessCounts {
    /// Parses `/proc/PID/io` of a process, read at `ns`; `None` if it is cut.
    #[must_use]
    pub fn parse((pid, ns): (u32, u64), text: &str) -> Option<Self> {
        Some(Self {
            pid,
            ns,
            read: named(text, "read_bytes")?,
            written: named(text, "write_bytes")?,
            cancelled: named(text, "cancelled_write_bytes")?,
        })
    }
}

/// One TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCounts {
    /// Number of the socket.
    pub inode: u64,
    /// The process that has it open: of several, that with the lowest number. `None` if it is not known.
    pub pid: Option<u32>,
    /// Own address and port, as text.
    pub local: String,
    /// Peer's address and port, as text.
    pub remote: String,
    /// Bytes that the peer has acknowledged.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
rchar: 100
wchar: 200
syscr: 3
syscw: 4
read_bytes: 4096
write_bytes: 8192
cancelled_write_bytes: 512
";

    #[test]
    fn the_bytes_are_those_of_disks_and_not_those_of_calls() {
        let counts = ProcessCounts::parse((7, 50), TEXT).unwrap();
        let expected = ProcessCounts {
            pid: 7,
            ns: 50,
            read: 4096,
            written: 8192,
            cancelled: 512,
        };
        assert_eq!(counts, expected);
        assert_eq!(ProcessCounts::parse((7, 50), &TEXT[..60]), None);
    }
}
