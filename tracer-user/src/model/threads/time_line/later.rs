//! What is learnt later of steps that are remembered: what a wait for work was for, or that it was another class.

use super::{Did, Step, TimeLine};
use crate::{
    class::Class,
    model::{books::Budget, recent},
};

impl TimeLine {
    /// The wait for work that ended at `ns`, if it is not forgotten, has no explanation.
    pub(crate) fn was_not_answered(&mut self, ns: u64) {
        let at = recent::partition_point(&self.steps, |step| step.ns < ns);
        let Some(step) = self.steps.get_mut(at).filter(|step| step.ns == ns) else {
            return;
        };
        let Did::Waiting(explained) = &step.did else {
            return;
        };
        let length: u64 = explained.iter().sum();
        for (sum, ns) in self.spent.tentative.iter_mut().zip(**explained) {
            *sum -= ns;
        }
        self.spent.tentative[Class::Idle.index()] += length;
        step.did = Did::Idle;
    }

    /// The wait for work from `begin` to `end` had no explanation; now it is known what the thread would be waiting for. `tentative`
    /// sums to the length of the wait.
    pub(crate) fn explain(&mut self, (begin, end): (u64, u64), tentative: &Budget) {
        let at = recent::partition_point(&self.steps, |step| step.ns < end);
        let step_begin = self.begin_of(at);
        let Some(step) = self.steps.get_mut(at) else {
            return;
        };
        if (step_begin, step.ns) != (begin, end) || !matches!(step.did, Did::Idle) {
            return;
        }
        self.spent.tentative[Class::Idle.index()] -= end - begin;
        for (sum, ns) in self.spent.tentative.iter_mut().zip(*tentative) {
            *sum += ns;
        }
        step.did = Did::Waiting(Box::new(*tentative));
    }

    /// The step that ended at `ns`, if it is not forgotten, was of another class than it had seemed. Returns whether it had seemed so.
    pub(crate) fn becomes(&mut self, (seemed, class): (Class, Class), ns: u64) -> bool {
        let at = recent::partition_point(&self.steps, |step| step.ns < ns);
        let begin = self.begin_of(at);
        let Some(step) = self.steps.get_mut(at).filter(|step| step.ns == ns) else {
            return false;
        };
        if !matches!(step.did, Did::Certain(was) if was == seemed) {
            return false;
        }
        step.did = Did::Certain(class);
        self.spent.certain[seemed.index()] -= ns - begin;
        self.spent.certain[class.index()] += ns - begin;
        true
    }

    /// The waits for work in an interval that nothing explains, as far as they did not begin before `since`.
    pub(crate) fn idle(&self, (begin, end): (u64, u64), since: u64) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        let first = recent::partition_point(&self.steps, |step| step.ns <= begin);
        let mut from = self.begin_of(first);
        for step in self.steps.range(first..) {
            let to = step.ns;
            if to > end {
                break;
            }
            if from >= since && matches!(step.did, Did::Idle) {
                found.push((from, to));
            }
            from = to;
        }
        found
    }

    /// Such waits were waits of a class. Returns them.
    pub(crate) fn expect(&mut self, class: Class, span: (u64, u64), since: u64) -> Vec<(u64, u64)> {
        let found = self.idle(span, since);
        for (from, to) in &found {
            let mut explained = Budget::default();
            explained[class.index()] = to - from;
            self.explain((*from, *to), &explained);
        }
        found
    }

    /// The idle parts of an interval become time of a class. Returns them.
    pub(crate) fn amend(&mut self, class: Class, begin: u64, end: u64) -> Vec<(u64, u64)> {
        let mut amended = Vec::new();
        let mut index = recent::partition_point(&self.steps, |step| step.ns <= begin);
        while let Some(step) = self.steps.get(index) {
            let step_begin = self.begin_of(index);
            let (from, to, ends) = (step_begin.max(begin), step.ns.min(end), step.ns);
            if step_begin >= end {
                break;
            }
            if !matches!(step.did, Did::Idle) || from >= to {
                index += 1;
                continue;
            }
            let did = Did::Certain(class);
            self.steps[index] = Step { ns: to, did };
            if to < ends {
                let did = Did::Idle;
                self.steps.insert(index + 1, Step { ns: ends, did });
            }
            if from > step_begin {
                let did = Did::Idle;
                self.steps.insert(index, Step { ns: from, did });
                index += 1;
            }
            self.spent.tentative[Class::Idle.index()] -= to - from;
            self.spent.certain[class.index()] += to - from;
            amended.push((from, to));
            index += 1;
        }
        amended
    }
}
