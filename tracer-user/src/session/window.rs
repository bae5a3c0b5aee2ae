//! The window of a trace: the counts from its begin to its end, and the events at its end.

use std::time::Duration;

use anyhow::Result;

use super::{Stop, limits::Limits};
use crate::{
    event::{self, Event, MissingProbe},
    kernel::{Detached, Kernel, online_cpus},
    machine::{
        clocks::{Ahead, clock_ns, now_ns},
        evidence::{Evidence, Line},
        ingress::Ingress,
        looks::Looks,
        proc::{self, UnderWay},
        steal::Steal,
    },
    standing::Means,
    units::time,
};

/// How long the end of the trace waits for how processes stand. Most are read in a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(300);

/// The shortest time without a reading that is worth a line. The longest rest is a twentieth of it.
const PAUSE: Duration = Duration::from_secs(1);

/// The counts of the window.
pub(super) struct Window {
    /// Begin, nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) begin_ns: u64,
    /// The means by which this machine can restrain a process.
    pub(super) means: Means,
    /// Answers that were under way as it began.
    pub(super) under_way: UnderWay,
    clocks: Ahead,
    /// CPUs that were online as it began.
    cpus: u32,
    evidence: Evidence,
    ingress: Ingress,
    steal: Steal,
}

impl Window {
    /// Begins the window. It takes `_kernel` only to prove that the probes are attached: nothing counts before. Connections dropped
    /// in the network namespace of `pid` become evidence.
    #[must_use]
    pub(super) fn open(_kernel: &Kernel, pid: u32, means: Means) -> Self {
        let evidence = Evidence::begin(pid);
        let begin_ns = now_ns();
        Self {
            begin_ns,
            means,
            under_way: UnderWay::default(),
            clocks: Ahead::now(),
            cpus: online_cpus(),
            evidence,
            ingress: Ingress::begin(begin_ns),
            steal: Steal::begin(),
        }
    }

    /// The kernel's log as a missing probe, if it cannot be read.
    #[must_use]
    pub(super) fn missing(&self) -> Option<MissingProbe> {
        (!self.evidence.has_log()).then(|| MissingProbe {
            probe: "kernel log".to_owned(),
            cost: "errors that the kernel logged are not shown".to_owned(),
            blinds: None,
        })
    }

    /// Ends the window, once the programs are out of the kernel. The events show answers that are still under way, the stolen time, and
    /// the standing of `pids` (the target and the largest holders) and the `limits` of the target. Connections are told of the `senders`
    /// among these. The last event is the end.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(super) fn close(
        mut self,
        left: &Detached,
        end_ns: u64,
        stop: Stop,
        (pids, senders, limits): (&[u32], &[u32], &Limits),
    ) -> Result<Vec<Event>> {
        let (stolen, stolen_line) = self.steal.end();
        let under_way = self.under_way.end().into_iter();
        let mut events: Vec<Event> = under_way.map(Event::UnderWay).collect();
        if !left.steal_by_slice {
            events.extend(stolen);
        }
        // Read again: a remedy is checked against the interfaces that are there at the end. The kernel has one lock for all of them.
        let interfaces = Looks::begin(vec![()], |()| (proc::interfaces(), proc::wrapping()));
        let (standings, unread) = proc::standings(pids, senders, &self.means, PATIENCE);
        let standings = standings.into_iter();
        events.extend(standings.map(|standing| Event::Standing(Box::new(standing))));
        let found = interfaces.end_within(PATIENCE, || false).found.into_iter();
        let (interfaces, wrapping): (Vec<_>, Vec<_>) = found.unzip();
        self.means.interfaces = interfaces.into_iter().flatten().collect();
        events.extend(wrapping.into_iter().flatten().map(Event::Wrapping));
        let mut evidence = [self.evidence.end(), self.ingress.end(end_ns)].concat();
        evidence.extend(left.unseen(end_ns - self.begin_ns).map(Line::own));
        evidence.extend(stolen_line);
        evidence.extend(Ahead::now().since(self.clocks).into_iter().map(Line::own));
        evidence.extend(pause_line(left.pause).map(Line::own));
        evidence.extend(cpus_line(self.cpus, online_cpus()).map(Line::own));
        evidence.extend(unread_line(&unread).map(Line::own));
        evidence.extend(limits.evidence());
        let (evidence, sources) = apart(evidence);
        events.push(Event::Sources(sources));
        events.extend(limits.current().iter().cloned().map(Event::OwnLimit));
        events.push(Event::Means(Box::new(self.means)));
        events.push(end(left, end_ns, stop, evidence)?);
        Ok(events)
    }
}

/// The last event of a trace that ended at `end_ns`: its losses, and its own cost.
///
/// # Errors
/// If a counter cannot be read.
pub(super) fn end(
    left: &Detached,
    end_ns: u64,
    stop: Stop,
    evidence: Vec<String>,
) -> Result<Event> {
    let losses = left.losses()?;
    Ok(Event::End(Box::new(event::End {
        ns: end_ns,
        sent: losses.sent,
        received: left.received,
        ring_drops: losses.ring,
        map_losses: losses.maps,
        recording_drops: 0,
        cpu_ns: clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
        rss_bytes: left.rss_bytes,
        maps_bytes: left.maps_bytes(),
        kernel_ns: left.kernel_ns,
        evidence,
        target_exited: stop == Stop::TargetExited,
    })))
}

/// A line for a time in which the tracer itself did nothing. The kernel half goes on until its rings are full, and counts what is lost.
fn pause_line(pause: Duration) -> Option<String> {
    let paused = time(pause.as_nanos() as u64);
    (pause >= PAUSE).then(|| {
        format!(
            "the tracer itself stood still for {paused}, stopped or without a CPU: what it looks for beside the kernel's records, as who \
             holds a lock, was not seen then"
        )
    })
}

/// A line for CPUs that came or went. The kernel half has room for every possible CPU, but siblings are read as the trace begins.
fn cpus_line(before: u32, after: u32) -> Option<String> {
    (before != after).then(|| {
        format!(
            "{before} CPUs were online as the trace began, and {after} as it ended: what ran on the sibling of one that came is not seen"
        )
    })
}

/// The texts, and where they come from.
fn apart(lines: Vec<Line>) -> (Vec<String>, event::Sources) {
    let lines = lines.into_iter().map(|line| (line.text, line.source));
    let (texts, files) = lines.unzip();
    (texts, event::Sources { files })
}

/// A line for the processes of which the standing could not be read.
fn unread_line(pids: &[u32]) -> Option<String> {
    let (pid, more) = pids.split_first()?;
    let more = match more.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "process {pid}{more} could not be read in time, as happens to a process that is stuck in its memory: \
         remedies do not know its priority, limits and options"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stood_still_for_long_says_so() {
        assert_eq!(pause_line(Duration::from_millis(600)), None);
        let line = pause_line(Duration::from_secs(10)).unwrap();
        assert!(
            line.starts_with("the tracer itself stood still for 10.0 s, "),
            "{line}"
        );
    }

    #[test]
    fn cpus_that_came_or_went_are_said() {
        assert_eq!(cpus_line(4, 4), None);
        let line = cpus_line(4, 3).unwrap();
        assert!(line.starts_with("4 CPUs were online as the trace began, and 3 as it ended"));
    }

    #[test]
    fn processes_that_could_not_be_read_are_said_and_their_cost() {
        assert_eq!(unread_line(&[]), None);
        let line = |pids: &[u32]| unread_line(pids).unwrap();
        assert_eq!(
            line(&[7]),
            "process 7 could not be read in time, as happens to a process that is stuck in its memory: \
             remedies do not know its priority, limits and options"
        );
        assert!(line(&[7, 8, 9]).starts_with("process 7 and 2 more could not be read in time"));
    }

    #[test]
    fn each_line_keeps_its_place_and_its_source() {
        let lines = vec![
            Line::of("/proc/stat", "stolen".to_owned()),
            Line::own("not seen".to_owned()),
        ];
        let (texts, sources) = apart(lines);
        assert_eq!(texts, ["stolen", "not seen"]);
        assert_eq!(sources.files, [Some("/proc/stat".to_owned()), None]);
    }
}
