//! Lateness: when the target's packets stood in a queue, as the packets themselves show.
//!
//! TCP stamps each packet with the time at which it should leave. The queue of an interface may be full of others' packets that
//! the target's do not stand behind: they have a class of their own, or wait for their own time.

use tracer_common::tcp::{LATE_NS, LINK_SLICE_NS};

/// What the target's own packets say about a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stood {
    /// None of them is known to have been due.
    Unknown,
    /// None stood in the queue.
    No,
    /// One did.
    Yes,
}

/// The slices in which packets of the target stood in a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lateness {
    /// First and last slice of each stay, in order, without overlap.
    stays: Vec<(u64, u64)>,
    /// The last slice in which a packet left, and whether one was late there.
    last: Option<(u64, bool)>,
}

/// Did a packet that left so late, ns, stand in the queue?
pub(super) fn is_late(late_ns: u64) -> bool {
    late_ns >= LATE_NS
}

impl Lateness {
    /// From the slices in which packets of the target left, in order: how late the latest one was, ns. `before` is the last one that
    /// is no longer kept, and whether a packet was late there.
    pub(super) fn of(
        before: Option<(u64, bool)>,
        slices: impl Iterator<Item = (u64, u64)>,
    ) -> Self {
        let mut all = Self {
            stays: Vec::new(),
            last: before,
        };
        for (index, late_ns) in slices {
            all.last = Some((index, is_late(late_ns)));
            if is_late(late_ns) {
                let end = (index + 1) * LINK_SLICE_NS;
                all.stood(end.saturating_sub(late_ns) / LINK_SLICE_NS, index);
            }
        }
        all
    }

    /// A stay may begin before others that ended earlier.
    fn stood(&mut self, mut from: u64, to: u64) {
        while let Some((begin, end)) = self.stays.last().copied() {
            if end + 1 < from {
                break;
            }
            from = from.min(begin);
            self.stays.pop();
        }
        self.stays.push((from, to));
    }

    /// In a slice. After the last packet that left nothing is known, unless that one was on time: then nothing was behind it.
    pub(super) fn at(&self, index: u64) -> Stood {
        let Some((last, was_late)) = self.last else {
            return Stood::Unknown;
        };
        let next = self.stays.partition_point(|(_, to)| *to < index);
        if self.stays.get(next).is_some_and(|(from, _)| *from <= index) {
            Stood::Yes
        } else if index > last && was_late {
            Stood::Unknown
        } else {
            Stood::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_packet_stood_in_the_queue_from_when_it_was_due() {
        let late = Lateness::of(
            None,
            [(2, 0), (9, 3 * LINK_SLICE_NS), (12, LATE_NS)].into_iter(),
        );
        let found: Vec<Stood> = [1, 2, 6, 7, 9, 10, 12].map(|index| late.at(index)).into();
        let (no, yes) = (Stood::No, Stood::Yes);
        assert_eq!(found, [no, no, no, yes, yes, no, yes]);
    }

    #[test]
    fn after_the_last_packet_the_queue_is_unknown_only_if_it_was_late() {
        assert_eq!(Lateness::of(None, [].into_iter()).at(3), Stood::Unknown);
        assert_eq!(Lateness::of(None, [(2, 0)].into_iter()).at(3), Stood::No);
        let late = Lateness::of(None, [(2, LINK_SLICE_NS)].into_iter());
        assert_eq!(late.at(3), Stood::Unknown);
    }

    #[test]
    fn a_packet_that_overtook_others_does_not_hide_their_stay() {
        let late = Lateness::of(
            None,
            [(5, LATE_NS), (6, 0), (8, 6 * LINK_SLICE_NS)].into_iter(),
        );
        assert_eq!(
            [2, 3, 6, 8].map(|index| late.at(index)),
            [Stood::No, Stood::Yes, Stood::Yes, Stood::Yes]
        );
    }
}
