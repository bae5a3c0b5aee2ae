//! The disk of the file for which a thread waits.
//!
//! A wait for a commit, for writeback or for dirty pages has no request of its own. Only the disk of the file counts, however much
//! kernel threads write elsewhere. The call that waits shows its disk. So does the name of a journal's thread that ends a wait. Else
//! the target's own writes show it. Where neither is known, nobody is charged.

use super::{DiskWait, above::lies_below, layers::Layers, request::Request};
use crate::{event, model::books::Holder};

/// A thread waits for what was written this long before at most, ns: an `fsync` first writes the pages, then waits for the commit.
const JUST_BEFORE_NS: u64 = 1_000_000_000;

/// The disk that a journal is on, by the name of its thread: `jbd2/sda1-8`. The kernel cuts long names at their end.
pub(super) fn of_journal(thread: &str, disks: &[event::Disk]) -> Option<u32> {
    let name = thread.strip_prefix("jbd2/")?;
    let device = name.rsplit_once('-').map_or(name, |(device, _)| device);
    let device = device.replace('!', "/");
    let of = disks.iter().filter(|disk| is_on(&device, &disk.name));
    // `loop1` and `loop12`: the longest name that fits.
    of.max_by_key(|disk| disk.name.len()).map(|disk| disk.dev)
}

/// Is a device this disk, or a partition of it (`sda1`, `nvme0n1p1`)?
fn is_on(device: &str, disk: &str) -> bool {
    let Some(partition) = device.strip_prefix(disk) else {
        return false;
    };
    let ends_in_digit = disk.ends_with(|last: char| last.is_ascii_digit());
    let number = match (partition, ends_in_digit) {
        ("", _) => return true,
        (partition, true) => partition.strip_prefix('p'),
        (partition, false) => Some(partition),
    };
    number.is_some_and(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// The devices with file systems among those under the target's mounts. What lies below a device is a part of it. Only a loop
/// device lies on a file, so on another file system.
fn file_systems(under_target: &[u32], disks: &[event::Disk]) -> Vec<u32> {
    let above = |dev: u32| {
        let under = |disk: &&event::Disk| under_target.contains(&disk.dev);
        let mut stacked = disks
            .iter()
            .filter(under)
            .filter(|disk| !disk.name.starts_with("loop"));
        stacked.any(|disk| disk.below.contains(&dev))
    };
    let devices = under_target.iter().copied();
    devices.filter(|dev| !above(*dev)).collect()
}

impl Layers<'_> {
    /// The disk on which the file of a wait for kernel threads lies; `None` if nothing shows it.
    pub(super) fn home(&self, wait: &DiskWait) -> Option<u32> {
        let by_thread = |request: &Request| request.tid == wait.tid;
        wait.home
            .or_else(|| self.written_on(wait, by_thread).first().copied())
            .or_else(|| only(&self.written_on(wait, |_| true)))
            .or_else(|| only(&file_systems(self.under_target, self.facts)))
            .and_then(|dev| self.with_requests(dev, wait))
    }

    /// Devices to which the target wrote in or just before a wait, in a request that `counts`: the most likely first.
    fn written_on(&self, wait: &DiskWait, counts: impl Fn(&Request) -> bool) -> Vec<u32> {
        let since = wait.begin.saturating_sub(JUST_BEFORE_NS);
        let mut found = Vec::new();
        for (dev, disk) in self.disks {
            let own = disk
                .in_flight(since, wait.end)
                .filter(|request| request.owner == Holder::Own && request.writes());
            let last = own.filter(|request| counts(request)).max_by_key(|request| {
                let meanwhile = request.overlaps(wait.begin, wait.end);
                (meanwhile, request.end_ns)
            });
            if let Some(last) = last {
                found.push((last.overlaps(wait.begin, wait.end), last.end_ns, *dev));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        let devices: Vec<u32> = found.iter().map(|(_, _, dev)| *dev).collect();
        let is_below = |dev: u32| {
            let mut others = devices.iter();
            others.any(|other| lies_below(self.facts, dev, *other))
        };
        devices
            .iter()
            .copied()
            .filter(|dev| !is_below(*dev))
            .collect()
    }

    /// A device, or what it is made of: `dm` and `md` pass bios on, and have no requests.
    fn with_requests(&self, dev: u32, wait: &DiskWait) -> Option<u32> {
        if self.disks.contains_key(&dev) {
            return Some(dev);
        }
        let below = self.disks.iter();
        let below = below.filter(|(other, _)| lies_below(self.facts, **other, dev));
        let below = below.max_by_key(|(_, disk)| disk.written_by_kernel(wait.begin, wait.end));
        below.map(|(dev, _)| *dev)
    }
}

/// The only one.
fn only(devices: &[u32]) -> Option<u32> {
    match devices {
        [device] => Some(*device),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(dev: u32, name: &str, below: &[u32]) -> event::Disk {
        event::Disk {
            dev,
            name: name.to_owned(),
            below: below.to_vec(),
            ..event::Disk::default()
        }
    }

    #[test]
    fn the_thread_of_a_journal_has_the_disk_in_its_name() {
        let disks = [
            disk(1, "sda", &[]),
            disk(2, "sdaa", &[]),
            disk(3, "loop1", &[]),
            disk(4, "loop12", &[]),
            disk(5, "nvme0n1", &[]),
            disk(6, "dm-0", &[]),
            disk(7, "cciss/c0d0", &[]),
        ];
        let of = |thread| of_journal(thread, &disks);
        assert_eq!(of("jbd2/sda1-8"), Some(1));
        assert_eq!(of("jbd2/sda-8"), Some(1));
        assert_eq!(of("jbd2/sdaa1-8"), Some(2));
        assert_eq!(of("jbd2/loop12-8"), Some(4));
        assert_eq!(of("jbd2/loop1p2-8"), Some(3));
        assert_eq!(of("jbd2/dm-0-8"), Some(6));
        assert_eq!(of("jbd2/cciss!c0d0p1-8"), Some(7));
        // Cut after 15 bytes.
        assert_eq!(of("jbd2/nvme0n1p12"), Some(5));
        assert_eq!(of("jbd2/sdb1-8"), None);
        assert_eq!(of("kworker/u8:1"), None);
    }

    #[test]
    fn a_part_of_a_device_has_no_file_system_of_its_own_but_what_holds_a_loops_file_has() {
        let disks = [
            disk(1, "sda", &[]),
            disk(2, "sdb", &[]),
            disk(3, "md0", &[1, 2]),
            disk(4, "loop0", &[3]),
            disk(5, "sdc", &[]),
        ];
        assert_eq!(file_systems(&[1, 2, 3], &disks), [3]);
        assert_eq!(file_systems(&[1, 2, 3, 4], &disks), [3, 4]);
        assert_eq!(file_systems(&[5], &disks), [5]);
    }
}
