//! The one histogram scheme, computed by both halves.
//!
//! Base-2 exponential, schema 3: 8 buckets per octave on the grid of seconds, bucket `i` is `(2^((i-1)/8) s, 2^(i/8) s]`. These are
//! Prometheus native histograms of schema 3. Without conversion, they are also OpenTelemetry exponential histograms of scale 3 with
//! `otel_index = i - 1`. A value is off its bucket's middle by at most 4.4 %. The bounds are integers, `floor(10^9 * 2^(i/8))` ns,
//! so the kernel needs no division and no floating point.

use crate::{plain, record::Header};

/// Histograms by process and family: [`Cell`] by [`CellKey`].
pub const HISTOGRAMS_MAP: &str = "HISTOGRAMS";
/// Histograms of disk requests, by process: [`BlockCells`].
pub const BLOCK_HISTOGRAMS_MAP: &str = "BLOCK_HISTOGRAMS";

/// Schema, as Prometheus and OpenTelemetry number it.
pub const SCHEMA: i32 = 3;
/// Number of buckets.
pub const BUCKETS: usize = 256;
/// Prometheus index of bucket 0. Values up to [`ZERO_THRESHOLD_NS`] are below it and count as zero.
pub const OFFSET: i32 = -159;
/// Values up to this, ns, count as zero: 2^-20 s, less than the cost of a switch.
pub const ZERO_THRESHOLD_NS: u64 = bound(OFFSET - 1);

/// Upper bounds in ns, inclusive. The last, about an hour, takes everything longer too.
pub static BOUNDS: [u64; BUCKETS] = bounds();

/// [`BOUNDS`], and room beyond them for the search. So the verifier need not prove that the search never goes there.
static SEARCH: [u64; BUCKETS + 8] = {
    let mut search = [u64::MAX; BUCKETS + 8];
    let mut i = 0;
    while i < BUCKETS {
        search[i] = BOUNDS[i];
        i += 1;
    }
    search
};

/// For each bit length, the first bucket with a bound not below the smallest number of that length.
static FIRST: [u8; 64] = first();

/// `2^(j/8)` in units of `2^-96`, rounded down. Precise enough that every bound is the exact floor. Tests check it by `u128`
/// arithmetic on the octaves. Integer roots confirmed the constants when they were made.
const OCTAVE: [u128; 8] = [
    0x1_0000_0000_0000_0000_0000_0000,
    0x1_172b_83c7_d517_adcd_f7c8_c50e,
    0x1_306f_e0a3_1b71_52de_8d5a_4630,
    0x1_4bfd_ad53_62a2_71d4_397a_fec4,
    0x1_6a09_e667_f3bc_c908_b2fb_1366,
    0x1_8ace_5422_aa0d_b5ba_7c55_a192,
    0x1_ae89_f995_ad3a_d5e8_734d_1773,
    0x1_d581_8dcf_ba48_725d_a05a_eb66,
];

/// `floor(10^9 * 2^(index/8))` ns.
const fn bound(index: i32) -> u64 {
    let octave = index.div_euclid(8);
    let shift = (96 - octave) as u32;
    ((1_000_000_000 * OCTAVE[index.rem_euclid(8) as usize]) >> shift) as u64
}

const fn bounds() -> [u64; BUCKETS] {
    let mut bounds = [0; BUCKETS];
    let mut i = 0;
    while i < BUCKETS {
        bounds[i] = bound(OFFSET + i as i32);
        i += 1;
    }
    bounds
}

const fn first() -> [u8; 64] {
    let bounds = bounds();
    let mut first = [0; 64];
    let mut bit = 0;
    while bit < 64 {
        let mut i = 0;
        while i < BUCKETS - 1 && bounds[i] < 1 << bit {
            i += 1;
        }
        first[bit] = i as u8;
        bit += 1;
    }
    first
}

/// The bucket of a value in ns, or `None` if it counts as zero.
#[inline(always)]
#[must_use]
pub fn bucket(ns: u64) -> Option<u32> {
    if ns <= ZERO_THRESHOLD_NS {
        return None;
    }
    let bits = 63 - (ns | 1).leading_zeros();
    let mut i = FIRST[(bits & 63) as usize] as usize;
    // At most 8 bounds lie within one octave. The verifier can follow a search in four fixed steps.
    for step in [4, 2, 1, 1] {
        if ns > SEARCH[i + step - 1] {
            i += step;
        }
    }
    Some(if i < BUCKETS {
        i as u32
    } else {
        BUCKETS as u32 - 1
    })
}

/// A family of per-process histograms.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// From the queueing of a bio to the issue of its request.
    BlockIoQueue = 0,
    /// From the issue of a request to its completion.
    BlockIoDevice = 1,
    /// Duration of a TCP send call.
    TcpSendCall = 2,
    /// From the return of a send to the acknowledgement of its last byte (target only).
    TcpSendAck = 3,
    /// Runnable until running.
    RunQueue = 4,
}

/// Number of families.
pub const FAMILIES: usize = 5;

impl Family {
    /// All families with the names that reports use.
    pub const ALL: [(Self, &'static str); FAMILIES] = [
        (Self::BlockIoQueue, "block_io_queue"),
        (Self::BlockIoDevice, "block_io_device"),
        (Self::TcpSendCall, "tcp_send_call"),
        (Self::TcpSendAck, "tcp_send_ack"),
        (Self::RunQueue, "run_queue"),
    ];

    /// The name that reports use.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Key of a histogram.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CellKey {
    /// Process.
    pub pid: u32,
    /// A [`Family`].
    pub family: u32,
}

/// A histogram since attach, and for [`Family::RunQueue`] the CPU time held.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Interval in which it was last emitted; its length is in [`EPOCH_SHIFT`].
    pub epoch: u64,
    /// Values.
    pub count: u64,
    /// Values up to [`ZERO_THRESHOLD_NS`].
    pub zero_count: u64,
    /// Sum of all values, ns.
    pub sum_ns: u64,
    /// Largest value, ns.
    pub max_ns: u64,
    /// Time that the process held the resource, ns, if the family keeps it.
    pub held_ns: u64,
    /// Values per bucket.
    pub buckets: [u32; BUCKETS],
}

impl Cell {
    /// No values.
    pub const EMPTY: Self = Self {
        epoch: 0,
        count: 0,
        zero_count: 0,
        sum_ns: 0,
        max_ns: 0,
        held_ns: 0,
        buckets: [0; BUCKETS],
    };

    /// Counts a value.
    #[cfg(feature = "user")]
    pub fn add(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns += ns;
        self.max_ns = self.max_ns.max(ns);
        match bucket(ns) {
            None => self.zero_count += 1,
            Some(i) => self.buckets[i as usize] += 1,
        }
    }
}

/// Both histograms of a process's disk requests.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct BlockCells {
    /// [`Family::BlockIoQueue`]
    pub queue: Cell,
    /// [`Family::BlockIoDevice`]
    pub device: Cell,
}

impl BlockCells {
    /// No values.
    pub const EMPTY: Self = Self {
        queue: Cell::EMPTY,
        device: Cell::EMPTY,
    };
}

/// A histogram as it stood when its process was first active in a new interval.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// `ns` is the time of emission.
    pub header: Header,
    /// Process and family.
    pub key: CellKey,
    /// The values.
    pub cell: Cell,
}

/// Length of an interval, as a shift of ns: 2^30 ns, about a second.
pub const EPOCH_SHIFT: u32 = 30;

plain!(
    CellKey = 8,
    Cell = 48 + 4 * BUCKETS,
    BlockCells = 2 * (48 + 4 * BUCKETS),
    Snapshot = 24 + 48 + 4 * BUCKETS
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_second_is_the_bound_of_prometheus_bucket_0() {
        assert_eq!(BOUNDS[(0 - OFFSET) as usize], 1_000_000_000);
        assert_eq!(BOUNDS[(8 - OFFSET) as usize], 2_000_000_000);
        assert_eq!(ZERO_THRESHOLD_NS, 953);
    }

    #[test]
    fn the_search_agrees_with_a_scan_at_every_bound_and_beside_it() {
        let scan = |ns: u64| {
            BOUNDS
                .iter()
                .position(|bound| ns <= *bound)
                .unwrap_or(BUCKETS - 1) as u32
        };
        for bound in BOUNDS {
            for ns in [bound - 1, bound, bound + 1] {
                assert_eq!(
                    bucket(ns),
                    (ns > ZERO_THRESHOLD_NS).then(|| scan(ns)),
                    "{ns}"
                );
            }
        }
        for bit in 10..64 {
            for ns in [1_u64 << bit, (1 << bit) + 1, (1 << bit) - 1] {
                assert_eq!(bucket(ns), Some(scan(ns)), "{ns}");
            }
        }
        assert_eq!(bucket(u64::MAX), Some(BUCKETS as u32 - 1));
        assert_eq!(bucket(0), None);
    }

    #[test]
    fn neighbouring_bounds_differ_by_the_eighth_root_of_two() {
        for pair in BOUNDS.windows(2) {
            let ratio = pair[1] as f64 / pair[0] as f64;
            assert!((ratio - 1.090_507_7).abs() < 0.001, "{pair:?}");
        }
    }
}
