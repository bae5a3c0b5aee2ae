//! What the kernel has counted by one moment, as plain values, and the parsers of the texts in which it says so. All counts are since
//! boot, or since the process or the socket began: what happened in an interval is the difference of two.

mod cpu;
mod disk;
mod link;
mod memory;
mod process;

use serde::{Deserialize, Serialize};

pub use self::{
    cpu::CpuCounts,
    disk::DiskCounts,
    link::LinkCounts,
    memory::MemoryCounts,
    process::{ProcessCounts, SocketCounts},
};

/// Everything that was counted by one moment. What cannot be read is absent, and is not 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// When it was read, ns.
    pub ns: u64,
    /// CPUs and threads.
    pub cpu: Option<CpuCounts>,
    /// Memory.
    pub memory: Option<MemoryCounts>,
    /// Whole disks, in the order of the kernel.
    pub disks: Vec<DiskCounts>,
    /// Interfaces of the tracer's network namespace.
    pub links: Vec<LinkCounts>,
    /// Processes that were looked at: not all, if there are many.
    pub processes: Vec<ProcessCounts>,
    /// TCP connections of that network namespace; `None` if the kernel does not list them.
    pub sockets: Option<Vec<SocketCounts>>,
}

/// The number that stands at a place of a line of white space between words.
fn number(words: &[&str], at: usize) -> Option<u64> {
    words.get(at)?.parse().ok()
}

/// The number behind a name in lines of `name number`, as in `/proc/vmstat`; `None` if it is not there. The name may end with a colon.
pub(crate) fn named(text: &str, name: &str) -> Option<u64> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once([' ', ':', '\t'])?;
        (key == name).then_some(value)
    });
    let value = values.next()?.trim_start_matches([':', ' ', '\t']);
    value.split_ascii_whitespace().next()?.parse().ok()
}
