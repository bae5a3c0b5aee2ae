//! Limits as places: who used a limit up held it, and is charged with the target's waits for it.
//!
//! A limit belongs to a group of processes. A wait for it is split as the group has used the limit in the time up to the end of the
//! wait: the target's part is its own, another member's part is that process's. What a member used is known per interval, some time
//! after the wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{
    account::Charge,
    books::{Holder, PlaceId},
    names::Names,
};
use crate::{class::Resource, event::LimitUse};

/// A wait is split as the limit was used from this long before its begin, ns. This is the usual period of a CPU quota: the quota was
/// used up before the group was stopped.
const LOOK_BACK_NS: u64 = 100_000_000;

/// Intervals kept of each limit. At four a second they reach back a minute; a wait for a disk is judged some seconds after its end.
pub(super) const KEPT: usize = 256;

/// A group whose memory is full evicts what the target needs if the group reads again at least this part of the pages that the target
/// read. With less, most of what the target reads is new.
pub(super) const READ_AGAIN: f64 = 0.5;

/// Whether a group evicts is judged by its last second, ns: a slow disk brings a few pages in a quarter of it.
pub(super) const EVICTS_NS: u64 = 1_000_000_000;

/// Most waits that are kept. Usually they are those of half a second.
pub(super) const MOST_WAITS: usize = 1 << 16;

/// Bytes of a page.
pub(super) const PAGE: u64 = 4096;

/// A limit of the target's group or of one above it.
#[derive(Clone, Debug)]
struct Limit {
    resource: Resource,
    file: String,
    /// The disk, if it limits one.
    disk: String,
    /// Its place, once another than the target has used it.
    place: Option<PlaceId>,
    /// Has the target used it?
    is_own: bool,
    uses: VecDeque<Use>,
}

/// The use of a limit in an interval.
#[derive(Clone, Debug)]
struct Use {
    begin: u64,
    end: u64,
    held_back: u64,
    read_again: u64,
    by: Parts,
}

/// Limits that one target can be under: tracer reads sixteen.
const MOST_LIMITS: usize = 256;

/// Holders, each with what it used, in their order.
type Parts = Vec<(Holder, u64)>;

/// All limits of the target.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    limits: Vec<Limit>,
    /// Waits for them that cannot be split yet.
    waits: VecDeque<Charge>,
    /// Disks, each with a holder that had a request there.
    on_disk: BTreeSet<(PlaceId, Holder)>,
}

impl Limits {
    /// A limit was used. Returns the waits that can be charged now.
    pub(super) fn used(&mut self, names: &mut Names, used: &LimitUse) -> Vec<Charge> {
        let Some(limit) = self.limit(used) else {
            return Vec::new();
        };
        let by_pid = used.used.iter();
        let by = parts(by_pid.map(|(pid, amount)| (names.holder(*pid), *amount)));
        limit.is_own |= by.iter().any(|(holder, _)| *holder == Holder::Own);
        let is_shared = |(holder, amount): &(Holder, u64)| *holder != Holder::Own && *amount > 0;
        if limit.place.is_none() && by.iter().any(is_shared) {
            limit.place = Some(names.place(&used.file));
        }
        if used.ns > used.begin_ns {
            if limit.uses.len() == KEPT {
                limit.uses.pop_front();
            }
            limit.uses.push_back(Use {
                begin: used.begin_ns,
                end: used.ns,
                held_back: used.held_back,
                read_again: used.read_again,
                by,
            });
        }
        self.due()
    }

    fn limit(&mut self, used: &LimitUse) -> Option<&mut Limit> {
        let same = |known: &Limit| known.file == used.file && known.disk == used.disk;
        let known = self.limits.iter().position(same);
        if known.is_none() && self.limits.len() < MOST_LIMITS {
            self.limits.push(Limit {
                resource: used.resource,
                file: used.file.clone(),
                disk: used.disk.clone(),
                place: None,
                is_own: false,
                uses: VecDeque::new(),
            });
            return self.limits.last_mut();
        }
        self.limits.get_mut(known?)
    }

    /// Has the memory of a group of the target's been full, as far as is known now?
    #[must_use]
    pub(super) fn is_full(&self) -> bool {
        self.of_memory()
            .any(|limit| limit.full_and_read_again().is_some())
    }

    /// Does a full group of the target's read again what it evicted, as far as is known now?
    #[must_use]
    pub(super) fn evicts(&self) -> bool {
        self.of_memory().any(|limit| {
            let again = limit.full_and_read_again().unwrap_or(0) as f64;
            again > 0.0 && again >= READ_AGAIN * limit.own_pages() as f64
        })
    }

    fn of_memory(&self) -> impl Iterator<Item = &Limit> {
        let limits = self.limits.iter();
        limits.filter(|limit| limit.resource == Resource::Memory && limit.is_own)
    }

    /// Is the target under a limit of this resource?
    #[must_use]
    pub(super) fn limits(&self, resource: Resource) -> bool {
        let mut limits = self.limits.iter();
        limits.any(|limit| limit.is_own && limit.resource == resource)
    }

    /// The places of limits that others use, too.
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceId> {
        self.limits.iter().filter_map(|limit| limit.place)
    }

    /// Keeps a wait for a limit until it is known who used it. Returns a wait of which that is never known.
    pub(super) fn keep(&mut self, wait: Charge) -> Option<Charge> {
        if !self
            .limits
            .iter()
            .any(|limit| limit.resource == wait.resource)
        {
            return Some(wait);
        }
        self.waits.push_back(wait);
        if self.waits.len() > MOST_WAITS {
            return self.waits.pop_front();
        }
        None
    }

    /// A holder had a request on a disk, or on a device that lies on it. What a process reads and writes is counted over all disks: only
    /// who was seen on the limited one has used its limit. True if it had not been seen there.
    #[inline]
    pub(super) fn saw(&mut self, disk: PlaceId, holder: Holder) -> bool {
        !self.limits.is_empty() && self.on_disk.insert((disk, holder))
    }

    /// Was the holder seen on the disk that is limited, if one is?
    fn has_used(&self, names: &Names, limit: &Limit, holder: Holder) -> bool {
        if limit.resource != Resource::Disk || holder == Holder::Own {
            return true;
        }
        let disk = names.places.iter().position(|name| *name == limit.disk);
        disk.is_some_and(|disk| self.on_disk.contains(&(disk, holder)))
    }

    /// The kept waits whose limits have been read since.
    fn due(&mut self) -> Vec<Charge> {
        let mut due = Vec::new();
        while let Some(wait) = self.waits.front()
            && self.is_known(wait)
        {
            due.extend(self.waits.pop_front());
        }
        due
    }

    fn is_known(&self, wait: &Charge) -> bool {
        let mut limits = self.limits.iter();
        limits.all(|limit| {
            let last = limit.uses.back();
            limit.resource != wait.resource || last.is_some_and(|last| last.end >= wait.span.1)
        })
    }

    /// The kept waits, at the end.
    pub(super) fn rest(&mut self) -> Vec<Charge> {
        std::mem::take(&mut self.waits).into()
    }

    /// Splits a wait between those who used the limit; the parts sum to it. The target's part stays its own quota's.
    #[must_use]
    pub(super) fn split(&self, names: &Names, wait: &Charge) -> Vec<Charge> {
        let Some((place, used)) = self.used_for(names, wait) else {
            return vec![*wait];
        };
        let all: u64 = used.iter().map(|(_, amount)| amount).sum();
        let (mut upto, mut given) = (0, 0);
        let part = |(holder, amount): &(Holder, u64)| {
            upto += amount;
            let end = (u128::from(wait.ns) * u128::from(upto) / u128::from(all)) as u64;
            let ns = end - std::mem::replace(&mut given, end);
            match holder {
                Holder::Own => Charge { ns, ..*wait },
                other => Charge {
                    ns,
                    holder: *other,
                    place,
                    ..*wait
                },
            }
        };
        used.iter().map(part).filter(|part| part.ns > 0).collect()
    }

    /// The use of the limit that was waited for: of those that the target is under, the one that stopped its group most. `None` if
    /// nobody used it.
    fn used_for(&self, names: &Names, wait: &Charge) -> Option<(Option<PlaceId>, Parts)> {
        let (begin, end) = (wait.span.0.saturating_sub(LOOK_BACK_NS), wait.span.1);
        let disk = wait.place.map(|place| names.places[place].as_str());
        let of = |limit: &&Limit| limit.resource == wait.resource && limit.is_own;
        let is_named = |limit: &&Limit| Some(limit.disk.as_str()) == disk;
        let named = self.limits.iter().filter(of).any(|limit| is_named(&limit));
        let limits = self.limits.iter().filter(of);
        let limits = limits.filter(|limit| !named || is_named(limit));
        let used = limits.map(|limit| {
            let held_back: u64 = limit.during(begin, end).map(|used| used.held_back).sum();
            (held_back, limit)
        });
        // Of equals the first: the limit of the nearest group.
        let (_, limit) = used.reduce(|a, b| if b.0 > a.0 { b } else { a })?;
        let used = limit.during(begin, end).flat_map(|used| &used.by);
        let mut sums = parts(used.copied());
        sums.retain(|(holder, amount)| *amount > 0 && self.has_used(names, limit, *holder));
        (!sums.is_empty()).then_some((limit.place, sums))
    }
}

/// The sum of each holder.
pub(super) fn parts(used: impl Iterator<Item = (Holder, u64)>) -> Parts {
    let mut sums: BTreeMap<Holder, u64> = BTreeMap::new();
    for (holder, amount) in used {
        let sum = sums.entry(holder).or_default();
        *sum = sum.saturating_add(amount);
    }
    sums.into_iter().collect()
}

impl Limit {
    /// Its uses in the last second.
    fn last(&self) -> impl Iterator<Item = &Use> {
        let end = self.uses.back().map_or(0, |last| last.end);
        let uses = self.uses.iter().rev();
        uses.take_while(move |used| used.begin + EVICTS_NS >= end)
    }

    /// Pages that its group has read again in the last second; `None` if its memory was not full meanwhile.
    fn full_and_read_again(&self) -> Option<u64> {
        let full = self.last().any(|used| used.held_back > 0);
        full.then(|| self.last().map(|used| used.read_again).sum())
    }

    /// Pages that the target has read or filled in the last second.
    fn own_pages(&self) -> u64 {
        let by = self.last().flat_map(|used| &used.by);
        let own = by.filter(|(holder, _)| *holder == Holder::Own);
        own.map(|(_, bytes)| bytes).sum::<u64>() / PAGE
    }

    /// Its uses in intervals that touch `[begin, end]`.
    fn during(&self, begin: u64, end: u64) -> impl Iterator<Item = &Use> {
        let uses = self.uses.iter().rev();
        let uses = uses.skip_while(move |used| used.begin > end);
        uses.take_while(move |used| used.end >= begin)
    }
}
