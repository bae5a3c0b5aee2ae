//! Events: facts that the kernel half emitted, and facts that `/proc` showed at attach. They are owned, in order of time, and
//! without a type of aya.
//!
//! A recording is a sequence of events, so any machine can reach the verdict again. Times are nanoseconds of `CLOCK_MONOTONIC` of
//! the traced machine; `pid` is the process, `tid` the thread.

mod block;
mod counted;
mod end;
mod irq;
mod limits;
mod lock;
mod packets;
mod proc;
mod sched;
mod start;
mod stop;
mod tcp;
mod write;

pub use block::*;
pub use counted::*;
pub use end::*;
pub use irq::*;
pub use limits::*;
pub use lock::*;
pub use packets::*;
pub use proc::*;
pub use sched::*;
pub use start::*;
pub use stop::*;
pub use tcp::*;
pub use write::*;

use serde::{Deserialize, Serialize};

pub use crate::figures::{Histogram, Interrupted, ProbeGroup, Shed, Siblings, Source};

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
    /// A target thread came back on a CPU, or is still off it at the end.
    Wait(Wait),
    /// A thread left a CPU on which a target thread was queued.
    Slice(Slice),
    /// A queued target thread was moved to another CPU.
    Migrate(Migrate),
    /// A target thread is gone.
    ThreadEnd(ThreadEnd),
    /// A block I/O request completed, or was still in flight at the end.
    Io(Io),
    /// A socket call of the target returned, or a socket ended.
    Call(Call),
    /// The probes first saw a target's socket.
    Socket(Socket),
    /// The peer has acknowledged all bytes that a target sent on a socket.
    Ack(Ack),
    /// Traffic that one owner sent through an interface in one slice.
    Link(Link),
    /// A process was forked, or a target got a new thread.
    Fork(Fork),
    /// A process runs another program.
    Exec(Exec),
    /// A process exited.
    Exit(Exit),
    /// A histogram since attach.
    Histogram(Box<Histogram>),
    /// Total use of one disk by one owner since attach.
    DiskTotal(DiskTotal),
    /// Always the last.
    End(Box<End>),
    // A recording numbers the kinds: a new one comes after all others.
    /// The standing of one of the largest holders, at the end.
    Standing(Box<crate::standing::Standing>),
    /// The means by which this machine can restrain a process.
    Means(Box<crate::standing::Means>),
    /// The target waits for the answers of a process of this machine. From now on the tracer follows that process.
    Follow(Follow),
    /// At the end, a socket of the target holds bytes that no call has received.
    Unread(Unread),
    /// The limit on a sending socket of the target.
    Flow(Flow),
    /// A limit on the target itself.
    OwnLimit(crate::standing::OwnLimit),
    /// A mount of the target that is not on a disk of this machine. At attach, after the disks.
    RemoteMount(RemoteMount),
    /// [`Event::Ack`] that says when what is acknowledged had left.
    Delivered(Delivered),
    /// Time that interrupts took of a CPU while a target thread was queued there.
    Interrupts(Interrupts),
    /// The function that a kworker ran in a slice.
    Work(Work),
    /// The hypervisor ran something else in a slice.
    Stolen(Stolen),
    /// Time that the target shared the hyperthreads of a core.
    Siblings(Siblings),
    /// Time that the hypervisor stole of a CPU, if the kernel does not count it slice by slice.
    CpuTime(CpuTime),
    /// Time that interrupts took of running target threads.
    Interrupted(Interrupted),
    /// An answer is due on a connection of the target. At attach, after the sockets.
    Unanswered(Unanswered),
    /// Packets of one owner that a CPU moved in one slice while a target thread was queued there.
    Packets(Packets),
    /// A process of this machine asks a target on a connection.
    Client(Client),
    /// A signal that stops was sent to a target.
    Signal(Signal),
    /// The control group of a target was frozen or let go.
    Freeze(Freeze),
    /// A debugger stops a thread of the target.
    Traced(Traced),
    /// [`Event::Link`], of one transmit queue, with the lateness of the packets.
    Queue(Queue),
    /// [`Event::Flow`] of a socket that sends through a transmit queue other than the first.
    QueuedFlow(QueuedFlow),
    /// Use of a limit that the target is under, in one interval.
    LimitUse(Box<LimitUse>),
    /// The words by which a process or thread of the target is known late.
    Named(Named),
    /// A thread of the target, or of a process that it asks, sleeps for a lock.
    LockSeen(LockSeen),
    /// A thread of the target tried to get a lock, and had to wait.
    LockTried(LockTried),
    /// The path of a file for which the target waited.
    LockFile(LockFile),
    /// A thread released a lock of the kernel for which a target thread slept.
    LockReleased(LockReleased),
    /// [`Event::Follow`] of a process that owns a lock for which the target waits, or of a child of such a process (`pid`). `by_pid` is the
    /// owner.
    FollowOwner(Follow),
    /// The tracer itself. At attach, after the processes.
    Tracer(Tracer),
    /// A target thread begins to write a file or a file system out.
    Sync(Sync),
    /// How the machine's memory was filled, in one interval.
    MemoryUse(Box<MemoryUse>),
    /// Data of the target were under way on a connection for the whole window.
    UnderWay(UnderWay),
    /// Peers wait for answers of a process that hears them no more.
    Unheard(Unheard),
    /// [`Event::Socket`] of a connection that began in the window.
    Opened(Opened),
    /// A process became a target.
    Joined(Joined),
    /// A process of the target has had one client since before the window.
    SoleClient(SoleClient),
    /// A target asks whoever is at an address and has no answer yet, or that is over. At attach, before [`Unanswered`]: it asked before.
    Question(Question),
    /// [`Event::Follow`] of a process that ends waits of the target by another way than a socket, or was seen to have to: it reads a pipe,
    /// takes messages, or does what it was asked in memory that both share.
    FollowHand(Follow),
    /// A thread of the target sleeps until somebody reads what it writes.
    WriteSeen(WriteSeen),
    /// An interface of the tracer's network namespace that wraps or marks what is sent through it. At the end, before the means.
    Wrapping(crate::standing::Wrapping),
    /// A process takes what the target sends through an interface, and sends it on.
    Handed(Handed),
    /// Where the lines of evidence of the window come from. Before the end.
    Sources(Sources),
    /// Probes were shed for a part of the window. At the end of a recording that has no [`Watch`].
    Shed(Shed),
    /// A process was moved into another control group after it was forked.
    Moved(Moved),
    /// What a container is called.
    Called(Box<crate::standing::Called>),
    /// Probes are shed, or watched again.
    Watch(Watch),
    /// The thread that forks. Just before [`Event::Fork`].
    Borne(Borne),
    /// [`Event::LockTried`] of a file system that is frozen, with the time since when.
    LockedOut(LockedOut),
    /// A file of which pages were written back that were dirty before the trace. At the end.
    EarlierFile(Box<EarlierFile>),
    /// An interval of a trace of all processes ends.
    Counted(Box<Counted>),
}

impl Event {
    /// When the fact became true, ns; 0 for facts that were true at attach, and for sums.
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
            Self::Queue(e) => e.link.ns,
            Self::QueuedFlow(e) => e.flow.ns,
            Self::Fork(e) => e.ns,
            Self::Exec(e) => e.ns,
            Self::Exit(e) => e.ns,
            Self::Stack(e) => e.ns,
            Self::Histogram(e) => e.ns,
            Self::End(e) => e.ns,
            Self::Follow(e) | Self::FollowOwner(e) | Self::FollowHand(e) => e.ns,
            Self::Unread(e) => e.ns,
            Self::Interrupts(e) => e.ns,
            Self::Work(e) => e.ns,
            Self::Stolen(e) => e.ns,
            Self::Packets(e) => e.ns,
            Self::Client(e) => e.ns,
            Self::Signal(e) => e.ns,
            Self::Freeze(e) => e.ns,
            Self::LimitUse(e) => e.ns,
            Self::Named(e) => e.ns,
            Self::LockSeen(e) => e.ns,
            Self::LockTried(e) => e.ns,
            Self::LockFile(e) => e.ns,
            Self::LockReleased(e) => e.ns,
            Self::Sync(e) => e.ns,
            Self::MemoryUse(e) => e.ns,
            Self::Unheard(e) => e.ns,
            Self::Opened(e) => e.socket.ns,
            Self::Joined(e) => e.ns,
            Self::SoleClient(e) => e.ns,
            Self::Question(e) => e.ns,
            Self::WriteSeen(e) => e.ns,
            Self::Handed(e) => e.ns,
            Self::Moved(e) => e.ns,
            Self::Watch(e) => e.ns,
            Self::Borne(e) => e.ns,
            Self::LockedOut(e) => e.tried.ns,
            Self::Counted(e) => e.ns,
            Self::Process(_)
            | Self::Thread(_)
            | Self::Disk(_)
            | Self::OpenSocket(_)
            | Self::Unanswered(_)
            | Self::UnderWay(_)
            | Self::Standing(_)
            | Self::Means(_)
            | Self::Wrapping(_)
            | Self::Sources(_)
            | Self::Called(_)
            | Self::OwnLimit(_)
            | Self::RemoteMount(_)
            | Self::Siblings(_)
            | Self::CpuTime(_)
            | Self::Interrupted(_)
            | Self::Traced(_)
            | Self::Tracer(_)
            | Self::Shed(_)
            | Self::EarlierFile(_)
            | Self::DiskTotal(_) => 0,
        }
    }

    /// The process that the fact is about, if it is about no other.
    #[must_use]
    pub fn subject(&self) -> Option<u32> {
        match self {
            Self::Thread(e) => Some(e.pid),
            Self::Wait(e) => Some(e.pid),
            Self::Migrate(e) => Some(e.pid),
            Self::ThreadEnd(e) => Some(e.pid),
            Self::Call(e) => Some(e.pid),
            Self::Sync(e) => Some(e.pid),
            Self::Socket(e) => Some(e.pid),
            Self::Opened(e) => Some(e.socket.pid),
            Self::Unread(e) => Some(e.pid),
            Self::Unanswered(e) => Some(e.pid),
            Self::UnderWay(e) => Some(e.pid),
            Self::Unheard(e) => Some(e.pid),
            Self::Question(e) => Some(e.pid),
            Self::WriteSeen(e) => Some(e.pid),
            Self::Client(e) => Some(e.pid),
            Self::SoleClient(e) => Some(e.pid),
            Self::Signal(e) => Some(e.pid),
            Self::Freeze(e) => Some(e.pid),
            Self::Traced(e) => Some(e.pid),
            Self::LockSeen(e) => Some(e.pid),
            Self::LockTried(e) => Some(e.pid),
            Self::LockedOut(e) => Some(e.tried.pid),
            Self::LockReleased(e) => Some(e.pid),
            Self::Borne(e) => Some(e.pid),
            Self::Fork(e) if e.target && e.pid != e.tid => Some(e.pid),
            _ => None,
        }
    }

    /// The socket of the target that the probes first saw, and who opened its connection.
    #[must_use]
    pub fn socket(&self) -> Option<(&Socket, Origin)> {
        match self {
            Self::Socket(socket) => Some((socket, Origin::Unknown)),
            Self::Opened(opened) => Some((&opened.socket, opened.origin)),
            _ => None,
        }
    }
}
