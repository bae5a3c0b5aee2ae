//! Two books and the comparison of them become a diff.

use std::collections::BTreeMap;

use super::assemble;
use crate::{
    class::Class,
    model::books::{Books, FlameLine},
    report::{
        Basis, Report,
        diff::{Blame, Budget, Change, Diff, DiffFlame, DiffStack, METHOD, Quantile, SCHEMA, Side},
    },
    units,
    verdict::{
        Charged,
        compare::{self, Blamed, Comparison, Figure, Identities, Window, compare},
        judge,
    },
};

/// A recording that was read.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// Its name.
    pub file: &'a str,
    /// Its books.
    pub books: &'a Books,
    /// Was it cut off?
    pub truncated: bool,
    /// The events that were refused, by the name of the reason.
    pub refused: &'a BTreeMap<String, u64>,
}

/// The diff of two recordings, and its flame graph.
#[must_use]
pub fn diff(before: Recorded<'_>, after: Recorded<'_>) -> (Diff, DiffFlame) {
    let charged = [before, after].map(|recorded| Charged::new(recorded.books));
    let verdicts = [0, 1].map(|side: usize| judge(&charged[side]));
    let windows = [0, 1].map(|side: usize| Window::new(&charged[side], &verdicts[side]));
    let found = compare(&windows[0], &windows[1]);
    let mut caveats = damage(before, "before");
    caveats.extend(damage(after, "after"));
    let of_requests = found.of_requests;
    let flame = flame(charged[0].books(), charged[1].books(), &found);
    let diff = Diff {
        schema: SCHEMA.to_owned(),
        sentence: found.sentence,
        comparable: found.comparable,
        before: side(before, &windows[0]),
        after: side(after, &windows[1]),
        quantiles: found.quantiles.iter().map(quantile).collect(),
        per_request: found.per_request.as_deref().map(budget),
        per_second: budget(&found.per_second),
        blame_basis: match of_requests {
            true => Basis::Requests,
            false => Basis::Threads,
        },
        blame: found.blame.iter().map(blame).collect(),
        caveats: found.caveats.into_iter().chain(caveats).collect(),
        method: METHOD.to_owned(),
    };
    (diff, flame)
}

/// What a recording lacks.
fn damage(recorded: Recorded<'_>, name: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if recorded.truncated {
        lines.push(format!(
            "{name} is cut off: its window ends where it can be read no further"
        ));
    }
    if !recorded.refused.is_empty() {
        lines.push(format!(
            "{name} has events that no kernel sends, which are left out"
        ));
    }
    lines
}

fn side(recorded: Recorded<'_>, window: &Window<'_>) -> Side {
    let (mut report, _): (Report, _) = assemble(recorded.books);
    report.losses.truncated = recorded.truncated;
    report.losses.refused = recorded.refused.clone();
    Side {
        file: recorded.file.to_owned(),
        host: report.host,
        target: report.target,
        window: report.window,
        sentence: report.verdict.sentence,
        confidence: report.verdict.confidence,
        requests: report.requests.map(|requests| requests.count),
        requests_per_second: window.requests_per_second(),
        losses: report.losses,
    }
}

fn quantile(found: &compare::Quantile) -> Quantile {
    let [before_ns, after_ns] = found.ns;
    Quantile {
        part: found.part,
        before_ns,
        after_ns,
        change: relative(before_ns as f64, after_ns as f64),
        least_change: found.change.map(|(least, _)| least),
        most_change: found.change.and_then(|(_, most)| most),
        differs: found.differs,
    }
}

fn budget(found: &[(Class, Figure)]) -> Vec<Budget> {
    let budget = |(class, figure): &(Class, Figure)| Budget {
        class: *class,
        time: change(figure),
    };
    found.iter().map(budget).collect()
}

fn blame(found: &Blamed) -> Blame {
    Blame {
        resource: found.resource,
        place: found.place.clone(),
        comm: found.holder.name(),
        unit: found.holder.unit().map(str::to_owned),
        estimated: found.estimated,
        time: change(&found.figure),
    }
}

fn change(figure: &Figure) -> Change {
    let [before_share, after_share] = figure.shares;
    Change {
        before_ns: figure.before.round() as u64,
        after_ns: figure.after.round() as u64,
        before_share,
        after_share,
        change: relative(figure.before, figure.after),
        difference_ns: figure
            .difference
            .map(|(least, most)| [least.round() as i64, most.round() as i64]),
        differs: figure.differs,
    }
}

fn relative(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| after / before - 1.0)
}

/// A stack has at most so much time in a second, ns: a million threads that all wait there. Only a window that was made up has more.
const MOST_NS: f64 = 1e15;

/// Blocked time by class, place, holder and functions, for each second of its window.
fn flame(before: &Books, after: &Books, found: &Comparison) -> DiffFlame {
    let mut stacks: BTreeMap<Vec<String>, [f64; 2]> = BTreeMap::new();
    for (side, books) in [before, after].into_iter().enumerate() {
        let identities = Identities::new(books);
        let seconds = books.window_ns().max(1) as f64 / 1e9;
        for line in &books.flame {
            let frames = frames(books, &identities, line);
            let ns = (line.ns as f64 / seconds).min(MOST_NS);
            stacks.entry(frames).or_default()[side] += ns;
        }
    }
    let stack = |(frames, [before, after]): (Vec<String>, [f64; 2])| DiffStack {
        frames,
        before_ns: before.round() as u64,
        after_ns: after.round() as u64,
    };
    let stacks: Vec<DiffStack> = stacks.into_iter().map(stack).collect();
    let all = |ns: fn(&DiffStack) -> u64| {
        let ns = stacks.iter().map(ns);
        units::time(ns.fold(0, u64::saturating_add))
    };
    let title = format!(
        "{}: blocked {} a second before, {} after",
        target(after),
        all(|stack| stack.before_ns),
        all(|stack| stack.after_ns)
    );
    DiffFlame {
        title,
        sentence: found.sentence.clone(),
        stacks,
    }
}

/// The same in both windows, whatever the pids are.
fn frames(books: &Books, identities: &Identities<'_>, line: &FlameLine) -> Vec<String> {
    let mut frames = vec![target(books), line.class.name().to_owned()];
    frames.extend(identities.place(line.class.resource(), line.place));
    frames.push(identities.of(line.holder).name());
    frames.extend(line.stack.iter().cloned());
    frames
}

fn target(books: &Books) -> String {
    let first = books.targets.first();
    first.map_or_else(
        || "the target".to_owned(),
        |id| books.processes[*id].comm.to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        class::Resource,
        model::books::{Bin, Charge, Holder, Process},
    };

    const MS: u64 = 1_000_000;

    /// nginx waits for so many ms of each slice for sda, behind tar of this pid.
    fn books(pid: u32, ms: u64, seconds: u64) -> Books {
        let process = |pid, comm: &str, target| Process {
            pid,
            comm: comm.into(),
            target,
            ..Process::default()
        };
        let mut bin = Bin {
            charges: vec![Charge {
                resource: Resource::Disk,
                place: Some(0),
                holder: Holder::Process(1),
                ns: ms * MS,
                estimated_ns: 0,
            }],
            ..Bin::default()
        };
        bin.threads[Class::Disk.index()] = ms * MS;
        bin.threads[Class::OnCpu.index()] = 10 * MS;
        let line = |stack: &[&str], ns| FlameLine {
            class: Class::Disk,
            place: Some(0),
            holder: Holder::Process(1),
            stack: stack.iter().map(|frame| (*frame).to_owned()).collect(),
            ns,
        };
        let mut books = Books {
            bins: vec![bin; seconds as usize * 10],
            bin_ns: 100 * MS,
            processes: vec![process(pid + 1, "nginx", true), process(pid, "tar", false)],
            targets: vec![0],
            places: vec!["sda".to_owned()],
            flame: vec![line(&["read"], ms * 10 * seconds * MS)],
            ..Books::default()
        };
        books.end.ns = seconds * 1_000 * MS;
        books
    }

    fn of(before: &Books, after: &Books, truncated: bool) -> (Diff, DiffFlame) {
        let none = BTreeMap::new();
        let recorded = |file, books, truncated| Recorded {
            file,
            books,
            truncated,
            refused: &none,
        };
        diff(
            recorded("a.rec", before, false),
            recorded("b.rec", after, truncated),
        )
    }

    #[test]
    fn figures_are_of_one_second_and_holders_have_no_pid() {
        let (before, after) = (books(20, 40, 10), books(4711, 5, 20));
        let (found, flame) = of(&before, &after, false);
        assert_eq!(
            (found.before.file.as_str(), found.after.file.as_str()),
            ("a.rec", "b.rec")
        );
        let [tar] = found.blame.as_slice() else {
            panic!("{:?}", found.blame);
        };
        assert_eq!(
            (tar.comm.as_str(), tar.place.as_deref()),
            ("tar", Some("sda"))
        );
        assert_eq!((tar.time.before_ns, tar.time.after_ns), (400 * MS, 50 * MS));
        assert_eq!(
            (tar.time.change, tar.time.differs),
            (Some(-0.875), Some(true))
        );
        assert_eq!(found.blame_basis, Basis::Threads);
        assert_eq!((found.per_request, found.quantiles.len()), (None, 0));
        let expected = DiffStack {
            frames: ["nginx", "disk", "sda", "tar", "read"]
                .map(str::to_owned)
                .to_vec(),
            before_ns: 400 * MS,
            after_ns: 50 * MS,
        };
        assert_eq!(flame.stacks, [expected]);
        assert_eq!(
            flame.title,
            "nginx: blocked 400 ms a second before, 50.0 ms after"
        );
    }

    #[test]
    fn the_way_back_mirrors_the_way_there() {
        let (before, after) = (books(20, 40, 10), books(4711, 5, 20));
        let (there, _) = of(&before, &after, false);
        let (back, flame) = of(&after, &before, false);
        let (one, other) = (&there.blame[0].time, &back.blame[0].time);
        let [least, most] = one.difference_ns.unwrap();
        assert_eq!(other.difference_ns, Some([-most, -least]));
        assert_eq!(
            (one.before_ns, one.after_ns),
            (other.after_ns, other.before_ns)
        );
        assert_eq!((one.differs, other.differs), (Some(true), Some(true)));
        assert_eq!(
            (flame.stacks[0].before_ns, flame.stacks[0].after_ns),
            (50 * MS, 400 * MS)
        );
    }

    #[test]
    fn nothing_changed_from_one_recording_to_the_same() {
        let books = books(20, 40, 10);
        let (same, _) = of(&books, &books, false);
        assert_eq!(
            same.sentence,
            "after: no difference that exceeds the noise."
        );
        let times = same.per_second.iter().map(|row| &row.time);
        let mut times = times.chain(same.blame.iter().map(|row| &row.time));
        assert!(times.all(|time| time.differs == Some(false) && time.before_ns == time.after_ns));
        assert!(same.caveats.is_empty(), "{:?}", same.caveats);
    }

    #[test]
    fn a_recording_that_was_cut_off_says_so() {
        let books = books(20, 40, 10);
        let (cut, _) = of(&books, &books, true);
        assert_eq!(cut.caveats.len(), 1);
        assert!(cut.caveats[0].starts_with("after is cut off"));
        assert!(cut.after.losses.truncated && !cut.before.losses.truncated);
    }
}
