//! The report: plain data, exactly `tracer.report/1`. Renderers see nothing else, and compute nothing.
//!
//! Integer nanoseconds; shares are 0..1; an unknown value is `null`, never 0.

pub mod diff;
mod flame;
pub(crate) mod reading;
pub mod top;

pub use self::flame::{Flame, FlameStack};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::class::{Cause, Class, Resource};

/// Value of [`Report::schema`].
pub const SCHEMA: &str = "tracer.report/1";

/// Nanoseconds per class.
pub type Budget = BTreeMap<Class, u64>;

/// All results of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The machine.
    pub host: Host,
    /// The processes traced.
    pub target: Target,
    /// Begin and length of the window.
    pub window: Window,
    /// The answer.
    pub verdict: Verdict,
    /// All hypotheses considered, the largest share first; the verdict's own comes first.
    pub hypotheses: Vec<Hypothesis>,
    /// Resources that were watched and hardly waited for.
    pub healthy: Vec<Resource>,
    /// Resources that the tracer could not see, with the reason.
    pub unknown: Vec<Unknown>,
    /// Other facts that support or qualify the verdict.
    pub evidence: Vec<String>,
    /// Where each line of the evidence comes from, in the same order: a file of the kernel's. `null`: the trace itself shows it.
    #[serde(default)]
    pub evidence_sources: Vec<Option<String>>,
    /// Requests; `null` if none can be seen.
    pub requests: Option<Requests>,
    /// Threads.
    pub threads: Threads,
    /// The holders of each resource while the target waited.
    pub blame: Vec<Blame>,
    /// Waiting time per resource that is charged to nobody, ns.
    pub unattributed_ns: BTreeMap<Resource, u64>,
    /// Latency histograms of all processes, the target's first.
    pub histograms: Vec<Histogram>,
    /// Losses of the trace.
    pub losses: Losses,
    /// Cost of the tracer itself.
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

/// The processes traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The first process that the user named.
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
    /// Container of `pid`: its name, or the first digits of its identity.
    #[serde(default)]
    pub container: Option<String>,
    /// Pod of `pid`: `NAMESPACE/NAME`, or its identity if its name is not known.
    #[serde(default)]
    pub pod: Option<String>,
    /// Workload of that, as far as the name of the pod shows: `NAMESPACE/NAME`.
    #[serde(default)]
    pub workload: Option<String>,
    /// Command of the cron job of `pid`.
    #[serde(default)]
    pub cron_job: Option<String>,
    /// Login session of `pid`, as `loginctl` lists it.
    #[serde(default)]
    pub session: Option<String>,
}

/// Begin and length of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Begin, UTC (RFC 3339).
    pub start: String,
    /// Length, ns.
    pub duration_ns: u64,
}

/// The ledger of the shares.
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
    /// The resource that the target waits for; `"none"` if nothing holds it up.
    #[serde(with = "none_in_words")]
    pub resource: Option<Resource>,
    /// Cause of the waits.
    pub cause: Option<Cause>,
    /// The place, such as a disk or a link.
    pub place: Option<String>,
    /// Ledger used.
    pub basis: Basis,
    /// Processes on the way to the culprit.
    pub via: Vec<String>,
    /// Holders of the resource outside the target; the largest first.
    pub culprits: Vec<Culprit>,
    /// Part of the resource's waiting time that the target owes to itself, 0..1.
    pub self_share: f64,
    /// The parts of the target that have it, as far as they are known, the largest first.
    #[serde(default)]
    pub self_parts: Vec<SelfPart>,
    /// Part of all blocked time that was spent on this resource, 0..1.
    pub share: f64,
    /// Confidence in the verdict, 0..1.
    pub confidence: f64,
    /// The verdict in one sentence.
    pub sentence: String,
    /// Remedies, with those that do nothing here.
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
    /// systemd unit of `pid`.
    #[serde(default)]
    pub unit: Option<String>,
    /// Container of `pid`: its name, or the first digits of its identity.
    #[serde(default)]
    pub container: Option<String>,
    /// Pod of `pid`: `NAMESPACE/NAME`, or its identity if its name is not known.
    #[serde(default)]
    pub pod: Option<String>,
    /// Workload of that, as far as the name of the pod shows: `NAMESPACE/NAME`.
    #[serde(default)]
    pub workload: Option<String>,
    /// Command of the cron job of `pid`.
    #[serde(default)]
    pub cron_job: Option<String>,
    /// Login session of `pid`, as `loginctl` lists it.
    #[serde(default)]
    pub session: Option<String>,
    /// Part of the resource's waiting time, 0..1.
    pub share: f64,
    /// All members that held anything.
    pub pids: Vec<u32>,
}

/// A part of the target, or of a process that it asked, that held a resource while the target waited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfPart {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its command line, or the title that it has written over it.
    pub cmdline: String,
    /// Name of the thread; `null` if it is not known, or is the process's.
    pub thread: Option<String>,
    /// The client for which it worked: an address, or a process of this machine; `null` if that is not known.
    pub client: Option<String>,
    /// Part of the resource's waiting time, 0..1; all parts sum to `self_share` at most.
    pub share: f64,
}

/// One resource that the target waited for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// The resource.
    pub resource: Resource,
    /// Cause of the waits.
    pub cause: Option<Cause>,
    /// The place, such as a disk or a link.
    pub place: Option<String>,
    /// Holders of the resource outside the target; the largest first.
    pub culprits: Vec<Culprit>,
    /// The target's own part, 0..1.
    pub self_share: f64,
    /// The parts of the target that have it, as far as they are known, the largest first.
    #[serde(default)]
    pub self_parts: Vec<SelfPart>,
    /// Part of all blocked time, 0..1.
    pub share: f64,
}

/// A resource that the tracer could not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// The resource.
    pub resource: Resource,
    /// Why the tracer could not see it.
    pub reason: String,
}

/// A remedy, whether it helps here or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remedy {
    /// The command, ready to run.
    pub command: String,
    /// Why it would help.
    pub why: String,
    /// Does it do anything on this machine?
    pub applies: bool,
    /// Its price, or the reason why it does nothing here.
    pub note: String,
}

/// Requests of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Ended in the window.
    pub count: u64,
    /// Still open at its end.
    pub open: u64,
    /// Age of the oldest open one, ns.
    pub oldest_open_ns: Option<u64>,
    /// Half of them took at most this long, until the last packet of the answer left this machine, ns.
    pub p50_ns: Option<u64>,
    /// 99 of 100 took at most this long, ns.
    pub p99_ns: Option<u64>,
    /// Duration of the longest, ns.
    pub max_ns: Option<u64>,
    /// Sum of the durations, ns. Like the quantiles it is of the `count - clipped` of which the begin is known.
    #[serde(default)]
    pub sum_ns: u64,
    /// Part of `sum_ns` that was before the window, ns: of requests that nobody heard at attach, and that were answered.
    #[serde(default)]
    pub before_ns: u64,
    /// The same durations as a histogram, whose family is `request`; `null` if none ended.
    #[serde(default)]
    pub histogram: Option<Histogram>,
    /// Half of the answers were sent within this time, ns. What comes later is the way through the machine's own links.
    #[serde(default)]
    pub sent_p50_ns: Option<u64>,
    /// 99 of 100 were, ns.
    #[serde(default)]
    pub sent_p99_ns: Option<u64>,
    /// The peer acknowledged 99 of 100 last sends within this time, ns.
    pub drain_p99_ns: Option<u64>,
    /// Began before the window, it is not known when.
    pub clipped: u64,
    /// Time of these in the window, ns.
    #[serde(default)]
    pub clipped_ns: u64,
    /// Time of the open ones in the window, ns.
    #[serde(default)]
    pub open_ns: u64,
    /// Time in `budget_ns` of what is no request after all, ns: the server sent unasked, or closed without an answer.
    #[serde(default)]
    pub uncounted_ns: u64,
    /// Time of requests that no class explains, ns.
    #[serde(default)]
    pub unaccounted_ns: u64,
    /// Their time by class, ns. In `idle` an answer was under way, and nothing of this machine held it up. With `unaccounted_ns` it sums
    /// to `sum_ns - before_ns + clipped_ns + open_ns + uncounted_ns`.
    pub budget_ns: Budget,
    /// The part of `budget_ns` in which the thread of a request worked on another one.
    #[serde(default)]
    pub behind_own_ns: Budget,
}

/// Threads of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threads {
    /// Sum of their lifetimes, ns.
    pub wall_ns: u64,
    /// Lifetimes by class, ns.
    pub budget_ns: Budget,
    /// Lifetime that no class explains, ns.
    pub unaccounted_ns: u64,
    /// Waits that the window cuts.
    pub clipped: u64,
}

/// Waiting time of the target that is charged to one process at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blame {
    /// The resource that the target waited for.
    pub resource: Resource,
    /// The place, such as a disk or a link.
    pub place: Option<String>,
    /// Process; `null` for a holder that is no process (the device, the peer, an idle CPU).
    pub pid: Option<u32>,
    /// Name of the process, or a word for the holder.
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
    /// Always 3.
    pub schema: i32,
    /// Values up to `zero_threshold_ns`.
    pub zero_count: u64,
    /// Values up to this, ns, count as zero.
    pub zero_threshold_ns: u64,
    /// Prometheus index of `counts[0]`: bucket `i` is `(2^((i-1)/8) s, 2^(i/8) s]`.
    pub offset: i32,
    /// Values per bucket.
    pub counts: Vec<u64>,
    /// Number of all values.
    pub count: u64,
    /// Sum of all values, ns.
    pub sum_ns: u64,
    /// Half of the values are at most this, ns, off by at most 4.4 %; `null` without values.
    pub p50_ns: Option<u64>,
    /// 90 of 100 values are at most this, ns, off by at most 4.4 %; `null` without values.
    pub p90_ns: Option<u64>,
    /// 99 of 100 values are at most this, ns, off by at most 4.4 %; `null` without values.
    pub p99_ns: Option<u64>,
    /// Largest value, ns.
    pub max_ns: Option<u64>,
}

/// Losses of the trace.
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
    /// Was the recording cut off?
    pub truncated: bool,
    /// Events that no kernel sends, by the reason for which they were refused: the recording is damaged or made up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, u64>,
    /// Probes that were shed for a part of the window, because their facts could not change the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shed: Vec<Shed>,
}

/// Probes that were shed for a part of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shed {
    /// What they see.
    pub probes: String,
    /// From the begin of the window until they were first shed, ns.
    pub after_ns: u64,
    /// How long they were shed in all, ns.
    pub for_ns: u64,
    /// Why that changes no answer, and what it costs.
    pub why: String,
    /// Time of waits that is charged to nobody because they were shed, ns.
    #[serde(default)]
    pub unattributed_ns: u64,
}

/// A probe that could not be attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingProbe {
    /// Its name.
    pub probe: String,
    /// The loss to the user.
    pub cost: String,
}

/// Cost of the tracer itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfCost {
    /// Version.
    pub version: String,
    /// From its start to the last probe, ns.
    pub attach_ns: u64,
    /// CPU time, ns.
    pub cpu_ns: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Memory of its maps in the kernel, bytes.
    pub maps_bytes: u64,
    /// Time of its programs in the kernel, ns; `null` if not measured.
    pub kernel_ns: Option<u64>,
    /// Part of all CPUs' time since its start that it and its programs took, 0..1.
    #[serde(default)]
    pub machine_share: f64,
    /// Time that the target's threads waited behind the tracer, ns; absent in a report of a recording that does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_for_ns: Option<u64>,
}
