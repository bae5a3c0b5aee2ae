//! The end of a window: what is open is judged, and everything that the rooms know becomes the books.

use std::{cmp::Reverse, collections::BTreeMap};

use super::{
    Model,
    books::{Bin, Books, EndedBy, FlameLine, Folded, OwnerWait, UnknownSleep},
    disks::AskerAt,
    followed::{self, Leaf, Ways},
    lost::{self, Records},
};
use crate::{class::Resource, event, loss::Loss};

impl Model {
    /// Closes the books at the end of the window. For a provisional answer before that, close a clone.
    #[must_use]
    pub fn close(mut self) -> Books {
        if self.facts.end.ns == 0 {
            self.facts.end.ns = self.facts.now_ns;
        }
        let end_ns = self.facts.end.ns;
        self.settle(end_ns);
        for shared in self.names.processes.sharing() {
            self.facts.forget(shared);
            self.requests.forget_asker(shared);
        }
        for (process, ns) in self.facts.on_cpus() {
            let holder = self.names.holder_of(process);
            let held = self.account.held(Resource::Cpu, None, holder);
            held.ns = held.ns.saturating_add(ns);
        }
        self.into_books(end_ns)
    }

    /// Judges what is open.
    fn settle(&mut self, end_ns: u64) {
        self.threads
            .close(&mut self.names, &mut self.account, end_ns);
        self.found();
        self.had_locks();
        let (requests, mut beside) = self.requests();
        requests.close_sends(&mut beside);
        requests.close_turns(&mut beside, end_ns);
        requests.close_drains(&mut beside, end_ns);
        requests.close_under_way(&mut beside, end_ns);
        let (names, account) = (&mut self.names, &mut self.account);
        let (requests, threads) = (&self.requests, &self.threads);
        let asker_at = AskerAt {
            asker: &|tid, ns| requests.asker_at(threads, tid, ns),
            client: &|tid, ns| requests.client_at(threads, tid, ns),
        };
        self.disks.settle(names, account, asker_at);
        let sent = requests.sent_to();
        self.links.settle(names, &self.facts.means, account, &sent);
        self.cpus.settle(names, account);
        account.settle_limits(names);
        account.settle_memory();
    }

    fn into_books(mut self, end_ns: u64) -> Books {
        let (wall_ns, unaccounted_ns) = self.threads.lifetimes(end_ns);
        let facts = &mut self.facts;
        let targets = facts.start.targets.iter();
        let targets = targets
            .map(|pid| self.names.processes.target(*pid))
            .collect();
        if !self.followed.is_empty() {
            facts.interrupted = event::Interrupted::default();
        }
        if self.links.forgotten > 0 {
            let forgotten = (Loss::LINK_SLICES.to_owned(), self.links.forgotten);
            facts.end.map_losses.push(forgotten);
        }
        let (mut bins, bin_ns, own) = self.account.close(end_ns);
        self.cpus.take_stolen(&mut bins);
        let held = &self.account.held;
        let records = Records {
            cpu: self.cpus.records,
            disk: self.disks.records,
            network: self.links.records,
        };
        lost::estimate(&mut bins, held, &facts.end, records);
        let ways = self.answer(&mut bins, bin_ns, end_ns);
        let owner_waits = self.owner_waits(end_ns);
        let folded = self.folded();
        let mut shed = std::mem::take(&mut self.facts.shed);
        shed.extend(self.cpus.shed(end_ns).map(|shed| (shed.group, shed)));
        shed.retain(|_, shed| {
            *shed = shed.within(self.facts.start.ns, end_ns);
            shed.for_ns > 0
        });
        Books {
            folded,
            blind_links: self.links.blind(),
            datagrams_behind: self.links.datagrams_behind(),
            bins,
            bin_ns,
            requests: self.requests.tally.close(end_ns),
            threads: self.threads.seen,
            wall_ns,
            unaccounted_ns,
            most_stopped_ns: self.threads.most_stopped_ns(),
            clipped_waits: self.threads.clipped_waits,
            unreadable_stacks: self.threads.unreadable_stacks,
            long_waits_ns: self.threads.long_waits_ns,
            targets,
            ways,
            own,
            naps: self.account.naps.take(),
            owner_waits,
            lock_owner: self.threads.lock_owner(),
            unknown: self.unknown_sleeps(),
            flame: self.flame_lines(),
            causes: self.account.causes(),
            asks: self.requests.take_asks(),
            before_others: self.requests.take_before_others(),
            workers: self.requests.workers(&self.threads),
            addresses: self.requests.clients.addresses.into_texts(),
            histograms: self.facts.take_histograms(),
            processes: self.names.processes.into_all(),
            places: self.names.places,
            thread_names: self.names.threads,
            held: self.account.held,
            limits: self.account.limits.places().collect(),
            by_memory: self.account.by_memory,
            disks: self.disks.facts,
            written: self.disks.written,
            earlier: self.disks.earlier,
            failed: self.disks.failed,
            flights: self.disks.flights.seen,
            unwatched_ns: self.cpus.unwatched_ns(),
            works: self.cpus.into_works(),
            standings: self.facts.standings,
            means: self.facts.means,
            wrapping: self.facts.wrapping,
            sources: self.facts.sources,
            containers: self.facts.containers,
            own_limits: self.facts.own_limits,
            siblings: self.facts.siblings,
            tracer: self.facts.tracer,
            interrupted: self.facts.interrupted,
            shed,
            start: self.facts.start,
            end: self.facts.end,
        }
    }

    /// What this fold has in coarser sums only.
    fn folded(&self) -> Folded {
        Folded {
            processes: self.names.processes.folded(),
            places: self.names.elsewhere,
            stacks: self.account.without_stack,
            connections: self.requests.forgotten,
            softirqs: self.cpus.forgotten(),
        }
    }

    fn flame_lines(&mut self) -> Vec<FlameLine> {
        let lines = self.account.take_flame().into_iter();
        let line = |((class, place, holder, stack), ns)| FlameLine {
            class,
            place,
            holder,
            stack: self.threads.functions(stack),
            ns,
        };
        lines.map(line).collect()
    }

    /// Sleeps for something that has no class, the longest first.
    fn unknown_sleeps(&mut self) -> Vec<UnknownSleep> {
        let mut sleeps: BTreeMap<(String, EndedBy), u64> = BTreeMap::new();
        for ((stack, ended_by), ns) in self.account.unknown.take() {
            let function = self.threads.function(stack).to_owned();
            let sum = sleeps.entry((function, ended_by)).or_default();
            *sum = sum.saturating_add(ns);
        }
        let sleep = |((function, ended_by), ns)| UnknownSleep {
            function,
            ended_by,
            ns,
        };
        let mut sleeps: Vec<UnknownSleep> = sleeps.into_iter().map(sleep).collect();
        sleeps.sort_by_key(|sleep| Reverse(sleep.ns));
        sleeps
    }

    /// Splits the upstream waits of closed bins in the proportion of the followed processes' own time.
    fn answer(&mut self, bins: &mut [Bin], bin_ns: u64, end_ns: u64) -> Ways {
        self.count_untaken(true);
        let asked = self.followed.take_asked(&self.requests);
        let leaves: Vec<Leaf> = asked
            .into_iter()
            .map(|(who, mut model, untaken)| {
                model.settle(end_ns);
                untaken.count(&mut model);
                let books = model.into_books(end_ns);
                followed::leaf(&mut self.names, who, books)
            })
            .collect();
        let (ways, causes) = followed::split(bins, bin_ns, &leaves, &self.names.places);
        for ((resource, cause), ns) in causes {
            self.account.caused(resource, cause, ns);
        }
        ways
    }

    /// What the owners of locks wait for.
    fn owner_waits(&mut self, end_ns: u64) -> Vec<OwnerWait> {
        let owners = self.followed.take_owners().into_iter();
        let waits = owners.filter_map(|(who, mut model, since_ns)| {
            model.settle(end_ns);
            let books = model.into_books(end_ns);
            let leaf = followed::leaf(&mut self.names, who, books);
            followed::owner_wait(&leaf, end_ns.saturating_sub(since_ns))
        });
        waits.collect()
    }
}
