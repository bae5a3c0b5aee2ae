//! The recording of a trace: every event, in files of a bounded size.

use std::{
    mem,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::diagnostics;
use crate::{
    event::{self, Event, Stack},
    recording::{Standing, Writer, Written},
};

/// Time between two flushes: if the tracer is killed, no more than this is lost.
const FLUSH: Duration = Duration::from_secs(1);

/// Stacks that wait to be recorded again. A target sleeps in some hundreds.
const MOST_LOST: usize = 1 << 12;

/// A recording under way.
pub(super) struct Recorder {
    writer: Writer<Event>,
    /// The facts with which the next file begins.
    standing: Standing,
    stacks: Stacks,
    flushed: Instant,
    /// Does the user know that nothing more is recorded?
    is_told: bool,
}

impl Recorder {
    /// Begins a recording, which has yet to take its name.
    ///
    /// # Errors
    /// If the file cannot be created.
    pub(super) fn create(path: &Path, max_size: Option<u64>) -> Result<Self> {
        Ok(Self {
            writer: Writer::create(path, max_size)?,
            standing: Standing::default(),
            stacks: Stacks::default(),
            flushed: Instant::now(),
            is_told: false,
        })
    }

    /// Gives the recording its name: from now on there is something to be found.
    pub(super) fn take_name(&mut self) {
        self.writer.take_name();
    }

    /// There is no trace, and nothing is to be found.
    pub(super) fn give_up(self) {
        self.writer.give_up();
    }

    /// Adds events; never waits.
    pub(super) fn take(&mut self, events: &[Event]) {
        let mut is_over = false;
        for event in events {
            match event {
                Event::End(end) => {
                    is_over = true;
                    self.end(end);
                }
                _ => self.push(event),
            }
            self.standing.see(event);
        }
        if self.flushed.elapsed() < FLUSH {
            return;
        }
        self.flush();
        self.flushed = Instant::now();
        if self.writer.has_failed() {
            self.tell();
            return;
        }
        if let (Some(last), false) = (events.last(), is_over) {
            for stack in self.stacks.take_lost(last.ns()) {
                self.push(&Event::Stack(stack));
            }
        }
        // A file that began after the end would have none.
        if !is_over && self.writer.is_full() {
            self.writer.turn(&self.standing.events());
        }
    }

    fn push(&mut self, event: &Event) {
        self.writer.push(event);
        if self.writer.unsent() <= 1 {
            // The events before it are on their way, or lost.
            self.stacks.sent(self.writer.dropped());
        }
        if let Event::Stack(stack) = event {
            self.stacks.under_way.push(stack.clone());
        }
    }

    fn flush(&mut self) {
        self.writer.flush();
        self.stacks.sent(self.writer.dropped());
    }

    /// Says once that the recording has ended. The trace has not: its report may be all that comes of it.
    fn tell(&mut self) {
        if !mem::replace(&mut self.is_told, true) {
            log::warn!(
                "nothing more can be recorded: the recording ends here, and the trace goes on"
            );
        }
    }

    /// The end says how many events are missing in the recording, as far as is known by then.
    fn end(&mut self, end: &event::End) {
        self.flush();
        let end = event::End {
            recording_drops: self.writer.dropped(),
            ..end.clone()
        };
        self.writer.push(&Event::End(Box::new(end)));
    }

    /// Ends the recording. Returns whether it could be written.
    pub(super) fn finish(self, path: &Path) -> bool {
        match self.writer.finish() {
            Ok(Written { dropped: 0, .. }) => true,
            Ok(written) => {
                log::warn!(
                    "{}: {} events did not fit: the disk was too slow",
                    path.display(),
                    written.dropped
                );
                true
            }
            Err(error) => {
                diagnostics::say(&format!("cannot record to {}: {error:#}", path.display()));
                false
            }
        }
    }
}

/// Stacks on their way to the disk. The kernel half sends each stack once, and all later waits only name it. So one that the disk was too
/// slow for is recorded again: else a thread that always sleeps in one place would stay unknown in the recording.
#[derive(Default)]
struct Stacks {
    /// Pushed since the last batch was sent.
    under_way: Vec<Stack>,
    /// Those of batches that were dropped.
    lost: Vec<Stack>,
    /// Events dropped by the time of the last batch.
    dropped: u64,
}

impl Stacks {
    /// The batch of those under way was sent, or dropped: then more events are `dropped` than before.
    fn sent(&mut self, dropped: u64) {
        match dropped > mem::replace(&mut self.dropped, dropped) {
            true => self.lost.append(&mut self.under_way),
            false => self.under_way.clear(),
        }
        self.lost.truncate(MOST_LOST);
    }

    /// Those to be recorded again, as if they had been captured at `now_ns`.
    fn take_lost(&mut self, now_ns: u64) -> Vec<Stack> {
        let lost = mem::take(&mut self.lost).into_iter();
        lost.map(|stack| Stack {
            ns: now_ns,
            ..stack
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_of_a_batch_that_was_dropped_is_recorded_again_and_no_other() {
        let stack = |ns, id| Stack {
            ns,
            id,
            ..Stack::default()
        };
        let mut stacks = Stacks::default();
        stacks.under_way.push(stack(5, 1));
        stacks.sent(0);
        stacks.under_way.push(stack(6, 2));
        stacks.sent(70);
        stacks.under_way.push(stack(7, 3));
        stacks.sent(70);
        assert_eq!(stacks.take_lost(9), [stack(9, 2)]);
        assert_eq!(stacks.take_lost(9), []);
        // The disk is too slow once more.
        stacks.under_way.push(stack(9, 2));
        stacks.sent(80);
        assert_eq!(stacks.take_lost(11), [stack(11, 2)]);
    }
}
