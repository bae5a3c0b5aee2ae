//! Block I/O: who queued a bio, and the request it became, from issue to completion.
//!
//! Order in the kernel: `block_bio_queue` → (request allocated, merged, scheduled) → `block_rq_issue` → `block_rq_complete` →
//! `block_bio_complete`. Only the first runs, for direct and synchronous I/O, in the context of the owner.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    block::{
        Bio as Queued, Disk as Gate, DiskOwner, DiskTotal, FLUSHES, IO_ERROR, IO_JOURNAL,
        IO_KTHREAD, IO_MERGED, IO_PART, IO_TARGET, IO_THROTTLED, IO_UNOWNED, IO_WRITEBACK, Io,
        OP_DRIVER, OP_FLUSH, OP_MASK, OP_READ, OP_WRITE, OWNERS, Parts, Request as InFlight,
    },
    histogram::Family,
    record::{Kind, MapLoss},
};

use crate::{
    atomic, emit,
    filter::is_target,
    histograms,
    kernel::{Bio, Request, argument, config, current, now},
    probes::writeback::{is_kernel_thread, on_behalf},
};

/// Bios in flight by address. Least recently used entries go first: a bio that is completed without a trace would stay for ever.
#[map]
static BIOS: LruHashMap<u64, Queued> = LruHashMap::with_max_entries(16_384, 0);

/// Requests in flight by address.
#[map]
static REQUESTS: LruHashMap<u64, InFlight> = LruHashMap::with_max_entries(8192, 0);

/// Parts of requests in flight that have several owners, by address.
#[map]
static MERGED: LruHashMap<u64, Parts> = LruHashMap::with_max_entries(1024, 0);

/// Who last asked for a flush of a disk, by device number: a flush request carries no bio.
#[map]
static FLUSHERS: LruHashMap<u32, Queued> = LruHashMap::with_max_entries(256, 0);

/// Disks by device number.
#[map]
static DISKS: HashMap<u32, Gate> = HashMap::with_max_entries(1024, 0);

/// What each process had of each disk.
#[map]
static DISK_TOTALS: LruHashMap<DiskOwner, DiskTotal> = LruHashMap::with_max_entries(8192, 0);

/// What entries begin as. Not on the stack, where zeros are a loop over bytes to the verifier.
static NO_PARTS: Parts = Parts::NONE;
static NOTHING: DiskTotal = DiskTotal {
    device_ns: 0,
    reads: 0,
    writes: 0,
    read_bytes: 0,
    write_bytes: 0,
    others: 0,
};

/// Bios of one request that are looked at for an owner.
const CHAIN: usize = 4;
/// Bios of one request that are looked at for several owners.
const LOOKED_AT: usize = 16;

/// `block_bio_queue([struct request_queue *q,] struct bio *bio)`; the queue argument is gone from 5.11 on, and in late 5.10.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_bio_queue)));
    // Read where one path leads, see `sched_switch`.
    let dev = bio.disk().dev();
    let (pid, tid) = current();
    let mut owner = Queued {
        queue_ns: now(),
        pid,
        tid,
        flags: 0,
        dev: 0,
    };
    if is_target(pid) {
        owner.flags = IO_TARGET;
    } else if pid != 0 && is_kernel_thread() {
        by_kernel_thread(&mut owner, bio, dev);
    }
    if owner.flags & (IO_TARGET | IO_KTHREAD | IO_WRITEBACK | IO_JOURNAL) != 0 {
        if owner.flags & IO_TARGET != 0 || is_watched(dev) {
            owner.dev = dev;
            open_gate(dev, owner.queue_ns);
        }
    }
    if bio.opf() & FLUSHES != 0 {
        let _ = FLUSHERS.insert(dev, owner, 0);
    }
    if BIOS.insert(bio.key(), owner, 0).is_err() {
        emit::map_full(MapLoss::Bios);
    }
    0
}

/// A kernel thread queues for somebody else, if it can be said for whom.
#[inline(always)]
fn by_kernel_thread(owner: &mut Queued, bio: Bio, dev: u32) {
    if let Some((dirtier, why)) = on_behalf(owner.tid) {
        owner.pid = dirtier.pid;
        owner.tid = dirtier.tid;
        owner.flags = why | if is_target(owner.pid) { IO_TARGET } else { 0 };
    } else if let Some(pid) = limited(bio, dev) {
        owner.pid = pid;
        owner.tid = 0;
        owner.flags = IO_TARGET | IO_THROTTLED;
    } else {
        owner.flags = IO_KTHREAD;
    }
}

/// The target in whose group this bio is, if that group's I/O has a limit on this disk: a kernel thread queues what was held back,
/// later and on nobody's behalf.
#[inline(always)]
fn limited(bio: Bio, dev: u32) -> Option<u32> {
    let gate = DISKS.get_ptr(dev)?;
    // SAFETY: a map value.
    let (group, pid) = unsafe { ((*gate).limited_group, (*gate).limited_pid) };
    (group != 0 && bio.group() == group).then_some(pid as u32)
}

/// Does the disk lie under a mount of the target? Then a target may wait for what a kernel thread does there.
#[inline(always)]
fn is_watched(dev: u32) -> bool {
    let Some(gate) = DISKS.get_ptr(dev) else {
        return false;
    };
    // SAFETY: a map value.
    unsafe { (*gate).watched != 0 }
}

/// A target bio is on its way to a disk: until it completes, everybody's requests there are emitted.
#[inline(always)]
fn open_gate(dev: u32, now: u64) {
    if DISKS.get_ptr(dev).is_none() {
        let _ = DISKS.insert(
            dev,
            Gate {
                open: 0,
                touched_ns: now,
                watched: 0,
                limited_group: 0,
                limited_pid: 0,
            },
            1,
        );
    }
    if let Some(gate) = DISKS.get_ptr_mut(dev) {
        // SAFETY: a map value, 8-byte aligned.
        unsafe {
            (*gate).touched_ns = now;
            atomic::add64(&raw mut (*gate).open, 1);
        }
    }
}

/// `block_split([struct request_queue *q,] struct bio *bio, unsigned int new_sector)`: `bio` is the new front part, which is never
/// queued under its own address; it belongs to whoever queued the bio it was split from (`bi_private`, see `bio_chain`).
#[btf_tracepoint(function = "block_split")]
pub fn block_split(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_split)));
    let (pid, tid) = current();
    // SAFETY: the entry is copied at once.
    let parent = unsafe { BIOS.get(bio.parent()) }.copied();
    let mut owner = parent.unwrap_or(Queued {
        queue_ns: now(),
        pid,
        tid,
        flags: 0,
        dev: 0,
    });
    // The gate is held by the parent, whose completion shuts it.
    owner.dev = 0;
    let _ = BIOS.insert(bio.key(), owner, 0);
    0
}

/// `block_bio_complete(struct request_queue *q, struct bio *bio)`, everywhere; once for each bio that was queued.
#[btf_tracepoint(function = "block_bio_complete")]
pub fn block_bio_complete(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_bio_complete)));
    let key = bio.key();
    // SAFETY: the entry is copied at once.
    let Some(owner) = unsafe { BIOS.get(key) }.copied() else {
        return 0;
    };
    let _ = BIOS.remove(key);
    if owner.dev != 0
        && let Some(gate) = DISKS.get_ptr_mut(owner.dev)
    {
        // SAFETY: a map value, 8-byte aligned.
        unsafe {
            (*gate).touched_ns = now();
            atomic::add64(&raw mut (*gate).open, u64::MAX);
        }
    }
    0
}

/// `block_rq_issue([struct request_queue *q,] struct request *rq)`; the queue argument is gone from 5.11 on, and in late 5.10.
#[btf_tracepoint(function = "block_rq_issue")]
pub fn block_rq_issue(ctx: BtfTracePointContext) -> i32 {
    let rq = Request(argument(&ctx, config!(arg_rq_issue)));
    let op = rq.opf() & OP_MASK;
    if op >= OP_DRIVER {
        return 0;
    }
    let issue_ns = now();
    let bytes = rq.bytes();
    let dev = rq.disk().dev();
    let bio = rq.bio();
    let mut owner = owner(bio);
    if op == OP_FLUSH && bio.is_null() {
        // SAFETY: the entry is copied at once.
        owner = unsafe { FLUSHERS.get(dev) }.copied().unwrap_or(owner);
        owner.queue_ns = issue_ns;
    }
    if has_several_owners(bio, owner.pid) && split(rq.0 as u64, bio, bytes) {
        owner.flags |= IO_MERGED;
    }
    let request = InFlight {
        queue_ns: if owner.queue_ns == 0 {
            issue_ns
        } else {
            owner.queue_ns
        },
        issue_ns,
        pid: owner.pid,
        tid: owner.tid,
        flags: owner.flags,
        dev,
        op,
        bytes,
    };
    if REQUESTS.insert(rq.0 as u64, request, 0).is_err() {
        emit::map_full(MapLoss::Requests);
    }
    0
}

/// Who queued this bio? Nobody, if that was not seen.
#[inline(always)]
fn queued(bio: Bio) -> Queued {
    // SAFETY: the entry is copied at once.
    unsafe { BIOS.get(bio.key()) }.copied().unwrap_or(Queued {
        queue_ns: 0,
        pid: 0,
        tid: 0,
        flags: IO_UNOWNED,
        dev: 0,
    })
}

/// Whose request is it? The first of its bios that somebody was seen queueing. A flush has none.
#[inline(always)]
fn owner(first: Bio) -> Queued {
    let mut bio = first;
    let mut owner = queued(bio);
    for _ in 1..CHAIN {
        if bio.is_null() || owner.flags & IO_UNOWNED == 0 {
            break;
        }
        bio = bio.next();
        owner = queued(bio);
    }
    owner
}

/// Was a bio of this request queued by another process than the first one?
#[inline(always)]
fn has_several_owners(first: Bio, pid: u32) -> bool {
    let mut bio = first;
    for _ in 0..LOOKED_AT {
        if bio.is_null() {
            return false;
        }
        if queued(bio).pid != pid {
            return true;
        }
        bio = bio.next();
    }
    false
}

/// Splits a request among the owners of its bios, by bytes; false if it cannot be kept. The parts are added up in the map, whose
/// values the verifier does not track: on the stack, old ones would follow every way through the loop.
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
#[inline(always)]
fn split(key: u64, first: Bio, bytes: u32) -> bool {
    if MERGED.insert(key, &NO_PARTS, 0).is_err() {
        return false;
    }
    let Some(parts) = MERGED.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: a map value; nobody else knows the request before it is issued.
    let parts = unsafe { &mut *parts };
    let mut bio = first;
    let mut seen = 0;
    for _ in 0..LOOKED_AT {
        if bio.is_null() {
            break;
        }
        let size = bio.bytes();
        seen += size;
        add_part(parts, &queued(bio), size);
        bio = bio.next();
    }
    if seen == 0 {
        return false;
    }
    // The bios that were not looked at are taken to be divided alike.
    let scaled = |part: u32| (u64::from(part) * u64::from(bytes) / u64::from(seen)) as u32;
    let [a, b, c, d] = &mut parts.of;
    b.bytes = scaled(b.bytes);
    c.bytes = scaled(c.bytes);
    d.bytes = scaled(d.bytes);
    a.bytes = bytes.wrapping_sub(b.bytes + c.bytes + d.bytes);
    true
}

/// Adds a bio to its owner's part; what has no place of its own counts for the last one.
#[inline(never)]
fn add_part(parts: &mut Parts, owner: &Queued, bytes: u32) {
    for i in 0..OWNERS {
        let part = &mut parts.of[i];
        if part.bytes == 0 {
            part.pid = owner.pid;
            part.tid = owner.tid;
            part.flags = owner.flags;
        }
        if part.bytes == 0 || part.pid == owner.pid || i == OWNERS - 1 {
            part.bytes += bytes;
            return;
        }
    }
}

/// `block_rq_complete(struct request *rq, blk_status_t error, unsigned int nr_bytes)` (an errno before 5.16). May come several
/// times for one request: it is finished when all that was left completes.
#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    let rq = Request(ctx.arg(0));
    let error = ctx.arg::<u64>(1) as u8;
    if (ctx.arg::<u64>(2) as u32) < rq.bytes() {
        return 0;
    }
    let key = rq.0 as u64;
    // SAFETY: the entry is copied at once.
    let Some(request) = unsafe { REQUESTS.get(key) }.copied() else {
        return 0;
    };
    let _ = REQUESTS.remove(key);
    let failed = if error != 0 { IO_ERROR } else { 0 };
    let now = now();
    if request.flags & IO_MERGED == 0 {
        complete(&request, failed, request.bytes, now);
        return 0;
    }
    // SAFETY: the entry is copied at once.
    let Some(parts) = unsafe { MERGED.get(key) }.copied() else {
        complete(&request, failed, request.bytes, now);
        return 0;
    };
    let _ = MERGED.remove(key);
    let mut further = 0;
    for part in parts.of {
        if part.bytes != 0 {
            let of_one = InFlight {
                pid: part.pid,
                tid: part.tid,
                flags: part.flags | IO_MERGED | further,
                bytes: part.bytes,
                ..request
            };
            complete(&of_one, failed, request.bytes, now);
        }
        further = IO_PART;
    }
    0
}

/// A request of one owner, or one owner's part of a request of `whole` bytes, is done.
#[inline(never)]
fn complete(request: &InFlight, failed: u32, whole: u32, now: u64) -> i32 {
    add_total(request, whole, now);
    histograms::record(
        request.pid,
        Family::BlockIoQueue as u32,
        request.issue_ns.wrapping_sub(request.queue_ns),
        now,
    );
    histograms::record(
        request.pid,
        Family::BlockIoDevice as u32,
        now.wrapping_sub(request.issue_ns),
        now,
    );
    if request.flags & IO_TARGET == 0 && !gate_was_open(request) {
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

/// Did a target bio stand at this disk at any time since the request was queued?
#[inline(always)]
fn gate_was_open(request: &InFlight) -> bool {
    let Some(gate) = DISKS.get_ptr(request.dev) else {
        return false;
    };
    // SAFETY: a map value.
    let (open, touched_ns) = unsafe { ((*gate).open as i64, (*gate).touched_ns) };
    open > 0 || touched_ns >= request.queue_ns
}

#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack"
)]
#[inline(always)]
fn add_total(request: &InFlight, whole: u32, now: u64) {
    let key = DiskOwner {
        dev: request.dev,
        pid: request.pid,
    };
    if DISK_TOTALS.get_ptr(key).is_none() {
        let _ = DISK_TOTALS.insert(key, &NOTHING, 1);
    }
    let Some(total) = DISK_TOTALS.get_ptr_mut(key) else {
        emit::map_full(MapLoss::DiskTotals);
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
