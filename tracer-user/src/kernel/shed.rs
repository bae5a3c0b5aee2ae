//! Sheds groups of probes, and watches them again. Kernel side: `tracer-ebpf/src/shed.rs`.
//!
//! The programs stay attached: to detach one and to attach it again patches the kernel's code, and every CPU waits for that.

use aya::{Ebpf, maps::Array};
use tracer_common::shed::{Group, SHED, WATCHED_MAP};

use crate::machine::clocks::now_ns;

/// Sheds a group, or watches it from now on. Returns whether that worked.
pub(super) fn set(ebpf: &mut Ebpf, group: Group, is_shed: bool) -> bool {
    let Some(map) = ebpf.map_mut(WATCHED_MAP) else {
        return false;
    };
    let Ok(mut watched) = Array::<_, u64>::try_from(map) else {
        return false;
    };
    let since_ns = if is_shed { SHED } else { now_ns() };
    watched.set(group as u32, since_ns, 0).is_ok()
}
