//! The report for people: 80 columns, the answer first, the evidence below.

use super::table::{Align, WIDTH, bar, sparkline, table, wrap};
use crate::{
    class::Class,
    report::{
        Basis, Blame, Budget, Histogram, Report, Shed,
        reading::{Estimate, Part, parts},
    },
    units::{bytes, count, escape_terminal as safe, percent, plural, share, shorten, time},
};

/// Options of the text report.
#[derive(Clone, Copy, Debug)]
pub struct TextOptions {
    /// Rows of each table.
    pub top: usize,
    /// Use ANSI colours.
    pub colour: bool,
}

impl TextOptions {
    /// What stands out.
    pub(super) fn bold(self, text: &str) -> String {
        match self.colour {
            true => format!("\x1b[1m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The answer, and below it the sections that have something to say.
pub(super) fn page<const N: usize>(answer: Vec<String>, sections: [Vec<String>; N]) -> String {
    let mut lines = answer;
    for section in sections {
        if !section.is_empty() {
            lines.push(String::new());
            lines.extend(section);
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Columns of a process's command line or title.
const TITLE: usize = 50;

/// Columns of a bar.
const BAR: usize = 38;

/// The report as text.
#[must_use]
pub fn text(report: &Report, options: &TextOptions) -> String {
    let parts = Page { report, options };
    let sections = [
        parts.remedies(),
        parts.budgets(),
        parts.holders(),
        parts.latencies(),
        parts.areas(),
        parts.footnotes(),
    ];
    page(parts.answer(), sections)
}

struct Page<'a> {
    report: &'a Report,
    options: &'a TextOptions,
}

impl Page<'_> {
    fn answer(&self) -> Vec<String> {
        let report = self.report;
        let mut lines: Vec<String> = wrap(&safe(&report.verdict.sentence), "", "")
            .iter()
            .map(|line| self.options.bold(line))
            .collect();
        let target = &report.target;
        let more = if target.pids.len() > 1 {
            format!(" and {} more", target.pids.len() - 1)
        } else {
            String::new()
        };
        let known_as = target.known_as();
        let known_as = known_as.map_or_else(String::new, |name| format!(", {}", safe(&name)));
        let facts = format!(
            "confidence {} · {} traced · {} (pid {}{known_as}){more} · {} · {} · {}",
            percent(report.verdict.confidence),
            time(report.window.duration_ns),
            safe(&target.comm),
            target.pid,
            plural(target.threads, "thread"),
            safe(&report.host.hostname),
            safe(&report.window.start),
        );
        lines.extend(wrap(&facts, "  ", "  "));
        lines
    }

    fn remedies(&self) -> Vec<String> {
        let remedies = self.report.verdict.remedies_by_use();
        if remedies.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![self.options.bold("What to do")];
        for remedy in remedies {
            let mark = if remedy.applies { "  + " } else { "  - " };
            lines.extend(wrap(&safe(&remedy.command), mark, "    "));
            let text = if remedy.applies {
                format!("{}; {}", remedy.why, remedy.note)
            } else {
                remedy.note.clone()
            };
            lines.extend(wrap(&safe(&text), "      ", "      "));
        }
        lines
    }

    fn budgets(&self) -> Vec<String> {
        let mut lines = vec![self.options.bold("Where the time went")];
        let unaccounted = |ns| unaccounted(ns, self.report.losses.explain_unaccounted());
        if let Some(requests) = &self.report.requests {
            let quantile = |ns: Option<u64>| ns.map_or_else(|| "–".to_owned(), time);
            lines.push(format!(
                "  {}: p50 {} · p99 {} · longest {}",
                plural(requests.count, "request"),
                quantile(requests.p50_ns),
                quantile(requests.p99_ns),
                quantile(requests.max_ns)
            ));
            let mut also = Vec::new();
            if requests.leaves_late() {
                also.push(format!(
                    "until the last send: p50 {} · p99 {}",
                    quantile(requests.sent_p50_ns),
                    quantile(requests.sent_p99_ns)
                ));
            }
            if requests.open > 0 {
                also.push(format!(
                    "{} still open, the oldest for {}",
                    requests.open,
                    quantile(requests.oldest_open_ns)
                ));
            }
            if let Some(part) = requests.notable_behind_own() {
                also.push(format!(
                    "{} of their time their thread worked on other ones",
                    share(part)
                ));
            }
            lines.extend(also.iter().flat_map(|also| wrap(also, "    ", "    ")));
            // A request is never idle: its answer is on the way to the client.
            lines.extend(bars(&requests.budget_ns, "under way"));
            lines.extend(requests.notable_unaccounted_ns().map(unaccounted));
        }
        let threads = &self.report.threads;
        lines.push(format!(
            "  {}: {} of life",
            plural(self.report.target.threads, "thread"),
            time(threads.wall_ns)
        ));
        lines.extend(bars(&threads.budget_ns, Class::Idle.name()));
        lines.extend(threads.notable_unaccounted_ns().map(unaccounted));
        lines
    }

    fn holders(&self) -> Vec<String> {
        let blame = &self.report.blame;
        if blame.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![
            ["for", "at", "held by", "waited", "part", "I/Os", "bytes"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(
            blame
                .iter()
                .take(self.options.top)
                .map(|row| self.holder(row)),
        );
        use Align::{Left, Right};
        let mut lines = vec![self.options.bold("Who held it meanwhile")];
        lines.extend(table(
            &rows,
            &[Left, Left, Left, Right, Right, Right, Right],
            &[1, 2],
            2,
        ));
        if blame.len() > self.options.top {
            lines.push(format!(
                "  … and {} more (--top)",
                blame.len() - self.options.top
            ));
        }
        lines.extend(self.own_parts());
        let shown = blame.iter().take(self.options.top);
        let estimates: Vec<Estimate> = shown.filter_map(Blame::estimate).collect();
        if estimates.contains(&Estimate::Stolen) {
            lines
                .push("  ~ in proportion: when in a slice time was stolen is not known".to_owned());
        }
        if estimates.contains(&Estimate::OwnService) {
            lines.push(
                "  ~ rests on an estimate of what the target's own I/O takes alone".to_owned(),
            );
        }
        lines
    }

    /// The target itself, part by part.
    fn own_parts(&self) -> Vec<String> {
        let parts = self.report.telling_parts().into_iter();
        let lines = parts.map(|part| {
            let client = part.client.as_ref();
            let client = client.map_or_else(String::new, |client| format!(" for {client}"));
            let thread = part.thread.as_ref();
            let thread = thread.map_or_else(String::new, |name| format!(", thread {name}"));
            let words = match part.cmdline.is_empty() {
                true => &part.comm,
                false => &part.cmdline,
            };
            let text = format!(
                "{} {}{thread}{client} [{}]",
                share(part.share),
                shorten(words, TITLE),
                part.pid
            );
            wrap(&safe(&text), "  itself: ", "          ")
        });
        lines.flatten().collect()
    }

    fn holder(&self, row: &Blame) -> Vec<String> {
        let holder = match row.holder_pid() {
            Some(pid) => format!("{} [{pid}]", safe(&row.comm)),
            None => safe(&row.comm),
        };
        let mark = if row.estimated { "~" } else { "" };
        let optional =
            |figure: Option<u64>, show: fn(u64) -> String| figure.map_or_else(String::new, show);
        vec![
            row.resource.name().to_owned(),
            row.place.as_deref().map(safe).unwrap_or_default(),
            holder,
            format!("{mark}{}", time(row.ns)),
            share(self.report.share_of(row)),
            optional(row.ios, count),
            optional(row.bytes, bytes),
        ]
    }

    fn latencies(&self) -> Vec<String> {
        let own = self.report.own_histograms();
        if own.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![
            ["pid", "", "count", "p50", "p90", "p99", "longest", ""]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(
            own.iter()
                .take(self.options.top)
                .map(|histogram| latency(histogram)),
        );
        use Align::{Left, Right};
        let mut lines = vec![self.options.bold("Latencies of the target")];
        lines.extend(table(
            &rows,
            &[Right, Left, Right, Right, Right, Right, Right, Left],
            &[1, 7],
            2,
        ));
        if own.len() > self.options.top {
            lines.push(format!(
                "  … and {} more (--top)",
                own.len() - self.options.top
            ));
        }
        lines
    }

    fn areas(&self) -> Vec<String> {
        let report = self.report;
        let mut lines = Vec::new();
        if !report.healthy.is_empty() {
            let names: Vec<&str> = report
                .healthy
                .iter()
                .map(|resource| resource.name())
                .collect();
            lines.push(format!(
                "{} {}",
                self.options.bold("Healthy"),
                names.join(", ")
            ));
        }
        for unknown in &report.unknown {
            let text = format!("{}: {}", unknown.resource.name(), safe(&unknown.reason));
            lines.extend(wrap(&text, "Unknown ", "        "));
        }
        for (resource, ns) in report.notable_unattributed() {
            lines.push(format!("Unattributed {}: {}", resource.name(), time(ns)));
        }
        for evidence in &report.evidence {
            lines.extend(wrap(&safe(evidence), "Evidence ", "         "));
        }
        lines
    }

    fn footnotes(&self) -> Vec<String> {
        let mut lines = self.losses();
        for missing in self.report.unsaid_probes() {
            lines.extend(wrap(
                &format!("{}: {}", safe(&missing.probe), safe(&missing.cost)),
                "Missing ",
                "        ",
            ));
        }
        lines.extend(wrap(&self.cost(), "", ""));
        lines
    }

    fn losses(&self) -> Vec<String> {
        let losses = &self.report.losses;
        let mut lines = Vec::new();
        let felt = losses.felt().into_iter();
        let lost: Vec<String> = felt
            .map(|(what, n)| format!("{} {}", count(n), safe(what)))
            .collect();
        if !lost.is_empty() {
            lines.extend(wrap(
                &format!("{}: the figures above are too low", lost.join(", ")),
                "Lost ",
                "     ",
            ));
        }
        let snapshots = losses.snapshots();
        if snapshots > 0 {
            let text = format!(
                "{} on the way: they were read at the end, and no figure is missing",
                plural(snapshots, "histogram")
            );
            lines.extend(wrap(&text, "Lost ", "     "));
        }
        let idle = losses.idle_histograms();
        if idle > 0 {
            let text = format!(
                "{} histograms: there is no room for those of all processes, and these did nothing for longest",
                count(idle)
            );
            lines.extend(wrap(&text, "Lost ", "     "));
        }
        if losses.unreadable_stacks > 0 {
            lines.push(format!(
                "Lost the stacks of {} waits: they count as other",
                count(losses.unreadable_stacks)
            ));
        }
        if losses.truncated {
            lines.push("Lost the end of the recording: it is cut off".to_owned());
        }
        lines.extend(self.refused());
        lines.extend(self.shed());
        lines
    }

    /// What was not watched all the time.
    fn shed(&self) -> Vec<String> {
        let line = |shed: &Shed| {
            let nobody = match shed.unattributed_ns {
                0 => String::new(),
                ns => format!("; {} of waits are unattributed for that", time(ns)),
            };
            let text = format!(
                "{} for {}: {}{nobody}",
                safe(&shed.probes),
                time(shed.for_ns),
                safe(&shed.why)
            );
            wrap(&text, "Shed ", "     ")
        };
        self.report.losses.shed.iter().flat_map(line).collect()
    }

    /// What the gate did not let through.
    fn refused(&self) -> Vec<String> {
        let refused = &self.report.losses.refused;
        if refused.is_empty() {
            return Vec::new();
        }
        let words: Vec<String> = refused
            .iter()
            .map(|(reason, n)| format!("{} {}", count(*n), safe(reason)))
            .collect();
        let text = format!(
            "events that no kernel sends ({}): the figures above do not have them",
            words.join(", ")
        );
        wrap(&text, "Refused ", "        ")
    }

    /// The basis of the verdict, and the cost of the tracer itself.
    fn cost(&self) -> String {
        let basis = match self.report.verdict.basis {
            Basis::Requests => "requests",
            Basis::Threads => "threads",
        };
        let tracer = &self.report.tracer;
        let kernel = tracer
            .kernel_ns
            .map(|ns| format!(" and {} in the kernel", time(ns)));
        let felt = tracer
            .felt_share()
            .map(|part| format!(" Its CPU time is {} of the machine's.", share(part)));
        format!(
            "Judged by the time of {basis}. The tracer took {} of CPU{}, {} of memory and {} of maps; attached in {}.{}",
            time(tracer.cpu_ns),
            kernel.unwrap_or_default(),
            bytes(tracer.rss_bytes),
            bytes(tracer.maps_bytes),
            time(tracer.attach_ns),
            felt.unwrap_or_default(),
        )
    }
}

/// Time that no class explains. Where no record `is_lost`, none was made: a thread's life before it is first seen has no record.
fn unaccounted(ns: u64, is_lost: bool) -> String {
    let why = match is_lost {
        true => "records were lost",
        false => "no record says what it was",
    };
    format!("    {} of it cannot be accounted for: {why}", time(ns))
}

/// One bar for each class in which time was spent; what is idle has a word of its own.
fn bars(budget: &Budget, idle: &str) -> Vec<String> {
    let row = |part: &Part| {
        let name = match part.class {
            Class::Idle => idle,
            class => class.name(),
        };
        format!(
            "    {name:9} {:BAR$} {:>6} {:>10}",
            bar(part.share, BAR),
            share(part.share),
            time(part.ns)
        )
    };
    parts(budget).iter().map(row).collect()
}

fn latency(histogram: &Histogram) -> Vec<String> {
    let figure = |ns: Option<u64>| ns.map_or_else(String::new, time);
    vec![
        histogram.pid.to_string(),
        shorten(&safe(&histogram.family), 15),
        count(histogram.count),
        figure(histogram.p50_ns),
        figure(histogram.p90_ns),
        figure(histogram.p99_ns),
        figure(histogram.max_ns),
        sparkline(&histogram.counts, WIDTH - 68),
    ]
}
