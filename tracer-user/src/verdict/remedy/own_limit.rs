//! The target's own limit, where it waits for that. Nobody else is to be restrained: the limit is to be raised.

use super::{Remedy, shell::quote};
use crate::{
    class::{Cause, Resource},
    model::books::Books,
    standing::OwnLimit,
    verdict::{Hypothesis, constants::CULPRIT_PART},
};

const WHY: &str = "gives the target twice of what its own limit leaves it";

/// A row for each limit that the target is under and waited for.
pub(super) fn own_limits(books: &Books, found: &Hypothesis) -> Vec<Remedy> {
    let by_limit = found.culprits.iter().any(|culprit| culprit.by_limit);
    let waited = matches!(found.cause, Some(Cause::Quota | Cause::Limit))
        || found.quota_share >= CULPRIT_PART
        || by_limit;
    // Behind another process it is that one's.
    if !waited || !found.via.is_empty() {
        return Vec::new();
    }
    let place = found.place.map(|place| books.places[place].as_str());
    let disk = books
        .disks
        .iter()
        .find(|disk| Some(disk.name.as_str()) == place);
    let device = disk.map(|disk| format!("{}:{} ", disk.dev >> 20, disk.dev & 0xf_ffff));
    let here = |limit: &&OwnLimit| {
        let elsewhere = device
            .as_deref()
            .filter(|_| found.resource == Resource::Disk);
        limit.resource == found.resource
            && elsewhere.is_none_or(|device| limit.value.starts_with(device))
    };
    let file = place.filter(|place| books.own_limits.iter().any(|limit| limit.file == *place));
    let here = |limit: &&OwnLimit| match file {
        Some(file) => limit.file == file,
        None => here(limit),
    };
    books.own_limits.iter().filter(here).map(raise).collect()
}

fn raise(limit: &OwnLimit) -> Remedy {
    let OwnLimit { file, value, .. } = limit;
    let unit = file.rsplit('/').nth(1).unwrap_or_default();
    let systemd = match unit.ends_with(".service") || unit.ends_with(".scope") {
        true => format!("; to keep it: systemctl edit {}", quote(unit)),
        false => String::new(),
    };
    let document = match limit.resource {
        Resource::Cpu => "Documentation/scheduler/sched-bwc.rst",
        Resource::Memory => "Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst",
        _ => "Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/blkio-controller.rst",
    };
    Remedy {
        command: format!("echo {} > {}", quote(&twice(value)), quote(file)),
        why: WHY,
        applies: true,
        note: format!(
            "{file} has {value}; what it takes more, others do not get{systemd} ({document})"
        ),
    }
}

/// A limit's value, doubled: the quota of a CPU's `QUOTA PERIOD`, each number behind a disk's device.
fn twice(value: &str) -> String {
    let double = |number: &str| Some(number.parse::<u64>().ok()?.saturating_mul(2).to_string());
    let mut words = value.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    if !first.contains(':') {
        let rest = words.map(|word| format!(" {word}"));
        return double(first).unwrap_or_default() + &rest.collect::<String>();
    }
    let limit = |word: &str| match word.split_once('=') {
        Some((key, number)) => Some(format!(" {key}={}", double(number)?)),
        None => Some(format!(" {}", double(word)?)),
    };
    first.to_owned() + &words.filter_map(limit).collect::<String>()
}
