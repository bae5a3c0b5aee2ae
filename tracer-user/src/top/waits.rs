//! Who waited for whom: the rows of all victims, and the sentence of the worst.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
};

use super::{
    CALM,
    victims::{Family, Interval},
};
use crate::{
    assemble::assemble,
    class::Class,
    model::books::Budget,
    report::{
        Blame, Culprit, Hypothesis, Report,
        top::{Party, Wait},
    },
};

/// A row says something from this time on, ns: the shortest wait that is emitted.
const LEAST_NS: u64 = 1_000_000;

/// Most holders that are named where the victim is not held up.
const MOST_HOLDERS: usize = 3;

/// What an interval shows.
pub(super) struct Found {
    pub(super) sentence: String,
    /// Of the sentence; `None` if nothing is contended.
    pub(super) confidence: Option<f64>,
    pub(super) waits: Vec<Wait>,
}

/// A victim, judged.
struct Victim {
    report: Report,
    rows: Vec<Wait>,
    /// The part of its time that others cost it, 0..1. 0 if nobody is accused.
    harm: f64,
}

/// The waits of an interval in which the processes lost so much.
pub(super) fn found(interval: &Interval<'_>, lost: &BTreeMap<u32, Budget>) -> Found {
    let families = interval.victims(lost);
    let concerned = match families.is_empty() {
        true => Default::default(),
        false => interval.concerned(),
    };
    let judge = |family: &Family| Victim::new(assemble(&interval.books(family, &concerned)).0);
    let mut victims: Vec<Victim> = families.iter().map(judge).collect();
    victims.sort_by(|a, b| descending(a.harm, b.harm));
    let (sentence, confidence) = said(&victims);
    Found {
        sentence,
        confidence,
        waits: victims.into_iter().flat_map(|victim| victim.rows).collect(),
    }
}

/// The sentence, with its confidence if somebody is accused in it.
fn said(victims: &[Victim]) -> (String, Option<f64>) {
    if let Some(worst) = victims.first().filter(|worst| worst.harm > 0.0) {
        let verdict = &worst.report.verdict;
        return (verdict.sentence.clone(), Some(verdict.confidence));
    }
    // It may wait for its own disk requests, or for its own quota: that is nobody's doing.
    let held_up = victims.iter().map(|victim| &victim.report.verdict);
    let held_up = held_up.filter(|verdict| verdict.resource.is_some());
    let most = held_up.max_by(|a, b| descending(b.share, a.share));
    let sentence = match most {
        Some(verdict) => format!("{CALM}; {}", verdict.sentence),
        None => CALM.to_owned(),
    };
    (sentence, None)
}

fn descending(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

impl Victim {
    fn new(report: Report) -> Self {
        let budget = &report.threads.budget_ns;
        let active = budget.iter().filter(|(class, _)| **class != Class::Idle);
        let active_ns: u64 = active.map(|(_, ns)| *ns).sum();
        // As in a verdict: who does next to nothing is not harmed because half of that is waiting.
        let active_ns = active_ns.max(report.window.duration_ns);
        let mut rows: Vec<Wait> = report
            .hypotheses
            .iter()
            .flat_map(|found| rows(&report, found, active_ns))
            .collect();
        rows.sort_by(|a, b| b.felt.cmp(&a.felt).then(b.ns.cmp(&a.ns)));
        let accused = rows.iter().filter(|row| row.felt && row.culprit.is_some());
        Self {
            harm: accused.map(|row| row.part).sum(),
            rows,
            report,
        }
    }
}

/// The waits of a victim for one resource, by whoever held it.
fn rows(report: &Report, found: &Hypothesis, active_ns: u64) -> Vec<Wait> {
    let class_ns = report.threads.budget_ns.get(&found.resource.class());
    let class_ns = class_ns.copied().unwrap_or(0);
    let is_verdict = report.verdict.resource == Some(found.resource);
    let victim = victim(report);
    let row = |culprit: Option<Party>, ns: u64| Wait {
        victim: victim.clone(),
        felt: is_verdict,
        culprit,
        resource: found.resource,
        place: found.place.clone(),
        ns,
        part: ns as f64 / active_ns.max(1) as f64,
    };
    let accused = found.culprits.iter();
    let accused = accused.map(|culprit| {
        let ns = (culprit.share * class_ns as f64) as u64;
        (accused_party(culprit), ns)
    });
    let mut holders: Vec<(Party, u64)> = accused.collect();
    if holders.is_empty() {
        holders = held(report, found);
    }
    let named_ns: u64 = holders.iter().map(|(_, ns)| *ns).sum();
    let rest_ns = class_ns.saturating_sub(named_ns);
    let named = holders.into_iter().map(|(party, ns)| (Some(party), ns));
    let all = named.chain([(None, rest_ns)]);
    let told = all.filter(|(_, ns)| *ns >= LEAST_NS);
    told.map(|(culprit, ns)| row(culprit, ns)).collect()
}

/// Processes that held a resource although nobody is accused for it.
fn held(report: &Report, found: &Hypothesis) -> Vec<(Party, u64)> {
    let is_other = |blame: &&Blame| {
        let pid = blame.pid.filter(|pid| !report.target.pids.contains(pid));
        blame.resource == found.resource && pid.is_some()
    };
    let mut others: Vec<&Blame> = report.blame.iter().filter(is_other).collect();
    others.sort_by_key(|blame| Reverse(blame.ns));
    let party = |blame: &Blame| Party {
        pid: blame.pid.unwrap_or_default(),
        pids: blame.pid.into_iter().collect(),
        comm: blame.comm.clone(),
        ..Party::default()
    };
    let named = others.into_iter().take(MOST_HOLDERS);
    named.map(|blame| (party(blame), blame.ns)).collect()
}

fn victim(report: &Report) -> Party {
    let target = &report.target;
    Party {
        pid: target.pid,
        pids: target.pids.clone(),
        comm: target.comm.clone(),
        unit: target.unit.clone(),
        container: target.container.clone(),
        pod: target.pod.clone(),
    }
}

fn accused_party(culprit: &Culprit) -> Party {
    Party {
        pid: culprit.pid,
        pids: culprit.pids.clone(),
        comm: culprit.comm.clone(),
        unit: culprit.unit.clone(),
        container: culprit.container.clone(),
        pod: culprit.pod.clone(),
    }
}
