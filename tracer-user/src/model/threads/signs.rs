//! What a stack shows beside the reason of its sleep: completions, pages, locks, interrupts. Names hold for 5.10 to 7.2.

use super::sleep::{LOCK, Sleep};
use crate::functions::{ACCEPTS, FILE_LOCKS, FUTEXES, has_any};

/// Does a sleep end with the completion of asynchronous I/O?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completions {
    /// No.
    Never,
    /// In an event loop. Completions may be among its events.
    Perhaps,
    /// In a call that returns completions.
    Reaped,
}

/// Calls that return completions: `io_uring_enter`, `io_getevents`.
const REAPS: &[&str] = &[
    "io_cqring_wait*",
    "read_events",
    "do_io_getevents",
    "__x64_sys_io_getevents*",
    "__x64_sys_io_pgetevents*",
];

/// Waits for descriptors: an `eventfd` or a ring may be among them.
const POLLS: &[&str] = &[
    "ep_poll",
    "do_epoll_wait",
    "do_poll*",
    "do_sys_poll",
    "do_select",
    "eventfd_read",
];

/// Functions through which the completion of block I/O wakes who waits for it.
const COMPLETES: &[&str] = &[
    "bio_endio",
    "blk_update_request",
    "blk_mq_end_request*",
    "blk_done_softirq",
    "aio_complete*",
    "io_complete_rw*",
    "iomap_dio_bio_end_io",
    "iomap_dio_complete_work",
    "dio_bio_end_aio",
    "blkdev_bio_end_io*",
    "io_req_rw_complete*",
    "io_req_task_complete*",
    "io_sq_thread*",
];

/// Does a sleep with this stack wait for completions?
#[must_use]
pub(crate) fn completions(stack: &[String]) -> Completions {
    if has_any(stack, REAPS) {
        Completions::Reaped
    } else if has_any(stack, POLLS) {
        Completions::Perhaps
    } else {
        Completions::Never
    }
}

/// Is this the stack of a waker that completes block I/O?
#[must_use]
pub(crate) fn completes(stack: &[String]) -> bool {
    has_any(stack, COMPLETES)
}

/// Functions that emit their disk before they wait ([`crate::event::Sync`]).
const SYNCS: [&str; 5] = [
    "ext4_sync_file",
    "xfs_file_fsync",
    "btrfs_sync_file",
    "sync_inodes_sb",
    "wb_wait_for_completion",
];

/// Is it a sleep within such a function?
#[must_use]
pub(crate) fn syncs(stack: &[String]) -> bool {
    has_any(stack, &SYNCS)
}

/// Does it sleep in a send on a stream to another machine, which emits a call when it returns?
#[must_use]
pub(crate) fn sends_stream(stack: &[String]) -> bool {
    has_any(stack, &["sk_stream_wait_memory"])
}

/// Calls that take what others bring, or ask a device for what happens next. A thread in one may have nothing to do. Functions with rows
/// of their own in the table of sleeps are not meant.
const TAKES: &[&str] = &[
    "vfs_read",
    "vfs_readv",
    "vfs_iter_read",
    "do_iter_read",
    "ksys_read",
    "io_read",
    "__sys_recvfrom",
    "__sys_recvmsg",
    "__sys_recvmmsg",
    "___sys_recvmsg",
    "____sys_recvmsg",
    "sock_recvmsg",
    "__sys_accept4*",
    "do_accept",
    "do_vfs_ioctl",
    "vfs_ioctl",
    "__x64_sys_ioctl",
];

/// Does it sleep in a call that takes what others bring?
#[must_use]
pub(crate) fn takes(stack: &[String]) -> bool {
    has_any(stack, TAKES)
}

/// Messages, what is done or to be done for a ring of `io_uring`.
const BROUGHT: &[&str] = &[
    "do_msgrcv",
    "do_mq_timedreceive",
    "io_cqring_wait*",
    "io_sq_thread*",
    "io_wq_worker",
    "io_wqe_worker",
];

/// Does it sleep until another task brings something: bytes, a message, or its own end?
#[must_use]
pub(crate) fn is_brought(stack: &[String]) -> bool {
    takes(stack) || reaps_child(stack) || has_any(stack, BROUGHT)
}

/// Does it sleep until a child ends?
#[must_use]
pub(crate) fn reaps_child(stack: &[String]) -> bool {
    has_any(stack, &["do_wait"])
}

/// Waits for whatever comes first of many things. A thread that comes out of one may go on with any of its connections. In `poll` and
/// `select`, most threads wait for one thing and a time limit.
const LOOPS: &[&str] = &["ep_poll", "do_epoll_wait", "io_cqring_wait*"];

/// Does it sleep in such a wait?
#[must_use]
pub(crate) fn loops(stack: &[String]) -> bool {
    has_any(stack, LOOPS)
}

/// Functions that wait for the answer to a connect.
const CONNECTS: &[&str] = &[
    "sk_stream_wait_connect",
    "inet_stream_connect",
    "__inet_stream_connect",
];

/// Does it sleep until its connect is answered?
#[must_use]
pub(crate) fn connects(stack: &[String]) -> bool {
    has_any(stack, CONNECTS)
}

/// Does it sleep until a datagram comes on the socket from which it receives?
#[must_use]
pub(crate) fn receives_datagram(stack: &[String]) -> bool {
    has_any(stack, &["udp_recvmsg", "udpv6_recvmsg"])
}

/// Does a thread in it notice that a datagram comes on a socket of its own? It waits for descriptors, or in the receive.
#[must_use]
pub(crate) fn notices_datagram(stack: &[String]) -> bool {
    let polls = ["do_poll*", "do_sys_poll", "do_select"];
    receives_datagram(stack) || loops(stack) || has_any(stack, &polls)
}

/// Functions in which a thread sleeps until somebody reads what it writes: on a Unix socket, in a pipe, or in a queue of messages.
const GIVES: &[&str] = &[
    "unix_wait_for_peer",
    "unix_stream_sendmsg",
    "unix_dgram_sendmsg",
    "pipe_write",
    "anon_pipe_write",
    "fifo_pipe_write",
    "pipe_wait_writable",
    "do_mq_timedsend",
    "do_msgsnd",
];

/// Does it sleep until somebody reads what it writes?
#[must_use]
pub(crate) fn gives(stack: &[String]) -> bool {
    has_any(stack, GIVES)
}

/// Does it sleep until a scanner permits what it does to a file?
#[must_use]
pub(crate) fn permitted(stack: &[String]) -> bool {
    has_any(stack, &["fanotify_handle_event", "fanotify_get_response"])
}

/// Does it sleep until somebody connects?
#[must_use]
pub(crate) fn accepts(stack: &[String]) -> bool {
    has_any(stack, &ACCEPTS)
}

/// Does it sleep until the audit daemon has written some of its records?
#[must_use]
pub(crate) fn audits(stack: &[String]) -> bool {
    has_any(stack, &["audit_log_start"])
}

/// Does it sleep on a futex?
#[must_use]
pub(crate) fn is_futex(stack: &[String]) -> bool {
    has_any(stack, &FUTEXES)
}

/// Functions that wait for a page that was read before or is read now: of a file, of a mapping, of swap. Names hold for 5.10 to 7.2.
const PAGE_READS: [&str; 5] = [
    "filemap_fault",
    "filemap_read",
    "filemap_get_pages",
    "generic_file_buffered_read",
    "do_swap_page",
];

/// Does it wait for a page that can be evicted?
#[must_use]
pub(crate) fn reads_page(stack: &[String]) -> bool {
    has_any(stack, &PAGE_READS)
}

/// Does it wait for a page that was swapped out?
#[must_use]
pub(crate) fn swaps_in(stack: &[String]) -> bool {
    has_any(stack, &["do_swap_page"])
}

/// Does it reclaim pages of a group that is full?
#[must_use]
pub(crate) fn reclaims_group(stack: &[String]) -> bool {
    has_any(stack, &["try_to_free_mem_cgroup_pages"])
}

/// The kinds of locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    /// On a file.
    File,
    /// In memory: a futex, which may be a lock.
    Memory,
    /// Of the kernel.
    Kernel,
}

/// The kind of lock that a stack sleeps for, which has this row in the table of sleeps.
#[must_use]
pub(crate) fn lock_of(row: Option<Sleep>, stack: &[String]) -> Option<Lock> {
    match row? {
        _ if has_any(stack, &FILE_LOCKS) => Some(Lock::File),
        LOCK => Some(Lock::Kernel),
        _ if is_futex(stack) => Some(Lock::Memory),
        _ => None,
    }
}

/// Does it sleep for a time that it chose itself?
#[must_use]
pub(crate) fn is_nap(stack: &[String]) -> bool {
    has_any(stack, &["hrtimer_nanosleep", "do_nanosleep"])
}

/// Functions through which the kernel enters interrupt context.
const INTERRUPT: &[&str] = &[
    "asm_sysvec_*",
    "sysvec_*",
    "__sysvec_*",
    "asm_common_interrupt",
    "common_interrupt",
    "__common_interrupt",
    "handle_softirqs",
    "__do_softirq",
    "irq_exit_rcu",
    "__irq_exit_rcu",
    "hrtimer_interrupt",
    "do_softirq*",
    "asm_call_irq_on_stack",
    "asm_call_sysvec_on_stack",
    "run_ksoftirqd",
];

/// Was this stack captured in an interrupt? Then `current` is the interrupted thread, not the waker.
#[must_use]
pub(crate) fn is_interrupt(stack: &[String]) -> bool {
    has_any(stack, INTERRUPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::threads::sleep::tests::stack;

    #[test]
    fn a_wakeup_from_a_timer_is_an_interrupt_and_one_from_a_futex_is_not() {
        assert!(is_interrupt(&stack(&[
            "try_to_wake_up",
            "hrtimer_wakeup",
            "__hrtimer_run_queues",
            "hrtimer_interrupt"
        ])));
        assert!(!is_interrupt(&stack(&[
            "try_to_wake_up",
            "futex_wake",
            "do_futex",
            "do_syscall_64"
        ])));
    }
}
