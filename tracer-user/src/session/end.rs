//! The end of a trace: the last looks, and all that is still to be read.

use anyhow::Result;

use super::{
    beside::Beside, clip::clip, debuggers::debuggers, earlier::find_writers, limits::Limits,
    stop::Stop, window::Window,
};
use crate::{event::Event, kernel::Kernel, machine::clocks::now_ns};

/// The last looks, while the threads still sleep, and the kernel half still knows them. The rings are read meanwhile: they would run full
/// on a busy machine.
pub(super) fn last_looks(kernel: &mut Kernel, beside: &mut Beside) -> Vec<Event> {
    let mut records = Vec::new();
    let open = kernel.open_now();
    let mut found = beside.locks.last(open, || kernel.poll(&mut records));
    found.extend(beside.hearers.last_writes(|| kernel.poll(&mut records)));
    beside.see(&records);
    in_order(records, found)
}

/// What was seen of a sleep comes before the record of its end, however long the look lasted.
fn in_order(mut records: Vec<Event>, found: Vec<Event>) -> Vec<Event> {
    records.extend(found);
    records.sort_by_key(Event::ns);
    records
}

/// Ends the window and reads the rest: the rings, all that was open at the end, the totals.
pub(super) fn finish(
    mut kernel: Kernel,
    window: Window,
    (mut beside, mut limits): (Beside, Limits),
    targets: Vec<u32>,
    stop: Stop,
) -> Result<Vec<Event>> {
    let end_ns = now_ns();
    let uses = limits.end(&mut kernel);
    let mut left = kernel.detach(end_ns);
    log::debug!(
        "detached {} ms after the end",
        (now_ns() - end_ns) / 1_000_000
    );
    if left.messages > 0 {
        let hint = match log::log_enabled!(target: "tracer_ebpf", log::Level::Warn) {
            true => "",
            false => ": -v shows them",
        };
        log::warn!("the kernel half logged {} messages{hint}", left.messages);
    }
    // Before the open waits, which they explain.
    let mut events = beside.freezers.look(end_ns, true);
    events.extend(debuggers(&left.open));
    let last = left.records.drain(..).chain(left.open.drain(..));
    events.extend(last.filter_map(|event| clip(event, end_ns)));
    beside.holders.see(&events);
    events.extend(uses);
    let mut totals = left.totals(end_ns)?;
    find_writers(&mut totals);
    events.extend(totals);
    events.extend(left.shared.take());
    events.extend(beside.titles.end());
    events.extend(beside.homes.end());
    events.extend(beside.hearers.last(end_ns));
    let mut pids = beside.holders.largest(&events);
    pids.extend(targets);
    pids.remove(&std::process::id());
    let pids = Vec::from_iter(pids);
    // A filter by connection helps on a link alone.
    let senders: &[u32] = match beside.holders.has_sent(&events) {
        true => &pids[..],
        false => &[],
    };
    events.extend(window.close(&left, end_ns, stop, (&pids, senders, &limits))?);
    log::debug!(
        "closed {} ms after the end",
        (now_ns() - end_ns) / 1_000_000
    );
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{LockSeen, Wait};

    #[test]
    fn what_a_look_saw_of_a_sleep_that_has_ended_since_comes_before_its_end() {
        let wait = |ns| {
            Event::Wait(Wait {
                ns,
                ..Wait::default()
            })
        };
        let seen = |ns| {
            Event::LockSeen(LockSeen {
                ns,
                ..LockSeen::default()
            })
        };
        let all = in_order(vec![wait(3), wait(9)], vec![seen(5), seen(12)]);
        assert_eq!(all, [wait(3), seen(5), wait(9), seen(12)]);
    }
}
