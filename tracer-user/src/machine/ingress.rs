//! Interfaces that receive about as much as they can. No queue of this machine holds packets that have not arrived yet. So this is
//! evidence, and no process is blamed.

use std::fs;

/// An interface that receives at this part of its speed is near its maximum. A link that sends counts as full at the same part.
const NEAR: f64 = 0.9;

/// Bytes that an interface has received so far, and drops.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Received {
    name: String,
    bytes: u64,
    dropped: u64,
    /// Speed, Mbit/s; `None` if the interface is virtual or down.
    speed: Option<u64>,
}

/// The interfaces of the tracer's network namespace as the window begins.
pub(crate) struct Ingress {
    begin_ns: u64,
    before: Vec<Received>,
}

impl Ingress {
    /// Reads the counters.
    #[must_use]
    pub(crate) fn begin(now_ns: u64) -> Self {
        Self {
            begin_ns: now_ns,
            before: counters(),
        }
    }

    /// One line for each interface that received about as much as it can, or had no room for packets.
    #[must_use]
    pub(crate) fn end(&self, now_ns: u64) -> Vec<String> {
        let ns = now_ns.saturating_sub(self.begin_ns);
        let lines = counters().into_iter().filter_map(|after| {
            let before = self
                .before
                .iter()
                .find(|before| before.name == after.name)?;
            line(before, &after, ns)
        });
        lines.collect()
    }
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
}
