//! Devices that lie on others, and what their workers pass on.
//!
//! The worker of a loop device asks the disk below in the group of whoever asked the loop. A limit of that group holds such a request
//! back before any record of it, and then only its group is known. If that is the target's, the request looks like the target's own,
//! although anybody in the group may have asked for it. The requests above are known with their owners: they show for whom it was.

use super::{Disks, request::Request};
use crate::{
    event,
    model::{account::Account, books::Holder, names::Names},
};

/// Devices directly under one.
pub(super) fn below(facts: &[event::Disk], dev: u32) -> &[u32] {
    let facts = facts.iter().find(|disk| disk.dev == dev);
    facts.map(|disk| disk.below.as_slice()).unwrap_or_default()
}

/// All devices under one, at any depth.
fn all_below(facts: &[event::Disk], dev: u32) -> Vec<u32> {
    let mut found = below(facts, dev).to_vec();
    let mut next = 0;
    while let Some(at) = found.get(next).copied() {
        let further = below(facts, at).iter().copied();
        let further: Vec<u32> = further.filter(|dev| !found.contains(dev)).collect();
        found.extend(further);
        next += 1;
    }
    found
}

/// Is one device below another one, at any depth?
pub(super) fn lies_below(facts: &[event::Disk], dev: u32, other: u32) -> bool {
    all_below(facts, other).contains(&dev)
}

impl Disks {
    /// A request as far as it is the target's own. One that a limit held back was passed on, if a device above has had requests lately:
    /// those for which it was queued are not done yet.
    pub(super) fn own_or_passed_on(&self, dev: u32, request: Request) -> Request {
        if !request.is_held_back() {
            return request;
        }
        let since = request.queue_ns.saturating_sub(self.lag());
        let has_worker = self.disks.iter().any(|(above, disk)| {
            let last = disk.ends.back();
            last.is_some_and(|end| *end >= since) && lies_below(&self.facts, dev, *above)
        });
        match has_worker {
            true => request.passed_on(),
            false => request,
        }
    }

    /// A holder asked a device for the first time: its worker asks those below in the holder's group, and uses their limits.
    pub(super) fn saw_below(
        &self,
        names: &mut Names,
        account: &mut Account,
        dev: u32,
        holder: Holder,
    ) {
        let below = all_below(&self.facts, dev);
        for disk in self.facts.iter().filter(|disk| below.contains(&disk.dev)) {
            account.limits.saw(names.place(&disk.name), holder);
        }
    }

    /// A request on a device is known: what was queued for it below, and came before anything was known of this device, was passed on.
    pub(super) fn pass_on_below(&mut self, dev: u32, request: &Request) {
        for (below, disk) in &mut self.disks {
            if disk.may_hold_for(request) && lies_below(&self.facts, *below, dev) {
                disk.pass_on(request);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_lies_below_at_any_depth_and_a_circle_ends() {
        let disk = |dev, below: &[u32]| event::Disk {
            dev,
            below: below.to_vec(),
            ..event::Disk::default()
        };
        let facts = [disk(1, &[2]), disk(2, &[3, 4]), disk(4, &[1])];
        assert!(lies_below(&facts, 4, 1));
        assert!(!lies_below(&facts, 5, 1));
        assert!(!lies_below(&facts, 1, 3));
    }
}
