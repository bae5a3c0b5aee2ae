//! The two ledgers and the charges, bin by bin: memory is bounded, whatever the length of the window.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap as HashMap;

use super::books::{Asker, Bin, Budget, Charge, Holder, PlaceId, Served};
use crate::class::{Class, Resource};

/// Length of a bin at first, ns. The verdict draws its resamples from bins.
pub(crate) const BIN_NS: u64 = 100_000_000;

/// When there are this many bins, neighbours are merged and bins become twice as long. That is after 7 minutes for the first time.
const MOST_BINS: usize = 4096;
/// The same when the bins have this many charges in all, some 80 bytes each: where thousands of processes hold a resource, each in a few
/// bins.
const MOST_CHARGES: usize = 1 << 17;
/// Fewer bins are not made for that: the verdict draws its resamples from them.
const LEAST_BINS: usize = 256;

type Key = (Resource, Option<PlaceId>, Holder);

#[derive(Clone, Debug, Default)]
struct Slot {
    requests: [i64; Class::COUNT],
    /// Part of the requests' time in which their thread worked on another one.
    behind_own: [i64; Class::COUNT],
    threads: [i64; Class::COUNT],
    /// Waiting time that was resolved through the time line of another target thread: it has no holder of its own.
    indirect: [i64; Class::COUNT],
    /// What threads did while they had to take what somebody sent.
    taking: [i64; Class::COUNT],
    charges: Charges,
    /// The parts that single clients asked for.
    served: BTreeMap<Asker, Part>,
}

/// By key: time, and the part of it that is estimated.
type Charges = HashMap<Key, (u64, u64)>;

/// One client's part of a bin.
#[derive(Clone, Debug, Default)]
struct Part {
    requests: [i64; Class::COUNT],
    charges: Charges,
}

impl Slot {
    /// How many charges it has.
    fn charges(&self) -> usize {
        let served = self.served.values();
        self.charges.len() + served.map(|part| part.charges.len()).sum::<usize>()
    }

    fn absorb(&mut self, other: Self) {
        add_all(&mut self.requests, &other.requests);
        add_all(&mut self.behind_own, &other.behind_own);
        add_all(&mut self.threads, &other.threads);
        add_all(&mut self.indirect, &other.indirect);
        add_all(&mut self.taking, &other.taking);
        absorb(&mut self.charges, other.charges);
        for (asker, other) in other.served {
            let part = self.served.entry(asker).or_default();
            add_all(&mut part.requests, &other.requests);
            absorb(&mut part.charges, other.charges);
        }
    }
}

fn add_all(into: &mut [i64; Class::COUNT], from: &[i64; Class::COUNT]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into = into.saturating_add(*from);
    }
}

fn absorb(into: &mut Charges, other: Charges) {
    for (key, (ns, estimated)) in other {
        let sum = into.entry(key).or_default();
        sum.0 = sum.0.saturating_add(ns);
        sum.1 = sum.1.saturating_add(estimated);
    }
}

/// Both ledgers and the charges.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    start_ns: u64,
    bin_ns: u64,
    slots: Vec<Slot>,
    /// Charges in all of them.
    charges: usize,
    /// The bin of the last entry. Nearly every entry is of the same bin as the one before, and needs no division to find it.
    recent: Recent,
}

/// The begin and the end of a bin, ns, and where it is.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    begin_ns: u64,
    end_ns: u64,
    index: usize,
}

impl Recent {
    fn has(&self, ns: u64) -> bool {
        (self.begin_ns..self.end_ns).contains(&ns)
    }
}

/// An entry in a bin.
#[derive(Clone, Copy)]
enum Entry {
    Threads(Class),
    Requests(Class),
    BehindOwn(Class),
    Indirect(Class),
    Taking(Class),
    Charge(Key, bool),
    ServedRequests(Asker, Class),
    ServedCharge(Asker, Key, bool),
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Ledger {
    /// Empty books of a window that begins at `start_ns`.
    #[must_use]
    pub(crate) fn new(start_ns: u64) -> Self {
        Self {
            start_ns,
            bin_ns: BIN_NS,
            slots: Vec::new(),
            charges: 0,
            recent: Recent::default(),
        }
    }

    /// A thread spent `ns` of `[begin, end]` in a class; `ns` may be negative, to move time to another class.
    #[inline]
    pub(crate) fn threads(&mut self, class: Class, begin: u64, end: u64, ns: i64) {
        self.spread(Entry::Threads(class), begin, end, ns);
    }

    /// A request spent `ns` of `[begin, end]` in a class.
    #[inline]
    pub(crate) fn requests(&mut self, class: Class, begin: u64, end: u64, ns: u64) {
        self.spread(Entry::Requests(class), begin, end, ns as i64);
    }

    /// Part of a request's time in a class was another request's work.
    #[inline]
    pub(crate) fn behind_own(&mut self, class: Class, begin: u64, end: u64, ns: u64) {
        self.spread(Entry::BehindOwn(class), begin, end, ns as i64);
    }

    /// Part of a thread's time in a class was found on another thread's time line, which is charged already.
    pub(crate) fn indirect(&mut self, class: Class, begin: u64, end: u64, ns: u64) {
        self.spread(Entry::Indirect(class), begin, end, ns as i64);
    }

    /// Somebody waited until a thread takes what he has sent. It spent `ns` of that in a class.
    pub(crate) fn taking(&mut self, class: Class, begin: u64, end: u64, ns: u64) {
        self.spread(Entry::Taking(class), begin, end, ns as i64);
    }

    /// Charges `ns` of a wait in `[begin, end]` to a holder.
    #[inline]
    pub(crate) fn charge(&mut self, key: Key, begin: u64, end: u64, ns: u64, estimated: bool) {
        self.spread(Entry::Charge(key, estimated), begin, end, ns as i64);
    }

    /// Part of what requests spent in a class was a client's.
    pub(crate) fn served_requests(
        &mut self,
        asker: Asker,
        class: Class,
        begin: u64,
        end: u64,
        ns: u64,
    ) {
        self.spread(Entry::ServedRequests(asker, class), begin, end, ns as i64);
    }

    /// A client's requests waited for part of what is charged.
    pub(crate) fn served_charge(
        &mut self,
        asker: Asker,
        key: Key,
        (begin, end): (u64, u64),
        ns: u64,
        estimated: bool,
    ) {
        let entry = Entry::ServedCharge(asker, key, estimated);
        self.spread(entry, begin, end, ns as i64);
    }

    /// Spreads `ns` evenly over the bins of `[begin, end]`. The parts sum to `ns` exactly, because each is a difference of running sums.
    #[inline]
    fn spread(&mut self, entry: Entry, begin: u64, end: u64, ns: i64) {
        if ns == 0 {
            return;
        }
        let begin = begin.max(self.start_ns);
        let end = end.max(begin);
        if end <= self.bin_end(begin) {
            // Nearly all: a bin is long.
            return self.add(entry, begin, ns);
        }
        let length = end - begin;
        let (mut at, mut given) = (begin, 0_i64);
        while at < end {
            let next = (self.bin_end(at)).min(end);
            let upto = (i128::from(ns) * i128::from(next - begin) / i128::from(length)) as i64;
            self.add(entry, at, upto - given);
            given = upto;
            at = next;
        }
    }

    fn bin_end(&self, ns: u64) -> u64 {
        if self.recent.has(ns) {
            return self.recent.end_ns;
        }
        self.start_ns + ((ns - self.start_ns) / self.bin_ns + 1) * self.bin_ns
    }

    fn add(&mut self, entry: Entry, at: u64, ns: i64) {
        let slot = self.slot(at);
        let mut new = 0;
        match entry {
            Entry::Threads(class) => add_ns(&mut slot.threads, class, ns),
            Entry::Requests(class) => add_ns(&mut slot.requests, class, ns),
            Entry::BehindOwn(class) => add_ns(&mut slot.behind_own, class, ns),
            Entry::Indirect(class) => add_ns(&mut slot.indirect, class, ns),
            Entry::Taking(class) => add_ns(&mut slot.taking, class, ns),
            Entry::Charge(key, estimated) => new = add_to(&mut slot.charges, key, ns, estimated),
            Entry::ServedRequests(asker, class) => {
                add_ns(
                    &mut slot.served.entry(asker).or_default().requests,
                    class,
                    ns,
                );
            }
            Entry::ServedCharge(asker, key, estimated) => {
                let part = slot.served.entry(asker).or_default();
                new = add_to(&mut part.charges, key, ns, estimated);
            }
        }
        self.charges += new;
        if new > 0 && self.charges > MOST_CHARGES && self.slots.len() >= 2 * LEAST_BINS {
            self.halve();
        }
    }

    fn slot(&mut self, at: u64) -> &mut Slot {
        if self.recent.has(at) {
            return &mut self.slots[self.recent.index];
        }
        let mut index = ((at - self.start_ns) / self.bin_ns) as usize;
        while index >= MOST_BINS {
            self.halve();
            index = ((at - self.start_ns) / self.bin_ns) as usize;
        }
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Slot::default);
        }
        let begin_ns = self.start_ns + index as u64 * self.bin_ns;
        self.recent = Recent {
            begin_ns,
            end_ns: begin_ns + self.bin_ns,
            index,
        };
        &mut self.slots[index]
    }

    fn halve(&mut self) {
        self.recent = Recent::default();
        self.bin_ns *= 2;
        let mut merged: Vec<Slot> = Vec::with_capacity(self.slots.len() / 2 + 1);
        for (index, slot) in std::mem::take(&mut self.slots).into_iter().enumerate() {
            if index % 2 == 0 {
                merged.push(slot);
            } else if let Some(last) = merged.last_mut() {
                last.absorb(slot);
            }
        }
        self.charges = merged.iter().map(Slot::charges).sum();
        self.slots = merged;
    }

    /// What is charged so far: resource, holder, ns.
    pub(crate) fn charged(&self) -> impl Iterator<Item = (Resource, Holder, u64)> {
        let all = self.slots.iter().flat_map(|slot| &slot.charges);
        all.map(|(&(resource, _, holder), &(ns, _))| (resource, holder, ns))
    }

    /// Closes the books: in every bin the charges of a resource then sum to the threads' time in it. Time resolved through another
    /// thread follows that thread's charges. The rest is charged to nobody. Returns the bins, and the length of one, ns.
    #[must_use]
    pub(crate) fn close(mut self, end_ns: u64) -> (Vec<Bin>, u64) {
        let window_ns = end_ns.saturating_sub(self.start_ns);
        while window_ns.div_ceil(self.bin_ns) > MOST_BINS as u64 {
            self.halve();
        }
        let bins = window_ns.div_ceil(self.bin_ns) as usize;
        let bins = self.slots.len().max(bins);
        let mut slots = self.slots;
        slots.resize_with(bins, Slot::default);
        (slots.into_iter().map(close_slot).collect(), self.bin_ns)
    }
}

fn add_ns(sums: &mut [i64; Class::COUNT], class: Class, ns: i64) {
    let sum = &mut sums[class.index()];
    *sum = sum.saturating_add(ns);
}

/// Returns how many charges are new.
#[inline]
fn add_to(charges: &mut Charges, key: Key, ns: i64, estimated: bool) -> usize {
    let known = charges.len();
    let sum = charges.entry(key).or_default();
    let ns = ns.max(0) as u64;
    sum.0 = sum.0.saturating_add(ns);
    sum.1 = sum.1.saturating_add(if estimated { ns } else { 0 });
    charges.len() - known
}

fn budget(signed: &[i64; Class::COUNT]) -> Budget {
    signed.map(|ns| ns.max(0) as u64)
}

fn list(charges: &Charges) -> Vec<Charge> {
    let charge = |(&(resource, place, holder), &(ns, estimated_ns)): (&Key, &(u64, u64))| Charge {
        resource,
        place,
        holder,
        ns,
        estimated_ns,
    };
    let mut charges: Vec<Charge> = charges.iter().map(charge).collect();
    // A map's order differs from run to run; a report must not.
    charges.sort_by_key(|charge| (charge.resource, charge.place, charge.holder));
    charges
}

fn close_slot(slot: Slot) -> Bin {
    let threads = budget(&slot.threads);
    let mut charges = list(&slot.charges);
    for resource in Resource::ALL {
        let class = resource.class();
        follow(
            &mut charges,
            resource,
            slot.indirect[class.index()].max(0) as u64,
        );
        let charged: u64 = charges
            .iter()
            .filter(|charge| charge.resource == resource)
            .fold(0_u64, |sum, charge| sum.saturating_add(charge.ns));
        trim(
            &mut charges,
            resource,
            charged.saturating_sub(threads[class.index()]),
        );
        let missing = threads[class.index()].saturating_sub(charged);
        if missing > 0 {
            charges.push(Charge {
                resource,
                place: None,
                holder: Holder::Nobody,
                ns: missing,
                estimated_ns: 0,
            });
        }
    }
    Bin {
        requests: budget(&slot.requests),
        behind_own: budget(&slot.behind_own),
        taking: budget(&slot.taking),
        threads,
        charges,
        served: slot.served.iter().map(close_part).collect(),
    }
}

fn close_part((asker, part): (&Asker, &Part)) -> Served {
    Served {
        asker: *asker,
        requests: budget(&part.requests),
        charges: list(&part.charges),
    }
}

/// Each charge is spread over the bins of its wait with its own rounding. In a bin, each may be a nanosecond too large. The largest
/// gives the surplus up. A larger surplus is no rounding: a response under way is no thread's time.
fn trim(charges: &mut [Charge], resource: Resource, surplus: u64) {
    let of = charges
        .iter_mut()
        .filter(|charge| charge.resource == resource);
    let mut of: Vec<&mut Charge> = of.collect();
    if surplus <= of.len() as u64
        && let Some(largest) = of.iter_mut().max_by_key(|charge| charge.ns)
    {
        largest.ns = largest.ns.saturating_sub(surplus);
        largest.estimated_ns = largest.estimated_ns.min(largest.ns);
    }
}

/// Distributes `indirect` over the charges of a resource in their proportion.
fn follow(charges: &mut [Charge], resource: Resource, indirect: u64) {
    let charged: u128 = charges
        .iter()
        .filter(|charge| charge.resource == resource)
        .map(|charge| u128::from(charge.ns))
        .sum();
    if charged == 0 || indirect == 0 {
        return;
    }
    for charge in charges
        .iter_mut()
        .filter(|charge| charge.resource == resource)
    {
        let more = (u128::from(charge.ns) * u128::from(indirect) / charged) as u64;
        charge.ns = charge.ns.saturating_add(more);
        charge.estimated_ns = charge.estimated_ns.saturating_add(more);
    }
}

#[cfg(test)]
mod tests;
