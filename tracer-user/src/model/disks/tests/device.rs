//! A simulated device: the true harm is known, because the rest can be played again without a competitor.
//!
//! Servers are first come, first served, so a request's completion is known when it is issued. With `stripe` 0 (a disk, a RAID of
//! mirrors, many queues) the first free server serves a request whole. Else it is cut into stripes that go to the servers in turn
//! (the channels of an SSD). In front of it the operating system keeps requests back beyond `depth`.

use std::{cmp::Reverse, collections::BinaryHeap};

use tracer_common::block::OP_READ;

use crate::model::{books::Holder, disks::request::Request};

/// A device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Device {
    /// Requests or stripes served at once.
    pub(crate) servers: usize,
    /// Bytes of a stripe; 0: requests are not cut.
    pub(crate) stripe: u32,
    /// Time of a request (or stripe) beside its bytes, ns.
    pub(crate) per_io_ns: u64,
    /// Rate of a server, bytes per µs (that is MB/s).
    pub(crate) rate: u64,
    /// Requests that are given to it at once; the others wait in the operating system.
    pub(crate) depth: usize,
    /// Works for the first, stalls for the second with whatever it has; (0, 0) works always.
    pub(crate) shift_ns: (u64, u64),
    /// In each round of so many ns it begins no more than so many bytes, as a limited device does; (0, 0) has no limit.
    pub(crate) limit: (u64, u64),
}

/// A reader of so many requests at once, each followed by the next when it is done. Or it reads at times of its own, whatever its
/// waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    pub(crate) owner: Holder,
    pub(crate) bytes: u32,
    pub(crate) at_once: usize,
    /// Time between requests, on average, ns; 0: each follows the one before.
    pub(crate) every_ns: u64,
    /// Works for the first, rests for the second; (0, 0) works always.
    pub(crate) shift_ns: (u64, u64),
}

/// Numbers that look random and are the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    /// Between 0 and 2, on average 1.
    fn factor(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / (u64::MAX / 2) as f64
    }
}

/// All requests of a window of `window_ns`, in order of completion.
pub(crate) fn play(device: &Device, readers: &[Reader], window_ns: u64) -> Vec<Request> {
    let mut dice = Dice(42);
    let mut free = vec![0_u64; device.servers];
    let mut turn = 0;
    let mut bucket = Bucket::default();
    // Completion times of what the device has, for the operating system's limit.
    let mut inside: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
    let mut arrivals: BinaryHeap<Reverse<(u64, usize, u32)>> = readers
        .iter()
        .enumerate()
        .flat_map(|(index, reader)| {
            (0..reader.at_once as u32)
                .map(move |slot| Reverse((u64::from(slot) * 1000, index, slot)))
        })
        .collect();
    let mut done = Vec::new();
    while let Some(Reverse((queue_ns, index, slot))) = arrivals.pop() {
        if queue_ns >= window_ns {
            continue;
        }
        let reader = &readers[index];
        let mut issue_ns = queue_ns;
        while inside.peek().is_some_and(|Reverse(end)| *end <= issue_ns) {
            inside.pop();
        }
        while inside.len() >= device.depth {
            let Reverse(end) = inside.pop().unwrap();
            issue_ns = issue_ns.max(end);
        }
        let end_ns = serve(
            device,
            &mut free,
            &mut turn,
            bucket.allows(device.limit, issue_ns, reader.bytes),
            reader.bytes,
            &mut dice,
        );
        inside.push(Reverse(end_ns));
        done.push(Request {
            queue_ns,
            issue_ns,
            end_ns,
            bytes: reader.bytes,
            op: OP_READ,
            owner: reader.owner,
            process: 0,
            tid: slot,
            flags: 0,
        });
        let next_ns = match reader.every_ns {
            0 => end_ns + 1000,
            every => queue_ns + (every as f64 * dice.factor()) as u64 + 1000,
        };
        arrivals.push(Reverse((at_work(reader.shift_ns, next_ns), index, slot)));
    }
    done.sort_by_key(|request| request.end_ns);
    done
}

/// What a limited device has served in its round.
#[derive(Default)]
struct Bucket {
    round: u64,
    bytes: u64,
}

impl Bucket {
    /// The first moment from `at` on at which the limit allows a request.
    fn allows(&mut self, (round_ns, most): (u64, u64), at: u64, bytes: u32) -> u64 {
        if round_ns == 0 {
            return at;
        }
        if at / round_ns > self.round {
            (self.round, self.bytes) = (at / round_ns, 0);
        }
        if self.bytes >= most {
            (self.round, self.bytes) = (self.round + 1, 0);
        }
        self.bytes += u64::from(bytes);
        at.max(self.round * round_ns)
    }
}

fn serve(
    device: &Device,
    free: &mut [u64],
    turn: &mut usize,
    at: u64,
    bytes: u32,
    dice: &mut Dice,
) -> u64 {
    let time = |bytes: u32, dice: &mut Dice| {
        let exact = device.per_io_ns as f64 + f64::from(bytes) * 1000.0 / device.rate as f64;
        // A fifth up or down.
        (exact * (0.8 + 0.2 * dice.factor())) as u64
    };
    if device.stripe == 0 {
        let server = free.iter_mut().min().unwrap();
        *server = served(device, (*server).max(at), time(bytes, dice));
        return *server;
    }
    // Where the first stripe lies has nothing to do with where the request before ended.
    *turn = (dice.factor() * free.len() as f64) as usize;
    let (mut left, mut end) = (bytes, at);
    while left > 0 {
        let part = left.min(device.stripe);
        *turn = (*turn + 1) % free.len();
        let server = &mut free[*turn];
        *server = served(device, (*server).max(at), time(part, dice));
        end = end.max(*server);
        left -= part;
    }
    end
}

/// When a server is done with what takes it `took` from `ns` on. It stalls at most once meanwhile.
fn served(device: &Device, ns: u64, took: u64) -> u64 {
    let (work, rest) = device.shift_ns;
    let begin = at_work(device.shift_ns, ns);
    let stalls = work + rest > 0 && begin % (work + rest) + took > work;
    begin + took + if stalls { rest } else { 0 }
}

/// The first moment from `ns` on at which somebody works for `work`, then rests for `rest`.
fn at_work((work, rest): (u64, u64), ns: u64) -> u64 {
    let round = work + rest;
    if round == 0 || ns % round < work {
        ns
    } else {
        (ns / round + 1) * round
    }
}

/// Time that the target waited for one request, on average, ns.
pub(crate) fn mean_wait(requests: &[Request]) -> f64 {
    let own = requests
        .iter()
        .filter(|request| request.owner == Holder::Own);
    let (mut n, mut sum) = (0_u64, 0_u64);
    for request in own {
        n += 1;
        sum += request.end_ns - request.queue_ns;
    }
    sum as f64 / n as f64
}
