//! Questions that nobody has answered yet: each says for whose answer a thread, or a request, waits until then.

use arcstr::ArcStr;
use tracer_common::tcp::QUESTION_LISTENS;

use super::{
    Threads,
    ends::{End, Whom},
};
use crate::{
    class::Class,
    event,
    model::{books::Budget, names::Names},
};

/// Questions kept of one request, or of one thread: the last ones.
const MOST: usize = 32;

/// The end of a question that has no answer yet, ns.
const OPEN: u64 = u64::MAX;

/// Stands for the address of a datagram that no probe has seen.
const NOT_KNOWN: &str = "an address that is not known";

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// What stands for its socket.
    socket: u64,
    /// Address and port of the one that is asked.
    remote: ArcStr,
    begin_ns: u64,
    end_ns: u64,
    is_datagram: bool,
    /// Does the service that is asked answer each datagram?
    is_answered_each: bool,
    /// Does somebody wait for the answer? Many datagrams are sent without one.
    is_awaited: bool,
}

impl Question {
    /// A question on this socket that has no answer yet.
    pub(crate) fn new(socket: u64, found: &event::Question) -> Self {
        let is_datagram = found.is_datagram();
        Self {
            socket,
            remote: asked(&found.remote, is_datagram),
            begin_ns: found.ns,
            end_ns: OPEN,
            is_datagram,
            is_answered_each: found.is_answered_each(),
            is_awaited: found.surely_asks() || found.flags & QUESTION_LISTENS != 0,
        }
    }

    /// The same question; somebody waits for its answer, if `is_awaited`.
    pub(crate) fn awaited(self, is_awaited: bool) -> Self {
        Self {
            is_awaited: self.is_awaited || is_awaited,
            ..self
        }
    }

    /// The one that is asked, in the words of the report.
    pub(crate) fn remote(&self) -> &ArcStr {
        &self.remote
    }

    /// Does somebody wait for the answer, as far as that is known?
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited
    }

    /// The same question with its end.
    pub(crate) fn until(self, end_ns: u64) -> Self {
        Self { end_ns, ..self }
    }

    fn is_open(&self) -> bool {
        self.end_ns == OPEN
    }
}

/// Follows the address of one that is asked by datagrams.
const BY_DATAGRAM: &str = " (UDP)";

/// The address and port of one that is [`asked`], without more words.
pub(crate) fn address(asked: &str) -> &str {
    asked.strip_suffix(BY_DATAGRAM).unwrap_or(asked)
}

/// The one that is asked at an address, in the words of the report.
pub(crate) fn asked(remote: &str, is_datagram: bool) -> ArcStr {
    match (remote, is_datagram) {
        ("", _) => ArcStr::from(format!("{NOT_KNOWN}{BY_DATAGRAM}")),
        (_, true) => ArcStr::from(format!("{remote}{BY_DATAGRAM}")),
        (_, false) => ArcStr::from(remote),
    }
}

/// A part of a sleep in which somebody owed an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) begin_ns: u64,
    pub(crate) end_ns: u64,
    /// How much of it was a wait for that, ns.
    pub(crate) ns: u64,
    /// Address and port of the one that was asked.
    pub(crate) remote: ArcStr,
}

/// The questions of one request, or of one thread, in order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Questions(Vec<Question>);

impl Questions {
    /// A question is asked.
    pub(crate) fn add(&mut self, question: Question) {
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push(question);
    }

    /// The question on a socket is over.
    pub(crate) fn over(&mut self, socket: u64, ns: u64) {
        let of = self.0.iter_mut().filter(|known| known.socket == socket);
        for question in of.filter(|known| known.is_open()) {
            question.end_ns = ns;
        }
    }

    /// Was somebody asked on a socket who answers each datagram, and is that not over?
    pub(crate) fn owes_each(&self, socket: u64) -> bool {
        let mut open = self.0.iter().filter(|known| known.is_open());
        open.any(|known| known.socket == socket && known.is_answered_each)
    }

    /// Datagrams that have no answer by now will get none: the one that sent them asks somebody else, or does something else.
    pub(crate) fn give_up(&mut self, ns: u64) {
        // Those for whose answer nobody waits explain nothing.
        self.0.retain(|known| known.is_awaited);
        let open = self.0.iter_mut().filter(|known| known.is_open());
        for question in open.filter(|known| known.is_datagram) {
            question.end_ns = ns;
        }
    }

    /// What was asked before `start_ns` is over at `ns`: the thread that slept for it alone goes on.
    pub(super) fn went_on(&mut self, start_ns: u64, ns: u64) {
        let open = self.0.iter_mut().filter(|known| known.is_open());
        for question in open.filter(|known| known.begin_ns < start_ns) {
            question.end_ns = ns;
        }
    }

    /// Somebody waits for the answers of this one.
    pub(crate) fn listens_to(&mut self, remote: &ArcStr) {
        for question in self.0.iter_mut().filter(|known| known.remote == *remote) {
            question.is_awaited = true;
        }
    }

    /// Somebody waits for the answers to what was asked on a socket.
    pub(crate) fn listens_on(&mut self, socket: u64) {
        for question in self.0.iter_mut().filter(|known| known.socket == socket) {
            question.is_awaited = true;
        }
    }

    /// The datagram that was sent last and has no answer yet: somebody waits for that answer.
    pub(crate) fn listens(&mut self) {
        let last = self.0.iter_mut().rev().find(|known| known.is_open());
        if let Some(question) = last {
            question.is_awaited = true;
        }
    }

    /// Is somebody waited for who has not answered yet?
    pub(crate) fn is_open(&self) -> bool {
        let mut awaited = self.0.iter().filter(|known| known.is_awaited);
        awaited.any(Question::is_open)
    }

    /// Those that were asked in `[from, to)`, or may have been.
    pub(crate) fn asked_in(&self, (from, to): (u64, u64)) -> Self {
        let may_be =
            |known: &&Question| known.begin_ns == 0 || (from..to).contains(&known.begin_ns);
        Self(self.0.iter().filter(may_be).cloned().collect())
    }

    /// These and others, as one list.
    pub(crate) fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self.0.sort_by_key(|question| question.begin_ns);
        self
    }

    /// The parts of `[begin, end]` in which an answer was owed, in order of time. If several were, it is the one asked for last: whoever
    /// asks on has given the others up, or would be content with any.
    pub(crate) fn parts(&self, begin: u64, end: u64) -> Vec<Asked> {
        let mut parts = Vec::new();
        let mut free = vec![(begin, end)];
        for question in self.0.iter().rev().filter(|known| known.is_awaited) {
            let mut left = Vec::new();
            for (from, to) in free {
                let (begin_ns, end_ns) = (question.begin_ns.max(from), question.end_ns.min(to));
                if begin_ns >= end_ns {
                    left.push((from, to));
                    continue;
                }
                let around = [(from, begin_ns), (end_ns, to)];
                left.extend(around.into_iter().filter(|(from, to)| from < to));
                parts.push(Asked {
                    begin_ns,
                    end_ns,
                    ns: end_ns - begin_ns,
                    remote: question.remote.clone(),
                });
            }
            free = left;
        }
        parts.sort_by_key(|part| part.begin_ns);
        parts
    }

    /// How long of `[begin, end]` an answer was owed, ns.
    pub(crate) fn owed_ns(&self, begin: u64, end: u64) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        self.parts(begin, end).iter().map(|part| part.ns).sum()
    }

    /// A wait for work in `[begin, end]`, or in a part of it: what is idle of `waited` becomes a wait for answers, as far as they were
    /// owed. Returns these parts.
    pub(crate) fn explain(&self, (begin, end): (u64, u64), waited: &mut Budget) -> Vec<Asked> {
        let idle = waited[Class::Idle.index()];
        if self.0.is_empty() || idle == 0 || end <= begin {
            return Vec::new();
        }
        let mut parts = self.parts(begin, end);
        for part in &mut parts {
            part.ns = (u128::from(part.ns) * u128::from(idle) / u128::from(end - begin)) as u64;
            waited[Class::Idle.index()] -= part.ns;
            waited[Class::Upstream.index()] += part.ns;
        }
        parts
    }
}

impl Threads {
    /// A thread that owns no request waits for work in a part of its life: as far as it has asked somebody, it waits for that answer.
    /// Who has requests asks for one of them, and that one has the question. Returns what it waited for, and who is at the ends.
    pub(super) fn waits_for_answers(
        &self,
        names: &mut Names,
        tid: u32,
        (begin, end): (u64, u64),
    ) -> (Budget, Vec<End>) {
        let mut waited = Budget::default();
        let thread = self.living.get(tid);
        let Some(thread) = thread.filter(|thread| thread.turns.is_empty()) else {
            return (waited, Vec::new());
        };
        waited[Class::Idle.index()] = end.saturating_sub(begin);
        let asked = thread.questions.explain((begin, end), &mut waited);
        let end = |part: Asked| {
            let place = names.place(&part.remote);
            End::new((part.begin_ns, part.end_ns), Whom::Address(place))
        };
        (waited, asked.into_iter().map(end).collect())
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::tcp::QUESTION_DATAGRAM;

    use super::*;

    fn question(socket: u64, remote: &str, begin_ns: u64, end_ns: u64) -> Question {
        let found = event::Question {
            ns: begin_ns,
            remote: remote.to_owned(),
            ..event::Question::default()
        };
        Question::new(socket, &found).until(end_ns)
    }

    fn datagram(socket: u64, remote: &str, begin_ns: u64) -> Question {
        let found = event::Question {
            ns: begin_ns,
            remote: remote.to_owned(),
            flags: QUESTION_DATAGRAM,
            ..event::Question::default()
        };
        Question::new(socket, &found)
    }

    fn parts(questions: &Questions, begin: u64, end: u64) -> Vec<(u64, u64, String)> {
        let parts = questions.parts(begin, end).into_iter();
        let parts = parts.map(|part| (part.begin_ns, part.end_ns, part.remote.to_string()));
        parts.collect()
    }

    fn part(begin: u64, end: u64, remote: &str) -> (u64, u64, String) {
        (begin, end, remote.to_owned())
    }

    #[test]
    fn an_answer_is_owed_from_the_question_on_until_it_comes() {
        let mut questions = Questions::default();
        questions.add(question(1, "a", 10, OPEN));
        assert_eq!(parts(&questions, 0, 50), [part(10, 50, "a")]);
        assert!(questions.is_open());
        questions.over(2, 20);
        questions.over(1, 30);
        questions.over(1, 40);
        assert_eq!(parts(&questions, 0, 50), [part(10, 30, "a")]);
        assert_eq!(
            (questions.is_open(), questions.owed_ns(20, 50)),
            (false, 10)
        );
    }

    #[test]
    fn of_several_that_owe_one_it_is_the_one_asked_last() {
        let mut questions = Questions::default();
        questions.add(question(1, "a", 10, OPEN));
        questions.add(question(2, "b", 20, 30));
        questions.add(question(3, "c", 25, 28));
        let expected = [
            part(10, 20, "a"),
            part(20, 25, "b"),
            part(25, 28, "c"),
            part(28, 30, "b"),
            part(30, 40, "a"),
        ];
        assert_eq!(parts(&questions, 0, 40), expected);
        assert_eq!(questions.owed_ns(0, 40), 30);
    }

    #[test]
    fn only_what_nothing_else_explains_is_a_wait_for_an_answer() {
        let mut questions = Questions::default();
        questions.add(question(1, "a", 50, OPEN));
        let mut waited = Budget::default();
        waited[Class::Idle.index()] = 60;
        waited[Class::Disk.index()] = 40;
        let asked = questions.explain((0, 100), &mut waited);
        assert_eq!(asked.iter().map(|part| part.ns).sum::<u64>(), 30);
        let left = [Class::Idle, Class::Upstream, Class::Disk].map(|class| waited[class.index()]);
        assert_eq!(left, [30, 30, 40]);
    }

    #[test]
    fn a_datagram_asks_if_somebody_waits_for_its_answer() {
        let mut questions = Questions::default();
        questions.add(datagram(1, "10.0.0.1:8125", 10));
        assert_eq!((questions.is_open(), questions.owed_ns(0, 50)), (false, 0));
        questions.listens_on(1);
        assert_eq!((questions.is_open(), questions.owed_ns(0, 50)), (true, 40));
        questions.add(datagram(2, "", 20));
        questions.listens_on(2);
        let expected = [
            part(10, 20, "10.0.0.1:8125 (UDP)"),
            part(20, 50, "an address that is not known (UDP)"),
        ];
        assert_eq!(parts(&questions, 0, 50), expected);
    }

    #[test]
    fn who_sends_to_a_service_that_answers_asks_until_the_sender_gives_up() {
        let mut questions = Questions::default();
        questions.add(datagram(1, "10.0.0.1:8125", 5));
        questions.add(datagram(2, "[::1]:53", 10));
        questions.add(question(3, "a", 40, OPEN));
        questions.give_up(30);
        assert_eq!(questions.owed_ns(0, 40), 20);
        assert!(questions.is_open());
    }

    #[test]
    fn the_last_questions_are_kept() {
        let mut questions = Questions::default();
        for at in 0..100 {
            questions.add(question(at, "a", at, at + 1));
        }
        assert_eq!(questions.owed_ns(0, 100), MOST as u64);
        assert_eq!(questions.asked_in((98, 200)).owed_ns(0, 100), 2);
    }
}
