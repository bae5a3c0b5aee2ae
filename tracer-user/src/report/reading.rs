//! Decisions that all renderers share and none takes for itself. They are shares, the facts worth a line, and those already stated
//! elsewhere.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{
    Blame, Budget, Histogram, Losses, MissingProbe, Remedy, Report, Requests, SelfCost, SelfPart,
    Target, Threads, Verdict,
};
use crate::{
    class::{Class, Resource},
    loss::{Cost, Loss},
    standing::home,
};

/// From this part of the machine's CPU time on, the tracer may be part of the trouble.
const FELT: f64 = 0.01;
/// Request time behind the target's own other requests: less than this part is normal for a server with few threads.
const BEHIND_OWN: f64 = 0.05;
/// So is the time to the last send, if the rest is more than the whole divided by this.
const UNDER_WAY: u64 = 10;
/// An unexplained part of a ledger's time below this is normal. Threads begin and end between two looks.
const UNACCOUNTED: f64 = 0.01;
/// If less than this part of the waits for a resource is charged to nobody, that is noise.
const UNATTRIBUTED: f64 = 0.10;

/// A part of the target with less than this part of the waits for the resource is not worth a line.
const PART: f64 = 0.05;
/// So many parts of the target have a line.
const MOST_PARTS: usize = 3;

/// Time in one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    /// The class.
    pub(crate) class: Class,
    /// Time, ns.
    pub(crate) ns: u64,
    /// Part of the whole budget, 0..1.
    pub(crate) share: f64,
}

/// Why a row of blame is an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Estimate {
    /// The stolen time of a slice is known, but not its place within the slice.
    Stolen,
    /// The time that the target's own I/O would take alone is not known.
    OwnService,
}

impl Target {
    /// The name by which an operator knows it: its pod, its container, its cron job, or its unit. A login session is none.
    pub(crate) fn known_as(&self) -> Option<String> {
        let unit = self.unit.as_deref().filter(|unit| home::is_unit(unit));
        let kinds = [
            ("pod ", self.pod.as_deref()),
            ("container ", self.container.as_deref()),
            ("cron job ", self.cron_job.as_deref()),
            ("", unit),
        ];
        let mut named = kinds.into_iter();
        named.find_map(|(kind, name)| Some(format!("{kind}{}", name?)))
    }
}

impl Report {
    /// Part of a row in all waits for its resource, 0..1.
    pub(crate) fn share_of(&self, row: &Blame) -> f64 {
        let same = self
            .blame
            .iter()
            .filter(|other| other.resource == row.resource);
        let charged: u64 = same.map(|other| other.ns).sum();
        let nobody = self.unattributed_ns.get(&row.resource).copied();
        share(row.ns, charged + nobody.unwrap_or(0))
    }

    /// The histograms of the target's processes.
    pub(crate) fn own_histograms(&self) -> Vec<&Histogram> {
        let own = |histogram: &&Histogram| self.target.pids.contains(&histogram.pid);
        self.histograms.iter().filter(own).collect()
    }

    /// Time charged to nobody, ns, if it is more than noise.
    pub(crate) fn notable_unattributed(&self) -> Vec<(Resource, u64)> {
        let waited = |resource: Resource| {
            let class = resource.class();
            self.threads.budget_ns.get(&class).copied()
        };
        let notable = |(resource, ns): &(Resource, u64)| {
            let noise = waited(*resource).unwrap_or(0) as f64 * UNATTRIBUTED;
            *ns > noise as u64
        };
        let all = self.unattributed_ns.iter();
        all.map(|(resource, ns)| (*resource, *ns))
            .filter(notable)
            .collect()
    }

    /// The few largest parts of the target in the verdict's resource. Empty if they say no more than that it is the target: one
    /// process with one client, and no thread with a name of its own.
    pub(crate) fn telling_parts(&self) -> Vec<&SelfPart> {
        let parts = self.verdict.self_parts.iter();
        let parts: Vec<&SelfPart> = parts.filter(|part| part.share >= PART).collect();
        let processes: BTreeSet<u32> = parts.iter().map(|part| part.pid).collect();
        let clients = parts.iter().filter_map(|part| part.client.as_ref());
        let clients: BTreeSet<&String> = clients.collect();
        let says_more = processes.iter().any(|pid| *pid != self.target.pid)
            || clients.len() > 1
            || parts.iter().any(|part| part.thread.is_some());
        let few = parts.into_iter().take(MOST_PARTS);
        few.filter(|_| says_more).collect()
    }

    /// Missing probes that no other line names: neither an unknown resource nor another probe with the same cost.
    pub(crate) fn unsaid_probes(&self) -> Vec<&MissingProbe> {
        let said = |missing: &&MissingProbe| {
            let mut reasons = self.unknown.iter().map(|unknown| &unknown.reason);
            reasons.any(|reason| reason.starts_with(&missing.probe))
        };
        let missing = self.losses.missing_probes.iter();
        let mut unsaid: Vec<&MissingProbe> = missing.filter(|missing| !said(missing)).collect();
        unsaid.dedup_by(|later, first| later.cost == first.cost);
        unsaid
    }
}

impl Verdict {
    /// Remedies, first those that help.
    pub(crate) fn remedies_by_use(&self) -> Vec<&Remedy> {
        let mut remedies: Vec<&Remedy> = self.remedies.iter().collect();
        remedies.sort_by_key(|remedy| !remedy.applies);
        remedies
    }
}

impl Requests {
    /// Their time that no class explains, if that is worth a line, ns.
    pub(crate) fn notable_unaccounted_ns(&self) -> Option<u64> {
        let known_ns: u64 = self.budget_ns.values().sum();
        let part = share(self.unaccounted_ns, known_ns + self.unaccounted_ns);
        (part > UNACCOUNTED).then_some(self.unaccounted_ns)
    }

    /// Part of their time in which their thread worked on other ones, if that is worth a line.
    pub(crate) fn notable_behind_own(&self) -> Option<f64> {
        let part = share(
            self.behind_own_ns.values().sum(),
            self.budget_ns.values().sum(),
        );
        (part >= BEHIND_OWN).then_some(part)
    }

    /// Do the answers leave this machine so long after their last send that it is worth a line?
    pub(crate) fn leaves_late(&self) -> bool {
        let late = |whole: Option<u64>, sent: Option<u64>| {
            whole
                .zip(sent)
                .is_some_and(|(whole, sent)| whole - sent.min(whole) > whole / UNDER_WAY)
        };
        late(self.p50_ns, self.sent_p50_ns) || late(self.p99_ns, self.sent_p99_ns)
    }
}

impl Threads {
    /// Lifetime that no class explains, if that is worth a line, ns.
    pub(crate) fn notable_unaccounted_ns(&self) -> Option<u64> {
        let part = share(self.unaccounted_ns, self.wall_ns);
        (part > UNACCOUNTED).then_some(self.unaccounted_ns)
    }
}

impl Blame {
    /// The name of the target in a row of blame.
    pub(crate) const ITSELF: &str = "itself";

    /// The process that held it, unless that is the target itself.
    pub(crate) fn holder_pid(&self) -> Option<u32> {
        self.pid.filter(|_| self.comm != Self::ITSELF)
    }

    /// Why it is an estimate; `None` if it is none.
    pub(crate) fn estimate(&self) -> Option<Estimate> {
        let why = match self.resource {
            Resource::Cpu => Estimate::Stolen,
            Resource::Disk
            | Resource::Network
            | Resource::Memory
            | Resource::Lock
            | Resource::Upstream
            | Resource::Stopped => Estimate::OwnService,
        };
        self.estimated.then_some(why)
    }
}

impl Losses {
    /// The losses that make figures too low, by name, each with its number. A kind that costs nothing is not among them.
    pub(crate) fn felt(&self) -> Vec<(&str, u64)> {
        let records = self
            .ring
            .iter()
            .filter(|(name, _)| Loss::of_record(name).cost() != Cost::Nothing);
        let facts = self
            .maps
            .iter()
            .filter(|(name, _)| Loss::of_map(name).cost() != Cost::IdleHistograms);
        let felt = records.chain(facts);
        felt.map(|(name, number)| (name.as_str(), *number))
            .collect()
    }

    /// Is a record lost that may say what became of time without a class?
    pub(crate) fn explain_unaccounted(&self) -> bool {
        !self.felt().is_empty() || self.truncated
    }

    /// Snapshots of histograms that a full ring dropped. They cost nothing.
    pub(crate) fn snapshots(&self) -> u64 {
        let free = self
            .ring
            .iter()
            .filter(|(name, _)| Loss::of_record(name).cost() == Cost::Nothing);
        free.map(|(_, number)| number).sum()
    }

    /// Histograms for which there was no room.
    pub(crate) fn idle_histograms(&self) -> u64 {
        let idle = self
            .maps
            .iter()
            .filter(|(name, _)| Loss::of_map(name).cost() == Cost::IdleHistograms);
        idle.map(|(_, number)| number).sum()
    }
}

impl SelfCost {
    /// The tracer's part of the machine's CPU time, 0..1, if it may be part of the trouble.
    pub(crate) fn felt_share(&self) -> Option<f64> {
        (self.machine_share > FELT).then_some(self.machine_share)
    }
}

/// The parts of a budget with any time. The waits come first, the largest first.
pub(crate) fn parts(budget: &Budget) -> Vec<Part> {
    let whole = budget.values().sum();
    let spent = budget.iter().filter(|(_, ns)| **ns > 0);
    let mut parts: Vec<Part> = spent
        .map(|(class, ns)| Part {
            class: *class,
            ns: *ns,
            share: share(*ns, whole),
        })
        .collect();
    parts.sort_by_key(|part| (!part.class.is_blocked(), Reverse(part.ns)));
    parts
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_come_before_work_and_idleness_and_the_largest_first() {
        let budget = Budget::from([
            (Class::OnCpu, 50),
            (Class::Disk, 10),
            (Class::Lock, 20),
            (Class::Memory, 0),
            (Class::Idle, 20),
        ]);
        let order: Vec<_> = parts(&budget)
            .iter()
            .map(|part| (part.class, part.share))
            .collect();
        let expected = [
            (Class::Lock, 0.2),
            (Class::Disk, 0.1),
            (Class::OnCpu, 0.5),
            (Class::Idle, 0.2),
        ];
        assert_eq!(order, expected);
    }

    #[test]
    fn a_line_is_worth_its_place_from_its_threshold_on() {
        let behind = |ns| {
            let requests = Requests {
                behind_own_ns: Budget::from([(Class::OnCpu, ns)]),
                budget_ns: Budget::from([(Class::OnCpu, 1000)]),
                ..Requests::default()
            };
            requests.notable_behind_own()
        };
        assert_eq!(
            (behind(0), behind(49), behind(50)),
            (None, None, Some(0.05))
        );
        let unaccounted = |ns| {
            let threads = Threads {
                unaccounted_ns: ns,
                wall_ns: 1000,
                ..Threads::default()
            };
            threads.notable_unaccounted_ns()
        };
        assert_eq!((unaccounted(10), unaccounted(11)), (None, Some(11)));
        let felt = |machine_share| {
            let cost = SelfCost {
                machine_share,
                ..SelfCost::default()
            };
            cost.felt_share()
        };
        assert_eq!((felt(0.01), felt(0.011)), (None, Some(0.011)));
    }

    #[test]
    fn only_the_target_itself_is_shown_without_its_pid() {
        let row = |comm: &str| Blame {
            resource: Resource::Disk,
            place: None,
            pid: Some(10),
            comm: comm.to_owned(),
            ns: 1,
            ios: None,
            bytes: None,
            estimated: true,
        };
        assert_eq!(row("itself").holder_pid(), None);
        assert_eq!(row("its own lock").holder_pid(), Some(10));
        assert_eq!(row("tar").estimate(), Some(Estimate::OwnService));
        let cpu = Blame {
            resource: Resource::Cpu,
            ..row("tar")
        };
        assert_eq!(cpu.estimate(), Some(Estimate::Stolen));
        let known = Blame {
            estimated: false,
            ..row("tar")
        };
        assert_eq!(known.estimate(), None);
    }

    #[test]
    fn each_kind_of_loss_is_said_where_it_costs_something() {
        let counted = |names: &[(&str, u64)]| {
            names
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect()
        };
        let losses = Losses {
            ring: counted(&[("histograms", 7), ("waits", 2), ("futexes", 1)]),
            maps: counted(&[("histograms", 5), ("block_histograms", 3), ("bios", 4)]),
            ..Losses::default()
        };
        assert_eq!(losses.felt(), [("futexes", 1), ("waits", 2), ("bios", 4)]);
        assert_eq!((losses.snapshots(), losses.idle_histograms()), (7, 8));
    }

    #[test]
    fn what_costs_no_figure_explains_no_time_without_a_class() {
        let of = |ring: &str| Losses {
            ring: [(ring.to_owned(), 7)].into(),
            ..Losses::default()
        };
        let truncated = Losses {
            truncated: true,
            ..Losses::default()
        };
        let explain = |losses: Losses| losses.explain_unaccounted();
        assert_eq!([of("waits"), truncated].map(explain), [true; 2]);
        assert!(!explain(of("histograms")) && !explain(Losses::default()));
    }
}
