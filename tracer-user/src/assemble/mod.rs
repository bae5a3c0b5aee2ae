//! Books and verdict become the report: the only place that knows both sides.

mod blame;
mod datagrams;
mod diff;
mod flame;
mod flights;
mod folded;
mod head_of_line;
mod interrupted;
mod latency;
mod shed;
#[cfg(test)]
mod tests;

pub use diff::{Recorded, diff};

use crate::{
    class::{Class, Resource},
    event,
    loss::Loss,
    model::books::{Books, Budget, PlaceId, ProcessId},
    report::{
        Basis, Culprit, Flame, Host, Hypothesis, Losses, MissingProbe, Remedy, Report, Requests,
        SCHEMA, SelfCost, SelfPart, Target, Threads, Unknown, Verdict, Window,
    },
    units,
    verdict::{self, Charged, judge},
};

/// The verdict in one sentence.
#[must_use]
pub fn sentence(books: &Books) -> String {
    judge(&Charged::new(books)).sentence
}

/// The report and the flame graph.
#[must_use]
pub fn assemble(books: &Books) -> (Report, Flame) {
    let charged = Charged::new(books);
    let verdict = judge(&charged);
    let books = charged.books();
    let hypotheses = verdict.finding.hypotheses.iter();
    let evidence = evidence(books, &verdict);
    let report = Report {
        schema: SCHEMA.to_owned(),
        host: host(books),
        target: target(books),
        window: Window {
            start: units::utc(books.start.wall_ns),
            duration_ns: books.window_ns(),
        },
        verdict: answer(books, &verdict),
        hypotheses: hypotheses.map(|found| hypothesis(books, found)).collect(),
        healthy: verdict.healthy.clone(),
        unknown: verdict.unknown.iter().map(unknown).collect(),
        evidence_sources: sources(books, evidence.len()),
        evidence,
        requests: requests(books),
        threads: threads(books),
        blame: blame::blame(books),
        unattributed_ns: blame::unattributed(books),
        histograms: latency::histograms(books),
        losses: losses(books),
        tracer: cost(books),
    };
    let flame = flame::flame(books, &report.target, &verdict);
    (report, flame)
}

fn host(books: &Books) -> Host {
    Host {
        kernel: books.start.kernel.clone(),
        cpus: books.start.cpus,
        hostname: books.start.hostname.clone(),
    }
}

fn target(books: &Books) -> Target {
    let first = books
        .targets
        .first()
        .map(|id| books.processes[*id].clone())
        .unwrap_or_default();
    let mut pids: Vec<u32> = books
        .processes
        .iter()
        .filter(|process| process.target)
        .map(|process| process.pid)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    let place = books.targets.first().map(|id| verdict::place(books, *id));
    let verdict::Place {
        container,
        pod,
        workload,
        cron_job,
        session,
        unit: _,
    } = place.unwrap_or_default();
    Target {
        container,
        pod,
        workload,
        cron_job,
        session,
        pid: first.pid,
        pids,
        comm: first.comm.to_string(),
        cmdline: first.cmdline.to_string(),
        threads: books.threads,
        cgroup: books.start.cgroup.clone(),
        unit: books.start.unit.clone(),
    }
}

fn answer(books: &Books, verdict: &verdict::Verdict) -> Verdict {
    let first = verdict.primary().map(|found| hypothesis(books, found));
    let basis = match verdict.finding.of_requests {
        true => Basis::Requests,
        false => Basis::Threads,
    };
    Verdict {
        resource: first.as_ref().map(|first| first.resource),
        cause: first.as_ref().and_then(|first| first.cause),
        place: first.as_ref().and_then(|first| first.place.clone()),
        basis,
        via: via(books, verdict),
        self_share: first.as_ref().map_or(0.0, |first| first.self_share),
        self_parts: first
            .as_ref()
            .map(|first| first.self_parts.clone())
            .unwrap_or_default(),
        share: first.as_ref().map_or(0.0, |first| first.share),
        culprits: first.map(|first| first.culprits).unwrap_or_default(),
        confidence: verdict.confidence,
        sentence: verdict.sentence.clone(),
        remedies: verdict.remedies.iter().map(remedy).collect(),
    }
}

/// The names of the processes on the way to the culprit.
fn via(books: &Books, verdict: &verdict::Verdict) -> Vec<String> {
    let ids = verdict.primary().map(|found| found.via.as_slice());
    let comm = |id: &ProcessId| books.processes[*id].comm.to_string();
    ids.unwrap_or_default().iter().map(comm).collect()
}

fn unknown((resource, reason): &(Resource, String)) -> Unknown {
    Unknown {
        resource: *resource,
        reason: reason.clone(),
    }
}

fn remedy(remedy: &verdict::Remedy) -> Remedy {
    Remedy {
        command: remedy.command.clone(),
        why: remedy.why.to_owned(),
        applies: remedy.applies,
        note: remedy.note.clone(),
    }
}

fn hypothesis(books: &Books, found: &verdict::Hypothesis) -> Hypothesis {
    Hypothesis {
        resource: found.resource,
        cause: found.cause,
        place: place(books, found.place),
        culprits: found
            .culprits
            .iter()
            .map(|found| culprit(books, found))
            .collect(),
        self_share: found.self_share,
        self_parts: found
            .self_parts
            .iter()
            .map(|part| self_part(books, part))
            .collect(),
        share: found.share,
    }
}

fn self_part(books: &Books, part: &verdict::SelfPart) -> SelfPart {
    let process = &books.processes[part.process];
    let client = part
        .client
        .map(|client| verdict::client_name(books, client));
    SelfPart {
        pid: process.pid,
        comm: process.comm.to_string(),
        cmdline: process.cmdline.to_string(),
        thread: part.thread.clone(),
        client,
        share: part.share,
    }
}

fn culprit(books: &Books, found: &verdict::Culprit) -> Culprit {
    let process = &books.processes[found.process];
    let verdict::Place {
        unit,
        container,
        pod,
        workload,
        cron_job,
        session,
    } = verdict::place(books, found.process);
    Culprit {
        unit,
        container,
        pod,
        workload,
        cron_job,
        session,
        pid: process.pid,
        comm: found.name.clone(),
        cmdline: process.cmdline.to_string(),
        share: found.share,
        pids: found
            .members
            .iter()
            .map(|id| books.processes[*id].pid)
            .collect(),
    }
}

fn place(books: &Books, place: Option<PlaceId>) -> Option<String> {
    place.map(|place| books.places[place].clone())
}

fn budget(budget: &Budget) -> crate::report::Budget {
    Class::ALL
        .into_iter()
        .map(|class| (class, budget[class.index()]))
        .collect()
}

fn requests(books: &Books) -> Option<Requests> {
    let found = books.requests.as_ref()?;
    Some(Requests {
        count: found.count,
        open: found.open,
        oldest_open_ns: found.oldest_open_ns,
        p50_ns: found.p50_ns,
        p99_ns: found.p99_ns,
        max_ns: found.max_ns,
        sum_ns: found.sum_ns,
        before_ns: found.before_ns,
        histogram: latency::requests(books, found),
        sent_p50_ns: found.sent_p50_ns,
        sent_p99_ns: found.sent_p99_ns,
        drain_p99_ns: found.drain_p99_ns,
        clipped: found.clipped,
        clipped_ns: found.clipped_ns,
        open_ns: found.open_ns,
        uncounted_ns: found.uncounted_ns,
        unaccounted_ns: found.unaccounted_ns,
        budget_ns: budget(&books.budget(|bin| &bin.requests)),
        behind_own_ns: budget(&books.budget(|bin| &bin.behind_own)),
    })
}

fn threads(books: &Books) -> Threads {
    Threads {
        wall_ns: books.wall_ns,
        budget_ns: budget(&books.budget(|bin| &bin.threads)),
        unaccounted_ns: books.unaccounted_ns,
        clipped: books.clipped_waits,
    }
}

/// Lines of evidence: the kernel's, failed disk requests, the file of pages that were dirty before the trace, disk requests for which no
/// thread slept, datagrams that left through full links, what open requests hang in, timers, who waits in a database, behind whom
/// requests stood, interrupts, the reasons for low confidence, then what is kept in coarser sums.
fn evidence(books: &Books, verdict: &verdict::Verdict) -> Vec<String> {
    let said = books.end.evidence.iter().cloned();
    let refused = books.failed.iter().map(|(place, times)| {
        let place = &books.places[*place];
        format!("{place} answered {times} of the target's requests with an error")
    });
    let asleep_in = books.requests.iter().flat_map(|found| &found.asleep_in);
    let asleep = asleep_in.map(|(function, count)| match count {
        1 => format!("the thread that owes the answer to 1 open request sleeps in {function}"),
        _ => {
            format!("the threads that owe the answers to {count} open requests sleep in {function}")
        }
    });
    let naps = verdict.naps.iter().cloned();
    let doubts = verdict.doubts.iter().cloned();
    let interrupted = interrupted::line(books);
    said.chain(refused)
        .chain(verdict::old_pages(books, &verdict.finding))
        .chain(flights::line(books))
        .chain(datagrams::lines(books))
        .chain(asleep)
        .chain(naps)
        .chain(verdict::waiting_sessions(books))
        .chain(head_of_line::line(books))
        .chain(interrupted)
        .chain(doubts)
        .chain(folded::line(books))
        .collect()
}

/// A probe that is missing.
pub(crate) fn missing(missing: &event::MissingProbe) -> MissingProbe {
    MissingProbe {
        probe: missing.probe.clone(),
        cost: missing.cost.clone(),
    }
}

/// The source of each of so many lines. Those that the end brought come first; the others are of the books. An old recording names none.
fn sources(books: &Books, lines: usize) -> Vec<Option<String>> {
    let brought = books.sources.iter().take(books.end.evidence.len());
    let mut sources: Vec<Option<String>> = brought.cloned().collect();
    sources.resize(lines, None);
    sources
}

fn losses(books: &Books) -> Losses {
    let unrecorded = (Loss::UNRECORDED.to_owned(), books.end.recording_drops);
    let ring = books.end.ring_drops.iter().cloned();
    let ring = ring.chain((unrecorded.1 > 0).then_some(unrecorded));
    Losses {
        sent: books.end.sent,
        received: books.end.received,
        ring: ring.collect(),
        maps: books.end.map_losses.iter().cloned().collect(),
        unreadable_stacks: books.unreadable_stacks,
        missing_probes: books.start.missing.iter().map(missing).collect(),
        shed: shed::shed(books),
        ..Losses::default()
    }
}

fn cost(books: &Books) -> SelfCost {
    let kernel_ns = books.end.kernel_ns.unwrap_or(0);
    let ran_ns = books.end.cpu_ns.saturating_add(kernel_ns);
    let lived_ns = books.start.attach_ns.saturating_add(books.window_ns());
    let cpus = u64::from(books.start.cpus.max(1));
    SelfCost {
        machine_share: ran_ns as f64 / lived_ns.saturating_mul(cpus).max(1) as f64,
        version: books.start.version.clone(),
        attach_ns: books.start.attach_ns,
        cpu_ns: books.end.cpu_ns,
        rss_bytes: books.end.rss_bytes,
        maps_bytes: books.end.maps_bytes,
        kernel_ns: books.end.kernel_ns,
        waited_for_ns: books.tracer.map(|_| blame::behind_tracer(books)),
    }
}
