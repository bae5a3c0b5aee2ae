//! Disks as places: how long a target's request would have taken alone, and who had the device meanwhile.
//!
//! A wait on a request is its own service `s0` plus an excess. `s0` is the median device time of the same operation and size while
//! nobody else had a request there. The excess is shared over all other requests in flight or queued during the wait, by the
//! service they demand, `d = k + bytes` (`k`: what an I/O costs beside its bytes, fitted from the window), in virtual time: at each
//! instant every request there gets `d / Σd`. So a small reader is not accused of a big reader's harm.

use std::collections::{HashMap, VecDeque};

use tracer_common::{
    block::{IO_OPEN, OP_READ, OP_WRITE},
    histogram::{BOUNDS, BUCKETS, bucket},
};

use super::books::{Holder, PlaceId};
use crate::event::Io;

/// Requests kept of one disk: at 10,000 a second the last 6 s.
const MOST_REQUESTS: usize = 1 << 16;
/// Requests looked at beside one: deeper than any queue of a disk, and a bound on the work for one request.
const MOST_OTHERS: usize = 512;

/// A request, completed or still in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// When its first bio was queued.
    pub queue_ns: u64,
    /// When it went to the device.
    pub issue_ns: u64,
    /// When it completed, or the end of the window.
    pub end_ns: u64,
    /// Bytes.
    pub bytes: u32,
    /// `REQ_OP_*`
    pub op: u32,
    /// Whose.
    pub owner: Holder,
    /// Which thread queued it.
    pub tid: u32,
    /// Did it complete?
    pub completed: bool,
}

impl Request {
    /// From an event.
    #[must_use]
    pub fn new(io: &Io, owner: Holder) -> Self {
        Self {
            queue_ns: io.queue_ns,
            issue_ns: io.issue_ns,
            end_ns: io.ns,
            bytes: io.bytes,
            op: io.op,
            owner,
            tid: io.tid,
            completed: io.flags & IO_OPEN == 0,
        }
    }

    fn device_ns(&self) -> u64 {
        self.end_ns.saturating_sub(self.issue_ns)
    }

    fn overlaps(&self, begin: u64, end: u64) -> bool {
        self.queue_ns < end && self.end_ns > begin
    }
}

/// Requests alone on the device from which their median is trusted.
const ENOUGH_ALONE: u64 = 5;
/// Requests from which an estimate is made.
const ENOUGH_SEEN: f64 = 3.0;
/// The others' demand must vary by this part of its mean before a line through it means anything.
const ENOUGH_SPREAD: f64 = 0.2;

/// Device times of one operation and size class.
#[derive(Clone, Debug, Default)]
struct Service {
    /// Of requests that had the device for themselves, by bucket.
    alone: Vec<u32>,
    count_alone: u64,
    /// Against the demand `x` of the others in flight at issue: n, Σx, Σt, Σx², Σxt.
    line: [f64; 5],
    /// Sum of their own demand.
    demand: f64,
}

impl Service {
    fn add(&mut self, ns: u64, own: f64, others: f64) {
        if others == 0.0 {
            self.alone.resize(BUCKETS + 1, 0);
            self.alone[bucket(ns).map_or(0, |i| i as usize + 1)] += 1;
            self.count_alone += 1;
        }
        let t = ns as f64;
        for (sum, term) in self
            .line
            .iter_mut()
            .zip([1.0, others, t, others * others, others * t])
        {
            *sum += term;
        }
        self.demand += own;
    }

    /// Median time of those alone.
    fn median_alone(&self) -> u64 {
        let mut seen = 0;
        let middle = self.alone.iter().position(|n| {
            seen += u64::from(*n);
            seen * 2 >= self.count_alone
        });
        middle
            .and_then(|i| i.checked_sub(1))
            .map_or(0, |i| BOUNDS[i])
    }

    /// What a request would take alone, from requests that were not: where the line of device time against the others' demand meets
    /// zero. A time that does not rise with it is all the request's own. Where the demand hardly varied, the device is taken to
    /// serve in turn, so that each request's part of the time is its part of the demand: also the least that is believed.
    fn estimate(&self) -> Option<u64> {
        let [n, sx, st, sxx, sxt] = self.line;
        if n < ENOUGH_SEEN {
            return None;
        }
        let (x, t, own) = (sx / n, st / n, self.demand / n);
        let in_turn = t * own / (own + x);
        let variance = sxx / n - x * x;
        let estimate = if variance.sqrt() > ENOUGH_SPREAD * x {
            let slope = (sxt / n - x * t) / variance;
            if slope <= 0.0 {
                t
            } else {
                (t - slope * x).clamp(in_turn, t)
            }
        } else {
            in_turn
        };
        Some(estimate as u64)
    }
}

/// Own service time of a kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Time, ns.
    pub ns: u64,
    /// From requests that were not alone on the device.
    pub estimated: bool,
}

/// Fits `k` in `d = k + bytes` from how busy the device was for how many requests and bytes.
#[derive(Clone, Debug, Default)]
struct Fit {
    slice: u64,
    busy_until: u64,
    current: [f64; 3],
    /// Normal equations of busy = c·n + bytes/b: sums of n², n·B, B², n·busy, B·busy.
    sums: [f64; 5],
    slices: u32,
}

/// Length of a slice of the fit.
const FIT_NS: u64 = 50_000_000;
/// Slices from which the fit is used.
const ENOUGH_SLICES: u32 = 10;
/// Cost of an I/O in bytes before there is a fit: between a fast SSD (4 KiB) and a disk (1 MiB).
const DEFAULT_COST: f64 = 16_384.0;
/// No device spends more than the time of this many bytes on an I/O beside its bytes: 10 ms at 100 MB/s.
const MOST_COST: f64 = 1_048_576.0;

impl Fit {
    fn add(&mut self, request: &Request) {
        let slice = request.end_ns / FIT_NS;
        if slice != self.slice {
            self.close();
            self.slice = slice;
        }
        let begin = request.issue_ns.max(self.busy_until).max(slice * FIT_NS);
        self.busy_until = self.busy_until.max(request.end_ns);
        self.current[0] += 1.0;
        self.current[1] += f64::from(request.bytes);
        self.current[2] += request.end_ns.saturating_sub(begin) as f64;
    }

    fn close(&mut self) {
        let [n, bytes, busy] = std::mem::take(&mut self.current);
        if n > 0.0 {
            for (sum, term) in
                self.sums
                    .iter_mut()
                    .zip([n * n, n * bytes, bytes * bytes, n * busy, bytes * busy])
            {
                *sum += term;
            }
            self.slices += 1;
        }
    }

    /// Cost of an I/O beside its bytes, in bytes.
    fn cost(&self) -> f64 {
        let [nn, nb, bb, nt, bt] = self.sums;
        let determinant = nn * bb - nb * nb;
        // Slices that all look alike determine nothing.
        if self.slices < ENOUGH_SLICES || determinant < 1e-3 * nn * bb {
            return DEFAULT_COST;
        }
        let per_io = (nt * bb - bt * nb) / determinant;
        let per_byte = (bt * nn - nt * nb) / determinant;
        if per_byte <= 0.0 {
            return MOST_COST;
        }
        (per_io / per_byte).clamp(0.0, MOST_COST)
    }
}

/// How a wait is charged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Blame {
    /// Parts of the wait, summing to its length.
    pub charges: Vec<(Holder, u64)>,
    /// Its own service time is an estimate.
    pub estimated: bool,
}

/// One disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its place.
    pub place: PlaceId,
    requests: VecDeque<Request>,
    service: HashMap<(u32, u32), Service>,
    fit: Fit,
    /// Longest time from queue to completion seen: how long a request may still be unknown.
    pub longest_ns: u64,
    /// Requests up to this index are in the statistics.
    counted: usize,
}

impl Disk {
    /// A disk of which nothing is known yet.
    #[must_use]
    pub fn new(place: PlaceId) -> Self {
        Self {
            place,
            requests: VecDeque::new(),
            service: HashMap::new(),
            fit: Fit::default(),
            longest_ns: 0,
            counted: 0,
        }
    }

    /// A request completed, or was still in flight at the end. In order of time.
    pub fn completed(&mut self, request: Request) {
        if self.requests.len() == MOST_REQUESTS {
            self.requests.pop_front();
            self.counted = self.counted.saturating_sub(1);
        }
        self.longest_ns = self
            .longest_ns
            .max(request.end_ns.saturating_sub(request.queue_ns));
        if request.completed {
            self.fit.add(&request);
        }
        self.requests.push_back(request);
    }

    /// Takes requests that completed before `settled` into the statistics: those beside them are known by then.
    pub fn settle(&mut self, settled: u64) {
        while let Some(request) = self
            .requests
            .get(self.counted)
            .copied()
            .filter(|request| request.end_ns < settled)
        {
            if request.completed && (request.op == OP_READ || request.op == OP_WRITE) {
                let (own, others) = (self.demand(&request), self.others(&request));
                self.service.entry(size_class(&request)).or_default().add(
                    request.device_ns(),
                    own,
                    others,
                );
            }
            self.counted += 1;
        }
    }

    fn demand(&self, request: &Request) -> f64 {
        self.fit.cost() + f64::from(request.bytes)
    }

    /// Demand of the other requests in flight as this one was issued; 0 only if none shared the device with it at any time.
    fn others(&self, request: &Request) -> f64 {
        let first = self
            .requests
            .partition_point(|other| other.end_ns <= request.issue_ns);
        let near = self.requests.iter().skip(first).take(MOST_OTHERS);
        let beside = near.filter(|other| other.issue_ns < request.end_ns && *other != request);
        let (mut at_issue, mut later) = (0.0, 0.0);
        for other in beside {
            *(if other.issue_ns <= request.issue_ns {
                &mut at_issue
            } else {
                &mut later
            }) += self.demand(other);
        }
        // One that came later delayed this one only on a device that serves several at once: it counts for being alone or not.
        if at_issue == 0.0 {
            later.min(1.0)
        } else {
            at_issue
        }
    }

    /// Forgets requests that completed before `needed`.
    pub fn forget(&mut self, needed: u64) {
        while self.counted > 0
            && self
                .requests
                .front()
                .is_some_and(|request| request.end_ns < needed)
        {
            self.requests.pop_front();
            self.counted -= 1;
        }
    }

    /// How long such a request takes alone; `None` before anything is known.
    #[must_use]
    pub fn own_service(&self, request: &Request) -> Option<Own> {
        let service = self.service.get(&size_class(request))?;
        if service.count_alone >= ENOUGH_ALONE {
            return Some(Own {
                ns: service.median_alone(),
                estimated: false,
            });
        }
        service.estimate().map(|ns| Own {
            ns,
            estimated: true,
        })
    }

    /// The request that a target thread waited for in `[begin, end]`: its own last one to complete, else the target's, else (a page
    /// that somebody else was reading) anybody's that completed as the wait ended.
    #[must_use]
    pub fn awaited(&self, tid: u32, begin: u64, end: u64) -> Option<(u32, Request)> {
        /// From the interrupt to the wakeup.
        const SLACK_NS: u64 = 2_000_000;
        let candidates = self
            .requests
            .iter()
            .rev()
            .skip_while(|request| request.end_ns > end + SLACK_NS);
        let candidates = candidates
            .take_while(|request| request.end_ns + SLACK_NS > begin)
            .filter(|request| request.overlaps(begin, end + 1));
        let mut best: Option<(u32, Request)> = None;
        for request in candidates {
            let rank = match request.owner {
                Holder::Own if request.tid == tid => 3,
                Holder::Own => 2,
                _ if request.end_ns + SLACK_NS > end => 1,
                _ => 0,
            };
            if rank > best.map_or(0, |(rank, _)| rank) {
                best = Some((rank, *request));
            }
        }
        best
    }

    /// Charges a wait in `[begin, end]` on `request`.
    #[must_use]
    pub fn blame(&self, request: &Request, begin: u64, end: u64) -> Blame {
        let length = end.saturating_sub(begin);
        let shares = self.shares(request, begin, end);
        let others: f64 = shares.iter().map(|(_, share)| share).sum();
        if others <= 0.0 {
            return Blame {
                charges: vec![(Holder::Own, length)],
                estimated: false,
            };
        }
        let (own, estimated) = match self.own_service(request) {
            // Alone it would have completed at `queue + s0`; before that the wait is its own.
            Some(own) => (
                (request.queue_ns + own.ns)
                    .saturating_sub(begin)
                    .min(length),
                own.estimated,
            ),
            None => (0, true),
        };
        let excess = length - own;
        let mut charges = vec![(Holder::Own, own)];
        let (mut upto, mut given) = (0.0, 0);
        for (holder, share) in shares {
            upto += share;
            let end = ((excess as f64 * upto / others).round() as u64).min(excess);
            charges.push((holder, end - given));
            given = end;
        }
        charges.push((Holder::Nobody, excess - given));
        Blame { charges, estimated }
    }

    /// Virtual time that every other request got in `[begin, end]`, by owner.
    fn shares(&self, awaited: &Request, begin: u64, end: u64) -> Vec<(Holder, f64)> {
        let cost = self.fit.cost();
        let first = self
            .requests
            .partition_point(|request| request.end_ns <= begin);
        let present: Vec<&Request> = self
            .requests
            .iter()
            .skip(first)
            .filter(|request| request.overlaps(begin, end))
            .collect();
        let mut edges: Vec<(u64, f64)> = Vec::with_capacity(2 * present.len());
        for request in &present {
            let demand = cost + f64::from(request.bytes);
            edges.push((request.queue_ns.max(begin), demand));
            edges.push((request.end_ns.min(end), -demand));
        }
        let clock = VirtualClock::new(edges);
        let mut shares: Vec<(Holder, f64)> = Vec::new();
        for request in present {
            if request == awaited {
                continue;
            }
            let share = (cost + f64::from(request.bytes))
                * (clock.at(request.end_ns.min(end)) - clock.at(request.queue_ns.max(begin)));
            match shares
                .iter_mut()
                .find(|(holder, _)| *holder == request.owner)
            {
                Some((_, sum)) => *sum += share,
                None => shares.push((request.owner, share)),
            }
        }
        shares
    }

    /// Owners of the requests that were in flight here at `ns`, with their bytes: for whom a layer below works.
    #[must_use]
    pub fn in_flight(&self, begin: u64, end: u64) -> Vec<(Holder, u64)> {
        let first = self
            .requests
            .partition_point(|request| request.end_ns <= begin);
        self.requests
            .iter()
            .skip(first)
            .filter(|request| request.overlaps(begin, end))
            .map(|request| (request.owner, u64::from(request.bytes)))
            .collect()
    }
}

fn size_class(request: &Request) -> (u32, u32) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn request(owner: Holder, queue: u64, end: u64, bytes: u32) -> Request {
        Request {
            queue_ns: queue,
            issue_ns: queue,
            end_ns: end,
            bytes,
            op: OP_READ,
            owner,
            tid: 1,
            completed: true,
        }
    }

    fn disk(requests: &[Request]) -> Disk {
        let mut disk = Disk::new(0);
        for request in requests {
            disk.completed(*request);
        }
        disk.settle(u64::MAX);
        disk
    }

    #[test]
    fn a_wait_alone_on_the_disk_is_its_own() {
        let own = request(Holder::Own, 0, 5 * MS, 4096);
        let disk = disk(&[own]);
        assert_eq!(disk.blame(&own, 0, 5 * MS).charges, [(Holder::Own, 5 * MS)]);
    }

    #[test]
    fn the_excess_goes_to_the_other_and_the_parts_sum_to_the_wait() {
        let mut requests: Vec<Request> = (0..10)
            .map(|i| request(Holder::Own, i * 10 * MS, i * 10 * MS + MS, 4096))
            .collect();
        let other = request(Holder::Process(7), 200 * MS, 210 * MS, 1 << 20);
        let own = request(Holder::Own, 201 * MS, 211 * MS, 4096);
        requests.extend([other, own]);
        let blame = disk(&requests).blame(&own, 201 * MS, 211 * MS);
        assert!(!blame.estimated);
        assert_eq!(blame.charges.iter().map(|(_, ns)| ns).sum::<u64>(), 10 * MS);
        let theirs = blame
            .charges
            .iter()
            .find(|(holder, _)| *holder == Holder::Process(7))
            .unwrap()
            .1;
        assert!(theirs.abs_diff(9 * MS) < MS / 10, "{theirs}");
    }

    #[test]
    fn a_small_reader_is_not_accused_of_a_big_readers_harm() {
        let own = request(Holder::Own, 0, 10 * MS, 4096);
        let big = request(Holder::Process(1), 0, 10 * MS, 1 << 20);
        let small = request(Holder::Process(2), 0, 10 * MS, 4096);
        let blame = disk(&[own, big, small]).blame(&own, 0, 10 * MS);
        let share = |id| {
            blame
                .charges
                .iter()
                .find(|(holder, _)| *holder == Holder::Process(id))
                .unwrap()
                .1 as f64
                / (10 * MS) as f64
        };
        assert!(share(1) > 0.9 * (1.0 - 0.1) && share(2) < 0.05, "{blame:?}");
    }

    #[test]
    fn the_fit_recovers_the_cost_of_an_io() {
        let mut fit = Fit::default();
        let mut now = 0;
        // 100 us for each I/O and 10 ns for each KiB: k = 10,000 KiB.. in bytes 100_000 / (10 / 1024).
        for i in 0_u32..4000 {
            let bytes = 4096 * (1 + (i / 37 + i % 5) % 16);
            let end = now + 100_000 + u64::from(bytes);
            fit.add(&Request {
                issue_ns: now,
                ..request(Holder::Own, now, end, bytes)
            });
            now = end;
        }
        let cost = fit.cost();
        assert!((cost - 100_000.0).abs() < 20_000.0, "{cost}");
    }
}
