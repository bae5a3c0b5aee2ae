//! A request of a disk, as the fold keeps it.

use tracer_common::block::{
    IO_ERROR, IO_JOURNAL, IO_KTHREAD, IO_MERGED, IO_OPEN, IO_THROTTLED, IO_UNSEEN, IO_WRITEBACK,
    OP_READ,
};

use crate::{
    event::Io,
    model::books::{Holder, ProcessId},
};

/// A limit held it back, and a kernel thread had queued it for a device above. The kernel half sets only one of both.
const PASSED_ON: u32 = IO_THROTTLED | IO_KTHREAD;

/// A request, completed or still in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Request {
    /// When its first bio was queued.
    pub(crate) queue_ns: u64,
    /// When it went to the device.
    pub(crate) issue_ns: u64,
    /// When it completed, or the end of the window.
    pub(crate) end_ns: u64,
    /// Bytes.
    pub(crate) bytes: u32,
    /// `REQ_OP_*`
    pub(crate) op: u32,
    /// Its owner.
    pub(crate) owner: Holder,
    /// The process that owns it.
    pub(crate) process: ProcessId,
    /// Which thread queued it.
    pub(crate) tid: u32,
    /// `IO_*` bits.
    pub(crate) flags: u32,
}

impl Request {
    /// From an event.
    #[must_use]
    pub(crate) fn new(io: &Io, owner: Holder, process: ProcessId) -> Self {
        Self {
            queue_ns: io.queue_ns,
            issue_ns: io.issue_ns,
            end_ns: io.ns,
            bytes: io.bytes,
            op: io.op,
            owner,
            process,
            tid: io.tid,
            flags: io.flags,
        }
    }

    /// May its time be taken for that of a request of its size? Not while it is in flight, nor if it is a part of one, or failed, or went
    /// to the device unseen.
    pub(super) fn is_whole(&self) -> bool {
        self.flags & (IO_OPEN | IO_MERGED | IO_ERROR | IO_UNSEEN) == 0
    }

    /// Did a kernel thread write it, for whoever dirtied the pages or has a part in the transaction?
    pub(super) fn by_kernel(&self) -> bool {
        self.flags & (IO_WRITEBACK | IO_JOURNAL) != 0
    }

    /// Does it open the gate of its disk, so that the requests of others there are recorded?
    pub(super) fn opens_gate(&self) -> bool {
        self.owner == Holder::Own || self.by_kernel() || self.flags & IO_KTHREAD != 0
    }

    /// Did it write, or did a kernel thread make it for somebody who had written?
    pub(super) fn writes(&self) -> bool {
        self.op != OP_READ || self.by_kernel()
    }

    /// Does it count as the target's own only because a limit of the target's group held it back?
    pub(super) fn is_held_back(&self) -> bool {
        self.flags & PASSED_ON == IO_THROTTLED && self.owner == Holder::Own
    }

    /// The same as one that was queued for a request of a device above.
    pub(super) fn passed_on(self) -> Self {
        Self {
            owner: Holder::Nobody,
            flags: self.flags | PASSED_ON,
            ..self
        }
    }

    /// Was it queued for a request of a device above, and held back by a limit?
    pub(super) fn is_passed_on(&self) -> bool {
        self.flags & PASSED_ON == PASSED_ON
    }

    /// May it be a part of this request of a device above? That is done when all its parts are.
    pub(super) fn is_for(&self, above: &Self) -> bool {
        self.op == above.op && self.queue_ns >= above.queue_ns && self.end_ns <= above.end_ns
    }

    /// Did the device answer with an error?
    #[must_use]
    pub(crate) fn failed(&self) -> bool {
        self.flags & IO_ERROR != 0
    }

    pub(super) fn device_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.issue_ns)
    }

    pub(super) fn overlaps(&self, begin: u64, end: u64) -> bool {
        self.queue_ns < end && self.end_ns > begin
    }
}
