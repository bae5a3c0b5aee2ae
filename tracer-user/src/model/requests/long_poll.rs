//! Requests that are none: somebody asked to hear of it when something happens. Nothing did, or the server hears of it and pushes.

use super::{Requests, connection::Turn, hands::Hands};
use crate::{
    class::Class,
    event::Call,
    model::threads::{Thread, Threads},
};

/// A turn without a send for longer than this is a long poll, if its owner only waited for work.
const LONG_POLL_NS: u64 = 5_000_000_000;

/// A request of which more than this part is known to be blocked is no long poll. Not 0: the thread that takes it has to come on a CPU.
pub(super) const LONG_POLL_BLOCKED: f64 = 0.01;

/// A shorter silence between two sends is one of the same answer, ns.
const PUSH_NS: u64 = 1_000_000;

/// What is sent after a silence in which the thread worked for the connection for more than this part belongs to the same answer.
const PUSH_WORK: f64 = 0.1;

impl Requests {
    /// Since when a thread works on what it sends now, if that is a push: the request was answered before, and nobody has worked for it
    /// since. Something woke the thread then.
    pub(super) fn pushed(&self, threads: &Threads, turn: &Turn, call: &Call) -> Option<u64> {
        let sent_ns = turn.sent_ns?;
        let age = call.ns.saturating_sub(sent_ns);
        let thread = threads.get(call.tid).filter(|_| age >= PUSH_NS)?;
        let silence = (sent_ns, call.ns);
        let (socket, since) = (call.socket, turn.begin_ns);
        let hands = Hands::of(
            threads,
            call.tid,
            socket,
            since,
            silence,
            true,
            Class::Other,
        );
        let asked = self.asked_for_turn(threads, turn, call.tid);
        let itself = self.own_answers(threads, turn, call.tid, silence);
        // What is forgotten is of a long silence, in which the thread had other things to do.
        let (mut busy, mut woken_ns) = (0, None);
        let remembered = (sent_ns.max(thread.remembered_ns()), call.ns);
        threads.for_each_piece(call.tid, remembered, |from, to, spent| {
            let mut waited = spent.tentative;
            asked.explain((from, to), &mut waited);
            itself.explain((from, to), &mut waited);
            hands.explain(threads, (from, to), &mut waited);
            let idle = waited[Class::Idle.index()];
            busy += spent.total() - idle;
            if idle > 0 {
                woken_ns = Some(to);
            }
        });
        let for_others = thread.work.for_others(call.socket, sent_ns, call.ns);
        let worked = busy.saturating_sub(for_others);
        woken_ns.filter(|_| worked as f64 <= PUSH_WORK * age as f64)
    }

    /// Did `tid` only wait for work for so long, since the request began or sent last, that it is none? An owner that still waits for
    /// an answer itself waits for no work. Nor does one that waited most of the time for a process that was made for the request.
    pub(super) fn is_long_poll(&self, threads: &Threads, turn: &Turn, tid: u32, now: u64) -> bool {
        let since = turn.sent_ns.unwrap_or(turn.begin_ns);
        let age = now.saturating_sub(since);
        if age <= LONG_POLL_NS {
            return false;
        }
        let thread = threads.get(tid);
        if thread.is_some_and(|thread| for_process_ns(thread, turn, since) > age / 2) {
            return false;
        }
        let blocked = |tid| {
            let thread = threads.get(tid);
            thread.map_or(0, |thread| thread.between(turn.judged_ns, now).blocked())
        };
        // Whoever takes from a ring works for the requests of the thread that polls it.
        let takers = threads.takers(tid).iter().map(|taker| blocked(*taker));
        let spent = takers.fold(blocked(tid), u64::max);
        let asked = self.asked_for_turn(threads, turn, tid);
        let itself = self.own_answers(threads, turn, tid, (turn.judged_ns, now));
        let spent = spent + asked.owed_ns(since, now) + itself.blocked();
        // Time blocked before a send belongs to another wait.
        let before = turn.sent_ns.map_or(turn.blocked_ns, |_| 0);
        (before + spent) as f64 <= LONG_POLL_BLOCKED * age as f64
            && !self.awaits(threads, turn, tid)
    }

    /// Has a thread asked another process since the turn began, and has no answer yet?
    pub(super) fn asks(&self, turn: &Turn, tid: u32) -> bool {
        let mut asked = self.connections.asked_by(tid, turn.begin_ns, u64::MAX);
        asked.any(|on| !self.is_to_itself(on))
    }
}

/// How long a thread waited since `since` for a process of the target that is younger than the request, ns.
fn for_process_ns(thread: &Thread, turn: &Turn, since: u64) -> u64 {
    let of_turn = thread
        .for_process
        .filter(|wait| wait.born_ns >= turn.begin_ns);
    of_turn.map_or(0, |wait| {
        wait.end_ns.saturating_sub(wait.begin_ns.max(since))
    })
}
