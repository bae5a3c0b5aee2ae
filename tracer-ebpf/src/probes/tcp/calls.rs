//! Socket calls on kernels without the tracepoints of [`super`], by `fentry` and `fexit` of the functions themselves.
//! User space loads each only where its tracepoint is missing.

use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use super::{datagrams, received, send_begins, sent};
use crate::kernel::Sock;

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`, 5.10 to 7.2; for `tcp_sendmsg_locked` before 6.16.
#[fentry(function = "tcp_sendmsg")]
fn tcp_sendmsg_entry(ctx: FEntryContext) -> i32 {
    send_begins(Sock(ctx.arg(0)));
    0
}

/// The return of the same function; for `sock_send_length` before 6.3. The result follows the arguments.
#[fexit(function = "tcp_sendmsg")]
fn tcp_sendmsg_exit(ctx: FExitContext) -> i32 {
    sent(Sock(ctx.arg(0)), ctx.arg::<u64>(3) as i32);
    0
}

/// `int tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`, until 6.4: how `sendfile` sends.
#[fexit(function = "tcp_sendpage")]
fn tcp_sendpage_exit(ctx: FExitContext) -> i32 {
    sent(Sock(ctx.arg(0)), ctx.arg::<u64>(5) as i32);
    0
}

/// `int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)`, 5.19 and later; for
/// `sock_recv_length` before 6.3.
#[fexit(function = "tcp_recvmsg")]
fn tcp_recvmsg_exit(ctx: FExitContext) -> i32 {
    let (result, flags) = (ctx.arg::<u64>(5) as i32, ctx.arg::<u64>(3) as u32);
    received(Sock(ctx.arg(0)), result, flags);
    0
}

/// The same before 5.19: `int nonblock` stood before `flags`.
#[fexit(function = "tcp_recvmsg")]
fn tcp_recvmsg_exit_old(ctx: FExitContext) -> i32 {
    let (result, flags) = (ctx.arg::<u64>(6) as i32, ctx.arg::<u64>(4) as u32);
    received(Sock(ctx.arg(0)), result, flags);
    0
}

/// `int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`, 5.10 to 7.2; for `sock_send_length` before 6.3.
#[fentry(function = "udp_sendmsg")]
fn udp_sendmsg_entry(ctx: FEntryContext) -> i32 {
    datagrams::sent_by(Sock(ctx.arg(0)));
    0
}

/// The same over IPv6.
#[fentry(function = "udpv6_sendmsg")]
fn udpv6_sendmsg_entry(ctx: FEntryContext) -> i32 {
    datagrams::sent_by(Sock(ctx.arg(0)));
    0
}
