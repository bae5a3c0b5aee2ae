//! The two ends of a datagram: in its headers, as a key and as addresses, and in the kernel's connection tracking.

use super::{Skb, config, has, number, untyped};

/// `IPPROTO_UDP`
const IPPROTO_UDP: u32 = 17;
/// Mask of "more fragments" and of the offset, in the third half-word of an IPv4 header.
const FRAGMENT: u16 = 0x3fff;
/// `NFCT_INFOMASK` of `nf_conntrack_common.h`: the rest of `sk_buff._nfct` is the address of a connection.
const NFCT_INFOMASK: u64 = 7;
/// `IP_CT_IS_REPLY` of the same header: a packet of the direction that did not open the connection.
const IP_CT_IS_REPLY: u64 = 3;

/// Both ends of a datagram.
#[derive(Clone, Copy)]
pub(crate) struct Ends {
    /// Is it one of UDP? Else the rest says nothing.
    pub(crate) is_datagram: bool,
    /// The words of the sender's address, each added bit by bit.
    from: u32,
    /// The same of the receiver's.
    to: u32,
    /// Both ports, in network order; 0 in a fragment.
    ports: u32,
}

impl Ends {
    const NONE: Self = Self {
        is_datagram: false,
        from: 0,
        to: 0,
        ports: 0,
    };

    /// As the IP and UDP headers say.
    #[inline(always)]
    pub(crate) fn in_headers(skb: Skb) -> Self {
        if !has(config!(offsets.skb_head)) || !has(config!(offsets.skb_network)) {
            return Self::NONE;
        }
        let header = number(skb.head()).wrapping_add(u64::from(skb.network())) as *const u8;
        let first: u8 = untyped(header, 0, 0);
        match first >> 4 {
            4 => Self::of_ipv4(header, 4 * u32::from(first & 0xf)),
            6 => Self::of_ipv6(header),
            _ => Self::NONE,
        }
    }

    #[inline(always)]
    fn of_ipv4(header: *const u8, length: u32) -> Self {
        let words: [u32; 5] = untyped(header, 0, [0; 5]);
        let fragment = u16::from_be((words[1] >> 16) as u16);
        let ports = if fragment & FRAGMENT == 0 {
            untyped(header, length, 0)
        } else {
            0
        };
        Self {
            is_datagram: words[2] >> 8 & 0xff == IPPROTO_UDP,
            from: words[3],
            to: words[4],
            ports,
        }
    }

    #[inline(always)]
    fn of_ipv6(header: *const u8) -> Self {
        let words: [u32; 10] = untyped(header, 0, [0; 10]);
        Self {
            is_datagram: words[1] >> 16 & 0xff == IPPROTO_UDP,
            from: words[2] ^ words[3] ^ words[4] ^ words[5],
            to: words[6] ^ words[7] ^ words[8] ^ words[9],
            ports: untyped(header, 40, 0),
        }
    }

    /// As they were where the packet was sent, if the kernel tracks its connection.
    #[inline(always)]
    pub(crate) fn before_translation(skb: Skb) -> Self {
        let known = has(config!(offsets.skb_nfct))
            && has(config!(offsets.nf_tuples))
            && has(config!(offsets.tuple_from))
            && has(config!(offsets.tuple_to))
            && has(config!(offsets.tuple_from_port))
            && has(config!(offsets.tuple_to_port))
            && has(config!(offsets.tuple_protocol));
        if !known {
            return Self::NONE;
        }
        let nfct = skb.nfct();
        let connection = nfct & !NFCT_INFOMASK;
        if connection == 0 {
            return Self::NONE;
        }
        let is_reply = nfct & NFCT_INFOMASK >= IP_CT_IS_REPLY;
        let tuple = if is_reply { config!(tuple_bytes) } else { 0 };
        let tuple = connection.wrapping_add(u64::from(tuple + config!(offsets.nf_tuples)));
        Self::of_tuple(tuple as *const u8)
    }

    /// From a `struct nf_conntrack_tuple_hash`.
    #[inline(always)]
    fn of_tuple(tuple: *const u8) -> Self {
        let base = config!(offsets.tuple_begin);
        let protocol: u8 = untyped(tuple, base + config!(offsets.tuple_protocol), 0);
        let from: [u32; 4] = untyped(tuple, base + config!(offsets.tuple_from), [0; 4]);
        let to: [u32; 4] = untyped(tuple, base + config!(offsets.tuple_to), [0; 4]);
        let from_port: u16 = untyped(tuple, base + config!(offsets.tuple_from_port), 0);
        let to_port: u16 = untyped(tuple, base + config!(offsets.tuple_to_port), 0);
        Self {
            is_datagram: u32::from(protocol) == IPPROTO_UDP,
            from: from[0] ^ from[1] ^ from[2] ^ from[3],
            to: to[0] ^ to[1] ^ to[2] ^ to[3],
            ports: u32::from(from_port) | u32::from(to_port) << 16,
        }
    }

    /// The same ends in a fragment.
    #[inline(always)]
    pub(crate) fn without_ports(self) -> Self {
        Self { ports: 0, ..self }
    }

    /// A key for maps: two pairs of ends on one machine are unlikely to share it.
    #[inline(always)]
    pub(crate) fn key(self) -> u64 {
        let addresses = u64::from(self.from) << 32 | u64::from(self.to);
        addresses ^ u64::from(self.ports).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// `AF_INET6`'s form of an IPv4 address: `::ffff:` before it.
const MAPPED: u32 = 0xffff_u32.to_be();

/// Both addresses of a datagram, in the form of its socket: 4 words of IPv6, or one of IPv4.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Route {
    pub(crate) from: [u32; 4],
    pub(crate) to: [u32; 4],
    /// Receiver's port, host order; 0 if it is none of UDP, a fragment, or not the socket's own.
    pub(crate) port: u32,
}

impl Route {
    const NONE: Self = Self {
        from: [0; 4],
        to: [0; 4],
        port: 0,
    };

    /// Address of the IP header of a packet; 0 if the kernel's types do not say where it is.
    #[inline(always)]
    pub(crate) fn header(skb: Skb) -> u64 {
        if !has(config!(offsets.skb_head)) || !has(config!(offsets.skb_network)) {
            return 0;
        }
        number(skb.head()).wrapping_add(u64::from(skb.network()))
    }

    /// As the headers from there on say; `maps` IPv4 for a socket of IPv6. A datagram that comes from another port than `from` is not the
    /// socket's own: around that one a tunnel (VXLAN) has put one that goes to the other end of the tunnel.
    #[inline(always)]
    pub(crate) fn at(header: u64, maps: bool, from: u32) -> Self {
        let header = header as *const u8;
        let first: u8 = untyped(header, 0, 0);
        match first >> 4 {
            4 => Self::of_ipv4(header, 4 * u32::from(first & 0xf), maps, from),
            6 => Self::of_ipv6(header, from),
            _ => Self::NONE,
        }
    }

    #[inline(always)]
    fn of_ipv4(header: *const u8, length: u32, maps: bool, from_port: u32) -> Self {
        let words: [u32; 5] = untyped(header, 0, [0; 5]);
        let fragment = u16::from_be((words[1] >> 16) as u16) & FRAGMENT != 0;
        if fragment || words[2] >> 8 & 0xff != IPPROTO_UDP {
            return Self::NONE;
        }
        let (from, to) = if maps {
            ([0, 0, MAPPED, words[3]], [0, 0, MAPPED, words[4]])
        } else {
            ([words[3], 0, 0, 0], [words[4], 0, 0, 0])
        };
        Self {
            from,
            to,
            port: receiver_port(untyped(header, length, 0), from_port),
        }
    }

    #[inline(always)]
    fn of_ipv6(header: *const u8, from_port: u32) -> Self {
        let words: [u32; 10] = untyped(header, 0, [0; 10]);
        if words[1] >> 16 & 0xff != IPPROTO_UDP {
            return Self::NONE;
        }
        Self {
            from: [words[2], words[3], words[4], words[5]],
            to: [words[6], words[7], words[8], words[9]],
            port: receiver_port(untyped(header, 40, 0), from_port),
        }
    }
}

/// The second of both ports, in host order; 0 if the first one is not `from`.
#[inline(always)]
fn receiver_port(ports: u32, from: u32) -> u32 {
    if u32::from(u16::from_be(ports as u16)) != from {
        return 0;
    }
    u32::from(u16::from_be((ports >> 16) as u16))
}
