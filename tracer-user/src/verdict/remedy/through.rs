//! Against a client that has the target hold the resource: what acts is restraining those threads of the target that work for it, by
//! their numbers. The client itself neither reads nor computes much, and a cgroup's limits would hold for all that the target does.

use super::{Advice, case::Case, ionice};
use crate::class::Resource;

/// I/O classes of those threads, and nice values: each is a thread's own (ionice(1), renice(1)).
pub fn through(case: &Case<'_>) -> Option<Advice> {
    let threads = case.working_threads();
    let words: Vec<String> = threads.iter().map(u32::to_string).collect();
    let words = words.join(" ");
    let tolerant = if threads.len() > 1 { "-t " } else { "" };
    let (command, why, effect) = match case.found.resource {
        Resource::Disk => (
            format!("ionice {tolerant}-c3 -p {words}"),
            "lets what works for it use the disk only when nobody else does",
            ionice::honoured(case),
        ),
        Resource::Cpu => (
            format!("renice -n 19 -p {words}"),
            "makes what works for it give way to others on a contended CPU",
            Ok(()),
        ),
        _ => return None,
    };
    let target = case.books.targets.first();
    let target = target.map_or("the target", |id| case.process(*id).comm.as_str());
    let there = match threads.is_empty() {
        true => Err(format!(
            "nothing of {target} works for {} any more",
            case.name()
        )),
        false => effect,
    };
    let command = match threads.is_empty() {
        true => command.trim_end().to_owned() + " PID",
        false => command,
    };
    let note = |()| {
        format!(
            "these are threads of {target}, which works for {}: that one's own class and nice value change nothing; it takes longer, and \
             until its connection ends (ionice(1), renice(1))",
            case.name()
        )
    };
    Some(Advice {
        command,
        why,
        effect: there.map(note),
    })
}
