//! The peers that tell together what tracer tells of a server: how long it queues for a CPU, where it waits, how long disks take, and
//! what it sends and receives.

use xtask::command::say;

use super::{
    block::show_tracepoints,
    table::{Limit, To},
    watcher::{Target, Watcher, Watching, rows},
};

/// The rows of the peers, by what bpftrace can do here.
pub(super) const BY_SOCKETS: &str = "four peers (bpftrace: sock_*_length)";
pub(super) const BY_CALLS: &str = "four peers (bpftrace: system calls)";
pub(super) const THREE: &str = "three peers (bpftrace does not run)";

/// Bytes of each send and receive of a process, as a user asks for them. These tracepoints are in kernels from 6.3 on, and no kprobe is
/// needed.
const SOCKETS: &str = r#"
tracepoint:sock:sock_send_length /pid == $1/ { @sent = hist(args->ret); }
tracepoint:sock:sock_recv_length /pid == $1/ { @received = hist(args->ret); }
"#;
/// The same of the calls with which nginx sends and receives.
const CALLS: &str = r#"
tracepoint:syscalls:sys_exit_writev, tracepoint:syscalls:sys_exit_sendfile64 /pid == $1/ { @sent = hist(args->ret); }
tracepoint:syscalls:sys_exit_recvfrom /pid == $1/ { @received = hist(args->ret); }
"#;

const OFFCPUTIME: &[&str] = &["offcputime", "-p"];
const RUNQLAT: &[&str] = &["runqlat", "-p"];
const BIOLATENCY: &[&str] = &["biolatency"];
const WITHOUT_BPFTRACE: &[&[&str]] = &[OFFCPUTIME, RUNQLAT, BIOLATENCY];

/// bpftrace alone, in the order in which it is tried, and all four with it.
const WITH_BPFTRACE: &[[Watcher; 2]] = &[
    with_bpftrace(
        "bpftrace on sock_send_length and sock_recv_length",
        &[&["bpftrace", "-e", SOCKETS]],
        BY_SOCKETS,
        &[
            OFFCPUTIME,
            RUNQLAT,
            BIOLATENCY,
            &["bpftrace", "-e", SOCKETS],
        ],
    ),
    with_bpftrace(
        "bpftrace on writev, sendfile64 and recvfrom",
        &[&["bpftrace", "-e", CALLS]],
        BY_CALLS,
        &[OFFCPUTIME, RUNQLAT, BIOLATENCY, &["bpftrace", "-e", CALLS]],
    ),
];

const fn with_bpftrace(
    alone: &'static str,
    line: &'static [&'static [&'static str]],
    together: &'static str,
    all: &'static [&'static [&'static str]],
) -> [Watcher; 2] {
    [
        Watcher::peer(alone, line, Target::Load, true),
        Watcher::peer(together, all, Target::Load, true),
    ]
}

/// How a load is measured beside them.
pub(super) struct How {
    /// The row of the peers that run here.
    pub(super) peers: Watcher,
    /// Runs of each watcher.
    pub(super) rounds: u32,
    pub(super) short: bool,
}

impl How {
    /// The rows to measure: these peers, and others.
    pub(super) fn rows(&self, others: &[Watcher]) -> Vec<Watcher> {
        let all = std::iter::once(&self.peers).chain(others);
        rows(&all.cloned().collect::<Vec<_>>(), self.short)
    }
}

/// A limit that is shown and not judged by `--short`: its few runs tell large costs only.
pub(super) const fn of_peers(peers: &'static [&'static str], target: f64) -> Limit {
    Limit {
        of: "tracer, itself",
        to: To::Peers(peers),
        target,
        fails: f64::INFINITY,
    }
}

/// The row of the peers that run here. bpftrace may not be installed, may refuse its line, and the kernel may lack the tracepoints.
pub(super) fn together() -> Watcher {
    show_tracepoints();
    let own = std::process::id();
    for [bpftrace, all] in WITH_BPFTRACE {
        match bpftrace.start(own, own).and_then(Watching::end) {
            Ok(()) => {
                let line = &bpftrace.name;
                say(&format!(
                    "the four peers are offcputime -p, runqlat -p, biolatency, and {line}"
                ));
                return all.clone();
            }
            Err(error) => say(&format!("{} does not run: {error:#}", bpftrace.name)),
        }
    }
    say("the peers are three: offcputime -p, runqlat -p, biolatency");
    Watcher::peer(THREE, WITHOUT_BPFTRACE, Target::Load, true)
}
