//! The time of a wait in a run queue: own quota, then whoever ran while the thread could have.

use super::{
    Model,
    books::{Holder, PlaceId},
    cpu::{By, Cpu, Piece},
};
use crate::{
    class::{Cause, Class, Resource},
    event::{Interrupts, Slice, Stolen, Wait, Work},
};

/// A part of a wait on the run queue of one CPU.
struct Stay {
    cpu: u32,
    begin: u64,
    end: u64,
    /// Its parts in which the thread could have run.
    pieces: Vec<Piece>,
}

impl Model {
    pub(super) fn slice(&mut self, slice: &Slice) {
        self.cpu(slice.cpu)
            .held(slice.pid, slice.begin_ns, slice.ns);
    }

    pub(super) fn interrupted(&mut self, by: &Interrupts) {
        self.cpu(by.cpu).interrupted(&by.took, by.begin_ns, by.ns);
    }

    pub(super) fn stolen(&mut self, stolen: &Stolen) {
        self.cpu(stolen.cpu)
            .stolen(stolen.stolen_ns, stolen.begin_ns, stolen.ns);
    }

    /// Which functions a kworker ran while a target thread was queued.
    pub(super) fn worked(&mut self, work: &Work) {
        let worker = self.processes.id(work.pid);
        let functions = self.works.entry(worker).or_default();
        *functions.entry(work.function.clone()).or_default() +=
            work.ns.saturating_sub(work.begin_ns);
    }

    /// The place of a CPU's queue.
    fn cpu_place(&mut self, cpu: u32) -> PlaceId {
        if let Some(place) = self.cpu(cpu).place {
            return place;
        }
        let place = self.place(&format!("cpu{cpu}"));
        self.cpu(cpu).place = Some(place);
        place
    }

    fn cpu(&mut self, cpu: u32) -> &mut Cpu {
        let index = cpu as usize;
        if index >= self.cpus.len() {
            self.cpus.resize_with(index + 1, Cpu::default);
        }
        &mut self.cpus[index]
    }

    /// The time in the run queue: own quota first, then whoever ran meanwhile.
    pub(super) fn queue(&mut self, wait: &Wait, queued_ns: u64) {
        let Some(thread) = self.threads.get_mut(&wait.tid) else {
            return;
        };
        let moves = std::mem::take(&mut thread.moves);
        let begin = thread.known_ns().max(queued_ns);
        self.spend(wait.tid, Class::Cpu, wait.ns);
        if wait.ns <= begin {
            return;
        }
        let mut stays = self.stays(&moves, wait, begin);
        self.take_quota(&mut stays, wait.throttled_ns.min(wait.ns - begin));
        for stay in stays {
            self.contend(&stay);
        }
    }

    /// On which CPUs the thread stood meanwhile, and who ran there.
    fn stays(&self, moves: &[(u64, u32)], wait: &Wait, begin: u64) -> Vec<Stay> {
        let mut at = begin;
        let moves = moves.iter().copied().chain([(wait.ns, wait.cpu)]);
        let stay = |(ns, cpu): (u64, u32)| {
            let (begin, end) = (at, ns.clamp(at, wait.ns));
            at = end;
            let known = self.cpus.get(cpu as usize);
            let unseen = || {
                vec![Piece {
                    begin,
                    end,
                    by: By::Unseen,
                }]
            };
            Stay {
                cpu,
                begin,
                end,
                pieces: known.map_or_else(unseen, |known| known.pieces(begin, end)),
            }
        };
        moves
            .map(stay)
            .filter(|stay| stay.begin < stay.end)
            .collect()
    }

    /// Takes the own quota out of a wait: who ran while the thread was throttled did not delay it.
    ///
    /// The kernel tells how long the thread's group was throttled in the wait, not when. Then no thread of the group ran, and a CPU
    /// that idles although a thread stands in its queue has nobody else to run: so first idle time, then the earliest in which others
    /// ran (a group is throttled where it used its quota up, and stands behind others after the period's timer), own threads last.
    fn take_quota(&mut self, stays: &mut [Stay], quota: u64) {
        let mut left = quota;
        let ranks = if quota == 0 { 0..0 } else { 0..3 };
        for rank in ranks {
            for piece in stays.iter_mut().flat_map(|stay| &mut stay.pieces) {
                if self.quota_rank(piece.by) != rank {
                    continue;
                }
                let ns = left.min(piece.end - piece.begin);
                if ns > 0 {
                    self.throttled(piece.begin, ns);
                    piece.begin += ns;
                    left -= ns;
                }
            }
        }
    }

    fn quota_rank(&mut self, by: By) -> u32 {
        match by {
            By::Process(0) => 0,
            By::Process(pid) if self.holder(pid) == Holder::Own => 2,
            By::Process(_) | By::Interrupt(_) | By::Hypervisor | By::Unseen => 1,
        }
    }

    fn throttled(&mut self, begin: u64, ns: u64) {
        let key = (Resource::Cpu, None, Holder::OwnQuota);
        *self
            .causes
            .entry((Resource::Cpu, Cause::Quota))
            .or_default() += ns;
        self.ledger.charge(key, begin, begin + ns, ns, false);
        self.burn((Class::Cpu, None, Holder::OwnQuota, 0), ns);
    }

    /// Charges a stay in a run queue to those who ran there.
    fn contend(&mut self, stay: &Stay) {
        let place = self.cpu_place(stay.cpu);
        let mut holders: Vec<(By, u64)> = Vec::new();
        for piece in &stay.pieces {
            // Whose packets a softirq moved is known at the end.
            if let By::Interrupt(source) = piece.by
                && self
                    .softirqs
                    .waited(stay.cpu, source, piece.begin, piece.end)
            {
                continue;
            }
            let ns = piece.end - piece.begin;
            match holders.iter_mut().find(|(by, _)| *by == piece.by) {
                Some((_, sum)) => *sum += ns,
                None => holders.push((piece.by, ns)),
            }
        }
        for (by, ns) in holders {
            if ns == 0 {
                continue;
            }
            let holder = match by {
                By::Unseen => Holder::Nobody,
                By::Process(0) => Holder::IdleCpu,
                By::Process(pid) => self.holder(pid),
                By::Interrupt(source) => Holder::Interrupt(source),
                By::Hypervisor => Holder::Hypervisor,
            };
            if by != By::Unseen {
                let key = (Resource::Cpu, Some(place), holder);
                // When in a slice it was stolen is not known.
                let estimated = by == By::Hypervisor;
                self.ledger.charge(key, stay.begin, stay.end, ns, estimated);
            }
            self.burn((Class::Cpu, Some(place), holder, 0), ns);
        }
    }
}
