//! The diff for people: 80 columns, the answer first, the figures below.

use super::{
    table::{Align, table, wrap},
    text::{TextOptions, page},
};
use crate::{
    class::Class,
    report::{
        Basis,
        diff::{Blame, Budget, Change, Diff, Quantile, Side},
    },
    units::{count, escape_terminal as safe, plural, share, time},
};

/// From this factor on a change is easier to read as a factor than in percent.
const MANY_TIMES: f64 = 10.0;

/// The diff as text.
#[must_use]
pub fn text(diff: &Diff, options: &TextOptions) -> String {
    let parts = Page { diff, options };
    let sections = [
        parts.caveats(),
        parts.quantiles(),
        parts.budget(
            "Time of a request",
            diff.per_request.as_deref(),
            "under way",
        ),
        parts.budget(
            "Time of threads in a second",
            Some(&diff.per_second),
            Class::Idle.name(),
        ),
        parts.holders(),
        wrap(&diff.method, "", ""),
    ];
    page(parts.answer(), sections)
}

struct Page<'a> {
    diff: &'a Diff,
    options: &'a TextOptions,
}

impl Page<'_> {
    fn answer(&self) -> Vec<String> {
        let sentence = wrap(&safe(&self.diff.sentence), "", "");
        let mut lines: Vec<String> = sentence
            .iter()
            .map(|line| self.options.bold(line))
            .collect();
        lines.extend(wrap(&window(&self.diff.before), "  before  ", "          "));
        lines.extend(wrap(&window(&self.diff.after), "  after   ", "          "));
        lines
    }

    fn caveats(&self) -> Vec<String> {
        if self.diff.caveats.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![self.options.bold("To bear in mind")];
        let caveats = self.diff.caveats.iter();
        lines.extend(caveats.flat_map(|caveat| wrap(&safe(caveat), "  - ", "    ")));
        lines
    }

    fn quantiles(&self) -> Vec<String> {
        if self.diff.quantiles.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![cells(["", "before", "after", "change", ""])];
        rows.extend(self.diff.quantiles.iter().map(quantile));
        use Align::{Left, Right};
        let mut lines = vec![self.options.bold("How long requests took")];
        lines.extend(table(&rows, &[Left, Right, Right, Right, Left], &[4], 2));
        lines
    }

    /// A class that took no time has no row. What is idle has a word of its own.
    fn budget(&self, heading: &str, budget: Option<&[Budget]>, idle: &str) -> Vec<String> {
        let spent = budget.unwrap_or_default().iter();
        let spent = spent.filter(|row| row.time.before_ns > 0 || row.time.after_ns > 0);
        let mut rows = vec![cells(["", "before", "", "after", "", "change"])];
        rows.extend(spent.map(|row| class(row, idle)));
        if rows.len() == 1 {
            return Vec::new();
        }
        use Align::{Left, Right};
        let mut lines = vec![self.options.bold(heading)];
        let align = [Left, Right, Right, Right, Right, Right];
        lines.extend(table(&rows, &align, &[], 2));
        lines
    }

    fn holders(&self) -> Vec<String> {
        let blame = &self.diff.blame;
        if blame.is_empty() {
            return Vec::new();
        }
        let unit = match self.diff.blame_basis {
            Basis::Requests => "Who held it meanwhile, for each request",
            Basis::Threads => "Who held it meanwhile, of the threads' time in a second",
        };
        let mut rows = vec![cells(["for", "at", "held by", "before", "after", "change"])];
        rows.extend(blame.iter().take(self.options.top).map(holder));
        use Align::{Left, Right};
        let mut lines = vec![self.options.bold(unit)];
        let align = [Left, Left, Left, Right, Right, Right];
        lines.extend(table(&rows, &align, &[1, 2], 2));
        if blame.len() > self.options.top {
            let more = blame.len() - self.options.top;
            lines.push(format!("  … and {more} more (--top)"));
        }
        if blame.iter().take(self.options.top).any(|row| row.estimated) {
            lines.push("  ~ rests on an estimate, as its report says".to_owned());
        }
        lines
    }
}

fn cells<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// A window in one line.
fn window(side: &Side) -> String {
    let requests = side.requests.map(|ended| {
        let load = side
            .requests_per_second
            .map(|load| format!(", {load:.1} a second"));
        let load = load.unwrap_or_default();
        format!(" · {}{load}", plural(ended, "request"))
    });
    format!(
        "{} · {} (pid {}) on {} · {} from {}{}",
        safe(&side.file),
        safe(&side.target.comm),
        side.target.pid,
        safe(&side.host.hostname),
        time(side.window.duration_ns),
        safe(&side.window.start),
        requests.unwrap_or_default()
    )
}

fn quantile(found: &Quantile) -> Vec<String> {
    let interval = match (found.least_change, found.most_change) {
        (None, _) => String::new(),
        (Some(least), Some(most)) => format!("({} to {})", percent(least), percent(most)),
        (Some(_), None) => "(too few requests to bound it)".to_owned(),
    };
    vec![
        format!("p{:.0}", 100.0 * found.part),
        time(found.before_ns),
        time(found.after_ns),
        claim(found.differs, found.change),
        interval,
    ]
}

fn class(row: &Budget, idle: &str) -> Vec<String> {
    let name = match row.class {
        Class::Idle => idle,
        class => class.name(),
    };
    // Idle time is no part of what the shares are of.
    let part = |part: f64| match row.class {
        Class::Idle => String::new(),
        _ => share(part),
    };
    vec![
        name.to_owned(),
        time(row.time.before_ns),
        part(row.time.before_share),
        time(row.time.after_ns),
        part(row.time.after_share),
        said(&row.time),
    ]
}

fn holder(row: &Blame) -> Vec<String> {
    let unit = row.unit.as_ref().map(|unit| format!(" ({})", safe(unit)));
    let mark = if row.estimated { "~" } else { "" };
    vec![
        row.resource.name().to_owned(),
        row.place.as_deref().map(safe).unwrap_or_default(),
        format!("{}{}", safe(&row.comm), unit.unwrap_or_default()),
        format!("{mark}{}", time(row.time.before_ns)),
        format!("{mark}{}", time(row.time.after_ns)),
        said(&row.time),
    ]
}

/// What is claimed of a time.
fn said(time: &Change) -> String {
    match time.differs {
        Some(true) if time.before_ns == 0 => "new".to_owned(),
        Some(true) if time.after_ns == 0 => "gone".to_owned(),
        differs => claim(differs, time.change),
    }
}

fn claim(differs: Option<bool>, change: Option<f64>) -> String {
    match (differs, change) {
        (None, _) => "not compared".to_owned(),
        (Some(true), Some(change)) => percent(change),
        (Some(_), _) => "within noise".to_owned(),
    }
}

fn percent(change: f64) -> String {
    match 1.0 + change {
        factor if factor >= MANY_TIMES => format!("× {}", count(factor.round() as u64)),
        _ => format!("{:+.0} %", 100.0 * change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        class::Resource,
        render::json,
        report::{Target, Window, diff::SCHEMA},
    };

    const MS: u64 = 1_000_000;

    fn change(before_ms: u64, after_ms: u64, differs: Option<bool>) -> Change {
        let (before, after) = (before_ms as f64, after_ms as f64);
        Change {
            before_ns: before_ms * MS,
            after_ns: after_ms * MS,
            before_share: before / 100.0,
            after_share: after / 100.0,
            change: (before_ms > 0).then(|| after / before - 1.0),
            difference_ns: None,
            differs,
        }
    }

    fn blame(comm: &str, time: Change) -> Blame {
        Blame {
            resource: Resource::Disk,
            place: Some("sda".to_owned()),
            comm: comm.to_owned(),
            unit: None,
            estimated: false,
            time,
        }
    }

    fn side(file: &str, comm: &str) -> Side {
        Side {
            file: file.to_owned(),
            target: Target {
                pid: 812,
                comm: comm.to_owned(),
                ..Target::default()
            },
            window: Window {
                start: "2026-11-23T07:00:00.000Z".to_owned(),
                duration_ns: 10_000 * MS,
            },
            requests: Some(301),
            requests_per_second: Some(30.1),
            ..Side::default()
        }
    }

    /// Everything that a machine names has this name.
    fn diff(name: &str) -> Diff {
        let budget = |class, time| Budget { class, time };
        Diff {
            schema: SCHEMA.to_owned(),
            sentence: format!("after: requests 3.1 × faster; the disk behind {name} is gone."),
            comparable: true,
            before: side(name, name),
            after: side("b.rec", name),
            quantiles: vec![Quantile {
                part: 0.5,
                before_ns: 86 * MS,
                after_ns: 28 * MS,
                change: Some(-0.67),
                least_change: Some(-0.72),
                most_change: None,
                differs: Some(true),
            }],
            per_request: Some(vec![
                budget(Class::OnCpu, change(2, 2, Some(false))),
                budget(Class::Disk, change(80, 4, Some(true))),
                budget(Class::Memory, change(0, 0, Some(false))),
                budget(Class::Idle, change(1, 1, None)),
            ]),
            per_second: Vec::new(),
            blame_basis: Basis::Requests,
            blame: vec![
                Blame {
                    unit: Some(name.to_owned()),
                    estimated: true,
                    ..blame(name, change(70, 0, Some(true)))
                },
                blame("restic", change(0, 3, Some(true))),
                blame("rsync", change(1, 40, Some(true))),
                blame("itself", change(9, 9, Some(false))),
            ],
            caveats: vec![format!("{name} was traced first")],
            method: "How.".to_owned(),
        }
    }

    fn plain(diff: &Diff, top: usize) -> String {
        let colour = false;
        text(diff, &TextOptions { top, colour })
    }

    /// The lines that have this word, with one blank between words.
    fn lines(shown: &str, word: &str) -> Vec<String> {
        let lines = shown.lines().filter(|line| line.contains(word));
        lines
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }

    #[test]
    fn the_answer_comes_first_and_each_row_says_what_is_claimed() {
        let shown = plain(&diff("tar"), 10);
        assert!(shown.starts_with("after: requests 3.1 × faster; the disk behind tar is gone.\n"));
        assert_eq!(
            lines(&shown, "p50"),
            ["p50 86.0 ms 28.0 ms -67 % (too few requests to bound it)"]
        );
        assert_eq!(
            lines(&shown, "on_cpu"),
            ["on_cpu 2.00 ms 2 % 2.00 ms 2 % within noise"]
        );
        assert_eq!(
            lines(&shown, "under way"),
            ["under way 1.00 ms 1.00 ms not compared"]
        );
        assert!(lines(&shown, "memory").is_empty());
        assert_eq!(
            lines(&shown, " tar (tar)"),
            ["disk sda tar (tar) ~70.0 ms ~0 ns gone"]
        );
        assert_eq!(
            lines(&shown, "restic"),
            ["disk sda restic 0 ns 3.00 ms new"]
        );
        assert_eq!(
            lines(&shown, "rsync"),
            ["disk sda rsync 1.00 ms 40.0 ms × 40"]
        );
        assert_eq!(lines(&shown, "traced first"), ["- tar was traced first"]);
        assert!(!shown.contains("Time of threads"), "{shown}");
    }

    #[test]
    fn a_table_has_no_more_rows_than_asked_for() {
        let shown = plain(&diff("tar"), 1);
        assert!(shown.contains("… and 3 more (--top)") && !shown.contains("restic"));
    }

    #[test]
    fn no_name_harms_a_terminal_or_breaks_a_line() {
        let long = "x".repeat(300);
        let names = [
            "\x1b[2J\u{9b}31m\u{202e}",
            "line\nbreak\r\n",
            "<x>;1 2",
            "",
            long.as_str(),
        ];
        for name in names {
            let shown = plain(&diff(name), 10);
            let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!shown.contains(harmful), "{name:?}");
            assert!(
                shown.lines().all(|line| line.chars().count() <= 80),
                "{shown}"
            );
            let whole = json::diff(&diff(name)).unwrap();
            assert!(!whole.contains(harmful), "{name:?}");
            assert_eq!(serde_json::from_str::<Diff>(&whole).unwrap(), diff(name));
        }
    }
}
