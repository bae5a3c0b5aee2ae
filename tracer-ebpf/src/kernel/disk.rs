//! Structures of the block layer, and of the file systems and journals that write to it.

use core::ptr::null;

use super::{config, field, has, number, pointer, untyped};

pointer! {
    /// `struct bio`
    Bio {
        next: Bio = bio_next;
        opf: u32 = bio_opf;
        bytes: u32 = bio_bytes;
        bdev: BlockDevice = bio_bdev;
        parent: u64 = bio_private;
    }
}

impl Bio {
    /// The whole disk: `bi_bdev` may still be a partition.
    #[inline(always)]
    pub(crate) fn disk(self) -> Disk {
        if has(config!(offsets.bio_bdev)) {
            self.bdev().disk()
        } else {
            field(self.0, config!(offsets.bio_disk))
        }
    }

    /// What stands for the control group that this I/O is charged to.
    #[inline(always)]
    pub(crate) fn group(self) -> QueueGroup {
        if QueueGroup::is_kept() {
            field(self.0, config!(offsets.bio_group))
        } else {
            QueueGroup(null())
        }
    }
}

pointer! {
    /// `struct blkcg_gq`
    QueueGroup { group: IoGroup = queue_group; }
}

impl QueueGroup {
    /// Does the kernel keep the group of a bio?
    #[inline(always)]
    fn is_kept() -> bool {
        has(config!(offsets.bio_group)) && has(config!(offsets.folder_number))
    }

    /// Number of the control group; 0 if the kernel does not keep it.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        if Self::is_kept() {
            self.group().group().folder().number()
        } else {
            0
        }
    }
}

pointer! {
    /// `struct blkcg`
    IoGroup { group: Group = io_group; }
}

/// A file whose page a bio writes.
#[derive(Clone, Copy)]
pub(crate) struct Written {
    /// Address of the inode.
    pub(crate) inode: u64,
    /// Block device that the inode stands for; 0 for a file.
    pub(crate) rdev: u32,
    /// Disk of the file's file system; 0 if it has none.
    pub(crate) dev: u32,
}

impl Bio {
    /// The file of its first page, if the page is one of the cache.
    ///
    /// The page may be of any kind, and helpers read all of it: a direct write has pages of a process.
    #[inline(always)]
    pub(crate) fn written(self) -> Option<Written> {
        let offsets = [
            config!(offsets.bio_segments),
            config!(offsets.segment_page),
            config!(offsets.page_head),
            config!(offsets.page_mapping),
            config!(offsets.mapping_inode),
            config!(offsets.inode_sb),
            config!(offsets.inode_rdev),
            config!(offsets.sb_bdev),
            config!(offsets.bdev_disk),
        ];
        let [segments, page, head, mapping, inode, sb, rdev, bdev, disk] = offsets;
        for offset in offsets {
            if !has(offset) {
                return None;
            }
        }
        let mut page = follow(follow(number(self.address()), segments), page);
        let compound = follow(page, head);
        if compound & 1 != 0 {
            page = compound - 1;
        }
        let mapping = follow(page, mapping);
        // `PAGE_MAPPING_FLAGS`: not of a file.
        if mapping == 0 || mapping & 3 != 0 {
            return None;
        }
        let inode = follow(mapping, inode);
        let disk = follow(follow(follow(inode, sb), bdev), disk) as *const u8;
        let major: u32 = untyped(disk, config!(offsets.disk_major), 0);
        let minor: u32 = untyped(disk, config!(offsets.disk_minor), 0);
        Some(Written {
            inode,
            rdev: untyped(inode as *const u8, rdev, 0),
            dev: major << 20 | minor & 0xf_ffff,
        })
    }
}

pointer! {
    /// `struct cgroup`
    Group { folder: Folder = group_folder; }
}

pointer! {
    /// `struct kernfs_node`
    Folder { number: u64 = folder_number; }
}

pointer! {
    /// `struct block_device`
    BlockDevice {
        disk: Disk = bdev_disk;
        dev: u32 = bdev_dev;
    }
}

pointer! {
    /// `struct address_space`
    Mapping { inode: u64 = mapping_inode; }
}

pointer! {
    /// `struct wb_writeback_work`: an order to write back.
    WritebackWork { sb: FileSystem = work_sb; }
}

pointer! {
    /// `struct super_block`
    FileSystem { bdev: BlockDevice = sb_bdev; }
}

/// Device number of the whole disk of a `struct file`; 0 if its file system has none. A helper reads it, see [`journal_dev`].
#[inline(always)]
pub(crate) fn file_dev(file: *const u8) -> u32 {
    inode_dev(follow(file as u64, config!(offsets.file_inode)))
}

/// The same of a `struct xfs_inode`.
#[inline(always)]
pub(crate) fn xfs_dev(inode: *const u8) -> u32 {
    inode_dev(inode as u64 + u64::from(config!(offsets.xfs_inode)))
}

/// Device number of the file system of a `struct xfs_trans`, and the bytes of the log that this transaction reserved.
#[inline(always)]
pub(crate) fn xfs_transaction(transaction: *const u8) -> (u32, u32) {
    let mount = follow(transaction as u64, config!(offsets.xfs_trans_mount));
    let reserved = untyped(transaction, config!(offsets.xfs_trans_reserved), 0);
    (xfs_mount_dev(mount), reserved)
}

/// Device number of the file system to whose log a `struct xlog_in_core` is written.
#[inline(always)]
pub(crate) fn xfs_log_dev(iclog: *const u8) -> u32 {
    let log = follow(iclog as u64, config!(offsets.iclog_log));
    xfs_mount_dev(follow(log, config!(offsets.xlog_mount)))
}

#[inline(always)]
fn xfs_mount_dev(mount: u64) -> u32 {
    let sb = follow(mount, config!(offsets.xfs_mount_sb));
    let bdev = follow(sb, config!(offsets.sb_bdev)) as *const u8;
    untyped(bdev, config!(offsets.bdev_dev), 0)
}

/// The disk of a `struct file` on btrfs, if it has one device: btrfs does not tell the super block.
#[inline(always)]
pub(crate) fn btrfs_dev(file: *const u8) -> u32 {
    let inode = follow(file as u64, config!(offsets.file_inode));
    let sb = follow(inode, config!(offsets.inode_sb));
    let own = follow(sb, config!(offsets.sb_private));
    let devices = follow(own, config!(offsets.btrfs_devices));
    if follow(devices, config!(offsets.btrfs_device_count)) != 1 {
        return 0;
    }
    let device = follow(devices, config!(offsets.btrfs_device));
    whole_disk(follow(device, config!(offsets.btrfs_bdev)))
}

#[inline(always)]
fn inode_dev(inode: u64) -> u32 {
    let sb = follow(inode, config!(offsets.inode_sb));
    whole_disk(follow(sb, config!(offsets.sb_bdev)))
}

/// Device number of the disk of a `struct block_device`.
#[inline(always)]
fn whole_disk(bdev: u64) -> u32 {
    let disk = follow(bdev, config!(offsets.bdev_disk)) as *const u8;
    let major: u32 = untyped(disk, config!(offsets.disk_major), 0);
    let minor: u32 = untyped(disk, config!(offsets.disk_minor), 0);
    packed(major, minor)
}

/// A word of a structure, by a helper; 0 if the address is bad.
#[inline(always)]
fn follow(from: u64, offset: u32) -> u64 {
    untyped(from as *const u8, offset, 0)
}

/// Device number of the file system of a `struct journal_s`. A helper reads it: the pointers of a raw tracepoint have no types.
#[inline(always)]
pub(crate) fn journal_dev(journal: *const u8) -> u32 {
    let bdev: u64 = untyped(journal, config!(offsets.journal_bdev), 0);
    untyped(bdev as *const u8, config!(offsets.bdev_dev), 0)
}

/// Number of a `struct transaction_s`. A helper reads it, see [`journal_dev`].
#[inline(always)]
pub(crate) fn transaction_number(transaction: *const u8) -> u32 {
    untyped(transaction, config!(offsets.transaction_number), 0)
}

pointer! {
    /// `struct gendisk`
    Disk {
        major: u32 = disk_major;
        minor: u32 = disk_minor;
    }
}

#[inline(always)]
fn packed(major: u32, minor: u32) -> u32 {
    major << 20 | minor & 0xf_ffff
}

impl Disk {
    /// Device number as the kernel packs it.
    #[inline(always)]
    pub(crate) fn dev(self) -> u32 {
        packed(self.major(), self.minor())
    }
}

pointer! {
    /// `struct request`
    Request {
        bio: Bio = rq_bio;
        bytes: u32 = rq_bytes;
        opf: u32 = rq_opf;
        start_ns: u64 = rq_start;
        queue: Queue = rq_queue;
    }
}

impl Request {
    /// The disk: its place depends on the kernel version.
    #[inline(always)]
    pub(crate) fn disk(self) -> Disk {
        if has(config!(offsets.queue_disk)) {
            self.queue().disk()
        } else {
            field(self.0, config!(offsets.rq_disk))
        }
    }

    /// When it was allocated, ns; `unknown` if the kernel did not note that (`blk_mq_need_time_stamp`: a disk without statistics).
    #[inline(always)]
    pub(crate) fn allocated_ns(self, unknown: u64) -> u64 {
        if !has(config!(offsets.rq_start)) {
            return unknown;
        }
        match self.start_ns() {
            0 => unknown,
            ns => ns,
        }
    }
}

pointer! {
    /// `struct request_queue`
    Queue { disk: Disk = queue_disk; }
}
