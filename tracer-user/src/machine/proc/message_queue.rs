//! Queues of messages of System V (`sysvipc(7)`). The kernel does not show who can read there, but who did so last.

use std::{collections::BTreeSet, fs, time::Instant};

use super::{
    numbers_in,
    process::start_time,
    system_call::{SystemCall, each_call, is_narrow},
};
use crate::machine::clocks::clock_ns;

/// The list of the queues in the namespace of whoever reads it.
const LIST: &str = "/proc/sysvipc/msg";

const SECOND_NS: u64 = 1_000_000_000;

/// A queue, as its line in the list has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queue {
    id: u64,
    /// Who read there last; 0 if nobody has, or he is not in this namespace.
    reader: u32,
    /// When, in seconds since 1970.
    read_s: u64,
}

impl Queue {
    /// `KEY ID MODE BYTES MESSAGES WRITER READER UID GID CUID CGID WRITTEN READ CHANGED`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        Some(Self {
            id: words.nth(1)?.parse().ok()?,
            reader: words.nth(4)?.parse().ok()?,
            read_s: words.nth(5)?.parse().ok()?,
        })
    }
}

/// The process that read last from a queue into which a process writes: if it is still there, it has to read again. `None` if the queue
/// is not seen from here.
pub(super) fn read_by(pid: u32, queue: u64) -> Option<Vec<u32>> {
    let namespace = |of: &str| fs::read_link(format!("/proc/{of}/ns/ipc")).ok();
    if namespace(&pid.to_string())? != namespace("thread-self")? {
        return None;
    }
    let list = fs::read_to_string(LIST).ok()?;
    let mut found = list.lines().filter_map(Queue::parse);
    let Queue { reader, read_s, .. } = found.find(|found| found.id == queue)?;
    let is_there = reader != 0 && was_there(reader, read_s);
    Some(is_there.then_some(reader).into_iter().collect())
}

/// Those of these queues at which a thread sleeps until a message of its kind comes; `None` if time was up before all threads were looked
/// at.
///
/// Where several processes read, each often takes the messages of one kind (`msgtyp` of `msgrcv(2)`). In a full queue the messages that
/// lie there are then due to one that does not wait for them, and who read last need not be that one.
pub(super) fn awaited(queues: &BTreeSet<u64>, until: Instant) -> Option<BTreeSet<u64>> {
    let mut awaited = BTreeSet::new();
    if queues.is_empty() {
        return Some(awaited);
    }
    for pid in numbers_in("/proc") {
        if Instant::now() >= until {
            return None;
        }
        // A program of 32 bits has numbers of its own.
        each_call(pid, |_, line| {
            let call = SystemCall::parse(line).filter(|_| !is_narrow(line));
            let receives = call.filter(|call| call.number == libc::SYS_msgrcv);
            // An `int` leaves the upper half of its register undefined.
            let queue = receives.map(|call| call.arguments[0] & 0xffff_ffff);
            awaited.extend(queue.filter(|queue| queues.contains(queue)));
        });
    }
    Some(awaited)
}

/// Was a process there at a time? Else it has the number of another one, which has ended.
fn was_there(pid: u32, at_s: u64) -> bool {
    let age_s = |started: u64| clock_ns(libc::CLOCK_BOOTTIME).saturating_sub(started) / SECOND_NS;
    let ago_s = (clock_ns(libc::CLOCK_REALTIME) / SECOND_NS).saturating_sub(at_s);
    start_time(pid).is_some_and(|started| age_s(started) + 1 >= ago_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_last_reader_of_its_queue_and_the_head_has_none() {
        let head = "  key  msqid perms  cbytes  qnum lspid lrpid  uid  gid  cuid  cgid  stime  rtime  ctime";
        assert_eq!(Queue::parse(head), None);
        let line =
            "  0  32769  600  16384  4  4711  4712  0  0  0  0 1700000001 1700000000 1690000000";
        let expected = Queue {
            id: 32_769,
            reader: 4712,
            read_s: 1_700_000_000,
        };
        assert_eq!(Queue::parse(line), Some(expected));
    }

    #[test]
    fn who_began_after_the_last_read_has_not_read() {
        let own = std::process::id();
        let now_s = clock_ns(libc::CLOCK_REALTIME) / SECOND_NS;
        assert!(was_there(own, now_s));
        assert!(!was_there(own, 1_000_000_000) && !was_there(u32::MAX, now_s));
    }
}
