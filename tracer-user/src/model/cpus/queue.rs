//! The time of a wait in a run queue: own quota, then the CPU's holders while it could have run.

use tracer_common::shed::LONG_NS;

use super::{
    Cpus,
    cpu::{By, Piece},
};
use crate::{
    class::{Cause, Class, Resource},
    model::{
        account::{Account, Charge},
        books::{Holder, PlaceId},
        names::Names,
        parts::{ClientAt, Part},
    },
};

/// Room that is kept for the parts of a wait: a long one may have ten thousands.
const MOST_ROOM: usize = 1 << 10;

/// A wait of a target thread in run queues.
pub(in crate::model) struct Queued<'a> {
    /// Since when it was runnable, ns.
    pub(in crate::model) begin_ns: u64,
    /// When it came on a CPU, ns, and on which.
    pub(in crate::model) end_ns: u64,
    pub(in crate::model) cpu: u32,
    /// Its moves meanwhile: when, ns, and away from which CPU.
    pub(in crate::model) moves: &'a [(u64, u32)],
    /// How long its own group was throttled meanwhile, ns.
    pub(in crate::model) throttled_ns: u64,
    /// Did the thread have a request?
    pub(in crate::model) serves: bool,
}

/// A part of a wait on the run queue of one CPU.
struct Stay {
    cpu: u32,
    begin: u64,
    end: u64,
    serves: bool,
    /// Its parts in which the thread could have run.
    pieces: Vec<Piece>,
}

impl Cpus {
    /// Charges a wait in run queues: to the target's own quota first, then to everything that ran meanwhile.
    #[inline]
    pub(in crate::model) fn queued(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        client_at: ClientAt<'_>,
        queued: &Queued<'_>,
    ) {
        let quota = queued.throttled_ns.min(queued.end_ns - queued.begin_ns);
        if queued.moves.is_empty() {
            // Nearly all. No memory is asked for and given back at each.
            let room = std::mem::take(&mut self.pieces);
            let span = (queued.begin_ns, queued.end_ns);
            let mut stays = [self.stay(room, queued.cpu, span, queued.serves)];
            take_quota(names, account, &mut stays, quota);
            let [mut stay] = stays;
            self.leave_unwatched(queued, &mut stay);
            self.contend(names, account, client_at, &stay);
            if stay.pieces.capacity() <= MOST_ROOM {
                self.pieces = stay.pieces;
            }
        } else {
            let mut stays = self.stays(queued);
            take_quota(names, account, &mut stays, quota);
            for mut stay in stays {
                self.leave_unwatched(queued, &mut stay);
                self.contend(names, account, client_at, &stay);
            }
        }
        self.softirqs.fold(names, account);
    }

    /// A stay on the run queue of one CPU, with its parts in `room`.
    fn stay(&self, mut room: Vec<Piece>, cpu: u32, (begin, end): (u64, u64), serves: bool) -> Stay {
        room.clear();
        let pieces = if let Some(known) = self.cpus.get(cpu as usize) {
            known.pieces_in(room, begin, end)
        } else {
            room.push(Piece {
                begin,
                end,
                by: By::Unseen,
                tid: 0,
            });
            room
        };
        Stay {
            cpu,
            begin,
            end,
            serves,
            pieces,
        }
    }

    /// The CPUs on which the thread was queued, one after the other, with their holders.
    fn stays(&self, queued: &Queued<'_>) -> Vec<Stay> {
        let mut at = queued.begin_ns;
        let moves = queued.moves.iter().copied();
        let moves = moves.chain([(queued.end_ns, queued.cpu)]);
        let stay = |(ns, cpu): (u64, u32)| {
            let (begin, end) = (at, ns.clamp(at, queued.end_ns));
            at = end;
            self.stay(Vec::new(), cpu, (begin, end), queued.serves)
        };
        moves
            .map(stay)
            .filter(|stay| stay.begin < stay.end)
            .collect()
    }

    /// Leaves to nobody what a long wait stood behind while interrupts were shed. The kernel half watches once such waits add up to a
    /// millisecond. In short ones an interrupt hardly fits.
    fn leave_unwatched(&mut self, queued: &Queued<'_>, stay: &mut Stay) {
        if queued.end_ns - queued.begin_ns >= LONG_NS {
            stay.pieces = self.unwatched.leave(std::mem::take(&mut stay.pieces));
        }
    }

    /// Charges a stay in a run queue to the holders of that CPU.
    fn contend(
        &mut self,
        names: &mut Names,
        account: &mut Account,
        client_at: ClientAt<'_>,
        stay: &Stay,
    ) {
        let place = self.place(names, stay.cpu);
        let mut holders = std::mem::take(&mut self.holders);
        for piece in &stay.pieces {
            // The owners of the packets that a softirq moved are known at the end.
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
        for (by, ns) in holders.drain(..) {
            if ns == 0 {
                continue;
            }
            let holder = match by {
                // The ledger leaves to nobody what is not charged.
                By::Unseen => {
                    account.burn_only((Class::Cpu, Some(place), Holder::Nobody, 0), ns);
                    continue;
                }
                By::Process(0) => Holder::IdleCpu,
                By::Process(pid) => {
                    let holder = names.holder(pid);
                    if holder == Holder::Own {
                        self.charge_threads(names, account, client_at, stay, pid);
                    }
                    holder
                }
                By::Interrupt(source) => Holder::Interrupt(source),
                By::Hypervisor => Holder::Hypervisor,
            };
            account.charge(Charge {
                resource: Resource::Cpu,
                place: Some(place),
                holder,
                stack: 0,
                span: (stay.begin, stay.end),
                ns,
                // The kernel counts how much of a slice was stolen, not when.
                estimated: by == By::Hypervisor,
            });
        }
        self.holders = holders;
    }

    /// Splits the part of a stay in which an own process held the CPU, by its threads.
    fn charge_threads(
        &self,
        names: &mut Names,
        account: &mut Account,
        client_at: ClientAt<'_>,
        stay: &Stay,
        pid: u32,
    ) {
        let process = names.processes.id(pid);
        let mut charge = |tid, at, ns| {
            let client = client_at(tid, at);
            let part = Part {
                process,
                tid,
                client,
            };
            account.parts.add(Resource::Cpu, part, ns, stay.serves);
        };
        let by = By::Process(pid);
        for piece in stay.pieces.iter().filter(|piece| piece.by == by) {
            let ns = piece.end - piece.begin;
            if piece.tid != 0 {
                charge(piece.tid, piece.begin, ns);
                continue;
            }
            let cpu = self.cpus.get(stay.cpu as usize);
            let threads = cpu.map(|cpu| cpu.threads_of(pid, piece.begin, piece.end));
            for (tid, at, ns) in threads.unwrap_or_default() {
                charge(tid, at, ns);
            }
        }
    }

    /// The place of a CPU's queue.
    fn place(&mut self, names: &mut Names, cpu: u32) -> PlaceId {
        let known = &mut self.cpu(cpu).0.place;
        *known.get_or_insert_with(|| names.place(&format!("cpu{cpu}")))
    }
}

/// Takes the own quota out of a wait: a process that ran while the thread was throttled did not delay it.
///
/// The kernel counts how long the thread's group was throttled in the wait, not when. While it was, no thread of the group ran. A
/// CPU that idles although a thread stands in its queue has nobody else to run. So idle time goes first. The earliest time in which
/// others ran goes next. A group is throttled when its quota is used up, and stands behind others after the period's timer. Own
/// threads go last.
fn take_quota(names: &mut Names, account: &mut Account, stays: &mut [Stay], quota: u64) {
    let mut left = quota;
    let ranks = if quota == 0 { 0..0 } else { 0..3 };
    for rank in ranks {
        for piece in stays.iter_mut().flat_map(|stay| &mut stay.pieces) {
            if quota_rank(names, piece.by) != rank {
                continue;
            }
            let ns = left.min(piece.end - piece.begin);
            if ns > 0 {
                throttled(account, piece.begin, ns);
                piece.begin += ns;
                left -= ns;
            }
        }
    }
}

fn quota_rank(names: &mut Names, by: By) -> u32 {
    match by {
        By::Process(0) => 0,
        By::Process(pid) if names.holder(pid) == Holder::Own => 2,
        By::Process(_) | By::Interrupt(_) | By::Hypervisor | By::Unseen => 1,
    }
}

fn throttled(account: &mut Account, begin: u64, ns: u64) {
    account.caused(Resource::Cpu, Cause::Quota, ns);
    account.charge(Charge {
        resource: Resource::Cpu,
        place: None,
        holder: Holder::OwnQuota,
        stack: 0,
        span: (begin, begin + ns),
        ns,
        estimated: false,
    });
}
