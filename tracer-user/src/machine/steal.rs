//! The time that the hypervisor stole of each CPU in the window, by the kernel's own count.

use std::fs;

use super::evidence::Line;
use crate::{
    event::{CpuTime, Event},
    units::share,
};

/// `USER_HZ`, the unit of `/proc/stat`, is 100 on every architecture that has an eBPF JIT.
const TICK_NS: u64 = 10_000_000;

/// The times of each CPU.
const TIMES: &str = "/proc/stat";

/// The least part of a CPU's work worth a line: a smaller one explains nothing.
const TELLING: f64 = 0.05;

/// Most CPUs named.
const MOST: usize = 4;

/// The counters as the window begins.
pub(crate) struct Steal {
    before: Vec<CpuTime>,
}

impl Steal {
    /// Reads the counters.
    #[must_use]
    pub(crate) fn begin() -> Self {
        Self { before: read() }
    }

    /// The times since the begin, for each CPU with stolen time. One line of evidence if that is much.
    #[must_use]
    pub(crate) fn end(&self) -> (Vec<Event>, Option<Line>) {
        let stolen = since(&self.before, &read());
        let line = line(&stolen).map(|text| Line::of(TIMES, text));
        (stolen.into_iter().map(Event::CpuTime).collect(), line)
    }
}

fn read() -> Vec<CpuTime> {
    parse(&fs::read_to_string(TIMES).unwrap_or_default())
}

/// `cpuN user nice system idle iowait irq softirq steal …` (proc_stat(5)).
fn parse(text: &str) -> Vec<CpuTime> {
    let cpu = |line: &str| {
        let mut fields = line.strip_prefix("cpu")?.split_whitespace();
        let cpu = fields.next()?.parse().ok()?;
        let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else {
            return None;
        };
        Some(CpuTime {
            cpu,
            busy_ns: (user + nice + system + irq + softirq + steal) * TICK_NS,
            stolen_ns: steal * TICK_NS,
        })
    };
    text.lines().filter_map(cpu).collect()
}

fn since(before: &[CpuTime], after: &[CpuTime]) -> Vec<CpuTime> {
    let growth = |after: &CpuTime| {
        let before = before.iter().find(|before| before.cpu == after.cpu)?;
        let stolen_ns = after.stolen_ns.saturating_sub(before.stolen_ns);
        (stolen_ns > 0).then_some(CpuTime {
            cpu: after.cpu,
            busy_ns: after.busy_ns.saturating_sub(before.busy_ns),
            stolen_ns,
        })
    };
    after.iter().filter_map(growth).collect()
}

fn line(stolen: &[CpuTime]) -> Option<String> {
    let mut parts: Vec<(f64, u32)> = stolen.iter().map(|cpu| (cpu.part(), cpu.cpu)).collect();
    parts.retain(|(part, _)| *part >= TELLING);
    parts.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let named = parts.iter().take(MOST);
    let named: Vec<String> = named
        .map(|(part, cpu)| format!("{} of cpu{cpu}", share(*part)))
        .collect();
    let more = match parts.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!(" and part of {more} more"),
    };
    (!named.is_empty()).then(|| {
        let named = named.join(", ");
        format!("the hypervisor ran somebody else while there was work (steal): {named}{more}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "cpu  9 0 9 9 0 0 0 9 0 0\ncpu0 10 0 10 500 5 0 1 2 0 0\ncpu1 1 2 3 4 5 6 7 8 0 0\nintr 5 0\n";
    const AFTER: &str = "cpu  9 0 9 9 0 0 0 9 0 0\ncpu0 50 0 40 900 9 0 3 30 0 0\ncpu1 101 2 3 4 5 6 7 8 0 0\nintr 5 0\n";

    #[test]
    fn what_was_stolen_is_a_part_of_the_time_in_which_the_cpu_had_work() {
        let stolen = since(&parse(BEFORE), &parse(AFTER));
        let expected = CpuTime {
            cpu: 0,
            busy_ns: (40 + 30 + 2 + 28) * TICK_NS,
            stolen_ns: 28 * TICK_NS,
        };
        assert_eq!(stolen, [expected]);
        assert_eq!(
            line(&stolen).unwrap(),
            "the hypervisor ran somebody else while there was work (steal): 28 % of cpu0"
        );
    }

    #[test]
    fn a_little_is_not_worth_a_line() {
        let little = CpuTime {
            cpu: 0,
            busy_ns: 1000,
            stolen_ns: 49,
        };
        assert_eq!(line(&[little]), None);
    }

    #[test]
    fn a_kernel_without_the_column_tells_nothing() {
        assert_eq!(parse("cpu0 10 0 10 500\n"), []);
    }
}
