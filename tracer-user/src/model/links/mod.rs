//! Links as places: the senders through each are charged with the time in which the target could not send.

mod apart;
mod beyond;
mod datagrams;
mod flow;
mod late;
mod link;
mod past;
mod slice;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tracer_common::tcp::LINK_SLICE_NS;

use super::{
    account::{Account, Charge},
    books::{Blind, Holder, PlaceId, ProcessId},
    names::Names,
    part::part_of,
    parts::{Part, SentTo},
};
use crate::{
    class::{Class, Resource},
    event,
    standing::Means,
};
use flow::Limit;
use link::{Link, Share, Shares};

pub(super) use flow::Flow;

/// Slices kept of all links, some 250 bytes each. Of one link in constant use these are the last 20 minutes. A wait that began before
/// them is charged to nobody for as long as it lasted until then ([`Links::forgotten`]).
const MOST_SLICES: usize = 1 << 17;
/// Slices kept of one link, however many there are: 40 seconds.
const LEAST_SLICES: usize = 1 << 12;
/// Long waits are entered in parts of this many slices: what they add is folded in between. 5 minutes.
const PART_NS: u64 = (1 << 15) * LINK_SLICE_NS;

/// Once there are so many links, some 500 bytes each, those are looked for that matter no longer.
const MANY_LINKS: usize = 512;
/// Links of one machine, with their queues, that matter. Senders through further ones are not counted.
const MOST_LINKS: usize = 1 << 12;
/// A part of a wait that is longer than this is a long one, ns.
const LONG_NS: u64 = 60_000_000_000;
/// Slices over which long parts may be spread, three hours of them: they cost as much as a busy link, and nearly all of them are
/// empty. Connections whose peer is gone wait for hours. The rest is charged as what reaches back to forgotten slices.
const MOST_LONG: u64 = 1 << 20;

/// The way of what a socket sends: its interface, and what held it back.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// Interface through which it sends, if that queues; else 0.
    pub(super) ifindex: u32,
    /// Its transmit queue.
    pub(super) queue: u32,
    pub(super) flow: Flow,
}

impl Route {
    /// Does it go through an interface that queues?
    pub(super) fn queues(&self) -> bool {
        self.ifindex != 0
    }

    /// Was the receiver's buffer full throughout a span?
    pub(super) fn is_full_there(&self, (begin, end): (u64, u64)) -> bool {
        let pieces = self.flow.pieces(begin, end);
        let mut limits = pieces.iter().map(|(_, _, limit)| *limit);
        limits.all(|limit| limit == Limit::Closed)
    }
}

/// A wait for data to leave through a socket, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendWait {
    pub(super) begin: u64,
    pub(super) end: u64,
    /// How much of that time.
    pub(super) ns: u64,
    /// Identity of the stack that waited; 0 if there is none.
    pub(super) stack: u64,
}

/// Network namespace, interface, transmit queue.
type Key = (u32, u32, u32);

/// All links.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<Key, Link>,
    /// How many records of senders came.
    pub(super) records: u64,
    /// Time waited for a link, by the stack that waited, ns.
    stacks: BTreeMap<(Key, u64), u64>,
    /// Parts of waits and of responses under way that reach back to slices which are forgotten.
    pub(super) forgotten: u64,
    /// Waits in sends of datagrams that are not judged yet.
    datagrams: Vec<(ProcessId, SendWait)>,
    /// Who takes the packets of an interface, by its namespace and number, and sends them on.
    takers: BTreeMap<(u32, u32), Holder>,
    /// Slices over which long parts of waits were spread.
    long: u64,
    /// When links were last looked for that matter no longer: slice.
    looked: u64,
}

impl Links {
    /// Somebody sent.
    pub(super) fn sent(&mut self, names: &mut Names, account: &mut Account, sent: &event::Queue) {
        self.records += 1;
        let slice = &sent.link;
        let key = (slice.netns, slice.ifindex, sent.queue);
        if self.links.len() >= MANY_LINKS && !self.links.contains_key(&key) {
            self.forget_strange(slice.ns / LINK_SLICE_NS);
            if self.links.len() >= MOST_LINKS {
                self.forgotten += 1;
                return;
            }
        }
        let holder = names.holder(slice.pid);
        let link = self
            .links
            .entry(key)
            .or_insert_with(|| Link::new(names.place(&slice.name)));
        link.sent(sent, holder);
        if holder == Holder::Own {
            *link.own.entry(names.processes.id(slice.pid)).or_default() += slice.bytes;
        }
        let held = account.held(Resource::Network, Some(link.place), holder);
        held.ios += u64::from(slice.packets);
        held.bytes += slice.bytes;
        self.fold(account, key);
    }

    /// Charges and forgets the oldest slices of a link that has more than its part, where there are too many in all.
    fn fold(&mut self, account: &mut Account, key: Key) {
        let kept: usize = self.links.values().map(|link| link.slices.len()).sum();
        if kept <= MOST_SLICES {
            return;
        }
        let most = (MOST_SLICES / self.links.len().max(1)).max(LEAST_SLICES);
        if let Some(link) = self.links.get_mut(&key)
            && let Some(shares) = link.fold(most)
        {
            charge_shares(link, shares, account);
        }
    }

    /// Forgets the links through which the target neither sent nor waited, and nobody has sent for long: those of containers that ended.
    /// Nothing is charged for them. A look at all costs much, and soon after one there are few more of them.
    fn forget_strange(&mut self, now: u64) {
        let begin = now.saturating_sub(LEAST_SLICES as u64);
        if begin < self.looked {
            return;
        }
        self.looked = now;
        self.links
            .retain(|_, link| link.is_used_since(begin) || link.is_targets());
    }

    /// Places where not all waits of the target can be seen.
    pub(super) fn blind(&self) -> Vec<(PlaceId, Blind)> {
        let blind = self.links.iter().filter_map(|(key, link)| {
            let why = link.blind()?;
            let is_seen = why == Blind::Handed && self.sees_beyond(*key);
            (!is_seen).then_some((link.place, why))
        });
        let mut places: Vec<(PlaceId, Blind)> = blind.collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// A target's data could not leave: its link is judged at the end. Without a link that queues, the peer is slow or the path loses
    /// packets.
    pub(super) fn waited(&mut self, account: &mut Account, route: Option<&Route>, wait: SendWait) {
        let SendWait { begin, end, .. } = wait;
        let pieces = route.map_or_else(
            || vec![(begin, end, Limit::default())],
            |route| route.flow.pieces(begin, end),
        );
        let key = route.and_then(|route| self.link_of(route));
        self.enter(account, key, pieces, wait);
    }

    /// Enters a wait, which is that of these pieces, for a link.
    fn enter(
        &mut self,
        account: &mut Account,
        key: Option<Key>,
        pieces: Vec<(u64, u64, Limit)>,
        wait: SendWait,
    ) {
        let SendWait { begin, end, .. } = wait;
        let length = u128::from(end.saturating_sub(begin).max(1));
        let mut given = 0;
        for (from, to, limit) in parts(pieces) {
            let upto = (u128::from(wait.ns) * u128::from(to - begin) / length) as u64;
            let part = upto - std::mem::replace(&mut given, upto);
            let charge = |place, holder, span, ns| Charge {
                resource: Resource::Network,
                place,
                holder,
                stack: wait.stack,
                span,
                ns,
                estimated: false,
            };
            match key.and_then(|key| Some((key, self.links.get_mut(&key)?))) {
                Some((key, link)) => {
                    let (mut kept, mut gone) = link.forgot(from, to, part);
                    if !may_spread(&mut self.long, kept, to) {
                        (kept, gone) = (to, part);
                    }
                    if kept > from {
                        let holder = link::unknown(limit);
                        self.forgotten += u64::from(holder == Holder::Nobody);
                        account.charge(charge(Some(link.place), holder, (from, kept), gone));
                    }
                    link.waited(kept, to, part - gone, limit);
                    *self.stacks.entry((key, wait.stack)).or_default() += part - gone;
                    self.fold(account, key);
                }
                None => account.charge(charge(None, link::elsewhere(limit), (from, to), part)),
            }
        }
    }

    /// A response was under way, and not yet known to have left this machine. Later time is no wait for a link, even a full one. It
    /// is the round trip, and a receiver that acknowledges late. Returns how much of the time is in the books then, ns; `None` if it goes
    /// through no known link.
    pub(super) fn drained(
        &mut self,
        account: &mut Account,
        route: &Route,
        begin: u64,
        end: u64,
    ) -> Option<u64> {
        let key = self.link_of(route)?;
        let mut known_ns = 0;
        for (from, to, limit) in parts(route.flow.pieces(begin, end)) {
            if let Some(link) = self.links.get_mut(&key) {
                let (mut kept, _) = link.forgot(from, to, 0);
                if !may_spread(&mut self.long, kept, to) {
                    kept = to;
                }
                let is_lost = kept > from && link::unknown(limit) == Holder::Nobody;
                self.forgotten += u64::from(is_lost);
                link.drained(kept, to, limit);
                known_ns += to - kept;
            }
            self.fold(account, key);
        }
        Some(known_ns)
    }

    /// The link of a route. Older recordings name no namespace: then the number alone must do.
    fn link_of(&self, route: &Route) -> Option<Key> {
        let netns = route.flow.netns;
        let same = |(space, index, queue): &&Key| {
            (*index, *queue) == (route.ifindex, route.queue) && (netns == 0 || *space == netns)
        };
        self.links.keys().find(same).copied()
    }

    /// The way through an interface that has one transmit queue in use; `None` also if nobody sent there.
    pub(super) fn only_route(&self, netns: u32, ifindex: u32) -> Option<Route> {
        let here = |(space, index, _): &&Key| (*space, *index) == (netns, ifindex);
        let mut keys = self.links.keys().filter(here);
        let (_, _, queue) = *keys.next()?;
        if keys.next().is_some() {
            return None;
        }
        let mut route = Route {
            ifindex,
            queue,
            ..Route::default()
        };
        route.flow.netns = netns;
        Some(route)
    }

    /// Takes note of the interfaces on which packets are sorted into classes, and of those on which all stand in one queue.
    fn learn_queues(&mut self, names: &Names, means: &Means) {
        for found in &means.interfaces {
            let links = self.links.values_mut();
            for link in links.filter(|link| names.places.get(link.place) == Some(&found.name)) {
                link.has_classes = found.has_classes();
                link.has_one_queue = found.has_one_queue();
            }
        }
    }

    /// Charges the waits for links to the senders.
    pub(super) fn settle(
        &mut self,
        names: &Names,
        means: &Means,
        account: &mut Account,
        sent: &SentTo,
    ) {
        self.learn_queues(names, means);
        self.settle_datagrams(account);
        let beyond = self.beyond();
        for (key, link) in &mut self.links {
            let mut shares = link.shares();
            if let Some(beyond) = beyond.get(key) {
                beyond.charge(link, &mut shares, account);
            }
            charge_shares(link, shares, account);
            let stacks = self.stacks.range((*key, 0)..=(*key, u64::MAX));
            burn(link, stacks.map(|((_, stack), ns)| (*stack, *ns)), account);
            let waited = link.charged.get(&Holder::Own).copied();
            let own = link.own_drains_ns + waited.unwrap_or(0);
            charge_parts(link, account, own, sent);
        }
    }
}

/// May this part of a wait be spread over its slices? `long` counts those of long parts.
fn may_spread(long: &mut u64, from: u64, to: u64) -> bool {
    let length = to.saturating_sub(from);
    if length <= LONG_NS {
        return true;
    }
    *long = long.saturating_add(length / LINK_SLICE_NS);
    *long <= MOST_LONG
}

/// Pieces of a wait, the long ones in parts.
fn parts(pieces: Vec<(u64, u64, Limit)>) -> impl Iterator<Item = (u64, u64, Limit)> {
    pieces.into_iter().flat_map(|(begin, end, limit)| {
        let begins = (begin..end).step_by(PART_NS as usize);
        begins.map(move |from| (from, end.min(from + PART_NS), limit))
    })
}

/// Charges the ledger slice by slice; the flame graph gets the waits at the end.
fn charge_shares(link: &mut Link, shares: Shares, account: &mut Account) {
    link.own_drains_ns += charge_drains(link, shares.drains, account);
    for (begin, ns) in shares.passed {
        let ledger = &mut account.ledger;
        // Nothing of this machine holds the response up. Its way is the request's time all the same.
        ledger.requests(Class::Idle, begin, begin + LINK_SLICE_NS, ns);
    }
    for share in shares.waits {
        account.charge_only(charge(link, share));
        *link.charged.entry(share.holder).or_default() += share.ns;
    }
}

/// The flame graph has the stacks that waited, each with the same part of every sender.
fn burn(link: &Link, stacks: impl Iterator<Item = (u64, u64)> + Clone, account: &mut Account) {
    let total: u64 = link.charged.values().sum();
    for (holder, ns) in &link.charged {
        for (stack, waited) in stacks.clone() {
            let part = u128::from(*ns) * u128::from(waited) / u128::from(total.max(1));
            let frames = (Class::Network, Some(link.place), *holder, stack);
            account.burn_only(frames, part as u64);
        }
    }
}

/// Splits the target's own part of the waits for a link, by the bytes that each of its processes sent there in the window. A process's
/// part is split by the bytes that it sent to each client elsewhere.
fn charge_parts(link: &Link, account: &mut Account, ns: u64, sent: &SentTo) {
    let total: u64 = link.own.values().sum();
    for (process, bytes) in &link.own {
        let ns = part_of(ns, *bytes, total);
        let mut add = |client, ns| {
            let part = Part {
                process: *process,
                tid: 0,
                client,
            };
            account.parts.add(Resource::Network, part, ns, true);
        };
        let Some(clients) = sent.get(process) else {
            add(None, ns);
            continue;
        };
        // What it sends beside its answers is for no client.
        let to_all: u64 = clients.iter().map(|(_, bytes)| bytes).sum();
        let whole = to_all.max(*bytes);
        for (client, bytes) in clients {
            add(Some(*client), part_of(ns, *bytes, whole));
        }
        add(None, part_of(ns, whole - to_all, whole));
    }
}

/// While the link is full, a response under way waits for it although no thread does. It is the request's time, not a thread's. Returns the
/// target's own part, ns.
fn charge_drains(link: &Link, shares: Vec<Share>, account: &mut Account) -> u64 {
    let mut own = 0;
    for share in shares {
        if share.holder == Holder::Own {
            own += share.ns;
        }
        let charge = charge(link, share);
        let (begin, end) = charge.span;
        let ledger = &mut account.ledger;
        ledger.requests(Class::Network, begin, end, share.ns);
        account.charge(charge);
    }
    own
}

fn charge(link: &Link, share: Share) -> Charge {
    Charge {
        resource: Resource::Network,
        place: Some(link.place),
        holder: share.holder,
        stack: 0,
        span: (share.begin, share.begin + LINK_SLICE_NS),
        ns: share.ns,
        estimated: false,
    }
}
