//! The recording of a trace: every event, in files of a bounded size.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::diagnostics;
use crate::{
    event::{self, Event},
    recording::{Standing, Writer, Written},
};

/// Time between two flushes: if the tracer is killed, no more than this is lost.
const FLUSH: Duration = Duration::from_secs(1);

/// A recording under way.
pub(super) struct Recorder {
    writer: Writer<Event>,
    /// The facts with which the next file begins.
    standing: Standing,
    flushed: Instant,
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
            flushed: Instant::now(),
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
                _ => self.writer.push(event),
            }
            self.standing.see(event);
        }
        if self.flushed.elapsed() < FLUSH {
            return;
        }
        self.writer.flush();
        self.flushed = Instant::now();
        // A file that began after the end would have none.
        if !is_over && self.writer.is_full() {
            self.writer.turn(&self.standing.events());
        }
    }

    /// The end says how many events are missing in the recording, as far as is known by then.
    fn end(&mut self, end: &event::End) {
        self.writer.flush();
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
