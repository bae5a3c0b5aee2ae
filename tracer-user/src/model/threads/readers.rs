//! Whoever has to read what a thread writes, or to permit what it does. Nobody wakes the thread until then: a wait that has not ended has
//! no other witness.

use super::{Threads, hand::KILLABLE, sleep::INTERRUPTIBLE, stack::Stack};
use crate::{
    class::{Class, Resource},
    event::{self, Wait},
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId},
        names::Names,
    },
};

/// Who has to read what a thread writes, as it was seen while the thread slept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reader {
    /// When the thread was looked at first and last, ns. In between it may have gone on to write somewhere else.
    ns: (u64, u64),
    /// The pipe or socket, if it has a name.
    pub(super) place: Option<PlaceId>,
    /// The process; a peer that is not known where several can read.
    pub(super) holder: Holder,
}

impl Threads {
    /// A thread was seen asleep in a write.
    pub(in crate::model) fn write_seen(&mut self, names: &mut Names, seen: &event::WriteSeen) {
        let Some(thread) = self.living.get_mut(&seen.tid) else {
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
        });
    }

    /// Who has to read what a thread writes that was seen so in this sleep, or to permit what it does. Who ended it is known better. A
    /// signal can end every sleep for a reader: one that it cannot end is for memory, or for the kernel's own work on sockets
    /// (`wait_for_unix_gc()`). Only a signal that kills ends one for a permission.
    pub(super) fn reader(&self, names: &mut Names, wait: &Wait) -> Option<Reader> {
        let may_end = |state| wait.state & state != 0;
        let waits = |stack: &&Stack| {
            let is_for_reader = stack.is_for_reader() && may_end(INTERRUPTIBLE);
            is_for_reader || (stack.permitted && may_end(KILLABLE))
        };
        self.stacks.get(wait.stack).filter(waits)?;
        match self.stranger(names, wait) {
            Some(_) => None,
            None => self.reader_in(wait.tid, (wait.off_ns, wait.ns)),
        }
    }

    fn reader_in(&self, tid: u32, (begin, end): (u64, u64)) -> Option<Reader> {
        let reader = self.living.get(&tid)?.reader?;
        let (first, last) = reader.ns;
        (begin <= first && last <= end).then_some(reader)
    }

    /// A thread has slept in a write since before attach, and did so in this part of the window. Charges who has to read, and returns the
    /// class of the sleep; `None` if that was not seen.
    pub(super) fn writes_since(
        &self,
        account: &mut Account,
        tid: u32,
        (begin, end): (u64, u64),
    ) -> Option<Class> {
        let Reader { place, holder, .. } = self.reader_in(tid, (0, end))?;
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
