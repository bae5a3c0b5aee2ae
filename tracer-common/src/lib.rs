//! The layouts, names and numbers that the kernel half and the user half of tracer share.
//!
//! Each probe family has one file with its ring-buffer records, its map values and the names of its maps. [`histogram`] holds the bucket
//! scheme, which both halves compute. [`config`] holds the facts about the running kernel that user space finds and freezes before load.
//!
//! `pid` is the process (the kernel's `tgid`), `tid` the thread (the kernel's `pid`). Times are nanoseconds of `CLOCK_MONOTONIC`.
#![no_std]

pub mod block;
pub mod config;
pub mod histogram;
pub mod irq;
pub mod lock;
pub mod packets;
pub mod place;
pub mod proc;
pub mod quota;
pub mod record;
pub mod sched;
pub mod shed;
pub mod signal;
pub mod smt;
pub mod tcp;

/// The kind of a record. The number is the index of the kind's [`record::Counter`].
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`sched::Wait`]
    Wait = 0,
    /// [`sched::Slice`]
    Slice = 1,
    /// [`sched::Migrate`]
    Migrate = 2,
    /// [`sched::Stack`]
    Stack = 3,
    /// [`sched::ThreadEnd`]
    ThreadEnd = 4,
    /// [`block::Io`]
    Io = 5,
    /// [`tcp::Call`]
    Call = 6,
    /// [`tcp::Socket`]
    Socket = 7,
    /// [`tcp::Ack`]
    Ack = 8,
    /// [`tcp::Link`]
    Link = 9,
    /// [`proc::Fork`]
    Fork = 10,
    /// [`proc::Exec`]
    Exec = 11,
    /// [`proc::Exit`]
    Exit = 12,
    /// [`histogram::Snapshot`]
    Snapshot = 13,
    /// [`tcp::Flow`]
    Flow = 14,
    /// [`irq::Interrupts`]
    Interrupts = 15,
    /// [`sched::Work`]
    Work = 16,
    /// [`sched::Stolen`]
    Stolen = 17,
    /// [`packets::Packets`]
    Packets = 18,
    /// [`tcp::Client`]
    Client = 19,
    /// [`signal::Signal`]
    Signal = 20,
    /// [`lock::LockTried`]
    LockTried = 21,
    /// [`lock::LockReleased`]
    LockReleased = 22,
    /// [`block::Sync`]
    Sync = 23,
    /// [`tcp::Question`]
    Question = 24,
}

/// Number of kinds.
pub const KINDS: usize = 25;

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
        (Self::Signal, "signals"),
        (Self::LockTried, "lock_attempts"),
        (Self::LockReleased, "lock_releases"),
        (Self::Sync, "syncs"),
        (Self::Question, "questions"),
    ];

    /// The kind with this number.
    #[must_use]
    pub fn from_u32(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).map(|(kind, _)| *kind)
    }
}

/// Implements aya's `Pod` for plain records, and asserts their size where they are defined.
macro_rules! plain {
    ($($name:ty = $size:expr),+ $(,)?) => {$(
        const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() <= 8);
        // SAFETY: `repr(C)`, no padding (the size is asserted against the sum of the fields), any bit pattern is valid.
        #[cfg(feature = "user")]
        unsafe impl aya::Pod for $name {}
    )+};
}
pub(crate) use plain;
