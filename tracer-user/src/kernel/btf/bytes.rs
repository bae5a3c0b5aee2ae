//! The bytes of the kernel's type information, without a copy where the kernel lets them be mapped (6.16 and later).
//!
//! Read from `sysfs` they come a page at a time, 1,300 of them.

use std::{fs::File, io, io::Read as _, ops::Deref, os::fd::AsRawFd as _, path::Path, ptr, slice};

/// A file's content.
pub enum Bytes {
    /// The kernel's own memory.
    Mapped(Mapping),
    /// A copy.
    Copied(Vec<u8>),
}

impl Bytes {
    /// A file of the kernel's.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len() as usize;
        if let Some(mapping) = Mapping::of(&file, length) {
            return Ok(Self::Mapped(mapping));
        }
        let mut bytes = Vec::with_capacity(length);
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

/// Memory of the kernel's that does not change. Borrowed from only as long as this lives.
pub struct Mapping(&'static [u8]);

impl Mapping {
    /// `None` where the kernel only lets the file be read.
    fn of(file: &File, length: usize) -> Option<Self> {
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let begin = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ,
                libc::MAP_PRIVATE,
                file.as_raw_fd(),
                0,
            )
        };
        if begin == libc::MAP_FAILED {
            return None;
        }
        // SAFETY: mapped until this is dropped; the kernel's type information is never written (`btf_sysfs_vmlinux_mmap`).
        Some(Self(unsafe { slice::from_raw_parts(begin.cast(), length) }))
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: ours, and nobody borrows from it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast_mut().cast(), self.0.len()) };
    }
}
