//! The accounts that events are written to: both ledgers, the flame graph, the causes, and each holder's totals.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;

use super::{
    books::{Bin, Held, Holder, PlaceId},
    ledger::Ledger,
    limits::Limits,
    memory::Memory,
    names::Names,
    naps::Naps,
    parts::{OwnPart, Parts, charged_to_itself, follow},
    unknown::Unknown,
};
use crate::{
    class::{Cause, Class, Resource},
    event::{LimitUse, MemoryUse},
};

/// A part of a wait, to be charged to one holder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Charge {
    pub(super) resource: Resource,
    pub(super) place: Option<PlaceId>,
    pub(super) holder: Holder,
    /// Identity of the stack that waited; 0 if there is none.
    pub(super) stack: u64,
    /// Begin and end of the wait, ns: the ledger spreads the charge evenly over it.
    pub(super) span: (u64, u64),
    /// How much of the wait, ns.
    pub(super) ns: u64,
    /// Does it rest on an estimate instead of on what was seen?
    pub(super) estimated: bool,
}

impl Charge {
    fn key(&self) -> (Resource, Option<PlaceId>, Holder) {
        (self.resource, self.place, self.holder)
    }
}

/// Lines of the flame graph, some 90 bytes each. Further ones have no stack: then the holder of a wait is known, and not its functions.
const MOST_LINES: usize = 1 << 16;

/// Frames of a line of the flame graph: class, place, holder, identity of the stack.
pub(super) type FlameKey = (Class, Option<PlaceId>, Holder, u64);

/// The account of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) ledger: Ledger,
    flame: HashMap<FlameKey, u64>,
    /// Waits of which the flame graph leaves the stack out.
    pub(super) without_stack: u64,
    causes: BTreeMap<(Resource, Cause), u64>,
    pub(super) held: BTreeMap<(Resource, Option<PlaceId>, Holder), Held>,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
    /// Time charged to other processes because they filled the machine's memory, by resource, ns.
    pub(super) by_memory: BTreeMap<Resource, u64>,
    /// The split of what is charged to the target itself.
    pub(super) parts: Parts,
    /// Waits that a timer ended.
    pub(super) naps: Naps,
    /// Sleeps for something that has no class.
    pub(super) unknown: Unknown,
}

impl Account {
    /// Charges a part of a wait to its holder, in the ledger and in the flame graph. A wait for the target's own limit is kept until it
    /// is known who used the limit up.
    #[inline]
    pub(super) fn charge(&mut self, charge: Charge) {
        match charge.holder {
            Holder::OwnQuota => {
                if let Some(unshared) = self.limits.keep(charge) {
                    self.book(unshared);
                }
            }
            _ => self.book(charge),
        }
    }

    /// A limit was used: waits for it may be charged now.
    pub(super) fn limit_used(&mut self, names: &mut Names, used: &LimitUse) {
        let due = self.limits.used(names, used);
        self.split(names, &due);
    }

    /// Charges all waits for limits that were kept.
    pub(super) fn settle_limits(&mut self, names: &Names) {
        let rest = self.limits.rest();
        self.split(names, &rest);
    }

    /// Charges a wait for a free page, or for one that was evicted, once it is known who filled the machine's memory up to its end.
    pub(super) fn charge_memory(&mut self, charge: Charge) {
        if let Some(late) = self.memory.keep(charge) {
            self.split_memory(&[late]);
        }
    }

    /// The machine's memory was filled: waits for it may be charged now.
    pub(super) fn memory_used(&mut self, names: &mut Names, used: &MemoryUse) {
        let due = self.memory.used(names, used);
        self.split_memory(&due);
    }

    /// Charges all waits for memory that were kept.
    pub(super) fn settle_memory(&mut self) {
        let rest = self.memory.rest();
        self.split_memory(&rest);
    }

    fn split_memory(&mut self, waits: &[Charge]) {
        for wait in waits {
            let split = self.memory.split(wait);
            let by_memory = self.by_memory.entry(wait.resource).or_default();
            *by_memory = by_memory.saturating_add(split.others_ns);
            for (holder, ns) in split.parts {
                self.book(Charge {
                    holder,
                    ns,
                    estimated: true,
                    ..*wait
                });
            }
        }
    }

    fn split(&mut self, names: &Names, waits: &[Charge]) {
        for part in waits
            .iter()
            .flat_map(|wait| self.limits.split(names, wait))
            .collect::<Vec<_>>()
        {
            self.book(part);
        }
    }

    #[inline]
    fn book(&mut self, charge: Charge) {
        self.charge_only(charge);
        let class = charge.resource.class();
        self.burn_only(
            (class, charge.place, charge.holder, charge.stack),
            charge.ns,
        );
    }

    /// Charges in the ledger alone: the flame graph has this wait already, or under other frames.
    #[inline]
    pub(super) fn charge_only(&mut self, charge: Charge) {
        let (begin, end) = charge.span;
        self.ledger
            .charge(charge.key(), begin, end, charge.ns, charge.estimated);
    }

    /// Adds to the flame graph alone: the ledger has this wait under another key, or leaves it to nobody.
    #[inline]
    pub(super) fn burn_only(&mut self, frames: FlameKey, ns: u64) {
        if ns == 0 {
            return;
        }
        let is_full = self.flame.len() >= MOST_LINES && !self.flame.contains_key(&frames);
        let (class, place, holder, stack) = frames;
        self.without_stack += u64::from(is_full);
        let stack = if is_full { 0 } else { stack };
        let sum = self.flame.entry((class, place, holder, stack)).or_default();
        *sum = sum.saturating_add(ns);
    }

    /// A wait for a resource, or `ns` of it, had this cause.
    pub(super) fn caused(&mut self, resource: Resource, cause: Cause, ns: u64) {
        let sum = self.causes.entry((resource, cause)).or_default();
        *sum = sum.saturating_add(ns);
    }

    /// A holder's totals at a place in the whole window, to be added to.
    pub(super) fn held(
        &mut self,
        resource: Resource,
        place: Option<PlaceId>,
        holder: Holder,
    ) -> &mut Held {
        self.held.entry((resource, place, holder)).or_default()
    }

    /// Closes the ledger. Returns its bins, the length of one in ns, and the parts of what is charged to the target itself.
    pub(super) fn close(&mut self, end_ns: u64) -> (Vec<Bin>, u64, Vec<OwnPart>) {
        let ledger = std::mem::take(&mut self.ledger);
        let before = charged_to_itself(ledger.charged());
        let (bins, bin_ns) = ledger.close(end_ns);
        let charges = bins.iter().flat_map(|bin| &bin.charges);
        let charges = charges.map(|charge| (charge.resource, charge.holder, charge.ns));
        let mut own = self.parts.take();
        follow(&mut own, &before, &charged_to_itself(charges));
        (bins, bin_ns, own)
    }

    /// The flame graph, in the order of its frames; it is empty then.
    pub(super) fn take_flame(&mut self) -> Vec<(FlameKey, u64)> {
        let mut lines: Vec<(FlameKey, u64)> = std::mem::take(&mut self.flame).into_iter().collect();
        lines.sort_unstable();
        lines
    }

    /// The causes, in order, each with its time in ns.
    pub(super) fn causes(&self) -> Vec<(Resource, Cause, u64)> {
        let causes = self.causes.iter();
        causes
            .map(|(&(resource, cause), &ns)| (resource, cause, ns))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGE: Charge = Charge {
        resource: Resource::Disk,
        place: Some(3),
        holder: Holder::Process(1),
        stack: 7,
        span: (0, 100),
        ns: 60,
        estimated: false,
    };
    const FRAMES: FlameKey = (Class::Disk, Some(3), Holder::Process(1), 7);

    fn in_ledger(account: Account) -> Vec<u64> {
        let (bins, _) = account.ledger.close(100);
        let charges = bins.iter().flat_map(|bin| &bin.charges);
        charges.map(|charge| charge.ns).collect()
    }

    #[test]
    fn a_charge_is_in_the_ledger_and_in_the_flame_graph() {
        let mut account = Account::default();
        account.charge(CHARGE);
        account.charge(CHARGE);
        assert_eq!(account.take_flame(), [(FRAMES, 120)]);
        assert_eq!(in_ledger(account), [120]);
    }

    #[test]
    fn who_means_one_of_both_gets_one_of_both() {
        let mut account = Account::default();
        account.charge_only(CHARGE);
        assert_eq!(account.take_flame(), []);
        account.burn_only(FRAMES, 9);
        account.burn_only((Class::Disk, None, Holder::Nobody, 0), 0);
        assert_eq!(account.take_flame(), [(FRAMES, 9)]);
        assert_eq!(in_ledger(account), [60]);
    }

    #[test]
    fn lines_of_the_flame_graph_are_bounded_and_their_sum_is_not() {
        let mut account = Account::default();
        let all = 3 * MOST_LINES as u64;
        for stack in 0..all {
            account.burn_only((Class::Disk, None, Holder::Own, stack), 2);
        }
        assert!(account.flame.len() <= MOST_LINES);
        assert_eq!(account.without_stack, all - MOST_LINES as u64);
        let lines = account.take_flame();
        assert_eq!(lines.iter().map(|(_, ns)| ns).sum::<u64>(), 2 * all);
    }

    #[test]
    fn causes_and_what_is_held_add_up() {
        let mut account = Account::default();
        for ns in [5, 7] {
            account.caused(Resource::Cpu, Cause::Quota, ns);
            account.held(Resource::Cpu, None, Holder::Own).ns += ns;
        }
        assert_eq!(account.causes(), [(Resource::Cpu, Cause::Quota, 12)]);
        assert_eq!(account.held[&(Resource::Cpu, None, Holder::Own)].ns, 12);
    }
}
