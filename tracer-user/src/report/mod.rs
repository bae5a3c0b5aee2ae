//! The report: plain data, exactly `tracer.report/1`. Renderers see nothing else, and compute nothing.
//!
//! Integer nanoseconds; shares are 0..1; what is not known is `null`, never 0.

pub(crate) mod reading;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class::{Cause, Class, Resource};

/// Value of [`Report::schema`].
pub const SCHEMA: &str = "tracer.report/1";

/// Nanoseconds per class.
pub type Budget = BTreeMap<Class, u64>;

/// Everything there is to say about one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The machine.
    pub host: Host,
    /// Who was traced.
    pub target: Target,
    /// When.
    pub window: Window,
    /// The answer.
    pub verdict: Verdict,
    /// Everything that was considered, the largest share first; the verdict's own is the first.
    pub hypotheses: Vec<Hypothesis>,
    /// Resources that were watched and hardly waited for.
    pub healthy: Vec<Resource>,
    /// Resources that were not seen, with the reason.
    pub unknown: Vec<Unknown>,
    /// Other facts that support or qualify the verdict.
    pub evidence: Vec<String>,
    /// Requests; `null` if none can be seen.
    pub requests: Option<Requests>,
    /// Threads.
    pub threads: Threads,
    /// Who held what while the target waited.
    pub blame: Vec<Blame>,
    /// Waiting time per resource that is charged to nobody.
    pub unattributed_ns: BTreeMap<Resource, u64>,
    /// Latency histograms of all processes, the target's first.
    pub histograms: Vec<Histogram>,
    /// What was lost.
    pub losses: Losses,
    /// What the tracer itself cost.
    pub tracer: SelfCost,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Kernel release.
    pub kernel: String,
    /// Online CPUs.
    pub cpus: u32,
    /// Name.
    pub hostname: String,
}

/// Who was traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The process that was asked for.
    pub pid: u32,
    /// All processes, children included.
    pub pids: Vec<u32>,
    /// Name.
    pub comm: String,
    /// Command line.
    pub cmdline: String,
    /// Threads that lived in the window.
    pub threads: u64,
    /// cgroup.
    pub cgroup: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
}

/// When.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Begin, UTC (RFC 3339).
    pub start: String,
    /// Length, ns.
    pub duration_ns: u64,
}

/// Which ledger the shares are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Time of requests.
    Requests,
    /// Time of threads.
    Threads,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What was waited for; `"none"` where the target is not held up.
    #[serde(with = "none_in_words")]
    pub resource: Option<Resource>,
    /// Why.
    pub cause: Option<Cause>,
    /// Where.
    pub place: Option<String>,
    /// Ledger used.
    pub basis: Basis,
    /// Processes on the way to the culprit.
    pub via: Vec<String>,
    /// Who held it, outside the target; the largest first.
    pub culprits: Vec<Culprit>,
    /// Part of the resource's waiting time that the target owes to itself.
    pub self_share: f64,
    /// Part of all blocked time that was spent on this resource.
    pub share: f64,
    /// How far to trust this, 0..1.
    pub confidence: f64,
    /// In one sentence.
    pub sentence: String,
    /// What to do.
    pub remedies: Vec<Remedy>,
}

/// No resource is the word `none` in a report.
mod none_in_words {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::class::Resource;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Word {
        Resource(Resource),
        None(No),
    }

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum No {
        None,
    }

    pub(super) fn serialize<S: Serializer>(
        resource: &Option<Resource>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let word = resource.map_or(Word::None(No::None), Word::Resource);
        word.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Resource>, D::Error> {
        Ok(match Word::deserialize(from)? {
            Word::Resource(resource) => Some(resource),
            Word::None(No::None) => None,
        })
    }
}

/// A holder outside the target: a process with its group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// The member that held most.
    pub pid: u32,
    /// Name of the group.
    pub comm: String,
    /// Command line of `pid`.
    pub cmdline: String,
    /// Part of the resource's waiting time.
    pub share: f64,
    /// All members that held anything.
    pub pids: Vec<u32>,
}

/// One resource that was waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// What.
    pub resource: Resource,
    /// Why.
    pub cause: Option<Cause>,
    /// Where.
    pub place: Option<String>,
    /// Who held it.
    pub culprits: Vec<Culprit>,
    /// The target's own part.
    pub self_share: f64,
    /// Part of all blocked time.
    pub share: f64,
}

/// A resource that was not seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Which.
    pub resource: Resource,
    /// Why.
    pub reason: String,
}

/// A remedy, whether it helps here or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// Ready to run.
    pub command: String,
    /// Why it would help.
    pub why: String,
    /// Does it do anything on this machine?
    pub applies: bool,
    /// What it costs, or why it does nothing here.
    pub note: String,
}

/// Requests of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Ended in the window.
    pub count: u64,
    /// Still open at its end.
    pub open: u64,
    /// Age of the oldest open one.
    pub oldest_open_ns: Option<u64>,
    /// Half of them took at most this long.
    pub p50_ns: Option<u64>,
    /// 99 of 100 took at most this long.
    pub p99_ns: Option<u64>,
    /// The longest.
    pub max_ns: Option<u64>,
    /// 99 of 100 last sends were acknowledged within this time.
    pub drain_p99_ns: Option<u64>,
    /// Began before the window.
    pub clipped: u64,
    /// Where their time went.
    pub budget_ns: Budget,
    /// Part of that time in which the thread of a request worked on another one.
    #[serde(default)]
    pub behind_own_ns: Budget,
}

/// Threads of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// Sum of their lifetimes.
    pub wall_ns: u64,
    /// Where it went.
    pub budget_ns: Budget,
    /// Lifetime that no class explains.
    pub unaccounted_ns: u64,
    /// Waits that the window cuts.
    pub clipped: u64,
}

/// Waiting time of the target that is charged to one process at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// What was waited for.
    pub resource: Resource,
    /// Where.
    pub place: Option<String>,
    /// Process; `null` for what is no process (the device, the peer, an idle CPU).
    pub pid: Option<u32>,
    /// Its name, or what it is.
    pub comm: String,
    /// Waiting time of target threads, ns.
    pub ns: u64,
    /// I/Os that the process had there in the whole window.
    pub ios: Option<u64>,
    /// Bytes that the process moved there in the whole window.
    pub bytes: Option<u64>,
    /// Does more than half of `ns` rest on an estimate?
    pub estimated: bool,
}

/// A latency histogram of one process (Prometheus native histogram, schema 3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// `block_io_queue`, `block_io_device`, `tcp_send_call`, `tcp_send_ack` or `run_queue`.
    pub family: String,
    /// 3.
    pub schema: i32,
    /// Values up to `zero_threshold_ns`.
    pub zero_count: u64,
    /// Values up to this count as zero.
    pub zero_threshold_ns: u64,
    /// Prometheus index of `counts[0]`: bucket `i` is `(2^((i-1)/8) s, 2^(i/8) s]`.
    pub offset: i32,
    /// Values per bucket.
    pub counts: Vec<u64>,
    /// All values.
    pub count: u64,
    /// Their sum.
    pub sum_ns: u64,
    /// Half of the values are at most this, off by at most 4.4 %; `null` without values.
    pub p50_ns: Option<u64>,
    /// 90 of 100 values are at most this, off by at most 4.4 %; `null` without values.
    pub p90_ns: Option<u64>,
    /// 99 of 100 values are at most this, off by at most 4.4 %; `null` without values.
    pub p99_ns: Option<u64>,
    /// Largest value.
    pub max_ns: Option<u64>,
}

/// What was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Records that the kernel half emitted: those received and those dropped.
    #[serde(default)]
    pub sent: u64,
    /// Records that were read.
    #[serde(default)]
    pub received: u64,
    /// Records dropped because a ring was full, by kind.
    pub ring: BTreeMap<String, u64>,
    /// Facts lost because a map was full.
    pub maps: BTreeMap<String, u64>,
    /// Waits without a readable stack.
    pub unreadable_stacks: u64,
    /// Probes that could not be attached.
    pub missing_probes: Vec<MissingProbe>,
    /// Was the recording cut?
    pub truncated: bool,
}

/// A probe that could not be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProbe {
    /// Its name.
    pub probe: String,
    /// What the user loses.
    pub cost: String,
}

/// What the tracer itself cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfCost {
    /// Version.
    pub version: String,
    /// From its start to the last probe.
    pub attach_ns: u64,
    /// CPU time.
    pub cpu_ns: u64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Memory of its maps in the kernel.
    pub maps_bytes: u64,
    /// Time of its programs in the kernel; `null` if not measured.
    pub kernel_ns: Option<u64>,
    /// Part of all CPUs' time since its start that it and its programs took, 0..1.
    #[serde(default)]
    pub machine_share: f64,
}

/// A flame graph: width is blocked time of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flame {
    /// For the headline.
    pub title: String,
    /// [`Verdict::sentence`]
    pub sentence: String,
    /// Stacks with their time.
    pub stacks: Vec<FlameStack>,
}

/// One stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameStack {
    /// Target, wait class, place if it is known, holder, then the functions that waited, outermost first.
    pub frames: Vec<String>,
    /// The wait class.
    pub class: Class,
    /// Position of the holder in `frames`.
    pub holder: usize,
    /// Does the verdict or another hypothesis accuse the holder?
    pub accused: bool,
    /// Blocked time of the target, ns.
    pub ns: u64,
}
