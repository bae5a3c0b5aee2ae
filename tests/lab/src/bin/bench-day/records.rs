//! Records as the kernel half sends them: each is of the server, or of others beside it on its CPU, its disk and its links.

use tracer_common::{
    Kind,
    block::Io,
    record::Header,
    sched::{STACK_DEPTH, Slice, Stack, ThreadEnd, WAIT_FIRST, WAIT_NO_WAKER, WAIT_RUNNABLE, Wait},
    tcp::{Call, Flow, Link, ORIGIN_ACCEPTED, Socket},
};

/// The server.
pub(crate) const SERVER: u32 = 100;
/// Its interface, in the network namespace of the machine.
pub(crate) const ETH: u32 = 2;
/// Its disk.
pub(crate) const DISK: u32 = 8 << 20;
/// The CPU on which all of this happens.
pub(crate) const CPU: u32 = 1;

const NETNS: u32 = 4_026_531_840;

/// The address of the first connection's socket; those of the others follow.
const SOCKET: u64 = 0xffff_8880_0000_0000;
const SOCKET_BYTES: u64 = 2_048;

pub(crate) fn header(kind: Kind, ns: u64) -> Header {
    Header {
        kind: kind as u32,
        cpu: CPU,
        ns,
    }
}

/// Asleep from the first time to the second, ns, the last part of it in the queue of the CPU.
pub(crate) fn wait(tid: u32, (off_ns, ns): (u64, u64), run_queue_ns: u64, stack: u64) -> Wait {
    Wait {
        header: header(Kind::Wait, ns),
        pid: SERVER,
        tid,
        off_ns,
        run_queue_ns,
        stack,
        state: 1,
        flags: WAIT_NO_WAKER,
        ..Wait::default()
    }
}

pub(crate) fn preempted(tid: u32, off_ns: u64, ns: u64) -> Wait {
    Wait {
        state: 0,
        flags: WAIT_RUNNABLE | WAIT_NO_WAKER,
        ..wait(tid, (off_ns, ns), ns - off_ns, 0)
    }
}

/// A new thread of a target is on a CPU.
pub(crate) fn first(pid: u32, tid: u32, ns: u64) -> Wait {
    Wait {
        pid,
        flags: WAIT_FIRST,
        ..wait(tid, (0, ns), 0, 0)
    }
}

pub(crate) fn thread_end(pid: u32, tid: u32, ns: u64) -> ThreadEnd {
    ThreadEnd {
        header: header(Kind::ThreadEnd, ns),
        pid,
        tid,
    }
}

pub(crate) fn slice(pid: u32, begin_ns: u64, ns: u64) -> Slice {
    Slice {
        header: header(Kind::Slice, ns),
        begin_ns,
        pid,
        tid: pid,
        place: CPU,
        reserved: 0,
    }
}

pub(crate) fn stack(ns: u64, id: u64, functions: &[u64]) -> Stack {
    let mut frames = [0; STACK_DEPTH];
    frames[..functions.len()].copy_from_slice(functions);
    Stack {
        header: header(Kind::Stack, ns),
        id,
        depth: functions.len() as u64,
        frames,
    }
}

/// A read: when it was queued, issued and done, ns.
pub(crate) fn io(pid: u32, (queue_ns, issue_ns, ns): (u64, u64, u64), flags: u32) -> Io {
    Io {
        header: header(Kind::Io, ns),
        dev: DISK,
        queue_ns,
        issue_ns,
        bytes: 4_096,
        pid,
        tid: pid,
        flags,
        ..Io::default()
    }
}

/// The address of a connection's socket in the kernel.
pub(crate) fn address(connection: u64) -> u64 {
    SOCKET + connection * SOCKET_BYTES
}

pub(crate) fn call(tid: u32, connection: u64, ns: u64) -> Call {
    Call {
        header: header(Kind::Call, ns),
        socket: address(connection),
        result: 100,
        pid: SERVER,
        tid,
        unacked_bytes: 100,
        ifindex: ETH,
        ..Call::default()
    }
}

/// A client that has not connected before is accepted.
pub(crate) fn socket(ns: u64, connection: u64) -> Socket {
    let ends = |bytes: [u8; 4]| {
        let mut address = [0; 16];
        address[..4].copy_from_slice(&bytes);
        address
    };
    let [_, a, b, c] = (connection as u32).to_be_bytes();
    Socket {
        header: header(Kind::Socket, ns),
        socket: address(connection),
        pid: SERVER,
        family: libc::AF_INET as u32,
        local_port: 80,
        remote_port: 40_000,
        local: ends([10, 0, 0, 1]),
        remote: ends([11, a, b, c]),
        origin: ORIGIN_ACCEPTED,
        reserved: 0,
    }
}

pub(crate) fn flow(ns: u64, connection: u64) -> Flow {
    Flow {
        header: header(Kind::Flow, ns),
        socket: address(connection),
        netns: NETNS,
        ifindex: ETH,
        unacked_bytes: 100,
        window_bytes: 60_000,
        ..Flow::default()
    }
}

pub(crate) fn link(ns: u64, ifindex: u32, pid: u32) -> Link {
    let mut name = [0; 16];
    let text = match ifindex {
        ETH => "eth0".to_owned(),
        _ => format!("veth{ifindex}"),
    };
    name[..text.len()].copy_from_slice(text.as_bytes());
    Link {
        header: header(Kind::Link, ns),
        ifindex,
        netns: NETNS,
        pid,
        packets: 10,
        bytes: 10_000,
        backlog_min: 1,
        name,
        ..Link::default()
    }
}
