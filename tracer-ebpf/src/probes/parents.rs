//! Whose child each process is, of all that are there: the kernel tells in milliseconds what takes a read of `/proc` for each.

use core::ffi::c_void;

use aya_ebpf::{helpers::generated::bpf_seq_write, programs::BtfTracePointContext};
use tracer_common::proc::Parent;

use crate::kernel::{IterMeta, Task};

/// `struct bpf_iter__task { struct bpf_iter_meta *meta; struct task_struct *task; }`, 5.8 to 7.2: once for each thread, and at the end
/// with none. aya has no attribute for iterators, whose arguments lie as a tracepoint's do.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
fn parents(ctx: *mut c_void) -> i32 {
    let ctx = BtfTracePointContext::new(ctx);
    let (meta, task) = (IterMeta(ctx.arg(0)), Task(ctx.arg(1)));
    if task.is_null() {
        return 0;
    }
    let pid = task.pid();
    if task.tid() == pid {
        let parent = Parent {
            pid,
            parent_pid: task.parent().pid(),
        };
        // SAFETY: a helper that checks its arguments; a buffer that is full is begun again by the kernel.
        unsafe {
            bpf_seq_write(
                meta.seq(),
                (&raw const parent).cast(),
                size_of::<Parent>() as u32,
            )
        };
    }
    0
}
