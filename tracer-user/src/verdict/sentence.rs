//! The verdict in one sentence of plain English.

use super::{
    Finding, Hypothesis,
    acquittal::acquittal,
    constants::{
        ALSO_NAMED, CULPRIT_PART, MOSTLY, NOT_HELD_UP, PLACE_PART, SHORT_WINDOW_BINS, TRACER_SAID,
    },
    decision::ratio,
    earlier::write_back,
    health::{Health, says_shared},
    naps,
    operator::named,
    own as own_parts,
    resources::words,
    sessions::who_may_hold,
    slowness::{requests, since},
    stops::is_stopped,
    unknown::unknown,
};
use crate::{
    class::{Cause, Resource},
    model::books::{Books, OwnerWait, ProcessId},
    standing::Standing,
    units::{share, time},
};

/// Says what was found. Text from outside is not escaped here.
pub(super) fn sentence(books: &Books, finding: &Finding, health: &Health) -> String {
    let comm = target(books);
    let mut text = match finding.primary() {
        Some(first) => held_up(books, finding, health, first),
        None if finding.active => not_held_up(books, finding, health),
        None => format!("{comm} was idle: no requests, and no thread ran"),
    };
    text.push_str(&tracer(finding));
    text.push_str(&requests(books, finding));
    if books.bins.len() < SHORT_WINDOW_BINS && finding.active {
        text.push_str(&format!(" (seen for {} only)", time(books.window_ns())));
    }
    if books.end.target_exited {
        text.push_str(", and it exited");
    }
    text.push('.');
    text
}

fn target(books: &Books) -> &str {
    let first = books.targets.first();
    first.map_or("the target", |id| books.processes[*id].comm.as_str())
}

/// What is taken out, where that is worth a word: "; the tracer itself took 13.0 ms more, which is not counted".
fn tracer(finding: &Finding) -> String {
    let of_all = ratio(
        finding.behind_tracer_ns,
        finding.behind_tracer_ns + finding.blocked_ns,
    );
    match of_all >= TRACER_SAID {
        true => format!(
            "; it also waited {} behind the tracer itself, which is not counted",
            time(finding.behind_tracer_ns as u64)
        ),
        false => String::new(),
    }
}

fn held_up(books: &Books, finding: &Finding, health: &Health, first: &Hypothesis) -> String {
    let said = |found: &Hypothesis, also: &str, since: &str| {
        if found.resource == Resource::Stopped {
            return is_stopped(books, finding, found, also);
        }
        let (noun, via) = (words(found.resource).noun, via(books, found));
        let reason = reason(books, finding, health, found);
        format!("{also}waits for {noun}{via}{since}: {reason}")
    };
    let since = since(books, finding);
    let mut text = format!("{} {}", target(books), said(first, "", &since));
    let others = finding.hypotheses.iter().skip(1);
    for found in others.filter(|hypothesis| hypothesis.share >= ALSO_NAMED) {
        text.push_str(&format!("; it {}", said(found, "also ", "")));
    }
    if let Some(naps) = naps::beside(books, finding) {
        text.push_str(&format!("; it {naps} of {}", blocked_time(finding)));
    }
    text
}

fn not_held_up(books: &Books, finding: &Finding, health: &Health) -> String {
    let comm = target(books);
    let of = if finding.of_requests {
        "request time"
    } else {
        "its active time"
    };
    let blocked = share(finding.blocked_part);
    let shared = |resource| resource == Resource::Cpu && health.shared_core.is_some();
    let mut text = if finding.blocked_part < NOT_HELD_UP {
        format!("{comm} is not held up: {blocked} of {of} blocked")
    } else if let Some(lost) = &finding.unfelt {
        let mostly = finding
            .hypotheses
            .first()
            .filter(|first| first.share >= MOSTLY);
        let what = mostly.map(|first| format!(" (mostly for {})", words(first.resource).noun));
        let what = what.unwrap_or_default();
        format!(
            "{comm} is not held up: {blocked} of {of} blocked{what}, which is {lost} and hardly felt"
        )
    } else if let Some(naps) = naps::instead(books, finding) {
        format!("{comm} {naps} of {of}")
    } else {
        let unknown = unknown(books);
        format!(
            "{comm} waits, but not for a resource that is known: {blocked} of {of} blocked{unknown}"
        )
    };
    let blind: Vec<&str> = health
        .blind
        .iter()
        .filter(|(blind, _)| !shared(*blind))
        .map(|(blind, _)| blind.name())
        .collect();
    if !blind.is_empty() {
        let blind = list(&blind, "and");
        text.push_str(&format!(", but waits for the {blind} cannot be seen here"));
    }
    if let Some(part) = health.shared_core {
        text.push_str(&format!(", but {}", says_shared(part)));
    }
    text
}

/// The processes on the way: " through backend (pid 7)".
fn via(books: &Books, found: &Hypothesis) -> String {
    if found.via.is_empty() {
        return String::new();
    }
    let named = found.via.iter().map(|id| {
        let process = &books.processes[*id];
        format!("{} (pid {})", process.comm, process.pid)
    });
    let (link, named) = (words(found.resource).link, named.collect::<Vec<_>>());
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    format!("{link}{}", list(&named, "and"))
}

/// The time of which the sentence tells parts.
fn blocked_time(finding: &Finding) -> &'static str {
    match finding.of_requests {
        true => "its requests' blocked time",
        false => "its blocked time",
    }
}

/// The holders of it: "93 % of its blocked time it stood behind tar (pid 4711) on sda".
fn reason(books: &Books, finding: &Finding, health: &Health, found: &Hypothesis) -> String {
    let (blocked, place) = (blocked_time(finding), place(books, found));
    if found.culprits.is_empty() {
        let part = match found.cause {
            Some(_) => found.share * found.cause_part,
            None => found.share,
        };
        let mostly = own_parts::mostly(books, found).filter(|_| found.via.is_empty());
        let place = match mostly.filter(|_| found.cause == Some(Cause::Own)) {
            Some(mostly) => format!("{place}, {mostly}"),
            None => format!("{place}{}", own_holder(books, found)),
        };
        let part = format!("{} of {blocked}", share(part));
        let innocence = acquittal(finding, health, found);
        let beside = (clients(books, found), earlier(books, found), innocence);
        return nobody(found, &part, &place, &beside);
    }
    if found.culprits.iter().all(|culprit| culprit.by_limit) {
        return used_up(books, found, blocked);
    }
    let limit = format!(
        ", which used up its group's {}",
        words(found.resource).limit
    );
    let mut behind: Vec<(f64, String)> = found
        .culprits
        .iter()
        .map(|culprit| {
            let standing = books.standings.get(&culprit.process);
            let mark = match found.resource {
                _ if culprit.through => format!(", for whom {} works", target(books)),
                _ if culprit.by_limit => limit.clone(),
                Resource::Cpu if standing.is_some_and(Standing::is_real_time) => {
                    ", real-time".to_owned()
                }
                _ => String::new(),
            };
            (culprit.share, named(books, culprit, &mark))
        })
        .collect();
    if found.self_share >= CULPRIT_PART {
        behind.push((
            found.self_share,
            format!("{} own {}", whose(found), own(found)),
        ));
    }
    if let Some((asker, part)) = found.asker.filter(|(_, part)| *part >= CULPRIT_PART) {
        behind.push((part, asks(books, asker)));
    }
    if let Some((source, part)) = found.interrupt.filter(|(_, part)| *part >= CULPRIT_PART) {
        behind.push((part, source.to_string()));
    }
    if found.earlier_share >= CULPRIT_PART {
        behind.push((found.earlier_share, write_back(books, found)));
    }
    behind.sort_by(|a, b| b.0.total_cmp(&a.0));
    let first = share(found.share * behind[0].0);
    let mut said = vec![format!(
        "{first} of {blocked} it stood behind {}",
        behind[0].1
    )];
    for (part, who) in &behind[1..] {
        said.push(format!("{} behind {who}", share(found.share * part)));
    }
    let said: Vec<&str> = said.iter().map(String::as_str).collect();
    let (said, owner) = (list(&said, "and"), owner_wait(books, found));
    format!("{said}{place}{}{owner}", mechanism(found))
}

/// What the owner of a lock waits for itself: ", which waits for the disk behind tar (pid 4711)".
fn owner_wait(books: &Books, found: &Hypothesis) -> String {
    let Some(first) = found
        .culprits
        .first()
        .filter(|_| found.resource == Resource::Lock)
    else {
        return String::new();
    };
    let of_first = |wait: &&OwnerWait| first.members.contains(&wait.owner);
    let Some(wait) = books.owner_waits.iter().find(of_first) else {
        return String::new();
    };
    let behind = wait.behind.map(|id| &books.processes[id]);
    let behind = behind.map(|process| format!(" behind {} (pid {})", process.comm, process.pid));
    let subject = match found.culprits.len() {
        1 => "which".to_owned(),
        _ => format!("and {}", first.name),
    };
    let noun = words(wait.resource).noun;
    format!(", {subject} waits for {noun}{}", behind.unwrap_or_default())
}

/// A limit of the target's group that others have used up: "its group's CPU limit, used up by gzip (pid 7) in the same group, stops
/// it for 80 % of its blocked time".
fn used_up(books: &Books, found: &Hypothesis, blocked: &str) -> String {
    let culprits = found.culprits.iter();
    let named: Vec<String> = culprits.map(|culprit| named(books, culprit, "")).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let others: f64 = found.culprits.iter().map(|culprit| culprit.share).sum();
    let mut text = format!(
        "its group's {}, used up by {} in the same group, stops it for {} of {blocked}",
        words(found.resource).limit,
        list(&named, "and"),
        share(found.share * (others + found.quota_share)),
    );
    if found.quota_share >= CULPRIT_PART {
        let own = share(found.share * found.quota_share);
        text.push_str(&format!(", {own} by its own use"));
    }
    text
}

/// How the wait came about, where that covers more of it than the culprits do.
fn mechanism(found: &Hypothesis) -> &'static str {
    match found.cause {
        Some(Cause::Writeback) => ", while dirty pages were written back",
        Some(Cause::Journal) => ", in journal commits",
        Some(Cause::CacheEviction) => ", for pages that had been evicted from the cache",
        Some(Cause::Loss) => ", because packets were lost",
        Some(Cause::DirectReclaim) => ", which filled the memory that it has to reclaim itself",
        Some(Cause::Compaction) => ", which filled the memory that had to be compacted",
        Some(Cause::SwapIn) => ", for memory that had been swapped out",
        _ => "",
    }
}

/// The reason where no process outside the target is to blame. `part` is how much of which time ("93 % of its blocked time").
fn nobody(
    found: &Hypothesis,
    part: &str,
    place: &str,
    (clients, earlier, innocence): &(String, String, String),
) -> String {
    match found.cause {
        Some(Cause::Quota) => {
            let quota = words(found.resource).quota;
            format!("its own {quota} stops it for {part}{innocence}")
        }
        Some(Cause::Limit) => {
            format!("its own memory limit evicts what it needs, for {part}{innocence}")
        }
        Some(Cause::Own) => format!(
            "{part} it stood behind {} own {}{clients}{place}{earlier}{innocence}",
            whose(found),
            own(found),
        ),
        Some(Cause::Clients) => format!("{part} it stood behind{clients}{place}{innocence}"),
        Some(Cause::PeerSlow) => {
            format!("{part} the other end or the path to it was slow{innocence}")
        }
        Some(Cause::DeviceSlow) => format!("{part} the device itself was slow{place}"),
        Some(Cause::DeviceError) => format!("{part} the device answered with errors{place}"),
        Some(Cause::WakeupLatency) => format!("{part} it was late although a CPU was idle"),
        Some(Cause::Steal) => format!("{part} the hypervisor ran somebody else"),
        Some(Cause::Irq) => {
            let mostly = match found.interrupt {
                Some((source, _)) => format!(", mostly {source}"),
                None => String::new(),
            };
            format!("{part} interrupts ran instead{place}{mostly}")
        }
        Some(Cause::Writeback) => {
            format!("{part} dirty pages were written back{place}{earlier}")
        }
        Some(Cause::Journal) => {
            format!("{part} went into journal commits{place}{earlier}")
        }
        Some(Cause::CacheEviction) => format!("{part} for pages evicted from the cache{place}"),
        Some(Cause::Loss) => format!("{part} packets were lost{place}"),
        Some(Cause::DirectReclaim) => format!("{part} it had to reclaim pages itself"),
        Some(Cause::Compaction) => format!("{part} memory was compacted"),
        Some(Cause::SwapIn) => format!("{part} memory that had been swapped out was read back"),
        Some(Cause::Thrashing) => format!("{part} pages just evicted were read again"),
        // Of a stop, which has a clause of its own.
        Some(Cause::StopSignal | Cause::JobControl | Cause::Traced | Cause::Frozen) => {
            format!("{part} it was stopped{place}")
        }
        Some(Cause::Contention | Cause::LockHolder) => {
            format!("{part} it stood behind many{place}; no single process stands out")
        }
        None if found.resource == Resource::Upstream => format!("{part}{place}"),
        None => format!("{part}{place}; no process was seen holding it"),
    }
}

/// The part of the wait for pages that were dirtied before the trace.
fn earlier(books: &Books, found: &Hypothesis) -> String {
    if found.earlier_share < CULPRIT_PART {
        return String::new();
    }
    let part = share(found.share * found.earlier_share);
    format!("; {part} behind {}", write_back(books, found))
}

/// The thread that has most of the target's own locks, if it was seen with them; else the process that may have them.
fn own_holder(books: &Books, found: &Hypothesis) -> String {
    let seen = books.lock_owner.filter(|_| found.via.is_empty());
    match seen.filter(|_| (found.resource, found.cause) == (Resource::Lock, Some(Cause::Own))) {
        Some(tid) => format!(", mostly of thread {tid}"),
        None => who_may_hold(books, found),
    }
}

/// The clients that had it because they ask: alone the cause, or beside the target's own.
fn clients(books: &Books, found: &Hypothesis) -> String {
    let asker = found.asker.filter(|(_, part)| *part >= CULPRIT_PART);
    match (asker, found.cause) {
        (Some((asker, _)), Some(Cause::Clients)) => format!(" {}", asks(books, asker)),
        (Some((asker, part)), _) => {
            let part = share(found.share * part);
            format!(" and {part} behind {}", asks(books, asker))
        }
        (None, _) => String::new(),
    }
}

/// "its own clients (python3, pid 7)"
fn asks(books: &Books, asker: ProcessId) -> String {
    let process = &books.processes[asker];
    format!("its own clients ({}, pid {})", process.comm, process.pid)
}

/// The owner of what it stood behind: the target, or the process that it asked.
fn whose(found: &Hypothesis) -> &'static str {
    if found.via.is_empty() {
        "its"
    } else {
        "that process's"
    }
}

/// The target's own requests, threads, locks or quota that it stands behind.
fn own(found: &Hypothesis) -> &'static str {
    if found.quota_share > found.self_share / 2.0 {
        return "quota";
    }
    words(found.resource).own
}

fn place(books: &Books, found: &Hypothesis) -> String {
    let place = found.place.filter(|_| found.place_part >= PLACE_PART);
    place.map_or_else(String::new, |place| format!(" on {}", books.places[place]))
}

/// "a", "a and b", "a, b and c".
fn list(items: &[&str], and: &str) -> String {
    match items {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} {and} {last}", first.join(", ")),
    }
}
