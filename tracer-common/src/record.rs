//! What every ring-buffer record begins with, and the counters kept for each kind.

use crate::plain;

/// Which record follows. The number is the index of the kind's drop counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`crate::sched::Wait`]
    Wait = 0,
    /// [`crate::sched::Slice`]
    Slice = 1,
    /// [`crate::sched::Migrate`]
    Migrate = 2,
    /// [`crate::sched::Stack`]
    Stack = 3,
    /// [`crate::sched::ThreadEnd`]
    ThreadEnd = 4,
    /// [`crate::block::Io`]
    Io = 5,
    /// [`crate::tcp::Call`]
    Call = 6,
    /// [`crate::tcp::Socket`]
    Socket = 7,
    /// [`crate::tcp::Ack`]
    Ack = 8,
    /// [`crate::tcp::Link`]
    Link = 9,
    /// [`crate::proc::Fork`]
    Fork = 10,
    /// [`crate::proc::Exec`]
    Exec = 11,
    /// [`crate::proc::Exit`]
    Exit = 12,
    /// [`crate::histogram::Snapshot`]
    Snapshot = 13,
    /// [`crate::tcp::Flow`]
    Flow = 14,
    /// [`crate::irq::Interrupts`]
    Interrupts = 15,
    /// [`crate::sched::Work`]
    Work = 16,
    /// [`crate::sched::Stolen`]
    Stolen = 17,
    /// [`crate::packets::Packets`]
    Packets = 18,
    /// [`crate::tcp::Client`]
    Client = 19,
}

/// Number of kinds.
pub const KINDS: usize = 20;

impl Kind {
    /// All kinds with the names that reports use.
    pub const ALL: [(Self, &'static str); KINDS] = [
        (Self::Wait, "waits"),
        (Self::Slice, "cpu_slices"),
        (Self::Migrate, "migrations"),
        (Self::Stack, "stacks"),
        (Self::ThreadEnd, "thread_ends"),
        (Self::Io, "block_io"),
        (Self::Call, "socket_calls"),
        (Self::Socket, "sockets"),
        (Self::Ack, "acknowledgements"),
        (Self::Link, "link_slices"),
        (Self::Fork, "forks"),
        (Self::Exec, "execs"),
        (Self::Exit, "exits"),
        (Self::Snapshot, "histograms"),
        (Self::Flow, "flows"),
        (Self::Interrupts, "interrupts"),
        (Self::Work, "works"),
        (Self::Stolen, "stolen"),
        (Self::Packets, "packets"),
        (Self::Client, "clients"),
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).map(|(kind, _)| *kind)
    }
}

/// First bytes of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// A [`Kind`].
    pub kind: u32,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// When the fact became true; records are put in order by it.
    pub ns: u64,
}

/// How many records of one kind were written, and how many found the ring full, on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Counter {
    /// Records written.
    pub sent: u64,
    /// Records lost because the ring was full.
    pub dropped: u64,
}

/// Places where a full or missing map entry loses a fact; the number is the index of its counter.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapLoss {
    /// No room for another target thread.
    Tasks = 0,
    /// No room for another bio in flight: the oldest one of its set was forgotten.
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
