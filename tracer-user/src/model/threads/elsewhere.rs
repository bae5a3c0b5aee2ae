//! Sleeps for what another process or machine has to answer: below which file system, and who brings the answer.

use tracer_common::sched::WAIT_IOWAIT;

use super::{Threads, readers::Reader};
use crate::{
    event::Wait,
    file_system::Kind,
    model::{
        books::{Holder, PlaceId},
        names::Names,
    },
};

/// The place of the audit daemon's queue.
const AUDIT: &str = "audit backlog";

impl Threads {
    /// The kind of file system with its data elsewhere for which a thread sleeps: it sleeps in that, or who ended the sleep was in it. A
    /// page that is mapped or sent shows its file system only to the one who brings it.
    pub(super) fn remote_kind(&self, wait: &Wait) -> Option<Kind> {
        let kind = |stack: u64| self.stacks.get(stack)?.remote;
        let of_waker = || kind(wait.waker_stack).filter(|_| wait.flags & WAIT_IOWAIT != 0);
        kind(wait.stack).or_else(of_waker)
    }

    /// `nfs:server:/export`: the file system for which a thread sleeps, if it can be only one. Or the queue of the audit daemon: a thread
    /// of the kernel empties that, and wakes who waits for room in it. Or the pipe or socket that somebody was seen not to read.
    pub(in crate::model) fn remote_place(&self, names: &mut Names, wait: &Wait) -> Option<PlaceId> {
        let Some(kind) = self.remote_kind(wait) else {
            let stack = self.stacks.get(wait.stack);
            let audits = stack.is_some_and(|stack| stack.audits);
            return match audits {
                true => Some(names.place(AUDIT)),
                false => self.reader(names, wait)?.place,
            };
        };
        let mut mounts = self.remote_mounts.iter().filter(|mount| mount.kind == kind);
        let name = match (mounts.next(), mounts.count()) {
            (Some(mount), 0) => format!("{}:{}", kind.name(), mount.source),
            (Some(_), others) => format!("{}: one of {} mounts", kind.name(), others + 1),
            (None, _) => kind.name().to_owned(),
        };
        Some(names.place(&name))
    }

    /// The process of this machine that ended a wait for its answer: it read what was sent to it, served a file (FUSE), gave a
    /// permission. What other file systems bring comes from elsewhere, whoever ends the wait. Where nobody has ended it, it is the one who
    /// has to read.
    pub(in crate::model) fn server(&self, names: &mut Names, wait: &Wait) -> Holder {
        let is_here = self.remote_kind(wait).is_none_or(|kind| kind == Kind::Fuse);
        let server = self.stranger(names, wait).filter(|_| is_here);
        let reads = |reader: Reader| reader.holder;
        let server = server.or_else(|| self.reader(names, wait).map(reads));
        server.unwrap_or(Holder::Peer)
    }
}
