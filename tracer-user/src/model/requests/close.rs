//! Requests without an answer at the end: some are none, and the others have the time of a thread.

use super::{
    Beside, Requests,
    connection::{Role, Turn},
    fellows::at_work_for,
    long_poll::LONG_POLL_BLOCKED,
    turns::disown,
};
use crate::{class::Class, event, model::threads::Threads};

/// A request is handed on this often at most.
const MOST_HANDS: usize = 4;

impl Requests {
    /// A thread ends: what it owes an answer to has its time until now, and stays with nobody.
    pub(in crate::model) fn abandon(&mut self, beside: &mut Beside<'_>, tid: u32, ns: u64) {
        self.judge_sends(beside, tid, None);
        self.clients.ended(tid);
        let thread = beside.threads.get(tid);
        let owned = thread.map(|thread| thread.turns.iter().collect::<Vec<u64>>());
        for socket in owned.unwrap_or_default() {
            let turn = self.turn(socket);
            if turn.is_some_and(|turn| turn.sent_ns.is_none()) {
                self.judge(beside, socket, ns, tid, Class::Other);
            }
        }
    }

    /// At the end of the window a turn that sent all it had is over; the others are open.
    pub(in crate::model) fn close_turns(&mut self, beside: &mut Beside<'_>, end_ns: u64) {
        let with_turn = self.connections.iter().filter(|(_, c)| c.turn.is_some());
        let mut sockets: Vec<u64> = with_turn.map(|(socket, _)| *socket).collect();
        // Who asked the target itself has the time of what that does for him, so that comes first.
        sockets.sort_unstable_by_key(|socket| (self.other_end(*socket).is_none(), *socket));
        for socket in sockets {
            let Some(connection) = self.connections.get(&socket) else {
                continue;
            };
            match (&connection.turn, connection.untouched) {
                (Some(turn), true) => {
                    let turn = turn.clone();
                    self.close_untouched(beside, socket, &turn, end_ns);
                }
                // A server with thousands of idle connections has these.
                (Some(turn), false) if turn.is_answered() => self.end_turn(beside, socket),
                (Some(turn), false) => {
                    let turn = turn.clone();
                    self.close_turn(beside, socket, &turn, end_ns);
                }
                (None, _) => {}
            }
        }
        for unread in std::mem::take(&mut self.unread) {
            self.not_picked_up(beside, &unread, end_ns);
        }
        self.open_unread(beside, end_ns);
    }

    /// Closes a turn that has not sent all it had.
    fn close_turn(&mut self, beside: &mut Beside<'_>, socket: u64, turn: &Turn, end_ns: u64) {
        if self.is_closed_unseen(beside.threads, socket, turn) {
            return self.end_turn(beside, socket);
        }
        let owed = |tid| self.owed_at_the_end(beside, socket, turn, tid);
        let at_work = at_work_for(beside, turn.tid);
        let owner = at_work.unwrap_or_else(|| match owed(turn.tid) {
            Some(Class::Lock) => self
                .busy_after(beside.threads, turn, turn.begin_ns)
                .unwrap_or(turn.tid),
            _ => self.handed_on(beside.threads, turn),
        });
        let owed = owed(owner);
        let waiting = match turn {
            turn if turn.blocked => Class::Network,
            turn if self.asks(turn, owner) => Class::Upstream,
            _ => owed.unwrap_or(Class::Other),
        };
        let may_be_none = owed.is_none() && waiting == Class::Other;
        let idle = |tid| may_be_none && self.is_long_poll(beside.threads, turn, tid, end_ns);
        if idle(turn.tid) && idle(owner) {
            self.tally.ended(turn, 0);
            return disown(beside.threads, turn);
        }
        self.judge(beside, socket, end_ns, owner, waiting);
        self.left_open(turn, owner, end_ns);
    }

    /// Nobody tells of the end of a Unix stream, which has no addresses. Who owed an answer there and has ended has closed it.
    fn is_closed_unseen(&self, threads: &Threads, socket: u64, turn: &Turn) -> bool {
        let connection = self.connections.get(&socket);
        connection.is_some_and(|known| known.ends.0.is_empty()) && threads.get(turn.tid).is_none()
    }

    /// The thread that owes the answer at the end of the window: the owner. If the owner waits for work again, it is the busy
    /// thread that the owner woke last, or one woken in turn. No thread has sent, so a pool's thread that hangs is known by its
    /// wakeup only. Where a whole pool is at work already, one of its threads stands for the one that will take it.
    fn handed_on(&self, threads: &Threads, turn: &Turn) -> u32 {
        let since = |ns| self.busy_after(threads, turn, ns);
        since(turn.begin_ns)
            .or_else(|| since(0))
            .unwrap_or(turn.tid)
    }

    /// The nearest busy one of those that were woken after `since_ns`, from the owner on.
    fn busy_after(&self, threads: &Threads, turn: &Turn, since_ns: u64) -> Option<u32> {
        let (mut reached, mut generation) = (vec![turn.tid], vec![turn.tid]);
        for _ in 0..=MOST_HANDS {
            if let Some(busy) = generation
                .iter()
                .find(|tid| self.is_busy(threads, turn, **tid))
            {
                return Some(*busy);
            }
            let woken = generation.iter().filter_map(|tid| threads.get(*tid));
            let woken = woken.flat_map(|thread| thread.woken.iter().rev());
            let after = woken.filter(|(ns, _)| *ns >= since_ns);
            let mut next: Vec<u32> = Vec::new();
            for (_, tid) in after {
                if !reached.contains(tid) {
                    reached.push(*tid);
                    next.push(*tid);
                }
            }
            generation = next;
        }
        None
    }

    fn is_busy(&self, threads: &Threads, turn: &Turn, tid: u32) -> bool {
        let thread = threads.get(tid);
        let is_at_work = thread.is_some_and(|thread| !thread.waits_for_work());
        is_at_work || self.awaits(threads, turn, tid)
    }

    /// A request that nobody has received yet is open. It has the time of the thread that last worked for its connection. Bytes
    /// that come while an answer is owed belong to the request that is open already.
    fn not_picked_up(&mut self, beside: &mut Beside<'_>, unread: &event::Unread, end_ns: u64) {
        let Some(connection) = self.connections.get(&unread.socket) else {
            return;
        };
        let known = connection
            .worker
            .filter(|_| connection.role == Role::Server);
        let Some(tid) = known.filter(|_| connection.turn.is_none()) else {
            return;
        };
        let Some(thread) = beside.threads.get(tid) else {
            return;
        };
        // Where the worker only waits for work, the bytes are of no request that it would take. But if nobody hears the connection, no
        // work will come.
        if thread.waits_for_work() && !self.is_unread(unread.socket) {
            return;
        }
        let turn = Turn::new(unread.arrived_ns, self.start_ns, tid);
        if let Some(connection) = self.connections.get_mut(unread.socket) {
            connection.turn = Some(turn.clone());
        }
        self.judge(beside, unread.socket, end_ns, tid, Class::Other);
        self.tally.left_open(&turn, end_ns);
    }

    /// Bytes that lay in a socket at attach and were never touched are an open request of unknown age. They are none if the threads
    /// that should take them only waited for work all the time.
    fn open_unread(&mut self, beside: &mut Beside<'_>, end_ns: u64) {
        // One that nobody hears has an open request already.
        let touched = |(local, remote): &(String, String)| {
            let socket = self.connections.with_ends(local, remote);
            let known = socket.and_then(|socket| self.connections.get(&socket));
            known.is_some_and(|known| !known.untouched || known.turn.is_some())
        };
        let is_left =
            |ends: &(String, String), port| self.listening.contains(&port) && !touched(ends);
        for pid in self.unread_before.left(is_left) {
            if let Some(tid) = self.most_blocked(beside.threads, pid, end_ns) {
                self.open_unread_one(beside, tid, end_ns);
            }
        }
    }

    /// The thread of a process that was blocked longest in the window. `None` if all were blocked as little as a long poll's owner.
    fn most_blocked(&self, threads: &Threads, pid: u32, end_ns: u64) -> Option<u32> {
        let of = threads.living().filter(|(_, thread)| thread.pid == pid);
        let blocked =
            of.map(|(tid, thread)| (thread.between(self.start_ns, end_ns).blocked(), tid));
        let (ns, tid) = blocked.max_by_key(|(ns, tid)| (*ns, std::cmp::Reverse(*tid)))?;
        let window_ns = end_ns.saturating_sub(self.start_ns);
        (ns as f64 > LONG_POLL_BLOCKED * window_ns as f64).then_some(tid)
    }

    fn open_unread_one(&mut self, beside: &mut Beside<'_>, tid: u32, end_ns: u64) {
        let begin_ns = self.start_ns;
        let Some(thread) = beside.threads.get(tid) else {
            return;
        };
        let ledger = &mut beside.account.ledger;
        let mut known_ns = 0;
        thread.for_each_piece(begin_ns, end_ns, |from, to, spent| {
            for class in Class::ALL {
                let known = if class == Class::Idle {
                    Class::Other
                } else {
                    class
                };
                let ns = spent.certain[class.index()] + spent.tentative[class.index()];
                ledger.requests(known, from, to, ns);
                known_ns += ns;
            }
        });
        self.tally.judged(end_ns.saturating_sub(begin_ns), known_ns);
        self.tally.left_open_before(begin_ns, end_ns);
    }
}
