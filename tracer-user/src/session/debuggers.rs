//! The debuggers of threads that one stops: `/proc` names them while the stop lasts.

use tracer_common::sched::{STATE_TRACED, WAIT_OPEN};

use crate::{
    event::{Event, Traced},
    machine::proc,
};

/// The debugger of each thread among these events that is stopped by one: at attach by its state letter, at the end by its open wait.
pub(super) fn debuggers(events: &[Event]) -> Vec<Event> {
    let stopped = events.iter().filter_map(|event| match event {
        Event::Thread(thread) if thread.state == 't' => Some((thread.pid, thread.tid)),
        Event::Wait(wait) if wait.flags & WAIT_OPEN != 0 && wait.state & STATE_TRACED != 0 => {
            Some((wait.pid, wait.tid))
        }
        _ => None,
    });
    let traced = stopped.filter_map(|(pid, tid)| {
        let tracer_pid = proc::tracer_of(pid, tid)?;
        Some(Event::Traced(Traced {
            pid,
            tid,
            tracer_pid,
        }))
    });
    traced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Thread, Wait};

    #[test]
    fn a_thread_that_nobody_debugs_has_no_debugger_whatever_was_seen() {
        let pid = std::process::id();
        let thread = Event::Thread(Thread {
            pid,
            tid: pid,
            state: 't',
            ..Thread::default()
        });
        let wait = Event::Wait(Wait {
            pid,
            tid: pid,
            state: STATE_TRACED,
            flags: WAIT_OPEN,
            ..Wait::default()
        });
        assert_eq!(debuggers(&[thread, wait]), []);
    }
}
