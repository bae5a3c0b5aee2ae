//! Interfaces that receive about as much as they can. No queue of this machine holds packets that have not arrived yet. So this is
//! evidence, and no process is blamed. The evidence names the process to which most of it went, where TCP's own counts show that.

use std::{cell::LazyCell, fs, thread::JoinHandle};

use super::{
    evidence::Line,
    looks,
    proc::{self, BySocket},
};
use crate::units::share;

/// An interface that receives at this part of its speed is near its maximum. A link that sends counts as full at the same part.
const NEAR: f64 = 0.9;

/// A process is named that received this part of what the interface did: more than all others together.
const MOST: f64 = 0.5;

/// Bytes that an interface has received so far, and drops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Received {
    name: String,
    index: u32,
    bytes: u64,
    dropped: u64,
    /// Speed, Mbit/s; `None` if the interface is virtual or down.
    speed: Option<u64>,
}

/// The interfaces of the tracer's network namespace as the window begins.
pub(crate) struct Ingress {
    begin_ns: u64,
    before: Vec<Received>,
    /// What each socket had received, as a thread reads it: there may be thousands. Only where the speed of an interface is known.
    sockets: Option<JoinHandle<Option<BySocket>>>,
}

impl Ingress {
    /// Reads the counters.
    #[must_use]
    pub(crate) fn begin(now_ns: u64) -> Self {
        let before = counters();
        let is_limited = before.iter().any(|interface| interface.speed.is_some());
        Self {
            begin_ns: now_ns,
            before,
            sockets: is_limited
                .then(|| looks::on_thread(proc::received))
                .flatten(),
        }
    }

    /// One line for each interface that received about as much as it can, or had no room for packets.
    #[must_use]
    pub(crate) fn end(self, now_ns: u64) -> Vec<Line> {
        let ns = now_ns.saturating_sub(self.begin_ns);
        let sockets = self.sockets;
        let sockets = LazyCell::new(move || sockets?.join().ok().flatten());
        let lines = counters().into_iter().filter_map(|after| {
            let mut before = self.before.iter();
            let before = before.find(|before| before.name == after.name)?;
            let line = line(before, &after, ns)?;
            let found = sockets.as_ref();
            let found = found.and_then(|sockets| proc::receiver(sockets, after.index));
            let received = after.bytes.saturating_sub(before.bytes);
            let who = found.and_then(|(pid, bytes)| {
                let part = part(bytes, received)?;
                let comm = proc::comm(pid)?;
                Some(format!(
                    "; {part} of what it received went to {comm} (pid {pid})"
                ))
            });
            let counters = format!("/sys/class/net/{}/statistics", after.name);
            Some(Line::of(counters, line + &who.unwrap_or_default()))
        });
        lines.collect()
    }
}

/// The part of what an interface received that went to one process, in words, if that is most of it. A process that received more than
/// the interface did has it from another one.
fn part(bytes: u64, received: u64) -> Option<String> {
    let part = bytes as f64 / received.max(1) as f64;
    (MOST..=1.0).contains(&part).then(|| share(part))
}

fn counters() -> Vec<Received> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten();
    entries
        .flatten()
        .filter_map(|entry| {
            let number = |file: &str| -> Option<u64> {
                let text = fs::read_to_string(entry.path().join(file)).ok()?;
                text.trim().parse().ok()
            };
            Some(Received {
                name: entry.file_name().to_string_lossy().into_owned(),
                index: number("ifindex")? as u32,
                bytes: number("statistics/rx_bytes")?,
                // Packets that the card had no room for are in `rx_missed_errors`, not in `rx_dropped` (statistics.rst).
                dropped: number("statistics/rx_missed_errors")?
                    + number("statistics/rx_fifo_errors")?,
                // A virtual device has no speed: reading it fails, or gives -1. A veth claims 10 Gbit/s, which limits nothing.
                speed: number("speed")
                    .filter(|speed| *speed > 0 && entry.path().join("device").exists()),
            })
        })
        .collect()
}

fn line(before: &Received, after: &Received, ns: u64) -> Option<String> {
    let dropped = after.dropped.saturating_sub(before.dropped);
    if dropped > 0 {
        return Some(format!(
            "{} had no room for {dropped} packets that it received",
            after.name
        ));
    }
    let speed = after.speed?;
    let bits = after.bytes.saturating_sub(before.bytes) as f64 * 8.0;
    // Mbit/s × ns is 1/1000 bit.
    let part = bits / (speed as f64 * ns as f64 / 1000.0);
    (ns > 0 && part >= NEAR).then(|| {
        format!(
            "{} received at {:.0} % of its {speed} Mbit/s: what clients send may wait before it",
            after.name,
            part * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn received(bytes: u64, dropped: u64, speed: Option<u64>) -> Received {
        Received {
            name: "eth0".to_owned(),
            index: 2,
            bytes,
            dropped,
            speed,
        }
    }

    #[test]
    fn an_interface_near_its_speed_is_said_and_one_that_is_not_is_silent() {
        let begin = received(1_000, 0, Some(1000));
        let full = line(&begin, &received(120_001_000, 0, Some(1000)), SECOND);
        assert_eq!(
            full.unwrap(),
            "eth0 received at 96 % of its 1000 Mbit/s: what clients send may wait before it"
        );
        assert_eq!(
            line(&begin, &received(100_001_000, 0, Some(1000)), SECOND),
            None
        );
        assert_eq!(line(&begin, &received(u64::MAX, 0, None), SECOND), None);
        assert_eq!(line(&begin, &begin, 0), None);
    }

    #[test]
    fn packets_without_room_are_said_whatever_the_speed() {
        let lost = line(&received(0, 3, None), &received(0, 5, None), SECOND);
        assert_eq!(
            lost.unwrap(),
            "eth0 had no room for 2 packets that it received"
        );
    }

    #[test]
    fn only_who_received_most_of_it_and_through_this_interface_is_named() {
        assert_eq!(part(950, 1000).as_deref(), Some("95 %"));
        assert_eq!(part(500, 1000).as_deref(), Some("50 %"));
        assert_eq!(part(499, 1000), None);
        assert_eq!(part(1001, 1000), None);
        assert_eq!(part(0, 0), None);
    }
}
