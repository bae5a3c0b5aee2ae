//! Locks on files.

use super::{config, untyped};

/// Address of a `struct file_lock`. A helper reads it: the verifier knows no type of what a list leads to.
#[derive(Clone, Copy)]
pub(crate) struct FileLock(pub(crate) u64);

/// `F_WRLCK` and `F_UNLCK` of `include/uapi/asm-generic/fcntl.h`.
const WRITE: u8 = 1;
const RELEASE: u8 = 2;

impl FileLock {
    #[inline(always)]
    fn read<T: Copy>(self, offset: u32, bad: T) -> T {
        untyped(self.0 as *const u8, offset, bad)
    }

    /// The lock that this one waits for; null if it waits for none.
    #[inline(always)]
    pub(crate) fn blocker(self) -> Self {
        Self(self.read(config!(offsets.lock_blocker), 0))
    }

    /// The process that made it; 0 if it belongs to an open file.
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        let pid: i32 = self.read(config!(offsets.lock_pid), 0);
        if pid > 0 { pid as u32 } else { 0 }
    }

    #[inline(always)]
    fn kind(self) -> u8 {
        self.read(config!(offsets.lock_type), RELEASE)
    }

    /// Does it give up a lock?
    #[inline(always)]
    pub(crate) fn is_release(self) -> bool {
        self.kind() == RELEASE
    }

    /// Process or open file: locks of one owner never wait for each other.
    #[inline(always)]
    fn owner(self) -> u64 {
        self.read(config!(offsets.lock_owner), 0)
    }

    /// First and last byte.
    #[inline(always)]
    fn range(self) -> (i64, i64) {
        (
            self.read(config!(offsets.lock_begin), 0),
            self.read(config!(offsets.lock_end), 0),
        )
    }

    /// Does it keep another from being granted?
    #[inline(always)]
    pub(crate) fn is_in_the_way_of(self, other: Self) -> bool {
        let ((begin, end), (other_begin, other_end)) = (self.range(), other.range());
        self.owner() != other.owner()
            && (self.kind() == WRITE || other.kind() == WRITE)
            && begin <= other_end
            && other_begin <= end
    }
}
