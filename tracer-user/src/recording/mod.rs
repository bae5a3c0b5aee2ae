//! Recordings: a file of events. From it any machine can reach the verdict again.
//!
//! Layout, little-endian: `TRACEREC`, version (u16), number of the file (u16), then chunks. A chunk has a kind (u8), the payload's length
//! in bytes (u32), its CRC-32 (u32) and the payload. Each chunk is checked before it is decoded, and can be read without the others. So a
//! file that was cut off keeps all chunks before the cut. The payload, by kind:
//!
//! | kind | since version | payload |
//! |---|---|---|
//! | 1 events | 1 | a `postcard` list |
//! | 2 end | 1 | empty |
//! | 3 events, compressed | 2 | length of the list in bytes (u32), then a `postcard` list as a frame of zstd |
//! | 4 continues | 2 | length in bytes (u64) of the file before, `FILE.old`; first in a file with a number |
//! | 5 facts that stand | 2 | one byte: is it compressed? then as kind 3 or 1; only to be read if the file before is not there |
//!
//! The first file has the number 0. When it has half of the greatest size, it becomes `FILE.old`, ends, and the next one begins.

mod files;
mod packed;
mod reader;
mod standing;
mod writer;

#[cfg(test)]
mod tests;

pub use self::{
    reader::Reader,
    standing::Standing,
    writer::{Writer, Written},
};

/// Version of the format; to be raised with any change of an event, because `postcard` names no fields. Version 2 only adds chunks.
pub const VERSION: u16 = 2;

/// The oldest version that can be read.
const OLDEST: u16 = 1;

/// The first bytes of a recording.
const MAGIC: &[u8; 8] = b"TRACEREC";

/// Magic, version, number: bytes.
const HEADER: usize = 12;

/// Kind, length, checksum: bytes.
const CHUNK_HEADER: usize = 9;

/// Kind of a chunk of events.
const EVENTS: u8 = 1;

/// Kind of the last chunk: the file is whole.
const END: u8 = 2;

/// Kind of a chunk of events that is compressed.
const PACKED: u8 = 3;

/// Kind of the first chunk of a file that continues another.
const CONTINUES: u8 = 4;

/// Kind of a chunk of facts that stand: from the files before.
const STANDING: u8 = 5;

/// The longest payload, bytes, compressed or not: more than is ever written (the longest command line takes 6 MiB), and few enough to
/// decode for a file that was made to harm. A list of empty names is 24 times as long in memory.
const LONGEST_PAYLOAD: usize = 8 << 20;
