//! Blame for disk waits, with answers computed by hand.

mod awaited;
mod device;
mod harm;
mod stalls;

use tracer_common::block::{IO_HELD, IO_WRITEBACK, OP_FLUSH, OP_READ, OP_WRITE};

use super::{disk::Disk, fit::Fit, request::Request};
use crate::model::books::Holder;

const MS: u64 = 1_000_000;

fn request(owner: Holder, queue: u64, end: u64, bytes: u32) -> Request {
    Request {
        queue_ns: queue,
        issue_ns: queue,
        end_ns: end,
        bytes,
        op: OP_READ,
        owner,
        process: 0,
        tid: 1,
        flags: 0,
    }
}

fn disk(requests: &[Request]) -> Disk {
    let mut disk = Disk::new(0, false);
    for request in requests {
        disk.completed(*request);
    }
    disk.settle(u64::MAX);
    disk
}

#[test]
fn a_wait_alone_on_the_disk_is_its_own() {
    let own = request(Holder::Own, 0, 5 * MS, 4096);
    let disk = disk(&[own]);
    assert_eq!(
        disk.blame(&own, 0, 5 * MS, &|request| request.owner)
            .charges,
        [(Holder::Own, 5 * MS)]
    );
}

#[test]
fn the_excess_goes_to_the_other_and_the_parts_sum_to_the_wait() {
    let mut requests: Vec<Request> = (0..10)
        .map(|i| request(Holder::Own, i * 10 * MS, i * 10 * MS + MS, 4096))
        .collect();
    let other = request(Holder::Process(7), 200 * MS, 210 * MS, 1 << 20);
    let own = request(Holder::Own, 201 * MS, 211 * MS, 4096);
    requests.extend([other, own]);
    let blame = disk(&requests).blame(&own, 201 * MS, 211 * MS, &|request| request.owner);
    assert!(!blame.estimated);
    assert_eq!(blame.charges.iter().map(|(_, ns)| ns).sum::<u64>(), 10 * MS);
    let theirs = blame
        .charges
        .iter()
        .find(|(holder, _)| *holder == Holder::Process(7))
        .unwrap()
        .1;
    assert!(theirs.abs_diff(9 * MS) < MS / 10, "{theirs}");
}

#[test]
fn a_small_reader_is_not_accused_of_a_big_readers_harm() {
    let own = request(Holder::Own, 0, 10 * MS, 4096);
    let big = request(Holder::Process(1), 0, 10 * MS, 1 << 20);
    let small = request(Holder::Process(2), 0, 10 * MS, 4096);
    let blame = disk(&[own, big, small]).blame(&own, 0, 10 * MS, &|request| request.owner);
    let share = |id| {
        blame
            .charges
            .iter()
            .find(|(holder, _)| *holder == Holder::Process(id))
            .unwrap()
            .1 as f64
            / (10 * MS) as f64
    };
    assert!(share(1) > 0.9 * (1.0 - 0.1) && share(2) < 0.05, "{blame:?}");
}

#[test]
fn a_flush_counts_by_the_time_that_flushes_take() {
    let flush = |begin| Request {
        op: OP_FLUSH,
        ..request(Holder::Process(1), begin, begin + 40 * MS, 0)
    };
    let mut requests = Vec::new();
    for begin in (0..2000).step_by(100).map(|ms| ms * MS) {
        requests.push(request(Holder::Own, begin, begin + MS, 4096));
        requests.push(flush(begin + 50 * MS));
    }
    let own = request(Holder::Own, 2000 * MS, 2040 * MS, 4096);
    let reader = request(Holder::Process(2), 2000 * MS, 2040 * MS, 4096);
    requests.extend([flush(2000 * MS), reader, own]);
    let blame = disk(&requests).blame(&own, 2000 * MS, 2040 * MS, &|request| request.owner);
    let share = |id| {
        let charges = blame.charges.iter();
        let of = charges.filter(|(holder, _)| *holder == Holder::Process(id));
        of.map(|(_, ns)| ns).sum::<u64>()
    };
    assert!(share(1) > 35 * MS && share(2) < 2 * MS, "{blame:?}");
}

#[test]
fn the_fit_recovers_the_cost_of_an_io() {
    let mut fit = Fit::default();
    let mut now = 0;
    // 100 µs for each I/O and 1 ns for each byte: k is 100,000 bytes.
    for i in 0_u32..4000 {
        let bytes = 4096 * (1 + (i / 37 + i % 5) % 16);
        let end = now + 100_000 + u64::from(bytes);
        fit.add(
            &Request {
                issue_ns: now,
                ..request(Holder::Own, now, end, bytes)
            },
            0,
        );
        now = end;
    }
    let cost = fit.cost();
    assert!((cost - 100_000.0).abs() < 20_000.0, "{cost}");
}

/// Time charged to another and to nobody, in a wait of 100 ms for writes with these flags: the other's passes a limit first, then the
/// device is idle, then the target's passes.
fn behind_a_limit(flags: u32) -> [u64; 2] {
    let write = |owner, queue, bytes| Request {
        op: OP_WRITE,
        flags: IO_WRITEBACK | flags,
        ..request(owner, queue, queue + MS, bytes)
    };
    let other = Holder::Process(7);
    let requests = [
        write(other, 10 * MS, 9 << 20),
        write(Holder::Own, 99 * MS, 1 << 20),
    ];
    let blame = disk(&requests).blame_all(0, 100 * MS);
    let all: u64 = blame.charges.iter().map(|(_, ns)| ns).sum();
    assert_eq!(all, 100 * MS);
    [other, Holder::Nobody].map(|holder| {
        let of = blame.charges.iter().filter(|(known, _)| *known == holder);
        of.map(|(_, ns)| ns).sum()
    })
}

#[test]
fn who_uses_up_a_limit_in_front_of_a_disk_holds_the_waits_while_the_disk_is_idle() {
    let [other, nobody] = behind_a_limit(IO_HELD);
    assert_eq!(nobody, 0);
    assert!(other.abs_diff(90 * MS) < MS, "{other}");
    // Without a limit nobody knows why nothing was written.
    assert_eq!(behind_a_limit(0), [MS, 98 * MS]);
}
