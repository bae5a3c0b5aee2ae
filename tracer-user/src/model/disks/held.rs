//! A limit in front of a disk (blk-throttle of the root group, by which a kernel thread queues).
//!
//! The limit lets writes through one after the other, and the device is idle in between: no request is in flight for most of a wait.
//! Whatever went through has used the limit, so it holds the wait by its bytes.

use tracer_common::block::IO_HELD;

use super::{disk::Disk, request::Request};
use crate::model::books::Holder;

/// A limit counts what has passed in slices of this length, ns (`throtl_slice` of `blk-throttle.c`).
const SLICE_NS: u64 = 100_000_000;

impl Disk {
    /// May something that counts as the target's own have been held back here for this request of a device above?
    pub(super) fn may_hold_for(&self, above: &Request) -> bool {
        self.held_ns > above.queue_ns
    }

    /// All that was held back here for a request of a device above is that one's.
    pub(super) fn pass_on(&mut self, above: &Request) {
        let first = self.ends.partition_point(|end| *end <= above.queue_ns);
        for request in self.requests.range_mut(first..) {
            if request.is_held_back() && request.is_for(above) {
                *request = request.passed_on();
            }
        }
    }

    /// When a limit let go the last that was passed on for this request of a device above.
    pub(super) fn let_go_ns(&self, above: &Request) -> Option<u64> {
        let mut passed = self.in_flight(above.issue_ns, above.end_ns).rev();
        let last = passed.find(|passed| passed.is_passed_on() && passed.is_for(above));
        last.map(|last| last.queue_ns)
    }

    /// Bytes of each owner that used a limit of writes up to the end of a wait. Empty if no limit held a write back meanwhile.
    pub(super) fn used_limit(&self, begin: u64, end: u64) -> Vec<(Holder, u64)> {
        let is_held = |request: &Request| request.flags & IO_HELD != 0;
        if !self.in_flight(begin, end).any(is_held) {
            return Vec::new();
        }
        let mut used: Vec<(Holder, u64)> = Vec::new();
        let since = begin.saturating_sub(SLICE_NS);
        for request in self.in_flight(since, end).filter(|r| r.writes()) {
            let bytes = u64::from(request.bytes);
            match used.iter_mut().find(|(owner, _)| *owner == request.owner) {
                Some((_, sum)) => *sum += bytes,
                None => used.push((request.owner, bytes)),
            }
        }
        used
    }
}
