//! `rsync --bwlimit`: rsync sleeps between its sends, and so reads its disk more slowly too. Fixed at start.

use super::{Advice, case::Case, shell};
use crate::{class::Resource, model::books::ProcessId};

pub(super) fn bwlimit(case: &Case<'_>) -> Option<Advice> {
    let rsync = rsync(case)?;
    let words = shell::words(case, rsync);
    let limit = match case.half_rate() {
        Some(rate) => format!("--bwlimit={}", rate / 1024),
        None => "--bwlimit=RATE".to_owned(),
    };
    let (mut limited, old) = without_limit(&words);
    limited.insert(1.min(limited.len()), limit);
    let has = |option: &str| words.iter().any(|word| word == option);
    if has("--server") {
        return Some(advice(
            shell::line(&limited),
            Err("rsync on another machine started it: give --bwlimit there (rsync(1))".to_owned()),
        ));
    }
    if case.half_rate().is_none() {
        return Some(advice(
            shell::line(&limited),
            Err("what it moves there is too little to halve (rsync(1))".to_owned()),
        ));
    }
    let (command, restart) = shell::again(case, rsync, &limited);
    let only = match case.found.resource {
        Resource::Disk => "; comparing checksums (-c) is not slowed",
        _ => "",
    };
    let old = old.map_or(String::new(), |old| format!(", {old} lowered"));
    Some(advice(
        command,
        Ok(format!(
            "{restart}{old}, and takes about twice as long{only} (rsync(1))"
        )),
    ))
}

fn advice(command: String, effect: Result<String, String>) -> Advice {
    Advice {
        command,
        why: "leaves part of it to others",
        effect,
    }
}

/// The command line without a limit, and the limit that it has.
fn without_limit(words: &[String]) -> (Vec<String>, Option<String>) {
    let (mut rest, mut old) = (Vec::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("--bwlimit") {
            Some("") => old = words.next().map(|rate| format!("--bwlimit={rate}")),
            Some(_) => old = Some(word.clone()),
            None => rest.push(word.clone()),
        }
    }
    (rest, old)
}

/// The uppermost member that is rsync. At a link it is one that talks to another machine, in person or through its ssh.
fn rsync(case: &Case<'_>) -> Option<ProcessId> {
    let is_rsync = |id: ProcessId| case.process(id).comm == "rsync";
    let talks = |id: &ProcessId| {
        let cmdline = &case.process(*id).cmdline;
        case.found.resource == Resource::Disk
            || cmdline.contains(':')
            || cmdline.contains("--server")
            || cmdline.contains("--daemon")
    };
    // The ssh that rsync started holds the link in its place.
    let started = |id: &ProcessId| match is_rsync(*id) {
        true => Some(*id),
        false => case.parent_in_job(*id).filter(|parent| is_rsync(*parent)),
    };
    let mut rsync = case
        .culprit
        .members
        .iter()
        .filter_map(started)
        .find(talks)?;
    // No chain is longer, unless it is a circle of reused ids.
    for _ in 0..case.books.processes.len() {
        let above = case.parent_in_job(rsync).filter(|id| is_rsync(*id));
        let Some(parent) = above else { break };
        rsync = parent;
    }
    Some(rsync)
}
