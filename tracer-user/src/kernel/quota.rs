//! The maps of CPU quotas that a target shares. Kernel side: `tracer-ebpf/src/quota.rs`.

use aya::{
    Ebpf,
    maps::{Array, HashMap},
};
use tracer_common::quota::{Member, QUOTA_GATE_MAP, QUOTA_GROUPS, QUOTA_GROUPS_MAP, QUOTA_USE_MAP};

/// Counts the use of these groups from now on, and of no others. Best effort: a group that is not counted has no use.
pub(super) fn share(ebpf: &mut Ebpf, groups: &[u64]) {
    let most = groups.len().min(QUOTA_GROUPS as usize);
    let groups = &groups[..most];
    let map = ebpf.map_mut(QUOTA_GROUPS_MAP).map(HashMap::try_from);
    if let Some(Ok(mut known)) = map {
        let known: &mut HashMap<_, u64, u64> = &mut known;
        let gone: Vec<u64> = known
            .keys()
            .flatten()
            .filter(|group| !groups.contains(group))
            .collect();
        for group in gone {
            let _ = known.remove(&group);
        }
        for group in groups {
            let _ = known.insert(group, 1, 0);
        }
    }
    let map = ebpf.map_mut(QUOTA_GATE_MAP).map(Array::try_from);
    if let Some(Ok(mut gate)) = map {
        let gate: &mut Array<_, u64> = &mut gate;
        let _ = gate.set(0, most as u64, 0);
    }
}

/// CPU time of each member since it was first counted, ns; none if the map cannot be read.
pub(super) fn used(ebpf: &Ebpf) -> Vec<(Member, u64)> {
    let map = ebpf
        .map(QUOTA_USE_MAP)
        .map(HashMap::<_, Member, u64>::try_from);
    let Some(Ok(map)) = map else {
        return Vec::new();
    };
    map.iter().flatten().collect()
}
