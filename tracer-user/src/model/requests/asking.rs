//! Questions that the target asks for a request: until they are answered, the request waits for that.
//!
//! A connect asks. A datagram may: one that is answered, one for whose answer the process looks, and one to a service that answers
//! each. Who sends figures or a log to somebody sends datagrams, too, and waits for nobody.
//!
//! A question is for the request that its thread works on as it asks. A thread that owns no request asks for whoever gave it one (see
//! `hands.rs`). What an event loop asks after it has waited for any of its connections is for none that is known.

use arcstr::ArcStr;
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use tracer_common::tcp::{QUESTION_LISTENS, QUESTION_MORE, QUESTION_OVER};

use super::{Requests, connection::Turn, unanswered::TICKS_NS};
use crate::{
    event,
    model::threads::{Question, Questions, Threads, asked},
};

/// Most questions, and most addresses, known at once. Beyond that the end of the older ones is not seen.
const MOST: usize = 1 << 14;

/// Most of those that ask on one socket known at once.
const MOST_ON_ONE: usize = 64;

/// Whose question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Of the request on this connection.
    Request(u64),
    /// Of a thread that owns no request.
    Thread(u32),
}

/// A question from before the window.
#[derive(Clone, Debug)]
struct Before {
    /// What stands for its socket.
    number: u64,
    /// Without a thread: nobody knows which one asked.
    found: event::Question,
}

/// The questions that have no answer yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// By socket. An event loop may ask for several requests on one.
    open: HashMap<u64, Vec<For>>,
    /// Those of whom the target awaits answers to datagrams, in the words of the report.
    awaited: HashSet<ArcStr>,
    /// Threads that took one answer of several on a socket, and may wait for the others.
    partly: HashMap<u32, u64>,
    before: Vec<Before>,
}

impl Asking {
    /// Was nothing asked that has no answer yet?
    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.before.is_empty()
    }

    fn add(&mut self, socket: u64, whose: For) {
        if self.open.len() >= MOST {
            self.open.clear();
        }
        // What is asked now has no answer yet.
        self.partly.retain(|_, of| *of != socket);
        let open = self.open.entry(socket).or_default();
        if !open.contains(&whose) {
            if open.len() == MOST_ON_ONE {
                open.remove(0);
            }
            open.push(whose);
        }
    }
}

impl Requests {
    /// A thread asks somebody, or a question is over.
    pub(in crate::model) fn question(&mut self, threads: &mut Threads, found: &event::Question) {
        match found {
            _ if found.flags & QUESTION_OVER != 0 => self.question_over(threads, found),
            _ if found.socket == 0 => self.asked_before(threads, found),
            _ if found.flags & QUESTION_LISTENS != 0 => self.is_awaited(threads, found),
            _ => self.asks_now(threads, found),
        }
    }

    fn asks_now(&mut self, threads: &mut Threads, found: &event::Question) {
        if !found.is_datagram() {
            // The address may have been that of another socket before.
            self.end_question(threads, found.socket, found.ns);
        }
        let question = Question::new(found.socket, found);
        let is_known = self.asking.awaited.contains(question.remote());
        let question = question.awaited(is_known);
        if question.is_awaited() {
            self.asks_somebody(threads, found.tid, found.ns);
        }
        let Some(whose) = self.asks_for(threads, found.tid) else {
            return;
        };
        if let Some(questions) = self.questions_of(threads, whose) {
            questions.add(question);
            self.asking.add(found.socket, whose);
        }
    }

    /// A thread asks somebody, whoever it is: if a datagram of it, or of its request, has no answer yet, it has given that one up.
    pub(super) fn asks_somebody(&mut self, threads: &mut Threads, tid: u32, ns: u64) {
        if self.asking.is_empty() {
            return;
        }
        if let Some(whose) = self.asks_for(threads, tid)
            && let Some(questions) = self.questions_of(threads, whose)
        {
            questions.give_up(ns);
        }
        if let Some(thread) = threads.get_mut(tid) {
            thread.questions.give_up(ns);
        }
    }

    /// The target awaits the answers to its datagrams on a socket. If the socket has one peer, it does so whenever it sends to that one.
    fn is_awaited(&mut self, threads: &mut Threads, found: &event::Question) {
        let open = self.asking.open.get(&found.socket).cloned();
        for whose in open.unwrap_or_default() {
            if let Some(questions) = self.questions_of(threads, whose) {
                questions.listens_on(found.socket);
            }
        }
        if !found.remote.is_empty() && self.asking.awaited.len() < MOST {
            self.asking.awaited.insert(asked(&found.remote, true));
        }
    }

    /// A thread sleeps until a datagram comes, after it has sent one. Or it sleeps where it would notice none: then it does not wait for
    /// the rest of its answers.
    pub(in crate::model) fn listens(&mut self, threads: &mut Threads, wait: &event::Wait) {
        if self.asking.is_empty() {
            return;
        }
        if let Some(socket) = self.asking.partly.get(&wait.tid).copied()
            && threads.notices_no_datagram(wait)
        {
            self.end_question(threads, socket, wait.off_ns);
        }
        if !threads.receives_datagram(wait) {
            return;
        }
        if let Some(whose) = self.asks_for(threads, wait.tid)
            && let Some(questions) = self.questions_of(threads, whose)
        {
            questions.listens();
        }
    }

    /// A thread was seen to listen to nobody but the one at an address.
    pub(super) fn listens_to(&mut self, threads: &mut Threads, tid: u32, remote: &str) {
        let remote = asked(remote, true);
        let turns = threads.get(tid).map(|thread| thread.turns.clone());
        let turns = turns.unwrap_or_default();
        for whose in turns.iter().map(For::Request).chain([For::Thread(tid)]) {
            if let Some(questions) = self.questions_of(threads, whose) {
                questions.listens_to(&remote);
            }
        }
    }

    /// For whom a thread asks now; `None` if it is not known.
    fn asks_for(&self, threads: &Threads, tid: u32) -> Option<For> {
        let thread = threads.get(tid)?;
        if thread.turns.is_empty() {
            return Some(For::Thread(tid));
        }
        let socket = thread.work.last()?;
        let turn = self.turn(socket)?;
        (turn.tid == tid).then_some(For::Request(socket))
    }

    /// The connection of the request for which a thread asks now; `None` if it is not known.
    pub(super) fn request_asked_for(&self, threads: &Threads, tid: u32) -> Option<u64> {
        match self.asks_for(threads, tid)? {
            For::Request(socket) => Some(socket),
            For::Thread(_) => None,
        }
    }

    fn questions_of<'a>(
        &'a mut self,
        threads: &'a mut Threads,
        whose: For,
    ) -> Option<&'a mut Questions> {
        match whose {
            For::Request(socket) => Some(&mut self.turn_mut(socket)?.questions),
            For::Thread(tid) => Some(&mut threads.get_mut(tid)?.questions),
        }
    }

    /// The questions on a socket, as far as they are open, are over. Returns whose they were.
    fn end_question(&mut self, threads: &mut Threads, socket: u64, ns: u64) -> Vec<For> {
        let all = self.asking.open.remove(&socket).unwrap_or_default();
        self.asking.partly.retain(|_, of| *of != socket);
        for whose in &all {
            if let Some(questions) = self.questions_of(threads, *whose) {
                questions.over(socket, ns);
            }
        }
        all
    }

    fn question_over(&mut self, threads: &mut Threads, found: &event::Question) {
        if found.is_datagram() {
            self.is_awaited(threads, found);
        }
        if found.flags & QUESTION_MORE != 0 && self.is_answered_partly(threads, found) {
            return;
        }
        match self.end_question(threads, found.socket, found.ns)[..] {
            [For::Request(socket)] => self.goes_on(threads, found, socket),
            [] => self.end_before(threads, found),
            _ => {}
        }
    }

    /// One of several datagrams that were sent at once is answered. Is one who answers each asked there, so that the others are still due?
    /// Where nobody knows that, one answer may be all that there is. A look-up of a name sends two, and needs both answers.
    fn is_answered_partly(&mut self, threads: &mut Threads, found: &event::Question) -> bool {
        let open = self.asking.open.get(&found.socket).cloned();
        let owes_each = |whose: For| {
            let questions = self.questions_of(threads, whose);
            questions.is_some_and(|questions| questions.owes_each(found.socket))
        };
        let is_due = open.unwrap_or_default().into_iter().any(owes_each);
        if is_due {
            if self.asking.partly.len() >= MOST {
                self.asking.partly.clear();
            }
            self.asking.partly.insert(found.tid, found.socket);
        }
        is_due
    }

    /// A connection is used, or over: its connect has an answer, though the record of that was lost, or the kernel half had forgotten the
    /// socket.
    pub(super) fn is_answered(&mut self, threads: &mut Threads, call: &event::Call) {
        if self.asking.open.contains_key(&call.socket) {
            self.end_question(threads, call.socket, call.ns);
        }
    }

    /// The thread that gave a question up, or has the answer, goes on with the request for which it had asked: it may ask somebody else.
    fn goes_on(&self, threads: &mut Threads, found: &event::Question, socket: u64) {
        let is_its = |turn: &Turn| turn.tid == found.tid;
        if let Some(thread) = threads.get_mut(found.tid)
            && self.turn(socket).is_some_and(is_its)
        {
            thread.work.call(socket, found.ns);
        }
    }

    /// A question had no answer as the window began. In a process of one thread that one asked it.
    fn asked_before(&mut self, threads: &mut Threads, found: &event::Question) {
        // What was asked since then has an event of its own.
        if found.ns + TICKS_NS > self.start_ns {
            return;
        }
        if self.asking.before.len() >= MOST {
            return;
        }
        let number = u64::MAX - self.asking.before.len() as u64;
        let mut found = found.clone();
        if found.tid == 0 {
            let mut of = threads
                .living()
                .filter(|(_, thread)| thread.pid == found.pid);
            let (first, others) = (of.next(), of.count());
            found.tid = first.filter(|_| others == 0).map_or(0, |(tid, _)| tid);
        }
        if let Some(thread) = threads.get_mut(found.tid) {
            thread.questions.add(Question::new(number, &found));
        }
        self.asking.before.push(Before { number, found });
    }

    /// A question from before the window is over. Who gave it up had asked it.
    fn end_before(&mut self, threads: &mut Threads, over: &event::Question) {
        let is_it = |before: &Before| is_of(over, &before.found);
        let is_its = |before: &Before| before.found.tid == over.tid && is_it(before);
        let before = &self.asking.before;
        let its = before.iter().position(is_its);
        let Some(index) = its.or_else(|| before.iter().position(is_it)) else {
            return;
        };
        let Before { number, found } = self.asking.before.swap_remove(index);
        if let Some(thread) = threads.get_mut(found.tid) {
            thread.questions.over(number, over.ns);
        } else if let Some(thread) = threads.get_mut(over.tid) {
            let question = Question::new(number, &found).until(over.ns);
            thread.questions.add(question);
        }
    }

    /// A connection is used: if it was asked for before the window, that was answered.
    pub(super) fn is_connected(&mut self, threads: &mut Threads, socket: &event::Socket) {
        if self.asking.before.is_empty() {
            return;
        }
        let over = event::Question {
            ns: socket.ns,
            pid: socket.pid,
            local: socket.local.clone(),
            remote: socket.remote.clone(),
            ..event::Question::default()
        };
        self.end_before(threads, &over);
    }

    /// What was asked for a request that `tid` owns. Of one that came before the window, these are the questions that its thread asked
    /// soon after.
    pub(super) fn asked_for_turn(&self, threads: &Threads, turn: &Turn, tid: u32) -> Questions {
        let own = turn.questions.clone();
        let Some(thread) = threads.get(tid).filter(|_| turn.clipped) else {
            return own;
        };
        let (from, to) = turn.soon();
        let before = thread.questions.asked_in((from, to.min(self.start_ns)));
        own.with(before)
    }

    /// Does a thread that works for a request wait for somebody's answer?
    pub(super) fn awaits(&self, threads: &Threads, turn: &Turn, tid: u32) -> bool {
        let of_thread = || {
            let thread = threads.get(tid);
            thread.is_some_and(|thread| thread.turns.is_empty() && thread.questions.is_open())
        };
        self.asks(turn, tid) || self.asked_for_turn(threads, turn, tid).is_open() || of_thread()
    }

    /// The address to which a thread connected as it slept in `[begin, end]`.
    pub(in crate::model) fn connected_to(
        &self,
        threads: &Threads,
        tid: u32,
        (begin, end): (u64, u64),
    ) -> Option<ArcStr> {
        let thread = threads.get(tid)?;
        let turns = thread.turns.iter().filter_map(|socket| self.turn(socket));
        let of_turns = turns.map(|turn| &turn.questions);
        let asked = [&thread.questions].into_iter().chain(of_turns);
        let mut asked = asked.filter_map(|questions| questions.parts(begin, end).pop());
        asked.next().map(|part| part.remote)
    }
}

/// Is it the end of this connect? Where a process gives it up, or it fails, the kernel has let the own port go before the record is made
/// (`inet_put_port()` in `tcp_set_state()`): that is 0 then.
fn is_of(over: &event::Question, found: &event::Question) -> bool {
    let is_at = |ip: &str| {
        let port = found.local.strip_prefix(ip);
        port.is_some_and(|port| port.starts_with(':'))
    };
    let is_end = || over.local == found.local || over.local.strip_suffix(":0").is_some_and(is_at);
    over.pid == found.pid && over.remote == found.remote && is_end()
}
