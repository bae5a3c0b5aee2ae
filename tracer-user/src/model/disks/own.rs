//! The target's own part of a disk wait, split by the threads that queued the requests.

use super::request::Request;
use crate::model::books::{Holder, ProcessId};

/// Own requests that a wait stood behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    /// The process that owns them.
    pub(crate) process: ProcessId,
    /// Which thread queued them, and when the first, ns.
    pub(crate) tid: u32,
    pub(crate) queue_ns: u64,
    /// Their part of the wait, ns.
    pub(crate) ns: u64,
}

impl Own {
    /// A request, with its part of a wait in ns.
    pub(super) fn new(request: &Request, ns: u64) -> Self {
        Self {
            process: request.process,
            tid: request.tid,
            queue_ns: request.queue_ns,
            ns,
        }
    }
}

/// Adds a share to those of all holders.
pub(super) fn add_to_holder(shares: &mut Vec<(Holder, f64)>, holder: Holder, share: f64) {
    match shares.iter_mut().find(|(known, _)| *known == holder) {
        Some((_, sum)) => *sum += share,
        None => shares.push((holder, share)),
    }
}

/// Adds the share of a request, if the target owns it.
pub(super) fn add(own: &mut Vec<(Own, f64)>, owner: Holder, request: &Request, share: f64) {
    if owner.plain() != Holder::Own {
        return;
    }
    let same = |known: &Own| (known.process, known.tid) == (request.process, request.tid);
    match own.iter_mut().find(|(known, _)| same(known)) {
        Some((_, sum)) => *sum += share,
        None => own.push((Own::new(request, 0), share)),
    }
}

/// Shares of requests that have one owner, by what they demand; they sum to one. Empty if that is not the target.
pub(super) fn by_demand<'a>(
    owner: Holder,
    requests: impl Iterator<Item = &'a Request>,
    cost: f64,
) -> Vec<(Own, f64)> {
    let mut own = Vec::new();
    if owner.plain() != Holder::Own {
        return own;
    }
    for request in requests {
        add(&mut own, owner, request, cost + f64::from(request.bytes));
    }
    let all: f64 = own.iter().map(|(_, demand)| demand).sum();
    own.iter_mut()
        .for_each(|(_, demand)| *demand /= all.max(1.0));
    own
}

/// Shares as time.
pub(super) fn scaled(shares: Vec<(Own, f64)>, by: f64) -> Vec<Own> {
    let shares = shares.into_iter();
    shares
        .map(|(own, share)| Own {
            ns: (share * by) as u64,
            ..own
        })
        .collect()
}
