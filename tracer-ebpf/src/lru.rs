//! Maps that evict the least recently used entry. Additions are counted, so that user space can compute how many entries were lost.

use aya_ebpf::maps::LruHashMap;
use tracer_common::record::MapLoss;

use crate::emit;

/// The entry of `key`; a new one is copied from `empty`. `None`, and counted, if there is no room.
#[inline(always)]
pub(crate) fn entry<K, V>(
    map: &LruHashMap<K, V>,
    key: K,
    empty: &V,
    loss: MapLoss,
) -> Option<*mut V> {
    if let Some(entry) = map.get_ptr_mut(&key) {
        return Some(entry);
    }
    // BPF_NOEXIST: another CPU may have been faster.
    if map.insert(&key, empty, 1).is_ok() {
        emit::map_added(loss);
    } else if map.get_ptr_mut(&key).is_none() {
        emit::map_full(loss);
    }
    map.get_ptr_mut(&key)
}
