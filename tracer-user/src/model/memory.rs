//! The machine's memory as a place: who filled it holds up whoever waits for a free page, or for a page that was evicted.
//!
//! Memory is filled seconds before the wait. A page that is read again was evicted once, and the kernel evicts the pages that were
//! used least recently. So a wait is split as memory was filled while the kernel took pages back, up to the end of the wait. The
//! target that reads evicted pages again fills memory too. That is what the wait is about, and no cause of it: only what the target
//! fills beside it is its own part.

use std::collections::VecDeque;

use super::{
    account::Charge,
    books::Holder,
    limits::{EVICTS_NS, KEPT, MOST_WAITS, PAGE, READ_AGAIN, parts},
    names::Names,
};
use crate::{class::Resource, event::MemoryUse};

/// A wait is split as memory was filled from this long before its begin, ns.
const LOOK_BACK_NS: u64 = 10_000_000_000;

/// Use in one interval.
#[derive(Clone, Debug)]
struct Use {
    begin: u64,
    end: u64,
    reclaimed: u64,
    read_again: u64,
    own: u64,
    unknown: u64,
    others: Vec<(Holder, u64)>,
}

/// What is known of the machine's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    uses: VecDeque<Use>,
    /// Waits that cannot be split yet.
    waits: VecDeque<Charge>,
}

/// A wait, split.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Split {
    /// The parts, with their holders. They sum to the wait.
    pub(super) parts: Vec<(Holder, u64)>,
    /// How much of it other processes hold, ns.
    pub(super) others_ns: u64,
}

impl Memory {
    /// Memory was filled. Returns the waits that can be charged now.
    pub(super) fn used(&mut self, names: &mut Names, used: &MemoryUse) -> Vec<Charge> {
        let mut own = 0;
        let mut others: Vec<(Holder, u64)> = Vec::new();
        for (pid, bytes) in used.used.iter().filter(|(_, bytes)| *bytes > 0) {
            match names.holder(*pid) {
                Holder::Own => own += bytes,
                holder => others.push((holder, *bytes)),
            }
        }
        if self.uses.len() == KEPT {
            self.uses.pop_front();
        }
        self.uses.push_back(Use {
            begin: used.begin_ns,
            end: used.ns,
            reclaimed: used.reclaimed,
            read_again: used.read_again,
            own,
            unknown: used.unknown,
            others,
        });
        let is_due = |wait: &Charge| wait.span.1 <= used.ns;
        let due = self.waits.iter().take_while(|wait| is_due(wait)).count();
        self.waits.drain(..due).collect()
    }

    /// Is it known who fills memory?
    #[must_use]
    pub(super) fn is_known(&self) -> bool {
        !self.uses.is_empty()
    }

    /// Does the kernel evict what the target reads again, as far as is known now?
    #[must_use]
    pub(super) fn evicts(&self) -> bool {
        let end = self.uses.back().map_or(0, |last| last.end);
        let last = self.uses.iter().rev();
        let last = last.take_while(|used| used.end + EVICTS_NS > end);
        let sums = last.fold((0, 0, 0), |(reclaimed, again, own), used| {
            (
                reclaimed + used.reclaimed,
                again + used.read_again,
                own + used.own,
            )
        });
        let (reclaimed, again, own) = sums;
        reclaimed > 0 && again > 0 && again as f64 >= READ_AGAIN * (own / PAGE) as f64
    }

    /// Keeps a wait until it is known who filled memory up to its end. Returns the one that has been kept for too long.
    pub(super) fn keep(&mut self, wait: Charge) -> Option<Charge> {
        self.waits.push_back(wait);
        match self.waits.len() > MOST_WAITS {
            true => self.waits.pop_front(),
            false => None,
        }
    }

    /// The kept waits, at the end.
    pub(super) fn rest(&mut self) -> Vec<Charge> {
        std::mem::take(&mut self.waits).into()
    }

    /// Splits a wait between those who filled memory. What is left belongs to the target where it waits for its own reads of a disk,
    /// and else to nobody.
    #[must_use]
    pub(super) fn split(&self, wait: &Charge) -> Split {
        let (begin, end) = (wait.span.0.saturating_sub(LOOK_BACK_NS), wait.span.1);
        let uses = self.uses.iter().rev();
        let uses = uses.skip_while(|used| used.begin > end);
        let (mut own, mut again, mut all) = (0, 0, 0);
        let uses: Vec<&Use> = uses.take_while(|used| used.end >= begin).collect();
        for used in &uses {
            own += used.own;
            again += used.read_again * PAGE;
            all += used.unknown;
        }
        let others = parts(uses.iter().flat_map(|used| &used.others).copied());
        let new = own.saturating_sub(again);
        all += new + others.iter().map(|(_, bytes)| bytes).sum::<u64>();
        // Each page that came evicted at most one: who filled less than was read again has evicted no more than that.
        let all = all.max(again).max(1);
        let part = |bytes: u64| (u128::from(wait.ns) * u128::from(bytes) / u128::from(all)) as u64;
        let mut parts: Vec<(Holder, u64)> = others
            .into_iter()
            .map(|(holder, bytes)| (holder, part(bytes)))
            .filter(|(_, ns)| *ns > 0)
            .collect();
        let others_ns = parts.iter().map(|(_, ns)| ns).sum();
        let left = wait.ns - others_ns;
        let mine = match wait.resource {
            Resource::Disk => left,
            _ => part(new).min(left),
        };
        parts.push((Holder::Own, mine));
        parts.push((Holder::Nobody, left - mine));
        parts.retain(|(_, ns)| *ns > 0);
        Split { parts, others_ns }
    }
}
