//! Figures of the kernel that books carry as they came. Both an event and the verdict know them, so they belong to neither.

use serde::{Deserialize, Serialize};
use tracer_common::{histogram::Family, irq::SOFTIRQS};

/// A histogram since attach. The latest one of a process and family counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// When it was taken, ns.
    pub ns: u64,
    /// Process.
    pub pid: u32,
    /// Index in [`Family::ALL`].
    pub family: u32,
    /// Values.
    pub count: u64,
    /// Values that count as zero.
    pub zero_count: u64,
    /// Sum, ns.
    pub sum_ns: u64,
    /// Largest, ns.
    pub max_ns: u64,
    /// CPU time that the process held, ns, for [`Family::RunQueue`].
    pub held_ns: u64,
    /// Index of the first bucket kept.
    pub first: u32,
    /// Values per bucket from there on, without trailing zeros.
    pub buckets: Vec<u32>,
}

impl Histogram {
    /// Is it of this family?
    #[must_use]
    pub fn is(&self, family: Family) -> bool {
        self.family == family as u32
    }

    /// Adds the values of another process: all histograms have the same buckets.
    pub(crate) fn absorb(&mut self, other: &Self) {
        if self.count == 0 && self.held_ns == 0 {
            return self.clone_from(other);
        }
        self.ns = self.ns.max(other.ns);
        self.count = self.count.saturating_add(other.count);
        self.zero_count = self.zero_count.saturating_add(other.zero_count);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        self.held_ns = self.held_ns.saturating_add(other.held_ns);
        if other.buckets.is_empty() {
            return;
        }
        if self.buckets.is_empty() {
            self.first = other.first;
        }
        let first = self.first.min(other.first);
        let before = (self.first - first) as usize;
        drop(self.buckets.splice(0..0, std::iter::repeat_n(0, before)));
        self.first = first;
        let from = (other.first - first) as usize;
        let length = self.buckets.len().max(from + other.buckets.len());
        self.buckets.resize(length, 0);
        for (sum, count) in self.buckets[from..].iter_mut().zip(&other.buckets) {
            *sum = sum.saturating_add(*count);
        }
    }
}

/// A source of interrupts: it runs in nobody's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// Devices' interrupts.
    Irq,
    /// A softirq, by its index in [`tracer_common::irq::SOFTIRQS`].
    Softirq(u32),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Irq => f.write_str("irq"),
            Self::Softirq(number) => match SOFTIRQS.get(*number as usize) {
                Some(name) => write!(f, "softirq:{name}"),
                None => write!(f, "softirq:{number}"),
            },
        }
    }
}

/// At the end: time that interrupts took of running target threads. It is part of their time on a CPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupted {
    /// By source, ns.
    pub took: Vec<(Source, u64)>,
}

/// At the end: the time that the target ran, and the part in which the sibling ran another process. Only where CPUs have siblings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Siblings {
    /// Time of the target on a CPU, ns.
    pub target_ns: u64,
    /// The part of `target_ns` in which the sibling ran another process, ns.
    pub beside_ns: u64,
}

/// Probes that are shed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProbeGroup {
    /// See [`tracer_common::shed::Group::Interrupts`].
    Interrupts,
}

/// How long these probes were shed, because their facts could not change the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shed {
    /// The probes.
    pub group: ProbeGroup,
    /// When they were first shed, ns.
    pub since_ns: u64,
    /// How long they were shed in all, ns.
    pub for_ns: u64,
}

impl Shed {
    /// The same within a window alone: a recording may have kept only the last part of a trace.
    #[must_use]
    pub fn within(self, begin_ns: u64, end_ns: u64) -> Self {
        let since_ns = self.since_ns.max(begin_ns);
        Self {
            since_ns,
            for_ns: self.for_ns.min(end_ns.saturating_sub(since_ns)),
            ..self
        }
    }

    /// Part of a window of this length in which the probes were watched, 0 to 1.
    #[must_use]
    pub fn watched_part(&self, window_ns: u64) -> f64 {
        let watched_ns = window_ns.saturating_sub(self.for_ns);
        watched_ns as f64 / window_ns.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(first: u32, buckets: &[u32]) -> Histogram {
        Histogram {
            count: buckets.iter().copied().map(u64::from).sum(),
            max_ns: u64::from(first),
            held_ns: 10,
            first,
            buckets: buckets.to_vec(),
            ..Histogram::default()
        }
    }

    #[test]
    fn histograms_add_up_bucket_by_bucket() {
        let sum = |mut one: Histogram, other: &Histogram| {
            one.absorb(other);
            (one.first, one.buckets, one.count, one.held_ns)
        };
        let (low, high) = (histogram(3, &[1, 2]), histogram(6, &[5]));
        let both = (3, vec![1, 2, 0, 5], 8, 20);
        assert_eq!(sum(low.clone(), &high), both);
        assert_eq!(sum(high.clone(), &low), both);
        assert_eq!(sum(high.clone(), &high), (6, vec![10], 10, 20));
        assert_eq!(sum(Histogram::default(), &high), (6, vec![5], 5, 10));
        let none = histogram(0, &[]);
        assert_eq!(sum(none.clone(), &high), (6, vec![5], 5, 20));
        assert_eq!(sum(high, &none), (6, vec![5], 5, 20));
    }
}
