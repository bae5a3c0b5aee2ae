//! Lists of events, compressed one by one: each can be read without the others, so a file that was cut off keeps all before the cut.
//!
//! With zstd at its fastest level, because a tracer may take little of a CPU: the records are numbers of variable length, and take some
//! third of the space. Its C code is linked into the one static file like all else. What cannot be made shorter stays as it is.

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _};
use zstd::bulk::{Compressor, decompress};

use super::LONGEST_PAYLOAD;

const LEVEL: i32 = 1;
/// A shorter list is not worth it, bytes.
const LEAST: usize = 1024;
/// The length of the list, in front: bytes.
const LENGTH: usize = 4;

/// Compresses lists; keeps its memory from one to the next.
pub(super) struct Packer(Option<Compressor<'static>>);

impl Packer {
    pub(super) fn new() -> Self {
        Self(Compressor::new(LEVEL).ok())
    }

    /// The list, compressed; `None` if that makes it no shorter.
    pub(super) fn pack(&mut self, list: &[u8]) -> Option<Vec<u8>> {
        if list.len() < LEAST {
            return None;
        }
        let frame = self.0.as_mut()?.compress(list).ok()?;
        let mut packed = Vec::with_capacity(LENGTH + frame.len());
        // Lists are shorter than LONGEST_PAYLOAD, which fits.
        packed.put_u32_le(list.len() as u32);
        packed.put_slice(&frame);
        (packed.len() < list.len()).then_some(packed)
    }
}

/// The list in a payload, which may come from anywhere: it becomes no longer than it says, and than any list is.
///
/// # Errors
/// If it is damaged.
pub(super) fn unpack(mut payload: &[u8]) -> Result<Vec<u8>> {
    ensure!(payload.len() > LENGTH, "a compressed chunk is too short");
    let length = payload.get_u32_le() as usize;
    ensure!(
        length <= LONGEST_PAYLOAD,
        "a compressed chunk claims to have {length} bytes"
    );
    let list = decompress(payload, length).context("a chunk cannot be decompressed")?;
    ensure!(
        list.len() == length,
        "a compressed chunk has {} bytes instead of {length}",
        list.len()
    );
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_a_lie_about_its_length_does_not() {
        let list: Vec<u8> = (0..100_000_u32).map(|n| (n / 7) as u8).collect();
        let packed = Packer::new().pack(&list).unwrap();
        assert!(packed.len() < list.len() / 2);
        assert_eq!(unpack(&packed).unwrap(), list);
        for length in [0, 99_999, 100_001, u32::MAX] {
            let mut lies = packed.clone();
            lies[..LENGTH].copy_from_slice(&length.to_le_bytes());
            assert!(unpack(&lies).is_err(), "{length}");
        }
        for length in 0..packed.len() {
            assert!(unpack(&packed[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn what_gets_no_shorter_stays() {
        let mut packer = Packer::new();
        assert_eq!(packer.pack(&[7; LEAST - 1]), None);
        let mut random = 4711_u64;
        let noise: Vec<u8> = (0..LEAST)
            .map(|_| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (random >> 56) as u8
            })
            .collect();
        assert_eq!(packer.pack(&noise), None);
    }
}
