//! The disks for which threads wait since before they were traced. No event has shown their files; `/proc` shows them while the wait lasts.

use crate::{
    event::{Event, Sync, Thread},
    machine::{clocks::now_ns, proc},
};

/// Most threads looked at: a server that hangs may have thousands, and most of them for one disk.
const MOST: usize = 256;

/// The disk of the file in whose system call each thread among these events waits uninterruptibly.
pub(super) fn disks_of_calls(events: &[Event]) -> Vec<Event> {
    let waiting = events.iter().filter_map(|event| match event {
        Event::Thread(thread) if thread.state == 'D' => Some(thread),
        _ => None,
    });
    waiting.take(MOST).filter_map(disk_of_call).collect()
}

fn disk_of_call(thread: &Thread) -> Option<Event> {
    let Thread { pid, tid, .. } = *thread;
    let dev = proc::disk_of_call(pid, tid)?;
    Some(Event::Sync(Sync {
        ns: now_ns(),
        dev,
        pid,
        tid,
    }))
}
