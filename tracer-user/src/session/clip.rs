//! Cuts events that are still under way at the end of the window.

use tracer_common::{block::IO_OPEN, sched::WAIT_OPEN};

use crate::event::Event;

/// The part of an event before `end_ns`; `None` if it began later.
pub(super) fn clip(mut event: Event, end_ns: u64) -> Option<Event> {
    match &mut event {
        Event::Wait(wait) if wait.off_ns > end_ns => return None,
        Event::Wait(wait) if wait.ns > end_ns => {
            wait.run_queue_ns = wait.run_queue_ns.saturating_sub(wait.ns - end_ns);
            wait.ns = end_ns;
            wait.flags |= WAIT_OPEN;
        }
        Event::Io(io) if io.queue_ns > end_ns => return None,
        Event::Io(io) if io.ns > end_ns => {
            io.ns = end_ns;
            io.flags |= IO_OPEN;
        }
        Event::Slice(slice) if slice.begin_ns < end_ns => slice.ns = slice.ns.min(end_ns),
        Event::Histogram(_) | Event::Stack(_) => {}
        other if other.ns() > end_ns => return None,
        _ => {}
    }
    Some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Wait;

    #[test]
    fn a_wait_across_the_end_is_cut_and_open_and_a_later_one_is_gone() {
        let wait = |off_ns, ns| {
            Event::Wait(Wait {
                off_ns,
                ns,
                run_queue_ns: 30,
                ..Wait::default()
            })
        };
        let Some(Event::Wait(cut)) = clip(wait(50, 120), 100) else {
            panic!("it began in the window");
        };
        assert_eq!((cut.ns, cut.run_queue_ns), (100, 10));
        assert_ne!(cut.flags & WAIT_OPEN, 0);
        let Some(Event::Wait(whole)) = clip(wait(50, 100), 100) else {
            panic!("it ended in the window");
        };
        assert_eq!((whole.ns, whole.flags & WAIT_OPEN), (100, 0));
        assert_eq!(clip(wait(101, 120), 100), None);
    }
}
