//! Which request a thread waited for, and from when on.

use tracer_common::block::{IO_THROTTLED, IO_WRITEBACK};

use super::*;

const TID: u32 = 1;
const OTHER_TID: u32 = 2;
const OTHERS: Holder = Holder::Process(7);

/// A page that `owner` read, of which the last bio was completed at `end_ms`.
fn read(owner: Holder, tid: u32, end_ms: u64) -> Request {
    Request {
        tid,
        ..request(owner, end_ms * MS - MS, end_ms * MS, 4096)
    }
}

/// Rank and end, in ms, of the request that the thread waited for from 10 to 20 ms.
fn awaited(requests: &[Request]) -> Option<(u32, u64)> {
    let found = disk(requests).awaited(TID, 10 * MS, 20 * MS);
    found.map(|(rank, request)| (rank, request.end_ns / MS))
}

#[test]
fn the_threads_own_request_goes_before_later_ones_of_other_threads() {
    let requests = [
        read(Holder::Own, TID, 14),
        read(Holder::Own, OTHER_TID, 16),
        read(OTHERS, OTHER_TID, 20),
    ];
    assert_eq!(awaited(&requests), Some((Disk::OWN, 14)));
}

#[test]
fn of_several_requests_of_other_threads_the_last_counts() {
    let requests = [14, 16].map(|end| read(Holder::Own, OTHER_TID, end));
    assert_eq!(awaited(&requests), Some((3, 16)));
}

#[test]
fn another_ones_request_counts_if_it_was_there_all_the_time_and_ended_with_the_wait() {
    let others = |begin_ms, end_ms| {
        let read = Request {
            queue_ns: begin_ms * MS,
            ..read(OTHERS, OTHER_TID, end_ms)
        };
        awaited(&[read])
    };
    assert_eq!(others(9, 19), Some((Disk::ANYBODYS, 19)));
    assert_eq!(others(9, 18), None);
    assert_eq!(others(9, 15), None);
    // Its page was locked just before.
    assert_eq!(others(12, 19), Some((Disk::ANYBODYS, 19)));
    assert_eq!(others(13, 19), None);
}

#[test]
fn a_request_that_ended_just_before_the_wait_counts_if_the_thread_queued_it() {
    assert_eq!(awaited(&[read(Holder::Own, TID, 9)]), Some((1, 9)));
    assert_eq!(awaited(&[read(Holder::Own, OTHER_TID, 9)]), None);
    assert_eq!(awaited(&[read(Holder::Own, TID, 8)]), None);
}

#[test]
fn what_was_written_back_for_the_target_is_no_reason_to_wait() {
    let written = Request {
        flags: IO_WRITEBACK,
        ..read(Holder::Own, TID, 15)
    };
    assert_eq!(awaited(&[written]), None);
}

#[test]
fn a_throttled_request_of_the_group_counts_if_it_ended_with_the_wait() {
    let throttled = |end| Request {
        flags: IO_THROTTLED,
        ..read(Holder::Own, OTHER_TID, end)
    };
    assert_eq!(awaited(&[throttled(15)]), None);
    assert_eq!(awaited(&[throttled(18)]), None);
    assert_eq!(awaited(&[throttled(19)]), Some((3, 19)));
}

#[test]
fn only_what_a_limit_held_back_is_charged_to_the_own_quota() {
    let held_back = |flags| {
        let own = Request {
            flags,
            ..request(Holder::Own, 15 * MS, 20 * MS, 4096)
        };
        let blame = disk(&[own]).blame(&own, 10 * MS, 20 * MS, &|request| request.owner);
        let quota = blame.charges.iter();
        let quota = quota.filter(|(holder, _)| *holder == Holder::OwnQuota);
        let all: u64 = blame.charges.iter().map(|(_, ns)| ns).sum();
        assert_eq!(all, 10 * MS);
        quota.map(|(_, ns)| ns).sum::<u64>()
    };
    assert_eq!(held_back(IO_THROTTLED), 5 * MS);
    assert_eq!(held_back(0), 0);
}

#[test]
fn who_began_to_wait_after_the_request_had_ended_waited_for_itself() {
    let own = request(Holder::Own, 0, 10 * MS, 4096);
    let beside = request(OTHERS, 0, 30 * MS, 1 << 20);
    let blame = disk(&[own, beside]).blame(&own, 10 * MS, 12 * MS, &|request| request.owner);
    assert_eq!(blame.charges, [(Holder::Own, 2 * MS)]);
}
