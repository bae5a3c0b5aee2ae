//! I/O classes: BFQ honours them, and mq-deadline since 5.14; kyber and `none` do not know them. Each thread has its own class. It
//! covers the requests that the thread itself hands to the scheduler: reads, direct and synchronous writes, no writeback.
//!
//! mq-deadline chooses by class among requests that wait *before* the device (`dd_dispatch_request` of block/mq-deadline.c). It
//! cannot reach a request that the device took, and a device takes as many as its queue is deep. Figures are p99 of one reader
//! beside another, measured on a loop device (Linux 6.18, depth 128). With 256 requests in flight it is 18.5 ms, and 0.2 ms with
//! the other in the idle class. With the other in the lowest level of best effort it is 18.2 ms, because mq-deadline knows no
//! levels. With few in flight on a slow device, it is 94.2 ms and 92.9 ms.

use tracer_common::histogram::Family;

use super::{Advice, case::Case};
use crate::units::share;

/// `IOPRIO_CLASS_IDLE` of ioprio_set(2).
const IDLE: u32 = 3;

pub(super) fn ionice(case: &Case<'_>) -> Option<Advice> {
    let threads = case.thread_words();
    // Without `-t`, the first that has ended would keep it from the others.
    let tolerant = if threads.contains(' ') { "-t " } else { "" };
    Some(Advice {
        command: format!("ionice {tolerant}-c3 -p {threads}"),
        why: "lets it use the disk only when nobody else does",
        effect: effect(case),
    })
}

fn effect(case: &Case<'_>) -> Result<String, String> {
    case.gone()?;
    if case.culprit.by_limit {
        return Err(
            "the limit holds requests back before the I/O scheduler sees their class (ionice(1))"
                .to_owned(),
        );
    }
    let place = case.place().ok_or("the disk is not known")?;
    let scheduler = scheduler(case, place)?;
    if case.all(|standing| standing.io_class == Some(IDLE)) {
        return Err(format!(
            "{} is in the idle class already (ionice(1))",
            case.name()
        ));
    }
    if scheduler == "mq-deadline" {
        waits_before(case, place)?;
    }
    if let Some(above) = loop_above(case, place) {
        return Err(format!(
            "its requests reach {place} through {above}, whose kernel thread has a class of its own \
             unless the loop uses direct I/O (ionice(1))"
        ));
    }
    if case.writes_back() {
        return Err(
            "most of what it moved there it wrote through the page cache, and the kernel thread that writes back has a class of its own \
             (ionice(1))"
                .to_owned(),
        );
    }
    if scheduler == "bfq"
        && let Some(path) = other_group(case)
    {
        return Err(format!(
            "BFQ divides the disk between cgroups first, and {} is in another one ({path}) than the target: give that one a weight \
             (Documentation/block/bfq-iosched.rst)",
            case.name()
        ));
    }
    Ok(
        "it takes longer while others use the disk; buffered writes are not slowed (ionice(1))"
            .to_owned(),
    )
}

/// Do I/O classes of threads count on that disk?
pub(super) fn honoured(case: &Case<'_>) -> Result<(), String> {
    let place = case.place().ok_or("the disk is not known")?;
    match scheduler(case, place)? {
        "mq-deadline" => waits_before(case, place),
        _ => Ok(()),
    }
}

/// The scheduler of a disk, if it honours classes.
fn scheduler<'a>(case: &Case<'a>, place: &str) -> Result<&'a str, String> {
    let disk = case.books.disks.iter().find(|disk| disk.name == *place);
    let scheduler = disk.map_or("", |disk| disk.scheduler.as_str());
    match scheduler {
        "bfq" => Ok(scheduler),
        "mq-deadline" if is_since(&case.books.start.kernel, (5, 14)) => Ok(scheduler),
        "mq-deadline" => Err(format!(
            "the scheduler of {place}, mq-deadline, knows I/O classes only since Linux 5.14 (ionice(1))"
        )),
        "" => Err(format!("the scheduler of {place} is not known (ionice(1))")),
        other => Err(format!(
            "the scheduler of {place} is {other}, which ignores I/O classes (ionice(1))"
        )),
    }
}

/// Do the target's requests wait where mq-deadline chooses, before the device, for at least as long as on it?
fn waits_before(case: &Case<'_>, place: &str) -> Result<(), String> {
    let (before, on) = (
        spent(case, Family::BlockIoQueue),
        spent(case, Family::BlockIoDevice),
    );
    if before + on == 0 {
        return Err(format!(
            "mq-deadline chooses by class only among what waits before {place}, and whether requests of the target did is not known \
             (Documentation/block/ioprio.rst)"
        ));
    }
    if before < on {
        let part = on as f64 / (before + on) as f64;
        return Err(format!(
            "mq-deadline chooses by class only among what waits before {place}, and the target's requests spent {} of their time on it: \
             its queue takes all that comes (Documentation/block/ioprio.rst)",
            share(part)
        ));
    }
    Ok(())
}

/// Time that the target's requests spent before or on the device, ns.
fn spent(case: &Case<'_>, family: Family) -> u64 {
    let histograms = case.books.histograms.iter();
    let of_target = histograms
        .filter(|(id, histogram)| case.process(*id).target && histogram.family == family as u32);
    of_target.map(|(_, histogram)| histogram.sum_ns).sum()
}

/// The loop device on a disk that the culprit uses too: the disk below sees the loop's requests.
fn loop_above<'a>(case: &Case<'a>, place: &str) -> Option<&'a str> {
    let disks = &case.books.disks;
    let dev = disks.iter().find(|disk| disk.name == *place)?.dev;
    let is_above = |name: &str| {
        disks
            .iter()
            .any(|disk| disk.name == name && name.starts_with("loop") && disk.below.contains(&dev))
    };
    let mut held = case
        .books
        .held
        .keys()
        .filter_map(|(resource, place, holder)| {
            let culprit = case
                .culprit
                .members
                .iter()
                .any(|id| *holder == crate::model::books::Holder::Process(*id));
            let place = case.books.places.get((*place)?)?.as_str();
            (culprit && *resource == crate::class::Resource::Disk).then_some(place)
        });
    held.find(|place| is_above(place))
}

/// The culprit's cgroup, if that is not the target's.
fn other_group<'a>(case: &Case<'a>) -> Option<&'a str> {
    let target = case.target()?.io.as_ref()?;
    let mut others = case.standings().filter_map(|standing| standing.io.as_ref());
    others
        .find(|group| group.path != target.path)
        .map(|group| group.path.as_str())
}

/// Is a kernel release (`6.12.43+deb13-amd64`) at least this? A scheduler's abilities show nowhere else.
fn is_since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= version
}
