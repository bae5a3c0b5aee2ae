//! Packets that a CPU moved in its softirqs.

use serde::{Deserialize, Serialize};

/// See [`tracer_common::packets::Packets`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented with the record of the same name")]
pub struct Packets {
    pub ns: u64,
    pub cpu: u32,
    pub pid: u32,
    pub sent: u32,
    pub received: u32,
    pub polled: u32,
}
