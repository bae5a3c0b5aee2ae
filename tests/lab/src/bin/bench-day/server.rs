//! The server of the day, and what comes and goes around it. A beat is one request, with ten switches; each tenth beat runs a program.
//!
//! What a machine has more and more of in a day is new each time: processes and their ids, connections, addresses, stacks, files that are
//! locked, control groups, containers and their interfaces.

use tracer::{
    class::Resource,
    event::{self, Event, LimitUse, LockFile, Moved, Process, Start, Thread},
    standing::Called,
};
use tracer_common::{
    Kind,
    block::IO_TARGET,
    histogram::{Cell, CellKey, Family, Snapshot},
    irq::{Interrupts, SOURCES},
    lock::{LOCK_WAITS, LockTried},
    packets::Packets,
    proc::{CMDLINE, Exec, Exit, Fork},
    sched::{WAIT_IOWAIT, WAIT_NO_WAKER, Wait},
    tcp::{Ack, CALL_CLOSE, CALL_SEND, Call, Client, LINK_SLICE_NS},
};

use crate::{
    fold::Fold,
    records::{
        CPU, DISK, ETH, SERVER, address, call, first, flow, header, io, link, preempted, slice,
        socket, stack, thread_end, wait,
    },
};

/// Length of a beat, ns: 10,000 a second.
pub(crate) const BEAT_NS: u64 = 100_000;
/// Beats of a slice of a link.
const SLICE: u64 = LINK_SLICE_NS / BEAT_NS;

/// The server's threads.
const WORKER: u32 = 101;
const WORKERS: usize = 16;
/// Others that are there all day.
const SHELL: u32 = 200;
const TAR: u32 = 201;
/// Programs come and go with these ids, which are used again after half a minute at full speed.
const PROGRAM: u32 = 40_000;
const PIDS: u64 = 32_768;
/// Names of programs.
const NAMES: u64 = 3_000;
/// Threads of the server that come and go.
const THREAD: u32 = 100_000;

/// Interfaces of containers that are there all day, and the first of those that come and go.
const VETHS: u32 = 16;
const VETH: u32 = 1_000;

/// Connections that the clients use again and again.
const KEPT: u64 = 1_000;

/// Stacks that are seen all day, and the first of those that are new.
const EPOLL: u64 = 1;
const PAGE: u64 = 2;
const PIPE: u64 = 3;
const LOCK: u64 = 4;
const NEW_STACK: u64 = 1_000;

/// The functions of these stacks, by address.
const FUNCTIONS: [&str; 8] = [
    "schedule",
    "ep_poll",
    "io_schedule",
    "folio_wait_bit_common",
    "anon_pipe_read",
    "posix_lock_inode_wait",
    "vfs_read",
    "do_syscall_64",
];
const STACKS: [(u64, &[u64]); 4] = [
    (EPOLL, &[0, 1, 7]),
    (PAGE, &[0, 2, 3, 6, 7]),
    (PIPE, &[0, 4, 6, 7]),
    (LOCK, &[0, 5, 7]),
];

/// The name of the function at an address.
pub(crate) fn function(address: u64) -> String {
    let known = FUNCTIONS.get(address as usize);
    known.map_or_else(|| format!("function_{address}"), |name| (*name).to_owned())
}

/// The state of the server.
pub(crate) struct Server {
    /// Requests so far.
    pub(crate) requests: u64,
    /// Programs that came and went.
    programs: u64,
    /// Connections so far, with those that are there all day.
    connections: u64,
    /// When each worker last fell asleep, ns.
    asleep: [u64; WORKERS],
}

impl Server {
    /// The facts at attach.
    pub(crate) fn begin(ns: u64, fold: &mut Fold) -> Self {
        let start = Start {
            ns,
            cpus: 2,
            targets: vec![SERVER],
            listening: vec![80],
            target_disks: vec![DISK],
            ..Start::default()
        };
        fold.event(&Event::Start(Box::new(start)));
        for (pid, comm) in [(SERVER, "server"), (SHELL, "sh"), (TAR, "tar")] {
            fold.event(&Event::Process(Process {
                pid,
                comm: comm.to_owned(),
                target: pid == SERVER,
                ..Process::default()
            }));
        }
        for tid in WORKER..WORKER + WORKERS as u32 {
            fold.event(&Event::Thread(Thread {
                pid: SERVER,
                tid,
                state: 'S',
                stack: vec!["schedule".to_owned(), "ep_poll".to_owned()],
            }));
        }
        fold.event(&Event::Disk(event::Disk {
            dev: DISK,
            name: "sda".to_owned(),
            ..event::Disk::default()
        }));
        for (id, frames) in STACKS {
            fold.record(&stack(ns, id, frames));
        }
        for number in 0..KEPT {
            fold.record(&socket(ns, number));
        }
        Self {
            requests: 0,
            programs: 0,
            connections: KEPT,
            asleep: [ns; WORKERS],
        }
    }

    /// One request, from `ns` on.
    pub(crate) fn beat(&mut self, ns: u64, fold: &mut Fold) {
        let number = self.requests;
        self.requests += 1;
        let at = |us: u64| ns + us * 1_000;
        let index = number as usize % WORKERS;
        let tid = WORKER + index as u32;
        let is_each = |nth: u64| number.is_multiple_of(nth);
        fold.record(&slice(TAR, at(1), at(4)));
        fold.record(&wait(tid, (self.asleep[index], at(4)), 3_000, EPOLL));
        let connection = match is_each(5) {
            true => self.connect(at(4), fold),
            false => number % KEPT,
        };
        fold.record(&Call {
            arrived_ns: at(1),
            ..call(tid, connection, at(5))
        });
        let program = is_each(10).then(|| self.program(ns, fold));
        let beside = program.unwrap_or(TAR);
        self.work(tid, beside, ns, fold);
        answer((tid, connection), (number, program), ns, fold);
        self.asleep[index] = at(88);
        if let Some(pid) = program {
            self.program_ends(pid, ns, fold);
        }
        if is_each(SLICE) {
            self.slice_of_links(ns, fold);
        }
    }

    /// The waits of a worker for a request, in which other threads have the CPU or the disk.
    fn work(&self, tid: u32, beside: u32, ns: u64, fold: &mut Fold) {
        let number = self.requests;
        let at = |us: u64| ns + us * 1_000;
        fold.record(&slice(beside, at(20), at(24)));
        fold.record(&preempted(tid, at(20), at(24)));
        let mut page = PAGE;
        if number.is_multiple_of(10) {
            page = NEW_STACK + number;
            fold.record(&stack(
                at(28),
                page,
                &[0, 2, 3, 6, NEW_STACK + number % 5_000, 7],
            ));
        }
        fold.record(&io(beside, (at(26), at(27), at(46)), 0));
        fold.record(&io(SERVER, (at(28), at(29), at(47)), IO_TARGET));
        fold.record(&slice(TAR, at(47), at(48)));
        fold.record(&Wait {
            state: 2,
            flags: WAIT_NO_WAKER | WAIT_IOWAIT,
            ..wait(tid, (at(28), at(48)), 1_000, page)
        });
        let mut sleep = PIPE;
        if number.is_multiple_of(50) {
            sleep = LOCK;
            fold.record(&LockTried {
                header: header(Kind::LockTried, at(52)),
                inode: number,
                pid: SERVER,
                tid,
                owner_pid: beside,
                outcome: LOCK_WAITS,
                ..LockTried::default()
            });
            fold.event(&Event::LockFile(LockFile {
                ns: at(53),
                pid: SERVER,
                inode: number,
                path: format!("/var/lib/server/{number}"),
            }));
        }
        fold.record(&slice(beside, at(59), at(60)));
        fold.record(&wait(tid, (at(52), at(60)), 1_000, sleep));
        fold.record(&slice(beside, at(66), at(70)));
        fold.record(&preempted(tid, at(66), at(70)));
    }

    /// A client connects.
    fn connect(&mut self, ns: u64, fold: &mut Fold) -> u64 {
        let number = self.connections;
        self.connections += 1;
        fold.record(&socket(ns, number));
        number
    }

    /// A program begins in a group of its own, in turn the server's child and a shell's. Returns its id.
    fn program(&mut self, ns: u64, fold: &mut Fold) -> u32 {
        let number = self.programs;
        self.programs += 1;
        let pid = PROGRAM + (number % PIDS) as u32;
        let is_target = is_child(pid);
        let at = |us: u64| ns + us * 1_000;
        let mut comm = [0; 16];
        let name = format!("job-{}", number % NAMES);
        comm[..name.len()].copy_from_slice(name.as_bytes());
        fold.record(&Fork {
            header: header(Kind::Fork, at(6)),
            pid,
            tid: pid,
            parent_pid: if is_target { SERVER } else { SHELL },
            target: u32::from(is_target),
            start_ns: at(6),
            comm,
            ..Fork::default()
        });
        if is_target {
            fold.record(&first(pid, pid, at(7)));
        }
        let mut cmdline = [0; CMDLINE];
        cmdline[..name.len()].copy_from_slice(name.as_bytes());
        fold.record(&Exec {
            header: header(Kind::Exec, at(8)),
            pid,
            cmdline_len: name.len() as u32,
            sid: 1,
            pgid: pid,
            start_ns: at(6),
            comm,
            cmdline,
        });
        fold.event(&Event::Moved(Moved {
            ns: at(9),
            pid,
            cgroup: format!("/jobs/{number}"),
        }));
        pid
    }

    fn program_ends(&self, pid: u32, ns: u64, fold: &mut Fold) {
        let at = |us: u64| ns + us * 1_000;
        let cell = Cell {
            count: 1,
            sum_ns: 3_000,
            max_ns: 3_000,
            held_ns: 9_000,
            ..Cell::EMPTY
        };
        fold.record(&Snapshot {
            header: header(Kind::Snapshot, at(90)),
            key: CellKey {
                pid,
                family: Family::RunQueue as u32,
            },
            cell,
        });
        if is_child(pid) {
            fold.record(&thread_end(pid, pid, at(91)));
        }
        fold.record(&Exit {
            header: header(Kind::Exit, at(92)),
            pid,
            reserved: 0,
        });
        let thread = THREAD + pid;
        fold.record(&Fork {
            header: header(Kind::Fork, at(93)),
            pid: SERVER,
            tid: thread,
            parent_pid: SERVER,
            target: 1,
            start_ns: at(93),
            ..Fork::default()
        });
        fold.record(&first(SERVER, thread, at(94)));
        fold.record(&thread_end(SERVER, thread, at(95)));
    }

    /// Ten milliseconds of links, and of softirqs that move packets, are over.
    fn slice_of_links(&self, ns: u64, fold: &mut Fold) {
        let begin = (ns / LINK_SLICE_NS) * LINK_SLICE_NS;
        for veth in 0..VETHS {
            for pid in [SERVER, TAR] {
                fold.record(&link(begin, VETH + veth, pid));
            }
        }
        for pid in [SERVER, TAR] {
            fold.record(&link(begin, ETH, pid));
            fold.record(&Packets {
                header: header(Kind::Packets, begin),
                cpu: CPU,
                pid,
                sent: 10,
                received: 10,
                ..Packets::default()
            });
        }
        let mut took = [0; SOURCES];
        // NET_RX.
        took[3] = 2_000;
        fold.record(&Interrupts {
            header: header(Kind::Interrupts, ns + 98_000),
            begin_ns: ns + 90_000,
            ns: took,
            place: CPU,
            reserved: 0,
        });
    }

    /// Two containers begin, each with an interface of its own, and a group was held back by its limit.
    pub(crate) fn containers(&self, step: u64, ns: u64, fold: &mut Fold) {
        for number in [2 * step, 2 * step + 1] {
            let group = format!("/containers/{number}");
            let name = format!("container-{number}");
            fold.event(&Event::Called(Box::new(Called {
                group,
                name,
                ..Called::default()
            })));
            let ifindex = VETH + VETHS + number as u32;
            fold.record(&link(ns, ifindex, TAR));
        }
        fold.event(&Event::LimitUse(Box::new(LimitUse {
            begin_ns: ns,
            ns: ns + 1_000,
            resource: Resource::Cpu,
            file: format!("/sys/fs/cgroup/jobs/{}/cpu.max", step % 600),
            disk: String::new(),
            held_back: 1,
            read_again: 0,
            used: vec![(TAR, 1_000)],
        })));
    }
}

/// A worker answers on a connection. That is the request's number; a program may have begun with it.
fn answer(
    (tid, connection): (u32, u64),
    (number, program): (u64, Option<u32>),
    ns: u64,
    fold: &mut Fold,
) {
    let at = |us: u64| ns + us * 1_000;
    fold.record(&Call {
        flags: CALL_SEND,
        ..call(tid, connection, at(80))
    });
    if number.is_multiple_of(4) {
        fold.record(&flow(at(81), connection));
    }
    fold.record(&Ack {
        header: header(Kind::Ack, at(85)),
        socket: address(connection),
        left_ns: at(82),
    });
    if number.is_multiple_of(50)
        && let Some(client_pid) = program
    {
        fold.record(&Client {
            header: header(Kind::Client, at(86)),
            socket: address(connection),
            pid: SERVER,
            client_pid,
        });
    }
    if number.is_multiple_of(10) {
        // Of the other half no client ever ends its connection.
        fold.record(&Call {
            flags: CALL_CLOSE,
            result: 0,
            ..call(tid, connection, at(87))
        });
    }
}

/// Is a program the server's child? Of the others nothing is known but the process.
fn is_child(pid: u32) -> bool {
    pid.is_multiple_of(2)
}
