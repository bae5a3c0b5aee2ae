//! Interrupts: the time that they took of a CPU while a target thread was queued there. The interrupted thread is not to blame for
//! it.
//!
//! While no target thread is queued, an interrupt costs one look-up in an array and one store. Hard interrupts do not nest, and
//! softirqs do not, but a hard interrupt may interrupt a softirq. A busy link causes a hundred thousand interrupts per second. So
//! the programs sum them up, and emit the sums with the slice of the interrupted thread.
//!
//! User space sheds these programs while the target hardly queues ([`shed`]). Then a stamp may be left over: the interrupt ended
//! unseen. Whoever reads one counts nothing from before the group was watched again.

use aya_ebpf::{
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use tracer_common::{
    Kind,
    irq::{HARD, INTERRUPTS_MAP, Interrupts, SOURCES, Sums},
    sched::{CpuState, UNTIMED},
    shed::{Group, SHED},
};

use crate::{cpus, emit, filter::is_full_target, kernel::now, shared::shared, shed};

/// Sums by CPU number. User space sets the size to the number of possible CPUs.
#[map]
static INTERRUPTS: Array<Sums> = Array::with_max_entries(512, 0);

shared!(INTERRUPTS = INTERRUPTS_MAP);

/// `irq_handler_entry(int irq, struct irqaction *action)`, 5.10 to 7.2. Interrupts are off until its exit.
#[btf_tracepoint(function = "irq_handler_entry")]
fn irq_handler_entry(_ctx: BtfTracePointContext) -> i32 {
    if shed::is_shed(Group::Interrupts) {
        return 0;
    }
    if let Some(state) = cpus::state(cpus::here()) {
        // SAFETY: a map value; only this CPU's interrupts write the stamp.
        unsafe { (*state).irq_ns = stamp(state) };
    }
    0
}

/// `irq_handler_exit(int irq, struct irqaction *action, int ret)`, 5.10 to 7.2.
#[btf_tracepoint(function = "irq_handler_exit")]
fn irq_handler_exit(_ctx: BtfTracePointContext) -> i32 {
    let watched_ns = shed::watched_ns(Group::Interrupts);
    if watched_ns == SHED {
        return 0;
    }
    let Some(state) = cpus::state(cpus::here()) else {
        return 0;
    };
    // SAFETY: a map value; only this CPU's interrupts write the stamp.
    let since = unsafe { core::mem::replace(&mut (*state).irq_ns, 0) };
    let took = end(state, (since, watched_ns), HARD);
    if took == 0 {
        return 0;
    }
    // The begin of an interrupted softirq is moved later by that time.
    // SAFETY: a map value; only this CPU's interrupts write the stamp.
    unsafe {
        let softirq_ns = (*state).softirq_ns;
        let began = if softirq_ns != 0 && cpus::has_queued(state) {
            softirq_ns.max((*state).opened_ns)
        } else {
            softirq_ns
        };
        if began > UNTIMED {
            (*state).softirq_ns = began + took;
        }
    }
    0
}

/// `softirq_entry(unsigned int vec_nr)`, 5.10 to 7.2. Interrupts are on until its exit, and the CPU does not switch.
#[btf_tracepoint(function = "softirq_entry")]
fn softirq_entry(_ctx: BtfTracePointContext) -> i32 {
    let watched_ns = shed::watched_ns(Group::Interrupts);
    if watched_ns == SHED {
        return 0;
    }
    if let Some(state) = cpus::state(cpus::here()) {
        // SAFETY: a map value; only this CPU's softirqs write the stamp.
        unsafe {
            (*state).softirq_ns = stamp(state);
            (*state).softirq_watch_ns = watched_ns;
        }
    }
    0
}

/// `softirq_exit(unsigned int vec_nr)`, 5.10 to 7.2.
#[btf_tracepoint(function = "softirq_exit")]
fn softirq_exit(ctx: BtfTracePointContext) -> i32 {
    let watched_ns = shed::watched_ns(Group::Interrupts);
    if watched_ns == SHED {
        return 0;
    }
    let Some(state) = cpus::state(cpus::here()) else {
        return 0;
    };
    // SAFETY: a map value; only this CPU's interrupts write the stamp.
    let since = unsafe { core::mem::replace(&mut (*state).softirq_ns, 0) };
    let vector = ctx.arg::<u64>(0) as usize;
    if vector < HARD {
        end(state, (since, watched_ns), vector);
    }
    0
}

/// Does a target thread run on this CPU?
#[inline(always)]
fn runs_target(state: *mut CpuState) -> bool {
    // SAFETY: a map value; no switch can be under way here.
    is_full_target(unsafe { (*state).pid })
}

#[inline(always)]
fn stamp(state: *mut CpuState) -> u64 {
    if cpus::has_queued(state) || runs_target(state) {
        now()
    } else {
        UNTIMED
    }
}

/// Counts an interrupt that ends, and returns its time in ns; 0 if it delayed no target thread. `since` is 0 if no probe saw its
/// begin. An interrupt that has begun since `watched_ns` has a stamp of its own. So an older one stands for an interrupt that was
/// under way then, and it counts from there on.
///
/// A thread that is queued during the interrupt is delayed from then on: this very interrupt may have woken it.
#[inline(always)]
fn end(state: *mut CpuState, (since, watched_ns): (u64, u64), source: usize) -> u64 {
    let (watched, interrupted) = (
        cpus::has_queued(state),
        since > UNTIMED && runs_target(state),
    );
    if since == 0 || !(watched || interrupted) {
        return 0;
    }
    let since = since.max(watched_ns);
    // SAFETY: a map value.
    let queued_ns = since.max(unsafe { (*state).opened_ns });
    let now = now();
    let delayed = if watched { after(queued_ns, now) } else { 0 };
    let own = if interrupted { after(since, now) } else { 0 };
    add(source, delayed, own);
    delayed.max(own)
}

#[inline(always)]
fn after(begin: u64, end: u64) -> u64 {
    let ns = end.wrapping_sub(begin);
    if ns as i64 > 0 { ns } else { 0 }
}

#[inline(always)]
fn add(source: usize, delayed: u64, own: u64) {
    let Some(sums) = INTERRUPTS.get_ptr_mut(cpus::here()) else {
        return;
    };
    // SAFETY: a map value. A hard interrupt may interrupt a softirq here: it adds to its own sum, and atomically to that of all.
    unsafe {
        (*sums).ns[source] += delayed;
        (*sums).own_ns[source] += own;
        crate::atomic::add64(&raw mut (*sums).all_ns, delayed);
    }
}

/// Emits the time that interrupts took of a CPU until `now`, if any. The caller holds the lock of its run queue.
///
/// A function of its own: `sched_switch` is verified once without it.
#[inline(never)]
pub(super) fn emit_interrupts(place: u32, begin_ns: u64, now: u64) -> i32 {
    let Some(sums) = INTERRUPTS.get_ptr_mut(place) else {
        return 0;
    };
    // SAFETY: a map value. Interrupts add to the sums at any time, so exactly the values read are recorded as emitted.
    unsafe {
        let all = (&raw const (*sums).all_ns).read_volatile();
        if all == (*sums).reported_all_ns {
            return 0;
        }
        (*sums).reported_all_ns = all;
        emit::event::<Interrupts>(Kind::Interrupts, now, |record| {
            (*record).begin_ns = begin_ns;
            (*record).place = place;
            (*record).reserved = 0;
            let mut source = 0;
            while source < SOURCES {
                let ns = (&raw const (*sums).ns[source]).read_volatile();
                (*record).ns[source] = ns.wrapping_sub((*sums).reported_ns[source]);
                (*sums).reported_ns[source] = ns;
                source += 1;
            }
        });
    }
    0
}
