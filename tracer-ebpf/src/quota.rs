//! Use of the CPU by the members of control groups that share a quota with a target. User space names the groups, and reads the use.
//!
//! The quota of a group is used up before a thread waits for it. So the use is counted at each switch, whether a target waits or not.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap},
};
use tracer_common::quota::{
    Member, QUOTA_GATE_MAP, QUOTA_GROUPS as MOST, QUOTA_GROUPS_MAP, QUOTA_USE_MAP,
};

use crate::{atomic, shared::shared};

/// The groups, by number.
#[map]
static QUOTA_GROUPS: HashMap<u64, u64> = HashMap::with_max_entries(MOST, 0);

/// Number of these groups. On most machines it is 0, and nothing is looked up.
#[map]
static QUOTA_GATE: Array<u64> = Array::with_max_entries(1, 0);

/// CPU time by member, ns. User space reads it several times a second, so a member that was forgotten is one that had not run.
#[map]
static QUOTA_USE: LruHashMap<Member, u64> = LruHashMap::with_max_entries(2048, 0);

shared!(
    QUOTA_GROUPS = QUOTA_GROUPS_MAP,
    QUOTA_GATE = QUOTA_GATE_MAP,
    QUOTA_USE = QUOTA_USE_MAP
);

/// Does a target share a quota?
#[inline(always)]
pub(crate) fn is_shared() -> bool {
    // SAFETY: a map value.
    QUOTA_GATE
        .get_ptr(0)
        .is_some_and(|groups| unsafe { groups.read_volatile() } != 0)
}

/// A process of a group held a CPU for `ns`. Counted if the group is one of those named.
///
/// A global function, as `histograms::record` is: the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn used(group: u64, pid: u32, ns: u64) -> u32 {
    if QUOTA_GROUPS.get_ptr(group).is_none() {
        return 0;
    }
    let member = Member {
        group,
        pid,
        reserved: 0,
    };
    if let Some(sum) = QUOTA_USE.get_ptr_mut(member) {
        // SAFETY: a map value, 8-byte aligned.
        unsafe { atomic::add64(sum, ns) };
    } else {
        // BPF_NOEXIST: of two CPUs that come first at once, one loses a slice.
        let _ = QUOTA_USE.insert(member, ns, 1);
    }
    0
}
