//! One interval of the whole machine: plain data, exactly `tracer.top/1`. Its rules are those of a report.

use serde::{Deserialize, Serialize};

use crate::class::Resource;

/// Value of [`Top::schema`].
pub const SCHEMA: &str = "tracer.top/1";

/// All results of one interval.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// [`SCHEMA`].
    pub schema: String,
    /// The end of the interval, UTC (RFC 3339).
    pub time: String,
    /// Length of the interval, ns.
    pub interval_ns: u64,
    /// Time between the two counts of the kernel from which the rates are, ns; 0 if there is only one.
    pub counted_ns: u64,
    /// The worst wait of the machine in one sentence; that nothing is contended, if nothing is.
    pub sentence: String,
    /// Does somebody wait for what somebody else holds, so long that it is felt?
    pub contended: bool,
    /// Confidence in the sentence, 0..1; `null` if nothing is contended.
    pub confidence: Option<f64>,
    /// Who waited for whom, the worst first.
    pub waits: Vec<Wait>,
    /// Processes that used disks or waited for them, the largest first.
    pub processes: Vec<Process>,
    /// Disks that were used since boot.
    pub disks: Vec<Disk>,
    /// Memory, swap and CPUs; `null` if the kernel does not tell.
    pub machine: Option<Machine>,
    /// Interfaces.
    pub links: Vec<Link>,
    /// Connections that moved something, the largest first; `null` if the kernel does not list them.
    pub flows: Option<Vec<Flow>>,
    /// Losses, and the cost of the tracer.
    pub tracer: Cost,
}

/// A process, as the one who waits or the one who is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The process that is named.
    pub pid: u32,
    /// All processes that belong to it and had a part.
    pub pids: Vec<u32>,
    /// Its name, or that of its job.
    pub comm: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// Container: its name, or the first digits of its identity.
    pub container: Option<String>,
    /// Pod: `NAMESPACE/NAME`, or its identity.
    pub pod: Option<String>,
}

impl Party {
    /// The name by which an operator knows it: its pod, its container, its unit, or that of its program.
    #[must_use]
    pub fn known_as(&self) -> &str {
        let names = [&self.pod, &self.container, &self.unit];
        let name = names.into_iter().flatten().next();
        name.map_or(&self.comm, String::as_str)
    }
}

/// Waits of one process for what another one held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// Who waited.
    pub victim: Party,
    /// Who held it meanwhile; `null` if that is itself, nobody, or not known.
    pub culprit: Option<Party>,
    /// The resource.
    pub resource: Resource,
    /// The place, such as a disk or a link.
    pub place: Option<String>,
    /// Time of the victim's threads, ns.
    pub ns: u64,
    /// Part of the time in which they were not idle, or of the interval if that is longer, 0..1.
    pub part: f64,
    /// Is it so much that the victim is held up?
    pub felt: bool,
}

/// One process and disks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its command line; the first 200 characters of a long one.
    pub cmdline: String,
    /// systemd unit.
    pub unit: Option<String>,
    /// Bytes read from disks each second; `null` if it was not read twice yet.
    pub read_per_s: Option<f64>,
    /// Bytes written each second.
    pub written_per_s: Option<f64>,
    /// Bytes read since the trace began.
    pub read_bytes: u64,
    /// Bytes written since the trace began.
    pub written_bytes: u64,
    /// Time that its threads waited for disks for 1 ms and more, ns.
    pub disk_ns: u64,
    /// The same for memory: to read back what was swapped out, and for free pages.
    pub memory_ns: u64,
}

/// One disk, as `iostat -x` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Name.
    pub name: String,
    /// Reads each second.
    pub reads_per_s: f64,
    /// Writes each second.
    pub writes_per_s: f64,
    /// KiB read each second.
    pub read_kib_per_s: f64,
    /// KiB written each second.
    pub written_kib_per_s: f64,
    /// Reads each second that were merged into others.
    pub reads_merged_per_s: f64,
    /// Writes each second that were merged into others.
    pub writes_merged_per_s: f64,
    /// Mean time of a read, ms; `null` if there was none.
    pub read_await_ms: Option<f64>,
    /// Mean time of a write, ms; `null` if there was none.
    pub write_await_ms: Option<f64>,
    /// Mean number of requests.
    pub queue: f64,
    /// Part of the time in which there was a request, 0..1.
    pub used: f64,
}

/// Memory, swap, threads and CPUs, as `vmstat` has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Threads that ran or were runnable at the end.
    pub running: u64,
    /// Threads that waited for a disk at the end.
    pub blocked: u64,
    /// Swap in use, KiB.
    pub swapped_kib: u64,
    /// Memory that is not used, KiB.
    pub free_kib: u64,
    /// What programs could get without swapping, KiB.
    pub available_kib: u64,
    /// Memory of disks' own blocks, KiB.
    pub buffers_kib: u64,
    /// Memory of files, KiB.
    pub cached_kib: u64,
    /// KiB read back from swap each second.
    pub swapped_in_kib_per_s: f64,
    /// KiB written to swap each second.
    pub swapped_out_kib_per_s: f64,
    /// KiB read from disks each second.
    pub read_kib_per_s: f64,
    /// KiB written to disks each second.
    pub written_kib_per_s: f64,
    /// Interrupts each second.
    pub interrupts_per_s: f64,
    /// Switches from one thread to another each second.
    pub switches_per_s: f64,
    /// Forks each second.
    pub forks_per_s: f64,
    /// Part of all CPUs' time in programs, 0..1.
    pub user: f64,
    /// In the kernel.
    pub system: f64,
    /// Idle.
    pub idle: f64,
    /// Idle, while a thread waited for a disk.
    pub iowait: f64,
    /// Taken by the hypervisor.
    pub steal: f64,
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Name.
    pub name: String,
    /// Bytes sent each second.
    pub sent_per_s: f64,
    /// Bytes received each second.
    pub received_per_s: f64,
    /// Packets sent each second.
    pub sent_packets_per_s: f64,
    /// Packets received each second.
    pub received_packets_per_s: f64,
    /// Packets dropped each second, in both directions.
    pub drops_per_s: f64,
}

/// One TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The process that has it; `null` if that is not known.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Own address and port.
    pub local: String,
    /// Peer's address and port.
    pub remote: String,
    /// Bytes that the peer acknowledged, each second.
    pub sent: Rates,
    /// Bytes received, each second.
    pub received: Rates,
    /// Bytes that the peer acknowledged since the connection was first seen.
    pub sent_bytes: u64,
    /// Bytes received since then.
    pub received_bytes: u64,
}

/// A rate over the last seconds: as much of them as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// The last 2 s.
    pub over_2_s: f64,
    /// The last 10 s.
    pub over_10_s: f64,
    /// The last 40 s.
    pub over_40_s: f64,
}

/// Losses, and the cost of the tracer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Records lost in the interval: figures of waits are too low.
    pub lost: u64,
    /// Events of the interval that were left out because there were too many.
    pub left_out: u64,
    /// CPU time of the tracer each second, as a part of one CPU, 0..1.
    pub cpu: f64,
    /// Probes that could not be attached.
    pub missing: Vec<super::MissingProbe>,
}
