//! Block I/O: who queued a bio, and the request it became, from issue to completion.
//!
//! Order in the kernel: `block_bio_queue` → (request allocated, merged, scheduled) → `block_rq_issue` → `block_rq_complete` →
//! `block_bio_complete`. Only the first runs, for direct and synchronous I/O, in the context of the owner.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    macros::{btf_tracepoint, map},
    maps::{HashMap, LruHashMap},
    programs::BtfTracePointContext,
};
use tracer_common::{
    block::{
        Bio as Queued, Disk as Gate, DiskOwner, DiskTotal, IO_ERROR, IO_KTHREAD, IO_TARGET,
        IO_UNOWNED, Io, OP_DRIVER, OP_MASK, OP_READ, OP_WRITE, Request as InFlight,
    },
    histogram::Family,
    record::{Kind, MapLoss},
};

use crate::{
    atomic, emit,
    filter::is_target,
    histograms,
    kernel::{Bio, PF_KTHREAD, Request, argument, config, current, now},
};

/// Bios in flight by address. Least recently used entries go first: a bio that is completed without a trace would stay for ever.
#[map]
static BIOS: LruHashMap<u64, Queued> = LruHashMap::with_max_entries(16_384, 0);

/// Requests in flight by address.
#[map]
static REQUESTS: LruHashMap<u64, InFlight> = LruHashMap::with_max_entries(8192, 0);

/// Disks by device number.
#[map]
static DISKS: HashMap<u32, Gate> = HashMap::with_max_entries(1024, 0);

/// What each process had of each disk.
#[map]
static DISK_TOTALS: LruHashMap<DiskOwner, DiskTotal> = LruHashMap::with_max_entries(8192, 0);

/// Bios of one request that are looked at for an owner.
const CHAIN: usize = 4;

/// `block_bio_queue([struct request_queue *q,] struct bio *bio)`; the queue argument is gone from 5.11 on, and in late 5.10.
#[btf_tracepoint(function = "block_bio_queue")]
pub fn block_bio_queue(ctx: BtfTracePointContext) -> i32 {
    let bio = Bio(argument(&ctx, config!(arg_bio_queue)));
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
        owner.dev = bio.disk().dev();
        open_gate(owner.dev, owner.queue_ns);
    } else if pid != 0 && is_kernel_thread() {
        owner.flags = IO_KTHREAD;
    }
    if BIOS.insert(bio.key(), owner, 0).is_err() {
        emit::map_full(MapLoss::Bios);
    }
    0
}

/// Is `current` a kernel thread? Then it queues on behalf of somebody else.
#[inline(always)]
fn is_kernel_thread() -> bool {
    let offset = config!(offsets.task_flags) as usize;
    // SAFETY: the helper returns the current task; its fields are read by a helper, because the pointer is not typed on 5.10.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        bpf_probe_read_kernel(task.add(offset).cast::<u32>())
            .is_ok_and(|flags| flags & PF_KTHREAD != 0)
    }
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
    let owner = owner(rq.bio());
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
        dev: rq.disk().dev(),
        op,
        bytes: rq.bytes(),
    };
    if REQUESTS.insert(rq.0 as u64, request, 0).is_err() {
        emit::map_full(MapLoss::Requests);
    }
    0
}

/// Whose request is it? The first of its bios that somebody was seen queueing. A flush has none.
#[inline(always)]
fn owner(first: Bio) -> Queued {
    let mut bio = first;
    for _ in 0..CHAIN {
        if bio.is_null() {
            break;
        }
        // SAFETY: the entry is copied at once.
        if let Some(owner) = unsafe { BIOS.get(bio.key()) } {
            return *owner;
        }
        bio = bio.next();
    }
    Queued {
        queue_ns: 0,
        pid: 0,
        tid: 0,
        flags: IO_UNOWNED,
        dev: 0,
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
    complete(&request, error != 0, now());
    0
}

#[inline(always)]
fn complete(request: &InFlight, failed: bool, now: u64) {
    add_total(request, now);
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
        return;
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
        record.flags = request.flags | if failed { IO_ERROR } else { 0 };
    });
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

#[inline(always)]
fn add_total(request: &InFlight, now: u64) {
    let key = DiskOwner {
        dev: request.dev,
        pid: request.pid,
    };
    if DISK_TOTALS.get_ptr(key).is_none() {
        let new = DiskTotal {
            device_ns: 0,
            reads: 0,
            writes: 0,
            read_bytes: 0,
            write_bytes: 0,
            others: 0,
        };
        let _ = DISK_TOTALS.insert(key, new, 1);
    }
    let Some(total) = DISK_TOTALS.get_ptr_mut(key) else {
        emit::map_full(MapLoss::DiskTotals);
        return;
    };
    // SAFETY: all pointers are into a map value, 8-byte aligned.
    unsafe {
        atomic::add64(
            &raw mut (*total).device_ns,
            now.wrapping_sub(request.issue_ns),
        );
        let bytes = u64::from(request.bytes);
        let (ios, sum) = match request.op {
            OP_READ => (&raw mut (*total).reads, &raw mut (*total).read_bytes),
            OP_WRITE => (&raw mut (*total).writes, &raw mut (*total).write_bytes),
            _ => return atomic::add64(&raw mut (*total).others, 1),
        };
        atomic::add64(ios, 1);
        atomic::add64(sum, bytes);
    }
}
