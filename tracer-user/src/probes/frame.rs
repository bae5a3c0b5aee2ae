//! The bytes of records: lengths are checked here, once.

/// Why a record could not be decoded: a fault of the tracer, never of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its kind is.
    Short {
        /// Length found.
        length: usize,
    },
    /// No such kind.
    Kind(u32),
}

/// Reads a plain record from the front of `bytes`.
pub(crate) fn read<T: aya::Pod>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() < size_of::<T>() {
        return Err(Malformed::Short {
            length: bytes.len(),
        });
    }
    // SAFETY: long enough, and any bit pattern is a valid `Pod`.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A NUL-terminated name.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
