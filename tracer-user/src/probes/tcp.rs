//! TCP family; kernel side: `tracer-ebpf/src/probes/tcp/`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use tracer_common::tcp::{
    Ack, Call, Client, Flow, LINKS_MAP, Link, LinkOwner, ORIGIN_ACCEPTED, ORIGIN_CONNECTED,
    Question, SOCKETS_MAP, Socket, SocketState,
};

use super::{
    frame::text,
    maps::Maps,
    table::{
        Hook::{Entry, Exit},
        Probe, optional, substitute,
    },
};
use crate::event::{self, Event, Origin};

const BLIND: Option<&str> = Some("network");
const SOCK: &[&str] = &["sock_family", "sock_protocol"];
const CALL: &[&str] = &[
    "sock_family",
    "sock_protocol",
    "sock_socket",
    "socket_flags",
    "tcp_write_seq",
    "tcp_snd_nxt",
    "tcp_snd_una",
    "tcp_snd_wnd",
    "tcp_mss",
    "tcp_retransmits",
    "sock_local_port",
    "sock_remote_port",
    "sock_local4",
    "sock_remote4",
    "sock_local6",
    "sock_remote6",
];

/// The probes of the family.
pub(super) const PROBES: &[Probe] = &[
    optional(
        "sock_send_length",
        CALL,
        "sends are not seen: no requests, and links have no owners",
        BLIND,
    ),
    optional(
        "sock_recv_length",
        CALL,
        "receives are not seen: no requests",
        None,
    ),
    optional(
        "tcp_sendmsg_locked",
        SOCK,
        "how long send calls take is unknown (tcp_send_call)",
        None,
    ),
    optional(
        "tcp_probe",
        &[
            "skb_cb",
            "skb_hash",
            "cb_seq",
            "cb_end_seq",
            "cb_ack_seq",
            "tcp_write_seq",
            "tcp_snd_nxt",
            "tcp_snd_una",
            "tcp_snd_wnd",
            "tcp_mss",
            "tcp_retransmits",
        ],
        "requests begin when they are read, not when they arrive; no acknowledgement times",
        None,
    ),
    optional(
        "tcp_destroy_sock",
        &[],
        "the end of connections is not seen",
        None,
    ),
    optional(
        "inet_sock_set_state",
        &[
            "sock_family",
            "sock_protocol",
            "tcp_write_seq",
            "tcp_snd_una",
            "sock_local_port",
            "sock_remote_port",
            "sock_local4",
            "sock_remote4",
            "sock_local6",
            "sock_remote6",
        ],
        "who connected is known only on ports on which the target listened at attach; \
         whom a connect waits for is not seen, nor when the last bytes of a closed connection are acknowledged",
        None,
    ),
    optional(
        "net_dev_start_xmit",
        &[
            "skb_sk",
            "skb_len",
            "skb_hash",
            "dev_ifindex",
            "dev_name",
            "dev_qdisc",
            "dev_net",
            "net_inum",
            "qdisc_enqueue",
            "qdisc_qlen",
            "qdisc_drops",
            "qdisc_flags",
            "skb_queue",
        ],
        "who sends through an interface is unknown",
        BLIND,
    ),
    substitute(
        "tcp_sendmsg_entry",
        Entry("tcp_sendmsg"),
        "tcp_sendmsg_locked",
        &[],
    ),
    substitute(
        "tcp_sendmsg_exit",
        Exit("tcp_sendmsg", 3),
        "sock_send_length",
        CALL,
    ),
    substitute(
        "tcp_sendpage_exit",
        Exit("tcp_sendpage", 5),
        "sock_send_length",
        CALL,
    ),
    substitute(
        "udp_sendmsg_entry",
        Entry("udp_sendmsg"),
        "sock_send_length",
        &["sock_family"],
    ),
    substitute(
        "udpv6_sendmsg_entry",
        Entry("udpv6_sendmsg"),
        "sock_send_length",
        &["sock_family"],
    ),
    substitute(
        "tcp_recvmsg_exit",
        Exit("tcp_recvmsg", 5),
        "sock_recv_length",
        CALL,
    ),
    substitute(
        "tcp_recvmsg_exit_old",
        Exit("tcp_recvmsg", 6),
        "sock_recv_length",
        CALL,
    ),
];

pub(super) fn call(r: &Call) -> event::Call {
    event::Call {
        ns: r.header.ns,
        socket: r.socket,
        result: r.result,
        arrived_ns: r.arrived_ns,
        pid: r.pid,
        tid: r.tid,
        unsent_bytes: r.unsent_bytes,
        unacked_bytes: r.unacked_bytes,
        ifindex: r.ifindex,
        flags: r.flags,
    }
}

/// An address of a socket, as text. An IPv4 address mapped into IPv6 is shown as IPv4.
fn address(family: u32, bytes: [u8; 16], port: u32) -> String {
    const AF_INET: u32 = 2;
    let port = port as u16;
    if family == AF_INET {
        let [a, b, c, d, ..] = bytes;
        return SocketAddr::from((Ipv4Addr::new(a, b, c, d), port)).to_string();
    }
    SocketAddr::new(Ipv6Addr::from(bytes).to_canonical(), port).to_string()
}

/// A connection of which the probes did not see the begin may have been opened by either side.
pub(super) fn socket(r: &Socket) -> Event {
    let socket = ends(r);
    let origin = match r.origin {
        ORIGIN_ACCEPTED => Origin::Accepted,
        ORIGIN_CONNECTED => Origin::Connected,
        _ => return Event::Socket(socket),
    };
    Event::Opened(event::Opened { socket, origin })
}

fn ends(r: &Socket) -> event::Socket {
    event::Socket {
        ns: r.header.ns,
        socket: r.socket,
        pid: r.pid,
        local: address(r.family, r.local, r.local_port),
        local_port: r.local_port,
        remote: address(r.family, r.remote, r.remote_port),
    }
}

pub(super) fn question(r: &Question) -> event::Question {
    event::Question {
        ns: r.header.ns,
        socket: r.socket,
        pid: r.pid,
        tid: r.tid,
        local: address(r.family, r.local, r.local_port),
        remote: match r.remote_port {
            0 => String::new(),
            port => address(r.family, r.remote, port),
        },
        flags: r.flags,
    }
}

/// Traffic that one owner sent through a queue in one slice.
pub(super) fn link(r: &Link) -> event::Queue {
    event::Queue {
        link: slice(r),
        queue: r.queue,
        timed: r.timed,
        late_ns: r.late_ns,
        flags: r.flags,
    }
}

fn slice(r: &Link) -> event::Link {
    event::Link {
        ns: r.header.ns,
        ifindex: r.ifindex,
        netns: r.netns,
        name: text(&r.name),
        pid: r.pid,
        packets: r.packets,
        bytes: r.bytes,
        backlog_min: r.backlog_min,
        drops: r.drops,
    }
}

pub(super) fn acknowledgement(r: &Ack) -> Event {
    let (ns, socket) = (r.header.ns, r.socket);
    match r.left_ns {
        0 => Event::Ack(event::Ack { ns, socket }),
        left_ns => Event::Delivered(event::Delivered {
            ns,
            socket,
            left_ns,
        }),
    }
}

/// A record of queue 0 is the one of a device with a single queue.
pub(super) fn flow(r: &Flow) -> Event {
    let flow = limit(r);
    match r.queue {
        0 => Event::Flow(flow),
        queue => Event::QueuedFlow(event::QueuedFlow { flow, queue }),
    }
}

fn limit(r: &Flow) -> event::Flow {
    event::Flow {
        ns: r.header.ns,
        socket: r.socket,
        netns: r.netns,
        ifindex: r.ifindex,
        unsent_bytes: r.unsent_bytes,
        unacked_bytes: r.unacked_bytes,
        window_bytes: r.window_bytes,
        retransmits: r.retransmits,
        flags: r.flags,
    }
}

pub(super) fn client(r: &Client) -> event::Client {
    event::Client {
        ns: r.header.ns,
        socket: r.socket,
        pid: r.pid,
        client_pid: r.client_pid,
    }
}

/// The slices of links that are not over.
///
/// # Errors
/// If the map cannot be read.
pub(super) fn links(maps: &impl Maps) -> Result<Vec<Event>> {
    let mut events = Vec::new();
    maps.each(LINKS_MAP, |_: LinkOwner, slice: Link| {
        if slice.packets > 0 {
            events.push(Event::Queue(link(&slice)));
        }
    })?;
    Ok(events)
}

/// Sockets of targets that hold bytes not received until `ns`; none, if the map cannot be read.
pub(super) fn unread(maps: &impl Maps, ns: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let _unreadable = maps.each(SOCKETS_MAP, |socket, state: SocketState| {
        if state.announced != 0 && state.arrived_ns != 0 {
            events.push(Event::Unread(event::Unread {
                ns,
                socket,
                pid: state.pid,
                arrived_ns: state.arrived_ns,
            }));
        }
    });
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_connected_is_known_of_a_connection_that_was_seen_to_begin() {
        let origin = |origin| {
            let seen = socket(&Socket {
                origin,
                local_port: 80,
                ..Socket::default()
            });
            let (socket, origin) = seen.socket().unwrap();
            assert_eq!(socket.local_port, 80);
            origin
        };
        assert_eq!(origin(0), Origin::Unknown);
        assert_eq!(origin(ORIGIN_ACCEPTED), Origin::Accepted);
        assert_eq!(origin(ORIGIN_CONNECTED), Origin::Connected);
    }

    #[test]
    fn addresses_are_shown_as_people_write_them() {
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        assert_eq!(address(10, mapped, 80), "10.0.0.1:80");
        let mut four = [0; 16];
        four[..4].copy_from_slice(&[127, 0, 0, 1]);
        assert_eq!(address(2, four, 8080), "127.0.0.1:8080");
    }
}
