//! Structures of sockets, packets and devices.

use aya_ebpf::{
    bindings::{tcp_sock, unix_sock},
    helpers::generated::{bpf_skc_to_tcp_sock, bpf_skc_to_unix_sock},
};

use super::{Pid, bytes16, config, field, has, pointer};

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

impl Sock {
    /// Is it a TCP socket?
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        let family = self.family();
        (family == AF_INET || family == AF_INET6) && self.protocol() == IPPROTO_TCP
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
        net: Net = dev_net;
    }
}

impl NetDevice {
    /// Its name.
    #[inline(always)]
    pub(crate) fn name(self) -> [u8; 16] {
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
