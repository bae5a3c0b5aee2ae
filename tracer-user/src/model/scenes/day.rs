//! Days: more processes, threads, connections, stacks and places come and go than memory has room for. The books grow no further, and
//! their sums stay whole.

use std::fmt::{self, Write as _};

use tracer_common::{histogram::Family, tcp::CALL_CLOSE};

use super::*;
use crate::event::Source;

/// Length of a step, ms.
const STEP: u64 = 2_000;
/// Steps of a day.
const DAY: u64 = 86_400_000 / STEP;
const DAYS: u64 = 4;
/// Ids of the processes that come and go: they are reused after some hours.
const PIDS: u64 = 30_000;
/// Programs that these run.
const PROGRAMS: u64 = 40;

/// What each of them holds a CPU while the target is queued, and behind softirqs, ns.
const HELD_NS: u64 = 1_500_000;
const SOFTIRQ_NS: u64 = 500_000;

/// A process or a thread is born.
fn fork(ms: u64, pid: u32, tid: u32, parent_pid: u32) -> Event {
    Event::Fork(event::Fork {
        ns: at(ms),
        pid,
        tid,
        parent_pid,
        target: parent_pid == SERVER,
        start_ns: at(ms),
        comm: "sh".to_owned(),
        ..event::Fork::default()
    })
}

/// A thread of the target ends.
fn ends(ms: u64, tid: u32, pid: u32) -> Event {
    Event::ThreadEnd(event::ThreadEnd {
        ns: at(ms),
        pid,
        tid,
    })
}

fn exit(ms: u64, pid: u32) -> Event {
    Event::Exit(event::Exit { ns: at(ms), pid })
}

/// A program runs beside the target, which waits for it, and ends.
fn program(number: u64, ms: u64, pid: u32) -> Vec<Event> {
    let stack_id = 1000 + number;
    vec![
        fork(ms, pid, pid, TAR),
        Event::Exec(event::Exec {
            ns: at(ms),
            pid,
            comm: format!("job-{}", number % PROGRAMS),
            start_ns: at(ms),
            ..event::Exec::default()
        }),
        slice(0, pid, ms + 1, ms + 3),
        Event::Interrupts(event::Interrupts {
            ns: at(ms + 3),
            cpu: 0,
            begin_ns: at(ms + 1),
            took: vec![(Source::Softirq(3), SOFTIRQ_NS)],
        }),
        Event::Wait(preempted(SERVER, ms + 1, ms + 3)),
        Event::Histogram(Box::new(histogram(pid, ms))),
        stack(stack_id, &["io_schedule", "folio_wait_bit_common"]),
        Event::Wait(Wait {
            stack: stack_id,
            ..asleep(SERVER, ms + 4, ms + 6, 0, PAGE)
        }),
        read(pid, ms + 4, ms + 6, 4096),
        exit(ms + 6, pid),
    ]
}

/// A thread, a child and a connection of the target come and go.
fn server(number: u64, ms: u64, pid: u32) -> Vec<Event> {
    let (tid, child, socket) = (100_000 + pid, 200_000 + pid, 1_000_000 + number);
    vec![
        fork(ms + 7, SERVER, tid, SERVER),
        Event::Wait(first(tid, ms + 7, 0)),
        ends(ms + 8, tid, SERVER),
        fork(ms + 8, child, child, SERVER),
        ends(ms + 8, child, child),
        exit(ms + 8, child),
        Event::Socket(event::Socket {
            ns: at(ms + 8),
            socket,
            pid: SERVER,
            local: "10.0.0.1:80".to_owned(),
            local_port: 80,
            remote: format!("10.1.{}.{}:99", (number / 250) % 250, number % 250),
        }),
        receive(SERVER, socket, ms + 8, ms + 8),
        send(SERVER, socket, ms + 9),
        Event::Call(Call {
            flags: CALL_CLOSE,
            result: 0,
            ..call(SERVER, socket, ms + 10)
        }),
    ]
}

fn step(number: u64) -> impl Iterator<Item = Event> {
    let ms = 10 + number * STEP;
    let pid = 1000 + (number % PIDS) as u32;
    let own = server(number, ms, pid).into_iter();
    program(number, ms, pid).into_iter().chain(own)
}

fn histogram(pid: u32, ms: u64) -> event::Histogram {
    event::Histogram {
        ns: at(ms),
        pid,
        family: Family::RunQueue as u32,
        count: 1,
        held_ns: HELD_NS,
        first: 7,
        buckets: vec![1],
        ..event::Histogram::default()
    }
}

/// Counts what is written.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// How much there is in a model, whatever it is: characters of all that it knows.
fn length(model: &Model) -> usize {
    let mut length = Length(0);
    write!(length, "{model:?}").unwrap();
    length.0
}

#[test]
fn a_day_takes_as_much_memory_as_the_day_before_and_its_sums_are_whole() {
    let mut model = Model::new();
    for event in attach().into_iter().chain(running(SERVER)) {
        model.apply(&event);
    }
    let (mut lengths, mut known) = (Vec::new(), Vec::new());
    for number in 0..DAYS * DAY {
        for event in step(number) {
            model.apply(&event);
        }
        if (number + 1) % DAY == 0 {
            lengths.push(length(&model));
            known.push(model.names.processes.all().len());
        }
    }
    // The first two days fill what has room. From then on bins are merged, and the oldest slices are charged, a part at a time.
    let (full, last) = (lengths[0].max(lengths[1]), lengths[DAYS as usize - 1]);
    assert!(last < full + full / 2, "{lengths:?}");
    assert!(last < 64 << 20, "{lengths:?}");
    let (full, last) = (known[1], known[DAYS as usize - 1]);
    assert!(last <= full + 100 && last < 12_000, "{known:?}");
    // A sentence works on a copy.
    for books in [model.clone().close(), model.close()] {
        assert_day(&books, DAYS * DAY);
    }
}

fn assert_day(books: &Books, steps: u64) {
    assert_closed(books);
    let is_job = |holder: Holder| match holder {
        Holder::Process(id) => books.processes[id].comm.starts_with("job-"),
        _ => false,
    };
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    let of_cpu = charges.filter(|charge| charge.resource == Resource::Cpu);
    let by_jobs = of_cpu.clone().filter(|charge| is_job(charge.holder));
    let ns: u64 = by_jobs.map(|charge| charge.ns).sum();
    assert_eq!(ns, steps * HELD_NS);
    let by_softirqs = of_cpu.filter(|charge| matches!(charge.holder, Holder::Interrupt(_)));
    let ns: u64 = by_softirqs.map(|charge| charge.ns).sum();
    assert_eq!(ns, steps * SOFTIRQ_NS);
    let held = books.held.iter();
    let of_cpu = held.filter(|((resource, ..), _)| *resource == Resource::Cpu);
    let by_jobs = of_cpu.filter(|((.., holder), _)| is_job(*holder));
    let ns: u64 = by_jobs.map(|(_, held)| held.ns).sum();
    assert_eq!(ns, steps * HELD_NS);
    let of_jobs = books.histograms.iter();
    let of_jobs = of_jobs.filter(|(id, _)| is_job(Holder::Process(*id)));
    assert_eq!(of_jobs.map(|(_, of)| of.count).sum::<u64>(), steps);
    assert_eq!(tally(books).count, steps);
    assert!(books.folded.processes.0 > 0 && books.folded.stacks > 0);
}
