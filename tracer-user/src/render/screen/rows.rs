//! The rows of each table of the screen.

use super::super::{
    table::sparkline,
    top::{disk, kib, kib_per_s, link, owner, process, rounded, wait},
};
use crate::{
    report::top::{Flow, Machine, Party, Process, Rates, Top, Wait},
    units::{bytes, escape_terminal as safe},
};

/// Columns of a sparkline.
const LINE: usize = 12;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: &'static str,
    /// Does it stand at the right, and can rows be sorted by it?
    pub(super) is_figure: bool,
    /// Where there is little room, columns of the highest rank are left out first.
    pub(super) rank: u8,
}

const fn words(name: &'static str, rank: u8) -> Column {
    Column {
        name,
        is_figure: false,
        rank,
    }
}

const fn figure(name: &'static str, rank: u8) -> Column {
    Column {
        name,
        is_figure: true,
        rank,
    }
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// As many as there are columns.
    pub(super) cells: Vec<String>,
    /// By what rows are sorted, column by column; 0 for words.
    pub(super) figures: Vec<f64>,
    /// The victim, and whoever held what it waited for: for whom it may be looked at closer.
    pub(super) about: Option<(Party, Option<Party>)>,
    /// Part of a victim's time that it costs, 0..1.
    pub(super) harm: f64,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
}

const WAITS: [Column; 8] = [
    words("", 0),
    words("who waits", 0),
    words("for", 1),
    words("at", 4),
    words("held by", 0),
    figure("waited", 3),
    figure("part", 2),
    words("last minute", 5),
];

/// Who waits for whom; `line` is what each wait cost in the last minute.
pub(super) fn waits(top: &Top, line: impl Fn(&Wait) -> Vec<u64>) -> Table {
    let row = |found: &Wait| {
        let mut cells = wait(found).to_vec();
        cells.push(sparkline(&line(found), LINE));
        let (ns, part) = (found.ns as f64, found.part);
        Row {
            cells,
            figures: vec![0.0, 0.0, 0.0, 0.0, 0.0, ns, part, 0.0],
            about: Some((found.victim.clone(), found.culprit.clone())),
            harm: if found.felt { found.part } else { 0.0 },
        }
    };
    Table {
        columns: WAITS.to_vec(),
        rows: top.waits.iter().map(row).collect(),
    }
}

const PROCESSES: [Column; 6] = [
    words("process", 0),
    figure("read", 0),
    figure("written", 0),
    figure("disk waits", 1),
    figure("memory waits", 2),
    words("command", 3),
];

/// Processes and disks.
pub(super) fn processes(top: &Top, totals: bool) -> Table {
    let rows = top.processes.iter();
    Table {
        columns: PROCESSES.to_vec(),
        rows: rows.map(|found| process_row(found, totals)).collect(),
    }
}

fn process_row(found: &Process, totals: bool) -> Row {
    let [name, read, written, disk, memory] = process(found);
    let rate = |rate: Option<f64>| rate.unwrap_or(0.0);
    // What is not known is no figure, and has no unit.
    let each_s = |cell: String, rate: Option<f64>| match rate {
        Some(_) => cell + "/s",
        None => cell,
    };
    let (read, written, figures) = match totals {
        true => (
            bytes(found.read_bytes),
            bytes(found.written_bytes),
            (found.read_bytes as f64, found.written_bytes as f64),
        ),
        false => (
            each_s(read, found.read_per_s),
            each_s(written, found.written_per_s),
            (rate(found.read_per_s), rate(found.written_per_s)),
        ),
    };
    let waited = (found.disk_ns as f64, found.memory_ns as f64);
    Row {
        cells: vec![name, read, written, disk, memory, safe(&found.cmdline)],
        figures: vec![0.0, figures.0, figures.1, waited.0, waited.1, 0.0],
        about: Some((
            Party {
                pid: found.pid,
                pids: vec![found.pid],
                comm: found.comm.clone(),
                unit: found.unit.clone(),
                ..Party::default()
            },
            None,
        )),
        harm: 0.0,
    }
}

const DISKS: [Column; 11] = [
    words("disk", 0),
    figure("r/s", 1),
    figure("w/s", 1),
    figure("rkB/s", 3),
    figure("wkB/s", 3),
    figure("rrqm", 5),
    figure("wrqm", 5),
    figure("r_await", 2),
    figure("w_await", 2),
    figure("aqu-sz", 4),
    figure("%util", 0),
];

/// Disks, as `iostat -x` has them.
pub(super) fn disks(top: &Top) -> Table {
    let rows = top.disks.iter().map(|found| Row {
        cells: disk(found).to_vec(),
        figures: vec![
            0.0,
            found.reads_per_s,
            found.writes_per_s,
            found.read_kib_per_s,
            found.written_kib_per_s,
            found.reads_merged_per_s,
            found.writes_merged_per_s,
            found.read_await_ms.unwrap_or(0.0),
            found.write_await_ms.unwrap_or(0.0),
            found.queue,
            found.used,
        ],
        ..Row::default()
    });
    Table {
        columns: DISKS.to_vec(),
        rows: rows.collect(),
    }
}

const MACHINE: [Column; 2] = [words("", 0), figure("", 0)];

/// Memory, swap, threads and CPUs, as `vmstat` has them: one below the other, so that the narrowest screen has all.
pub(super) fn machine(top: &Top) -> Table {
    let found = top.machine.as_ref().map(lines_of).unwrap_or_default();
    let rows = found.into_iter().map(|(name, value)| Row {
        cells: vec![name.to_owned(), value],
        figures: vec![0.0, 0.0],
        ..Row::default()
    });
    Table {
        columns: MACHINE.to_vec(),
        rows: rows.collect(),
    }
}

fn lines_of(found: &Machine) -> Vec<(&'static str, String)> {
    let percent = |part: f64| format!("{} %", rounded(100.0 * part));
    let each_s = |count: f64| format!("{}/s", rounded(count));
    let moved = |kib: f64| format!("{}/s", kib_per_s(kib));
    vec![
        ("threads that run or want to", found.running.to_string()),
        ("threads that wait for a disk", found.blocked.to_string()),
        ("CPUs in programs", percent(found.user)),
        ("CPUs in the kernel", percent(found.system)),
        ("CPUs idle", percent(found.idle)),
        ("CPUs idle, a disk was waited for", percent(found.iowait)),
        ("CPUs taken by the hypervisor", percent(found.steal)),
        ("memory free", kib(found.free_kib)),
        ("memory available", kib(found.available_kib)),
        ("buffers", kib(found.buffers_kib)),
        ("cached", kib(found.cached_kib)),
        ("swap in use", kib(found.swapped_kib)),
        ("swapped in", moved(found.swapped_in_kib_per_s)),
        ("swapped out", moved(found.swapped_out_kib_per_s)),
        ("read from disks", moved(found.read_kib_per_s)),
        ("written to disks", moved(found.written_kib_per_s)),
        ("switches of threads", each_s(found.switches_per_s)),
        ("interrupts", each_s(found.interrupts_per_s)),
        ("forks", each_s(found.forks_per_s)),
    ]
}

const FLOWS: [Column; 7] = [
    words("process", 0),
    words("peer", 0),
    figure("2 s", 0),
    figure("10 s", 2),
    figure("40 s", 3),
    figure("in all", 1),
    words("way", 4),
];

/// Interfaces, then connections, each with a row for each way, as `iftop` has them.
pub(super) fn flows(top: &Top, totals: bool) -> Table {
    let of_links = top.links.iter().flat_map(|found| {
        let [name, ..] = link(found);
        let row = |way: &str, rate: f64| Row {
            cells: vec![
                name.clone(),
                String::new(),
                bytes(rate as u64),
                String::new(),
                String::new(),
                String::new(),
                way.to_owned(),
            ],
            figures: vec![0.0, 0.0, rate, 0.0, 0.0, 0.0, 0.0],
            ..Row::default()
        };
        let used = found.sent_per_s > 0.0 || found.received_per_s > 0.0;
        let rows = [
            row("sent", found.sent_per_s),
            row("received", found.received_per_s),
        ];
        rows.into_iter().filter(move |_| used)
    });
    let flows = top.flows.iter().flatten();
    let of_flows = flows.flat_map(|found| {
        [
            flow_row(found, "sent", found.sent, found.sent_bytes),
            flow_row(found, "received", found.received, found.received_bytes),
        ]
    });
    let mut rows: Vec<Row> = of_links.chain(of_flows).collect();
    if totals {
        rows.sort_by(|a, b| b.figures[5].total_cmp(&a.figures[5]));
    }
    Table {
        columns: FLOWS.to_vec(),
        rows,
    }
}

fn flow_row(found: &Flow, way: &str, rates: Rates, all: u64) -> Row {
    let over = |rate: f64| bytes(rate as u64);
    Row {
        cells: vec![
            owner(found),
            safe(&found.remote),
            over(rates.over_2_s),
            over(rates.over_10_s),
            over(rates.over_40_s),
            bytes(all),
            way.to_owned(),
        ],
        figures: vec![
            0.0,
            0.0,
            rates.over_2_s,
            rates.over_10_s,
            rates.over_40_s,
            all as f64,
            0.0,
        ],
        ..Row::default()
    }
}

const CLOSER: [Column; 4] = [words("", 0), words("", 0), figure("", 1), figure("", 2)];

/// All that is known of one victim in this interval: its waits, its use of disks, its connections.
pub(super) fn closer(top: &Top, victim: &Party, totals: bool) -> Table {
    let has = |pid: u32| victim.pid == pid || victim.pids.contains(&pid);
    let of_waits = top.waits.iter().filter(|found| has(found.victim.pid));
    let of_waits = of_waits.map(|found| {
        let [_, _, resource, place, holder, ns, part] = wait(found);
        (format!("waits for {resource} {place}"), holder, ns, part)
    });
    let of_disks = top.processes.iter().filter(|found| has(found.pid));
    let of_disks = of_disks.map(|found| {
        let cells = process_row(found, totals).cells;
        let read = format!("read {}", cells[1]);
        (
            cells[0].clone(),
            cells[5].clone(),
            read,
            format!("written {}", cells[2]),
        )
    });
    let flows = top.flows.iter().flatten();
    let of_flows = flows
        .filter(|found| found.pid.is_some_and(has))
        .map(|found| {
            let sent = format!("sent {}/s", bytes(found.sent.over_2_s as u64));
            let received = format!("received {}/s", bytes(found.received.over_2_s as u64));
            (safe(&found.local), safe(&found.remote), sent, received)
        });
    let all = of_waits.chain(of_disks).chain(of_flows);
    let rows = all.map(|(first, second, third, fourth)| Row {
        cells: vec![first, second, third, fourth],
        figures: vec![0.0; CLOSER.len()],
        ..Row::default()
    });
    Table {
        columns: CLOSER.to_vec(),
        rows: rows.collect(),
    }
}
