//! The time of a thread by class.

use crate::{class::Class, model::books::Budget};

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

    /// Sum over all classes.
    #[must_use]
    pub(crate) fn total(&self) -> u64 {
        self.certain.iter().sum::<u64>() + self.tentative.iter().sum::<u64>()
    }
}
