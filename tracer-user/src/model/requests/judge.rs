//! A part of a turn becomes the request's time: what its thread did meanwhile, and what that waited for.

use super::{
    Beside, Requests,
    hands::Hands,
    itself::OwnAnswers,
    turns::{disown, own},
};
use crate::{
    class::{Class, Resource},
    model::{
        account::Charge,
        books::{Budget, Holder, PlaceId},
        ledger::Ledger,
        links::SendWait,
        threads::{Asked, Questions, Spent, Thread, Whom, charge_ends, note_naps},
    },
};

/// A master forks processes that accept, and those fork one for each request. Longer chains of forks belong to no request.
const MOST_LIVES: usize = 4;

/// Work of at least this length for one request may be felt by those that stand behind it, ns.
const LONG_WORK_NS: u64 = 10_000_000;

/// No socket has this address.
pub(super) const NO_SOCKET: u64 = 0;

/// How time is entered: class, begin, end, and how much of that, ns.
type Enter = fn(&mut Ledger, Class, u64, u64, u64);

/// A part of a turn in which one thread lived that worked on it.
struct Life<'a> {
    tid: u32,
    /// Who asked others for it.
    asker: u32,
    /// Begin and end of the part, ns.
    begin: u64,
    end: u64,
    /// The class of waits for work that nothing explains.
    waiting: Class,
    /// What was asked for the request.
    questions: &'a Questions,
    /// What the target did for what was asked of itself.
    itself: &'a OwnAnswers,
    /// Who else had the request.
    hands: Hands,
}

impl Requests {
    /// Judges the part of a turn up to `now`, in which `tid` worked on it. Its waits for work that no waker explains count as
    /// `waiting`. A lock is one of the target's own then.
    pub(super) fn judge(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        now: u64,
        tid: u32,
        waiting: Class,
    ) {
        let turn = self.turn_mut(socket);
        if let Some((ns, receiver)) = turn.and_then(|turn| turn.came.take()) {
            let until = (ns.min(now), Some(tid));
            self.judge_part(beside, socket, until, receiver, Class::Network);
        }
        self.judge_part(beside, socket, (now, None), tid, waiting);
    }

    /// The same of a part up to `now`. While `tid` waited for what the client sends, others may have had the request, for whom `sender`
    /// sends the answer.
    fn judge_part(
        &mut self,
        beside: &mut Beside<'_>,
        socket: u64,
        (now, sender): (u64, Option<u32>),
        tid: u32,
        waiting: Class,
    ) {
        let Some(connection) = self.connections.get_mut(socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        let now = now.max(turn.judged_ns);
        let begin = std::mem::replace(&mut turn.judged_ns, now);
        let (since, answered) = (turn.begin_ns, turn.sent_ns.is_some());
        // Before it was picked up nobody worked for it.
        let picked_up = begin > turn.begin_ns;
        if turn.tid != tid {
            disown(beside.threads, turn);
            turn.tid = tid;
            own(beside.threads, &mut self.seats, socket, turn);
        }
        let turn = self.turn(socket);
        let asked = turn.map(|turn| self.asked_for_turn(beside.threads, turn, tid));
        let questions = &asked.unwrap_or_default();
        let span = (begin, now);
        let itself = turn.map(|turn| self.own_answers(beside.threads, turn, tid, span));
        let itself = &itself.unwrap_or_default();
        let born = turn.map_or_else(Vec::new, |turn| turn.born.clone());
        // Only of a wait that nothing explains it is asked who else had the request.
        let threads = &*beside.threads;
        let all = |answered| {
            let hands = Hands::of(threads, tid, socket, since, span, answered, waiting);
            hands.with_born(threads, &born)
        };
        let mut hands = match waiting {
            Class::Other | Class::Lock => all(answered),
            _ if threads.is_poller(tid) => all(true),
            _ => sender.map_or_else(Hands::default, |sender| {
                all(true).that_came_back(threads, (socket, since), sender)
            }),
        };
        // Judge each thread that lived a part of this time. Before a thread was born, the one that forked it had its work.
        let (mut tid, mut end, mut known_ns) = (tid, now, 0);
        for _ in 0..MOST_LIVES {
            let Some(thread) = beside.threads.get(tid).filter(|_| end > begin) else {
                break;
            };
            let (from, bearer) = (thread.begin_ns.clamp(begin, end), thread.bearer);
            let life = Life {
                tid,
                asker: tid,
                begin: from,
                end,
                waiting,
                questions,
                itself,
                hands: std::mem::take(&mut hands),
            };
            known_ns += self.judge_life(beside, socket, &life);
            self.confirm_of(beside, socket, &life);
            if picked_up {
                let caller = self.caller(socket);
                self.clients.worked(tid, caller, from, end);
            }
            let Some(bearer) = bearer else { break };
            (tid, end) = (bearer, from);
        }
        self.tally.judged(now - begin, known_ns);
    }

    /// Adds a part of a thread's time line to the request of a connection. Returns how much of it has a class, ns.
    fn judge_life(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life<'_>) -> u64 {
        let asker = self.local_asker(socket);
        let ledger = &mut beside.account.ledger;
        let (Some(thread), Some(turn)) = (
            beside.threads.get(life.tid),
            self.connections
                .get_mut(socket)
                .and_then(|connection| connection.turn.as_mut()),
        ) else {
            return 0;
        };
        let threads = &*beside.threads;
        let (mut known_ns, mut lived) = (0, Budget::default());
        let remembered_ns = thread.remembered_ns();
        threads.for_each_piece(life.tid, (life.begin, life.end), |from, to, spent| {
            turn.blocked_ns += spent.blocked();
            let mut tentative = spent.tentative;
            life.questions.explain((from, to), &mut tentative);
            life.itself.explain((from, to), &mut tentative);
            // A hand ends single waits. In a sum of forgotten steps those are not told apart: what is idle there stays unexplained. But a
            // poller's whole time is that of whoever takes from its ring.
            if from >= remembered_ns || life.hands.polls() {
                life.hands.explain(threads, (from, to), &mut tentative);
            }
            let (mut certain, work) = (spent.certain, (&thread.work, socket));
            let behind = life
                .hands
                .for_others(threads, work, (from, to), &mut certain);
            for class in Class::ALL {
                let ns = certain[class.index()] + tentative[class.index()];
                if ns == 0 {
                    continue;
                }
                let known = match class {
                    Class::Idle => life.waiting,
                    _ => class,
                };
                ledger.requests(known, from, to, ns);
                known_ns += ns;
                lived[known.index()] += ns;
                if let Some(asker) = asker {
                    ledger.served_requests(asker, known, from, to, ns);
                }
                ledger.behind_own(known, from, to, behind[class.index()]);
            }
        });
        let span = (life.begin, life.end);
        let behind = thread.work.long_for_others(socket, span, LONG_WORK_NS);
        // One that polls never ends its work.
        let behind: Vec<(u64, u64)> = behind.filter(|_| !life.hands.polls()).collect();
        self.stood_behind(socket, &behind);
        self.lived(socket, span, lived);
        known_ns
    }

    /// In the books of a followed process: a thread ended a wait of whoever asks. That is a request, and has the time of this thread. What
    /// is not known of it is `other`.
    pub(in crate::model) fn worked(
        &mut self,
        beside: &mut Beside<'_>,
        tid: u32,
        (begin, end): (u64, u64),
    ) {
        let life = Life {
            tid,
            asker: tid,
            begin,
            end,
            waiting: Class::Other,
            questions: &Questions::default(),
            itself: &OwnAnswers::default(),
            hands: Hands::default(),
        };
        self.count(beside, NO_SOCKET, &life, Ledger::requests);
    }

    /// In the books of a followed process: whoever asks waited for it to take what he had sent on the connection with these ends, own
    /// address first. He waited for what the thread did that receives there, whether it answers or not, and for those to which it gave what
    /// it received. One that had nothing left to take waited for him.
    pub(in crate::model) fn had_to_take(
        &mut self,
        beside: &mut Beside<'_>,
        ends: (&str, &str),
        (begin, end): (u64, u64),
    ) {
        let Some((tid, socket)) = self.receiver(beside.threads, ends) else {
            return;
        };
        let since = self.turn(socket).map_or(begin, |turn| turn.begin_ns);
        let span = (begin, end);
        let life = Life {
            tid,
            asker: tid,
            begin,
            end,
            waiting: Class::Idle,
            questions: &Questions::default(),
            itself: &OwnAnswers::default(),
            hands: Hands::of(beside.threads, tid, socket, since, span, true, Class::Idle),
        };
        self.count(beside, socket, &life, Ledger::taking);
    }

    /// A thread's time is that of somebody who waits for it, and is entered with `enter`. What is not known of it is what its own waits for
    /// work are.
    fn count(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life<'_>, enter: Enter) {
        let (begin, end) = (life.begin, life.end);
        // Whether it waits for a link or for a reader shows when its send returns.
        let is_sending = self.sends.contains_key(&life.tid);
        let (ledger, threads) = (&mut beside.account.ledger, &*beside.threads);
        let Some(thread) = threads.get(life.tid) else {
            return enter(ledger, life.waiting, begin, end, end - begin);
        };
        let add = |from: u64, to: u64, spent: &Spent| {
            let Spent {
                certain,
                mut tentative,
            } = thread.without_polling(spent);
            life.hands.explain(threads, (from, to), &mut tentative);
            let mut left = to - from;
            for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
                let ns = (certain[class.index()] + tentative[class.index()]).min(left);
                if class != Class::Network || !is_sending {
                    enter(ledger, class, from, to, ns);
                    left -= ns;
                }
            }
            enter(ledger, life.waiting, from, to, left);
        };
        thread.for_each_piece(begin, end, add);
        self.confirm(beside, socket, life);
    }

    /// The same as [`Self::confirm`]. For one that polls a ring, the thread waits that takes from it.
    fn confirm_of(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life<'_>) {
        let Some(taker) = beside.threads.takers(life.tid).first().copied() else {
            return self.confirm(beside, socket, life);
        };
        // It may sleep, and the record of that come later.
        let known_ns = beside.threads.get(taker).map(Thread::known_ns);
        let of_taker = Life {
            tid: taker,
            asker: life.tid,
            begin: life.begin,
            end: life.end.min(known_ns.unwrap_or(0)),
            waiting: life.waiting,
            questions: life.questions,
            itself: life.itself,
            hands: Hands::default(),
        };
        self.confirm(beside, socket, &of_taker);
    }

    /// The thread owned a request meanwhile: its waits for work were no idling.
    fn confirm(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life<'_>) {
        let (tid, now, waiting) = (life.tid, life.end, life.waiting);
        let Some(thread) = beside.threads.get_mut(tid) else {
            return;
        };
        let begin = life.begin.max(thread.judged_ns);
        if now <= begin {
            return;
        }
        let waits = thread.waits_between(begin, now);
        thread.judged_ns = now;
        if waits.is_empty() {
            return;
        }
        // Who is charged with what nothing explains.
        let held = match waiting {
            Class::Upstream => {
                let asked = self.asked_place(beside, life.asker);
                asked.map(|place| (Resource::Upstream, Some(place), Holder::Peer))
            }
            Class::Lock => Some((Resource::Lock, None, Holder::OwnLock)),
            _ => None,
        };
        for (from, to, mut waited) in waits {
            let (direct, napped_ns) = self.charge_piece(beside, life, (from, to), &mut waited);
            self.confirm_piece(beside, (from, to), &waited, &direct, waiting, socket);
            let ns = waited[Class::Idle.index()];
            if waiting == Class::Other {
                unknown(beside, tid, to, ns.saturating_sub(napped_ns));
            }
            if let Some((resource, place, holder)) = held.filter(|_| ns > 0) {
                beside.account.charge_only(Charge {
                    resource,
                    place,
                    holder,
                    stack: 0,
                    span: (from, to),
                    ns,
                    estimated: false,
                });
            }
        }
    }

    /// Finds what a piece of a thread's waits for work was for, as far as the thread's own time line does not show it, and charges whoever
    /// is at its end. Returns the charged time per class, and that of naps, ns.
    fn charge_piece(
        &self,
        beside: &mut Beside<'_>,
        life: &Life<'_>,
        (from, to): (u64, u64),
        waited: &mut Budget,
    ) -> (Budget, u64) {
        let asked = life.questions.explain((from, to), waited);
        life.itself.explain((from, to), waited);
        let explained = life.hands.explain(beside.threads, (from, to), waited);
        let thread = beside.threads.get(life.tid);
        let known = thread.map(|thread| (thread.pid, thread.ends.within(from, to)));
        let (pid, mut ends) = known.unwrap_or_default();
        ends.extend(explained.ends);
        let asked_ns = charge_asked(beside, &asked);
        let mut of_ends = *waited;
        of_ends[Class::Upstream.index()] -= asked_ns;
        let mut direct = charge_ends(beside.account, &ends, (from, to), &of_ends);
        direct[Class::Upstream.index()] += asked_ns;
        if let Some((by, ns)) = explained.released {
            self.charge_own_lock(beside, life.tid, by, (from, to), ns);
            direct[Class::Lock.index()] += ns;
            ends.retain(|(whom, _)| !matches!(whom, Whom::Nap(_, tid) if *tid == by));
        }
        let mut napped_ns = 0;
        if life.waiting == Class::Other {
            let idle = waited[Class::Idle.index()];
            napped_ns = note_naps(beside.account, beside.names, pid, &ends, idle);
        }
        (direct, napped_ns)
    }

    /// The address of the process that a thread asked last.
    fn asked_place(&self, beside: &mut Beside<'_>, tid: u32) -> Option<PlaceId> {
        let (socket, asked_ns) = beside.threads.get(tid)?.asked?;
        let connection = self.connections.get(&socket)?;
        // Its address may be another connection's by now.
        let is_it = connection.since_ns <= asked_ns;
        let remote = &connection.ends.1;
        (is_it && !remote.is_empty()).then(|| beside.names.place(remote))
    }

    /// Gives the waits for work of one piece of a time line their real classes. `direct` of them are charged already. The idle time
    /// is taken out in one sum, as it was entered: then no bin becomes negative.
    fn confirm_piece(
        &self,
        beside: &mut Beside<'_>,
        (begin, end): (u64, u64),
        waited: &Budget,
        direct: &Budget,
        waiting: Class,
        socket: u64,
    ) {
        let all: u64 = waited.iter().sum();
        let account = &mut *beside.account;
        account
            .ledger
            .threads(Class::Idle, begin, end, -(all as i64));
        for class in Class::ALL {
            let ns = waited[class.index()];
            let becomes = if class == Class::Idle { waiting } else { class };
            account.ledger.threads(becomes, begin, end, ns as i64);
            if class != Class::Idle {
                let found = ns.saturating_sub(direct[class.index()]);
                account.ledger.indirect(becomes, begin, end, found);
            } else if waiting == Class::Network && ns > 0 {
                let wait = SendWait {
                    begin,
                    end,
                    ns,
                    stack: 0,
                };
                beside.links.waited(account, self.route(socket), wait);
            }
        }
    }
}

/// Nothing tells for what a thread slept for `ns` of the time up to `to`.
fn unknown(beside: &mut Beside<'_>, tid: u32, to: u64, ns: u64) {
    let thread = beside.threads.get(tid);
    if let Some((stack, ended_by)) = thread.and_then(|thread| thread.asleep_before(to)) {
        beside.account.unknown.slept(stack, ended_by, ns);
    }
}

/// Charges a wait for answers to the addresses that were asked. Returns the charged time, ns.
fn charge_asked(beside: &mut Beside<'_>, asked: &[Asked]) -> u64 {
    for part in asked {
        let place = beside.names.place(&part.remote);
        beside.account.charge_only(Charge {
            resource: Resource::Upstream,
            place: Some(place),
            holder: Holder::Peer,
            stack: 0,
            span: (part.begin_ns, part.end_ns),
            ns: part.ns,
            estimated: false,
        });
    }
    asked.iter().map(|part| part.ns).sum()
}
