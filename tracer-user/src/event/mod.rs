//! What the kernel said, and what `/proc` said at attach: owned, in order of time, without a trace of aya.
//!
//! A recording is a sequence of these, so that a verdict can be reached again on any machine. Times are nanoseconds of
//! `CLOCK_MONOTONIC` of the traced machine; `pid` is the process, `tid` the thread.

mod block;
mod end;
mod irq;
mod packets;
mod proc;
mod sched;
mod start;
mod tcp;

pub use block::*;
pub use end::*;
pub use irq::*;
pub use packets::*;
pub use proc::*;
pub use sched::*;
pub use start::*;
pub use tcp::*;

use serde::{Deserialize, Serialize};

pub use crate::figures::{Histogram, Interrupted, Siblings, Source};

/// One fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Always the first.
    Start(Box<Start>),
    /// A process that was there at attach.
    Process(Process),
    /// A thread of the target that was there at attach.
    Thread(Thread),
    /// A disk.
    Disk(Disk),
    /// A TCP socket that the target had open at attach.
    OpenSocket(OpenSocket),
    /// The frames behind a stack identity.
    Stack(Stack),
    /// A target thread came back on a CPU, or has not come back until the end.
    Wait(Wait),
    /// Somebody left a CPU on which a target thread was queued.
    Slice(Slice),
    /// A queued target thread was moved to another CPU.
    Migrate(Migrate),
    /// A target thread is gone.
    ThreadEnd(ThreadEnd),
    /// A block I/O request completed, or was still in flight at the end.
    Io(Io),
    /// A socket call of the target returned, or a socket ended.
    Call(Call),
    /// A target's socket was first seen.
    Socket(Socket),
    /// All that a target sent on a socket is acknowledged.
    Ack(Ack),
    /// What one owner sent through an interface in one slice.
    Link(Link),
    /// A process was forked, or a target got a new thread.
    Fork(Fork),
    /// A process runs another program.
    Exec(Exec),
    /// A process exited.
    Exit(Exit),
    /// A histogram since attach.
    Histogram(Box<Histogram>),
    /// What one owner had of one disk since attach.
    DiskTotal(DiskTotal),
    /// Always the last.
    End(Box<End>),
    // A recording numbers the kinds: new ones come after those that were there.
    /// How one of those who held most stands, at the end.
    Standing(Box<crate::standing::Standing>),
    /// What this machine has to restrain somebody with.
    Means(Box<crate::standing::Means>),
    /// A process of this machine whose answers the target waits for is followed from now on.
    Follow(Follow),
    /// At the end, a socket of the target holds bytes that nobody has received.
    Unread(Unread),
    /// What holds back a sending socket of the target.
    Flow(Flow),
    /// A limit that the target itself is under.
    OwnLimit(crate::standing::OwnLimit),
    /// At attach, after the disks.
    RemoteMount(RemoteMount),
    /// As [`Event::Ack`], of a socket whose packets left through an interface that queues.
    Delivered(Delivered),
    /// What interrupts took of a CPU while a target thread was queued there.
    Interrupts(Interrupts),
    /// Which function a kworker ran in a slice.
    Work(Work),
    /// The hypervisor ran somebody else in a slice.
    Stolen(Stolen),
    /// Whether hyperthreads were shared.
    Siblings(Siblings),
    /// What was stolen of a CPU: told of those on which the kernel does not count it slice by slice.
    CpuTime(CpuTime),
    /// What interrupted the target.
    Interrupted(Interrupted),
    /// At attach, after the sockets: somebody waits for an answer on a connection of the target.
    Unanswered(Unanswered),
    /// Whose packets a CPU moved in one slice while a target thread was queued there.
    Packets(Packets),
    /// A process of this machine asks a target on a connection.
    Client(Client),
}

impl Event {
    /// When the fact became true; 0 for what was true at attach.
    #[must_use]
    pub fn ns(&self) -> u64 {
        match self {
            Self::Start(e) => e.ns,
            Self::Wait(e) => e.ns,
            Self::Slice(e) => e.ns,
            Self::Migrate(e) => e.ns,
            Self::ThreadEnd(e) => e.ns,
            Self::Io(e) => e.ns,
            Self::Call(e) => e.ns,
            Self::Socket(e) => e.ns,
            Self::Ack(e) => e.ns,
            Self::Delivered(e) => e.ns,
            Self::Link(e) => e.ns,
            Self::Flow(e) => e.ns,
            Self::Fork(e) => e.ns,
            Self::Exec(e) => e.ns,
            Self::Exit(e) => e.ns,
            Self::Stack(e) => e.ns,
            Self::Histogram(e) => e.ns,
            Self::End(e) => e.ns,
            Self::Follow(e) => e.ns,
            Self::Unread(e) => e.ns,
            Self::Interrupts(e) => e.ns,
            Self::Work(e) => e.ns,
            Self::Stolen(e) => e.ns,
            Self::Packets(e) => e.ns,
            Self::Client(e) => e.ns,
            Self::Process(_)
            | Self::Thread(_)
            | Self::Disk(_)
            | Self::OpenSocket(_)
            | Self::Unanswered(_)
            | Self::Standing(_)
            | Self::Means(_)
            | Self::OwnLimit(_)
            | Self::RemoteMount(_)
            | Self::Siblings(_)
            | Self::CpuTime(_)
            | Self::Interrupted(_)
            | Self::DiskTotal(_) => 0,
        }
    }
}
