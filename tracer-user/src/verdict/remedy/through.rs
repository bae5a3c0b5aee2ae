//! Against a client for which the target reads: sets the I/O class of the target's threads that work for it. Each thread has its
//! own class (ionice(1)). The client itself reads nothing there. A cgroup's weight or limit would hold for all that the target
//! does.

use super::{Advice, case::Case, ionice};

pub(super) fn through(case: &Case<'_>) -> Option<Advice> {
    let threads = case.working_threads();
    let words: Vec<String> = threads.iter().map(u32::to_string).collect();
    let (tolerant, words) = match words.len() {
        0 => ("", "TID".to_owned()),
        1 => ("", words.join(" ")),
        // Without `-t`, the first that has ended would keep it from the others.
        _ => ("-t ", words.join(" ")),
    };
    let target = case.books.targets.first();
    let target = target.map_or("the target", |id| case.process(*id).comm.as_str());
    let effect = match threads.is_empty() {
        true => Err(format!(
            "no thread of {target} works for {} any more (ionice(1))",
            case.name()
        )),
        false => ionice::honoured(case),
    };
    let note = |()| {
        format!(
            "these are threads of {target} that read for {name}: the class of {name} itself changes nothing; it takes longer while \
             others use the disk, and what {target} starts for its next connection has the usual class again (ionice(1))",
            name = case.name()
        )
    };
    Some(Advice {
        command: format!("ionice {tolerant}-c3 -p {words}"),
        why: "lets what reads for it use the disk only when nobody else does",
        effect: effect.map(note),
    })
}
