//! Volume: how many records a second arrive, how many are dropped beyond that, and the cost of reading them.

use std::{
    fs,
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask::command::say;

use super::{
    Report,
    block::{self, MEMORY},
    figures::json_in,
    watcher::{attached, command, signal, tracer},
};
use crate::world::{
    Room, ledger,
    process::{Running, usable_cpus},
};

/// Up to so many records a second, none is lost.
const LOSSLESS: f64 = 300e3;
/// Switches a second to ask for; `None` asks for as many as the machine can make.
const STEPS: &[Step] = &[
    Step::paced(30e3, false),
    Step::paced(100e3, true),
    Step::paced(200e3, false),
    Step::paced(300e3, false),
    Step {
        per_second: None,
        reader: Reader::Reads,
        short: true,
    },
    Step {
        per_second: Some(100e3),
        reader: Reader::Stopped,
        short: true,
    },
];
/// The window that the report of each step covers.
const WINDOW: Duration = Duration::from_millis(2500);
/// How long the reader is stopped: the ring is full after a third of it at 100,000 switches a second.
const STOPPED: Duration = Duration::from_millis(1200);
/// The part by which the histograms' counts a second may differ from the kernel's own. The kernel's counts cover only a part of the
/// window. The load also catches up with the work that it missed while tracer attached.
const COUNTED: f64 = 0.1;

/// The steady load of the promise, and the part of a core that reading it may cost.
const SWITCHES: f64 = 30e3;
const READS: u32 = 10_000;
const PART_OF_A_CORE: f64 = 0.02;
/// Beyond this part of a core `--short` fails: the figure reached, with a margin for another machine.
const FAILS: f64 = 0.2;
/// How long tracer runs at the steady load, and how much of that is not measured.
const STEADY: Duration = Duration::from_secs(3);
const WARM: Duration = Duration::from_millis(500);

struct Step {
    per_second: Option<f64>,
    reader: Reader,
    short: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Reader {
    Reads,
    /// For a part of the window tracer gets no CPU: the rings overflow on any machine.
    Stopped,
}

impl Step {
    const fn paced(per_second: f64, short: bool) -> Self {
        Self {
            per_second: Some(per_second),
            reader: Reader::Reads,
            short,
        }
    }

    fn name(&self) -> String {
        let asked = self
            .per_second
            .map_or("as many as possible".to_owned(), |rate| {
                format!("{rate:.0}")
            });
        match self.reader {
            Reader::Reads => asked,
            Reader::Stopped => format!("{asked}, reader stopped"),
        }
    }
}

/// The result of one step.
struct Seen {
    name: String,
    reader: Reader,
    /// Run-queue waits that the kernel counted, a second: one for each switch to a task.
    switches: f64,
    /// The same in tracer's histogram.
    counted: f64,
    seconds: f64,
    sent: u64,
    received: u64,
    dropped: u64,
    /// Rows of blame, and how many of them are marked as an estimate.
    blamed: usize,
    estimated: usize,
    cpu_ns: f64,
}

/// Steps the rate up, then measures the steady cost.
pub(crate) fn run(short: bool) -> Result<Report> {
    let mark = ledger::mark()?;
    let room = Room::make(Path::new(MEMORY))?;
    let steps = STEPS.iter().filter(|step| step.short || !short);
    let seen = steps
        .map(|step| play(&room, step))
        .collect::<Result<Vec<_>>>()?;
    let steady = steady(&room)?;
    ledger::undo(mark)?;
    let mut faults: Vec<_> = seen.iter().flat_map(Seen::faults).collect();
    faults.extend(steady.iter().filter_map(Steady::fault));
    let rows: Vec<_> = seen.iter().map(Seen::json).collect();
    let costs: Vec<_> = steady.iter().map(Steady::json).collect();
    Ok(Report {
        text: text(&seen, &steady, &faults),
        json: json!({"title": "volume", "rows": rows, "steady": costs, "faults": faults}),
        faults,
    })
}

/// A pair of threads on each CPU, itself the target.
fn pairs(room: &Room, per_second: Option<f64>) -> Result<Running> {
    let cpus: Vec<_> = usable_cpus()?.iter().map(usize::to_string).collect();
    let mut load = room.own("bench-pairs").with(["--cpus", &cpus.join(",")]);
    if let Some(rate) = per_second {
        load = load.with(["--per-second", &rate.to_string()]);
    }
    load.start(Stdio::null())
}

fn play(room: &Room, step: &Step) -> Result<Seen> {
    let load = pairs(room, step.per_second)?;
    let (window, pid) = (format!("{}ms", WINDOW.as_millis()), load.pid().to_string());
    let words = [
        "attach",
        "--output",
        "json",
        "--duration",
        &window,
        "--pid",
        &pid,
    ];
    let mut tracer = tracer(&words).start(Stdio::piped())?;
    attached(&mut tracer)?;
    let before = Waits::of(load.pid())?;
    if step.reader == Reader::Stopped {
        signal(tracer.pid(), libc::SIGSTOP);
        thread::sleep(STOPPED);
        signal(tracer.pid(), libc::SIGCONT);
    } else {
        thread::sleep(STOPPED);
    }
    let switches = before.per_second(&Waits::of(load.pid())?);
    let report = json_in(&tracer.output()?)?;
    let seen = Seen::read(step, load.pid(), switches, &report)
        .with_context(|| format!("the report lacks a figure: {}", report["losses"]))?;
    say(&format!("measured {} switches a second", seen.name));
    Ok(seen)
}

/// How often threads of a process waited for a CPU, and when that was read.
struct Waits {
    count: f64,
    at: Instant,
}

impl Waits {
    fn of(pid: u32) -> Result<Self> {
        // The third number of schedstat: how often a thread was given a CPU.
        let count = schedstat(pid, 2)?;
        let at = Instant::now();
        Ok(Self { count, at })
    }

    fn per_second(&self, later: &Self) -> f64 {
        (later.count - self.count) / (later.at - self.at).as_secs_f64()
    }
}

/// The sum of a number of `schedstat` over the threads that a process has.
fn schedstat(pid: u32, number: usize) -> Result<f64> {
    let mut sum = 0.0;
    let listing = || format!("could not list the threads of {pid}");
    for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(listing)? {
        // A thread may end meanwhile.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let field = text.split_whitespace().nth(number);
        sum += field.and_then(|field| field.parse().ok()).unwrap_or(0.0);
    }
    Ok(sum)
}

impl Seen {
    fn read(step: &Step, pid: u32, switches: f64, report: &Value) -> Option<Self> {
        let losses = &report["losses"];
        let rows = report["blame"].as_array()?;
        let histograms = report["histograms"].as_array()?;
        let waits = histograms
            .iter()
            .find(|row| row["pid"] == pid && row["family"] == "run_queue")?;
        let dropped = losses["ring"].as_object()?.values();
        let seconds = report["window"]["duration_ns"].as_f64()? / 1e9;
        Some(Self {
            name: step.name(),
            reader: step.reader,
            switches,
            counted: waits["count"].as_f64()? / seconds,
            seconds,
            sent: losses["sent"].as_u64()?,
            received: losses["received"].as_u64()?,
            dropped: dropped.filter_map(Value::as_u64).sum(),
            blamed: rows.len(),
            estimated: rows.iter().filter(|row| row["estimated"] == true).count(),
            cpu_ns: report["tracer"]["cpu_ns"].as_f64()?,
        })
    }

    fn rate(&self) -> f64 {
        self.sent as f64 / self.seconds
    }

    /// The promises that are broken.
    fn faults(&self) -> Vec<String> {
        let lost = self.dropped > 0;
        let differ = (self.counted / self.switches - 1.0).abs() > COUNTED;
        [
            (
                self.sent != self.received + self.dropped,
                "sent is not received + dropped",
            ),
            (
                lost && self.reader == Reader::Reads && self.rate() <= LOSSLESS,
                "records were lost below 300,000 a second",
            ),
            (
                !lost && self.reader == Reader::Stopped,
                "nothing was dropped: the check of drops did not happen",
            ),
            (
                lost && self.estimated < self.blamed,
                "records were lost, and blame is not marked as an estimate",
            ),
            (
                differ,
                "the histogram does not count what the kernel counts",
            ),
        ]
        .into_iter()
        .filter(|(broken, _)| *broken)
        .map(|(_, what)| format!("volume, {}: {what}", self.name))
        .collect()
    }

    fn json(&self) -> Value {
        json!({
            "step": self.name, "switches_per_second": self.switches, "counted_per_second": self.counted,
            "records_per_second": self.rate(), "sent": self.sent, "received": self.received, "dropped": self.dropped,
            "blame_rows": self.blamed, "estimated_rows": self.estimated, "cpu_ns": self.cpu_ns,
        })
    }
}

/// The cost of reading at the steady load.
struct Steady {
    name: &'static str,
    /// Part of a core.
    part: f64,
    records_per_second: f64,
}

fn steady(room: &Room) -> Result<Vec<Steady>> {
    let unrelated = command(&["sleep", "1000000"]).start(Stdio::null())?;
    let switches = pairs(room, Some(SWITCHES))?;
    let reads = block::reads(&block::disk(room)?, "60s")
        .with([format!("--rate_iops={READS}")])
        .start(Stdio::null())?;
    thread::sleep(WARM);
    Ok(vec![
        cost("tracing another process", &[unrelated.pid()])?,
        cost("tracing the load", &[switches.pid(), reads.pid()])?,
    ])
}

/// The CPU time of a tracer that has attached, while it traces.
fn cost(name: &'static str, targets: &[u32]) -> Result<Steady> {
    let window = format!("{}ms", (STEADY + WARM).as_millis());
    let words = ["attach", "--output", "json", "--duration", &window, "--pid"];
    let mut tracer = tracer(&words)
        .with(targets.iter().map(u32::to_string))
        .start(Stdio::piped())?;
    attached(&mut tracer)?;
    let (began, before) = (Instant::now(), schedstat(tracer.pid(), 0)?);
    thread::sleep(STEADY - WARM);
    let spent = schedstat(tracer.pid(), 0)? - before;
    let part = spent / began.elapsed().as_secs_f64() / 1e9;
    let report = json_in(&tracer.output()?)?;
    let received = report["losses"]["received"].as_f64();
    let records_per_second = received
        .zip(report["window"]["duration_ns"].as_f64())
        .map(|(received, ns)| received * 1e9 / ns)
        .context("the report lacks what was received")?;
    say(&format!("measured {name}"));
    Ok(Steady {
        name,
        part,
        records_per_second,
    })
}

impl Steady {
    fn fault(&self) -> Option<String> {
        let (name, part) = (self.name, 100.0 * self.part);
        let said = || {
            format!(
                "volume, {name}: {part:.1} % of a core, limit {:.0} %",
                100.0 * FAILS
            )
        };
        (self.part > FAILS).then(said)
    }

    fn ns_per_record(&self) -> f64 {
        1e9 * self.part / self.records_per_second.max(1.0)
    }

    fn json(&self) -> Value {
        json!({
            "what": self.name, "part_of_a_core": self.part, "target": PART_OF_A_CORE,
            "records_per_second": self.records_per_second, "ns_per_record": self.ns_per_record(),
        })
    }
}

fn text(seen: &[Seen], steady: &[Steady], faults: &[String]) -> String {
    let mut text = format!(
        "\nvolume (a pair of threads on each CPU, itself the target)\n{:<28}{:>10}{:>10}{:>11}{:>11}{:>11}{:>10}{:>11}\n",
        "switches a second, asked",
        "made",
        "counted",
        "records/s",
        "sent",
        "received",
        "dropped",
        "estimated"
    );
    for seen in seen {
        text += &format!(
            "{:<28}{:>10.0}{:>10.0}{:>11.0}{:>11}{:>11}{:>10}{:>11}\n",
            seen.name,
            seen.switches,
            seen.counted,
            seen.rate(),
            seen.sent,
            seen.received,
            seen.dropped,
            format!("{} of {}", seen.estimated, seen.blamed)
        );
    }
    text +=
        &format!("\ntracer's own CPU time at {SWITCHES:.0} switches and {READS} reads a second\n");
    for steady in steady {
        text += &format!(
            "{:<28}{:>9.1} % of a core (target {:.0} %), {:.0} records/s, {:.0} ns each\n",
            steady.name,
            100.0 * steady.part,
            100.0 * PART_OF_A_CORE,
            steady.records_per_second,
            steady.ns_per_record()
        );
    }
    for fault in faults {
        text += &format!("  BROKEN {fault}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            name: "100000".to_owned(),
            reader: Reader::Reads,
            switches: 100e3,
            counted: 100.5e3,
            seconds: 1.0,
            sent: 200_000,
            received: 200_000,
            dropped: 0,
            blamed: 3,
            estimated: 0,
            cpu_ns: 1e6,
        }
    }

    #[test]
    fn what_arrives_whole_is_no_fault() {
        assert!(seen().faults().is_empty(), "{:?}", seen().faults());
    }

    #[test]
    fn a_record_that_nobody_counted_is_a_fault() {
        let seen = Seen {
            received: 199_999,
            ..seen()
        };
        assert_eq!(seen.faults().len(), 1);
    }

    #[test]
    fn beyond_the_promised_rate_a_counted_loss_is_allowed_where_blame_says_so() {
        let mut seen = Seen {
            sent: 400_000,
            received: 300_000,
            dropped: 100_000,
            estimated: 3,
            ..seen()
        };
        assert!(seen.faults().is_empty(), "{:?}", seen.faults());
        seen.estimated = 2;
        assert_eq!(seen.faults().len(), 1);
    }

    #[test]
    fn a_loss_at_the_promised_rate_is_a_fault() {
        let seen = Seen {
            received: 199_000,
            dropped: 1_000,
            estimated: 3,
            ..seen()
        };
        assert_eq!(seen.faults().len(), 1);
    }
}
