//! Cost against CPUs: guests of one kernel with more and more of them.
//!
//! An emulator's nanoseconds are not a machine's, but they are its own: what counts is each figure beside that of the smallest guest. Its
//! CPUs take turns on one of this machine's.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    Report,
    figures::{Summary, json_in, summary},
    switch,
};
use crate::{command::say, paths, vm::guest::Guest};

/// How many CPUs the guests have; what is measured first is the measure of the others.
const CPUS: [u32; 4] = [2, 4, 8, 16];
const KERNEL: &str = "6.12";
/// Longest that a guest may take, in seconds: the largest takes a minute.
const LIMIT_S: u32 = 300;

/// Each line begins with what it is. Switches are those of a pair of processes on one CPU, which are nobody's that is traced.
const SCRIPT: &str = r#"
sleep 1000 & target=$!
switches() { taskset -c 0 perf bench sched pipe -l 12000 2>&1 | grep usecs/op; }
for round in $(seq ROUNDS); do
    echo "bare $(switches)"
    TRACER attach --duration 100s --output json --pid $target > /tmp/report 2> /tmp/said & tracer=$!
    until grep -q '^tracing' /tmp/said; do
        kill -0 $tracer || { cat /tmp/said; exit 1; }
        sleep 0.1
    done
    echo "traced $(switches)"
    kill -INT $tracer
    wait $tracer || { cat /tmp/said; exit 1; }
    echo "report $(tr -d '\n' < /tmp/report)"
done
kill $target
"#;

/// What is told of a guest.
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
        what: "ns per switch",
    },
];
/// What tracing somebody else adds to a switch: not in the report.
const SWITCH: &str = "switch_ns";

struct Figure {
    name: &'static str,
    unit: f64,
    what: &'static str,
}

/// Boots each guest once.
pub fn run(rounds: u32) -> Result<Report> {
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
            limit_s: LIMIT_S,
        };
        let said = guest.said(&script)?;
        let found = figures(&said).with_context(|| format!("the guest said {said:?}"))?;
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
    let mut all: HashMap<&str, Vec<f64>> = HashMap::new();
    let mut bare = None;
    for line in said {
        match line.split_once(' ') {
            Some(("bare", text)) => bare = Some(switch::figure(text)?),
            Some(("traced", text)) => {
                let bare = bare.context("nothing was measured before")?;
                let added = switch::figure(text)? - bare;
                all.entry(SWITCH).or_default().push(added);
            }
            Some(("report", text)) => {
                let report = json_in(text)?;
                for figure in FIGURES.iter().filter(|figure| figure.name != SWITCH) {
                    let found = report["tracer"][figure.name].as_f64();
                    let found = found.with_context(|| format!("no {}", figure.name))?;
                    all.entry(figure.name).or_default().push(found);
                }
            }
            _ => {}
        }
    }
    let of = |figure: &Figure| summary(all.get(figure.name)?);
    let found = FIGURES.iter().map(|figure| of(figure).context(figure.what));
    found.collect()
}

/// Medians, and in brackets how many times those of the smallest guest they are.
fn text(rounds: u32, rows: &[(u32, Vec<Summary>)]) -> String {
    let mut text = format!(
        "\ncpus, guests of {KERNEL} (medians of {rounds})\n{:>4}",
        ""
    );
    for figure in &FIGURES {
        text += &format!("{:>24}", figure.what);
    }
    for (cpus, found) in rows {
        text += &format!("\n{cpus:>4}");
        for (index, figure) in FIGURES.iter().enumerate() {
            let (median, first) = (found[index].median, rows[0].1[index].median);
            let cell = format!("{:.1} ({:.2})", median / figure.unit, median / first);
            text += &format!("{cell:>24}");
        }
    }
    text + "\n"
}

fn json(rows: &[(u32, Vec<Summary>)]) -> Value {
    let rows = rows.iter().map(|(cpus, found)| {
        let figures = FIGURES.iter().zip(found);
        let figures: serde_json::Map<_, _> = figures
            .map(|(figure, found)| (figure.name.to_owned(), json!(found)))
            .collect();
        json!({"cpus": cpus, "figures": figures})
    });
    json!({"title": "cpus", "kernel": KERNEL, "rows": rows.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_becomes_figures() {
        let said = [
            "bare  10.0 usecs/op",
            "traced  14.0 usecs/op",
            r#"report {"tracer":{"attach_ns":5e6,"rss_bytes":2e7,"maps_bytes":1e7}}"#,
            "bare  12.0 usecs/op",
            "traced  18.0 usecs/op",
            r#"report {"tracer":{"attach_ns":7e6,"rss_bytes":2e7,"maps_bytes":1e7}}"#,
        ];
        let said = said.map(str::to_owned);
        let medians = figures(&said).unwrap().into_iter().map(|all| all.median);
        assert_eq!(Vec::from_iter(medians), [6e6, 2e7, 1e7, 2500.0]);
        assert!(figures(&said[..2]).is_err(), "a report is missing");
        assert!(figures(&said[1..2]).is_err(), "nothing to compare with");
    }
}
