//! The cost of an I/O beside its bytes: `k` in `d = k + bytes`. It is fitted from the device's busy time for the requests and bytes
//! of each slice.

use super::request::Request;

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
}

/// Length of a slice of the fit.
const FIT_NS: u64 = 50_000_000;
/// Slices from which the fit is used.
const ENOUGH_SLICES: u32 = 10;
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
        }
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
