//! Sleeps for something that has no class: in which function of the kernel, and who ended them.

use std::collections::BTreeMap;

use super::books::EndedBy;

/// Kinds of sleeps that are kept. A target that is woken by more processes than these has no single waker that is worth a word.
const MOST: usize = 1024;

/// Time slept, by the stack and by who ended the sleep, ns.
#[derive(Clone, Debug, Default)]
pub(super) struct Unknown {
    sleeps: BTreeMap<(u64, EndedBy), u64>,
}

impl Unknown {
    /// A thread slept for something that has no class, or a part of a sleep was for such a thing.
    pub(super) fn slept(&mut self, stack: u64, ended_by: EndedBy, ns: u64) {
        let key = (stack, ended_by);
        if ns > 0 && (self.sleeps.len() < MOST || self.sleeps.contains_key(&key)) {
            let sum = self.sleeps.entry(key).or_default();
            *sum = sum.saturating_add(ns);
        }
    }

    /// All of them, in order; none is left.
    pub(super) fn take(&mut self) -> BTreeMap<(u64, EndedBy), u64> {
        std::mem::take(&mut self.sleeps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleeps_of_a_kind_add_up_and_their_kinds_are_bounded() {
        let mut unknown = Unknown::default();
        for stack in 0..2 * MOST as u64 {
            unknown.slept(stack, EndedBy::NoTask, 1);
        }
        unknown.slept(7, EndedBy::NoTask, 4);
        unknown.slept(8, EndedBy::Nothing, 0);
        let all = unknown.take();
        assert_eq!((all.len(), all[&(7, EndedBy::NoTask)]), (MOST, 5));
        assert!(unknown.take().is_empty());
    }
}
