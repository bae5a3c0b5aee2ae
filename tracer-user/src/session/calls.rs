//! The threads of processes that are traced from now on, and what `/proc` shows of those that wait already. No event has shown that.

use super::debuggers::debuggers;
use crate::{
    event::{Event, Sync, Thread},
    machine::{clocks::now_ns, proc},
};

/// Most threads looked at: a server that hangs may have thousands, and most of them for one disk.
const MOST: usize = 256;

/// All threads of these processes, the debuggers of those that are stopped, and the disks for which others wait.
pub(super) fn threads_of(pids: &[u32]) -> Vec<Event> {
    let threads = pids.iter().flat_map(|pid| proc::threads(*pid));
    let mut events: Vec<Event> = threads.map(Event::Thread).collect();
    let (stopped, on_disks) = (debuggers(&events), disks_of_calls(&events));
    events.extend(stopped);
    events.extend(on_disks);
    events
}

/// The disk of the file in whose system call each thread among these events waits uninterruptibly.
fn disks_of_calls(events: &[Event]) -> Vec<Event> {
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
