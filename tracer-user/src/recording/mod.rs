//! Recordings: a file of events. From it any machine can reach the verdict again.
//!
//! Layout, little-endian: `TRACEREC`, version (u16), reserved (u16, zero), then chunks. A chunk has a kind (u8: 1 events, 2 end),
//! the payload's length in bytes (u32), its CRC-32 (u32) and the payload. The payload of events is a `postcard` list, that of the
//! end is empty. Each chunk is checked before it is decoded. So a file that was cut off keeps all chunks before the cut.

mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use self::{
    reader::Reader,
    writer::{Writer, Written},
};

/// Version of the format; to be raised with any change of an event, because `postcard` names no fields.
pub const VERSION: u16 = 1;

/// The first bytes of a recording.
const MAGIC: &[u8; 8] = b"TRACEREC";

/// Magic, version, reserved: bytes.
const HEADER: usize = 12;

/// Kind, length, checksum: bytes.
const CHUNK_HEADER: usize = 9;

/// Kind of a chunk of events.
const EVENTS: u8 = 1;

/// Kind of the last chunk: the recording is whole.
const END: u8 = 2;

/// The longest payload, bytes: more than is ever written (the longest command line takes 6 MiB), and few enough to decode for a
/// file that was made to harm. A list of empty names is 24 times as long in memory.
const LONGEST_PAYLOAD: usize = 8 << 20;
