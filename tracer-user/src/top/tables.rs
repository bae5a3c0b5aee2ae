//! The figures of disks, memory, CPUs and interfaces in an interval: the difference of two counts, as `iostat -x`, `vmstat` and `iftop`
//! show it.

use crate::{
    counters::{Counters, CpuCounts, DiskCounts, LinkCounts, MemoryCounts},
    report::top::{Disk, Link, Machine},
};

/// KiB of a sector, in which the kernel counts.
const KIB_PER_SECTOR: f64 = 0.5;
/// KiB of a page.
const KIB_PER_PAGE: f64 = 4.0;

/// All of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tables {
    /// Time between the two moments, ns.
    pub(super) ns: u64,
    pub(super) disks: Vec<Disk>,
    pub(super) machine: Option<Machine>,
    pub(super) links: Vec<Link>,
}

impl Tables {
    /// Between two moments. What was not there at the first one has no rate, and nothing has if one of them was not looked at.
    pub(super) fn between(before: Option<&Counters>, after: &Counters) -> Self {
        let Some(before) = before.filter(|before| before.ns != 0) else {
            return Self::default();
        };
        let ns = after.ns.saturating_sub(before.ns);
        if ns == 0 {
            return Self::default();
        }
        let seconds = ns as f64 / 1e9;
        let disks = after.disks.iter().filter_map(|now| {
            let known = before.disks.iter().find(|disk| disk.name == now.name)?;
            is_used(now).then(|| disk(known, now, seconds))
        });
        let links = after.links.iter().filter_map(|now| {
            let known = before.links.iter().find(|link| link.name == now.name)?;
            Some(link(known, now, seconds))
        });
        let cpus = before.cpu.as_ref().zip(after.cpu.as_ref());
        let memory = before.memory.as_ref().zip(after.memory.as_ref());
        Self {
            ns,
            disks: disks.collect(),
            links: links.collect(),
            machine: cpus
                .zip(memory)
                .map(|(cpus, memory)| machine(cpus, memory, seconds)),
        }
    }
}

/// A counter may begin anew: a disk of the same name comes back.
fn grew(before: u64, after: u64) -> f64 {
    after.saturating_sub(before) as f64
}

fn is_used(disk: &DiskCounts) -> bool {
    disk.reads > 0 || disk.writes > 0 || disk.in_flight > 0
}

fn disk(before: &DiskCounts, after: &DiskCounts, seconds: f64) -> Disk {
    let grew = |count: fn(&DiskCounts) -> u64| grew(count(before), count(after));
    let (reads, writes) = (grew(|disk| disk.reads), grew(|disk| disk.writes));
    let mean = |ms: f64, count: f64| (count > 0.0).then(|| ms / count);
    Disk {
        name: after.name.clone(),
        reads_per_s: reads / seconds,
        writes_per_s: writes / seconds,
        read_kib_per_s: grew(|disk| disk.read_sectors) * KIB_PER_SECTOR / seconds,
        written_kib_per_s: grew(|disk| disk.written_sectors) * KIB_PER_SECTOR / seconds,
        reads_merged_per_s: grew(|disk| disk.reads_merged) / seconds,
        writes_merged_per_s: grew(|disk| disk.writes_merged) / seconds,
        read_await_ms: mean(grew(|disk| disk.read_ms), reads),
        write_await_ms: mean(grew(|disk| disk.write_ms), writes),
        queue: grew(|disk| disk.weighted_ms) / (1e3 * seconds),
        // The kernel counts in ticks: a disk that is always busy may seem busier than that.
        used: (grew(|disk| disk.busy_ms) / (1e3 * seconds)).min(1.0),
    }
}

fn link(before: &LinkCounts, after: &LinkCounts, seconds: f64) -> Link {
    let rate = |count: fn(&LinkCounts) -> u64| grew(count(before), count(after)) / seconds;
    Link {
        name: after.name.clone(),
        sent_per_s: rate(|link| link.sent),
        received_per_s: rate(|link| link.received),
        sent_packets_per_s: rate(|link| link.sent_packets),
        received_packets_per_s: rate(|link| link.received_packets),
        drops_per_s: rate(|link| link.receive_drops.saturating_add(link.send_drops)),
    }
}

fn machine(
    (cpus, cpus_now): (&CpuCounts, &CpuCounts),
    (memory, memory_now): (&MemoryCounts, &MemoryCounts),
    seconds: f64,
) -> Machine {
    let all = grew(cpus.total(), cpus_now.total()).max(1.0);
    let part = |state: fn(&CpuCounts) -> u64| grew(state(cpus), state(cpus_now)) / all;
    let each_s = |count: fn(&CpuCounts) -> u64| grew(count(cpus), count(cpus_now)) / seconds;
    let moved = |count: fn(&MemoryCounts) -> u64| grew(count(memory), count(memory_now)) / seconds;
    Machine {
        running: cpus_now.running,
        blocked: cpus_now.blocked,
        swapped_kib: memory_now.swapped_kib,
        free_kib: memory_now.free_kib,
        available_kib: memory_now.available_kib,
        buffers_kib: memory_now.buffers_kib,
        cached_kib: memory_now.cached_kib,
        swapped_in_kib_per_s: moved(|memory| memory.swapped_in) * KIB_PER_PAGE,
        swapped_out_kib_per_s: moved(|memory| memory.swapped_out) * KIB_PER_PAGE,
        read_kib_per_s: moved(|memory| memory.read_kib),
        written_kib_per_s: moved(|memory| memory.written_kib),
        interrupts_per_s: each_s(|cpus| cpus.interrupts),
        switches_per_s: each_s(|cpus| cpus.switches),
        forks_per_s: each_s(|cpus| cpus.forks),
        user: part(|cpus| cpus.user),
        system: part(|cpus| cpus.system),
        idle: part(|cpus| cpus.idle),
        iowait: part(|cpus| cpus.iowait),
        steal: part(|cpus| cpus.steal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn disk_at(factor: u64) -> DiskCounts {
        DiskCounts {
            name: "sda".to_owned(),
            reads: 100 * factor,
            reads_merged: 10 * factor,
            read_sectors: 800 * factor,
            read_ms: 500 * factor,
            writes: 50 * factor,
            writes_merged: 20 * factor,
            written_sectors: 1600 * factor,
            write_ms: 1000 * factor,
            in_flight: 3,
            busy_ms: 1500 * factor,
            weighted_ms: 3000 * factor,
        }
    }

    fn counters(ns: u64, disks: Vec<DiskCounts>) -> Counters {
        Counters {
            ns,
            disks,
            ..Counters::default()
        }
    }

    #[test]
    fn a_disk_has_the_figures_of_iostat() {
        let before = counters(S, vec![disk_at(1)]);
        let after = counters(3 * S, vec![disk_at(2)]);
        let tables = Tables::between(Some(&before), &after);
        let expected = Disk {
            name: "sda".to_owned(),
            reads_per_s: 50.0,
            writes_per_s: 25.0,
            read_kib_per_s: 200.0,
            written_kib_per_s: 400.0,
            reads_merged_per_s: 5.0,
            writes_merged_per_s: 10.0,
            read_await_ms: Some(5.0),
            write_await_ms: Some(20.0),
            queue: 1.5,
            used: 0.75,
        };
        assert_eq!(tables.disks, [expected]);
    }

    #[test]
    fn what_is_new_or_never_used_has_no_row_and_an_idle_disk_has_no_mean() {
        let new = DiskCounts {
            name: "sdb".to_owned(),
            ..disk_at(1)
        };
        let unused = DiskCounts {
            name: "ram0".to_owned(),
            ..DiskCounts::default()
        };
        let before = counters(S, vec![disk_at(1), unused.clone()]);
        let after = counters(2 * S, vec![disk_at(1), unused, new]);
        let tables = Tables::between(Some(&before), &after);
        assert_eq!(tables.disks.len(), 1);
        let disk = &tables.disks[0];
        assert_eq!((disk.read_await_ms, disk.write_await_ms), (None, None));
        assert_eq!((disk.reads_per_s, disk.used), (0.0, 0.0));
        assert_eq!(Tables::between(None, &after), Tables::default());
        assert_eq!(Tables::between(Some(&after), &after), Tables::default());
    }

    #[test]
    fn cpus_and_memory_have_the_figures_of_vmstat() {
        let cpu = |factor: u64| CpuCounts {
            user: 60 * factor,
            system: 20 * factor,
            idle: 100 * factor,
            iowait: 15 * factor,
            steal: 5 * factor,
            interrupts: 1000 * factor,
            switches: 4000 * factor,
            forks: 2 * factor,
            running: 3,
            blocked: 1,
        };
        let memory = |factor: u64| MemoryCounts {
            free_kib: 777,
            swapped_in: 5 * factor,
            read_kib: 900 * factor,
            ..MemoryCounts::default()
        };
        let at = |ns, factor| Counters {
            ns,
            cpu: Some(cpu(factor)),
            memory: Some(memory(factor)),
            ..Counters::default()
        };
        let machine = Tables::between(Some(&at(S, 1)), &at(3 * S, 2))
            .machine
            .unwrap();
        let states = [
            machine.user,
            machine.system,
            machine.idle,
            machine.iowait,
            machine.steal,
        ];
        assert_eq!(states, [0.3, 0.1, 0.5, 0.075, 0.025]);
        assert_eq!((machine.running, machine.blocked), (3, 1));
        assert_eq!(
            (machine.switches_per_s, machine.interrupts_per_s),
            (2000.0, 500.0)
        );
        assert_eq!(
            (machine.swapped_in_kib_per_s, machine.read_kib_per_s),
            (10.0, 450.0)
        );
        assert_eq!(machine.free_kib, 777);
    }

    #[test]
    fn an_interface_has_its_rates() {
        let link_at = |factor: u64| LinkCounts {
            name: "eth0".to_owned(),
            received: 1000 * factor,
            received_packets: 10 * factor,
            receive_drops: factor,
            sent: 2000 * factor,
            sent_packets: 20 * factor,
            send_drops: 3 * factor,
        };
        let at = |ns, factor| Counters {
            ns,
            links: vec![link_at(factor)],
            ..Counters::default()
        };
        let tables = Tables::between(Some(&at(S, 1)), &at(3 * S, 3));
        let expected = Link {
            name: "eth0".to_owned(),
            sent_per_s: 2000.0,
            received_per_s: 1000.0,
            sent_packets_per_s: 20.0,
            received_packets_per_s: 10.0,
            drops_per_s: 4.0,
        };
        assert_eq!(tables.links, [expected]);
    }
}
