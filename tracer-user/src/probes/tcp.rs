//! TCP family; kernel side: `tracer-ebpf/src/probes/tcp.rs` and `link.rs`.

use super::{
    Hook::{Entry, Exit},
    Probe, optional, substitute,
};

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

/// What attaches.
pub const PROBES: &[Probe] = &[
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
        &["tcp_write_seq", "tcp_snd_una"],
        "when the last bytes of a closed connection are acknowledged is not seen",
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
