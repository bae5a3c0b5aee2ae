//! How sure: P · C · (1 − L) (design §5).
//!
//! P: part of 200 resamples of the window's slices with the same answer. C: what of the blocked time is explained, an estimate counting
//! half. L: part of the records that was lost.

use std::collections::BTreeMap;

use super::{Hypothesis, View, ratio, shares::Party};
use crate::class::{Class, Resource};

/// Resamples.
const RESAMPLES: usize = 200;
/// Where more than this part of blocked time is unexplained, or the deciding part is an estimate, confidence stays low.
const UNEXPLAINED: f64 = 0.10;
/// As low as this.
const LOW: f64 = 0.5;

/// Confidence in a list of hypotheses, the largest first.
pub fn confidence(view: &View<'_>, hypotheses: &[Hypothesis], held_up: bool) -> f64 {
    let lost: u64 = view.books.end.ring_drops.iter().map(|(_, lost)| lost).sum();
    let lost = ratio(lost as f64, view.books.end.sent as f64);
    let blocked = view.blocked_ns() as f64;
    let other = view.budget[Class::Other.index()] as f64;
    let parts = || view.shares.bins.iter().flatten();
    let unattributed: f64 = parts()
        .filter(|part| part.party.is_nobody())
        .map(|part| part.ns)
        .sum();
    let estimated: f64 = parts().map(|part| part.estimated_ns).sum();
    let unexplained = ratio(unattributed + other, blocked);
    let explained = (1.0 - unexplained - ratio(estimated / 2.0, blocked)).clamp(0.0, 1.0);
    if !held_up {
        // Who is hardly blocked is not held up, whatever blocked it.
        return (1.0 - lost).clamp(0.0, 1.0);
    }
    let confidence = stability(view, hypotheses) * explained * (1.0 - lost);
    let low = unexplained > UNEXPLAINED || is_estimate(view, hypotheses);
    if low { confidence.min(LOW) } else { confidence }.clamp(0.0, 1.0)
}

/// Does more than half of the deciding resource's time rest on an estimate?
fn is_estimate(view: &View<'_>, hypotheses: &[Hypothesis]) -> bool {
    let Some(first) = hypotheses.first() else {
        return false;
    };
    let parts = || {
        view.shares
            .bins
            .iter()
            .flatten()
            .filter(|part| part.resource == first.resource)
    };
    let estimated: f64 = parts().map(|part| part.estimated_ns).sum();
    estimated > 0.5 * parts().map(|part| part.ns).sum::<f64>()
}

/// Part of resamples with the same resource and first culprit.
fn stability(view: &View<'_>, hypotheses: &[Hypothesis]) -> f64 {
    let Some(first) = hypotheses.first() else {
        return 1.0;
    };
    let bins = &view.shares.bins;
    if bins.is_empty() {
        return 1.0;
    }
    let wanted = (
        first.resource,
        first.culprits.first().map(|culprit| culprit.group),
    );
    let mut random = SplitMix(0x7472_6163_6572);
    let mut same = 0;
    for _ in 0..RESAMPLES {
        let mut sums: BTreeMap<Resource, (f64, BTreeMap<usize, f64>)> = BTreeMap::new();
        for _ in 0..bins.len() {
            for part in &bins[random.below(bins.len())] {
                let sum = sums.entry(part.resource).or_default();
                sum.0 += part.ns;
                if let Party::Group(group) = part.party {
                    *sum.1.entry(group).or_default() += part.ns;
                }
            }
        }
        same += usize::from(agrees(&sums, wanted));
    }
    same as f64 / RESAMPLES as f64
}

fn agrees(
    sums: &BTreeMap<Resource, (f64, BTreeMap<usize, f64>)>,
    wanted: (Resource, Option<usize>),
) -> bool {
    let Some((resource, (_, groups))) = sums.iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0)) else {
        return false;
    };
    let first = groups
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(group, _)| *group);
    *resource == wanted.0 && (wanted.1.is_none() || first == wanted.1)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine, so that a recording gives the same figure.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * bound as u128) >> 64) as usize
    }
}
