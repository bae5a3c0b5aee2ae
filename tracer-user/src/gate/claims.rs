//! What each event claims, compared with what can be.

use tracer_common::histogram::BUCKETS;

use super::{MOST_CPUS, MOST_UPTIME_NS, MOST_WINDOW_NS, Reason};
use crate::{
    event::{self, Event},
    standing::{Group, Standing},
};

/// An amount of one event: records, bytes, ns of all CPUs. 9 PB; the model sums a few hundred of these.
const MOST_AMOUNT: u64 = 1 << 53;

/// Pages of one event.
const MOST_PAGES: u64 = MOST_AMOUNT >> 12;

/// Use of one disk in the whole trace, and time since the boot.
const MOST_TOTAL: u64 = 1 << 58;

/// Bytes of one slice of a link: a hundred terabytes a second.
const MOST_SLICE_BYTES: u64 = 1 << 40;

/// Bytes that one call moves. The kernel cuts longer ones (`MAX_RW_COUNT`).
const MOST_CALL_BYTES: i64 = 1 << 31;

/// Nanoseconds since 1970: until 2116.
const MOST_WALL_NS: u64 = 1 << 62;

/// Items of a list. The longest are of ports, of processes and of connections.
const MOST_ITEMS: usize = 1 << 17;

/// Functions of a stack (`kernel.perf_event_max_stack` is 127 at first).
const MOST_FRAMES: usize = 4096;

/// Sources of interrupts of one slice: devices, and ten softirqs.
const MOST_SOURCES: usize = 64;

/// Owners of a lock and readers of a pipe that one look finds: tracer names sixteen.
const MOST_FOUND: usize = 64;

/// The lowest and the highest nice value.
const NICE: std::ops::RangeInclusive<i32> = -20..=19;

/// The claims of one event so far, and the first that cannot be.
#[derive(Clone, Copy)]
struct Claims {
    /// The latest time of the trace, ns.
    latest_ns: u64,
    wrong: Option<Reason>,
}

impl Claims {
    fn until(latest_ns: u64) -> Self {
        Self {
            latest_ns,
            wrong: None,
        }
    }

    fn holds(self, is_so: bool, reason: Reason) -> Self {
        let wrong = self.wrong.or((!is_so).then_some(reason));
        Self { wrong, ..self }
    }

    /// A time of the trace or before it, ns.
    fn time(self, ns: u64) -> Self {
        self.holds(ns <= self.latest_ns, Reason::Time)
    }

    /// Begin and end, ns. An unknown begin is 0.
    fn span(self, begin_ns: u64, ns: u64) -> Self {
        self.time(ns).holds(begin_ns <= ns, Reason::Span)
    }

    fn cpu(self, cpu: u32) -> Self {
        self.holds(cpu < MOST_CPUS, Reason::Cpu)
    }

    fn amount(self, amount: u64, most: u64) -> Self {
        self.holds(amount <= most, Reason::Amount)
    }

    fn amounts(self, amounts: impl IntoIterator<Item = u64>, most: u64) -> Self {
        let all = amounts.into_iter().fold(0, u64::saturating_add);
        self.amount(all, most)
    }

    fn length(self, length: usize, most: usize) -> Self {
        self.holds(length <= most, Reason::Length)
    }

    fn end(self) -> Result<(), Reason> {
        self.wrong.map_or(Ok(()), Err)
    }
}

/// The first event.
pub(super) fn of_start(start: &event::Start) -> Result<(), Reason> {
    let lists = [
        start.targets.len(),
        start.listening.len(),
        start.target_disks.len(),
        start.missing.len(),
    ];
    let claims = Claims::until(MOST_UPTIME_NS)
        .time(start.ns)
        .amount(start.wall_ns, MOST_WALL_NS)
        .amount(start.attach_ns, MOST_WINDOW_NS)
        .holds(start.cpus <= MOST_CPUS, Reason::Cpu);
    let longest = lists.into_iter().max().unwrap_or(0);
    claims.length(longest, MOST_ITEMS).end()
}

/// Any other event, of a trace that is over at `latest_ns` at the latest.
pub(super) fn of(event: &Event, latest_ns: u64) -> Result<(), Reason> {
    let claims = Claims::until(latest_ns).time(event.ns());
    // Each event is of one family. Nearly all are of the first.
    of_cpus(event, claims)
        .or_else(|| of_sockets(event, claims))
        .or_else(|| of_machine(event, claims))
        .or_else(|| of_processes(event, claims))
        .unwrap_or(claims)
        .end()
}

/// Threads and CPUs; `None` of any other event.
fn of_cpus(event: &Event, claims: Claims) -> Option<Claims> {
    Some(match event {
        Event::Wait(e) => claims
            .span(e.off_ns, e.ns)
            .cpu(e.cpu)
            .time(e.ran_since_ns)
            .time(e.waking_ns),
        Event::Slice(e) => claims.span(e.begin_ns, e.ns).cpu(e.cpu),
        Event::Migrate(e) => claims.cpu(e.from_cpu).cpu(e.to_cpu),
        Event::Interrupts(e) => claims
            .span(e.begin_ns, e.ns)
            .cpu(e.cpu)
            .length(e.took.len(), MOST_SOURCES)
            .amounts(e.took.iter().map(|(_, ns)| *ns), MOST_AMOUNT),
        Event::Stolen(e) => claims
            .span(e.begin_ns, e.ns)
            .cpu(e.cpu)
            .amount(e.stolen_ns, MOST_AMOUNT),
        Event::Work(e) => claims.span(e.begin_ns, e.ns),
        Event::Packets(e) => claims.cpu(e.cpu),
        Event::CpuTime(e) => claims.cpu(e.cpu),
        Event::Stack(e) => claims.length(e.frames.len(), MOST_FRAMES),
        Event::Thread(e) => claims.length(e.stack.len(), MOST_FRAMES),
        Event::Interrupted(e) => claims
            .length(e.took.len(), MOST_SOURCES)
            .amounts(e.took.iter().map(|(_, ns)| *ns), MOST_TOTAL),
        Event::LockSeen(e) => claims.length(e.owners.len(), MOST_FOUND),
        Event::LockReleased(e) => claims.time(e.since_ns),
        Event::WriteSeen(e) => claims.length(e.readers.len(), MOST_FOUND),
        _ => return None,
    })
}

/// Connections and links; `None` of any other event.
fn of_sockets(event: &Event, claims: Claims) -> Option<Claims> {
    Some(match event {
        Event::Call(e) => claims
            .time(e.arrived_ns)
            .holds(e.result <= MOST_CALL_BYTES, Reason::Amount),
        Event::Delivered(e) => claims.time(e.left_ns),
        Event::Link(e) => claims.amount(e.bytes, MOST_SLICE_BYTES),
        Event::Queue(e) => claims
            .amount(e.link.bytes, MOST_SLICE_BYTES)
            .amount(if e.timed > 0 { e.late_ns } else { 0 }, MOST_TOTAL),
        Event::Unanswered(e) => claims.time(e.since_ns),
        Event::Unread(e) => claims.time(e.arrived_ns),
        Event::UnderWay(e) => claims.amount(e.limited_ns, MOST_TOTAL),
        Event::Unheard(e) => {
            let times = e.connections.iter().map(|connection| connection.since_ns);
            claims
                .length(e.connections.len(), MOST_FRAMES)
                .length(e.threads.len(), MOST_FRAMES)
                .time(times.max().unwrap_or(0))
        }
        _ => return None,
    })
}

/// Processes. Their start is counted since the boot, with the time that the machine slept. `None` of any other event.
fn of_processes(event: &Event, claims: Claims) -> Option<Claims> {
    Some(match event {
        Event::Process(e) => claims.amount(e.start_ns, MOST_UPTIME_NS),
        Event::Fork(e) => claims.amount(e.start_ns, MOST_UPTIME_NS),
        Event::Exec(e) => claims.amount(e.start_ns, MOST_UPTIME_NS),
        Event::LockedOut(e) => claims.amount(e.frozen_ns, MOST_UPTIME_NS),
        Event::Follow(e) | Event::FollowHand(e) | Event::FollowOwner(e) => {
            claims.length(e.listening.len(), MOST_ITEMS)
        }
        Event::Standing(e) => of_standing(e, claims),
        Event::Histogram(e) => claims
            .holds(e.first as usize <= BUCKETS, Reason::Amount)
            .length(e.buckets.len(), BUCKETS)
            .amount(e.count, MOST_AMOUNT)
            .amount(e.zero_count, MOST_AMOUNT)
            .amounts([e.sum_ns, e.max_ns, e.held_ns], u64::MAX >> 1),
        _ => return None,
    })
}

fn of_standing(standing: &Standing, claims: Claims) -> Claims {
    let group = standing.autogroup.map_or(0, |(_, nice)| nice);
    let claims = claims
        .holds(NICE.contains(&standing.nice), Reason::Amount)
        .holds(NICE.contains(&group), Reason::Amount);
    let members = |group: &Option<Group>| group.as_ref().map_or(0, |group| group.members.len());
    claims
        .length(members(&standing.cpu), MOST_FRAMES)
        .length(members(&standing.io), MOST_FRAMES)
        .length(standing.connections.len(), MOST_ITEMS)
}

/// Disks, limits, memory, and the end; `None` of any other event.
fn of_machine(event: &Event, claims: Claims) -> Option<Claims> {
    Some(match event {
        Event::Io(e) => claims.span(e.queue_ns, e.ns).time(e.issue_ns),
        Event::DiskTotal(e) => {
            let operations = [e.reads, e.writes, e.others];
            claims
                .amounts([e.device_ns], MOST_TOTAL)
                .amounts(operations, MOST_TOTAL)
                .amounts([e.read_bytes, e.write_bytes], MOST_TOTAL)
        }
        Event::EarlierFile(e) => claims.amount(e.bytes, MOST_TOTAL),
        Event::Disk(e) => claims.length(e.below.len(), MOST_FRAMES),
        Event::LimitUse(e) => claims
            .span(e.begin_ns, e.ns)
            .amount(e.held_back, MOST_AMOUNT)
            .amount(e.read_again, MOST_PAGES)
            .amounts(e.used.iter().map(|(_, used)| *used), MOST_AMOUNT),
        Event::MemoryUse(e) => claims
            .span(e.begin_ns, e.ns)
            .amount(e.reclaimed, MOST_AMOUNT)
            .amount(e.read_again, MOST_PAGES)
            .amount(e.unknown, MOST_AMOUNT)
            .amounts(e.used.iter().map(|(_, used)| *used), MOST_AMOUNT),
        Event::Siblings(e) => claims.amounts([e.target_ns, e.beside_ns], u64::MAX >> 1),
        Event::Sources(e) => claims.length(e.files.len(), MOST_FRAMES),
        Event::Shed(e) => claims.time(e.since_ns).amount(e.for_ns, MOST_TOTAL),
        Event::Counted(e) => of_counted(e, claims),
        Event::End(e) => of_end(e, claims),
        _ => return None,
    })
}

/// What is open is judged as the records are.
fn of_counted(counted: &event::Counted, claims: Claims) -> Claims {
    let counters = &counted.counters;
    let lists = [
        counted.waits.len(),
        counted.requests.len(),
        counted.slices.len(),
        counters.disks.len(),
        counters.links.len(),
        counters.processes.len(),
        counters.sockets.as_ref().map_or(0, Vec::len),
    ];
    let longest = lists.into_iter().max().unwrap_or(0);
    let claims = claims
        .length(longest, MOST_ITEMS)
        .amounts([counted.lost, counted.cost_ns], MOST_TOTAL);
    let waits = counted.waits.iter();
    let claims = waits.fold(claims, |claims, wait| {
        claims
            .span(wait.off_ns, wait.ns)
            .cpu(wait.cpu)
            .time(wait.ran_since_ns)
            .time(wait.waking_ns)
    });
    let requests = counted.requests.iter();
    let claims = requests.fold(claims, |claims, io| {
        claims.span(io.queue_ns, io.ns).time(io.issue_ns)
    });
    let slices = counted.slices.iter();
    slices.fold(claims, |claims, slice| {
        claims.span(slice.begin_ns, slice.ns).cpu(slice.cpu)
    })
}

fn of_end(end: &event::End, claims: Claims) -> Claims {
    let drops = end.ring_drops.iter().map(|(_, dropped)| *dropped);
    let losses = end.map_losses.iter().map(|(_, lost)| *lost);
    claims
        .amounts(drops.chain(losses), MOST_AMOUNT)
        .amounts([end.sent, end.received, end.recording_drops], MOST_AMOUNT)
        .amounts([end.cpu_ns, end.kernel_ns.unwrap_or(0)], u64::MAX >> 1)
        .length(end.evidence.len(), MOST_FRAMES)
        .length(end.ring_drops.len(), MOST_FRAMES)
        .length(end.map_losses.len(), MOST_FRAMES)
}
