//! Structures of sockets, packets and devices.

use aya_ebpf::{
    bindings::{tcp_sock, unix_sock},
    helpers::generated::{bpf_skc_to_tcp_sock, bpf_skc_to_unix_sock},
};

use super::{Pid, bytes16, config, field, has, number, pointer, untyped};

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
        peer: Pid = sock_peer;
    }
}

/// `AF_UNIX`
const AF_UNIX: u16 = 1;
/// `SOCK_STREAM`
const SOCK_STREAM: u16 = 1;
/// `AF_INET`
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6`
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`
const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_UDP`
const IPPROTO_UDP: u16 = 17;

impl Sock {
    /// Is it a TCP socket?
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        let family = self.family();
        (family == AF_INET || family == AF_INET6) && self.protocol() == IPPROTO_TCP
    }

    /// Is it a UDP socket?
    #[inline(always)]
    pub(crate) fn is_udp(self) -> bool {
        let family = self.family();
        (family == AF_INET || family == AF_INET6) && self.protocol() == IPPROTO_UDP
    }

    /// Is it a Unix stream that a listener accepted? A socket pair has no name, and the end that connected seldom has one.
    #[inline(always)]
    pub(crate) fn is_accepted_unix(self) -> bool {
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

    /// The process that connected an accepted stream; 0 if it is not known.
    #[inline(always)]
    pub(crate) fn client(self) -> u32 {
        if !has(config!(offsets.sock_peer)) {
            return 0;
        }
        let peer = self.peer();
        if peer.is_null() { 0 } else { peer.number() }
    }

    /// The number of its inode (`fs/inode.c`, `get_next_ino()`), which no other socket has; 0 if it is not known.
    #[inline(always)]
    pub(crate) fn inode(self) -> u32 {
        if !has(config!(offsets.sock_socket))
            || !has(config!(offsets.socket_file))
            || !has(config!(offsets.file_inode))
            || !has(config!(offsets.inode_number))
        {
            return 0;
        }
        let socket = self.socket().address();
        let file: u64 = untyped(socket as *const u8, config!(offsets.socket_file), 0);
        let inode: u64 = untyped(file as *const u8, config!(offsets.file_inode), 0);
        untyped::<u64>(inode as *const u8, config!(offsets.inode_number), 0) as u32
    }

    /// One of the four words of the own (`remote == false`) or the peer's IPv6 address.
    #[inline(always)]
    pub(crate) fn address6(self, remote: bool, word: u32) -> u32 {
        let base = if remote {
            config!(offsets.sock_remote6)
        } else {
            config!(offsets.sock_local6)
        };
        field(self.0, base + 4 * word)
    }

    /// Writes the own and the peer's address of a socket of this `family`, each 4 words; IPv4 in the first.
    #[inline(always)]
    pub(crate) fn write_addresses(self, family: u16, local: *mut u32, remote: *mut u32) {
        for word in 0..4 {
            let (own, peer) = if family == AF_INET {
                if word == 0 {
                    (self.local4(), self.remote4())
                } else {
                    (0, 0)
                }
            } else {
                (self.address6(false, word), self.address6(true, word))
            };
            // SAFETY: both have room for 4 words.
            unsafe {
                local.add(word as usize).write_unaligned(own);
                remote.add(word as usize).write_unaligned(peer);
            }
        }
    }

    /// Sequence state.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<Tcp> {
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
        clock: u64 = tcp_clock;
    }
}

impl Tcp {
    /// When the socket last sent or received a packet, ns; 0 if the kernel does not keep that.
    #[inline(always)]
    pub(crate) fn active_ns(self) -> u64 {
        if has(config!(offsets.tcp_clock)) {
            self.clock()
        } else {
            0
        }
    }
}

pointer! {
    /// `struct socket`
    Socket { flags: u64 = socket_flags; }
}

/// `SOCK_NOSPACE` in `socket->flags`
pub(crate) const SOCK_NOSPACE: u64 = 1 << 2;

pointer! {
    /// `struct sk_buff`
    Skb {
        sk: Sock = skb_sk;
        len: u32 = skb_len;
        hash: u32 = skb_hash;
        queue: u16 = skb_queue;
        head: u64 = skb_head;
        network: u16 = skb_network;
        nfct: u64 = skb_nfct;
    }
}

impl Skb {
    /// Earliest time at which TCP wants the packet to leave, ns, by [`super::now`]. 0: at once, or not known.
    #[inline(always)]
    pub(crate) fn due_ns(self) -> u64 {
        if has(config!(offsets.skb_tstamp)) {
            field(self.0, config!(offsets.skb_tstamp))
        } else {
            0
        }
    }

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
    pub(crate) fn tcp_payload(self) -> u32 {
        self.control(config!(offsets.cb_end_seq))
            .wrapping_sub(self.control(config!(offsets.cb_seq)))
    }

    /// Acknowledgement number of a received TCP segment.
    #[inline(always)]
    pub(crate) fn tcp_ack_seq(self) -> u32 {
        self.control(config!(offsets.cb_ack_seq))
    }
}

pointer! {
    /// `struct net_device`
    NetDevice {
        ifindex: u32 = dev_ifindex;
        qdisc: Qdisc = dev_qdisc;
        tx_queues: u32 = dev_tx_queues;
        tx: Queues = dev_tx;
        net: Net = dev_net;
    }
}

pointer! {
    /// `struct netdev_queue`, the first of an array
    Queues {}
}

impl NetDevice {
    /// Its name.
    #[inline(always)]
    pub(crate) fn name(self) -> [u8; 16] {
        bytes16(self.0, config!(offsets.dev_name))
    }

    /// The queueing discipline of transmit queue `index`, without a type; 0 if the kernel's types do not say where it is.
    ///
    /// The verifier lets no program step through an array behind a pointer, hence the helper.
    #[inline(always)]
    pub(crate) fn queue_qdisc(self, index: u32) -> u64 {
        let bytes = config!(tx_queue_bytes);
        if bytes == 0 || !has(config!(offsets.dev_tx)) || !has(config!(offsets.queue_qdisc)) {
            return 0;
        }
        let queue = number(self.tx().key()).wrapping_add(u64::from(bytes) * u64::from(index));
        untyped(queue as *const u8, config!(offsets.queue_qdisc), 0)
    }

    /// The first four characters of its kind (`ip link add type`); 0 if it has none, like a card, or that is not known.
    ///
    /// Asked for behind many paths, and of few packets: a helper reads it, so that the verifier need not search for the types of its
    /// pointers on each path.
    #[inline(always)]
    fn kind(self) -> u32 {
        if !has(config!(offsets.dev_link_ops)) || !has(config!(offsets.link_ops_kind)) {
            return 0;
        }
        let ops: u64 = untyped(
            self.address() as *const u8,
            config!(offsets.dev_link_ops),
            0,
        );
        let kind: u64 = untyped(ops as *const u8, config!(offsets.link_ops_kind), 0);
        untyped::<u32>(kind as *const u8, 0, 0)
    }

    /// Does it hand its packets to a process (tun, tap)?
    #[inline(always)]
    pub(crate) fn hands_over(self) -> bool {
        self.kind() == u32::from_ne_bytes(*b"tun\0")
    }

    /// Is it one end of a pair (veth, netkit), so that what it sends comes in at the other end?
    #[inline(always)]
    pub(crate) fn is_paired(self) -> bool {
        let kind = self.kind();
        kind == u32::from_ne_bytes(*b"veth") || kind == u32::from_ne_bytes(*b"netk")
    }

    /// Has it several transmit queues? Then each may have a queueing discipline of its own, and the root may be a mere shell.
    #[inline(always)]
    pub(crate) fn has_queues(self) -> bool {
        has(config!(offsets.dev_tx_queues)) && self.tx_queues() > 1
    }
}

/// Qlen of a queue whose length cannot be read: each CPU counts its own part.
pub(crate) const UNREAD: u32 = u32::MAX;
/// `TCQ_F_NOLOCK` of `sch_generic.h`, 5.10 to 7.2: no lock, and counts of each CPU (`pfifo_fast`).
const TCQ_F_NOLOCK: u32 = 0x100;

/// The queue that a packet left.
#[derive(Clone, Copy)]
pub(crate) struct Departed {
    /// Is there a queue at all? Else the packet only passed, and the rest says nothing.
    pub(crate) queues: bool,
    /// Transmit queue, if each has a discipline of its own; else 0.
    pub(crate) index: u32,
    /// Packets that it still holds, or [`UNREAD`].
    pub(crate) backlog: u32,
    /// Packets that it dropped so far.
    pub(crate) drops: u32,
}

impl Departed {
    /// A device without a queue.
    const PASSED: Self = Self {
        queues: false,
        index: 0,
        backlog: 0,
        drops: 0,
    };

    /// The queue of `dev` that `skb` left. `root` is the root of the queueing disciplines of `dev`.
    ///
    /// The root of a device with several transmit queues may be a shell (`mq`, `mqprio`, an offloaded `htb`). Its `enqueue` is
    /// the one of `noop` (`register_qdisc()`), and its counts are of no queue. So the queue of the packet is asked.
    #[inline(always)]
    pub(crate) fn of(skb: Skb, dev: NetDevice, root: Qdisc) -> Self {
        if root.enqueue() == 0 {
            return Self::PASSED;
        }
        if !dev.has_queues() {
            return root.departed();
        }
        let index = u32::from(skb.queue());
        let qdisc = dev.queue_qdisc(index);
        if qdisc == number(root.key()) {
            return root.departed();
        }
        if qdisc == 0 {
            return Self {
                queues: true,
                index,
                backlog: UNREAD,
                drops: 0,
            };
        }
        untyped_departed(qdisc as *const u8, index)
    }
}

/// As [`Qdisc::departed`], of a discipline without a type.
#[inline(always)]
fn untyped_departed(qdisc: *const u8, index: u32) -> Departed {
    let enqueue: u64 = untyped(qdisc, config!(offsets.qdisc_enqueue), 0);
    if enqueue == 0 {
        return Departed::PASSED;
    }
    let flags: u32 = untyped(qdisc, config!(offsets.qdisc_flags), TCQ_F_NOLOCK);
    let backlog = if flags & TCQ_F_NOLOCK == 0 {
        untyped(qdisc, config!(offsets.qdisc_qlen), UNREAD)
    } else {
        UNREAD
    };
    Departed {
        queues: true,
        index,
        backlog,
        drops: untyped(qdisc, config!(offsets.qdisc_drops), 0),
    }
}

pointer! {
    /// `struct Qdisc`
    Qdisc {
        enqueue: u64 = qdisc_enqueue;
        qlen: u32 = qdisc_qlen;
        drops: u32 = qdisc_drops;
        flags: u32 = qdisc_flags;
    }
}

impl Qdisc {
    /// The state of a queue that all transmit queues share.
    #[inline(always)]
    fn departed(self) -> Departed {
        let unread = has(config!(offsets.qdisc_flags)) && self.flags() & TCQ_F_NOLOCK != 0;
        Departed {
            queues: true,
            index: 0,
            backlog: if unread { UNREAD } else { self.qlen() },
            drops: self.drops(),
        }
    }
}

pointer! {
    /// `struct net`
    Net { inum: u32 = net_inum; }
}
