//! Block I/O: the process that queued a bio, and the request that it became, from issue to completion.
//!
//! Order in the kernel: `block_bio_queue` → (request allocated, merged, scheduled) → `block_rq_issue` → `block_rq_complete` →
//! `block_bio_complete`. Only the first runs in the context of the owner, and only for direct and synchronous I/O.

mod bios;
mod dirty;
mod earlier;
mod held_back;
mod merged;
mod owners;
mod sync;
mod writeback;
mod xfs;

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    Kind,
    block::{
        BEFORE, DISK_TOTALS_MAP, DiskOwner, DiskTotal, FLUSHES, IO_BEFORE, IO_ERROR, IO_HELD,
        IO_JOURNAL, IO_KTHREAD, IO_MERGED, IO_PART, IO_READAHEAD, IO_TARGET, IO_THROTTLED,
        IO_UNOWNED, IO_UNSEEN, IO_WRITEBACK, Io, OP_DRIVER, OP_FLUSH, OP_MASK, OP_READ, OP_WRITE,
        READS_AHEAD, REQUESTS_MAP, RequestState,
    },
    record::MapLoss,
    sched::LEAST_LONG_NS,
};

use self::writeback::{is_kernel_thread, on_behalf};
use crate::{
    atomic, disks, emit,
    filter::{is_light, is_target},
    histograms,
    kernel::{Bio, QueueGroup, Request, argument, config, current, now, number},
    lru,
    shared::shared,
};

/// Requests in flight by address, if no bio stands for them.
#[map]
static REQUESTS: HashMap<u64, RequestState> = HashMap::with_max_entries(1024, 0);

/// The last bio that asked for a flush of a disk, by device number: a flush request carries no bio.
#[map]
static FLUSHERS: HashMap<u32, RequestState> = HashMap::with_max_entries(1024, 0);

/// Totals of each process on each disk.
#[map]
static DISK_TOTALS: LruHashMap<DiskOwner, DiskTotal> = LruHashMap::with_max_entries(8192, 0);

shared!(REQUESTS = REQUESTS_MAP, DISK_TOTALS = DISK_TOTALS_MAP);

/// A new total. Not on the stack: there, zeros are a loop over bytes to the verifier.
static NOTHING: DiskTotal = DiskTotal {
    device_ns: 0,
    reads: 0,
    writes: 0,
    read_bytes: 0,
    write_bytes: 0,
    others: 0,
};

/// Bios of one request that are searched for an owner.
const CHAIN: usize = 4;

/// `block_bio_queue([struct request_queue *q,] struct bio *bio)`; the queue argument is gone from 5.11 on, and in late 5.10.
#[btf_tracepoint(function = "block_bio_queue")]
fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_bio_queue)));
    // Read where only one path leads: see `sched_switch`.
    let (dev, group) = (bio.disk().dev(), bio.group());
    let (pid, tid) = current();
    let mut owner = by(pid, tid);
    if is_target(pid) {
        owner.flags = IO_TARGET;
        if bio.opf() & READS_AHEAD != 0 {
            owner.flags |= IO_READAHEAD;
        }
    } else if pid != 0 && is_kernel_thread() {
        by_kernel_thread(&mut owner, bio, group, dev);
    }
    if owner.flags & (IO_TARGET | IO_KTHREAD | IO_WRITEBACK | IO_JOURNAL) != 0
        && (owner.flags & IO_TARGET != 0 || disks::is_under_target(dev))
        && !is_light(owner.pid)
    {
        owner.gate = dev;
        disks::open_gate(dev, owner.queue_ns);
    }
    if bio.opf() & FLUSHES != 0 {
        let _ = FLUSHERS.insert(dev, owner, 0);
    }
    disks::shut_gate(bios::insert(bio.address(), &owner).1);
    0
}

/// A bio that is queued just now.
#[inline(always)]
fn by(pid: u32, tid: u32) -> RequestState {
    RequestState {
        queue_ns: now(),
        pid,
        tid,
        flags: 0,
        ..RequestState::UNOWNED
    }
}

/// A kernel thread queues this bio. Charges the process it works for, if that is known.
#[inline(always)]
fn by_kernel_thread(owner: &mut RequestState, bio: Bio, group: QueueGroup, dev: u32) {
    let mut known = on_behalf(owner.tid);
    if known.is_none() && bio.opf() & OP_MASK == OP_WRITE {
        known = writeback::held_back(bio, dev).map(|(dirtier, why)| (dirtier, why | IO_HELD));
    }
    if let Some((dirtier, why)) = known {
        if dirtier.pid == BEFORE {
            if why & IO_HELD == 0 {
                earlier::count_earlier(writeback::file(owner.tid), dev, bio.bytes());
            }
            (owner.pid, owner.tid) = (0, 0);
            owner.flags = why | IO_BEFORE;
            return;
        }
        owner.pid = dirtier.pid;
        owner.tid = dirtier.tid;
        owner.flags = why | if is_target(owner.pid) { IO_TARGET } else { 0 };
    } else if let Some(pid) = held_back::owner(group, dev) {
        owner.pid = pid;
        owner.tid = 0;
        if is_target(pid) {
            owner.flags = IO_TARGET | IO_THROTTLED;
        }
    } else {
        owner.flags = IO_KTHREAD;
    }
}

/// `block_split([struct request_queue *q,] struct bio *bio, unsigned int new_sector)`. `bio` is the new front part, which is never
/// queued under its own address. It belongs to the owner of the bio it was split from (`bi_private`, see `bio_chain`).
#[btf_tracepoint(function = "block_split")]
fn block_split(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_split)));
    let (pid, tid) = current();
    let mut owner = match bios::get(number(bio.parent())) {
        Some(parent) => parent.request,
        None => by(pid, tid),
    };
    // The parent holds the gate, and its completion shuts it.
    (owner.gate, owner.issue_ns) = (0, 0);
    disks::shut_gate(bios::insert(bio.address(), &owner).1);
    0
}

/// `block_bio_complete(struct request_queue *q, struct bio *bio)`, everywhere. Needed for bios of disks without requests (`dm`, `md`).
/// Other bios end with their request (`blk_update_request`: "Completion has already been traced").
#[btf_tracepoint(function = "block_bio_complete")]
fn block_bio_complete(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_bio_complete)));
    if let Some(bio) = bios::get(bio.address()) {
        disks::shut_gate(bios::forget(bio));
    }
    0
}

/// `block_rq_issue([struct request_queue *q,] struct request *rq)`; the queue argument is gone from 5.11 on, and in late 5.10.
#[btf_tracepoint(function = "block_rq_issue")]
fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    let rq = Request(argument(&ctx, config!(arg_rq_issue)));
    let op = rq.opf() & OP_MASK;
    if op >= OP_DRIVER {
        return 0;
    }
    // Read where only one path leads: see `sched_switch`.
    let (bio, dev) = (rq.bio(), rq.disk().dev());
    if bio.is_null() {
        issue_alone(rq, op, dev);
        return 0;
    }
    let known = bios::get(bio.address());
    let first = match known {
        Some(first) if first.request.flags & IO_UNOWNED == 0 => Some(first),
        // It was queued before the trace began, or no probe saw its queueing.
        _ => bios::insert(bio.address(), &owner(bio.next())).0,
    };
    if let Some(first) = first {
        issue(rq, (op, dev), bio, &mut first.request);
    }
    0
}

/// A request goes to the device `dev`. Its first bio is `bio`, of the owner in `first`.
#[inline(always)]
fn issue(rq: Request, (op, dev): (u32, u32), bio: Bio, first: &mut RequestState) {
    let (issue_ns, bytes) = (now(), rq.bytes());
    first.flags &= !IO_MERGED;
    if merged::has_several_owners(bio.next(), first.pid) && merged::split(rq.0 as u64, bio, bytes) {
        first.flags |= IO_MERGED;
    }
    if first.queue_ns == 0 {
        // It was queued before the trace began.
        first.queue_ns = rq.allocated_ns(issue_ns);
    }
    first.issue_ns = issue_ns;
    first.dev = dev;
    first.op = op;
    first.bytes = bytes;
}

/// A request without a bio goes to the device: a flush. It belongs to the last bio that asked for one.
#[inline(always)]
fn issue_alone(rq: Request, op: u32, dev: u32) {
    let now = now();
    let flusher = if op == OP_FLUSH {
        // SAFETY: the entry is copied at once.
        unsafe { FLUSHERS.get(dev) }.copied()
    } else {
        None
    };
    let request = RequestState {
        queue_ns: now,
        issue_ns: now,
        dev,
        op,
        bytes: rq.bytes(),
        ..flusher.unwrap_or(RequestState::UNOWNED)
    };
    if REQUESTS.insert(rq.0 as u64, request, 0).is_err() {
        emit::map_full(MapLoss::Requests);
    }
}

/// The owner of a request if its first bio has none: that of the first other bio with an owner.
#[inline(always)]
fn owner(second: Bio) -> RequestState {
    let mut bio = second;
    let mut owner = RequestState::UNOWNED;
    for _ in 1..CHAIN {
        if bio.is_null() || owner.flags & IO_UNOWNED == 0 {
            break;
        }
        owner = bios::queued(bio);
        bio = bio.next();
    }
    // The other bio holds the gate, and its completion shuts it.
    owner.gate = 0;
    owner
}

/// `block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)` (an errno before 5.16). May come several
/// times for one request: it is finished when the rest of its bytes completes.
#[btf_tracepoint(function = "block_rq_complete")]
fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    let rq = Request(ctx.arg(0));
    let error = ctx.arg::<u64>(1) as u8;
    let in_part = (ctx.arg::<u64>(2) as u32) < rq.bytes();
    let failed = if error != 0 { IO_ERROR } else { 0 };
    let bio = rq.bio();
    if bio.is_null() {
        ends_alone(rq.key(), in_part, failed);
        return 0;
    }
    let Some(first) = bios::get(bio.address()) else {
        if !ends_alone(rq.key(), in_part, failed) {
            ends_unseen(rq, failed);
        }
        return 0;
    };
    let request = &mut first.request;
    if request.issue_ns == 0 {
        ends_alone(rq.key(), in_part, failed);
    } else if in_part {
        // Its first bio may be done with this part.
        let _ = REQUESTS.insert(rq.key(), *request, 0);
        request.issue_ns = 0;
    } else {
        ends(rq.key(), request, failed);
    }
    if !in_part {
        disks::shut_gate(bios::forget(first));
        forget(bio.next());
    }
    0
}

/// Forgets the further bios of a finished request. Later bios displace those beyond `merged::LOOKED_AT`.
#[inline(always)]
fn forget(second: Bio) {
    let mut bio = second;
    for _ in 1..merged::LOOKED_AT {
        if bio.is_null() {
            return;
        }
        if let Some(known) = bios::get(bio.address()) {
            disks::shut_gate(bios::forget(known));
        }
        bio = bio.next();
    }
}

/// A request for which no bio stands completes, wholly or in part. False: the whole of it does, and it is not known.
#[inline(always)]
fn ends_alone(key: u64, in_part: bool, failed: u32) -> bool {
    if in_part {
        return true;
    }
    // SAFETY: the entry is copied at once.
    let Some(request) = unsafe { REQUESTS.get(key) }.copied() else {
        return false;
    };
    let _ = REQUESTS.remove(key);
    ends(key, &request, failed);
    true
}

/// A request is finished that went to the device before the trace began. Nobody knows its owner, but others stood behind it.
#[inline(always)]
fn ends_unseen(rq: Request, failed: u32) {
    let (op, bytes, start_ns) = (rq.opf() & OP_MASK, rq.bytes(), rq.allocated_ns(0));
    // One with a flush before or after it ends again when that is done, without bytes.
    if op >= OP_DRIVER || bytes == 0 || start_ns == 0 {
        return;
    }
    let request = RequestState {
        queue_ns: start_ns,
        issue_ns: start_ns,
        flags: IO_UNOWNED | IO_UNSEEN,
        dev: rq.disk().dev(),
        op,
        bytes,
        ..RequestState::UNOWNED
    };
    ends(rq.key(), &request, failed);
}

/// A request is finished.
#[inline(never)]
fn ends(key: u64, request: &RequestState, failed: u32) -> i32 {
    let now = now();
    if request.flags & IO_MERGED == 0 {
        return complete(request, failed, request.bytes, now);
    }
    let Some(parts) = merged::take(key) else {
        return complete(request, failed, request.bytes, now);
    };
    let mut further = 0;
    for part in parts.of {
        if part.bytes != 0 {
            let of_one = RequestState {
                pid: part.pid,
                tid: part.tid,
                flags: part.flags | IO_MERGED | further,
                bytes: part.bytes,
                ..*request
            };
            complete(&of_one, failed, request.bytes, now);
        }
        further = IO_PART;
    }
    0
}

/// A request of one owner, or one owner's part of a request of `whole` bytes, is done.
#[inline(never)]
fn complete(request: &RequestState, failed: u32, whole: u32, now: u64) -> i32 {
    add_total(request, whole, now);
    histograms::record_block(
        request.pid,
        request.issue_ns.wrapping_sub(request.queue_ns),
        now.wrapping_sub(request.issue_ns),
        now,
    );
    if is_light(request.pid) {
        // On a disk that serves each request in less time nobody waits for long.
        if now.wrapping_sub(request.queue_ns) >= LEAST_LONG_NS {
            disks::linger(request.dev, now);
        } else if !disks::gate_was_open(request) {
            return 0;
        }
    } else if request.flags & IO_TARGET == 0 && !disks::gate_was_open(request) {
        return 0;
    }
    emit::event::<Io>(Kind::Io, now, |record| {
        // SAFETY: a reservation of this size.
        let record = unsafe { &mut *record };
        record.dev = request.dev;
        record.op = request.op;
        record.queue_ns = request.queue_ns;
        record.issue_ns = request.issue_ns;
        record.bytes = request.bytes;
        record.pid = request.pid;
        record.tid = request.tid;
        record.flags = request.flags | failed;
    });
    0
}

#[inline(always)]
fn add_total(request: &RequestState, whole: u32, now: u64) {
    // `/proc` has these of every process, and nobody reads them here.
    if config!(light) != 0 {
        return;
    }
    let key = DiskOwner {
        dev: request.dev,
        pid: request.pid,
    };
    let Some(total) = lru::entry(&DISK_TOTALS, key, &NOTHING, MapLoss::DiskTotals) else {
        return;
    };
    let bytes = u64::from(request.bytes);
    let mut device_ns = now.wrapping_sub(request.issue_ns);
    if request.bytes < whole {
        device_ns = device_ns * bytes / u64::from(whole);
    }
    let count = u64::from(request.flags & IO_PART == 0);
    // SAFETY: all pointers are into a map value, 8-byte aligned.
    unsafe {
        atomic::add64(&raw mut (*total).device_ns, device_ns);
        let (ios, sum) = match request.op {
            OP_READ => (&raw mut (*total).reads, &raw mut (*total).read_bytes),
            OP_WRITE => (&raw mut (*total).writes, &raw mut (*total).write_bytes),
            _ => return atomic::add64(&raw mut (*total).others, count),
        };
        atomic::add64(ios, count);
        atomic::add64(sum, bytes);
    }
}
