//! A part of a turn becomes the request's time: what its thread did meanwhile, and what that waited for.

use super::{
    Beside, Requests,
    hands::Hands,
    turns::{disown, own},
};
use crate::{
    class::{Class, Resource},
    model::{
        account::Charge,
        books::{Budget, Holder, PlaceId},
        links::SendWait,
        parts::Part,
        threads::{Spent, Whom, charge_ends, note_naps},
    },
};

/// A master forks processes that accept, and those fork one for each request. Longer chains of forks belong to no request.
const MOST_LIVES: usize = 4;

/// No socket has this address.
const NO_SOCKET: u64 = 0;

/// A part of a turn in which one thread lived that worked on it.
struct Life {
    tid: u32,
    /// Begin and end of the part, ns.
    begin: u64,
    end: u64,
    /// The class of waits for work that nothing explains.
    waiting: Class,
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
        let Some(connection) = self.connections.get_mut(&socket) else {
            return;
        };
        let Some(turn) = connection.turn.as_mut() else {
            return;
        };
        let begin = std::mem::replace(&mut turn.judged_ns, now);
        let answered = turn.sent_ns.is_some();
        // Before it was picked up nobody worked for it.
        let picked_up = begin > turn.begin_ns;
        let previous = std::mem::replace(&mut turn.tid, tid);
        if previous != tid {
            disown(beside.threads, previous, socket);
            own(beside.threads, tid, socket);
        }
        // Only of a wait that nothing explains it is asked who else had the request.
        let mut hands = match waiting {
            Class::Other | Class::Lock => {
                let since = turn.begin_ns;
                Hands::of(beside.threads, tid, socket, since, (begin, now), answered)
            }
            _ => Hands::default(),
        };
        // Judge each thread that lived a part of this time. Before a thread was born, the one that forked it had its work.
        let (mut tid, mut end) = (tid, now);
        for _ in 0..MOST_LIVES {
            let Some(thread) = beside.threads.get(tid).filter(|_| end > begin) else {
                break;
            };
            let (from, parent) = (thread.begin_ns.clamp(begin, end), thread.parent);
            let life = Life {
                tid,
                begin: from,
                end,
                waiting,
                hands: std::mem::take(&mut hands),
            };
            self.judge_life(beside, socket, &life);
            self.confirm(beside, socket, &life);
            if picked_up {
                let caller = self.caller(socket);
                self.clients.worked(tid, caller, from, end);
            }
            let Some(parent) = parent else { break };
            (tid, end) = (parent, from);
        }
    }

    /// Adds a part of a thread's time line to the request of a connection.
    fn judge_life(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life) {
        let asker = self.local_asker(socket);
        let ledger = &mut beside.account.ledger;
        let (Some(thread), Some(turn)) = (
            beside.threads.get(life.tid),
            self.connections
                .get_mut(&socket)
                .and_then(|connection| connection.turn.as_mut()),
        ) else {
            return;
        };
        let threads = &*beside.threads;
        thread.for_each_piece(life.begin, life.end, |from, to, spent| {
            turn.blocked_ns += spent.blocked();
            let mut tentative = spent.tentative;
            life.hands.explain(threads, (from, to), &mut tentative);
            let others = u128::from(thread.work.for_others(socket, from, to));
            for class in Class::ALL {
                let certain = spent.certain[class.index()];
                let ns = certain + tentative[class.index()];
                if ns == 0 {
                    continue;
                }
                let known = match class {
                    Class::Idle => life.waiting,
                    _ => class,
                };
                ledger.requests(known, from, to, ns);
                if let Some(asker) = asker {
                    ledger.served_requests(asker, known, from, to, ns);
                }
                let behind = u128::from(certain) * others / u128::from((to - from).max(1));
                ledger.behind_own(known, from, to, behind as u64);
            }
        });
    }

    /// In the books of a followed process: a thread ended a wait of whoever asks. That is a request, and has the time of this thread. What
    /// is not known of it is `other`.
    pub(in crate::model) fn worked(
        &mut self,
        beside: &mut Beside<'_>,
        tid: u32,
        (begin, end): (u64, u64),
    ) {
        let ledger = &mut beside.account.ledger;
        let mut add = |from: u64, to: u64, spent: &Spent| {
            let mut left = to - from;
            for class in Class::ALL.into_iter().filter(|class| *class != Class::Idle) {
                let known = spent.certain[class.index()] + spent.tentative[class.index()];
                let ns = known.min(left);
                ledger.requests(class, from, to, ns);
                left -= ns;
            }
            ledger.requests(Class::Other, from, to, left);
        };
        let Some(thread) = beside.threads.get(tid) else {
            return add(begin, end, &Spent::default());
        };
        let since = thread.remembered_ns().clamp(begin, end);
        add(begin, since, &thread.between(begin, since));
        thread.for_each_piece(since, end, add);
        let life = Life {
            tid,
            begin,
            end,
            waiting: Class::Other,
            hands: Hands::default(),
        };
        self.confirm(beside, NO_SOCKET, &life);
    }

    /// The thread owned a request meanwhile: its waits for work were no idling.
    fn confirm(&mut self, beside: &mut Beside<'_>, socket: u64, life: &Life) {
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
                let asked = self.asked_place(beside, tid);
                asked.map(|place| (Resource::Upstream, Some(place), Holder::Peer))
            }
            Class::Lock => Some((Resource::Lock, None, Holder::OwnLock)),
            _ => None,
        };
        for (from, to, mut waited) in waits {
            let direct = self.charge_piece(beside, life, (from, to), &mut waited);
            self.confirm_piece(beside, (from, to), &waited, &direct, waiting, socket);
            let ns = waited[Class::Idle.index()];
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
    /// is at its end. Returns the charged time per class, ns.
    fn charge_piece(
        &self,
        beside: &mut Beside<'_>,
        life: &Life,
        (from, to): (u64, u64),
        waited: &mut Budget,
    ) -> Budget {
        let explained = life.hands.explain(beside.threads, (from, to), waited);
        let thread = beside.threads.get(life.tid);
        let known = thread.map(|thread| (thread.pid, thread.ends.within(from, to)));
        let (pid, mut ends) = known.unwrap_or_default();
        ends.extend(explained.ends);
        let mut direct = charge_ends(beside.account, &ends, (from, to), waited);
        if let Some((by, ns)) = explained.released {
            self.charge_own_lock(beside, by, (from, to), ns);
            direct[Class::Lock.index()] += ns;
            ends.retain(|(whom, _)| !matches!(whom, Whom::Nap(_, tid) if *tid == by));
        }
        if life.waiting == Class::Other {
            let idle = waited[Class::Idle.index()];
            note_naps(beside.account, beside.names, pid, &ends, idle);
        }
        direct
    }

    /// Charges a wait to a thread of the target that kept from another one what that waited for.
    fn charge_own_lock(&self, beside: &mut Beside<'_>, by: u32, span: (u64, u64), ns: u64) {
        beside.account.charge_only(Charge {
            resource: Resource::Lock,
            place: None,
            holder: Holder::OwnLock,
            stack: 0,
            span,
            ns,
            estimated: false,
        });
        let Some(pid) = beside.threads.get(by).map(|thread| thread.pid) else {
            return;
        };
        let part = Part {
            process: beside.names.processes.id(pid),
            tid: by,
            client: self.client_at(beside.threads, by, span.1),
        };
        beside.account.parts.add(Resource::Lock, part, ns, true);
    }

    /// The address of the process that a thread asked last.
    fn asked_place(&self, beside: &mut Beside<'_>, tid: u32) -> Option<PlaceId> {
        let socket = beside.threads.get(tid)?.asked?;
        let remote = &self.connections.get(&socket)?.ends.1;
        (!remote.is_empty()).then(|| beside.names.place(remote))
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
