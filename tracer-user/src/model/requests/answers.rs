//! Answers to threads that own no request: a child, or a thread of a pool, asks another process for a request of the target. Whoever waits
//! for it waits for that answer.

use super::{Beside, Requests};
use crate::{event::Call, model::threads::Whom};

impl Requests {
    /// A thread has a part of an answer. Who asked on this connection, or had the part before, did so at `since`: the thread and the time,
    /// ns. Where many ask on one connection, one thread has all the answers, and wakes each that asked (HTTP/2, `sshfs`).
    pub(super) fn has_answer(
        &self,
        beside: &mut Beside<'_>,
        call: &Call,
        since: Option<(u32, u64)>,
    ) {
        let Some((asked_by, since_ns)) = since else {
            return;
        };
        let thread = beside.threads.get_mut(call.tid);
        let Some(thread) = thread.filter(|thread| thread.turns.is_empty()) else {
            return;
        };
        let waits = match asked_by == call.tid {
            true => thread.has_answer(since_ns, call.ns),
            false => thread.heard_answer(since_ns, call.ns),
        };
        let remote = self.ends(call.socket).map(|(_, remote)| remote);
        let Some(remote) = remote.filter(|remote| !remote.is_empty() && !waits.is_empty()) else {
            return;
        };
        let place = beside.names.place(remote);
        for wait in waits {
            thread.ended_at(wait, Whom::Address(place));
        }
    }
}
