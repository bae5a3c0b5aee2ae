//! The header of every ring-buffer record, and the counts of records and of losses in maps.

use crate::plain;

/// Ring of all records but [`crate::Kind::Snapshot`].
pub const EVENTS_MAP: &str = "EVENTS";
/// Ring of [`crate::histogram::Snapshot`].
pub const SNAPSHOTS_MAP: &str = "SNAPSHOTS";
/// A [`Counter`] for each [`crate::Kind`], on each CPU.
pub const COUNTERS_MAP: &str = "COUNTERS";
/// Facts lost because a map was full: a count for each [`MapLoss`], on each CPU.
pub const MAP_FULL_MAP: &str = "MAP_FULL";
/// Entries added to maps that evict the least recently used one: a count for each [`MapLoss`], on each CPU.
pub const MAP_ADDED_MAP: &str = "MAP_ADDED";

/// First bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// A [`crate::Kind`].
    pub kind: u32,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// When the fact became true, ns. User space orders records by it.
    pub ns: u64,
}

/// Records of one kind on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Records written.
    pub sent: u64,
    /// Records lost because the ring was full.
    pub dropped: u64,
}

/// Maps that lose a fact when they are full. The number is the index of the counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapLoss {
    /// No room for another target thread.
    Tasks = 0,
    /// No room for another bio in flight: the kernel half forgot the oldest one of its set.
    Bios = 1,
    /// No room for another request in flight.
    Requests = 2,
    /// No room for another socket.
    Sockets = 3,
    /// No room for another histogram.
    Histograms = 4,
    /// No room for another (disk, owner) total.
    DiskTotals = 5,
    /// No room for another (link, owner) cell.
    Links = 6,
    /// No room for another (CPU, owner of packets) cell.
    Packets = 7,
    /// No room for another process's histograms of disk requests.
    BlockHistograms = 8,
}

/// Number of map losses.
pub const MAP_LOSSES: usize = 9;

impl MapLoss {
    /// All map losses with the names that reports use.
    pub const ALL: [(Self, &'static str); MAP_LOSSES] = [
        (Self::Tasks, "tasks"),
        (Self::Bios, "bios"),
        (Self::Requests, "requests"),
        (Self::Sockets, "sockets"),
        (Self::Histograms, "histograms"),
        (Self::DiskTotals, "disk_totals"),
        (Self::Links, "links"),
        (Self::Packets, "packets"),
        (Self::BlockHistograms, "block_histograms"),
    ];
}

plain!(Header = 16, Counter = 16);
