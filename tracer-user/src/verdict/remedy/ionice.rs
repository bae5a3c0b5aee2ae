//! I/O classes: honoured by BFQ, and by mq-deadline since 5.14; kyber and `none` do not know them. A class is each thread's own, and covers
//! the requests that the thread itself hands to the scheduler: reads, direct and synchronous writes, no writeback.

use super::{Advice, case::Case};

/// `IOPRIO_CLASS_IDLE` of ioprio_set(2).
const IDLE: u32 = 3;

pub fn ionice(case: &Case<'_>) -> Option<Advice> {
    Some(Advice {
        command: format!("ionice -c3 -p {}", case.thread_words()),
        why: "lets it use the disk only when nobody else does",
        effect: effect(case),
    })
}

fn effect(case: &Case<'_>) -> Result<String, String> {
    case.gone()?;
    let place = case.place().ok_or("the disk is not known")?;
    let scheduler = scheduler(case, place)?;
    if case.all(|standing| standing.io_class == Some(IDLE)) {
        return Err(format!(
            "{} is in the idle class already (ionice(1))",
            case.name()
        ));
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

/// The loop device on a disk that the culprit uses too: what is below sees the loop's requests.
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
