//! Cost against CPUs: guests of one kernel with more and more of them.
//!
//! An emulator's nanoseconds are not a machine's: compare each figure only with that of the smallest guest. The emulator's CPUs
//! take turns on one CPU of this machine.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use xtask::{
    command::say,
    paths,
    vm::guest::{Guest, MEMORY},
};

use super::{
    Report,
    figures::{Summary, by_name, json_in, summary},
};

/// How many CPUs the guests have; the first guest is the measure of the others.
const CPUS: [u32; 4] = [2, 4, 8, 16];
const KERNEL: &str = "6.12";
/// Longest that a guest may take, in seconds: the largest takes a minute.
const LIMIT_S: u32 = 300;

/// Prints a report a line, of a process that does nothing. While it is traced, two other tasks wake each other and keep one CPU
/// busy.
const SCRIPT: &str = r#"
sleep 1000 & target=$!
for round in $(seq ROUNDS); do
    TRACER attach --duration 4s --output json --pid $target > /tmp/report 2> /tmp/said & tracer=$!
    until grep -q '^tracing' /tmp/said; do
        kill -0 $tracer || { cat /tmp/said; exit 1; }
        sleep 0.1
    done
    taskset -c 0 perf bench sched pipe -l 100000000 > /tmp/pipe & pipe=$!
    wait $tracer || { cat /tmp/said; exit 1; }
    kill $pipe
    echo "report $(tr -d '\n' < /tmp/report)"
done
kill $target
"#;

/// The figures reported of a guest.
const FIGURES: [Figure; 4] = [
    Figure {
        name: "attach_ns",
        unit: 1e6,
        what: "ms to attach",
    },
    Figure {
        name: "rss_bytes",
        unit: 1e6,
        what: "MB resident",
    },
    Figure {
        name: "maps_bytes",
        unit: 1e6,
        what: "MB of maps",
    },
    Figure {
        name: SWITCH,
        unit: 1.0,
        what: "ns in-kernel per switch",
    },
];
/// In-kernel time for each switch: not in the report.
const SWITCH: &str = "switch_ns";

struct Figure {
    name: &'static str,
    unit: f64,
    what: &'static str,
}

/// Boots each guest once.
pub(crate) fn run(rounds: u32) -> Result<Report> {
    let tracer = paths::tracer();
    let script = SCRIPT
        .replace("ROUNDS", &rounds.to_string())
        .replace("TRACER", &tracer.display().to_string());
    let mut rows = Vec::new();
    for cpus in CPUS {
        say(&format!("cpus: a guest of {cpus} …"));
        let guest = Guest {
            name: KERNEL,
            own_root: false,
            siblings: false,
            cpus,
            memory: MEMORY,
            limit_s: LIMIT_S,
            drives: &[],
            shared: None,
        };
        let said = guest.said(&script)?;
        let found = figures(&said)?;
        rows.push((cpus, found));
    }
    Ok(Report {
        text: text(rounds, &rows),
        json: json(&rows),
        faults: Vec::new(),
    })
}

/// In the order of [`FIGURES`].
fn figures(said: &[String]) -> Result<Vec<Summary>> {
    let reports = said.iter().filter_map(|line| line.strip_prefix("report "));
    let reports = reports.map(json_in).collect::<Result<Vec<_>>>()?;
    let of = |figure: &Figure| {
        let found = |report: &Value| {
            let found = match figure.name {
                SWITCH => each_switch(report),
                name => report["tracer"][name].as_f64(),
            };
            found.with_context(|| format!("a report has no {}", figure.what))
        };
        let all = reports.iter().map(found).collect::<Result<Vec<_>>>()?;
        summary(&all).context("there is no report")
    };
    FIGURES.iter().map(of).collect()
}

/// A thread waits once for each switch to it.
fn each_switch(report: &Value) -> Option<f64> {
    let waits = report["histograms"].as_array()?.iter();
    let waits = waits.filter(|row| row["family"] == "run_queue");
    let switches: f64 = waits.filter_map(|row| row["count"].as_f64()).sum();
    Some(report["tracer"]["kernel_ns"].as_f64()? / switches)
}

/// Medians, and in brackets how many times those of the smallest guest they are.
fn text(rounds: u32, rows: &[(u32, Vec<Summary>)]) -> String {
    let mut text = format!(
        "\ncpus, guests of {KERNEL} (medians of {rounds})\n{:>4}",
        ""
    );
    for figure in &FIGURES {
        text += &format!("{:>26}", figure.what);
    }
    for (cpus, found) in rows {
        text += &format!("\n{cpus:>4}");
        for (index, figure) in FIGURES.iter().enumerate() {
            let (median, first) = (found[index].median, rows[0].1[index].median);
            let cell = format!("{:.1} ({:.2})", median / figure.unit, median / first);
            text += &format!("{cell:>26}");
        }
    }
    text + "\n"
}

fn json(rows: &[(u32, Vec<Summary>)]) -> Value {
    let rows = rows.iter().map(|(cpus, found)| {
        let names = FIGURES.iter().map(|figure| figure.name);
        json!({"cpus": cpus, "figures": by_name(names, found)})
    });
    json!({"title": "cpus", "kernel": KERNEL, "rows": rows.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_becomes_figures() {
        let report = |attach_ns: u32, kernel_ns: u32| {
            let tracer = json!({
                "attach_ns": attach_ns, "rss_bytes": 20, "maps_bytes": 10, "kernel_ns": kernel_ns,
            });
            let row = |family, count| json!({"family": family, "count": count});
            let histograms = [row("run_queue", 3), row("tcp_ack", 9), row("run_queue", 1)];
            format!(
                "report {}",
                json!({"tracer": tracer, "histograms": histograms})
            )
        };
        let said = ["noise".to_owned(), report(5, 400), report(7, 800)];
        let medians = figures(&said).unwrap().into_iter().map(|all| all.median);
        assert_eq!(Vec::from_iter(medians), [6.0, 20.0, 10.0, 150.0]);
        assert!(figures(&said[..1]).is_err(), "there is no report");
        assert!(
            figures(&["report {}".to_owned()]).is_err(),
            "it says nothing"
        );
    }
}
