//! The verdict in one sentence.

use super::{ALSO_NAMED, Hypothesis, Verdict};
use crate::{
    class::{Cause, Resource},
    model::books::Books,
    units::share,
};

/// Says what was found. Text from outside is not escaped here.
pub fn sentence(books: &Books, verdict: &Verdict) -> String {
    let comm = books
        .targets
        .first()
        .map_or("the target", |id| books.processes[*id].comm.as_str());
    let exited = if books.end.target_exited {
        ", and it exited"
    } else {
        ""
    };
    let Some(first) = verdict.primary() else {
        return not_held_up(comm, verdict, books, exited);
    };
    let mut text = format!(
        "{comm} waits for {}: {}",
        noun(first),
        reason(books, first, verdict)
    );
    for also in verdict
        .hypotheses
        .iter()
        .skip(1)
        .filter(|hypothesis| hypothesis.share >= ALSO_NAMED)
    {
        text.push_str(&format!(
            "; it also waits for {}: {}",
            noun(also),
            reason(books, also, verdict)
        ));
    }
    text.push_str(exited);
    text.push('.');
    text
}

fn not_held_up(comm: &str, verdict: &Verdict, books: &Books, exited: &str) -> String {
    let active = books.budget(|bin| &bin.threads).iter().sum::<u64>() > 0
        && verdict.blocked_part.is_finite();
    let busy = books
        .requests
        .as_ref()
        .is_some_and(|requests| requests.count + requests.open > 0);
    let of = if verdict.of_requests {
        "request time"
    } else {
        "its active time"
    };
    if !active || (!busy && verdict.hypotheses.is_empty()) {
        return format!(
            "{comm} was idle: nothing was asked of it and no thread had to wait{exited}."
        );
    }
    format!(
        "{comm} is not held up: only {} of {of} was spent waiting{exited}.",
        share(verdict.blocked_part)
    )
}

fn noun(hypothesis: &Hypothesis) -> &'static str {
    match hypothesis.resource {
        Resource::Disk => "the disk",
        Resource::Network => "the network",
        Resource::Cpu => "the CPU",
        Resource::Memory => "memory",
        Resource::Lock => "a lock",
        Resource::Upstream => "another process's answer",
        Resource::None => "nothing",
    }
}

fn reason(books: &Books, hypothesis: &Hypothesis, verdict: &Verdict) -> String {
    let place = place(books, hypothesis);
    let blocked = if verdict.of_requests {
        "its requests' blocked time"
    } else {
        "its blocked time"
    };
    if !hypothesis.culprits.is_empty() {
        let behind: Vec<String> = hypothesis
            .culprits
            .iter()
            .map(|culprit| {
                let part = share(hypothesis.share * culprit.share);
                format!(
                    "{part} of {blocked} it stood behind {} (pid {})",
                    culprit.name, books.processes[culprit.process].pid
                )
            })
            .collect();
        return format!("{}{place}", behind.join(" and "));
    }
    let part = share(hypothesis.share);
    match hypothesis.cause {
        Some(Cause::Quota) => {
            format!("{part} of {blocked}, because its own quota stops it; nobody else is to blame")
        }
        Some(Cause::Own) => {
            format!("{part} of {blocked}{place}, which it causes itself; nobody else is to blame")
        }
        Some(Cause::PeerSlow) => format!(
            "{part} of {blocked}, because the other end takes the data slowly; nobody here is to blame"
        ),
        Some(Cause::DeviceSlow) => {
            format!("{part} of {blocked}{place}, because the device itself is slow")
        }
        Some(Cause::Steal) => {
            format!("{part} of {blocked}, because the hypervisor runs somebody else")
        }
        Some(Cause::WakeupLatency) => format!("{part} of {blocked}, although a CPU was idle"),
        Some(Cause::Journal) => format!("{part} of {blocked}{place}, for journal commits"),
        Some(Cause::Writeback) => {
            format!("{part} of {blocked}{place}, for dirty pages to be written back")
        }
        _ => format!("{part} of {blocked}{place}; no single holder stands out"),
    }
}

fn place(books: &Books, hypothesis: &Hypothesis) -> String {
    hypothesis
        .place
        .map_or_else(String::new, |place| format!(" on {}", books.places[place]))
}
