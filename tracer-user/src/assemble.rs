//! Books and verdict become the report: the only place that knows both sides.

use std::collections::BTreeMap;

use tracer_common::histogram::{BOUNDS, Family, OFFSET, SCHEMA, ZERO_THRESHOLD_NS};

use crate::{
    class::{Class, Resource},
    event,
    model::books::{Books, Budget, Held, Holder, PlaceId, ProcessId},
    report::{
        Basis, Blame, Culprit, Flame, FlameStack, Histogram, Host, Hypothesis, Losses,
        MissingProbe, Remedy, Report, Requests, SCHEMA as REPORT, SelfCost, Target, Threads,
        Unknown, Verdict, Window,
    },
    units,
    verdict::{self, judge},
};

/// The verdict in one sentence.
#[must_use]
pub fn sentence(books: &Books) -> String {
    judge(books).sentence
}

/// The report and the flame graph.
#[must_use]
pub fn assemble(books: &Books) -> (Report, Flame) {
    let verdict = judge(books);
    let report = Report {
        schema: REPORT.to_owned(),
        host: Host {
            kernel: books.start.kernel.clone(),
            cpus: books.start.cpus,
            hostname: books.start.hostname.clone(),
        },
        target: target(books),
        window: Window {
            start: units::utc(books.start.wall_ns),
            duration_ns: books.window_ns(),
        },
        hypotheses: verdict
            .hypotheses
            .iter()
            .map(|found| hypothesis(books, found))
            .collect(),
        healthy: verdict.healthy.clone(),
        unknown: verdict
            .unknown
            .iter()
            .map(|(resource, reason)| Unknown {
                resource: *resource,
                reason: reason.clone(),
            })
            .collect(),
        evidence: books.end.evidence.clone(),
        requests: requests(books),
        threads: threads(books),
        blame: blame(books),
        unattributed_ns: unattributed(books),
        histograms: histograms(books),
        losses: losses(books),
        tracer: cost(books),
        verdict: answer(books, &verdict),
    };
    let flame = flame(books, &report);
    (report, flame)
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
    Target {
        pid: first.pid,
        pids,
        comm: first.comm,
        cmdline: first.cmdline,
        threads: books.threads,
        cgroup: books.start.cgroup.clone(),
        unit: books.start.unit.clone(),
    }
}

fn answer(books: &Books, verdict: &verdict::Verdict) -> Verdict {
    let first = verdict.primary().map(|found| hypothesis(books, found));
    Verdict {
        resource: first
            .as_ref()
            .map_or(Resource::None, |found| found.resource),
        cause: first.as_ref().and_then(|found| found.cause),
        place: first.as_ref().and_then(|found| found.place.clone()),
        basis: if verdict.of_requests {
            Basis::Requests
        } else {
            Basis::Threads
        },
        via: Vec::new(),
        culprits: first
            .as_ref()
            .map(|found| found.culprits.clone())
            .unwrap_or_default(),
        self_share: first.as_ref().map_or(0.0, |found| found.self_share),
        share: first.as_ref().map_or(0.0, |found| found.share),
        confidence: verdict.confidence,
        sentence: verdict.sentence.clone(),
        remedies: verdict.remedies.iter().map(remedy).collect(),
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
        share: found.share,
    }
}

fn culprit(books: &Books, found: &verdict::Culprit) -> Culprit {
    let process = &books.processes[found.process];
    Culprit {
        pid: process.pid,
        comm: found.name.clone(),
        cmdline: process.cmdline.clone(),
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
        drain_p99_ns: found.drain_p99_ns,
        clipped: found.clipped,
        budget_ns: budget(&books.budget(|bin| &bin.requests)),
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

/// Sums the charges over the window; on CPUs the place is dropped from the totals of what was held, which are per process.
fn blame(books: &Books) -> Vec<Blame> {
    let mut sums: BTreeMap<(Resource, Option<PlaceId>, Holder), (u64, u64)> = BTreeMap::new();
    for charge in books
        .bins
        .iter()
        .flat_map(|bin| &bin.charges)
        .filter(|charge| charge.holder != Holder::Nobody)
    {
        let sum = sums
            .entry((charge.resource, charge.place, charge.holder))
            .or_default();
        sum.0 += charge.ns;
        sum.1 += charge.estimated_ns;
    }
    let mut rows: Vec<Blame> = sums
        .into_iter()
        .filter(|(_, (ns, _))| *ns > 0)
        .map(|(key, sums)| row(books, key, sums))
        .collect();
    rows.sort_by(|a, b| {
        b.ns.cmp(&a.ns)
            .then(a.pid.cmp(&b.pid))
            .then(a.place.cmp(&b.place))
    });
    rows
}

fn row(
    books: &Books,
    key: (Resource, Option<PlaceId>, Holder),
    (ns, estimated_ns): (u64, u64),
) -> Blame {
    let (resource, at, holder) = key;
    let held: Option<&Held> = books.held.get(&key);
    let pid = match holder {
        Holder::Process(id) => Some(books.processes[id].pid),
        Holder::Own | Holder::OwnLock | Holder::OwnQuota => {
            books.targets.first().map(|id| books.processes[*id].pid)
        }
        _ => None,
    };
    Blame {
        resource,
        place: place(books, at),
        pid,
        comm: holder_name(books, holder),
        ns,
        ios: held.map(|held| held.ios),
        bytes: held.map(|held| held.bytes),
        estimated: 2 * estimated_ns > ns,
    }
}

fn holder_name(books: &Books, holder: Holder) -> String {
    match holder {
        Holder::Process(id) => books.processes[id].comm.clone(),
        Holder::Own => "itself".to_owned(),
        Holder::OwnQuota => "its own quota".to_owned(),
        Holder::OwnLock => "its own lock".to_owned(),
        Holder::SlowDevice => "the device".to_owned(),
        Holder::Peer => "the peer".to_owned(),
        Holder::IdleCpu => "idle CPU".to_owned(),
        Holder::Hypervisor => "the hypervisor".to_owned(),
        Holder::Nobody => "unattributed".to_owned(),
    }
}

fn unattributed(books: &Books) -> BTreeMap<Resource, u64> {
    let mut sums = BTreeMap::new();
    for charge in books
        .bins
        .iter()
        .flat_map(|bin| &bin.charges)
        .filter(|charge| charge.holder == Holder::Nobody)
    {
        *sums.entry(charge.resource).or_default() += charge.ns;
    }
    sums
}

/// The target's histograms first, then the others' by time waited.
fn histograms(books: &Books) -> Vec<Histogram> {
    let mut all: Vec<&(ProcessId, event::Histogram)> = books
        .histograms
        .iter()
        .filter(|(_, found)| found.count > 0)
        .collect();
    all.sort_by_key(|(id, found)| {
        (
            !books.processes[*id].target,
            std::cmp::Reverse(found.sum_ns),
            found.pid,
            found.family,
        )
    });
    all.into_iter()
        .map(|(id, found)| histogram(&books.processes[*id].comm, found))
        .collect()
}

fn histogram(comm: &str, found: &event::Histogram) -> Histogram {
    let family = Family::ALL
        .get(found.family as usize)
        .map_or("unknown", |(_, name)| name);
    Histogram {
        pid: found.pid,
        comm: comm.to_owned(),
        family: family.to_owned(),
        schema: SCHEMA,
        zero_count: found.zero_count,
        zero_threshold_ns: ZERO_THRESHOLD_NS,
        offset: OFFSET + found.first as i32,
        counts: found
            .buckets
            .iter()
            .map(|count| u64::from(*count))
            .collect(),
        count: found.count,
        sum_ns: found.sum_ns,
        p50_ns: quantile(found, 0.50),
        p90_ns: quantile(found, 0.90),
        p99_ns: quantile(found, 0.99),
        max_ns: (found.count > 0).then_some(found.max_ns),
    }
}

/// The middle (geometric) of the bucket that holds the quantile: off by at most 4.4 %.
fn quantile(found: &event::Histogram, part: f64) -> Option<u64> {
    let total = found.zero_count
        + found
            .buckets
            .iter()
            .map(|count| u64::from(*count))
            .sum::<u64>();
    let wanted = (part * total as f64).ceil().max(1.0) as u64;
    let mut seen = found.zero_count;
    if total == 0 {
        return None;
    }
    if seen >= wanted {
        return Some(ZERO_THRESHOLD_NS.min(found.max_ns));
    }
    for (i, count) in found.buckets.iter().enumerate() {
        seen += u64::from(*count);
        if seen >= wanted {
            let upper = BOUNDS[(found.first as usize + i).min(BOUNDS.len() - 1)] as f64;
            // Half an eighth of an octave below the upper bound.
            return Some(((upper * 2_f64.powf(-1.0 / 16.0)) as u64).min(found.max_ns));
        }
    }
    Some(found.max_ns)
}

fn losses(books: &Books) -> Losses {
    let missing = |missing: &event::MissingProbe| MissingProbe {
        probe: missing.probe.clone(),
        cost: missing.cost.clone(),
    };
    Losses {
        ring: books.end.ring_drops.iter().cloned().collect(),
        maps: books.end.map_losses.iter().cloned().collect(),
        unreadable_stacks: books.unreadable_stacks,
        missing_probes: books.start.missing.iter().map(missing).collect(),
        truncated: false,
    }
}

fn cost(books: &Books) -> SelfCost {
    SelfCost {
        version: books.start.version.clone(),
        attach_ns: books.start.attach_ns,
        cpu_ns: books.end.cpu_ns,
        rss_bytes: books.end.rss_bytes,
        maps_bytes: books.end.maps_bytes,
        kernel_ns: books.end.kernel_ns,
    }
}

fn flame(books: &Books, report: &Report) -> Flame {
    let target = format!("{} [{}]", report.target.comm, report.target.pid);
    let mut stacks: Vec<FlameStack> = Vec::new();
    for line in &books.flame {
        let holder = match line.holder {
            Holder::Process(id) => {
                format!("{} [{}]", books.processes[id].comm, books.processes[id].pid)
            }
            other => holder_name(books, other),
        };
        let mut frames = vec![target.clone(), line.class.name().to_owned()];
        frames.extend(place(books, line.place));
        frames.push(holder);
        frames.extend(line.stack.iter().cloned());
        match stacks.iter_mut().find(|known| known.frames == frames) {
            Some(known) => known.ns += line.ns,
            None => stacks.push(FlameStack {
                frames,
                ns: line.ns,
            }),
        }
    }
    let blocked: u64 = stacks.iter().map(|stack| stack.ns).sum();
    let title = format!(
        "{} (pid {}): {} blocked in {}",
        report.target.comm,
        report.target.pid,
        units::time(blocked),
        units::time(report.window.duration_ns)
    );
    Flame { title, stacks }
}
