//! What a record costs in user space: from its bytes to the books. The figures are per stream of [`RECORDS`] records.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tracer::{
    event::{Call, Event, Io, Process, Slice, Stack, Start, Thread, Wait},
    model::Model,
    probes::decode,
};
use tracer_common::{Kind, histogram, record::Header, sched, tcp::CALL_SEND};

/// Records of a stream: a second of 30,000 switches, each with a wait and a slice.
const RECORDS: u64 = 60_000;
/// Begin of the window, and the length of a step of a stream.
const T0: u64 = 1_000_000_000;
const STEP: u64 = 33_000;

const TARGET: u32 = 100;
const WORKER: u32 = 101;
const OTHER: u32 = 200;

const PIPE: u64 = 1;
const DIRECT: u64 = 2;
const EPOLL: u64 = 3;
const WRITE: u64 = 4;
const INTERRUPT: u64 = 5;

/// A target of two threads, another process, and the stacks.
fn attach() -> Vec<Event> {
    let start = Start {
        ns: T0,
        targets: vec![TARGET],
        listening: vec![80],
        cpus: 2,
        ..Start::default()
    };
    let mut events = vec![Event::Start(Box::new(start))];
    events.extend([TARGET, OTHER].map(|pid| {
        Event::Process(Process {
            pid,
            comm: format!("process-{pid}"),
            target: pid == TARGET,
            ..Process::default()
        })
    }));
    events.extend([TARGET, WORKER].map(|tid| {
        Event::Thread(Thread {
            pid: TARGET,
            tid,
            state: 'S',
            stack: vec!["pipe_read".to_owned()],
        })
    }));
    let stacks = [
        (PIPE, ["schedule", "anon_pipe_read", "vfs_read"]),
        (DIRECT, ["io_schedule", "__iomap_dio_rw", "vfs_read"]),
        (EPOLL, ["schedule", "ep_poll", "do_epoll_wait"]),
        (WRITE, ["try_to_wake_up", "anon_pipe_write", "vfs_write"]),
        (
            INTERRUPT,
            ["try_to_wake_up", "handle_softirqs", "irq_exit_rcu"],
        ),
    ];
    events.extend(stacks.map(|(id, frames)| {
        let frames = frames.map(str::to_owned).to_vec();
        Event::Stack(Stack { ns: T0, id, frames })
    }));
    events
}

/// Off the CPU from `off_ns` to `ns`, the last microsecond of it in the queue of CPU 1.
fn wait(tid: u32, off_ns: u64, ns: u64, stack: u64) -> Wait {
    Wait {
        ns,
        cpu: 1,
        pid: TARGET,
        tid,
        off_ns,
        run_queue_ns: 1_000,
        waking_ns: ns - 1_000,
        stack,
        waker_stack: INTERRUPT,
        state: 1,
        ..Wait::default()
    }
}

fn slice(pid: u32, tid: u32, begin_ns: u64, ns: u64) -> Event {
    Event::Slice(Slice {
        ns,
        cpu: 1,
        begin_ns,
        pid,
        tid,
    })
}

/// Two threads of the target take turns on one CPU, each woken by the other (`perf bench sched pipe`).
fn switches() -> Vec<Event> {
    let step = |i: u64| {
        let (on, off) = if i.is_multiple_of(2) {
            (TARGET, WORKER)
        } else {
            (WORKER, TARGET)
        };
        let ns = T0 + (i + 1) * STEP;
        let wait = Wait {
            ran_since_ns: if i < 2 { 0 } else { ns - 2 * STEP },
            ran_ns: STEP,
            waker_stack: WRITE,
            waker_pid: TARGET,
            waker_tid: off,
            ..wait(on, ns - STEP, ns, PIPE)
        };
        [slice(TARGET, off, ns - STEP, ns), Event::Wait(wait)]
    };
    (0..RECORDS / 2).flat_map(step).collect()
}

/// The target reads from a disk on which another process reads, too.
fn reads() -> Vec<Event> {
    let io = |pid: u32, queue_ns: u64, ns: u64, bytes: u32| {
        Event::Io(Io {
            ns,
            dev: 7,
            queue_ns,
            issue_ns: queue_ns + 2_000,
            bytes,
            pid,
            tid: pid,
            ..Io::default()
        })
    };
    let step = |i: u64| {
        let ns = T0 + (i + 1) * 100_000;
        let wait = Wait {
            state: 2,
            ..wait(TARGET, ns - 90_000, ns, DIRECT)
        };
        [
            io(OTHER, ns - 150_000, ns - 40_000, 65_536),
            io(TARGET, ns - 91_000, ns - 3_000, 4_096),
            Event::Wait(wait),
        ]
    };
    (0..RECORDS / 3).flat_map(step).collect()
}

/// A thread of the target answers requests on so many connections, one after the other.
fn requests(connections: u64) -> Vec<Event> {
    let call = |socket: u64, ns: u64, flags: u32| {
        Event::Call(Call {
            ns,
            socket: 0xffff_8880_0000_0000 + socket * 2_048,
            result: 100,
            arrived_ns: ns - 2_000,
            pid: TARGET,
            tid: TARGET,
            flags,
            ..Call::default()
        })
    };
    let step = |i: u64| {
        let (socket, ns) = (i % connections, T0 + (i + 1) * STEP);
        [
            Event::Wait(wait(TARGET, ns - 20_000, ns - 10_000, EPOLL)),
            call(socket, ns - 9_000, 0),
            call(socket, ns, CALL_SEND),
        ]
    };
    (0..RECORDS / 3).flat_map(step).collect()
}

fn fold(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fold");
    group
        .throughput(Throughput::Elements(RECORDS))
        .sample_size(20);
    for (name, events) in [
        ("switches", switches()),
        ("reads", reads()),
        ("requests", requests(1_000)),
        ("requests/of-10", requests(10)),
        ("requests/of-10000", requests(10_000)),
    ] {
        let mut attached = Model::new();
        attach().iter().for_each(|event| attached.apply(event));
        let fold = |mut model: Model| {
            events
                .iter()
                .for_each(|event| model.apply(black_box(event)));
            model
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| attached.clone(), fold, BatchSize::LargeInput);
        });
        let mut full = attached.clone();
        events.iter().for_each(|event| full.apply(event));
        group.bench_function(format!("{name}/close"), |bencher| {
            bencher.iter_batched(|| (), |()| full.clone().close(), BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn decoding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    let header = Header {
        kind: Kind::Wait as u32,
        cpu: 1,
        ns: T0,
    };
    let record = sched::Wait {
        header,
        pid: TARGET,
        tid: TARGET,
        ..sched::Wait::default()
    };
    // SAFETY: `repr(C)` without implicit padding (its size is asserted where it is defined), hence bytes all of which are written.
    let bytes = unsafe {
        std::slice::from_raw_parts((&raw const record).cast::<u8>(), size_of::<sched::Wait>())
    };
    group.bench_function("wait", |bencher| {
        bencher.iter(|| decode(black_box(bytes), |_| String::new()));
    });
    group.finish();
}

fn buckets(criterion: &mut Criterion) {
    criterion.bench_function("histogram/bucket", |bencher| {
        let mut ns = 1;
        bencher.iter(|| {
            ns = ns * 7 % 1_000_003;
            black_box(histogram::bucket(black_box(ns)))
        });
    });
}

criterion_group!(benches, buckets, decoding, fold);
criterion_main!(benches);
