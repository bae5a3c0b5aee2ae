//! The reason of a sleep, from the kernel functions on its stack: a table, not code.

use tracer_common::sched::{STATE_FROZEN, STATE_STOPPED, STATE_TRACED};

use crate::{
    class::{Cause, Class},
    functions::{is_meant, plain},
};

/// The reason of a sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sleep {
    /// It waits for work: idle, unless the thread owns a request.
    Work,
    /// It is blocked.
    Blocked(Class, Option<Cause>),
}

const fn blocked(class: Class, cause: Cause) -> Sleep {
    Sleep::Blocked(class, Some(cause))
}

const DISK: Sleep = Sleep::Blocked(Class::Disk, None);
const JOURNAL: Sleep = blocked(Class::Disk, Cause::Journal);
const WRITEBACK: Sleep = blocked(Class::Disk, Cause::Writeback);
const FROZEN: Sleep = blocked(Class::Stopped, Cause::Frozen);
const NETWORK: Sleep = Sleep::Blocked(Class::Network, None);
const UPSTREAM: Sleep = Sleep::Blocked(Class::Upstream, None);
/// A lock of the kernel: mutex, rwsem, file lock.
pub(super) const LOCK: Sleep = Sleep::Blocked(Class::Lock, None);

/// The first row with a function that is anywhere in the stack wins. A name that ends in `*` is a prefix. Rows that explain a wait
/// inside another one (reclaim inside a page fault inside a receive) come first. Names hold for 5.10 to 7.2.
const TABLE: &[(&str, Sleep)] = &[
    ("do_signal_stop", blocked(Class::Stopped, Cause::StopSignal)),
    ("ptrace_stop", blocked(Class::Stopped, Cause::Traced)),
    ("__refrigerator", FROZEN),
    ("do_freezer_trap", FROZEN),
    (
        "try_to_free_pages",
        blocked(Class::Memory, Cause::DirectReclaim),
    ),
    (
        "try_to_free_mem_cgroup_pages",
        blocked(Class::Memory, Cause::DirectReclaim),
    ),
    (
        "throttle_direct_reclaim",
        blocked(Class::Memory, Cause::DirectReclaim),
    ),
    (
        "mem_cgroup_handle_over_high",
        blocked(Class::Memory, Cause::Quota),
    ),
    (
        "__mem_cgroup_handle_over_high",
        blocked(Class::Memory, Cause::Quota),
    ),
    (
        "try_to_compact_pages",
        blocked(Class::Memory, Cause::Compaction),
    ),
    ("balance_dirty_pages*", WRITEBACK),
    ("folio_wait_writeback", WRITEBACK),
    ("wait_on_page_writeback", WRITEBACK),
    ("__filemap_fdatawait_range", WRITEBACK),
    // `sync`, `syncfs`, `umount`: they ask the kernel's thread to write a file system back, and wait for it.
    ("wb_wait_for_completion", WRITEBACK),
    ("jbd2_log_wait_commit", JOURNAL),
    ("jbd2_complete_transaction", JOURNAL),
    ("add_transaction_credits", JOURNAL),
    ("start_this_handle", JOURNAL),
    ("wait_transaction_locked", JOURNAL),
    ("do_get_write_access", JOURNAL),
    ("xlog_*", JOURNAL),
    ("xfs_log_force*", JOURNAL),
    // Inodes and blocks of XFS that stay as they are until the log has been written.
    ("__xfs_iunpin_wait", JOURNAL),
    ("xfs_buf_wait_unpin", JOURNAL),
    // It waits for its own block without being counted as waiting for I/O.
    ("xfs_buf_iowait", DISK),
    ("btrfs_commit_transaction", JOURNAL),
    ("btrfs_wait_for_commit", JOURNAL),
    ("wait_for_commit", JOURNAL),
    ("wait_current_trans", JOURNAL),
    ("wait_log_commit", JOURNAL),
    // Data of btrfs that is on the way to the disk, without being counted as waiting for I/O.
    ("btrfs_wait_ordered_*", WRITEBACK),
    ("btrfs_start_ordered_extent*", WRITEBACK),
    ("blk_throtl_bio", blocked(Class::Disk, Cause::Quota)),
    ("rpc_wait_bit_killable", UPSTREAM),
    ("nfs_wait_*", UPSTREAM),
    ("request_wait_answer", UPSTREAM),
    // A scanner has to permit what the thread does to a file.
    ("fanotify_handle_event", UPSTREAM),
    ("fanotify_get_response", UPSTREAM),
    // The audit daemon has too many records to write.
    ("audit_log_start", UPSTREAM),
    ("wait_for_response", UPSTREAM),
    ("wait_for_free_credits", UPSTREAM),
    ("ceph_mdsc_wait_request", UPSTREAM),
    ("ceph_osdc_wait_request", UPSTREAM),
    ("p9_virtio_request", UPSTREAM),
    ("p9_client_rpc", UPSTREAM),
    // The page is being moved in memory: `io_schedule` without I/O.
    ("migration_entry_wait*", Sleep::Blocked(Class::Memory, None)),
    ("rq_qos_wait", DISK),
    ("wbt_wait", DISK),
    ("ioc_rqos_throttle", DISK),
    ("blk_mq_get_tag", DISK),
    ("__bio_queue_enter", DISK),
    ("folio_wait_bit_common", DISK),
    ("wait_on_page_bit_common", DISK),
    ("wait_on_page_bit*", DISK),
    ("__lock_page*", DISK),
    ("__wait_on_buffer", DISK),
    ("submit_bio_wait", DISK),
    ("__iomap_dio_rw", DISK),
    ("iomap_dio_rw", DISK),
    ("__blkdev_direct_IO*", DISK),
    ("blkdev_direct_IO", DISK),
    ("do_blockdev_direct_IO", DISK),
    ("io_schedule", DISK),
    ("io_schedule_timeout", DISK),
    // No link is on the way to a process of this machine: it does not read.
    ("unix_stream_sendmsg", UPSTREAM),
    ("unix_dgram_sendmsg", UPSTREAM),
    ("unix_wait_for_peer", UPSTREAM),
    ("sk_stream_wait_memory", NETWORK),
    ("sock_alloc_send_pskb", NETWORK),
    ("sk_stream_wait_connect", UPSTREAM),
    ("inet_stream_connect", UPSTREAM),
    ("__inet_stream_connect", UPSTREAM),
    ("rwsem_down_*", LOCK),
    ("__mutex_lock*", LOCK),
    ("mutex_lock*", LOCK),
    ("__down*", LOCK),
    ("percpu_rwsem_wait", LOCK),
    // The tree of logs of btrfs: what is not a lock of its own is a wait for another writer of it, in functions that are inlined.
    ("btrfs_sync_log", JOURNAL),
    // There is room on btrfs only when others' data has been written.
    ("btrfs_reserve_metadata_bytes", WRITEBACK),
    ("btrfs_reserve_data_bytes", WRITEBACK),
    ("flock_lock_inode_wait", LOCK),
    ("locks_lock_inode_wait", LOCK),
    ("posix_lock_inode_wait", LOCK),
    ("fcntl_setlk*", LOCK),
    // Who opens a file waits until another process gives up its lease on it.
    ("__break_lease", LOCK),
    ("ep_poll", Sleep::Work),
    ("do_epoll_wait", Sleep::Work),
    ("do_poll*", Sleep::Work),
    ("do_sys_poll", Sleep::Work),
    ("do_select", Sleep::Work),
    ("inet_csk_accept", Sleep::Work),
    ("inet_csk_wait_for_connect", Sleep::Work),
    ("unix_accept", Sleep::Work),
    ("sk_wait_data", Sleep::Work),
    ("__skb_wait_for_more_packets", Sleep::Work),
    ("unix_stream_data_wait", Sleep::Work),
    ("unix_stream_read_generic", Sleep::Work),
    // A futex is a lock or a condition on which work is handed over: the waker decides (`answered` in `threads/hand.rs`).
    ("futex_wait*", Sleep::Work),
    ("__futex_wait*", Sleep::Work),
    ("futex_do_wait", Sleep::Work),
    ("do_futex", Sleep::Work),
    ("hrtimer_nanosleep", Sleep::Work),
    ("do_nanosleep", Sleep::Work),
    ("pipe_read", Sleep::Work),
    ("anon_pipe_read", Sleep::Work),
    ("pipe_wait_readable", Sleep::Work),
    ("wait_for_partner", Sleep::Work),
    ("eventfd_read", Sleep::Work),
    ("do_sigtimedwait", Sleep::Work),
    ("sigsuspend", Sleep::Work),
    ("do_wait", Sleep::Work),
    ("io_cqring_wait*", Sleep::Work),
    ("read_events", Sleep::Work),
    ("do_io_getevents", Sleep::Work),
    ("__x64_sys_io_getevents*", Sleep::Work),
    ("__x64_sys_io_pgetevents*", Sleep::Work),
    ("io_wq_worker", Sleep::Work),
    ("io_wqe_worker", Sleep::Work),
    ("io_sq_thread*", Sleep::Work),
    ("do_msgrcv", Sleep::Work),
    ("do_semtimedop", Sleep::Work),
    ("__do_semtimedop", Sleep::Work),
    ("do_mq_timedreceive", Sleep::Work),
    ("__x64_sys_mq_timedreceive*", Sleep::Work),
    // Who serves files, or permits what is done to them, waits to be asked.
    ("fuse_dev_do_read", Sleep::Work),
    ("fanotify_read", Sleep::Work),
    ("signalfd_read", Sleep::Work),
    ("timerfd_read", Sleep::Work),
    ("inotify_read", Sleep::Work),
    ("do_sys_pause", Sleep::Work),
    ("__x64_sys_pause", Sleep::Work),
    ("n_tty_read", Sleep::Work),
];

/// `TASK_INTERRUPTIBLE`: only such a sleep can be a wait for work.
pub(super) const INTERRUPTIBLE: u32 = 1;

/// The letters of stopped threads in `/proc/PID/stat`.
pub(super) const LETTER_STOPPED: char = 'T';
pub(super) const LETTER_TRACED: char = 't';

/// Was the thread stopped, by the state in which it left the CPU?
#[must_use]
#[inline]
pub(super) fn is_stopped(state: u32) -> bool {
    state & (STATE_STOPPED | STATE_TRACED | STATE_FROZEN) != 0
}

/// Classifies a sleep; `None` for a stack that could not be read.
#[must_use]
pub(crate) fn classify(stack: Option<&[String]>, state: u32, iowait: bool) -> Sleep {
    judge(stack.and_then(row), state, iowait)
}

/// The table's reason for a stack; `None` if no row fits.
#[must_use]
pub(crate) fn row(stack: &[String]) -> Option<Sleep> {
    let functions: Vec<&str> = stack.iter().map(|function| plain(function)).collect();
    let is_there = |pattern: &str| functions.iter().any(|name| is_meant(pattern, name));
    let row = TABLE.iter().find(|(pattern, _)| is_there(pattern));
    let known = row.map(|(_, sleep)| *sleep);
    known.or_else(|| is_trap(&functions).then_some(FROZEN))
}

/// Does `get_signal` itself sleep? It does only in the trap of the freezer (`do_freezer_trap`, which compilers inline).
fn is_trap(functions: &[&str]) -> bool {
    let mut pairs = functions.windows(2);
    pairs.any(|pair| pair == ["schedule", "get_signal"])
}

/// Classifies a sleep by the row of the table that its stack has.
#[must_use]
pub(crate) fn judge(row: Option<Sleep>, state: u32, iowait: bool) -> Sleep {
    match row {
        Some(Sleep::Work) if state & INTERRUPTIBLE == 0 => Sleep::Blocked(Class::Other, None),
        Some(sleep) => sleep,
        None if iowait => DISK,
        None => Sleep::Blocked(Class::Other, None),
    }
}

/// The same sleep below a file system that has its data elsewhere. Pages come from there, and go there: no disk of this machine is
/// waited for.
#[must_use]
pub(crate) fn elsewhere(sleep: Sleep) -> Sleep {
    match sleep {
        Sleep::Blocked(Class::Disk, _) => UPSTREAM,
        other => other,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Frames with these functions.
    pub(in crate::model::threads) fn stack(functions: &[&str]) -> Vec<String> {
        functions
            .iter()
            .map(|function| (*function).to_owned())
            .collect()
    }

    #[test]
    fn each_class_in_which_a_thread_is_blocked_has_a_row() {
        let has_row = |class: Class| {
            let mut rows = TABLE.iter();
            rows.any(|(_, sleep)| matches!(sleep, Sleep::Blocked(of, _) if *of == class))
        };
        // A thread in a run queue does not sleep, and the class of any other wait is that of no row.
        let without = [Class::Cpu, Class::Other];
        for class in Class::ALL.into_iter().filter(|class| class.is_blocked()) {
            assert_eq!(has_row(class), !without.contains(&class), "{class:?}");
        }
    }

    #[test]
    fn a_thread_is_frozen_where_get_signal_itself_sleeps_and_not_where_it_dumps_core() {
        let trap = stack(&[
            "__schedule",
            "schedule",
            "get_signal",
            "exit_to_user_mode_loop",
        ]);
        assert_eq!(classify(Some(&trap), 1, false), FROZEN);
        let core = stack(&[
            "__schedule",
            "schedule",
            "schedule_timeout",
            "wait_for_completion_state",
            "do_coredump",
            "get_signal",
        ]);
        let other = Sleep::Blocked(Class::Other, None);
        assert_eq!(classify(Some(&core), 0x2000, false), other);
    }

    #[test]
    fn only_a_thread_that_is_stopped_has_the_state_of_one() {
        let idle_kernel_thread = 0x402;
        for state in [0, 1, 2, 0x102, idle_kernel_thread, 0x2001] {
            assert!(!is_stopped(state), "{state:x}");
        }
        for state in [4, 0x104, 8, 0x108, 0x8000] {
            assert!(is_stopped(state), "{state:x}");
        }
    }

    #[test]
    fn an_epoll_wait_is_a_wait_for_work() {
        let frames = stack(&[
            "__schedule",
            "schedule",
            "schedule_hrtimeout_range_clock",
            "ep_poll",
            "do_epoll_wait",
        ]);
        assert_eq!(classify(Some(&frames), 1, false), Sleep::Work);
    }

    #[test]
    fn a_wait_for_completions_is_a_wait_for_work_however_they_are_asked_for() {
        for function in [
            "io_cqring_wait",
            "do_io_getevents",
            "__x64_sys_io_pgetevents",
        ] {
            let frames = stack(&["__schedule", "schedule", function, "do_syscall_64"]);
            assert_eq!(classify(Some(&frames), 1, false), Sleep::Work);
        }
    }

    #[test]
    fn a_page_that_is_read_inside_a_receive_is_a_disk_wait() {
        let frames = stack(&[
            "__schedule",
            "io_schedule",
            "folio_wait_bit_common",
            "filemap_fault",
            "tcp_recvmsg",
            "sk_wait_data",
        ]);
        assert_eq!(
            classify(Some(&frames), 2, true),
            Sleep::Blocked(Class::Disk, None)
        );
    }

    #[test]
    fn who_sends_to_a_process_that_does_not_read_waits_for_it_and_for_no_link() {
        let local = stack(&[
            "sock_alloc_send_pskb",
            "unix_stream_sendmsg",
            "sock_write_iter",
        ]);
        assert_eq!(classify(Some(&local), 1, false), UPSTREAM);
        let remote = stack(&["sk_stream_wait_memory", "tcp_sendmsg_locked"]);
        assert_eq!(classify(Some(&remote), 1, false), NETWORK);
    }

    #[test]
    fn an_uninterruptible_sleep_is_never_idle() {
        let frames = stack(&["schedule", "pipe_read"]);
        assert_eq!(
            classify(Some(&frames), 2, false),
            Sleep::Blocked(Class::Other, None)
        );
        assert_eq!(classify(None, 2, true), Sleep::Blocked(Class::Disk, None));
    }

    #[test]
    fn an_fsync_behind_the_journal_is_found_though_it_is_not_iowait() {
        let frames = stack(&["schedule", "jbd2_log_wait_commit", "ext4_sync_file"]);
        assert_eq!(
            classify(Some(&frames), 2, false),
            Sleep::Blocked(Class::Disk, Some(Cause::Journal))
        );
    }

    #[test]
    fn an_fsync_behind_the_log_of_xfs_or_btrfs_is_found_though_it_is_not_iowait() {
        let waits: [&[&str]; 6] = [
            &["xlog_wait_on_iclog", "xfs_log_force_seq", "xfs_file_fsync"],
            &[
                "__flush_workqueue",
                "xlog_cil_push_now",
                "xfs_log_force_seq",
            ],
            &["io_schedule", "__xfs_iunpin_wait", "xfs_reclaim_inode"],
            &["btrfs_commit_transaction", "btrfs_sync_file"],
            &["wait_log_commit", "btrfs_sync_log", "btrfs_sync_file"],
            &["btrfs_sync_log", "btrfs_sync_file"],
        ];
        for functions in waits {
            assert_eq!(classify(Some(&stack(functions)), 2, false), JOURNAL);
        }
    }

    #[test]
    fn the_lock_of_the_log_of_btrfs_is_a_lock_and_its_data_is_written_back() {
        let of = |functions: &[&str]| classify(Some(&stack(functions)), 2, false);
        assert_eq!(of(&["mutex_lock", "btrfs_sync_log"]), LOCK);
        assert_eq!(of(&["folio_wait_writeback", "btrfs_sync_log"]), WRITEBACK);
        assert_eq!(
            of(&["btrfs_wait_ordered_range", "btrfs_sync_file"]),
            WRITEBACK
        );
    }

    #[test]
    fn a_block_of_xfs_is_read_from_the_disk() {
        let frames = stack(&["wait_for_completion", "xfs_buf_iowait", "xfs_buf_read_map"]);
        assert_eq!(classify(Some(&frames), 2, false), DISK);
    }

    #[test]
    fn a_page_that_moves_in_memory_is_no_disk_wait_though_it_is_iowait() {
        let frames = stack(&["io_schedule", "migration_entry_wait_on_locked"]);
        assert_eq!(
            classify(Some(&frames), 2, true),
            Sleep::Blocked(Class::Memory, None)
        );
    }

    #[test]
    fn who_syncs_waits_for_writeback_though_it_is_not_iowait() {
        let frames = stack(&["schedule", "wb_wait_for_completion", "sync_inodes_sb"]);
        assert_eq!(
            classify(Some(&frames), 2, false),
            Sleep::Blocked(Class::Disk, Some(Cause::Writeback))
        );
    }

    #[test]
    fn compiler_suffixes_do_not_hide_a_function() {
        assert_eq!(
            classify(Some(&stack(&["do_poll.constprop.0"])), 1, false),
            Sleep::Work
        );
    }
}
