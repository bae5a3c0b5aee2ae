//! The only reader of kernel structures: plain loads at offsets that user space froze into [`CONFIG`].
//!
//! In a `tp_btf` program such a load is type-checked by the verifier and, at run time, yields 0 for a bad pointer.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext, Global,
    bindings::{tcp_sock, unix_sock},
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns,
        generated::{bpf_skc_to_tcp_sock, bpf_skc_to_unix_sock},
    },
    programs::BtfTracePointContext,
};
use tracer_common::config::{Config, MISSING};

/// What user space found out about this kernel.
#[unsafe(no_mangle)]
static CONFIG: Global<Config> = Global::new(Config::NONE);

/// Reads one field of [`CONFIG`]. The whole is too large for the stack, so `Global::load` cannot be used.
macro_rules! config {
    ($($field:ident).+) => {
        // SAFETY: `Global` is `repr(transparent)` over a `Config` that is initialised before the program is loaded.
        unsafe { (&raw const (*$crate::kernel::config_ptr()).$($field).+).read_volatile() }
    };
}
pub(crate) use config;

/// Where [`CONFIG`] lies.
#[inline(always)]
pub fn config_ptr() -> *const Config {
    (&raw const CONFIG).cast()
}

/// Does this kernel have the field at `offset`?
#[inline(always)]
pub fn has(offset: u32) -> bool {
    offset != MISSING
}

/// Reads a field of a kernel structure.
#[inline(always)]
fn field<T: Copy>(base: *const u8, offset: u32) -> T {
    // SAFETY: the verifier checks the offset against the BTF of the type that `base` points to.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// A kernel pointer with typed accessors.
macro_rules! pointer {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $method:ident: $type:ty = $offset:ident;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(pub *const u8);

        #[expect(clippy::allow_attributes, reason = "not every pointer has all kinds of accessors")]
        #[allow(dead_code, reason = "generated alike for all pointers")]
        impl $name {
            /// Is there none?
            #[inline(always)]
            pub fn is_null(self) -> bool {
                self.0.is_null()
            }
            /// The address, as a key.
            #[inline(always)]
            pub fn key(self) -> u64 {
                self.0 as u64
            }
            $($(#[$fdoc])*
            #[inline(always)]
            pub fn $method(self) -> $type {
                field(self.0, config!(offsets.$offset))
            })*
        }
    };
}

pointer! {
    /// `struct task_struct`
    Task {
        tid: u32 = task_tid;
        pid: u32 = task_pid;
        flags: u32 = task_flags;
        cpu: u32 = task_cpu;
        start_ns: u64 = task_start;
        last_queued: u64 = task_last_queued;
        run_delay_ns: u64 = task_run_delay;
        exec_ns: u64 = task_exec;
        cfs_rq: CfsRq = task_cfs_rq;
        signal: Signal = task_signal;
        mm: Mm = task_mm;
    }
}

/// `TASK_DEAD`: this switch is the thread's last.
pub const TASK_DEAD: u32 = 0x80;
/// `PF_KTHREAD`
pub const PF_KTHREAD: u32 = 0x0020_0000;

impl Task {
    /// The state, from the task itself: the tracepoint's argument is stale when a signal is pending (6.1, 6.6).
    #[inline(always)]
    pub fn state(self) -> u32 {
        if config!(state_is_long) != 0 {
            field::<u64>(self.0, config!(offsets.task_state)) as u32
        } else {
            field(self.0, config!(offsets.task_state))
        }
    }

    /// Does it sleep in `io_schedule`? A bit-field that moves between versions.
    #[inline(always)]
    pub fn in_iowait(self) -> bool {
        config!(has_iowait) != 0
            && u32::from(field::<u8>(self.0, config!(iowait_byte))) & config!(iowait_mask) != 0
    }

    /// Reads the name byte by byte: a char array takes no wider load.
    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        bytes16(self.0, config!(offsets.task_comm))
    }

    /// The clock of its run queue, ns.
    #[inline(always)]
    pub fn rq_clock(self) -> u64 {
        self.cfs_rq().rq().clock()
    }

    /// Session and process group, as numbers of the initial namespace.
    #[inline(always)]
    pub fn session(self) -> (u32, u32) {
        let pids = config!(offsets.signal_pids);
        let signal = self.signal();
        // enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID }: since 4.19.
        let pgid: Pid = field(signal.0, pids + 2 * 8);
        let sid: Pid = field(signal.0, pids + 3 * 8);
        (sid.number(), pgid.number())
    }
}

/// Reads 16 chars.
#[inline(always)]
fn bytes16(base: *const u8, offset: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut i = 0;
    while i < 16 {
        bytes[i as usize] = field(base, offset + i);
        i += 1;
    }
    bytes
}

pointer! {
    /// `struct cfs_rq`
    CfsRq {
        rq: Rq = cfs_rq_rq;
        throttle_count: u32 = cfs_rq_throttle_count;
    }
}

impl CfsRq {
    /// Time this queue was throttled so far, an open interval included, ns of `rq->clock`; 0 where the kernel does not tell.
    #[inline(always)]
    pub fn throttled_ns(self) -> u64 {
        if !has(config!(offsets.cfs_rq_throttled)) {
            return 0;
        }
        let total: u64 = field(self.0, config!(offsets.cfs_rq_throttled));
        if !has(config!(offsets.cfs_rq_throttle_count))
            || !has(config!(offsets.cfs_rq_throttled_since))
            || self.throttle_count() == 0
        {
            return total;
        }
        let since: u64 = field(self.0, config!(offsets.cfs_rq_throttled_since));
        let open = self.rq().clock().wrapping_sub(since);
        if since == 0 || (open as i64) < 0 {
            total
        } else {
            total + open
        }
    }
}

pointer! {
    /// `struct rq`
    Rq { clock: u64 = rq_clock; }
}

pointer! {
    /// `struct signal_struct`
    Signal { live: u32 = signal_live; }
}

pointer! {
    /// `struct pid`
    Pid { number: u32 = pid_number; }
}

pointer! {
    /// `struct mm_struct`
    Mm {
        arg_start: u64 = mm_arg_start;
        arg_end: u64 = mm_arg_end;
    }
}

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
    pub fn disk(self) -> Disk {
        if has(config!(offsets.bio_bdev)) {
            self.bdev().disk()
        } else {
            field(self.0, config!(offsets.bio_disk))
        }
    }
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
    /// `struct journal_s`
    Journal { bdev: BlockDevice = journal_bdev; }
}

pointer! {
    /// `struct transaction_s`
    Transaction { number: u32 = transaction_number; }
}

pointer! {
    /// `struct gendisk`
    Disk {
        major: u32 = disk_major;
        minor: u32 = disk_minor;
    }
}

impl Disk {
    /// Device number as the kernel packs it.
    #[inline(always)]
    pub fn dev(self) -> u32 {
        self.major() << 20 | self.minor() & 0xf_ffff
    }
}

pointer! {
    /// `struct request`
    Request {
        bio: Bio = rq_bio;
        bytes: u32 = rq_bytes;
        opf: u32 = rq_opf;
        queue: Queue = rq_queue;
    }
}

impl Request {
    /// The disk, wherever this kernel keeps it.
    #[inline(always)]
    pub fn disk(self) -> Disk {
        if has(config!(offsets.queue_disk)) {
            self.queue().disk()
        } else {
            field(self.0, config!(offsets.rq_disk))
        }
    }
}

pointer! {
    /// `struct request_queue`
    Queue { disk: Disk = queue_disk; }
}

pointer! {
    /// `struct sock`
    Sock {
        family: u16 = sock_family;
        local_port: u16 = sock_local_port;
        remote_port_be: u16 = sock_remote_port;
        local4: u32 = sock_local4;
        remote4: u32 = sock_remote4;
        protocol: u16 = sock_protocol;
        kind: u16 = sock_type;
        socket: Socket = sock_socket;
    }
}

/// `AF_UNIX`
const AF_UNIX: u16 = 1;
/// `SOCK_STREAM`
const SOCK_STREAM: u16 = 1;
/// `AF_INET`
pub const AF_INET: u16 = 2;
/// `AF_INET6`
pub const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`
const IPPROTO_TCP: u16 = 6;

impl Sock {
    /// Is it a TCP socket?
    #[inline(always)]
    pub fn is_tcp(self) -> bool {
        let family = self.family();
        (family == AF_INET || family == AF_INET6) && self.protocol() == IPPROTO_TCP
    }

    /// Is it a Unix stream that a listener accepted? A pair of sockets has no name, and the end that connected seldom has.
    #[inline(always)]
    pub fn is_accepted_unix(self) -> bool {
        if !has(config!(offsets.unix_addr))
            || self.family() != AF_UNIX
            || self.kind() != SOCK_STREAM
        {
            return false;
        }
        // SAFETY: a helper that checks its argument.
        let unix: *mut unix_sock = unsafe { bpf_skc_to_unix_sock(self.0.cast_mut().cast()) };
        !unix.is_null() && field::<u64>(unix.cast_const().cast(), config!(offsets.unix_addr)) != 0
    }

    /// One of the four words of the own (`remote == false`) or the peer's IPv6 address.
    #[inline(always)]
    pub fn address6(self, remote: bool, word: u32) -> u32 {
        let base = if remote {
            config!(offsets.sock_remote6)
        } else {
            config!(offsets.sock_local6)
        };
        field(self.0, base + 4 * word)
    }

    /// Sequence state.
    #[inline(always)]
    pub fn tcp(self) -> Option<Tcp> {
        // SAFETY: a helper that checks its argument.
        let tcp: *mut tcp_sock = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut().cast()) };
        if tcp.is_null() {
            None
        } else {
            Some(Tcp(tcp.cast_const().cast()))
        }
    }
}

pointer! {
    /// `struct tcp_sock`
    Tcp {
        write_seq: u32 = tcp_write_seq;
        snd_nxt: u32 = tcp_snd_nxt;
        snd_una: u32 = tcp_snd_una;
        snd_wnd: u32 = tcp_snd_wnd;
        mss: u32 = tcp_mss;
        retransmits: u32 = tcp_retransmits;
    }
}

pointer! {
    /// `struct socket`
    Socket { flags: u64 = socket_flags; }
}

/// `SOCK_NOSPACE` in `socket->flags`
pub const SOCK_NOSPACE: u64 = 1 << 2;

pointer! {
    /// `struct sk_buff`
    Skb {
        sk: Sock = skb_sk;
        len: u32 = skb_len;
        hash: u32 = skb_hash;
    }
}

impl Skb {
    /// A 32-bit field of the TCP control block, read byte by byte because `cb` is a char array.
    #[inline(always)]
    fn control(self, offset: u32) -> u32 {
        let base = config!(offsets.skb_cb) + offset;
        u32::from(field::<u8>(self.0, base))
            | u32::from(field::<u8>(self.0, base + 1)) << 8
            | u32::from(field::<u8>(self.0, base + 2)) << 16
            | u32::from(field::<u8>(self.0, base + 3)) << 24
    }

    /// Payload bytes of a received TCP segment (SYN and FIN count one each).
    #[inline(always)]
    pub fn tcp_payload(self) -> u32 {
        self.control(config!(offsets.cb_end_seq))
            .wrapping_sub(self.control(config!(offsets.cb_seq)))
    }

    /// Acknowledgement number of a received TCP segment.
    #[inline(always)]
    pub fn tcp_ack_seq(self) -> u32 {
        self.control(config!(offsets.cb_ack_seq))
    }
}

pointer! {
    /// `struct net_device`
    NetDevice {
        ifindex: u32 = dev_ifindex;
        qdisc: Qdisc = dev_qdisc;
        net: Net = dev_net;
    }
}

impl NetDevice {
    /// Its name.
    #[inline(always)]
    pub fn name(self) -> [u8; 16] {
        bytes16(self.0, config!(offsets.dev_name))
    }
}

pointer! {
    /// `struct Qdisc`
    Qdisc {
        enqueue: u64 = qdisc_enqueue;
        qlen: u32 = qdisc_qlen;
        drops: u32 = qdisc_drops;
    }
}

pointer! {
    /// `struct net`
    Net { inum: u32 = net_inum; }
}

/// The pointer that is argument 0 or 1 of a tracepoint, by the frozen `index`.
///
/// The verifier takes no computed offset into the context, and LLVM would make one of two loads: hence two functions.
#[inline(always)]
pub fn argument(ctx: &BtfTracePointContext, index: u32) -> *const u8 {
    if index == 0 {
        first_argument(ctx.as_ptr())
    } else {
        second_argument(ctx.as_ptr())
    }
}

#[inline(never)]
fn first_argument(ctx: *mut c_void) -> *const u8 {
    BtfTracePointContext::new(ctx).arg(0)
}

#[inline(never)]
fn second_argument(ctx: *mut c_void) -> *const u8 {
    BtfTracePointContext::new(ctx).arg(1)
}

/// Process and thread of `current`.
#[inline(always)]
pub fn current() -> (u32, u32) {
    let both = bpf_get_current_pid_tgid();
    ((both >> 32) as u32, both as u32)
}

/// Nanoseconds since boot, without time asleep: the clock of every record.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_ns() }
}
