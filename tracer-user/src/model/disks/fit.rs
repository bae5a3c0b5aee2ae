//! The cost of an I/O beside its bytes: `k` in `d = k + bytes`. It is fitted from the device's busy time for the requests and bytes
//! of each slice.

use std::collections::VecDeque;

use super::{busy::Busy, request::Request};

/// Normal equations of busy = c·n + bytes/b.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fit {
    slice: u64,
    current: [f64; 3],
    /// Sums of n², n·B, B², n·busy, B·busy.
    sums: [f64; 5],
    /// Sums of n, B, busy.
    totals: [f64; 3],
    /// Sum of the times that such requests took alone.
    alone_ns: f64,
    slices: u32,
    busy: Busy,
    /// Of the current span, and of the last ones: n, B, busy.
    span: u64,
    spent: [f64; 3],
    recent: VecDeque<[f64; 3]>,
    /// See [`Fit::rate`].
    rate: f64,
    /// See [`Fit::limit`].
    limit: Option<f64>,
}

/// Length of a slice of the fit.
const FIT_NS: u64 = 50_000_000;
/// Slices from which the fit is used.
const ENOUGH_SLICES: u32 = 10;
/// Spans from which the rate is used.
const ENOUGH_SPANS: usize = 4;
/// Length of a span over which the rate is taken. A limited device (blk-throttle, a cloud volume) serves in bursts, some ten in a
/// second, and stands still in between: within a burst it looks many times as fast as it is.
pub(super) const SPAN_NS: u64 = 250_000_000;
/// Spans from which the rate is taken: the last 16 s with requests. They are sorted once in a span.
const RECENT_SPANS: usize = 64;
/// The device serves this part of the demand at its rate or faster. It is not all: a stall completes little, but is most of the
/// busy time of a device that has little to do. It is more than half, because the rate bounds what others are charged with.
const USUALLY: f64 = 0.75;
/// The same for the limit of its rate.
const AT_BEST: f64 = 0.25;
/// A device that had something to do for this part of a span shows its limit there.
const BUSY: f64 = 0.75;
/// Cost of an I/O before the first fit, bytes: between a fast SSD (4 KiB) and a disk (1 MiB).
const DEFAULT_COST: f64 = 16_384.0;
/// Highest cost of an I/O, bytes. No device spends more time on it beside its bytes: 10 ms at 100 MB/s.
const MOST_COST: f64 = 1_048_576.0;

impl Fit {
    /// A request completed, of a kind that took `alone_ns` alone on the device; 0 where that is not known.
    pub(crate) fn add(&mut self, request: &Request, alone_ns: u64) {
        self.alone_ns += alone_ns as f64;
        let slice = request.end_ns / FIT_NS;
        if slice != self.slice {
            self.close();
            self.slice = slice;
        }
        if request.end_ns / SPAN_NS != self.span {
            self.close_span();
            self.span = request.end_ns / SPAN_NS;
        }
        let busy = self.busy.add(request.issue_ns, request.end_ns) as f64;
        let terms = [1.0, f64::from(request.bytes), busy];
        for sums in [&mut self.current, &mut self.spent] {
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term;
            }
        }
    }

    fn close(&mut self) {
        let [n, bytes, busy] = std::mem::take(&mut self.current);
        if n > 0.0 {
            // A stall says nothing of what its few requests cost.
            let within = busy.min(FIT_NS as f64);
            let terms = [n * n, n * bytes, bytes * bytes, n * within, bytes * within];
            for (sum, term) in self.sums.iter_mut().zip(terms) {
                *sum += term;
            }
            for (sum, term) in self.totals.iter_mut().zip([n, bytes, busy]) {
                *sum += term;
            }
            self.slices += 1;
        }
    }

    fn close_span(&mut self) {
        let spent = std::mem::take(&mut self.spent);
        if spent[0] > 0.0 {
            self.recent.push_back(spent);
            if self.recent.len() > RECENT_SPANS {
                self.recent.pop_front();
            }
            self.rate = self.rate_of(USUALLY, 0.0).unwrap_or(0.0);
            self.limit = self.rate_of(AT_BEST, BUSY * SPAN_NS as f64);
        }
    }

    /// The time of a unit of demand within which the device served this `part` of it, span by span; only of spans in which it was
    /// busy for so long, ns. `None` if there are too few.
    fn rate_of(&self, part: f64, busy_ns: f64) -> Option<f64> {
        let cost = self.cost();
        let demand = |[n, bytes, _]: &[f64; 3]| cost * n + bytes;
        let spans = self.recent.iter().filter(|span| span[2] >= busy_ns);
        let rated = spans.map(|span| (span[2] / demand(span).max(1.0), demand(span)));
        let mut rated: Vec<(f64, f64)> = rated.collect();
        rated.sort_by(|a, b| a.0.total_cmp(&b.0));
        if rated.len() < ENOUGH_SPANS {
            return None;
        }
        let mut left = part * rated.iter().map(|(_, demand)| demand).sum::<f64>();
        let usual = rated.iter().find(|(_, demand)| {
            left -= demand;
            left <= 0.0
        });
        usual.map(|(rate, _)| *rate).filter(|rate| *rate > 0.0)
    }

    /// Time that the device usually takes for a unit of demand, ns; `None` before enough is known. Unlike [`Fit::in_turn`] it leaves
    /// out stalls.
    #[must_use]
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.rate > 0.0).then_some(self.rate)
    }

    /// Time of a unit of demand in spans in which the device always had something to do, the fast ones of them, ns; `None` before
    /// enough is known. A limited device serves no more than that for long. Fast ones, because a device whose rate varies is not
    /// ahead of it whenever it is faster than at other times.
    #[must_use]
    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// Part of the time that requests take alone for which they have the device for themselves: 1 where it serves in turn, less where
    /// it serves several at once.
    #[must_use]
    pub(crate) fn serial(&self) -> f64 {
        (self.totals[2] / self.alone_ns.max(1.0)).min(1.0)
    }

    /// Cost of an I/O beside its bytes, in bytes.
    #[must_use]
    pub(crate) fn cost(&self) -> f64 {
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

    /// Busy time for each unit of demand, ns. A device that serves in turn takes that much longer for each unit of the others'
    /// demand.
    #[must_use]
    pub(crate) fn in_turn(&self) -> f64 {
        let [n, bytes, busy] = self.totals;
        busy / (self.cost() * n + bytes).max(1.0)
    }
}
