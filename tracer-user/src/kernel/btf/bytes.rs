//! The bytes of the kernel's type information, without a copy if the kernel can map them (6.16 and later).
//!
//! Reading them from `sysfs` takes 1,300 steps of a page each.

use std::{fs::File, io, io::Read as _, ops::Deref, path::Path};

use memmap2::{Mmap, MmapOptions};

/// A file's content.
pub(crate) enum Bytes {
    /// The kernel's own memory.
    Mapped(Mmap),
    /// A copy.
    Copied(Vec<u8>),
}

impl Bytes {
    /// Maps a file of the kernel's, or copies it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        // Private: `btf_sysfs_vmlinux_mmap` grants no more.
        // SAFETY: the kernel's type information is never written.
        if let Ok(mapping) = unsafe { MmapOptions::new().map_copy_read_only(&file) } {
            return Ok(Self::Mapped(mapping));
        }
        let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
        file.read_to_end(&mut bytes)?;
        Ok(Self::Copied(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Copied(bytes) => bytes,
        }
    }
}
