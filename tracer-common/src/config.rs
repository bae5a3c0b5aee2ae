//! Facts about the running kernel that user space finds in its BTF and freezes into the programs before load.
//!
//! Rust emits no CO-RE relocations, so offsets are data. A frozen global is a constant to the verifier. It checks each access
//! against the kernel's own types. A wrong offset is refused at load; it never reads garbage.

use crate::plain;

/// Value of a field that the running kernel lacks.
pub const MISSING: u32 = u32::MAX;

/// Global of the kernel half that holds the [`Config`].
pub const CONFIG_GLOBAL: &str = "CONFIG";
/// [`Marks`] of 64 process ids at each index.
pub const TARGETS_MAP: &str = "TARGETS";
/// Entries of that map: `PID_MAX_LIMIT` is 2^22.
pub const TARGETS_ENTRIES: u32 = 1 << 16;

/// One bit for each of 64 process ids. A process with a bit in either word is a target.
///
/// Two words, because both halves write, and 5.10 has no atomic OR. Each bit is set by one of them alone.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    /// Set by the kernel half: a child of a target. Where every process is a target ([`Config::light`]), user space sets it of those that
    /// are there already.
    pub born: u64,
    /// Set by user space: a process that was there already. Where every process is a target, all is wanted of these.
    pub found: u64,
}

plain!(Marks = 16);

/// One wanted fact: the field of [`Offsets`], and its sources, best first.
#[derive(Clone, Copy, Debug)]
pub struct Fact {
    /// Name of the field in [`Offsets`].
    pub name: &'static str,
    /// `(struct, dotted member path)`; the first that exists is taken.
    pub sources: &'static [(&'static str, &'static str)],
}

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident: $(($strukt:literal, $path:literal)),+;)+) => {
        /// Byte offsets of kernel structure members, [`MISSING`] if the kernel has none.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct Offsets { $($(#[$doc])* pub $name: u32,)+ }

        impl Offsets {
            /// Number of the offsets.
            pub const COUNT: usize = Self::FACTS.len();
            /// The source of each offset, in the order of the fields.
            pub const FACTS: &'static [Fact] = &[$(Fact { name: stringify!($name), sources: &[$(($strukt, $path)),+] },)+];
            /// Nothing known.
            pub const NONE: Self = Self { $($name: MISSING,)+ };

            /// Sets the field that [`Self::FACTS`] lists at `index`.
            pub fn set(&mut self, index: usize, value: u32) {
                let fields = [$(&mut self.$name,)+];
                if let Some(field) = fields.into_iter().nth(index) {
                    *field = value;
                }
            }

            /// The value of the field with this name.
            #[must_use]
            pub fn get(&self, name: &str) -> Option<u32> {
                $(if name == stringify!($name) { return Some(self.$name); })+
                None
            }
        }
    };
}

offsets! {
    /// Thread id.
    task_tid: ("task_struct", "pid");
    /// Process id.
    task_pid: ("task_struct", "tgid");
    /// State; a `long` named `state` before 5.14.
    task_state: ("task_struct", "__state"), ("task_struct", "state");
    /// `PF_*` flags.
    task_flags: ("task_struct", "flags");
    /// CPU of its run queue.
    task_cpu: ("task_struct", "thread_info.cpu"), ("task_struct", "cpu");
    /// Start, nanoseconds since boot.
    task_start: ("task_struct", "start_boottime"), ("task_struct", "real_start_time");
    /// Name.
    task_comm: ("task_struct", "comm");
    /// Process-wide state.
    task_signal: ("task_struct", "signal");
    /// Parent process.
    task_parent: ("task_struct", "real_parent");
    /// Address space.
    task_mm: ("task_struct", "mm");
    /// When it was queued, ns on the run queue's clock.
    task_last_queued: ("task_struct", "sched_info.last_queued");
    /// When it last came on a CPU, ns on its run queue's clock.
    task_last_arrival: ("task_struct", "sched_info.last_arrival");
    /// Run-queue wait so far, ns.
    task_run_delay: ("task_struct", "sched_info.run_delay");
    /// CPU time so far, ns, without stolen time.
    task_exec: ("task_struct", "se.sum_exec_runtime");
    /// CFS run queue.
    task_cfs_rq: ("task_struct", "se.cfs_rq");
    /// CPU run queue of a CFS run queue.
    cfs_rq_rq: ("cfs_rq", "rq");
    /// Clock of a run queue.
    rq_clock: ("rq", "clock");
    /// Clock of a run queue without interrupts and stolen time.
    rq_clock_task: ("rq", "clock_task");
    /// Clock of a run queue for load tracking, scaled by the speed of the CPU.
    rq_clock_pelt: ("rq", "clock_pelt");
    /// Time by which the clock for load tracking was put forward in idle.
    rq_lost_idle: ("rq", "lost_idle_time");
    /// Time throttled by CPU quota while a thread was queued, on the run queue's clock (6.6 and later).
    cfs_rq_throttled_self: ("cfs_rq", "throttled_clock_self_time");
    /// Begin of the throttled interval that is open.
    cfs_rq_throttled_self_since: ("cfs_rq", "throttled_clock_self");
    /// Time throttled, on the clock for load tracking (5.19 and later).
    cfs_rq_throttled_pelt: ("cfs_rq", "throttled_clock_pelt_time");
    /// Begin of the throttled interval that is open.
    cfs_rq_throttled_pelt_since: ("cfs_rq", "throttled_clock_pelt");
    /// Time throttled, on the clock without interrupts (before 5.19).
    cfs_rq_throttled_task: ("cfs_rq", "throttled_clock_task_time");
    /// Begin of the throttled interval that is open.
    cfs_rq_throttled_task_since: ("cfs_rq", "throttled_clock_task");
    /// CPU control group of a thread.
    task_group: ("task_struct", "sched_task_group");
    /// The same group as all controllers know it.
    task_group_cgroup: ("task_group", "css.cgroup");
    /// Its run queues, one a CPU.
    group_cfs_rqs: ("task_group", "cfs_rq");
    /// Number of throttled groups from this level upwards.
    cfs_rq_throttle_count: ("cfs_rq", "throttle_count");
    /// Live threads of a process.
    signal_live: ("signal_struct", "live.counter");
    /// Process ids by type.
    signal_pids: ("signal_struct", "pids");
    /// Number of a process id in the initial namespace.
    pid_number: ("pid", "numbers");
    /// Begin of the argument area.
    mm_arg_start: ("mm_struct", "arg_start");
    /// End of the argument area.
    mm_arg_end: ("mm_struct", "arg_end");
    /// Next bio of a request.
    bio_next: ("bio", "bi_next");
    /// Operation and flags.
    bio_opf: ("bio", "bi_opf");
    /// Bytes of a bio that was not issued yet.
    bio_bytes: ("bio", "bi_iter.bi_size");
    /// Block device (5.11 and later).
    bio_bdev: ("bio", "bi_bdev");
    /// Disk (before 5.11).
    bio_disk: ("bio", "bi_disk");
    /// The parent of a split bio.
    bio_private: ("bio", "bi_private");
    /// Group and queue that a bio is charged to (with `CONFIG_BLK_CGROUP`).
    bio_group: ("bio", "bi_blkg");
    /// Group of such a pair.
    queue_group: ("blkcg_gq", "blkcg");
    /// The group as all controllers know it.
    io_group: ("blkcg", "css.cgroup");
    /// Its folder.
    group_folder: ("cgroup", "kn");
    /// Number of a folder: its inode in stat(2).
    folder_number: ("kernfs_node", "id");
    /// Disk of a block device.
    bdev_disk: ("block_device", "bd_disk");
    /// Major number.
    disk_major: ("gendisk", "major");
    /// First minor number.
    disk_minor: ("gendisk", "first_minor");
    /// First bio of a request.
    rq_bio: ("request", "bio");
    /// Bytes still to move.
    rq_bytes: ("request", "__data_len");
    /// Operation and flags of a request.
    rq_opf: ("request", "cmd_flags");
    /// When a request was allocated, ns.
    rq_start: ("request", "start_time_ns");
    /// Disk of a request (before 5.17).
    rq_disk: ("request", "rq_disk");
    /// Queue of a request.
    rq_queue: ("request", "q");
    /// Disk of a queue (5.15 and later).
    queue_disk: ("request_queue", "disk");
    /// File of a mapping.
    mapping_inode: ("address_space", "host");
    /// First segment of a bio.
    bio_segments: ("bio", "bi_io_vec");
    /// Page of a segment.
    segment_page: ("bio_vec", "bv_page");
    /// First page of a larger one, with the lowest bit set.
    page_head: ("page", "compound_head");
    /// File of a page.
    page_mapping: ("folio", "mapping"), ("page", "mapping");
    /// Block device that a file stands for.
    inode_rdev: ("inode", "i_rdev");
    /// Block device of a file system.
    sb_bdev: ("super_block", "s_bdev");
    /// File system of a file.
    inode_sb: ("inode", "i_sb");
    /// Device of a file system.
    sb_dev: ("super_block", "s_dev");
    /// How often a file is open for writing; negative where nobody may open it so.
    inode_writers: ("inode", "i_writecount.counter");
    /// The first of a file's names.
    inode_names: ("inode", "i_dentry.first");
    /// Place of a name in that list.
    dentry_place: ("dentry", "d_u.d_alias"), ("dentry", "d_alias");
    /// Text of a name.
    dentry_name: ("dentry", "d_name.name");
    /// When a file that is dirty became dirty, in jiffies.
    inode_dirtied_when: ("inode", "dirtied_when");
    /// Block device of a journal's file system (jbd2).
    journal_bdev: ("journal_s", "j_fs_dev");
    /// Number of a block device.
    bdev_dev: ("block_device", "bd_dev");
    /// Number of a journal transaction (jbd2).
    transaction_number: ("transaction_s", "t_tid");
    /// Inode of an open file.
    file_inode: ("file", "f_inode");
    /// Inode within XFS's own (xfs).
    xfs_inode: ("xfs_inode", "i_vnode");
    /// File system of a transaction (xfs).
    xfs_trans_mount: ("xfs_trans", "t_mountp");
    /// Bytes of the log that it reserved (xfs).
    xfs_trans_reserved: ("xfs_trans", "t_log_res");
    /// Log of a buffer that is written to it (xfs).
    iclog_log: ("xlog_in_core", "ic_log");
    /// File system of a log (xfs).
    xlog_mount: ("xlog", "l_mp");
    /// Super block of a file system (xfs).
    xfs_mount_sb: ("xfs_mount", "m_super");
    /// What a file system keeps of its own with a super block.
    sb_private: ("super_block", "s_fs_info");
    /// Devices of a file system (btrfs).
    btrfs_devices: ("btrfs_fs_info", "fs_devices");
    /// How many there are (btrfs).
    btrfs_device_count: ("btrfs_fs_devices", "num_devices");
    /// One of them (btrfs, from 5.15 on).
    btrfs_device: ("btrfs_fs_devices", "latest_dev");
    /// Its block device (btrfs).
    btrfs_bdev: ("btrfs_device", "bdev");
    /// File system that is to be written back.
    work_sb: ("wb_writeback_work", "sb");
    /// Address family.
    sock_family: ("sock", "__sk_common.skc_family");
    /// Own port, host order.
    sock_local_port: ("sock", "__sk_common.skc_num");
    /// Peer's port, network order.
    sock_remote_port: ("sock", "__sk_common.skc_dport");
    /// Own IPv4 address.
    sock_local4: ("sock", "__sk_common.skc_rcv_saddr");
    /// Peer's IPv4 address.
    sock_remote4: ("sock", "__sk_common.skc_daddr");
    /// Own IPv6 address.
    sock_local6: ("sock", "__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32");
    /// Peer's IPv6 address.
    sock_remote6: ("sock", "__sk_common.skc_v6_daddr.in6_u.u6_addr32");
    /// `IPPROTO_*`.
    sock_protocol: ("sock", "sk_protocol");
    /// `SOCK_STREAM` and the like.
    sock_type: ("sock", "sk_type");
    /// Name of a Unix socket. An accepted socket has that of its listener.
    unix_addr: ("unix_sock", "addr");
    /// Process that connected a Unix stream, at the end that accepted it.
    sock_peer: ("sock", "sk_peer_pid");
    /// BSD socket.
    sock_socket: ("sock", "sk_socket");
    /// `SOCK_*` flags.
    socket_flags: ("socket", "flags");
    /// The open file of a socket.
    socket_file: ("socket", "file");
    /// Number of the next byte that the process will write.
    tcp_write_seq: ("tcp_sock", "write_seq");
    /// Next byte to send.
    tcp_snd_nxt: ("tcp_sock", "snd_nxt");
    /// First byte not acknowledged.
    tcp_snd_una: ("tcp_sock", "snd_una");
    /// Bytes that the receiver takes beyond the first byte not acknowledged.
    tcp_snd_wnd: ("tcp_sock", "snd_wnd");
    /// Payload of a full segment.
    tcp_mss: ("tcp_sock", "mss_cache");
    /// Segments sent again.
    tcp_retransmits: ("tcp_sock", "total_retrans");
    /// When it last sent or received a packet (`tcp_mstamp_refresh()`), of `CLOCK_MONOTONIC`.
    tcp_clock: ("tcp_sock", "tcp_clock_cache");
    /// Owner of a packet.
    skb_sk: ("sk_buff", "sk");
    /// Bytes of a packet.
    skb_len: ("sk_buff", "len");
    /// Hash of a packet's connection.
    skb_hash: ("sk_buff", "hash");
    /// Earliest departure time of a packet that TCP sends.
    skb_tstamp: ("sk_buff", "tstamp");
    /// TCP's view of a received packet.
    skb_cb: ("sk_buff", "cb");
    /// First sequence number.
    cb_seq: ("tcp_skb_cb", "seq");
    /// Sequence number after the last byte.
    cb_end_seq: ("tcp_skb_cb", "end_seq");
    /// Acknowledgement number.
    cb_ack_seq: ("tcp_skb_cb", "ack_seq");
    /// Memory of a packet.
    skb_head: ("sk_buff", "head");
    /// Where its IP header begins in there.
    skb_network: ("sk_buff", "network_header");
    /// Tracked connection of a packet (with `CONFIG_NF_CONNTRACK`).
    skb_nfct: ("sk_buff", "_nfct");
    /// Ends of a tracked connection, one set for each direction.
    nf_tuples: ("nf_conn", "tuplehash");
    /// Begin of a set of ends.
    tuple_begin: ("nf_conntrack_tuple_hash", "tuple");
    /// Sender's address.
    tuple_from: ("nf_conntrack_tuple", "src.u3");
    /// Sender's port.
    tuple_from_port: ("nf_conntrack_tuple", "src.u");
    /// Receiver's address.
    tuple_to: ("nf_conntrack_tuple", "dst.u3");
    /// Receiver's port.
    tuple_to_port: ("nf_conntrack_tuple", "dst.u");
    /// `IPPROTO_*` of a set of ends.
    tuple_protocol: ("nf_conntrack_tuple", "dst.protonum");
    /// Number of an interface.
    dev_ifindex: ("net_device", "ifindex");
    /// Name of an interface.
    dev_name: ("net_device", "name");
    /// Root queueing discipline.
    dev_qdisc: ("net_device", "qdisc");
    /// Kind of a device that software made.
    dev_link_ops: ("net_device", "rtnl_link_ops");
    /// Its name.
    link_ops_kind: ("rtnl_link_ops", "kind");
    /// Number of transmit queues.
    dev_tx_queues: ("net_device", "num_tx_queues");
    /// The transmit queues.
    dev_tx: ("net_device", "_tx");
    /// Queueing discipline of a transmit queue.
    queue_qdisc: ("netdev_queue", "qdisc");
    /// Transmit queue of a packet.
    skb_queue: ("sk_buff", "queue_mapping");
    /// `TCQ_F_*` flags.
    qdisc_flags: ("Qdisc", "flags");
    /// Network namespace of an interface.
    dev_net: ("net_device", "nd_net.net");
    /// Inode number of a network namespace.
    net_inum: ("net", "ns.inum");
    /// Enqueue function; null for a device without a queue.
    qdisc_enqueue: ("Qdisc", "enqueue");
    /// Packets queued.
    qdisc_qlen: ("Qdisc", "q.qlen");
    /// Packets dropped.
    qdisc_drops: ("Qdisc", "qstats.drops");
    /// Time that the hypervisor has stolen of a CPU (with `CONFIG_PARAVIRT_TIME_ACCOUNTING`).
    rq_stolen: ("rq", "prev_steal_time_rq");
    /// Pointer to a kernel thread's `struct kthread` (the latter before 5.17).
    task_kthread: ("task_struct", "worker_private"), ("task_struct", "set_child_tid");
    /// Data of a kernel thread; of a kworker, its `struct worker`.
    kthread_data: ("kthread", "data");
    /// Function that a kworker runs.
    worker_function: ("worker", "current_func");
    /// Number of a file.
    inode_number: ("inode", "i_ino");
    /// The locks of a file.
    inode_locks: ("inode", "i_flctx");
    /// Those made by `flock`.
    locks_flock: ("file_lock_context", "flc_flock");
    /// Those made by `fcntl`.
    locks_posix: ("file_lock_context", "flc_posix");
    /// Place of a lock in such a list (moved into a structure of its own in 6.9).
    lock_list: ("file_lock", "c.flc_list"), ("file_lock", "fl_list");
    /// The lock that it waits for (4.20 and later).
    lock_blocker: ("file_lock", "c.flc_blocker"), ("file_lock", "fl_blocker");
    /// Process that made it.
    lock_pid: ("file_lock", "c.flc_pid"), ("file_lock", "fl_pid");
    /// `F_RDLCK` and the like.
    lock_type: ("file_lock", "c.flc_type"), ("file_lock", "fl_type");
    /// Process or open file to which it belongs.
    lock_owner: ("file_lock", "c.flc_owner"), ("file_lock", "fl_owner");
    /// First byte.
    lock_begin: ("file_lock", "fl_start");
    /// Last byte.
    lock_end: ("file_lock", "fl_end");
    /// Owner of a mutex, with flags in the low bits.
    mutex_owner: ("mutex", "owner");
    /// Owner of a read-write semaphore, with flags in the low bits (5.3 and later).
    rwsem_owner: ("rw_semaphore", "owner");
    /// How far a file system is frozen, 0 if it is not.
    sb_frozen: ("super_block", "s_writers.frozen");
    /// The semaphores for which its writers wait while it is frozen, one for each kind of writer.
    sb_writers: ("super_block", "s_writers.rw_sem");
    /// The member behind them.
    sb_writers_end: ("super_block", "s_fs_info");
    /// Function that a kworker ran before (5.1 and later).
    worker_last_function: ("worker", "last_func");
    /// Kernel stack of a thread.
    task_stack: ("task_struct", "stack");
}

/// Everything that user space freezes into the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Structure offsets.
    pub offsets: Offsets,
    /// Byte of `task_struct` that holds `in_iowait`.
    pub iowait_byte: u32,
    /// Its bit in that byte.
    pub iowait_mask: u32,
    /// Byte of `task_struct` that holds `in_memstall`.
    pub memstall_byte: u32,
    /// Its bit in that byte; 0: not known.
    pub memstall_mask: u32,
    /// 1: `task_struct.state` is 8 bytes wide (before 5.14).
    pub state_is_long: u32,
    /// 1: `in_iowait` is known.
    pub has_iowait: u32,
    /// Process id of the tracer, which is never a target.
    pub self_pid: u32,
    /// 1: children of a target become targets.
    pub follow_children: u32,
    /// Index of the bio in the arguments of `block_bio_queue`: it moved in 5.11, and in kernels with that change back-ported.
    pub arg_bio_queue: u32,
    /// Index of the bio in the arguments of `block_bio_complete`.
    pub arg_bio_complete: u32,
    /// Index of the bio in the arguments of `block_split`.
    pub arg_split: u32,
    /// Index of the request in the arguments of `block_rq_issue`.
    pub arg_rq_issue: u32,
    /// 1: a CPU has a sibling.
    pub has_siblings: u32,
    /// Distance from the run queue of a CPU to its count of nested interrupts, bytes, wrapping; [`MISSING`] if not known.
    pub preempt_count: u32,
    /// Mask that makes the index of a set in the map `BIOS` of the hash of a bio's address.
    pub bios_mask: u32,
    /// Size of a `struct netdev_queue`, bytes; 0 if not known.
    pub tx_queue_bytes: u32,
    /// Size of a `struct nf_conntrack_tuple_hash`, bytes; 0 if not known.
    pub tuple_bytes: u32,
    /// 1: every process is a target, of which only long waits are wanted, and no requests.
    pub light: u32,
}

impl Config {
    /// Nothing known: a program that needs a missing fact is refused by the verifier.
    pub const NONE: Self = Self {
        offsets: Offsets::NONE,
        iowait_byte: 0,
        iowait_mask: 0,
        memstall_byte: 0,
        memstall_mask: 0,
        state_is_long: 0,
        has_iowait: 0,
        self_pid: 0,
        follow_children: 0,
        arg_bio_queue: 0,
        arg_bio_complete: 0,
        arg_split: 0,
        arg_rq_issue: 0,
        has_siblings: 0,
        preempt_count: MISSING,
        bios_mask: 0,
        tx_queue_bytes: 0,
        tuple_bytes: 0,
        light: 0,
    };
}

const _: () = assert!(size_of::<Config>() == 4 * (Offsets::COUNT + 18));
// SAFETY: `repr(C)`, only `u32`s.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Config {}
