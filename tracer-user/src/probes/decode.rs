//! Bytes of a ring-buffer record become an owned event, once, length-checked.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tracer_common::{block, histogram, irq, proc, record::Header, record::Kind, sched, tcp};

use crate::event::{self, Event};

/// Why a record could not be decoded: a fault of ours, never of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its kind is.
    Short {
        /// Length found.
        length: usize,
    },
    /// No such kind.
    Kind(u32),
}

/// Reads a plain record from the front of `bytes`.
pub fn read<T: aya::Pod>(bytes: &[u8]) -> Result<T, Malformed> {
    if bytes.len() < size_of::<T>() {
        return Err(Malformed::Short {
            length: bytes.len(),
        });
    }
    // SAFETY: long enough, and any bit pattern is a valid `Pod`.
    Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Decodes one record; `symbol` names the function at a kernel address.
///
/// # Errors
/// [`Malformed`] if the record is shorter than its kind or the kind is unknown.
pub fn decode(bytes: &[u8], symbol: impl Fn(u64) -> String) -> Result<Event, Malformed> {
    let header: Header = read(bytes)?;
    let kind = Kind::from_u32(header.kind).ok_or(Malformed::Kind(header.kind))?;
    Ok(match kind {
        Kind::Wait => Event::Wait(wait(&read(bytes)?)),
        Kind::Slice => Event::Slice(slice(&read(bytes)?)),
        Kind::Migrate => Event::Migrate(migrate(&read(bytes)?)),
        Kind::Stack => Event::Stack(stack(&read(bytes)?, symbol)),
        Kind::ThreadEnd => {
            let r: sched::ThreadEnd = read(bytes)?;
            Event::ThreadEnd(event::ThreadEnd {
                ns: r.header.ns,
                pid: r.pid,
                tid: r.tid,
            })
        }
        Kind::Io => Event::Io(io(&read(bytes)?)),
        Kind::Call => Event::Call(call(&read(bytes)?)),
        Kind::Socket => Event::Socket(socket(&read(bytes)?)),
        Kind::Ack => acknowledgement(&read(bytes)?),
        Kind::Client => {
            let r: tcp::Client = read(bytes)?;
            Event::Client(event::Client {
                ns: r.header.ns,
                socket: r.socket,
                pid: r.pid,
                client_pid: r.client_pid,
            })
        }
        Kind::Link => Event::Link(link(&read(bytes)?)),
        Kind::Fork => Event::Fork(fork(&read(bytes)?)),
        Kind::Exec => Event::Exec(exec(&read(bytes)?)),
        Kind::Exit => {
            let r: proc::Exit = read(bytes)?;
            Event::Exit(event::Exit {
                ns: r.header.ns,
                pid: r.pid,
            })
        }
        Kind::Flow => Event::Flow(flow(&read(bytes)?)),
        Kind::Work => {
            let r: sched::Work = read(bytes)?;
            Event::Work(event::Work {
                ns: r.header.ns,
                begin_ns: r.begin_ns,
                pid: r.pid,
                function: symbol(r.function),
            })
        }
        Kind::Stolen => {
            let r: sched::Stolen = read(bytes)?;
            Event::Stolen(event::Stolen {
                ns: r.header.ns,
                cpu: r.header.cpu,
                begin_ns: r.begin_ns,
                stolen_ns: r.stolen_ns,
            })
        }
        Kind::Interrupts => Event::Interrupts(interrupts(&read(bytes)?)),
        Kind::Packets => Event::Packets(super::packets::packets(&read(bytes)?)),
        Kind::Snapshot => {
            let r: histogram::Snapshot = read(bytes)?;
            Event::Histogram(Box::new(cell(r.header.ns, r.key, &r.cell)))
        }
    })
}

fn wait(r: &sched::Wait) -> event::Wait {
    event::Wait {
        ns: r.header.ns,
        cpu: r.header.cpu,
        pid: r.pid,
        tid: r.tid,
        ran_since_ns: r.ran_since_ns,
        ran_ns: r.ran_ns,
        off_ns: r.off_ns,
        run_queue_ns: r.run_queue_ns,
        throttled_ns: r.throttled_ns,
        waking_ns: r.waking_ns,
        stack: r.stack,
        waker_stack: r.waker_stack,
        waker_pid: r.waker_pid,
        waker_tid: r.waker_tid,
        state: r.state,
        flags: r.flags,
    }
}

/// A thread that is still off the CPU at `ns`, as the kernel half remembers it.
#[must_use]
pub fn open_wait(tid: u32, task: &sched::Task, ns: u64) -> Option<event::Wait> {
    (task.state != sched::TASK_RUNNING && task.off_ns != 0).then(|| event::Wait {
        ns,
        cpu: task.cpu,
        pid: task.pid,
        tid,
        ran_since_ns: task.on_ns,
        ran_ns: task.ran_ns,
        off_ns: task.off_ns,
        run_queue_ns: match task.state {
            sched::TASK_QUEUED if task.flags & sched::WAIT_RUNNABLE != 0 => {
                ns.saturating_sub(task.off_ns)
            }
            sched::TASK_QUEUED => ns.saturating_sub(task.waking_ns.max(task.off_ns)),
            _ => 0,
        },
        throttled_ns: 0,
        waking_ns: task.waking_ns,
        stack: task.stack(),
        waker_stack: task.waker_stack,
        waker_pid: task.waker_pid,
        waker_tid: task.waker_tid,
        state: task.kernel_state,
        flags: task.flags | sched::WAIT_OPEN,
    })
}

/// Who holds a CPU at `ns` on which a target thread stands in the queue, as the kernel half remembers it.
#[must_use]
pub fn open_slice(cpu: u32, state: &sched::Cpu, ns: u64) -> Option<event::Slice> {
    let begin_ns = state.since_ns.max(state.emitted_ns);
    let holds = state.queued as i64 > 0 && state.since_ns != 0 && begin_ns < ns;
    holds.then_some(event::Slice {
        ns,
        cpu,
        begin_ns,
        pid: state.pid,
        tid: state.tid,
    })
}

fn slice(r: &sched::Slice) -> event::Slice {
    event::Slice {
        ns: r.header.ns,
        cpu: r.place,
        begin_ns: r.begin_ns,
        pid: r.pid,
        tid: r.tid,
    }
}

fn interrupts(r: &irq::Interrupts) -> event::Interrupts {
    event::Interrupts {
        ns: r.header.ns,
        cpu: r.place,
        begin_ns: r.begin_ns,
        took: took(&r.ns),
    }
}

/// What interrupted target threads on all CPUs, as the kernel half remembers it.
#[must_use]
pub fn interrupted(cpus: &[irq::Sums]) -> event::Interrupted {
    let sum = |source: usize| cpus.iter().map(|sums| sums.own_ns[source]).sum();
    event::Interrupted {
        took: took(&std::array::from_fn(sum)),
    }
}

/// Those that took anything.
fn took(ns: &[u64; irq::SOURCES]) -> Vec<(event::Source, u64)> {
    let source = |number: usize| match number {
        irq::HARD => event::Source::Irq,
        softirq => event::Source::Softirq(softirq as u32),
    };
    let all = ns.iter().enumerate();
    all.filter(|(_, ns)| **ns > 0)
        .map(|(number, ns)| (source(number), *ns))
        .collect()
}

/// What interrupts took so far of a CPU on which a target thread is queued, as the kernel half remembers it.
#[must_use]
pub fn open_interrupts(
    cpu: u32,
    state: &sched::Cpu,
    sums: &irq::Sums,
    ns: u64,
) -> Option<event::Interrupts> {
    let begin_ns = open_slice(cpu, state, ns)?.begin_ns.max(state.opened_ns);
    let untold = std::array::from_fn(|n| sums.ns[n].saturating_sub(sums.told_ns[n]));
    let took = took(&untold);
    (!took.is_empty()).then_some(event::Interrupts {
        ns,
        cpu,
        begin_ns,
        took,
    })
}

fn migrate(r: &sched::Migrate) -> event::Migrate {
    event::Migrate {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        from_cpu: r.from_cpu,
        to_cpu: r.to_cpu,
    }
}

fn stack(r: &sched::Stack, symbol: impl Fn(u64) -> String) -> event::Stack {
    let depth = (r.depth as usize).min(sched::STACK_DEPTH);
    let frames = r.frames[..depth]
        .iter()
        .map(|address| symbol(*address))
        .collect();
    event::Stack {
        ns: r.header.ns,
        id: r.id,
        frames,
    }
}

fn io(r: &block::Io) -> event::Io {
    event::Io {
        ns: r.header.ns,
        dev: r.dev,
        op: r.op,
        queue_ns: r.queue_ns,
        issue_ns: r.issue_ns,
        bytes: r.bytes,
        pid: r.pid,
        tid: r.tid,
        flags: r.flags,
    }
}

/// A request that is still in flight at `ns`, as the kernel half remembers it.
#[must_use]
pub fn open_io(r: &block::Request, ns: u64) -> event::Io {
    event::Io {
        ns,
        dev: r.dev,
        op: r.op,
        queue_ns: r.queue_ns,
        issue_ns: r.issue_ns,
        bytes: r.bytes,
        pid: r.pid,
        tid: r.tid,
        flags: r.flags | block::IO_OPEN,
    }
}

fn call(r: &tcp::Call) -> event::Call {
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

/// An address of a socket, as text: an IPv4 address mapped into IPv6 is shown as IPv4.
fn address(family: u32, bytes: [u8; 16], port: u32) -> String {
    const AF_INET: u32 = 2;
    let port = port as u16;
    if family == AF_INET {
        let [a, b, c, d, ..] = bytes;
        return SocketAddr::from((Ipv4Addr::new(a, b, c, d), port)).to_string();
    }
    SocketAddr::new(Ipv6Addr::from(bytes).to_canonical(), port).to_string()
}

fn socket(r: &tcp::Socket) -> event::Socket {
    event::Socket {
        ns: r.header.ns,
        socket: r.socket,
        pid: r.pid,
        local: address(r.family, r.local, r.local_port),
        local_port: r.local_port,
        remote: address(r.family, r.remote, r.remote_port),
    }
}

/// What one owner sent in one slice.
#[must_use]
pub fn link(r: &tcp::Link) -> event::Link {
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

fn acknowledgement(r: &tcp::Ack) -> Event {
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

fn flow(r: &tcp::Flow) -> event::Flow {
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

fn fork(r: &proc::Fork) -> event::Fork {
    event::Fork {
        ns: r.header.ns,
        pid: r.pid,
        tid: r.tid,
        parent_pid: r.parent_pid,
        target: r.target != 0,
        sid: r.sid,
        pgid: r.pgid,
        start_ns: r.start_ns,
        comm: text(&r.comm),
    }
}

fn exec(r: &proc::Exec) -> event::Exec {
    let length = (r.cmdline_len as usize).min(proc::CMDLINE);
    event::Exec {
        ns: r.header.ns,
        pid: r.pid,
        sid: r.sid,
        pgid: r.pgid,
        start_ns: r.start_ns,
        comm: text(&r.comm),
        cmdline: String::from_utf8_lossy(&r.cmdline[..length])
            .trim_end_matches('\0')
            .replace('\0', " "),
    }
}

/// A histogram as the kernel half keeps it.
#[must_use]
pub fn cell(ns: u64, key: histogram::CellKey, cell: &histogram::Cell) -> event::Histogram {
    let used = |count: &u32| *count != 0;
    let first = cell.buckets.iter().position(used).unwrap_or(0);
    let end = cell
        .buckets
        .iter()
        .rposition(used)
        .map_or(first, |last| last + 1);
    event::Histogram {
        ns,
        pid: key.pid,
        family: key.family,
        count: cell.count,
        zero_count: cell.zero_count,
        sum_ns: cell.sum_ns,
        max_ns: cell.max_ns,
        held_ns: cell.held_ns,
        first: first as u32,
        buckets: cell.buckets[first..end].to_vec(),
    }
}

/// What an owner had of a disk, as the kernel half keeps it.
#[must_use]
pub fn disk_total(key: block::DiskOwner, total: &block::DiskTotal) -> event::DiskTotal {
    event::DiskTotal {
        dev: key.dev,
        pid: key.pid,
        device_ns: total.device_ns,
        reads: total.reads,
        writes: total.writes,
        read_bytes: total.read_bytes,
        write_bytes: total.write_bytes,
        others: total.others,
    }
}

/// A NUL-terminated name.
fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_record_is_refused_with_its_length() {
        assert_eq!(
            decode(&[0; 8], |_| String::new()),
            Err(Malformed::Short { length: 8 })
        );
        assert_eq!(
            decode(&[0; 40], |_| String::new()),
            Err(Malformed::Short { length: 40 })
        );
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut bytes = [0; 400];
        bytes[0] = 99;
        assert_eq!(decode(&bytes, |_| String::new()), Err(Malformed::Kind(99)));
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
