//! Files, by their inodes.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use tracer_common::block::FILE_NAME;

use super::{config, has, untyped};

/// Address of a `struct inode`. A helper reads it: the verifier knows no type of an address that was kept.
#[derive(Clone, Copy)]
pub(crate) struct Inode(pub(crate) u64);

impl Inode {
    /// A field; `bad` if the kernel has none, too.
    #[inline(always)]
    fn read<T: Copy>(self, offset: u32, bad: T) -> T {
        if has(offset) {
            untyped(self.0 as *const u8, offset, bad)
        } else {
            bad
        }
    }

    /// Its number; 0 if it is not known.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        self.read(config!(offsets.inode_number), 0)
    }

    /// Device number of its file system; 0 if it is not known.
    #[inline(always)]
    pub(crate) fn fs_dev(self) -> u32 {
        let sb: u64 = self.read(config!(offsets.inode_sb), 0);
        if sb != 0 && has(config!(offsets.sb_dev)) {
            untyped(sb as *const u8, config!(offsets.sb_dev), 0)
        } else {
            0
        }
    }

    /// Does it stand for a block device?
    #[inline(always)]
    pub(crate) fn is_disk(self) -> bool {
        self.read(config!(offsets.inode_rdev), 0_u32) != 0
    }

    /// Has somebody the file open for writing?
    #[inline(always)]
    pub(crate) fn is_written(self) -> bool {
        self.read(config!(offsets.inode_writers), 0_i32) > 0
    }

    /// Writes the first name of the file; nothing if it has none. The name may change meanwhile: the helper checks each address.
    #[inline(always)]
    pub(crate) fn name(self, into: *mut [u8; FILE_NAME]) {
        let place = config!(offsets.dentry_place);
        if !has(place) || !has(config!(offsets.dentry_name)) {
            return;
        }
        let first: u64 = self.read(config!(offsets.inode_names), 0);
        if first == 0 {
            return;
        }
        let dentry = first.wrapping_sub(u64::from(place)) as *const u8;
        let text: u64 = untyped(dentry, config!(offsets.dentry_name), 0);
        // SAFETY: the helper checks the address, and writes at most as many bytes as there is room for.
        unsafe { bpf_probe_read_kernel_str(into.cast(), FILE_NAME as u32, text as *const _) };
    }
}
