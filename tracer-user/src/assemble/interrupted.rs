//! Interrupts in the target's own time on a CPU. They are no wait, and no process is to blame: nothing shows for which process they
//! worked.

use crate::{
    class::Class,
    model::books::{Books, ProbeGroup},
    units::share,
};

/// If less than this part of the time on a CPU went away, nobody would feel it. A culprit must cost at least as much.
const TELLING: f64 = 0.05;

/// Less than this part of the window shows nothing of the rest. Tracer watches a tenth at least; but what is left of a recording may be
/// less.
const LEAST_WATCHED: f64 = 0.05;

/// One line of evidence, if it is much. Where interrupts were shed, what was seen of them stands for the rest.
pub(super) fn line(books: &Books) -> Option<String> {
    let took = &books.interrupted.took;
    let on_cpu = books.budget(|bin| &bin.threads)[Class::OnCpu.index()];
    let shed = books.shed.get(&ProbeGroup::Interrupts);
    let watched = shed.map_or(1.0, |shed| shed.watched_part(books.window_ns()));
    let part = |ns: u64| ns as f64 / (on_cpu as f64 * watched).max(1.0);
    let all: u64 = took.iter().map(|(_, ns)| ns).sum();
    let (most, ns) = took.iter().max_by_key(|(_, ns)| *ns)?;
    (watched >= LEAST_WATCHED && part(all) >= TELLING).then(|| {
        let (all, most_part) = (share(part(all).min(1.0)), share(part(*ns).min(1.0)));
        let seen = match shed {
            Some(_) => format!(", as {} of the window shows", share(watched)),
            None => String::new(),
        };
        format!("interrupts ran in {all} of its own time on a CPU, {most} in {most_part}{seen}")
    })
}
