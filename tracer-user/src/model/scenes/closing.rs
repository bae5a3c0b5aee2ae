//! Books close whatever happens: streams drawn at random, always the same ones.

use super::*;

const END_MS: u64 = 3000;
const SOCKETS: u64 = 4;
/// A sum that is cut into parts is rounded down in each: some ns in the whole window.
const ROUNDING_NS: u64 = 10;
const TIDS: [u32; 3] = [SERVER, WORKER, 102];

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    /// Below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The events of one thread until the end: it runs, calls and waits. Some of its records are lost.
fn time_line(random: &mut Random, tid: u32, events: &mut Vec<Event>) {
    let mut now = T0;
    let mut ran_since_ns = 0;
    loop {
        let off_ns = now + 1 + random.below(20 * MS);
        calls(random, tid, now, off_ns, events);
        let on = off_ns + 1 + random.below(40 * MS);
        if on >= at(END_MS) {
            return;
        }
        let wait = wait(random, tid, off_ns, on);
        if random.below(20) > 0 {
            events.push(Event::Wait(Wait {
                ran_since_ns,
                ..wait
            }));
        }
        (now, ran_since_ns) = (on, on);
    }
}

fn wait(random: &mut Random, tid: u32, off_ns: u64, ns: u64) -> Wait {
    let stack = [EPOLL, EPOLL, PAGE, SEND, MUTEX, 0][random.below(6) as usize];
    let queued = if stack == 0 {
        ns - off_ns
    } else {
        random.below(ns - off_ns)
    };
    Wait {
        ns,
        off_ns,
        cpu: random.below(2) as u32,
        run_queue_ns: queued,
        throttled_ns: random.below(2) * random.below(queued + 1),
        waker_pid: SERVER,
        waker_tid: TIDS[random.below(3) as usize],
        waker_stack: [INTERRUPT, FUTEX_WAKE][random.below(2) as usize],
        flags: if stack == 0 { WAIT_RUNNABLE } else { 0 },
        ..asleep(tid, 0, 0, 0, stack)
    }
}

fn calls(random: &mut Random, tid: u32, begin: u64, end: u64, events: &mut Vec<Event>) {
    let mut ns = begin;
    for _ in 0..random.below(4) {
        ns += random.below(end - ns);
        let flags = [0, CALL_SEND, CALL_SEND | CALL_NOSPACE][random.below(3) as usize];
        let socket = random.below(SOCKETS);
        events.push(Event::Call(Call {
            ns,
            arrived_ns: ns - random.below(5 * MS),
            flags,
            ..call(tid, socket, 0)
        }));
        if random.below(3) == 0 {
            let ns = ns + random.below(10 * MS);
            events.push(Event::Ack(event::Ack { ns, socket }));
        }
    }
}

fn slices(random: &mut Random, cpu: u32, events: &mut Vec<Event>) {
    let mut begin_ns = T0;
    while begin_ns < at(END_MS) {
        let ns = begin_ns + 1 + random.below(15 * MS);
        let pid = [TAR, RSYNC, SERVER, 0][random.below(4) as usize];
        events.push(Event::Slice(Slice {
            ns,
            cpu,
            begin_ns,
            pid,
            tid: pid,
        }));
        begin_ns = ns;
    }
}

fn stream(seed: u64) -> Vec<Event> {
    let mut random = Random(seed);
    let mut events: Vec<Event> = Vec::new();
    for tid in TIDS {
        time_line(&mut random, tid, &mut events);
    }
    for cpu in 0..2 {
        slices(&mut random, cpu, &mut events);
    }
    for i in 0..100 {
        let pid = [TAR, SERVER, RSYNC][random.below(3) as usize];
        events.push(read(
            pid,
            30 * i,
            30 * i + 1 + random.below(60),
            4096 << random.below(9),
        ));
    }
    events.retain(|event| event.ns() < at(END_MS));
    events.sort_by_key(Event::ns);
    let seeds = TIDS.map(|tid| super::seed(tid, 'R', ""));
    seeds.into_iter().chain(events).collect()
}

#[test]
fn threads_close_to_the_nanosecond_and_charges_but_for_rounding() {
    for seed in 0..200 {
        let books = books(stream(seed), END_MS);
        let spent = books.budget(|bin| &bin.threads);
        let whole = spent.iter().sum::<u64>() + books.unaccounted_ns;
        let off = whole.abs_diff(books.wall_ns);
        assert!(off <= ROUNDING_NS, "seed {seed}: threads off by {off}");
        for (resource, class) in Resource::ALL.map(|of| (of, of.class())) {
            let charges = books.bins.iter().flat_map(|bin| &bin.charges);
            let of = charges.filter(|charge| charge.resource == resource);
            let charged = of.map(|charge| charge.ns).sum::<u64>();
            let off = charged.abs_diff(spent[class.index()]);
            assert!(off <= ROUNDING_NS, "seed {seed}: {resource:?} off by {off}");
        }
    }
}

#[test]
fn no_connection_has_more_than_one_request_at_a_time() {
    for seed in 0..200 {
        let books = books(stream(seed), END_MS);
        let bound = SOCKETS * books.bin_ns;
        for bin in &books.bins {
            let spent = bin.requests.iter().sum::<u64>();
            assert!(spent <= bound, "seed {seed}: {spent}");
        }
    }
}

#[test]
fn a_full_link_charges_no_less_than_threads_waited() {
    for seed in 0..50 {
        let links =
            (0..300).map(|i| sent([TAR, SERVER][i as usize % 2], 10 * i, 1000, i as u32 % 3));
        let books = books(links.chain(stream(seed)), END_MS);
        let charges = books.bins.iter().flat_map(|bin| &bin.charges);
        let network = charges.filter(|charge| charge.resource == Resource::Network);
        let charged = network.map(|charge| charge.ns).sum::<u64>();
        assert!(
            charged / MS >= threads(&books, Class::Network),
            "seed {seed}"
        );
    }
}

/// A stream in which the target asks tar, from a fifth of the window on. Three of its connections lead there.
fn followed(seed: u64) -> Vec<Event> {
    const ASKED: u32 = 210;
    let mut events = Vec::new();
    time_line(&mut Random(!seed), ASKED, &mut events);
    let theirs = events.into_iter().map(|event| match event {
        Event::Wait(wait) => Event::Wait(Wait { pid: TAR, ..wait }),
        Event::Call(call) => Event::Call(Call {
            pid: TAR,
            socket: call.socket + 10,
            ..call
        }),
        other => other,
    });
    let follow = Event::Follow(event::Follow {
        ns: at(END_MS / 5),
        pid: TAR,
        by_pid: SERVER,
        listening: vec![5432],
    });
    let ends = (1..SOCKETS).flat_map(|socket| {
        let (here, there) = (
            (format!("127.0.0.1:{}", 40_000 + socket), 40_000),
            ("127.0.0.1:5432".to_owned(), 5432),
        );
        let end = |ns, socket, pid, own: &(String, u32), other: &(String, u32)| {
            Event::Socket(event::Socket {
                ns,
                socket,
                pid,
                local: own.0.clone(),
                local_port: own.1,
                remote: other.0.clone(),
            })
        };
        [
            end(T0, socket, SERVER, &here, &there),
            end(at(END_MS / 5), socket + 10, TAR, &there, &here),
        ]
    });
    let mut events: Vec<Event> = ends.chain([follow]).collect();
    // The follow comes before the ends that it lets be seen.
    events.sort_by_key(|event| (event.ns(), !matches!(event, Event::Follow(_))));
    events.extend(theirs.filter(|event| event.ns() > at(END_MS / 5)));
    events.extend(stream(seed));
    events.retain(|event| event.ns() < at(END_MS));
    events.sort_by_key(Event::ns);
    events
}

#[test]
fn books_close_with_processes_that_are_followed() {
    let mut went = 0;
    for seed in 0..200 {
        let books = books(followed(seed), END_MS);
        let spent = books.budget(|bin| &bin.threads);
        let whole = spent.iter().sum::<u64>() + books.unaccounted_ns;
        let off = whole.abs_diff(books.wall_ns);
        assert!(off <= ROUNDING_NS, "seed {seed}: threads off by {off}");
        for (resource, class) in Resource::ALL.map(|of| (of, of.class())) {
            let charges = books.bins.iter().flat_map(|bin| &bin.charges);
            let of = charges.filter(|charge| charge.resource == resource);
            let charged = of.map(|charge| charge.ns).sum::<u64>();
            let off = charged.abs_diff(spent[class.index()]);
            assert!(off <= ROUNDING_NS, "seed {seed}: {resource:?} off by {off}");
            let ways = books.ways.iter().filter(|((of, _), _)| *of == resource);
            let threads: u64 = ways.map(|(_, ns)| ns.1).sum();
            assert!(threads <= spent[class.index()], "seed {seed}: {resource:?}");
            went += threads;
        }
    }
    assert!(went > 0, "nothing was followed");
}
