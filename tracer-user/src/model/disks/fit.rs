//! The cost of an I/O beside its bytes: `k` in `d = k + bytes`. It is fitted from the device's busy time for the requests and bytes
//! of each slice.

use std::collections::VecDeque;

use super::{busy::Busy, request::Request};

/// Normal equations of busy = c·n + bytes/b.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fit {
    slice: u64,
    busy_until: u64,
    current: [f64; 3],
    /// Sums of n², n·B, B², n·busy, B·busy.
    sums: [f64; 5],
    /// Sums of n, B, busy.
    totals: [f64; 3],
    slices: u32,
    /// The whole busy time, and that of the current slice's requests.
    busy: Busy,
    current_busy: f64,
    /// Of the last slices: n, B, whole busy time.
    recent: VecDeque<[f64; 3]>,
    /// See [`Fit::rate`].
    rate: f64,
}

/// Length of a slice of the fit.
const FIT_NS: u64 = 50_000_000;
/// Slices from which the fit is used.
const ENOUGH_SLICES: u32 = 10;
/// Slices from which the rate is taken: the last 13 s with requests. They are sorted once in a slice.
const RECENT_SLICES: usize = 256;
/// The device serves this part of the demand at its rate or faster. It is not all: a stall completes little, but is most of the
/// busy time of a device that has little to do. It is more than half, because the rate bounds what others are charged with.
const USUALLY: f64 = 0.75;
/// Cost of an I/O before the first fit, bytes: between a fast SSD (4 KiB) and a disk (1 MiB).
const DEFAULT_COST: f64 = 16_384.0;
/// Highest cost of an I/O, bytes. No device spends more time on it beside its bytes: 10 ms at 100 MB/s.
const MOST_COST: f64 = 1_048_576.0;

impl Fit {
    /// A request completed.
    pub(crate) fn add(&mut self, request: &Request) {
        let slice = request.end_ns / FIT_NS;
        if slice != self.slice {
            self.close();
            self.slice = slice;
        }
        let begin = request.issue_ns.max(self.busy_until).max(slice * FIT_NS);
        self.busy_until = self.busy_until.max(request.end_ns);
        self.current_busy += self.busy.add(request.issue_ns, request.end_ns) as f64;
        self.current[0] += 1.0;
        self.current[1] += f64::from(request.bytes);
        self.current[2] += request.end_ns.saturating_sub(begin) as f64;
    }

    fn close(&mut self) {
        let [n, bytes, busy] = std::mem::take(&mut self.current);
        if n > 0.0 {
            let terms = [n * n, n * bytes, bytes * bytes, n * busy, bytes * busy];
            for (sum, term) in self.sums.iter_mut().zip(terms) {
                *sum += term;
            }
            for (sum, term) in self.totals.iter_mut().zip([n, bytes, busy]) {
                *sum += term;
            }
            self.slices += 1;
            self.recent
                .push_back([n, bytes, std::mem::take(&mut self.current_busy)]);
            if self.recent.len() > RECENT_SLICES {
                self.recent.pop_front();
            }
            self.rate = self.usual_rate();
        }
    }

    /// The time of a unit of demand within which the device served [`USUALLY`] of it, slice by slice.
    fn usual_rate(&self) -> f64 {
        let cost = self.cost();
        let demand = |[n, bytes, _]: &[f64; 3]| cost * n + bytes;
        let slices = self.recent.iter();
        let rated = slices.map(|slice| (slice[2] / demand(slice).max(1.0), demand(slice)));
        let mut rated: Vec<(f64, f64)> = rated.collect();
        rated.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut left = USUALLY * rated.iter().map(|(_, demand)| demand).sum::<f64>();
        let usual = rated.iter().find(|(_, demand)| {
            left -= demand;
            left <= 0.0
        });
        usual.map_or(0.0, |(rate, _)| *rate)
    }

    /// Time that the device usually takes for a unit of demand, ns; `None` before enough is known. Unlike [`Fit::in_turn`] it leaves
    /// out stalls, and has the whole time of a request that takes longer than a slice.
    #[must_use]
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.slices >= ENOUGH_SLICES && self.rate > 0.0).then_some(self.rate)
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
