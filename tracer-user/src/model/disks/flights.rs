//! Requests of the target's own, whether a thread sleeps for them or not. A thread that polls for completions is on a CPU meanwhile, and
//! no wait of it shows that it stands behind somebody.

use std::collections::VecDeque;

use tracer_common::block::IO_READAHEAD;

use super::{DiskWait, Disks, busy::Busy, request::Request};
use crate::model::{
    books::{self, Holder},
    names::Names,
    threads::OnDisk,
};

/// One request in so many ns is looked at for what it stood behind.
const EVERY_NS: u64 = 10_000_000;

/// The target's own requests on all disks.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct Flights {
    pub(in crate::model) seen: books::Flights,
    busy: Busy,
    /// End of the last request that is looked at, ns.
    last_ns: u64,
    /// Those that are looked at, not yet judged.
    looked_at: VecDeque<OnDisk>,
}

impl Flights {
    /// A request completed, or is in flight at the end.
    pub(super) fn add(&mut self, dev: u32, request: Request) {
        let is_asked_for = !request.by_kernel() && request.flags & IO_READAHEAD == 0;
        if request.owner != Holder::Own || !is_asked_for {
            return;
        }
        let ns = self.busy.add(request.queue_ns, request.end_ns);
        self.seen.ns = self.seen.ns.saturating_add(ns);
        if request.end_ns >= self.last_ns.saturating_add(EVERY_NS) {
            self.last_ns = request.end_ns;
            self.looked_at.push_back(OnDisk { dev, request });
        }
    }

    /// Takes the first that is looked at, if it is `due`.
    fn take(&mut self, due: impl Fn(&Request) -> bool) -> Option<OnDisk> {
        self.looked_at.front().filter(|known| due(&known.request))?;
        self.looked_at.pop_front()
    }
}

impl Disks {
    /// Judges the requests that are looked at, as long as they are `due`.
    pub(super) fn judge_flights(&mut self, names: &Names, due: impl Fn(&Request) -> bool) {
        while let Some(known) = self.flights.take(&due) {
            let request = known.request;
            let flight = DiskWait {
                process: request.process,
                tid: request.tid,
                begin: request.queue_ns,
                end: request.end_ns,
                stack: 0,
                cause: None,
                awaited: Some(known),
                home: None,
                serves: false,
            };
            let whose = |request: &Request| request.owner;
            let Some(stood) = self.layers(names, &whose).blame(&flight) else {
                continue;
            };
            for (place, holder, ns) in stood.charges() {
                let sum = self.flights.seen.behind.entry((place, holder)).or_default();
                *sum = sum.saturating_add(ns);
            }
        }
    }
}
