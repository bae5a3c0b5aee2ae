//! Notes who ends waits of the target by other ways than a socket: who reads a pipe that the target writes, takes its messages, or lets a
//! semaphore go. Whoever holds the target up for long by that is worth being followed.

use std::collections::HashMap;

use rustc_hash::FxHashMap;
use tracer_common::sched::{
    WAIT_FIRST, WAIT_IOWAIT, WAIT_NO_WAKER, WAIT_OPEN, WAIT_RUNNABLE, WAIT_TASK_WAKER,
};

use super::found::Way;
use crate::{
    event::{Stack, Wait},
    functions::{ACCEPTS, FUTEXES, has_any},
};

/// A process that ended waits of so long in all is followed, ns. So long a delay is felt.
const LONG_NS: u64 = 100_000_000;

/// Most processes of which the waits are counted.
const MOST: usize = 64;

/// `TASK_INTERRUPTIBLE | TASK_WAKEKILL`: only from such a sleep another process is waited for.
const MAY_ASK: u32 = 0x101;

/// What no wait for another process has. Others are ended by a task of their own accord.
const NEVER: u32 = WAIT_NO_WAKER | WAIT_OPEN | WAIT_FIRST | WAIT_RUNNABLE | WAIT_IOWAIT;

/// Calls that give something to another process. Who sleeps in one waits until that is taken.
const GIVES: &[&str] = &[
    "vfs_write",
    "vfs_writev",
    "vfs_iter_write",
    "do_iter_write",
    "ksys_write",
    "do_splice",
    "do_tee",
    "do_vmsplice",
    "__sys_sendto",
    "__sys_sendmsg",
    "__sys_sendmmsg",
    "___sys_sendmsg",
    "____sys_sendmsg",
    "sock_sendmsg",
    "do_msgsnd",
    "do_mq_timedsend",
];

/// The kind of a sleep. All others take what another process brings, or wait for what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gives,
    Locks,
    Accepts,
}

impl Kind {
    fn of(frames: &[String]) -> Option<Self> {
        let is = |functions: &[&str], kind| has_any(frames, functions).then_some(kind);
        let accepts = is(&ACCEPTS, Self::Accepts);
        let locks = || is(&FUTEXES, Self::Locks);
        accepts.or_else(locks).or_else(|| is(GIVES, Self::Gives))
    }
}

/// Stacks of which the kind is kept. Those that come later are of no kind.
const MOST_STACKS: usize = 1 << 13;

/// The processes that end waits of the target.
#[derive(Default)]
pub(super) struct Hands {
    stacks: FxHashMap<u64, Kind>,
    /// How long the waits were that each ended, ns.
    ended: HashMap<u32, u64>,
}

impl Hands {
    /// A stack is recorded for the first time.
    pub(super) fn learn(&mut self, stack: &Stack) {
        if self.stacks.len() >= MOST_STACKS {
            return;
        }
        let kind = Kind::of(&stack.frames);
        self.stacks.extend(kind.map(|kind| (stack.id, kind)));
    }

    /// Another process ended this wait of the target, which has requests open or not. Returns how that one is to be followed, once it has
    /// ended enough. A thread that has no request and takes what comes is idle.
    pub(super) fn ended(&mut self, wait: &Wait, is_open: bool) -> Option<Way> {
        let kind = self.stacks.get(&wait.stack).copied();
        let way = match kind {
            Some(Kind::Accepts) => return None,
            Some(Kind::Locks) => Way::Lock,
            Some(Kind::Gives) | None => Way::Hand,
        };
        if !is_open && kind != Some(Kind::Gives) {
            return None;
        }
        if self.ended.len() >= MOST && !self.ended.contains_key(&wait.waker_pid) {
            return None;
        }
        let slept_ns = wait.ns.saturating_sub(wait.run_queue_ns + wait.off_ns);
        let sum = self.ended.entry(wait.waker_pid).or_default();
        let before = *sum;
        *sum += slept_ns;
        (before < LONG_NS && *sum >= LONG_NS).then_some(way)
    }

    /// Counts anew.
    pub(super) fn clear(&mut self) {
        self.ended.clear();
    }
}

/// Did a task end a wait that may have been one for it?
pub(super) fn may_ask(wait: &Wait) -> bool {
    wait.flags & (NEVER | WAIT_TASK_WAKER) == WAIT_TASK_WAKER
        && wait.off_ns != 0
        && wait.state & MAY_ASK != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: u64 = 1;
    const FUTEX: u64 = 2;
    const ACCEPT: u64 = 3;
    const READ: u64 = 4;

    fn hands() -> Hands {
        let mut hands = Hands::default();
        let stacks: [(u64, &[&str]); 4] = [
            (WRITE, &["schedule", "anon_pipe_write", "vfs_write"]),
            (FUTEX, &["schedule", "futex_do_wait", "do_futex"]),
            (ACCEPT, &["schedule", "unix_accept", "do_accept"]),
            (READ, &["schedule", "anon_pipe_read", "vfs_read"]),
        ];
        for (id, frames) in stacks {
            let frames = frames.iter().map(|frame| (*frame).to_owned()).collect();
            hands.learn(&Stack { ns: 0, id, frames });
        }
        hands
    }

    /// 60 ms, ended by a process.
    fn wait(stack: u64, waker_pid: u32) -> Wait {
        Wait {
            ns: 100_000_000,
            off_ns: 40_000_000,
            state: 1,
            stack,
            waker_pid,
            flags: WAIT_TASK_WAKER,
            ..Wait::default()
        }
    }

    #[test]
    fn who_ends_waits_for_long_is_followed_once() {
        let mut hands = hands();
        let mut ended = |pid| hands.ended(&wait(WRITE, pid), false);
        assert_eq!(ended(7), None);
        assert_eq!(ended(8), None);
        assert_eq!(ended(7), Some(Way::Hand));
        assert_eq!(ended(7), None);
    }

    #[test]
    fn who_takes_is_held_up_only_while_a_request_is_open() {
        let way = |stack, is_open| {
            let mut hands = hands();
            hands.ended(&wait(stack, 7), is_open);
            hands.ended(&wait(stack, 7), is_open)
        };
        assert_eq!(way(READ, false), None);
        assert_eq!(way(READ, true), Some(Way::Hand));
        assert_eq!(way(FUTEX, false), None);
        assert_eq!(way(FUTEX, true), Some(Way::Lock));
        assert_eq!(way(ACCEPT, true), None);
    }

    #[test]
    fn an_interrupt_and_a_sleep_that_no_signal_ends_ask_nobody() {
        assert!(may_ask(&wait(READ, 7)));
        let with = |flags, state| Wait {
            flags,
            state,
            ..wait(READ, 7)
        };
        assert!(!may_ask(&with(WAIT_NO_WAKER, 1)));
        assert!(!may_ask(&with(0, 1)));
        assert!(!may_ask(&with(WAIT_TASK_WAKER | WAIT_IOWAIT, 0x102)));
        assert!(!may_ask(&with(WAIT_TASK_WAKER, 2)));
    }
}
