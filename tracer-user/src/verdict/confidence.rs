//! How sure: P · C · (1 − L) (design §5).
//!
//! P: part of 200 resamples of the window's slices with the same answer, resource and first culprit. C: what of the blocked time is
//! explained, an estimate counting half. L: part of the records that was lost.
//!
//! For "not held up" C is left out: who is hardly blocked is not held up, whatever blocked it.

use std::collections::BTreeMap;

use super::{
    Verdict,
    constants::{LOW_CONFIDENCE, MOSTLY_ESTIMATED, NOT_HELD_UP, RESAMPLES, UNEXPLAINED},
    group::GroupId,
    shares::{Part, Party},
    view::{View, active_ns, blocked_ns, is_culprit, ratio},
};
use crate::{
    class::{Class, Resource},
    units,
};

/// Confidence in a verdict, 0..1, and what keeps it low.
pub fn confidence(view: &View<'_>, verdict: &Verdict) -> (f64, Vec<String>) {
    let mut doubts = Vec::new();
    let lost = lost(view);
    if lost > 0.0 {
        doubts.push(format!("{} of the records were lost", units::share(lost)));
    }
    let mut low = false;
    let mut confidence = stability(view, verdict) * (1.0 - lost);
    if verdict.held_up {
        let (unexplained, estimated) = (unexplained(view), estimated(view));
        confidence *= (1.0 - unexplained - estimated / 2.0).clamp(0.0, 1.0);
        if unexplained > UNEXPLAINED {
            low = true;
            let part = units::share(unexplained);
            doubts.push(format!("{part} of the blocked time could not be explained"));
        }
        if is_mostly_estimated(view, verdict) {
            low = true;
            doubts.push("more than half of what is charged on the disk is estimated".to_owned());
        }
    } else if let Some((resource, _)) = verdict.unknown.first() {
        low = true;
        doubts.push(format!("waits for the {} cannot be seen", resource.name()));
    }
    if low {
        confidence = confidence.min(LOW_CONFIDENCE);
    }
    (confidence.clamp(0.0, 1.0), doubts)
}

/// Part of the records that was lost: those dropped of those sent.
fn lost(view: &View<'_>) -> f64 {
    let end = &view.books.end;
    let dropped: u64 = end.ring_drops.iter().map(|(_, dropped)| dropped).sum();
    ratio(dropped as f64, end.sent.max(end.received + dropped) as f64)
}

/// Part of blocked time that is charged to nobody or of no known class.
fn unexplained(view: &View<'_>) -> f64 {
    let nobody = sum(view, |part| part.party.is_nobody().then_some(part.ns));
    let other = view.budget[Class::Other.index()] as f64;
    ratio(nobody + other, view.blocked_ns())
}

/// Part of blocked time that is charged to somebody by an estimate.
fn estimated(view: &View<'_>) -> f64 {
    let estimated = sum(view, |part| {
        (!part.party.is_nobody()).then_some(part.estimated_ns)
    });
    ratio(estimated, view.blocked_ns())
}

/// Is it about a disk, and does more than half of what is charged to somebody there rest on an estimate?
fn is_mostly_estimated(view: &View<'_>, verdict: &Verdict) -> bool {
    if verdict
        .primary()
        .is_none_or(|first| first.resource != Resource::Disk)
    {
        return false;
    }
    let charged = |part: &Part| part.resource == Resource::Disk && !part.party.is_nobody();
    let estimated = sum(view, |part| charged(part).then_some(part.estimated_ns));
    let all = sum(view, |part| charged(part).then_some(part.ns));
    estimated > MOSTLY_ESTIMATED * all
}

fn sum(view: &View<'_>, figure: impl Fn(&Part) -> Option<f64>) -> f64 {
    view.shares.bins.iter().flatten().filter_map(figure).sum()
}

/// What decides, of one slice or of many.
#[derive(Clone, Debug, Default)]
struct Sample {
    active: f64,
    blocked: f64,
    waited: [f64; Resource::ALL.len()],
    groups: BTreeMap<(Resource, GroupId), f64>,
}

/// Resource and first culprit; `None` is "not held up".
type Answer = Option<(Resource, Option<GroupId>)>;

/// Part of resamples with the same answer.
fn stability(view: &View<'_>, verdict: &Verdict) -> f64 {
    let samples = samples(view);
    if samples.is_empty() {
        return 1.0;
    }
    let wanted: Answer = verdict.primary().map(|first| {
        let culprit = first.culprits.first();
        (first.resource, culprit.map(|culprit| culprit.group))
    });
    let mut random = SplitMix(SEED);
    let mut same = 0;
    for _ in 0..RESAMPLES {
        let mut sum = Sample::default();
        for _ in 0..samples.len() {
            sum.add(&samples[random.below(samples.len())]);
        }
        same += usize::from(sum.answer() == wanted);
    }
    same as f64 / RESAMPLES as f64
}

fn samples(view: &View<'_>) -> Vec<Sample> {
    let slices = view.books.bins.iter().zip(&view.shares.bins);
    slices
        .map(|(bin, parts)| {
            let budget = view.ledger(bin);
            let mut sample = Sample {
                active: active_ns(budget) as f64,
                blocked: blocked_ns(budget) as f64,
                ..Sample::default()
            };
            for part in parts {
                sample.waited[part.resource as usize] += part.ns;
                if let (Party::Group(group), true) =
                    (part.party, part.resource != Resource::Upstream)
                {
                    *sample.groups.entry((part.resource, group)).or_default() += part.ns;
                }
            }
            sample
        })
        .collect()
}

impl Sample {
    fn add(&mut self, other: &Self) {
        self.active += other.active;
        self.blocked += other.blocked;
        for (sum, ns) in self.waited.iter_mut().zip(other.waited) {
            *sum += ns;
        }
        for (key, ns) in &other.groups {
            *self.groups.entry(*key).or_default() += ns;
        }
    }

    /// What [`super::judge`] would answer.
    fn answer(&self) -> Answer {
        let largest = |a: &Resource, b: &Resource| {
            let by_time = self.waited[*a as usize].total_cmp(&self.waited[*b as usize]);
            by_time.then(b.cmp(a))
        };
        let resource = Resource::ALL.into_iter().max_by(largest)?;
        let waited = self.waited[resource as usize];
        if ratio(self.blocked, self.active) < NOT_HELD_UP || waited <= 0.0 {
            return None;
        }
        let first = self
            .groups
            .iter()
            .filter(|((of, _), ns)| *of == resource && is_culprit(**ns, waited, self.active))
            .max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0)));
        Some((resource, first.map(|((_, group), _)| *group)))
    }
}

/// Any number will do, as long as it is always the same.
const SEED: u64 = 0x7472_6163_6572;

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
