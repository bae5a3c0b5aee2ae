//! Processes of the target that only their fellows can wake. Such a process waits for a lock that one of them has, or for what they do
//! for it: PostgreSQL gives parts of a long query to other processes. The kernel shows the same sleep. The title of the process tells
//! which it is, at the end of the window.

use super::{Beside, Requests, connection::Turn};
use crate::{
    class::Class,
    model::{books::Session, session::works_for},
};

impl Requests {
    /// The same as [`Self::owed`], at the end.
    pub(super) fn owed_at_the_end(
        &self,
        beside: &Beside<'_>,
        socket: u64,
        turn: &Turn,
        tid: u32,
    ) -> Option<Class> {
        let owed = self.owed(beside.threads, socket, turn, tid)?;
        let session = session(beside, tid).filter(Session::is_known);
        let wants_lock = session.is_none_or(|session| session.waits());
        Some(match owed {
            Class::Lock if !wants_lock => Class::Other,
            owed => owed,
        })
    }
}

/// The thread of a process that works for that of `tid`, which sleeps meanwhile: a busy one, if there is any.
pub(super) fn at_work_for(beside: &Beside<'_>, tid: u32) -> Option<u32> {
    let sleeper = beside.threads.get(tid)?;
    if !sleeper.waits_for_work() || session(beside, tid)?.waits() {
        return None;
    }
    let works = |pid: u32| {
        let title = beside.names.processes.title(pid);
        title.and_then(works_for) == Some(sleeper.pid)
    };
    // A process has its number from its first thread.
    let of = beside.threads.living();
    let of = of.filter(|(tid, thread)| *tid == thread.pid && works(thread.pid));
    let first = of.min_by_key(|(tid, thread)| (thread.waits_for_work(), *tid));
    first.map(|(tid, _)| tid)
}

/// The session that the process of a thread has, by its own account.
fn session<'a>(beside: &'a Beside<'_>, tid: u32) -> Option<Session<'a>> {
    let pid = beside.threads.get(tid)?.pid;
    Session::of(beside.names.processes.title(pid)?)
}
