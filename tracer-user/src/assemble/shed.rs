//! Probes that were shed, in words.

use crate::{
    model::books::{Books, ProbeGroup},
    report::Shed,
};

/// What was shed, and why that changes no answer.
pub(super) fn shed(books: &Books) -> Vec<Shed> {
    let all = books.shed.values().map(|shed| {
        let (probes, why) = words(shed.group);
        Shed {
            probes: probes.to_owned(),
            after_ns: shed.since_ns.saturating_sub(books.start.ns),
            for_ns: shed.for_ns,
            why: why.to_owned(),
            unattributed_ns: match shed.group {
                ProbeGroup::Interrupts => books.unwatched_ns,
            },
        }
    });
    all.collect()
}

/// What the probes of a group see, and why they need not be watched all the time.
fn words(group: ProbeGroup) -> (&'static str, &'static str) {
    match group {
        ProbeGroup::Interrupts => (
            "interrupts and softirqs",
            "the target hardly queued for a CPU meanwhile, so that they held up little; their share of its own time is that of the rest",
        ),
    }
}
