//! Sheds groups of probes, and watches them again. Kernel side: `tracer-ebpf/src/shed.rs`.
//!
//! The programs stay attached: to detach one and to attach it again patches the kernel's code, and every CPU waits for that.

use aya::{Ebpf, maps::Array};
use tracer_common::shed::{Group, SHED, WATCHED_MAP};

use crate::machine::clocks::now_ns;

/// Sheds a group, or watches it from now on. Returns since when, ns: nothing is shed before that, and all is watched from then on.
/// `None` if the map cannot be written.
pub(super) fn set(ebpf: &mut Ebpf, group: Group, is_shed: bool) -> Option<u64> {
    let map = ebpf.map_mut(WATCHED_MAP)?;
    let mut watched = Array::<_, u64>::try_from(map).ok()?;
    let before_ns = now_ns();
    let value = if is_shed { SHED } else { before_ns };
    watched.set(group as u32, value, 0).ok()?;
    Some(if is_shed { before_ns } else { now_ns() })
}

/// Since when the kernel half watches a group, ns. `None` if it is shed, or the map cannot be read.
pub(super) fn watched_ns(ebpf: &Ebpf, group: Group) -> Option<u64> {
    let map = ebpf.map(WATCHED_MAP)?;
    let watched = Array::<_, u64>::try_from(map).ok()?;
    let since_ns = watched.get(&(group as u32), 0).ok()?;
    (since_ns != SHED).then_some(since_ns)
}
