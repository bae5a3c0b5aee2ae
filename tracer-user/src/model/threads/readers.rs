//! Whoever has to read what a thread writes, or to permit what it does. Nobody wakes the thread until then: a wait that has not ended has
//! no other witness.

use std::sync::Arc;

use super::{Threads, hand::KILLABLE, sleep::INTERRUPTIBLE, stack::Stack, thread::Thread};
use crate::{
    class::{Class, Resource},
    event::{self, Wait},
    file_system::Kind,
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId, ProcessId},
        names::Names,
    },
};

/// A thread waited for somebody to take what it had sent, or to permit what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) struct Untaken {
    /// Who has to.
    pub(in crate::model) read_by: ReadBy,
    /// Begin and end, ns.
    pub(in crate::model) span: (u64, u64),
}

/// Who has to read what a thread sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::model) enum ReadBy {
    /// This process, with this id.
    Process(ProcessId, u32),
    /// Whoever is at the other end of a connection: its own end, which is empty if it is not known, and the other one.
    Ends(Arc<(String, String)>),
}

/// Who has to read what a thread writes, as it was seen while the thread slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    /// When the thread was looked at first and last, ns. In between it may have gone on to write somewhere else.
    ns: (u64, u64),
    /// The pipe or socket, if it has a name.
    pub(super) place: Option<PlaceId>,
    /// The process; a peer that is not known where several can read.
    pub(super) holder: Holder,
    /// The id of that process.
    pid: u32,
}

impl Reader {
    /// The same, where it may be one of those that are followed.
    fn read_by(self, names: &Names) -> Option<ReadBy> {
        match (self.holder, self.place) {
            (Holder::Process(process), _) => Some(ReadBy::Process(process, self.pid)),
            (_, Some(place)) => {
                let there = names.places.get(place)?.clone();
                Some(ReadBy::Ends(Arc::new((String::new(), there))))
            }
            _ => None,
        }
    }
}

impl Threads {
    /// A thread was seen asleep in a write.
    pub(in crate::model) fn write_seen(&mut self, names: &mut Names, seen: &event::WriteSeen) {
        let Some(thread) = self.living.get_mut(seen.tid) else {
            return;
        };
        let mut holders = |pids: &[u32]| -> Vec<Holder> {
            let holders = pids.iter().map(|pid| names.holder(*pid));
            holders.collect()
        };
        let (readers, keepers) = (holders(&seen.readers), holders(&seen.keepers));
        // Where nobody does nothing but read there, one of those reads that write there, too.
        let may_read = if readers.is_empty() {
            &keepers
        } else {
            &readers
        };
        let place = (!seen.place.is_empty()).then(|| names.place(&seen.place));
        thread.reader = match readers[..] {
            [holder @ Holder::Process(_)] => Some((place, holder)),
            // What a process of the target does not read waits for whatever that one waits for. Nobody has looked for that.
            _ if may_read.contains(&Holder::Own) => None,
            _ => place.map(|place| (Some(place), Holder::Peer)),
        }
        .map(|(place, holder)| Reader {
            ns: (seen.ns, seen.known_ns),
            place,
            holder,
            pid: seen.readers.first().copied().unwrap_or_default(),
        });
    }

    /// A thread was blocked in a part of a sleep until somebody reads, or permits. If that one was seen, it waited for what he did.
    pub(in crate::model) fn was_kept_by_reader(
        &mut self,
        names: &mut Names,
        wait: &Wait,
        span: (u64, u64),
    ) {
        let reader = self.reader(names, wait);
        if let Some(read_by) = reader.and_then(|reader| reader.read_by(names)) {
            self.not_taken(read_by, span);
        }
    }

    /// A thread waited for somebody to take what it had sent.
    pub(in crate::model) fn not_taken(&mut self, read_by: ReadBy, span: (u64, u64)) {
        self.untaken.push(Untaken { read_by, span });
    }

    /// Such waits since the last call.
    pub(in crate::model) fn take_untaken(&mut self) -> Vec<Untaken> {
        std::mem::take(&mut self.untaken)
    }

    /// Did a thread wait in this sleep for somebody to take what it had sent?
    pub(in crate::model) fn gives(&self, wait: &Wait) -> bool {
        let stack = self.stacks.get(wait.stack);
        stack.is_some_and(Stack::is_for_reader)
    }

    /// The one living thread that is so; `None` if there are several.
    pub(in crate::model) fn only(&self, is_it: impl Fn(&Thread) -> bool) -> Option<u32> {
        let mut those = self.living().filter(|(_, thread)| is_it(thread));
        let (tid, _) = those.next()?;
        those.next().is_none().then_some(tid)
    }

    /// Who has to read what a thread writes that was seen so in this sleep, or to permit what it does. Who ended it is known better. A
    /// signal can end every sleep for a reader: one that it cannot end is for memory, or for the kernel's own work on sockets
    /// (`wait_for_unix_gc()`). Only a signal that kills ends one for a permission, and perhaps none one for a process that serves files.
    pub(super) fn reader(&self, names: &mut Names, wait: &Wait) -> Option<Reader> {
        let may_end = |state| wait.state & state != 0;
        let waits = |stack: &&Stack| {
            let is_for_reader = stack.is_for_reader() && may_end(INTERRUPTIBLE);
            let is_permitted = stack.permitted && may_end(KILLABLE);
            is_for_reader || is_permitted || stack.remote == Some(Kind::Fuse)
        };
        self.stacks.get(wait.stack).filter(waits)?;
        match self.stranger(names, wait) {
            Some(_) => None,
            None => self.reader_in(wait.tid, (wait.off_ns, wait.ns)),
        }
    }

    fn reader_in(&self, tid: u32, (begin, end): (u64, u64)) -> Option<Reader> {
        let reader = self.living.get(tid)?.reader?;
        let (first, last) = reader.ns;
        (begin <= first && last <= end).then_some(reader)
    }

    /// A thread has slept in a write since before attach, and did so in this part of the window. Charges who has to read, and returns the
    /// class of the sleep; `None` if that was not seen.
    pub(super) fn writes_since(
        &mut self,
        names: &Names,
        account: &mut Account,
        tid: u32,
        (begin, end): (u64, u64),
    ) -> Option<Class> {
        let reader = self.reader_in(tid, (0, end))?;
        if let Some(read_by) = reader.read_by(names) {
            self.not_taken(read_by, (begin, end));
        }
        let Reader { place, holder, .. } = reader;
        account.charge_only(Charge {
            resource: Resource::Upstream,
            place,
            holder,
            stack: 0,
            span: (begin, end),
            ns: end - begin,
            estimated: false,
        });
        Some(Class::Upstream)
    }
}
