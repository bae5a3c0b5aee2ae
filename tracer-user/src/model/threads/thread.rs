//! A target thread: its time line, and the requests that it works for. Every nanosecond of its life is in exactly one class.

use std::collections::VecDeque;

use super::{
    completions::Unexplained,
    ends::{End, Ends, Whom},
    hand::Hand,
    locks::Sight,
    owned::Owned,
    questions::Questions,
    readers::Reader,
    spent::Spent,
    time_line::{KEPT, TimeLine},
    tries::Tries,
    work::Work,
};
use crate::{
    class::Class,
    model::{
        books::{Budget, EndedBy, ProcessId},
        recent,
    },
};

/// A wait for work, or a part of one, that a thread of the target ended or held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnWait {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// That thread.
    pub(crate) by: u32,
    /// Did it bring something, bytes or its own end? Then it let no lock go.
    pub(crate) brought: bool,
}

/// A wait that another process of the target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForProcess {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// When that process, or its thread, was born, ns.
    pub(crate) born_ns: u64,
}

/// A wait for work that a thread of another process ended. The thread that waited owns no request: others of the target may wait for what
/// it was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brought {
    /// Begin and end of the wait, ns.
    pub(crate) span: (u64, u64),
    /// The process that ended it.
    pub(crate) process: ProcessId,
    /// Its number, and that of its thread.
    pub(crate) by: (u32, u32),
}

/// A wait for work of a thread that owned a request.
#[derive(Clone, Copy, Debug)]
struct Asleep {
    begin_ns: u64,
    end_ns: u64,
    stack: u64,
    ended_by: EndedBy,
}

/// A target thread.
#[derive(Clone, Debug)]
pub(crate) struct Thread {
    /// When it began, or the window did.
    pub(crate) begin_ns: u64,
    /// Is it on a CPU since its time line ends?
    pub(crate) running: bool,
    /// Moves between CPUs while queued, not yet part of a wait: (when, from).
    pub(crate) moves: Vec<(u64, u32)>,
    /// The open requests that it owns.
    pub(crate) turns: Owned,
    /// Waits for work before this have been judged: they belonged to a request.
    pub(crate) judged_ns: u64,
    /// When it last received from a process that it asks.
    pub(crate) answered_ns: u64,
    /// The connection to the target itself on which it last received an answer, and when, ns.
    pub(crate) own_answer: Option<(u64, u64)>,
    /// The ends of its waits for work, as far as they are known.
    pub(crate) ends: Ends,
    /// Connection on which it last asked, or was answered, and when, ns.
    pub(crate) asked: Option<(u64, u64)>,
    /// Connection of its last call, if that was a send.
    pub(crate) sends_on: Option<u64>,
    /// What it has asked, as far as that belongs to no request of it.
    pub(crate) questions: Questions,
    /// Disk of the file or file system that it last wrote out.
    pub(crate) syncs: Option<u32>,
    /// Process.
    pub(crate) pid: u32,
    /// Its work so far, and its work now.
    pub(crate) work: Work,
    /// Waits for work that it ended: (when, ns; tid). It may have handed a request to one of these threads.
    pub(crate) woken: VecDeque<(u64, u32)>,
    /// Its last waits for work that threads of the target ended. Tries in turn on one futex are one wait.
    pub(crate) woken_by: VecDeque<OwnWait>,
    /// Its last waits for locks that threads of the target had, as its requests counted them.
    pub(crate) kept_by: VecDeque<OwnWait>,
    /// The last long wait that another process of the target ended.
    pub(crate) for_process: Option<ForProcess>,
    /// Process that ran when an interrupt ended its last wait for work; `None` once a request was taken for that one's.
    pub(crate) bystander: Option<u32>,
    /// Process that forked it in the window.
    pub(crate) parent: Option<u32>,
    /// The thread of that process. A recording that does not say which has the first one: in most servers that accept and fork, it is that.
    pub(crate) bearer: Option<u32>,
    /// If it polls rings: the threads that take from them what it has done, the last first.
    pub(super) takers: Option<Vec<u32>>,
    /// The thread that polls the ring from which it takes.
    pub(super) poller: Option<u32>,
    /// Function stack in which it slept at attach.
    pub(crate) seed: Vec<String>,
    /// State letter at attach; `None` for a thread born in the window.
    pub(crate) seed_state: Option<char>,
    /// Waits for completions of which nothing is known to have been in flight.
    pub(super) unexplained: VecDeque<Unexplained>,
    /// Sleeps on one futex that nobody ended so far.
    pub(super) tries: Tries,
    /// The lock that it was refused last, and has not got since.
    pub(crate) refused: Option<Sight>,
    /// The owners of the lock for which it sleeps, in order of time.
    pub(crate) locks: Vec<Sight>,
    /// Who has to read what it writes, as was last seen.
    pub(crate) reader: Option<Reader>,
    /// The release of a lock of the kernel that woke it last: when, ns, and since when the releasing thread ran, ns.
    pub(crate) released: (u64, u64),
    /// The last waits that threads of other processes ended, and that may have been for others of the target.
    brought: VecDeque<Brought>,
    /// The last waits for work in which it owned a request.
    asleep: VecDeque<Asleep>,
    waits: bool,
    line: TimeLine,
}

impl Thread {
    /// A thread that is there from `begin_ns` on.
    #[must_use]
    pub(crate) fn new(begin_ns: u64) -> Self {
        Self {
            begin_ns,
            running: false,
            moves: Vec::new(),
            turns: Owned::default(),
            judged_ns: begin_ns,
            answered_ns: 0,
            own_answer: None,
            ends: Ends::default(),
            asked: None,
            sends_on: None,
            questions: Questions::default(),
            syncs: None,
            pid: 0,
            work: Work::default(),
            woken: VecDeque::new(),
            woken_by: VecDeque::new(),
            kept_by: VecDeque::new(),
            for_process: None,
            bystander: None,
            parent: None,
            bearer: None,
            takers: None,
            poller: None,
            seed: Vec::new(),
            seed_state: None,
            unexplained: VecDeque::new(),
            tries: Tries::default(),
            refused: None,
            locks: Vec::new(),
            reader: None,
            released: (0, 0),
            brought: VecDeque::new(),
            asleep: VecDeque::new(),
            waits: false,
            line: TimeLine::new(begin_ns),
        }
    }

    /// Up to when the time line is known.
    #[must_use]
    #[inline]
    pub(crate) fn known_ns(&self) -> u64 {
        self.line.known_ns()
    }

    /// Extends the time line to `until` by time of one class.
    #[inline]
    pub(crate) fn extend(&mut self, class: Class, until: u64) {
        if until > self.known_ns() {
            self.line.extend(class, until);
            self.waits = false;
        }
    }

    /// Extends the time line to `until` by a wait for work, resolved as `tentative` (which sums to its length).
    #[inline]
    pub(crate) fn extend_waiting(&mut self, tentative: &Budget, until: u64) {
        if until > self.known_ns() {
            self.line.extend_waiting(tentative, until);
        }
        self.waits = true;
    }

    /// The sleep that ended at `ns` was of another class than it had seemed. Returns whether that is still known.
    pub(crate) fn becomes(&mut self, classes: (Class, Class), ns: u64) -> bool {
        self.line.becomes(classes, ns)
    }

    /// The wait for work that ended at `ns` was interrupted: whoever ended it is not whom the thread waited for.
    pub(crate) fn was_not_answered(&mut self, ns: u64) {
        self.line.was_not_answered(ns);
    }

    /// A process asks it. It wakes the thread to ask, and answers nothing by that: this holds for the last waits that it ended, as far as
    /// no request has counted them.
    pub(crate) fn was_asked(&mut self, by: ProcessId) {
        for ended_ns in self.ends.take_asked(by, self.judged_ns) {
            self.line.was_not_answered(ended_ns);
        }
    }

    /// Its wait for work in `span` counts as `tentative` (which sums to its length), unless it has been judged already.
    pub(crate) fn explain(&mut self, span: (u64, u64), tentative: &Budget) {
        if span.0 >= self.judged_ns {
            self.line.explain(span, tentative);
        }
    }

    /// It has an answer for which it asked at `begin`, and owns no request. If somebody of the target waits for it, that one waits for this
    /// answer. Returns its waits for work since then that nothing else explains.
    pub(crate) fn has_answer(&mut self, begin: u64, end: u64) -> Vec<(u64, u64)> {
        let begin = begin.max(self.judged_ns);
        self.line.expect(Class::Upstream, (begin, end), begin)
    }

    /// It has the answer for which another thread asked at `begin`, and owns no request. It may have slept there before somebody asked.
    /// Whoever waits for it has asked. Returns the same as [`Self::has_answer`].
    pub(crate) fn heard_answer(&mut self, begin: u64, end: u64) -> Vec<(u64, u64)> {
        let judged_ns = self.judged_ns;
        let span = (begin.max(judged_ns), end);
        self.line.expect(Class::Upstream, span, judged_ns)
    }

    /// Its waits for work in an interval that nothing explains, and no request has counted, as far as they did not begin before `since`.
    #[must_use]
    pub(crate) fn idle_in(&self, (begin, end): (u64, u64), since: u64) -> Vec<(u64, u64)> {
        let judged_ns = self.judged_ns;
        self.line
            .idle((begin.max(judged_ns), end), since.max(judged_ns))
    }

    /// It is known who ended its wait for work in `span`.
    pub(crate) fn ended_at(&mut self, span: (u64, u64), whom: Whom) {
        self.ends.add(End::new(span, whom));
    }

    /// It was blocked in the idle parts of an interval after all, as far as no request has counted them as its own. Returns these parts.
    pub(super) fn blocked_after_all(
        &mut self,
        class: Class,
        begin: u64,
        end: u64,
    ) -> Vec<(u64, u64)> {
        self.line.amend(class, begin.max(self.judged_ns), end)
    }

    /// Forgets what is not needed from `needed_ns` on, but for the most recent.
    pub(crate) fn forget(&mut self, needed_ns: u64) {
        self.line.forget(needed_ns);
        self.work.forget(needed_ns);
        self.ends.forget(needed_ns);
    }

    /// A hand ended its wait for work.
    pub(super) fn was_ended(&mut self, hand: Hand) {
        self.for_process = hand.for_process.or(self.for_process);
        hand.ends.into_iter().for_each(|end| self.ends.add(end));
    }

    /// It waited for work while it owned a request.
    pub(super) fn slept_in(
        &mut self,
        stack: u64,
        (begin_ns, end_ns): (u64, u64),
        ended_by: EndedBy,
    ) {
        let asleep = Asleep {
            begin_ns,
            end_ns,
            stack,
            ended_by,
        };
        push_recent(&mut self.asleep, asleep);
    }

    /// The stack of such a wait that was under way just before `ns`, and who ended it.
    #[must_use]
    pub(crate) fn asleep_before(&self, ns: u64) -> Option<(u64, EndedBy)> {
        let at = recent::partition_point(&self.asleep, |asleep| asleep.end_ns < ns);
        let asleep = self.asleep.get(at).filter(|asleep| asleep.begin_ns < ns)?;
        Some((asleep.stack, asleep.ended_by))
    }

    /// Its wait for work, or its tries in turn, in this span, if a thread of the target ended them; the last ones are kept.
    #[must_use]
    pub(crate) fn woken_in(&self, begin: u64, end: u64) -> Option<OwnWait> {
        let at = recent::partition_point(&self.woken_by, |wait| wait.end_ns <= begin);
        let wait = self.woken_by.get(at).copied();
        wait.filter(|wait| wait.begin_ns < end)
    }

    /// It ended a wait for work of another.
    pub(crate) fn wakes(&mut self, ns: u64, tid: u32) {
        push_recent(&mut self.woken, (ns, tid));
    }

    /// A thread of the target ended a wait for work of it.
    pub(crate) fn was_woken(&mut self, wait: OwnWait) {
        push_recent(&mut self.woken_by, wait);
    }

    /// A thread of another process ended a wait of it.
    pub(crate) fn was_brought(&mut self, brought: Brought) {
        push_recent(&mut self.brought, brought);
    }

    /// Such waits in a span, each cut to that, in order of time: for whoever waited meanwhile until this one woke him.
    pub(crate) fn brought_in(&self, (begin, end): (u64, u64)) -> Vec<Brought> {
        let first = recent::partition_point(&self.brought, |known| known.span.1 <= begin);
        let cut = self.brought.range(first..).map(|known| Brought {
            span: (known.span.0.max(begin), known.span.1.min(end)),
            ..*known
        });
        cut.filter(|known| known.span.0 < known.span.1).collect()
    }

    /// It waited for a lock that a thread of the target had.
    pub(crate) fn was_kept(&mut self, wait: OwnWait) {
        push_recent(&mut self.kept_by, wait);
    }

    /// Is it worth calling [`Self::forget`]?
    #[must_use]
    pub(crate) fn is_long(&self) -> bool {
        self.line.is_long()
    }

    /// Is so much known of the time since `ns` that some of it is forgotten soon?
    #[must_use]
    pub(crate) fn is_full_since(&self, ns: u64) -> bool {
        self.line.is_full_since(ns)
    }

    /// Since when it is known step by step, ns. Of the time before there are sums.
    #[must_use]
    pub(crate) fn remembered_ns(&self) -> u64 {
        self.line.remembered_ns()
    }

    /// Its time per class between two times. After the last known step, a thread on a CPU runs.
    #[must_use]
    pub(crate) fn between(&self, begin: u64, end: u64) -> Spent {
        self.line.between(begin, end, self.running)
    }

    /// The same, piece by piece, each spread evenly: calls `each` with begin, end and what.
    #[inline]
    pub(crate) fn for_each_piece(&self, begin: u64, end: u64, each: impl FnMut(u64, u64, &Spent)) {
        self.line.for_each_piece(begin, end, self.running, each);
    }

    /// Waits for work between two times, as far as they are remembered, piece by piece: begin, end, and what the thread would be waiting
    /// for. A sum of forgotten steps does not say when in it the thread waited.
    #[must_use]
    #[inline]
    pub(crate) fn waits_between(&self, begin: u64, end: u64) -> Vec<(u64, u64, Budget)> {
        let mut waits = Vec::new();
        self.for_each_piece(begin.max(self.remembered_ns()), end, |from, to, spent| {
            if spent.tentative.iter().any(|ns| *ns > 0) {
                waits.push((from, to, spent.tentative));
            }
        });
        waits
    }

    /// What it did, as far as that was more than to look whether there is something to do.
    #[must_use]
    pub(crate) fn without_polling(&self, spent: &Spent) -> Spent {
        match self.takers {
            Some(_) => spent.without_polling(),
            None => *spent,
        }
    }

    /// Is the last that is known of it a wait for work?
    #[must_use]
    pub(crate) fn waits_for_work(&self) -> bool {
        self.waits && !self.running
    }

    /// Nothing is known of the time until `until`.
    pub(crate) fn skip(&mut self, until: u64) {
        if until > self.known_ns() {
            self.line.skip(until);
        }
    }

    /// The time that it was stopped, ns.
    #[must_use]
    pub(crate) fn stopped_ns(&self) -> u64 {
        self.spent().certain[Class::Stopped.index()]
    }

    /// Everything so far.
    #[must_use]
    pub(crate) fn spent(&self) -> &Spent {
        self.line.spent()
    }
}

/// Appends to what is kept of the recent past.
fn push_recent<T>(recent: &mut VecDeque<T>, new: T) {
    if recent.len() >= KEPT {
        recent.pop_front();
    }
    recent.push_back(new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::books::Holder;

    #[test]
    fn who_asks_has_not_answered_before_but_for_what_a_request_has_counted() {
        let mut thread = Thread::new(0);
        for ns in [10, 20, 30] {
            let upstream = Whom::Stranger(Class::Upstream, Holder::Process(1));
            thread.ends.add(End::new((ns - 10, ns), upstream));
        }
        thread.judged_ns = 10;
        thread.was_asked(2);
        assert_eq!(thread.ends.len(), 3);
        thread.was_asked(1);
        assert_eq!(thread.ends.len(), 1);
    }
}
