//! The way of a record: from its bytes to the books, as in a trace.

use std::{
    fs,
    slice::from_raw_parts,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tracer::{
    assemble::sentence, event::Event, gate::Gated, model::books::Books, probes::decode,
    recording::Standing,
};
use tracer_common::{
    block::Io,
    histogram::Snapshot,
    irq::Interrupts,
    lock::LockTried,
    packets::Packets,
    proc::{Exec, Exit, Fork},
    sched::{Slice, Stack, ThreadEnd, Wait},
    tcp::{Ack, Call, Client, Flow, Link, Socket},
};

use crate::server::function;

/// A sentence is tried so often, and the fastest one counts: other programs of the machine make the others slower.
const TRIES: u32 = 3;

/// A record of the kernel half.
///
/// # Safety
///
/// It has no implicit padding.
pub(crate) unsafe trait Record {}

macro_rules! records {
    ($($name:ty),+ $(,)?) => {$(
        // SAFETY: its size is asserted against the sum of its fields where it is defined.
        unsafe impl Record for $name {}
    )+};
}

records!(
    Ack, Call, Client, Exec, Exit, Flow, Fork, Interrupts, Io, Link, LockTried, Packets, Slice,
    Snapshot, Socket, Stack, ThreadEnd, Wait
);

/// The books, and all that fills memory beside them in a trace that is recorded.
#[derive(Default)]
pub(crate) struct Fold {
    gated: Gated,
    standing: Standing,
    pub(crate) records: u64,
    pub(crate) malformed: u64,
}

impl Fold {
    /// Takes the bytes of a record.
    pub(crate) fn record<R: Record>(&mut self, record: &R) {
        // SAFETY: as many bytes as it has, all of which are written.
        let bytes = unsafe { from_raw_parts((&raw const *record).cast::<u8>(), size_of::<R>()) };
        self.records += 1;
        match decode(bytes, function) {
            Ok(event) => self.event(&event),
            Err(_) => self.malformed += 1,
        }
    }

    /// Takes what no record says: it was found in `/proc`.
    pub(crate) fn event(&mut self, event: &Event) {
        self.standing.see(event);
        self.gated.apply(event);
    }

    /// How long a sentence takes: a copy of the books is closed and judged in a thread of its own.
    pub(crate) fn sentence(&self) -> Result<Duration> {
        let mut fastest = Duration::MAX;
        for _ in 0..TRIES {
            let begun = Instant::now();
            let copy = self.gated.clone();
            let judge = thread::spawn(move || sentence(&copy.close().0));
            judge.join().map_err(|_| anyhow!("a sentence panicked"))?;
            fastest = fastest.min(begun.elapsed());
        }
        Ok(fastest)
    }

    /// The books, and the number of events that the gate refused.
    pub(crate) fn close(self) -> (Books, u64) {
        let (books, refused) = self.gated.close();
        (books, refused.into_values().sum())
    }
}

/// Resident memory of this process, bytes.
pub(crate) fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/statm").context("could not read statm")?;
    let pages = text.split_whitespace().nth(1);
    let pages = pages.and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = u64::try_from(page).context("a page has no size")?;
    Ok(pages.context("statm has no second field")? * page)
}
