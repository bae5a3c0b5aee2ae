//! What the pure parts cost: `cargo bench --package tracer --bench pure`. What they cost beside a load is `cargo xtask bench`'s.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tracer::{
    event::{End, Event, Process, Slice, Start, Wait},
    model::Model,
    probes::decode::decode,
};
use tracer_common::{
    histogram,
    record::Kind,
    sched::{self, WAIT_RUNNABLE},
};

/// The target, who takes its CPU, and how often.
const SERVER: u32 = 100;
const TAR: u32 = 200;
const TURNS: u64 = 10_000;
/// It waits for one half of a turn and runs for the other.
const HALF_NS: u64 = 50_000;
const BEGIN_NS: u64 = 1_000_000_000;

fn buckets(bench: &mut Criterion) {
    bench.bench_function("histogram: bucket", |bencher| {
        let mut ns = 1;
        bencher.iter(|| {
            ns = ns * 7 % 1_000_003;
            black_box(histogram::bucket(black_box(ns)))
        });
    });
}

fn decoding(bench: &mut Criterion) {
    let mut wait = [0; size_of::<sched::Wait>()];
    wait[..4].copy_from_slice(&(Kind::Wait as u32).to_ne_bytes());
    let mut slice = [0; size_of::<sched::Slice>()];
    slice[..4].copy_from_slice(&(Kind::Slice as u32).to_ne_bytes());
    let mut one = |name: &str, bytes: &[u8]| {
        bench.bench_function(name, |bencher| {
            bencher.iter(|| decode(black_box(bytes), |_| String::new()));
        });
    };
    one("decode: wait", &wait);
    one("decode: slice", &slice);
}

fn model(bench: &mut Criterion) {
    let events = events();
    let mut group = bench.benchmark_group("model");
    group.sample_size(20);
    group.throughput(Throughput::Elements(events.len() as u64));
    group.bench_function("fold", |bencher| bencher.iter(|| folded(&events)));
    let full = folded(&events);
    group.bench_function("blame", |bencher| {
        bencher.iter_batched(|| full.clone(), Model::close, BatchSize::LargeInput);
    });
    group.finish();
}

fn folded(events: &[Event]) -> Model {
    let mut model = Model::new();
    for event in events {
        model.apply(event);
    }
    model
}

/// A server whose CPU is taken by a backup, again and again.
fn events() -> Vec<Event> {
    let start = Start {
        ns: BEGIN_NS,
        targets: vec![SERVER],
        ..Start::default()
    };
    let process = |(pid, comm): (u32, &str)| {
        Event::Process(Process {
            pid,
            comm: comm.to_owned(),
            target: pid == SERVER,
            ..Process::default()
        })
    };
    let mut events = vec![Event::Start(Box::new(start))];
    events.extend([(SERVER, "server"), (TAR, "tar")].map(process));
    for turn in 0..TURNS {
        let off_ns = BEGIN_NS + 2 * turn * HALF_NS;
        let ns = off_ns + HALF_NS;
        events.push(Event::Slice(Slice {
            ns,
            begin_ns: off_ns,
            pid: TAR,
            tid: TAR,
            ..Slice::default()
        }));
        events.push(Event::Wait(Wait {
            ns,
            pid: SERVER,
            tid: SERVER,
            ran_since_ns: off_ns - HALF_NS,
            ran_ns: HALF_NS,
            off_ns,
            run_queue_ns: HALF_NS,
            flags: WAIT_RUNNABLE,
            ..Wait::default()
        }));
    }
    events.push(Event::End(Box::new(End {
        ns: BEGIN_NS + 2 * TURNS * HALF_NS,
        ..End::default()
    })));
    events
}

criterion_group!(benches, buckets, decoding, model);
criterion_main!(benches);
