//! A device that stalls by itself, and rare long waits: what others completed meanwhile tells the one from the other.

use tracer_common::block::{OP_FLUSH, OP_READ, OP_WRITE};

use super::{
    Request,
    device::{Device, Reader, play},
    disk,
    harm::{EIGHT_SERVERS, MS, ONE_SERVER, WINDOW, attribution, check, in_shifts, other, target},
    request,
};
use crate::model::books::Holder;

/// The same device, which serves nothing for 300 ms out of 1,800.
fn stalling(device: Device) -> Device {
    Device {
        shift_ns: (1500 * MS, 300 * MS),
        ..device
    }
}

/// The same device, with the queue in the operating system.
fn one_by_one(device: Device) -> Device {
    Device { depth: 1, ..device }
}

fn every(reader: Reader, ms: u64) -> Reader {
    Reader {
        every_ns: ms * MS,
        ..reader
    }
}

/// Reads one after the other, whatever else it does.
fn steady_target() -> Reader {
    every(target(4096), 0)
}

fn assert_right(scenes: &[(&str, Device)], readers: &[Reader]) {
    let scenes = scenes.iter();
    let wrong: Vec<String> = scenes
        .flat_map(|(name, device)| check(name, device, readers))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_device_that_stalls_does_not_accuse_who_moves_next_to_nothing() {
    let scenes = [
        ("one server", stalling(ONE_SERVER)),
        ("eight servers", stalling(EIGHT_SERVERS)),
        ("queue of the system", stalling(one_by_one(ONE_SERVER))),
    ];
    let light = every(other(1, 64 << 10, 1), 100);
    assert_right(&scenes, &[target(4096), light]);
    assert_right(&scenes, &[steady_target(), light]);
}

#[test]
fn a_device_that_stalls_is_said_to_be_slow() {
    let readers = [target(4096), every(other(1, 64 << 10, 1), 100)];
    let (charged, _) = attribution(&play(&stalling(ONE_SERVER), &readers, WINDOW));
    let slow = charged
        .iter()
        .find(|(holder, _)| *holder == Holder::SlowDevice);
    assert!(slow.is_some_and(|(_, part)| *part > 0.5), "{charged:?}");
}

#[test]
fn who_fills_a_device_that_stalls_is_charged_with_his_part() {
    let scenes = [
        ("one server", stalling(ONE_SERVER)),
        ("queue of the system", stalling(one_by_one(ONE_SERVER))),
    ];
    let heavy = in_shifts(other(1, 1 << 20, 4), 300, 60);
    assert_right(&scenes, &[target(4096), heavy]);
}

/// Three times in 6 s, others have the device for a third of a second or a whole one, with all they have at once.
#[test]
fn rare_long_waits_behind_much_are_charged_to_who_brought_it() {
    let scene = |device, at_once| {
        let deep = Device {
            depth: 1023,
            ..device
        };
        let bursts = in_shifts(other(1, 1 << 20, at_once), 1, 1999);
        let once = in_shifts(other(3, 1 << 20, 2 * at_once), 1, 5999);
        let light = every(other(2, 8192, 1), 20);
        assert_right(&[("deep", deep)], &[steady_target(), bursts, once, light]);
    };
    scene(ONE_SERVER, 32);
    scene(EIGHT_SERVERS, 256);
}

/// A device that is fast for 2.5 MB in each 100 ms, and then stands still.
fn limited(device: Device) -> Device {
    Device {
        rate: 1000,
        limit: (100 * MS, 2_500_000),
        ..device
    }
}

#[test]
fn who_uses_up_the_rate_of_a_limited_device_is_charged_and_who_is_there_with_little_is_not() {
    let (heavy, light) = (other(1, 128 << 10, 4), every(other(2, 4096, 1), 50));
    for device in [limited(ONE_SERVER), limited(EIGHT_SERVERS)] {
        for target in [target(4096), steady_target(), target(65536)] {
            let (charged, _) = attribution(&play(&device, &[target, heavy, light], WINDOW));
            let part = |of| {
                let part = charged.iter().find(|(holder, _)| *holder == of);
                part.map_or(0.0, |(_, part)| *part)
            };
            let (heavy, light) = (part(Holder::Process(1)), part(Holder::Process(2)));
            assert!(heavy > 0.45 && light < 0.1, "{charged:?}");
            // It serves as fast as it ever does; in the first second nobody knows its limit.
            assert!(part(Holder::SlowDevice) < 0.05, "{charged:?}");
        }
    }
}

/// The device had a burst of somebody until just before a read of the target, beside which next to nothing was there.
#[test]
fn a_burst_that_is_over_holds_the_wait_that_follows_it() {
    const LIGHT: Holder = Holder::Process(9);
    let alone = (0..20).map(|ms| ms * 10 * MS);
    let alone = alone.map(|begin| request(Holder::Own, begin, begin + MS, 4096));
    let mut requests: Vec<Request> = alone.collect();
    for round in (200..3000).step_by(100).map(|ms| ms * MS) {
        for n in 0..20 {
            let begin = round + n * MS / 4;
            requests.push(request(SOMEBODY, begin, begin + MS / 4, 128 << 10));
        }
        for begin in [round + 6 * MS, round + 7 * MS] {
            requests.push(request(LIGHT, begin, round + 100 * MS, 4096));
        }
    }
    let own = request(Holder::Own, 2905 * MS, 3000 * MS, 4096);
    requests.push(own);
    let blame = disk(&requests).blame(&own, own.queue_ns, own.end_ns, &|request| request.owner);
    let part = |of| {
        let charges = blame.charges.iter().filter(|(holder, _)| *holder == of);
        charges.map(|(_, ns)| ns).sum::<u64>()
    };
    assert!(part(SOMEBODY) > 60 * MS, "{:?}", blame.charges);
    assert!(part(LIGHT) < 95 * MS / 8, "{:?}", blame.charges);
    assert_eq!(part(Holder::SlowDevice), 0);
}

/// On the fastest devices not even what was done in the quarter of a second before a wait can be kept.
#[test]
fn a_long_wait_is_an_estimate_where_what_came_before_it_is_forgotten() {
    let after = |reads: u64| {
        let alone = (0..5).map(|n| request(Holder::Own, n * MS, n * MS + MS / 10, 4096));
        let mut requests: Vec<Request> = alone.collect();
        requests.extend((0..reads).map(|n| {
            let begin = 10 * MS + n * MS / 500;
            request(SOMEBODY, begin, begin + MS / 500, 4096)
        }));
        let begin = 10 * MS + reads * MS / 500;
        let own = request(Holder::Own, begin, begin + 50 * MS, 4096);
        requests.push(own);
        let blame = disk(&requests).blame(&own, own.queue_ns, own.end_ns, &|request| request.owner);
        blame.estimated
    };
    assert!(after(70_000));
    assert!(!after(7_000));
}

fn part(requests: &[Request], own: &Request, of: Holder) -> u64 {
    let blame = disk(requests).blame(own, own.queue_ns, own.end_ns, &|request| request.owner);
    let charges = blame.charges.iter().filter(|(holder, _)| *holder == of);
    charges.map(|(_, ns)| ns).sum()
}

/// The read comes later than the burst, and has the device for itself.
#[test]
fn a_burst_holds_the_wait_that_follows_it_even_if_nobody_is_there_any_more() {
    let mut requests = Vec::new();
    for round in (0..4000).step_by(100).map(|ms| ms * MS) {
        if round < 1000 * MS {
            requests.push(request(Holder::Own, round, round + MS, 4096));
            continue;
        }
        for n in 0..20 {
            let begin = round + n * MS / 8;
            requests.push(request(SOMEBODY, begin, begin + MS / 8, 128 << 10));
        }
        requests.push(request(
            Holder::Own,
            round + 20 * MS,
            round + 100 * MS,
            4096,
        ));
    }
    let own = *requests.last().unwrap();
    assert!(part(&requests, &own, SOMEBODY) > 50 * MS);
    assert_eq!(part(&requests, &own, Holder::SlowDevice), 0);
}

#[test]
fn a_flush_takes_its_time_whoever_reads_a_little_beside_it() {
    let mut requests = Vec::new();
    for round in (0..4000).step_by(16).map(|ms| ms * MS) {
        for ms in [1, 5, 9] {
            let begin = round + ms * MS;
            requests.push(request(SOMEBODY, begin, begin + MS / 10, 4096));
        }
        let flush = request(Holder::Own, round, round + 8 * MS, 0);
        requests.push(Request {
            op: OP_FLUSH,
            ..flush
        });
    }
    requests.sort_by_key(|request| request.end_ns);
    let own = *requests
        .iter()
        .rfind(|request| request.op == OP_FLUSH)
        .unwrap();
    assert!(part(&requests, &own, SOMEBODY) < MS);
}

/// Their requests are there in every stall, and do no harm at any time.
#[test]
fn who_reads_beside_on_a_device_of_many_servers_is_not_charged_with_its_stalls() {
    let scenes = [("eight servers", stalling(EIGHT_SERVERS))];
    let beside = in_shifts(other(1, 64 << 10, 4), 300, 60);
    assert_right(&scenes, &[steady_target(), beside]);
}

const SOMEBODY: Holder = Holder::Process(7);

/// The charges for a read of the target that began at 2,000 ms, beside somebody else's request of the first millisecond. Before, each
/// read took 1 ms, and each write of a megabyte 40 ms.
fn charges(own: Request, op: u32, bytes: u32) -> Vec<(Holder, u64)> {
    let mut requests = Vec::new();
    for begin in (0..2000).step_by(100).map(|ms| ms * MS) {
        requests.push(request(Holder::Own, begin, begin + MS, 4096));
        let write = request(SOMEBODY, begin + 50 * MS, begin + 90 * MS, 1 << 20);
        requests.push(Request {
            op: OP_WRITE,
            ..write
        });
    }
    let other = request(SOMEBODY, 2000 * MS, 2001 * MS, bytes);
    requests.extend([Request { op, ..other }, own]);
    let blame = disk(&requests).blame(&own, own.queue_ns, own.end_ns, &|request| request.owner);
    blame.charges
}

#[test]
fn who_had_one_short_request_does_not_hold_a_long_wait_in_the_queue() {
    let own = Request {
        issue_ns: 2100 * MS,
        ..request(Holder::Own, 2000 * MS, 2101 * MS, 4096)
    };
    let charged = [(Holder::Own, MS), (SOMEBODY, MS), (Holder::Nobody, 99 * MS)];
    assert_eq!(charges(own, OP_READ, 4096), charged);
}

#[test]
fn a_big_write_keeps_the_device_busy_after_it_is_done() {
    let own = request(Holder::Own, 2000 * MS, 2100 * MS, 4096);
    let charged = |op| {
        let charges = charges(own, op, 1 << 20).into_iter();
        let of_somebody = charges.filter(|(holder, _)| *holder == SOMEBODY);
        of_somebody.map(|(_, ns)| ns).sum::<u64>()
    };
    assert_eq!(charged(OP_READ), MS);
    // It is in the cache of the device then.
    assert!(charged(OP_WRITE) > 90 * MS);
}
