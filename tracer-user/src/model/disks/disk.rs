//! One disk: how long a target's request would have taken alone, and which others had the device meanwhile.
//!
//! A wait on a request is its own service `s0` plus an excess. `s0` is the median device time of the same operation and size while
//! nobody else had a request there. The others cause as much of the excess as the mean device time rises beside others, within
//! what the device did for them during the wait ([`Disk::split`]). That part is shared over all other requests in flight or queued
//! meanwhile. Each counts by the service it demands, `d = k + bytes`. `k` is the cost of an I/O beside its bytes, fitted from the
//! window. Time is virtual: at each instant every request there gets `d / Σd`. So a small reader is not accused of a big reader's
//! harm.

use std::collections::{VecDeque, vec_deque};

use rustc_hash::FxHashMap as HashMap;
use tracer_common::block::{IO_PART, IO_THROTTLED};

use super::{
    beside::NEXT_TO_NOTHING,
    debt::Ahead,
    discard::{Discards, moves_nothing},
    excess::Split,
    fit::Fit,
    own::{self, Own},
    reach::Reach,
    request::Request,
    service::{self, Load, Service, Usual},
};
use crate::model::books::{Holder, PlaceId};

/// Requests kept of one disk: at 10,000 a second the last 6 s. On a faster disk, waits are judged before their requests are
/// forgotten ([`Disk::forgets`]), and those of the burst before them. The faster it is, the sooner all requests beside them have
/// completed.
const MOST_REQUESTS: usize = 1 << 16;

/// Names the owner of a request.
pub(crate) type Whose<'a> = &'a dyn Fn(&Request) -> Holder;

/// Shares of a wait by owner, and those of the target's own requests one by one.
pub(super) type Shares = (Vec<(Holder, f64)>, Vec<(Own, f64)>);

/// How a wait is charged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Blame {
    /// Parts of the wait, summing to its length.
    pub(crate) charges: Vec<(Holder, u64)>,
    /// The target's own part, by the requests of it that the awaited one stood behind. The rest of it is the awaited one's.
    pub(crate) own: Vec<Own>,
    /// Its own service time is an estimate.
    pub(crate) estimated: bool,
}

/// One disk.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Its place.
    pub(crate) place: PlaceId,
    pub(super) requests: VecDeque<Request>,
    /// Begins of the requests.
    reach: Reach,
    /// Their ends, apart: looked through for every wait, in a list of tens of thousands.
    pub(super) ends: VecDeque<u64>,
    pub(super) ahead: Ahead,
    pub(super) service: HashMap<(u32, u32), Service>,
    pub(super) discards: Discards,
    pub(super) fit: Fit,
    /// Longest time from queue to completion seen: how long a request may still be unknown.
    pub(crate) longest_ns: u64,
    /// End of the last request that counts as the target's own because a limit held it back, ns.
    pub(super) held_ns: u64,
    /// Requests up to this index are in the statistics.
    counted: usize,
    usual: Usual,
}

impl Disk {
    /// A disk of which nothing is known yet.
    #[must_use]
    pub(crate) fn new(place: PlaceId, rotational: bool) -> Self {
        Self {
            place,
            usual: if rotational {
                Usual::ROTATIONAL
            } else {
                Usual::SOLID
            },
            requests: VecDeque::new(),
            reach: Reach::default(),
            ends: VecDeque::new(),
            ahead: Ahead::default(),
            service: HashMap::default(),
            discards: Discards::default(),
            fit: Fit::default(),
            longest_ns: 0,
            held_ns: 0,
            counted: 0,
        }
    }

    /// A request completed, or was still in flight at the end. In order of time.
    pub(crate) fn completed(&mut self, request: Request) {
        if let Some(oldest) = self.forgets() {
            self.settle(oldest + 1);
            self.forget_first();
            self.ahead.cut_ns = oldest;
        }
        self.longest_ns = self
            .longest_ns
            .max(request.end_ns.saturating_sub(request.queue_ns));
        if request.is_whole() && !moves_nothing(request.op) {
            let kind = self.service.get(&size_class(&request));
            self.fit.add(&request, kind.map_or(0, Service::last_alone));
        }
        if request.is_held_back() {
            self.held_ns = request.end_ns;
        }
        // One that never went to the device was not issued at 0.
        self.reach.add(request.queue_ns.min(request.issue_ns));
        self.ends.push_back(request.end_ns);
        self.requests.push_back(request);
        self.count_ahead();
    }

    fn forget_first(&mut self) {
        self.requests.pop_front();
        self.reach.forget();
        self.ends.pop_front();
        self.ahead.forget();
        self.counted = self.counted.saturating_sub(1);
    }

    /// Requests that completed after `begin`, but for those after which none was queued or issued before `end`.
    pub(super) fn range(&self, begin: u64, end: u64) -> vec_deque::Iter<'_, Request> {
        let first = self.ends.partition_point(|end| *end <= begin);
        let until = self.reach.until(end).clamp(first, self.requests.len());
        self.requests.range(first..until)
    }

    /// The end of the oldest request, if the next one takes its place.
    #[must_use]
    pub(crate) fn forgets(&self) -> Option<u64> {
        let full = self.requests.len() == MOST_REQUESTS;
        self.requests.front().filter(|_| full).map(|r| r.end_ns)
    }

    /// Takes requests that completed before `settled` into the statistics: those beside them are known by then.
    pub(crate) fn settle(&mut self, settled: u64) {
        while let Some(request) = self
            .requests
            .get(self.counted)
            .copied()
            .filter(|request| request.end_ns < settled)
        {
            if request.is_whole() {
                let (own, others, cost) = (
                    self.demand(&request),
                    self.others(&request),
                    self.fit.cost(),
                );
                // Alone on a device that first had to make up for what it had done, it shows nothing of its own time.
                let ahead = self.ahead_at(request.issue_ns);
                let in_debt = ahead > 0 && 2 * ahead >= request.device_ns();
                let alone = others == Load::default();
                let beside = if alone && in_debt {
                    NEXT_TO_NOTHING
                } else {
                    others
                };
                let kind = self.service.entry(size_class(&request)).or_default();
                kind.add(request.device_ns(), own, beside, cost);
                if moves_nothing(request.op) {
                    let beside = others.demand(cost);
                    self.discards.add(size_class(&request), &request, beside);
                }
            }
            self.counted += 1;
        }
    }

    pub(super) fn demand(&self, request: &Request) -> f64 {
        self.demand_at(request, self.fit.cost())
    }

    /// The same with the cost of an I/O already at hand.
    pub(super) fn demand_at(&self, request: &Request, cost: f64) -> f64 {
        if moves_nothing(request.op) {
            let in_turn = self.fit.in_turn();
            self.discards.demand(size_class(request), cost, in_turn)
        } else if request.flags & IO_PART != 0 {
            // The first part of a merged request has its cost.
            f64::from(request.bytes)
        } else {
            cost + f64::from(request.bytes)
        }
    }

    /// Forgets requests that completed before `needed`.
    pub(crate) fn forget(&mut self, needed: u64) {
        while self.counted > 0
            && self
                .requests
                .front()
                .is_some_and(|request| request.end_ns < needed)
        {
            self.forget_first();
        }
    }

    /// Do requests like this one take longer than alone beside at least what was there when it was issued?
    pub(super) fn is_harmed(&self, request: &Request) -> bool {
        let kind = self.service.get(&size_class(request));
        let (own, others) = (self.demand(request), self.others(request));
        let others = others.demand(self.fit.cost());
        kind.is_some_and(|kind| kind.is_longer_beside(own, others))
    }

    /// How long such a request takes without the others; `None` before anything is known.
    pub(super) fn own_service(&self, request: &Request) -> Option<service::Own> {
        let service = self.service.get(&size_class(request))?;
        let demand = self.demand(request);
        let own = service.own(
            demand,
            request.bytes,
            (self.fit.in_turn(), self.fit.cost()),
            self.usual,
        )?;
        // How long a flush or a discard takes depends on what was written before: no time of it is slow.
        let slow_ns = match moves_nothing(request.op) {
            true => 0,
            false => own.slow_ns,
        };
        Some(service::Own { slow_ns, ..own })
    }

    /// Rank of a request that the waiting thread queued itself.
    pub(crate) const OWN: u32 = 4;
    /// Rank of a request that was not queued for the target.
    pub(crate) const ANYBODYS: u32 = 2;

    /// The request that a target thread waited for in `[begin, end]`, with its rank. Its own last one to complete comes first, then
    /// the target's. Then comes anybody's that was there as the wait began and completed as it ended: a page that somebody else was
    /// reading. Last comes its own that had completed just before. A fast device answers while the thread is still about to sleep.
    #[must_use]
    pub(crate) fn awaited(&self, tid: u32, begin: u64, end: u64) -> Option<(u32, Request)> {
        /// From the interrupt to the wakeup, and from the lock on a page to its bio.
        const SLACK_NS: u64 = 2_000_000;
        let late = self.ends.partition_point(|known| *known <= end + SLACK_NS);
        let candidates = self.requests.range(..late).rev();
        let candidates = candidates
            .take_while(|request| request.end_ns + SLACK_NS > begin)
            .filter(|request| request.queue_ns <= end);
        let mut best: Option<(u32, Request)> = None;
        for request in candidates {
            let rank = match request.owner {
                // Writeback for the target is no reason to wait.
                Holder::Own if request.by_kernel() => 0,
                Holder::Own if request.end_ns <= begin && request.tid == tid => 1,
                _ if request.end_ns <= begin => 0,
                Holder::Own if request.tid == tid => Self::OWN,
                // The group's request: the thread is not known, so only the moment decides.
                Holder::Own
                    if request.flags & IO_THROTTLED != 0 && request.end_ns + SLACK_NS <= end =>
                {
                    0
                }
                Holder::Own => 3,
                // Somebody locks pages shortly before he queues the bio that reads them.
                _ if request.end_ns + SLACK_NS > end && request.queue_ns <= begin + SLACK_NS => {
                    Self::ANYBODYS
                }
                _ => 0,
            };
            if rank > best.map_or(0, |(rank, _)| rank) {
                best = Some((rank, *request));
            }
            if rank == Self::OWN {
                break;
            }
        }
        best
    }

    /// Charges a wait in `[begin, end]` on `request`. Before a stranger's request was queued, the thread waited for something else.
    /// Before one of the target's own was, its own limit held it back. Else the thread that was to queue it stood in the queue itself.
    #[must_use]
    pub(crate) fn blame(&self, request: &Request, begin: u64, end: u64, whose: Whose<'_>) -> Blame {
        if request.end_ns <= begin {
            return Blame {
                charges: vec![(Holder::Own, end.saturating_sub(begin))],
                own: Vec::new(),
                estimated: false,
            };
        }
        let before = match request.flags & IO_THROTTLED {
            0 if request.owner == Holder::Own => None,
            0 => Some(Holder::Nobody),
            _ => Some(Holder::OwnQuota),
        };
        let queued = before.map_or(begin, |_| request.queue_ns.clamp(begin, end.max(begin)));
        let mut blame = self.stood(request, queued, end, whose);
        if request.failed() {
            // Its time on the device was no service.
            for (holder, _) in &mut blame.charges {
                if matches!(holder, Holder::Own | Holder::SlowDevice) {
                    *holder = Holder::FailedDevice;
                }
            }
        }
        if let Some(before) = before.filter(|_| queued > begin) {
            blame.charges.push((before, queued - begin));
        }
        blame
    }

    /// Charges the part of a wait in which the request was queued or on the device.
    fn stood(&self, request: &Request, begin: u64, end: u64, whose: Whose<'_>) -> Blame {
        let length = end.saturating_sub(begin);
        let shares = self.shares(Some(request), begin, end, whose);
        let Split {
            excess,
            idle,
            slow,
            estimated,
            shares: (shares, own_shares),
        } = self.split(request, begin, end, shares, whose);
        let mut charges = vec![(Holder::Own, length - excess - idle - slow)];
        if slow > 0 {
            charges.push((Holder::SlowDevice, slow));
        }
        let others: f64 = shares.iter().map(|(_, share)| share).sum();
        if others <= 0.0 {
            return Blame {
                charges,
                own: Vec::new(),
                estimated,
            };
        }
        let (mut upto, mut given) = (0.0, 0);
        for (holder, share) in shares {
            upto += share;
            let end = ((excess as f64 * upto / others).round() as u64).min(excess);
            charges.push((holder, end.saturating_sub(given)));
            given = end.max(given);
        }
        charges.push((Holder::Nobody, excess - given + idle));
        Blame {
            charges,
            own: own::scaled(own_shares, excess as f64 / others),
            estimated,
        }
    }

    /// Virtual time that every other request got in `[begin, end]`, by owner; beside an awaited one only the proportion counts. The
    /// second list splits the target's own share.
    fn shares(&self, awaited: Option<&Request>, begin: u64, end: u64, whose: Whose<'_>) -> Shares {
        let cost = self.fit.cost();
        let present: Vec<&Request> = self.in_flight(begin, end).collect();
        if let Some(awaited) = awaited
            && let Some(owner) = only_owner(&present, awaited, whose)
        {
            // All of it, if it is anything.
            let mut of_others = others(&present, awaited);
            let demands = of_others.any(|other| self.demand_at(other, cost) > 0.0);
            let own = own::by_demand(owner, others(&present, awaited), cost);
            return (vec![(owner, f64::from(u8::from(demands)))], own);
        }
        let mut edges: Vec<(u64, f64)> = Vec::with_capacity(2 * present.len());
        for request in &present {
            let demand = self.demand_at(request, cost);
            edges.push((request.queue_ns.max(begin), demand));
            edges.push((request.end_ns.min(end), -demand));
        }
        let clock = VirtualClock::new(edges);
        let mut shares: Vec<(Holder, f64)> = Vec::new();
        let mut own = Vec::new();
        for request in present {
            if Some(request) == awaited {
                continue;
            }
            let share = self.demand_at(request, cost)
                * (clock.at(request.end_ns.min(end)) - clock.at(request.queue_ns.max(begin)));
            let owner = whose(request);
            own::add_to_holder(&mut shares, owner, share);
            own::add(&mut own, owner, request, share);
        }
        (shares, own)
    }

    /// Charges a wait in `[begin, end]` for writes of kernel threads. All owners of requests here share it, by demand in virtual
    /// time. It is an estimate: nobody knows how long the wait would have been with less to write. Time without a request in flight
    /// is charged to those who used a limit in front of the disk, else to nobody.
    #[must_use]
    pub(crate) fn blame_all(&self, begin: u64, end: u64) -> Blame {
        let mut charges = Vec::new();
        let mut rest = end.saturating_sub(begin);
        let (shares, own_shares) = self.shares(None, begin, end, &|request| request.owner);
        for (holder, share) in shares {
            let ns = (share.round() as u64).min(rest);
            rest -= ns;
            charges.push((holder, ns));
        }
        let used = self.used_limit(begin, end);
        let all: u64 = used.iter().map(|(_, bytes)| bytes).sum();
        let between = rest;
        for (holder, bytes) in used {
            let ns = u128::from(between) * u128::from(bytes) / u128::from(all.max(1));
            rest -= ns as u64;
            charges.push((holder, ns as u64));
        }
        charges.push((Holder::Nobody, rest));
        Blame {
            charges,
            own: own::scaled(own_shares, 1.0),
            estimated: true,
        }
    }

    /// Bytes that kernel threads wrote for others in requests of an interval; a flush counts for one.
    #[must_use]
    pub(crate) fn written_by_kernel(&self, begin: u64, end: u64) -> u64 {
        let written = self.in_flight(begin, end).filter(|r| r.by_kernel());
        written.map(|r| u64::from(r.bytes.max(1))).sum()
    }

    /// Requests that were queued or in flight here in an interval, in the order of their ends.
    pub(crate) fn in_flight(
        &self,
        begin: u64,
        end: u64,
    ) -> impl DoubleEndedIterator<Item = &Request> {
        let range = self.range(begin, end);
        range.filter(move |request| request.overlaps(begin, end))
    }
}

fn others<'a>(present: &'a [&Request], awaited: &'a Request) -> impl Iterator<Item = &'a Request> {
    let present = present.iter().copied();
    present.filter(move |request| *request != awaited)
}

/// The owner of all the others, if it is one.
fn only_owner(present: &[&Request], awaited: &Request, whose: Whose<'_>) -> Option<Holder> {
    let mut owners = others(present, awaited).map(whose);
    let first = owners.next()?;
    owners.all(|owner| owner == first).then_some(first)
}

pub(super) fn size_class(request: &Request) -> (u32, u32) {
    (request.op, u32::BITS - request.bytes.leading_zeros())
}

/// `U(t)` with `dU = dt / Σd`.
struct VirtualClock {
    /// (time, U at that time), ascending.
    points: Vec<(u64, f64)>,
}

impl VirtualClock {
    /// From changes of Σd.
    fn new(mut edges: Vec<(u64, f64)>) -> Self {
        edges.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
        let mut points: Vec<(u64, f64)> = Vec::with_capacity(edges.len());
        let (mut demand, mut virtual_time) = (0.0, 0.0);
        for (ns, change) in edges {
            if let Some((last, _)) = points.last() {
                // Rounding may leave a rest when the last request is gone.
                if demand > 1e-6 {
                    virtual_time += (ns - last) as f64 / demand;
                }
            }
            points.push((ns, virtual_time));
            demand += change;
        }
        Self { points }
    }

    fn at(&self, ns: u64) -> f64 {
        let after = self.points.partition_point(|point| point.0 <= ns);
        after
            .checked_sub(1)
            .map_or(0.0, |index| self.points[index].1)
    }
}
