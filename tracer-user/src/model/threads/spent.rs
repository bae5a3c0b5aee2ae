//! The time of a thread by class.

use crate::{
    class::Class,
    model::{books::Budget, part::part_of},
};

/// Time per class, ns: what is certain, and how waits for work would count if the thread owned a request. There, `Idle` means that
/// the wait itself does not show its class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Time that needs no judgement.
    pub(crate) certain: Budget,
    /// Waits for work, by what the thread would be waiting for.
    pub(crate) tentative: Budget,
}

impl Spent {
    /// Time blocked for certain.
    #[must_use]
    pub(crate) fn blocked(&self) -> u64 {
        let blocked = Class::ALL.into_iter().filter(|class| class.is_blocked());
        blocked.map(|class| self.certain[class.index()]).sum()
    }

    /// The same of a thread that polls: it has a CPU while it waits for work, too.
    #[must_use]
    pub(crate) fn without_polling(mut self) -> Self {
        let on_cpu = std::mem::take(&mut self.certain[Class::OnCpu.index()]);
        self.tentative[Class::Idle.index()] += on_cpu;
        self
    }

    /// Adds what was done in another time.
    pub(super) fn add(&mut self, other: &Self) {
        for class in Class::ALL.map(Class::index) {
            self.certain[class] += other.certain[class];
            self.tentative[class] += other.tentative[class];
        }
    }

    /// What was done in `part` of `whole`, spread evenly. It sums to that part of the total: each class is rounded, and the sum is not.
    pub(super) fn part(&self, part: u64, whole: u64) -> Self {
        let (mut all, mut given) = (0, 0);
        let mut share = |ns: u64| {
            all += ns;
            let upto = part_of(all, part, whole);
            upto - std::mem::replace(&mut given, upto)
        };
        Self {
            certain: self.certain.map(&mut share),
            tentative: self.tentative.map(&mut share),
        }
    }

    /// Sum over all classes.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.certain.iter().sum::<u64>() + self.tentative.iter().sum::<u64>()
    }
}
