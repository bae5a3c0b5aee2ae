//! Slices that are forgotten: they are charged, and what they say about later ones is kept.

use super::{
    late::is_late,
    link::{Link, Shares},
    slice::{AFTER_DROP, Slice},
};

/// What the slices that were forgotten say about those that are kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past {
    /// The slices before this one are forgotten.
    pub(super) first: u64,
    /// Highest count of the drop counter.
    drops: Option<u32>,
    /// Highest rate of a slice that was certainly full, bytes; 0 if none was.
    pub(super) highest: u64,
    /// Did the target send?
    pub(super) own: bool,
    /// The last slice in which a packet of the target left that is known to have been due, and whether it was late.
    pub(super) late: Option<(u64, bool)>,
}

impl Past {
    /// Learns from a slice, in order. Returns whether the link dropped packets in it.
    ///
    /// Owners' records come out of order, and the counter is the link's: it is compared from slice to slice.
    pub(super) fn pass(&mut self, slice: &Slice) -> bool {
        let Some(drops) = slice.drops else {
            return false;
        };
        let dropped = self.drops.is_some_and(|last| drops > last);
        self.drops = self.drops.max(Some(drops));
        if slice.never_emptied() || dropped {
            self.highest = self.highest.max(slice.total());
        }
        dropped
    }

    fn forget(&mut self, index: u64, slice: &Slice) {
        self.pass(slice);
        let Some(own) = slice.own() else { return };
        self.own = true;
        if let Some(late_ns) = own.late_ns {
            self.late = Some((index, is_late(late_ns)));
        }
    }
}

impl Link {
    /// Judges and forgets the oldest slices, where there are a quarter more than `most`: each time, all that are kept are looked through.
    /// Slices that explain waits shortly after them are kept a little longer.
    pub(super) fn fold(&mut self, most: usize) -> Option<Shares> {
        let more = self.slices.len().saturating_sub(most);
        if more < (most / 4).max(1) {
            return None;
        }
        let end = *self.slices.keys().nth(more)?;
        let shares = self.shares_before(end);
        for (_, slice) in self.slices.range_mut(..end) {
            slice.charged();
        }
        let first = end.saturating_sub(AFTER_DROP).max(self.past.first);
        let kept = self.slices.split_off(&first);
        let forgotten = std::mem::replace(&mut self.slices, kept);
        for (index, slice) in &forgotten {
            self.past.forget(*index, slice);
        }
        self.past.first = first;
        Some(shares)
    }
}
