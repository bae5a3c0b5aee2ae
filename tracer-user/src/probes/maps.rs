//! The families' view of the kernel half's maps. They do not know how the maps are reached, so tests need no kernel.

use anyhow::Result;
use aya::Pod;
use tracer_common::block::RequestState;

/// Reads maps by their names.
pub(crate) trait Maps {
    /// Calls `see` with each entry of a hash map.
    ///
    /// # Errors
    /// If there is no such map with keys and values of these sizes.
    fn each<K: Pod, V: Pod>(&self, map: &str, see: impl FnMut(K, V)) -> Result<()>;

    /// The number of entries of a hash map.
    ///
    /// # Errors
    /// If there is no such map with keys and values of these sizes.
    fn count<K: Pod, V: Pod>(&self, map: &str) -> Result<u64>;

    /// The values of an array, by index.
    ///
    /// # Errors
    /// If there is no such map with values of this size.
    fn array<V: Pod>(&self, map: &str) -> Result<Vec<V>>;

    /// Requests on a device with a known first bio. The table of bios is large and mapped, hence not read value by value.
    fn issued(&self) -> Vec<RequestState>;
}
