//! One interval of the whole machine for people: 80 columns, the sentence first, then who waits for whom, then the figures of the four
//! tools.

use super::{
    table::{Align, table, wrap},
    text::{TextOptions, page},
};
use crate::{
    report::top::{Disk, Flow, Link, Machine, Party, Process, Rates, Top, Wait},
    units::{bytes, count, escape_terminal as safe, percent, share, time},
};

/// A cell of what is not known.
const UNKNOWN: &str = "–";

/// Text, then so many figures.
fn text_and<const N: usize>(texts: usize) -> [Align; N] {
    std::array::from_fn(|column| match column < texts {
        true => Align::Left,
        false => Align::Right,
    })
}

/// The interval as text.
#[must_use]
pub fn text(top: &Top, options: &TextOptions) -> String {
    let page_of = Page { top, options };
    let sections = [
        page_of.waits(),
        page_of.processes(),
        page_of.disks(),
        page_of.machine(),
        page_of.links(),
        page_of.flows(),
        page_of.losses(),
    ];
    page(page_of.answer(), sections)
}

struct Page<'a> {
    top: &'a Top,
    options: &'a TextOptions,
}

impl Page<'_> {
    fn answer(&self) -> Vec<String> {
        let top = self.top;
        let mut lines: Vec<String> = wrap(&safe(&top.sentence), "", "")
            .iter()
            .map(|line| self.options.bold(line))
            .collect();
        let confidence = top
            .confidence
            .map(|part| format!("confidence {} · ", percent(part)));
        let facts = format!(
            "{}{} · {}",
            confidence.unwrap_or_default(),
            time(top.interval_ns),
            safe(&top.time)
        );
        lines.extend(wrap(&facts, "  ", "  "));
        lines
    }

    /// A headed table of the first rows, unless it has none.
    fn section<const N: usize>(
        &self,
        head: &str,
        columns: [&str; N],
        texts: usize,
        rows: Vec<[String; N]>,
    ) -> Vec<String> {
        if rows.is_empty() {
            return Vec::new();
        }
        let left_out = rows.len().saturating_sub(self.options.top);
        let names = columns.map(str::to_owned).to_vec();
        let rows = rows.into_iter().take(self.options.top).map(Vec::from);
        let all: Vec<Vec<String>> = [names].into_iter().chain(rows).collect();
        let flexible: Vec<usize> = (0..texts).collect();
        let mut lines = vec![self.options.bold(head)];
        lines.extend(table(&all, &text_and::<N>(texts), &flexible, 2));
        if left_out > 0 {
            lines.push(format!("  … and {left_out} more"));
        }
        lines
    }

    fn waits(&self) -> Vec<String> {
        let rows = self.top.waits.iter().map(wait).collect();
        let columns = ["", "who waits", "for", "at", "held by", "waited", "part"];
        self.section("Who waits for whom", columns, 5, rows)
    }

    fn processes(&self) -> Vec<String> {
        let rows = self.top.processes.iter().map(process).collect();
        let columns = [
            "process",
            "read/s",
            "written/s",
            "disk waits",
            "memory waits",
        ];
        self.section("Processes and disks", columns, 1, rows)
    }

    fn disks(&self) -> Vec<String> {
        let rows = self.top.disks.iter().map(disk).collect();
        let columns = [
            "disk", "r/s", "w/s", "rkB/s", "wkB/s", "rrqm", "wrqm", "r_await", "w_await", "aqu-sz",
            "%util",
        ];
        self.section("Disks", columns, 1, rows)
    }

    fn machine(&self) -> Vec<String> {
        let Some(machine) = &self.top.machine else {
            return Vec::new();
        };
        let memory = [
            "",
            "r",
            "b",
            "swapped",
            "free",
            "buffers",
            "cached",
            "swap in/s",
            "swap out/s",
        ];
        let mut lines = self.section("Memory and CPUs", memory, 1, vec![filled(machine)]);
        let cpus = [
            "",
            "in/s",
            "out/s",
            "interrupts",
            "switches",
            "us",
            "sy",
            "id",
            "wa",
            "st",
        ];
        // It has no head of its own.
        lines.extend(
            self.section("", cpus, 1, vec![spent(machine)])
                .into_iter()
                .skip(1),
        );
        lines
    }

    fn links(&self) -> Vec<String> {
        let is_used = |link: &&Link| link.sent_per_s > 0.0 || link.received_per_s > 0.0;
        let rows = self.top.links.iter().filter(is_used).map(link).collect();
        let columns = [
            "link",
            "sent/s",
            "received/s",
            "packets out",
            "packets in",
            "dropped",
        ];
        self.section("Links", columns, 1, rows)
    }

    fn flows(&self) -> Vec<String> {
        let rows = self.top.flows.iter().flatten().flat_map(flow).collect();
        let columns = ["connection", "", "2 s", "10 s", "40 s", "in all"];
        self.section("Connections", columns, 2, rows)
    }

    fn losses(&self) -> Vec<String> {
        let cost = &self.top.tracer;
        let mut lines = Vec::new();
        if cost.lost + cost.left_out > 0 {
            let lost = format!(
                "Lost {} records: figures of waits are too low",
                count(cost.lost.saturating_add(cost.left_out))
            );
            lines.extend(wrap(&lost, "", "  "));
        }
        for missing in &cost.missing {
            let text = format!("Missing {}: {}", safe(&missing.probe), safe(&missing.cost));
            lines.extend(wrap(&text, "", "  "));
        }
        lines
    }
}

/// A process, so that one can act on it.
pub(super) fn named(comm: &str, pid: u32) -> String {
    format!("{} [{pid}]", safe(comm))
}

pub(super) fn party(party: &Party) -> String {
    named(party.known_as(), party.pid)
}

pub(super) fn wait(wait: &Wait) -> [String; 7] {
    let culprit = wait.culprit.as_ref();
    // Two programs of one service are told apart by their own names.
    let is_one = culprit.is_some_and(|culprit| culprit.known_as() == wait.victim.known_as());
    let name = |of: &Party| match is_one {
        true => named(&of.comm, of.pid),
        false => party(of),
    };
    [
        if wait.felt { "!" } else { "" }.to_owned(),
        name(&wait.victim),
        wait.resource.name().to_owned(),
        wait.place.as_deref().map_or_else(String::new, safe),
        culprit.map_or_else(|| "itself, or nobody".to_owned(), name),
        time(wait.ns),
        share(wait.part),
    ]
}

fn per_s(rate: Option<f64>) -> String {
    rate.map_or_else(|| UNKNOWN.to_owned(), |rate| bytes(rate as u64))
}

pub(super) fn process(process: &Process) -> [String; 5] {
    [
        named(&process.comm, process.pid),
        per_s(process.read_per_s),
        per_s(process.written_per_s),
        time(process.disk_ns),
        time(process.memory_ns),
    ]
}

/// The process that has a connection.
pub(super) fn owner(flow: &Flow) -> String {
    let comm = flow.comm.as_deref().unwrap_or(UNKNOWN);
    flow.pid.map_or_else(|| safe(comm), |pid| named(comm, pid))
}

/// As iostat rounds them.
fn figure(value: f64) -> String {
    format!("{value:.2}")
}

pub(super) fn rounded(value: f64) -> String {
    format!("{value:.0}")
}

pub(super) fn disk(disk: &Disk) -> [String; 11] {
    let mean = |ms: Option<f64>| ms.map_or_else(|| UNKNOWN.to_owned(), figure);
    [
        safe(&disk.name),
        rounded(disk.reads_per_s),
        rounded(disk.writes_per_s),
        rounded(disk.read_kib_per_s),
        rounded(disk.written_kib_per_s),
        rounded(disk.reads_merged_per_s),
        rounded(disk.writes_merged_per_s),
        mean(disk.read_await_ms),
        mean(disk.write_await_ms),
        figure(disk.queue),
        rounded(100.0 * disk.used),
    ]
}

pub(super) fn kib(kib: u64) -> String {
    bytes(kib.saturating_mul(1024))
}

pub(super) fn kib_per_s(kib: f64) -> String {
    bytes((1024.0 * kib) as u64)
}

fn filled(machine: &Machine) -> [String; 9] {
    [
        String::new(),
        machine.running.to_string(),
        machine.blocked.to_string(),
        kib(machine.swapped_kib),
        kib(machine.free_kib),
        kib(machine.buffers_kib),
        kib(machine.cached_kib),
        kib_per_s(machine.swapped_in_kib_per_s),
        kib_per_s(machine.swapped_out_kib_per_s),
    ]
}

fn spent(machine: &Machine) -> [String; 10] {
    let part = |part: f64| rounded(100.0 * part);
    [
        String::new(),
        kib_per_s(machine.read_kib_per_s),
        kib_per_s(machine.written_kib_per_s),
        count(machine.interrupts_per_s as u64),
        count(machine.switches_per_s as u64),
        part(machine.user),
        part(machine.system),
        part(machine.idle),
        part(machine.iowait),
        part(machine.steal),
    ]
}

pub(super) fn link(link: &Link) -> [String; 6] {
    [
        safe(&link.name),
        bytes(link.sent_per_s as u64),
        bytes(link.received_per_s as u64),
        count(link.sent_packets_per_s as u64),
        count(link.received_packets_per_s as u64),
        count(link.drops_per_s as u64),
    ]
}

/// A line for each direction, as `iftop` has them.
fn flow(flow: &Flow) -> [[String; 6]; 2] {
    let line = |who: String, way: String, rates: Rates, all: u64| {
        let over = |rate: f64| bytes(rate as u64);
        [
            who,
            way,
            over(rates.over_2_s),
            over(rates.over_10_s),
            over(rates.over_40_s),
            bytes(all),
        ]
    };
    let (local, remote) = (safe(&flow.local), safe(&flow.remote));
    [
        line(
            owner(flow),
            format!("{local} → {remote}"),
            flow.sent,
            flow.sent_bytes,
        ),
        line(
            String::new(),
            format!("{local} ← {remote}"),
            flow.received,
            flow.received_bytes,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        class::Resource,
        render::{examples, json},
        report::top::Cost,
    };

    fn example() -> Top {
        let party = |pid, comm: &str, unit: Option<&str>| Party {
            pid,
            pids: vec![pid],
            comm: comm.to_owned(),
            unit: unit.map(str::to_owned),
            ..Party::default()
        };
        let interval = examples::interval();
        let disks = vec![Disk {
            read_await_ms: Some(12.345),
            used: 0.998,
            ..interval.disks[0].clone()
        }];
        Top {
            schema: crate::report::top::SCHEMA.to_owned(),
            time: "2026-11-29T22:16:29.682Z".to_owned(),
            interval_ns: 1_000_000_000,
            counted_ns: 1_000_000_000,
            sentence: "nginx waits for the disk: 92 % of its blocked time it stood behind tar \x1b[2J (pid 7) on sda.".to_owned(),
            contended: true,
            confidence: Some(0.5),
            waits: vec![Wait {
                victim: party(5, "nginx", Some("nginx.service")),
                culprit: Some(party(7, "tar | gzip", None)),
                resource: Resource::Disk,
                place: Some("sda".to_owned()),
                ns: 900_000_000,
                part: 0.9,
                felt: true,
            }],
            processes: vec![Process {
                pid: 7,
                comm: "tar".to_owned(),
                read_per_s: Some(48.0 * 1024.0 * 1024.0),
                disk_ns: 800_000_000,
                ..Process::default()
            }],
            disks,
            tracer: Cost {
                lost: 3,
                ..Cost::default()
            },
            ..interval
        }
    }

    fn shown(top: &Top) -> String {
        text(
            top,
            &TextOptions {
                top: 10,
                colour: false,
            },
        )
    }

    #[test]
    fn the_sentence_and_the_worst_wait_come_first_and_all_fits_into_80_columns() {
        let text = shown(&example());
        assert!(text.starts_with("nginx waits for the disk: "), "{text}");
        let wide = text.lines().filter(|line| line.chars().count() > 80);
        assert_eq!(wide.count(), 0, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        let first = text.lines().find(|line| line.contains("nginx.service [5]"));
        let words: Vec<&str> = first.unwrap().split_whitespace().collect();
        assert_eq!(words[..5], ["!", "nginx.service", "[5]", "disk", "sda"]);
        assert_eq!(words[words.len() - 4..], ["900", "ms", "90", "%"]);
        assert!(
            text.contains("48.0 MiB") && text.contains("12.35"),
            "{text}"
        );
        assert!(text.contains("Lost 3 records"), "{text}");
    }

    #[test]
    fn sections_without_rows_are_left_out() {
        let calm = Top {
            sentence: "nothing is contended".to_owned(),
            ..Top::default()
        };
        let text = shown(&calm);
        assert!(text.starts_with("nothing is contended\n"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn an_interval_is_one_line_of_json_that_can_be_read_again() {
        let line = json::top(&example()).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.ends_with('\n') && !line.contains('\x1b'));
        assert_eq!(serde_json::from_str::<Top>(&line).unwrap(), example());
    }
}
