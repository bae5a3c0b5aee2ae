//! The ends of waits for work: who ended each one. Where a thread of the target did, the end is what that thread waited for meanwhile.
//!
//! A thread's time line says in which classes a wait was spent, and not behind whom. A child that asks another process owns no request,
//! so its own waits are charged to nobody. Whoever waits for the child takes its ends over, and is charged with them.

use std::{cmp::Reverse, collections::VecDeque};

use super::time_line::{KEPT, MOST};
use crate::{
    class::{Class, Resource},
    model::{
        account::{Account, Charge},
        books::{Budget, Holder, PlaceId, ProcessId},
        names::Names,
        part::part_of,
        recent,
    },
};

/// Most ends of one wait: those that took most of it.
const MOST_OF_ONE: usize = 8;

/// Most ends that are told apart in a span: a thread that many end waits of is in nobody's hands.
const MOST_APART: usize = 64;

/// Most threads of the target between a wait and its end.
const MOST_LINKS: u8 = 4;

/// Who is at the end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// A process outside the target. The class is that of the wait, if it belongs to a request.
    Stranger(Class, Holder),
    /// Whoever is at an address that the thread asked.
    Address(PlaceId),
    /// A timer: this thread of a process of the target slept for a time that it had chosen.
    Nap(ProcessId, u32),
}

impl Whom {
    /// The class of the wait; `None` if only a timer ended it.
    fn class(self) -> Option<Class> {
        match self {
            Self::Stranger(class, _) => Some(class),
            Self::Address(_) => Some(Class::Upstream),
            Self::Nap(..) => None,
        }
    }

    /// The place and the holder that are charged.
    fn charged(self) -> Option<(Resource, Option<PlaceId>, Holder)> {
        let resource = self.class()?.resource()?;
        match self {
            Self::Stranger(_, holder) => Some((resource, None, holder)),
            Self::Address(place) => Some((resource, Some(place), Holder::Peer)),
            Self::Nap(..) => None,
        }
    }
}

/// The end of a wait, or of a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    begin_ns: u64,
    end_ns: u64,
    /// How much of that time went to it, ns.
    ns: u64,
    whom: Whom,
    /// Threads of the target on the way to it.
    links: u8,
}

impl End {
    /// The whole wait in this span ended so.
    #[must_use]
    pub(super) fn new((begin_ns, end_ns): (u64, u64), whom: Whom) -> Self {
        Self::part_of((begin_ns, end_ns), end_ns.saturating_sub(begin_ns), whom)
    }

    /// So much of the wait in this span ended so, ns.
    #[must_use]
    pub(super) fn part_of((begin_ns, end_ns): (u64, u64), ns: u64, whom: Whom) -> Self {
        Self {
            begin_ns,
            end_ns,
            ns,
            whom,
            links: 0,
        }
    }

    /// Its time in a span, ns: spread evenly.
    fn part(&self, begin: u64, end: u64) -> u64 {
        let length = self.end_ns.saturating_sub(self.begin_ns).max(1);
        let common = end
            .min(self.end_ns)
            .saturating_sub(begin.max(self.begin_ns));
        match common {
            0 => 0,
            all if all == length => self.ns,
            part => part_of(self.ns, part, length),
        }
    }
}

/// The ends of a thread's waits, in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    recent: VecDeque<End>,
    /// Sums of those that are forgotten.
    past: Vec<End>,
}

impl Ends {
    /// A wait ended so, or a part of one.
    pub(super) fn add(&mut self, end: End) {
        let at = recent::partition_point(&self.recent, |other| other.end_ns <= end.end_ns);
        self.recent.insert(at, end);
    }

    /// The process outside the target that ended the last wait, and when, ns.
    pub(super) fn last_stranger(&self) -> Option<(Holder, u64)> {
        let last = self.recent.back().filter(|last| last.links == 0)?;
        match last.whom {
            Whom::Stranger(_, holder) => Some((holder, last.end_ns)),
            Whom::Address(_) | Whom::Nap(..) => None,
        }
    }

    /// Forgets the last one.
    pub(super) fn pop(&mut self) {
        self.recent.pop_back();
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len()
    }

    /// The ends in a span, with their time in it, ns.
    #[must_use]
    pub(crate) fn within(&self, begin: u64, end: u64) -> Vec<(Whom, u64)> {
        let first = recent::partition_point(&self.recent, |known| known.end_ns <= begin);
        let from = self.recent.range(first..);
        let of = from.take_while(|known| known.begin_ns < end);
        of.map(|known| (known.whom, known.part(begin, end)))
            .collect()
    }

    /// The ends in a span, each once, for a thread that waited meanwhile until this one woke it.
    #[must_use]
    pub(super) fn passed_on(&self, (begin, end): (u64, u64)) -> Vec<End> {
        let first = recent::partition_point(&self.recent, |known| known.end_ns <= begin);
        let from = self.recent.range(first..);
        let of = from.take_while(|known| known.begin_ns < end);
        let mut found: Vec<End> = Vec::new();
        let near = self.past.iter().chain(of);
        for known in near.filter(|known| known.links < MOST_LINKS) {
            let (ns, links) = (known.part(begin, end), known.links + 1);
            match found.iter().position(|other| other.whom == known.whom) {
                Some(at) => {
                    let same = &mut found[at];
                    same.ns = same.ns.saturating_add(ns);
                    same.links = same.links.max(links);
                }
                None if ns > 0 && found.len() < MOST_APART => found.push(End {
                    ns,
                    links,
                    ..End::new((begin, end), known.whom)
                }),
                None => {}
            }
        }
        found.sort_by_key(|end| Reverse(end.ns));
        found.truncate(MOST_OF_ONE);
        found
    }

    /// A process asks the thread: it woke it to ask. Forgets the last ones that were taken for its answers since `since_ns`, and returns
    /// when these waits ended, ns.
    pub(super) fn take_asked(&mut self, by: ProcessId, since_ns: u64) -> Vec<u64> {
        let asked = Whom::Stranger(Class::Upstream, Holder::Process(by));
        let mut taken = Vec::new();
        for index in (0..self.recent.len()).rev() {
            let last = self.recent[index];
            let is_direct = last.links == 0 && matches!(last.whom, Whom::Stranger(..));
            if last.begin_ns < since_ns || (is_direct && last.whom != asked) {
                break;
            }
            if is_direct {
                self.recent.remove(index);
                taken.push(last.end_ns);
            }
        }
        taken
    }

    /// Forgets what is not needed from `needed_ns` on, but for the most recent.
    pub(super) fn forget(&mut self, needed_ns: u64) {
        while self.recent.len() > KEPT
            && (self.recent[0].end_ns <= needed_ns || self.recent.len() > MOST)
            && let Some(first) = self.recent.pop_front()
        {
            let past = &mut self.past;
            match past.iter().position(|other| other.whom == first.whom) {
                Some(at) => {
                    let same = &mut past[at];
                    same.ns = same.ns.saturating_add(first.ns);
                    same.end_ns = same.end_ns.max(first.end_ns);
                    same.links = same.links.max(first.links);
                }
                None if past.len() < MOST_OF_ONE => past.push(first),
                None => {}
            }
        }
    }
}

/// Charges the ends in a span of a thread's waits to whoever is there, at most the `waited` time of each class. Returns the charged time
/// per class, ns. Only the ledger is charged: the flame graph has no waits for work.
pub(in crate::model) fn charge_ends(
    account: &mut Account,
    ends: &[(Whom, u64)],
    span: (u64, u64),
    waited: &Budget,
) -> Budget {
    let mut charged = Budget::default();
    for (whom, ns) in ends {
        let Some((resource, place, holder)) = whom.charged() else {
            continue;
        };
        let class = resource.class().index();
        let ns = (*ns).min(waited[class].saturating_sub(charged[class]));
        charged[class] += ns;
        account.charge_only(Charge {
            resource,
            place,
            holder,
            stack: 0,
            span,
            ns,
            estimated: false,
        });
    }
    charged
}

/// Notes the naps among the ends of waits of process `pid`, at most `most` ns of them. Nobody is charged with them. Returns how long they
/// were, ns.
pub(in crate::model) fn note_naps(
    account: &mut Account,
    names: &Names,
    pid: u32,
    ends: &[(Whom, u64)],
    most: u64,
) -> u64 {
    let nap = |(whom, ns): &(Whom, u64)| match whom {
        Whom::Nap(process, _) => Some((*process, *ns)),
        Whom::Stranger(..) | Whom::Address(_) => None,
    };
    let naps: Vec<(ProcessId, u64)> = ends.iter().filter_map(nap).collect();
    let all: u64 = naps.iter().map(|(_, ns)| ns).sum();
    for (id, ns) in naps {
        let process = &names.processes.all()[id];
        let part = u128::from(ns) * u128::from(most.min(all)) / u128::from(all.max(1));
        account
            .naps
            .add(&process.comm, id, process.pid == pid, part as u64);
    }
    most.min(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSYNC: Whom = Whom::Stranger(Class::Upstream, Holder::Process(7));
    const NAP: Whom = Whom::Nap(3, 30);

    fn ends(all: &[(u64, u64, Whom)]) -> Ends {
        let mut ends = Ends::default();
        for (begin, end, whom) in all {
            ends.add(End::new((*begin, *end), *whom));
        }
        ends
    }

    #[test]
    fn a_span_takes_its_share_of_the_ends_it_cuts() {
        let ends = ends(&[(0, 10, RSYNC), (12, 20, NAP)]);
        assert_eq!(ends.within(5, 16), [(RSYNC, 5), (NAP, 4)]);
        assert_eq!(ends.within(10, 12), []);
    }

    #[test]
    fn who_waits_for_a_thread_has_each_of_its_ends_once() {
        let ends = ends(&[(0, 10, RSYNC), (12, 20, NAP), (20, 90, RSYNC)]);
        let found = ends.passed_on((5, 50));
        let sums: Vec<_> = found.iter().map(|end| (end.whom, end.ns)).collect();
        assert_eq!(sums, [(RSYNC, 5 + 30), (NAP, 8)]);
        assert!(
            found
                .iter()
                .all(|end| (end.begin_ns, end.end_ns) == (5, 50))
        );
    }

    #[test]
    fn a_chain_of_threads_has_an_end() {
        let mut ends = ends(&[(0, 10, NAP)]);
        for _ in 0..MOST_LINKS {
            let mut next = Ends::default();
            ends.passed_on((0, 10))
                .into_iter()
                .for_each(|end| next.add(end));
            assert_eq!(next.len(), 1);
            ends = next;
        }
        assert_eq!(ends.passed_on((0, 10)), []);
    }

    #[test]
    fn what_is_forgotten_is_still_passed_on() {
        let mut all = Ends::default();
        for ns in 0..1000 {
            all.add(End::new((10 * ns, 10 * ns + 4), NAP));
        }
        all.forget(u64::MAX);
        assert_eq!(all.len(), KEPT);
        let [nap] = all.passed_on((0, 10_000))[..] else {
            panic!("{:?}", all.passed_on((0, 10_000)));
        };
        assert_eq!((nap.whom, nap.ns), (NAP, 4000));
    }

    fn naps(n: usize) -> Ends {
        let mut ends = Ends::default();
        (1..=n as u64).for_each(|ns| ends.add(End::new((ns - 1, ns), NAP)));
        ends
    }

    #[test]
    fn the_last_ones_are_kept_and_of_the_older_ones_those_that_are_needed() {
        let mut ends = naps(KEPT + 10);
        ends.forget(4);
        assert_eq!(ends.recent.front().unwrap().end_ns, 5);
        ends.forget(u64::MAX);
        assert_eq!(ends.len(), KEPT);
    }

    #[test]
    fn no_more_than_a_bounded_number_is_kept_although_they_are_needed() {
        let mut ends = naps(MOST + 10);
        ends.forget(0);
        assert_eq!(ends.len(), MOST);
    }

    #[test]
    fn who_asks_has_not_answered_before() {
        let other = Whom::Stranger(Class::Upstream, Holder::Process(8));
        let mut ends = ends(&[(0, 5, RSYNC), (5, 9, other), (10, 20, RSYNC), (20, 25, NAP)]);
        ends.add(End::new((30, 40), RSYNC));
        assert_eq!(ends.take_asked(7, 0), [40, 20]);
        assert_eq!(ends.take_asked(9, 0), Vec::<u64>::new());
        assert_eq!(ends.len(), 3);
    }
}
