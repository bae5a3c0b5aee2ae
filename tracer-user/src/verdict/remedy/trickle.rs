//! `trickle`: a preloaded library that delays a program's own sends and receives. Needs a dynamic program, and a restart.

use super::{Advice, case::Case, shell};
use crate::{model::books::ProcessId, standing::Program};

/// Started with what is preloaded, they pass it on to nobody that matters.
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "zsh", "ksh"];

pub(super) fn trickle(case: &Case<'_>) -> Option<Advice> {
    let sender = case.culprit.process;
    let program = uppermost(case, sender);
    let rate = case
        .half_rate()
        .map_or("RATE".to_owned(), |rate| (rate / 1024).to_string());
    let mut words: Vec<String> = ["trickle", "-s", "-u", &rate].map(str::to_owned).to_vec();
    words.extend(shell::words(case, program));
    let (command, restart) = shell::again(case, program, &words);
    Some(Advice {
        command,
        why: "leaves part of the link to others",
        effect: preloads(case, [program, sender])
            .map(|()| format!("{restart}, and takes about twice as long (trickle(1))")),
    })
}

/// The program of the job that started the sender, shells left out: what is preloaded is inherited.
fn uppermost(case: &Case<'_>, sender: ProcessId) -> ProcessId {
    let mut program = sender;
    for _ in 0..case.books.processes.len() {
        let parent = case.parent_in_job(program);
        match parent.filter(|parent| !SHELLS.contains(&case.process(*parent).comm.as_str())) {
            Some(parent) => program = parent,
            None => break,
        }
    }
    program
}

/// Can a library be preloaded into these, and is trickle there?
fn preloads(case: &Case<'_>, programs: [ProcessId; 2]) -> Result<(), String> {
    for id in programs {
        let name = &case.process(id).comm;
        let Some(standing) = case.standing(id) else {
            match id == case.culprit.process {
                true => {
                    return Err(format!(
                        "{name} has ended, and how it was linked is not known (trickle(1))"
                    ));
                }
                // The parent of a sender is not always among those that held most.
                false => continue,
            }
        };
        let because = match standing.program {
            Program::Dynamic => continue,
            Program::Unknown => "could not be read, and may be linked statically",
            Program::Static => "is linked statically, and nothing can be preloaded into it",
            Program::Go => "is a Go program, which calls the kernel past the C library",
            Program::SetUid => "is setuid, and the linker ignores what is preloaded",
        };
        return Err(format!("{name} {because} (trickle(1))"));
    }
    let sender = case.standing(programs[1]);
    if sender.is_some_and(|sender| sender.connections.is_empty()) {
        return Err(format!(
            "{} had no TCP connection open at the end, and trickle delays nothing else (trickle(1))",
            case.name()
        ));
    }
    case.means_known()?;
    match case.books.means.has("trickle") {
        true => Ok(()),
        false => Err("trickle is not installed (trickle(1))".to_owned()),
    }
}
