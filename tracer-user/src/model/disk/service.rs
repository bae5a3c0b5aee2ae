//! What a request takes: alone, by its operation and size; and what an I/O costs beside its bytes.

use tracer_common::histogram::{BOUNDS, BUCKETS, bucket};

use super::Request;

/// Requests alone on the device from which their median is trusted.
pub const ENOUGH_ALONE: u64 = 5;
/// Requests from which an estimate is made.
const ENOUGH_SEEN: f64 = 3.0;
/// The others' demand must vary by this part of its mean before a line through it means anything.
const ENOUGH_SPREAD: f64 = 0.2;

/// Device times of one operation and size class.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Of requests that had the device for themselves, by bucket.
    alone: Vec<u32>,
    /// How many.
    pub count_alone: u64,
    /// Against the demand `x` of the others in flight at issue: n, Σx, Σt, Σx², Σxt.
    line: [f64; 5],
    /// Sum of their own demand.
    demand: f64,
}

impl Service {
    /// A request of demand `own` took `ns` beside the demand `others`.
    pub fn add(&mut self, ns: u64, own: f64, others: f64) {
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
    #[must_use]
    pub fn median_alone(&self) -> u64 {
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
    #[must_use]
    pub fn estimate(&self) -> Option<u64> {
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

/// Fits `k` in `d = k + bytes` from how busy the device was for how many requests and bytes.
#[derive(Clone, Debug, Default)]
pub struct Fit {
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
    /// A request completed.
    pub fn add(&mut self, request: &Request) {
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
    #[must_use]
    pub fn cost(&self) -> f64 {
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
