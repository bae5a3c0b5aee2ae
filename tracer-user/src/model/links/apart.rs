//! Senders that share a queue with the target, and senders that only share the interface.
//!
//! No packet shows its class. But packets that stand in one queue leave it equally late. And what shares a rate is conserved: while
//! the queue is full, another sender's bytes shrink by what the target's grow. A sender with a class and a rate of its own sends as
//! much as before. Flows that take turns (fair queueing) share a rate and not the queue.

use std::collections::BTreeMap;

use super::late::is_late;
use crate::model::books::Holder;

/// A bin holds at least this many packets: with few, the target's packet leaves no time for another's in the same bin.
const BIN_PACKETS: f64 = 10.0;

/// A bin is this many times as long as a mean slice takes to send what left in the fullest one. The kernel hands a segment of 64 KiB to
/// the device at once, and a slow link sends nothing in the slices behind it: both belong in one bin.
const BIN_BURSTS: f64 = 4.0;

/// From this many times the mean on, the fullest slice has a burst. Below it is some packets above the others.
const BURSTS: f64 = 2.0;

/// Fewer bins say nothing.
const ENOUGH_BINS: usize = 20;

/// A sender is apart if its bytes change by less than this part of what a sharer's would. The doubt counts as change.
const APART_BELOW: f64 = 0.5;
/// The doubt, in standard errors.
const DOUBT: f64 = 2.0;
/// The same of a sender that does not stand in the target's queue.
const LESS_DOUBT: f64 = 1.0;

/// Packets of senders in one queue are late alike: in half of the slices their lateness differs by no more than this part of it. What a
/// slice knows is its latest packet of each, so it is a little off.
const ALIKE: f64 = 0.12;
/// From here on they stand in different queues.
const UNLIKE: f64 = 0.15;
/// The latest packet of the target that is known in a slice may have left so many slices before.
const RECENT: u64 = 2;

/// One slice in which the queue never emptied.
pub(super) struct Full {
    pub(super) index: u64,
    pub(super) packets: u64,
    pub(super) bytes: Vec<(Holder, u64)>,
    /// How late the latest packet of each left, ns, where that is known.
    pub(super) late: Vec<(Holder, u64)>,
}

/// The senders that send as much while `whom`, who waits, sends as while it does not.
pub(super) fn apart(slices: &[Full], whom: Holder) -> Vec<Holder> {
    let series = series(slices);
    let Some(own) = series.get(&whom) else {
        return Vec::new();
    };
    let others = series.iter().filter(|(holder, _)| **holder != whom);
    let total: f64 = others.clone().flat_map(|(_, bytes)| bytes).sum();
    let unlike = unlike(slices, whom);
    let apart = others.filter(|(holder, bytes)| {
        let part = bytes.iter().sum::<f64>() / total.max(1.0);
        let doubt = match unlike.get(holder) {
            Some(unlike) if *unlike <= ALIKE => return false,
            Some(unlike) if *unlike >= UNLIKE => LESS_DOUBT,
            _ => DOUBT,
        };
        change(own, bytes, doubt).is_some_and(|change| change < APART_BELOW * part)
    });
    apart.map(|(holder, _)| *holder).collect()
}

/// By how much of the lateness of `whom` that of each other differs, in the median of the slices. Those of which that is known in few
/// slices are left out.
fn unlike(slices: &[Full], whom: Holder) -> BTreeMap<Holder, f64> {
    let mut differ: BTreeMap<Holder, Vec<f64>> = BTreeMap::new();
    let mut own: Option<(u64, u64)> = None;
    for slice in slices {
        let of_own = slice.late.iter().find(|(holder, _)| *holder == whom);
        own = of_own.map(|(_, late)| (slice.index, *late)).or(own);
        let recent = own.filter(|(at, late)| slice.index - at <= RECENT && is_late(*late));
        let Some((_, late)) = recent else { continue };
        for (holder, other) in &slice.late {
            let part = other.abs_diff(late) as f64 / late as f64;
            differ.entry(*holder).or_default().push(part);
        }
    }
    let enough = differ
        .into_iter()
        .filter(|(_, parts)| parts.len() >= ENOUGH_BINS);
    enough
        .map(|(holder, mut parts)| {
            let middle = parts.len() / 2;
            (
                holder,
                *parts.select_nth_unstable_by(middle, f64::total_cmp).1,
            )
        })
        .collect()
}

/// Bytes of each holder in bins of several slices each.
fn series(slices: &[Full]) -> BTreeMap<Holder, Vec<f64>> {
    let count = slices.len() as f64;
    let packets: u64 = slices.iter().map(|slice| slice.packets).sum();
    let sent = |slice: &Full| slice.bytes.iter().map(|(_, bytes)| bytes).sum::<u64>();
    let bytes: u64 = slices.iter().map(sent).sum();
    let fullest = slices.iter().map(sent).max().unwrap_or(0);
    let of_packets = BIN_PACKETS * count / packets.max(1) as f64;
    let bursts = fullest as f64 * count / bytes.max(1) as f64;
    let of_bursts = if bursts < BURSTS {
        1.0
    } else {
        BIN_BURSTS * bursts
    };
    let length = of_packets.max(of_bursts).ceil() as u64;
    let bin = |slice: &Full| slice.index / length.max(1);
    let mut bins: Vec<u64> = slices.iter().map(bin).collect();
    bins.dedup();
    let mut series: BTreeMap<Holder, Vec<f64>> = BTreeMap::new();
    let mut at = 0;
    for slice in slices {
        at += usize::from(bins[at] != bin(slice));
        for (holder, bytes) in &slice.bytes {
            let series = series.entry(*holder);
            series.or_insert_with(|| vec![0.0; bins.len()])[at] += *bytes as f64;
        }
    }
    series
}

/// How much another's bytes change for each byte that the target sends more, with so many standard errors (least squares). `None`
/// if there are too few bins, or the target always sends the same.
fn change(own: &[f64], other: &[f64], errors: f64) -> Option<f64> {
    if own.len() < ENOUGH_BINS {
        return None;
    }
    let count = own.len() as f64;
    let own_mean = own.iter().sum::<f64>() / count;
    let mean = other.iter().sum::<f64>() / count;
    let (mut own_own, mut own_other, mut other_other) = (0.0, 0.0, 0.0);
    for (own, other) in own.iter().zip(other) {
        let (own, other) = (own - own_mean, other - mean);
        own_own += own * own;
        own_other += own * other;
        other_other += other * other;
    }
    if own_own <= 0.0 {
        return None;
    }
    let slope = own_other / own_own;
    let rest = (other_other - slope * own_other).max(0.0) / (count - 2.0);
    Some(slope.abs() + errors * (rest / own_own).sqrt())
}

#[cfg(test)]
mod tests {
    use super::{apart as apart_from, *};

    const BACKUP: Holder = Holder::Process(1);
    const OTHER: Holder = Holder::Process(2);

    fn apart(slices: &[Full]) -> Vec<Holder> {
        apart_from(slices, Holder::Own)
    }

    /// Slices in which the target sends so much more each time, from 0 to 9 kB, and another sends the rest of a rate, or its own.
    fn slices(sent: impl Fn(u64) -> Vec<(Holder, u64)>) -> Vec<Full> {
        let slice = |index| {
            let own = 1000 * (index * 7 % 10);
            let mut bytes = sent(own);
            bytes.push((Holder::Own, own));
            Full {
                index,
                packets: 20,
                bytes,
                late: Vec::new(),
            }
        };
        (0..100).map(slice).collect()
    }

    #[test]
    fn who_makes_room_for_the_target_shares_its_queue() {
        assert_eq!(apart(&slices(|own| vec![(BACKUP, 25_000 - own)])), []);
    }

    #[test]
    fn who_sends_as_much_whatever_the_target_sends_is_apart() {
        assert_eq!(apart(&slices(|_| vec![(BACKUP, 25_000)])), [BACKUP]);
        let both = |own| vec![(BACKUP, 25_000 - own), (OTHER, 25_000)];
        assert_eq!(apart(&slices(both)), [OTHER]);
    }

    #[test]
    fn who_is_as_late_as_the_target_stands_in_its_queue_whatever_the_bytes_say() {
        let late = |others: [u64; 10]| {
            let mut slices = slices(|_| vec![(BACKUP, 25_000)]);
            for slice in &mut slices {
                let own = 40_000_000 + 1_000_000 * (slice.index % 7);
                let other = own * others[slice.index as usize % 10] / 100;
                slice.late = vec![(BACKUP, other), (Holder::Own, own)];
            }
            apart(&slices)
        };
        assert_eq!(late([97, 99, 100, 100, 101, 103, 130, 100, 70, 100]), []);
        assert_eq!(
            late([70, 150, 100, 220, 60, 130, 90, 180, 50, 140]),
            [BACKUP]
        );
    }

    #[test]
    fn two_that_share_the_queue_each_make_a_part_of_the_room() {
        let both = |own| {
            vec![
                (BACKUP, (25_000 - own) * 7 / 10),
                (OTHER, (25_000 - own) * 3 / 10),
            ]
        };
        assert_eq!(apart(&slices(both)), []);
    }

    #[test]
    fn what_is_not_explained_by_the_target_is_doubt() {
        let own: Vec<f64> = (0..24).map(|bin| f64::from(bin % 2 * 10)).collect();
        let room: Vec<f64> = own.iter().map(|bytes| 10.0 - bytes).collect();
        assert!((change(&own, &room, 2.0).unwrap() - 1.0).abs() < 1e-9);
        // Of the same size, and of no relation: twice the square root of 1 / 22.
        let other: Vec<f64> = (0..24).map(|bin| f64::from(bin / 2 % 2 * 10)).collect();
        let doubt = 2.0 * (1.0 / 22.0_f64).sqrt();
        assert!((change(&own, &other, 2.0).unwrap() - doubt).abs() < 1e-9);
    }

    #[test]
    fn a_rate_that_changes_for_all_and_a_short_time_say_nothing() {
        assert_eq!(apart(&slices(|own| vec![(BACKUP, 3 * own)])), []);
        let short: Vec<Full> = slices(|_| vec![(BACKUP, 25_000)])
            .into_iter()
            .take(9)
            .collect();
        assert_eq!(apart(&short), []);
    }

    #[test]
    fn who_sends_nothing_behind_a_segment_of_the_target_makes_room_for_it() {
        // The segment takes the link for 2.4 slices, and leaves it in the first of them.
        let segment = |index: u64| Full {
            index,
            packets: 7,
            bytes: vec![(Holder::Own, 60_000), (BACKUP, 9_000)],
            late: Vec::new(),
        };
        let other = |index: u64| {
            let own = if index.is_multiple_of(20) { 1_500 } else { 0 };
            Full {
                index,
                packets: 17,
                bytes: vec![(Holder::Own, own), (BACKUP, 25_000 - own)],
                late: Vec::new(),
            }
        };
        let slices: Vec<Full> = (0..600)
            .filter_map(|index| match index % 60 {
                7 => Some(segment(index)),
                8 | 9 => None,
                _ => Some(other(index)),
            })
            .collect();
        assert_eq!(apart(&slices), []);
    }

    #[test]
    fn large_packets_are_seen_over_longer_bins() {
        // Each slice has the packet of one of them, so that each hides the other.
        let slices: Vec<Full> = (0..2000)
            .map(|index| Full {
                index,
                packets: 1,
                bytes: vec![(
                    if index % 40 < 20 && index % 2 == 0 {
                        Holder::Own
                    } else {
                        BACKUP
                    },
                    64_000,
                )],
                late: Vec::new(),
            })
            .collect();
        assert_eq!(apart(&slices), []);
    }
}
