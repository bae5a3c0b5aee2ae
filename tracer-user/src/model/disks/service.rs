//! The time that a request takes without the others, and the part of a longer time that the others explain. Requests that were
//! alone on the device show it; else those that had least beside them give an estimate.

use tracer_common::histogram::{BOUNDS, BUCKETS, bucket};

/// Requests alone on the device from which their median is trusted.
pub(crate) const ENOUGH_ALONE: u64 = 5;
/// Requests beside others from which an estimate is made.
const ENOUGH_BESIDE: u64 = 3;
/// The estimate takes this part of the requests beside others: those with the least beside them. Their device had little else to
/// do.
const LOWEST: f64 = 0.1;
/// A difference of means below this many standard errors may be chance, and accuses nobody.
const CHANCE: f64 = 2.0;
/// A device that serves in turn takes a certain time for all the demand in flight. If requests take at most this part of it, the
/// device is taken to serve several at once. Even a full device may take less than the whole. At issue the request in service is
/// half done on average, and a request cut into stripes stands in many short queues.
const SERVED_BESIDE: f64 = 0.25;
/// From here on it is taken to serve in turn.
const SERVED_IN_TURN: f64 = 0.4;
/// Time of flash for a read at depth 1, ns. NVMe and SATA drives take 60 to 120 µs for 4 KiB, and move 500 MB/s. Where no request
/// was alone, none is believed to take less, so nobody is accused of a usual time.
const FLASH_NS: f64 = 100_000.0;
/// The same for each byte, ns.
const FLASH_NS_PER_BYTE: f64 = 2.0;

/// Device times of requests, by bucket.
#[derive(Clone, Debug, Default)]
struct Times {
    buckets: Vec<u32>,
    count: u64,
    sum: f64,
    squares: f64,
}

impl Times {
    fn add(&mut self, ns: u64) {
        self.buckets.resize(BUCKETS + 1, 0);
        self.buckets[bucket(ns).map_or(0, |i| i as usize + 1)] += 1;
        self.count += 1;
        self.sum += ns as f64;
        self.squares += (ns as f64).powi(2);
    }

    fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }

    /// Standard error of the mean.
    fn error(&self) -> f64 {
        standard_error(self.count.max(1) as f64, self.sum, self.squares)
    }

    /// Standard deviation.
    fn deviation(&self) -> f64 {
        self.error() * (self.count as f64).sqrt()
    }

    fn median(&self) -> u64 {
        let mut seen = 0;
        let middle = self.buckets.iter().position(|n| {
            seen += u64::from(*n);
            seen * 2 >= self.count
        });
        middle.map_or(0, middle_of)
    }

    /// Mean of the parts of the times above `ns`: the mean above it, plus the mean shortfall of those below.
    fn mean_above(&self, ns: u64) -> f64 {
        let short = |(i, n): (usize, &u32)| ns.saturating_sub(middle_of(i)) as f64 * f64::from(*n);
        let buckets = self.buckets.iter().enumerate();
        let below = buckets.take_while(|(i, _)| middle_of(*i) < ns);
        let short: f64 = below.map(short).sum();
        self.mean() - ns as f64 + short / self.count.max(1) as f64
    }
}

/// Standard error of the mean of `count` numbers with this sum and sum of squares.
fn standard_error(count: f64, sum: f64, squares: f64) -> f64 {
    let variance = (squares / count - (sum / count).powi(2)).max(0.0);
    (variance / count).sqrt()
}

/// Middle of the bucket with this index in [`Times`], ns.
fn middle_of(index: usize) -> u64 {
    match index {
        0 => 0,
        1 => BOUNDS[0],
        i => u64::midpoint(BOUNDS[i - 2], BOUNDS[i - 1]),
    }
}

/// The known times of a kind of request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Own {
    /// Its time without the others, ns.
    pub(crate) ns: u64,
    /// From requests that were not alone on the device.
    pub(crate) estimated: bool,
    /// Part of the time above `ns` that the others explain; the rest is the device's own unevenness.
    pub(crate) explained: f64,
    /// Part of `ns` that a device of its sort would not take, or that this one did not take before.
    pub(crate) slow_ns: u64,
    /// The most that a device of its sort takes for it alone, ns.
    pub(crate) most_ns: u64,
}

/// The most that a device of its sort takes for a request alone on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usual {
    /// Beside its bytes, ns.
    pub(crate) ns: f64,
    /// For each byte, ns.
    pub(crate) ns_per_byte: f64,
}

impl Usual {
    /// A disk that turns: a full stroke takes 20 ms, a turn at 5,400/min 11 ms. The innermost tracks of old disks give 50 MB/s.
    pub(crate) const ROTATIONAL: Self = Self {
        ns: 31_000_000.0,
        ns_per_byte: 20.0,
    };
    /// Flash, or a cloud volume: 10 ms, and 50 MB/s. Ten times what the providers promise for the slowest solid state (1 ms).
    pub(crate) const SOLID: Self = Self {
        ns: 10_000_000.0,
        ns_per_byte: 20.0,
    };

    fn time(self, bytes: u32) -> f64 {
        self.ns + self.ns_per_byte * f64::from(bytes)
    }
}

/// So many requests alone on the device make a median, a point of its history.
const EPISODE: usize = 20;
/// A device that takes so many times as long as at its best is slow. Garbage collection, heat and a failing disk cost more. The
/// place on the disk and the cache of the drive cost less.
pub(crate) const SLOWED: u64 = 4;

/// The median times of requests alone on the device, in the order of time.
#[derive(Clone, Debug, Default)]
struct History {
    episode: Vec<u64>,
    best: Option<u64>,
    last: u64,
}

impl History {
    fn add(&mut self, ns: u64) {
        self.episode.push(ns);
        if self.episode.len() == EPISODE {
            self.episode.sort_unstable();
            self.last = self.episode[EPISODE / 2];
            self.best = Some(self.best.map_or(self.last, |best| best.min(self.last)));
            self.episode.clear();
        }
    }

    /// Device time now, ns, if that is much longer than at its best; else 0.
    fn last_if_slowed(&self) -> u64 {
        if self.slowed() > 0 { self.last } else { 0 }
    }

    /// How much longer than at its best the device takes now, ns; 0 unless that is much.
    fn slowed(&self) -> u64 {
        let best = self.best.unwrap_or(self.last);
        if self.last >= SLOWED * best {
            self.last - best
        } else {
            0
        }
    }
}

/// Depths kept apart: up to 2^23 times a request's own demand.
const DEPTHS: usize = 24;

/// Index of the depth at which a request of demand `own` has the demand `others` beside it.
fn depth_of(own: f64, others: f64) -> usize {
    let depth = (others / own).max(1.0).log2() as usize;
    depth.min(DEPTHS - 1)
}

/// Requests at one depth.
#[derive(Clone, Copy, Debug, Default)]
struct Depth {
    count: f64,
    /// Sums of their times on the device and of the squares, ns.
    sum: f64,
    squares: f64,
    /// Sum of what was in flight at issue.
    load: Load,
}

/// What requests ask of a device. What that means in demand changes with the cost of an I/O, which is fitted anew all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// I/Os that cost something beside their bytes.
    pub(crate) ios: f64,
    pub(crate) bytes: f64,
}

impl Load {
    pub(crate) fn add(&mut self, other: Self) {
        self.ios += other.ios;
        self.bytes += other.bytes;
    }

    pub(crate) fn demand(self, cost: f64) -> f64 {
        cost * self.ios + self.bytes
    }
}

impl Depth {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        self.load.add(other.load);
    }
}

/// Device times of one operation and size class.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    /// Of requests that had the device for themselves.
    alone: Times,
    /// Their history.
    history: History,
    /// Of the others.
    beside: Times,
    /// Of the others. The index is the binary logarithm of the demand in flight at issue, in units of their own.
    depths: [Depth; DEPTHS],
}

impl Service {
    /// A request of demand `own` took `ns` beside the load `others`; an I/O costs `cost` now.
    pub(crate) fn add(&mut self, ns: u64, own: f64, others: Load, cost: f64) {
        if others == Load::default() {
            self.alone.add(ns);
            self.history.add(ns);
        } else {
            self.beside.add(ns);
            self.depths[depth_of(own, others.demand(cost))].add(&Depth {
                count: 1.0,
                sum: ns as f64,
                squares: (ns as f64).powi(2),
                load: others,
            });
        }
    }

    /// Median time of the last requests that were alone, ns; 0 before enough were.
    pub(crate) fn last_alone(&self) -> u64 {
        self.history.last
    }

    /// Do such requests take longer beside at least the demand `others` than alone, and not by chance? The mean of all beside others
    /// does not show it if most of them had next to nothing beside them.
    pub(crate) fn is_longer_beside(&self, own: f64, others: f64) -> bool {
        let least = depth_of(own, others);
        let mut beside = Depth::default();
        for (index, depth) in self.depths.iter().enumerate().rev() {
            // The unit of demand is fitted anew all the time: it may have been at a lower depth when it was counted.
            if index < least && beside.count > 0.0 {
                break;
            }
            beside.add(depth);
        }
        if self.alone.count < ENOUGH_ALONE || beside.count == 0.0 {
            return false;
        }
        // A single one does not vary: if the others do no harm, it is like those alone.
        let few = self.alone.deviation() / beside.count.sqrt();
        let error = standard_error(beside.count, beside.sum, beside.squares).max(few);
        let longer = beside.sum / beside.count - self.alone.mean();
        longer > CHANCE * error.hypot(self.alone.error())
    }

    /// Times of such a request without the others; `None` before enough is known. `demand` is its own, with the `cost` of an I/O.
    /// `in_turn` is the time of a unit of demand on a device that serves in turn, ns.
    #[must_use]
    pub(crate) fn own(
        &self,
        demand: f64,
        bytes: u32,
        (in_turn, cost): (f64, f64),
        usual: Usual,
    ) -> Option<Own> {
        let known = self.alone.count >= ENOUGH_ALONE;
        if !known && self.beside.count < ENOUGH_BESIDE {
            return None;
        }
        let (ns, mean, error) = if known {
            (self.alone.median(), self.alone.mean(), self.alone.error())
        } else {
            let estimate = self.estimate(demand, bytes, in_turn, cost);
            (estimate as u64, estimate, 0.0)
        };
        let above = self.beside.mean_above(ns);
        let explained = match self.beside.count {
            0 => 1.0,
            _ if self.beside.mean() - mean <= CHANCE * error.hypot(self.beside.error()) => 0.0,
            _ => ((self.beside.mean() - mean) / above).clamp(0.0, 1.0),
        };
        // An estimate from contended requests says nothing against the device.
        let (ns, slow_ns) = match known {
            true if ns as f64 > usual.time(bytes) => (ns, ns),
            true => (ns.max(self.history.last_if_slowed()), self.history.slowed()),
            false => (ns, 0),
        };
        Some(Own {
            ns,
            estimated: !known,
            explained,
            slow_ns,
            most_ns: usual.time(bytes) as u64,
        })
    }

    /// An estimate where no request of the kind was alone, from those that had least beside them, ns. A device that serves in turn
    /// makes them wait for all the demand there. Then each request's part of the time is its part of the demand, but no less than
    /// on flash. If they take much less time, the device serves several at once, and the time is the request's own.
    fn estimate(&self, demand: f64, bytes: u32, in_turn: f64, cost: f64) -> f64 {
        let wanted = LOWEST * self.beside.count as f64;
        let mut least = Depth::default();
        for depth in &self.depths {
            least.add(depth);
            if least.count >= wanted {
                break;
            }
        }
        let t = least.sum / least.count;
        let x = least.load.demand(cost) / least.count / demand.max(1.0);
        let flash = FLASH_NS + FLASH_NS_PER_BYTE * f64::from(bytes);
        let part = (t / (1.0 + x)).max(flash).min(t);
        let waits = t / ((1.0 + x) * demand * in_turn).max(1.0);
        let serial = ((waits - SERVED_BESIDE) / (SERVED_IN_TURN - SERVED_BESIDE)).clamp(0.0, 1.0);
        // Beside others no request is faster than alone: half of them took no longer than this.
        (t - serial * (t - part)).min(self.beside.median() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(bytes: f64) -> Load {
        Load { ios: 0.0, bytes }
    }

    #[test]
    fn a_device_that_serves_many_at_once_takes_its_time_for_each_of_them() {
        let mut service = Service::default();
        for _ in 0..10 {
            service.add(1_000_000, 1.0, bytes(9.0), 0.0);
        }
        // In turn, the ten there would take ten times as long.
        assert_eq!(service.estimate(1.0, 0, 1_000_000.0, 0.0), 1_000_000.0);
        // In turn they take just this long, and each a tenth of it.
        assert_eq!(service.estimate(1.0, 0, 100_000.0, 0.0), FLASH_NS);
    }

    #[test]
    fn rare_long_times_beside_much_are_no_chance_where_most_had_little_beside_them() {
        let mut service = Service::default();
        for _ in 0..1000 {
            service.add(1_000_000, 1.0, bytes(0.0), 0.0);
            service.add(1_000_000, 1.0, bytes(1.0), 0.0);
        }
        for _ in 0..3 {
            service.add(400_000_000, 1.0, bytes(1000.0), 0.0);
        }
        assert!(service.is_longer_beside(1.0, 1000.0));
        // Nothing was counted at this depth.
        assert!(service.is_longer_beside(1.0, 9000.0));
        assert!(!service.is_longer_beside(1.0, 1.0));
    }

    #[test]
    fn rare_long_times_beside_what_usually_does_no_harm_may_be_chance() {
        let mut service = Service::default();
        for _ in 0..1000 {
            service.add(1_000_000, 1.0, bytes(0.0), 0.0);
            service.add(1_000_000, 1.0, bytes(1000.0), 0.0);
        }
        for _ in 0..3 {
            service.add(400_000_000, 1.0, bytes(1000.0), 0.0);
        }
        assert!(!service.is_longer_beside(1.0, 1000.0));
    }
}
