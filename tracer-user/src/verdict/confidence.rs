//! How sure a verdict is: confidence = P · C · (1 − L).
//!
//! - P: the part of [`RESAMPLES`] resamples of the window's slices with the same answer, that is resource and first culprit.
//! - C: the part of blocked time that is explained. An estimate counts half.
//! - L: the part of the records that was lost.
//!
//! For "not held up" C is left out. A target that is hardly blocked is not held up, whatever blocked it. Where it is blocked, but
//! by nothing known, confidence stays at most [`LOW_CONFIDENCE`].

use super::{
    Finding,
    constants::{LOW_CONFIDENCE, MOSTLY_ESTIMATED, NOT_HELD_UP, RESAMPLES, UNEXPLAINED},
    decision::{Sums, ratio},
    health::Health,
    naps,
    shares::Part,
    view::{View, active_ns, blocked_ns},
};
use crate::{
    class::{Class, Resource},
    loss::Cost,
    model::books::Books,
    units,
};

/// Confidence in a verdict, 0..1, and what keeps it low.
pub(super) fn confidence(
    view: &View<'_>,
    finding: &Finding,
    health: &Health,
) -> (f64, Vec<String>) {
    let mut doubts = Vec::new();
    let lost = lost(view.books);
    if lost > 0.0 {
        doubts.push(format!("{} of the records were lost", units::share(lost)));
    }
    let mut low = false;
    let mut confidence = stability(view) * (1.0 - lost);
    let unexplained = finding.unexplained;
    if finding.held_up {
        confidence *= (1.0 - unexplained - estimated(view) / 2.0).clamp(0.0, 1.0);
    }
    let is_blocked = finding.blocked_part >= NOT_HELD_UP && finding.unfelt.is_none();
    if is_blocked && unexplained > UNEXPLAINED {
        low = true;
        let part = units::share(unexplained);
        doubts.push(format!("{part} of the blocked time could not be explained"));
    }
    if is_mostly_estimated(view, finding) {
        low = true;
        doubts.push("more than half of what is charged on the disk is estimated".to_owned());
    }
    if let (false, Some((resource, _))) = (finding.held_up, health.blind.first()) {
        low = true;
        doubts.push(format!("waits for the {} cannot be seen", resource.name()));
    }
    if low {
        confidence = confidence.min(LOW_CONFIDENCE);
    }
    (confidence.clamp(0.0, 1.0), doubts)
}

/// Part of the records that was lost: those dropped of those sent. Losses that cost nothing do not count.
pub(super) fn lost(books: &Books) -> f64 {
    let end = &books.end;
    let dropped = end
        .dropped()
        .filter(|(loss, _)| loss.cost() != Cost::Nothing);
    let dropped: u64 = dropped.map(|(_, dropped)| dropped).sum();
    ratio(dropped as f64, end.sent.max(end.received + dropped) as f64)
}

/// Part of blocked time that is charged to nobody, or has no known class nor a timer of the target's own that ended it.
pub(super) fn unexplained(view: &View<'_>) -> f64 {
    let nobody = sum(view, |part| part.party.is_nobody().then_some(part.ns));
    let other = view.budget[Class::Other.index()] as f64;
    let napped = naps::part(view) * view.sums.blocked;
    ratio(nobody + (other - napped).max(0.0), view.sums.blocked)
}

/// Part of blocked time that is charged to somebody by an estimate.
fn estimated(view: &View<'_>) -> f64 {
    let estimated = sum(view, |part| {
        (!part.party.is_nobody()).then_some(part.estimated_ns)
    });
    ratio(estimated, view.sums.blocked)
}

/// Is it about a disk, and is more than half of the charges to somebody there estimated?
fn is_mostly_estimated(view: &View<'_>, finding: &Finding) -> bool {
    if finding
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

/// Part of resamples with the same answer, 0..1.
fn stability(view: &View<'_>) -> f64 {
    let samples = samples(view);
    if samples.is_empty() {
        return 1.0;
    }
    let wanted = view.sums.answer();
    let mut random = SplitMix(SEED);
    let mut same = 0;
    for _ in 0..RESAMPLES {
        let mut sums = Sums {
            least_active: view.sums.least_active,
            ..Sums::default()
        };
        let mut times = vec![0_u32; samples.len()];
        for _ in 0..samples.len() {
            times[random.below(samples.len())] += 1;
        }
        for (sample, times) in samples.iter().zip(times).filter(|(_, times)| *times > 0) {
            sums.add(sample, f64::from(times));
        }
        same += usize::from(sums.answer() == wanted);
    }
    same as f64 / RESAMPLES as f64
}

/// The sums of each slice.
fn samples(view: &View<'_>) -> Vec<Sums> {
    let slices = view.books.bins.iter().zip(&view.shares.bins);
    slices
        .map(|(bin, parts)| {
            let budget = view.ledger(bin);
            let mut sums = Sums {
                active: active_ns(budget) as f64,
                blocked: blocked_ns(budget) as f64,
                ..Sums::default()
            };
            for part in parts {
                sums.waited[part.resource as usize] += part.ns;
                sums.charge(part.resource, part.party, part.ns);
            }
            sums
        })
        .collect()
}

/// Start of the random numbers. Any number serves if it is always the same.
const SEED: u64 = 0x7472_6163_6572;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine. So a recording always gives the same confidence.
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
