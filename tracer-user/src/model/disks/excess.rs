//! How the time of a request splits: its own service, what the other requests cause, and what nobody but the device explains.
//!
//! On average, the others cause as much of the excess as the means differ. In the single wait, what the device did for them
//! meanwhile decides. If the wait took many times as long as that, the device was slow by itself: a light writer beside a stall
//! has done nothing. If the device was at work for them for most of a rare long wait, the wait is theirs: among thousands of fast
//! ones the means do not show it.

use tracer_common::block::{IO_PART, OP_WRITE};

use super::{
    discard::moves_nothing,
    disk::{Disk, Shares, Whose, size_class},
    request::Request,
    service::{Own, SLOWED, Service},
};

/// Parts of a wait, ns. The rest of it is the request's own.
#[derive(Clone, Debug, Default)]
pub(super) struct Split {
    /// The others cause it.
    pub(super) excess: u64,
    /// It stood in the queue while the device had no request, and the others do not explain it.
    pub(super) idle: u64,
    /// The device itself served more slowly than is usual for it.
    pub(super) slow: u64,
    /// Its own service time is an estimate.
    pub(super) estimated: bool,
    /// Whose the excess is, in proportion.
    pub(super) shares: Shares,
}

/// What a device did during a wait, ns.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    /// At most so long it worked for the other requests.
    others: u64,
    /// So long it had any request.
    busy: u64,
}

impl Disk {
    /// Splits the part of a wait in `[begin, end]`, in which the request was queued or on the device. `shares` are those of the
    /// others that had requests there.
    pub(super) fn split(
        &self,
        request: &Request,
        begin: u64,
        end: u64,
        mut shares: Shares,
        whose: Whose<'_>,
    ) -> Split {
        let crowded = shares.0.iter().any(|(_, share)| *share > 0.0);
        let length = end.saturating_sub(begin);
        let Some(service) = self.own_service(request) else {
            return Split {
                excess: if crowded { length } else { 0 },
                estimated: crowded,
                shares,
                ..Split::default()
            };
        };
        if !crowded {
            return self.after_burst(request, begin, end, service, whose);
        }
        let issued = request.issue_ns.clamp(begin, end.max(begin));
        let queued = issued - begin;
        // Its own is as much of its time on the device as it would take without the others.
        let until = (request.issue_ns + service.ns).saturating_sub(issued);
        let own = until.min(length - queued);
        // In the queue before the device it stood behind the others, or it would not have stood there.
        let mut excess = queued + ((length - queued - own) as f64 * service.explained) as u64;
        let (mut idle, mut slow, mut estimated) = (0, service.slow_ns, service.estimated);
        let is_long = length.max(request.device_ns()) >= SLOWED * service.ns;
        if is_long && let Some(mut work) = self.work(request, begin, end) {
            if length >= 2 * (service.ns + work.others) {
                // What the device did meanwhile does not explain it: so may what it did before.
                let debt = self.debt(request, begin, whose);
                estimated |= debt.is_cut;
                if debt.ns > 0 {
                    let there = work.others;
                    work.others = length.min(there + debt.ns);
                    shares = debt.added_to(shares, there);
                }
            }
            if length >= SLOWED * (service.ns + work.others) {
                let rest = excess.saturating_sub(work.others);
                excess -= rest;
                idle = rest.min(length - work.busy);
                // Any device of its sort may take this long now and then: it is not said to be slow.
                if service.ns + rest - idle > service.most_ns {
                    slow += rest - idle;
                }
            } else if request.device_ns() >= SLOWED * service.ns
                && 2 * work.others >= length - own
                && self.is_harmed(request)
            {
                excess = excess.max(work.others.min(length - own));
            }
        }
        Split {
            excess,
            idle,
            slow: slow.min(length - excess - idle),
            estimated,
            shares,
        }
    }

    /// Splits a wait in which nobody else had a request on the device: it is the request's own, but for what the device had to make up
    /// for first.
    fn after_burst(
        &self,
        request: &Request,
        begin: u64,
        end: u64,
        service: Own,
        whose: Whose<'_>,
    ) -> Split {
        let length = end.saturating_sub(begin);
        let mut split = Split::default();
        if length >= SLOWED * service.ns && !moves_nothing(request.op) {
            let debt = self.debt(request, begin, whose);
            split.excess = debt.ns.min(length - service.ns);
            split.estimated = debt.is_cut || split.excess > 0 && service.estimated;
            split.shares = debt.added_to(Shares::default(), 0);
        }
        split.slow = service.slow_ns.min(length - split.excess);
        split
    }

    /// Time that the device takes for each of these requests when it serves in turn, ns; `None` before its rate is known. Kinds of
    /// requests share the rate. So it is no less than such a request took alone, as far as the device serves in turn.
    fn in_turn(&self) -> Option<impl Fn(&Request) -> u64> {
        let (cost, rate, serial) = (self.fit.cost(), self.fit.rate()?, self.fit.serial());
        Some(move |request: &Request| {
            let demand = self.demand_at(request, cost);
            if moves_nothing(request.op) {
                return (demand * self.fit.in_turn()) as u64;
            }
            let took = (demand * rate) as u64;
            if request.flags & IO_PART != 0 {
                return took;
            }
            let kind = self.service.get(&size_class(request));
            let alone = kind.map_or(0, Service::last_alone);
            took.max((alone as f64 * serial) as u64)
        })
    }

    /// What the device did in `[begin, end]`; `None` before its rate is known. No request takes it for longer than in turn, nor a
    /// read for longer than it was there. A write may be in the cache of the device when it is done: the work for it comes later.
    /// One that came after the awaited one, and was there when that was done, did not hold it up.
    fn work(&self, awaited: &Request, begin: u64, end: u64) -> Option<Work> {
        let in_turn = self.in_turn()?;
        let mut work = Work::default();
        let mut busy_from = end;
        // From the last to end: each adds what it was there before the ones that ended later.
        for request in self.in_flight(begin, end).rev() {
            let (from, to) = (request.issue_ns.max(begin), request.end_ns.min(end));
            work.busy += to.min(busy_from).saturating_sub(from);
            busy_from = busy_from.min(from);
            let later = request.issue_ns > awaited.issue_ns && request.end_ns > awaited.end_ns;
            if request != awaited && !later {
                let cached = request.op == OP_WRITE && request.end_ns <= end;
                let (took, there) = (in_turn(request), to.saturating_sub(from));
                work.others += if cached { took } else { took.min(there) };
            }
        }
        work.others = work.others.min(end.saturating_sub(begin));
        Some(work)
    }
}
