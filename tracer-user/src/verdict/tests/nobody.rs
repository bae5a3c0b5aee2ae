//! The tracer and clients that ask are to blame for nothing; what a client does beside asking is.

use super::{near, of};
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Asks, Held, Holder, ProcessId},
    verdict::fixture::{MS, SLICES, Scene, judge},
};

/// nginx waits for a CPU 40 ms of each slice: 20 behind a process, 20 behind gzip.
fn beside_gzip(scene: &mut Scene, other: ProcessId) {
    let gzip = scene.process(4711, "gzip");
    let taken = std::mem::replace(scene, Scene::new());
    *scene = taken
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, None, Holder::Process(other), 20)
        .charge(Resource::Cpu, None, Holder::Process(gzip), 20);
}

#[test]
fn the_tracers_own_time_is_taken_out_and_said() {
    let mut scene = Scene::new();
    let tracer = scene.process(21, "tracer");
    beside_gzip(&mut scene, tracer);
    scene.books.tracer = Some(tracer);
    let verdict = judge(&scene.books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.culprits.len(), 1);
    near(first.culprits[0].share, 1.0);
    // 20 of 30 ms, not 40 of 50.
    near(verdict.finding.blocked_part, 20.0 / 30.0);
    near(verdict.confidence, 1.0);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind gzip (pid 4711); \
         it also waited 400 ms behind the tracer itself, which is not counted."
    );
}

#[test]
fn who_waits_for_nobody_but_the_tracer_is_not_held_up() {
    let mut scene = Scene::new();
    let tracer = scene.process(21, "tracer");
    let mut scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(tracer), 40);
    scene.books.tracer = Some(tracer);
    assert_eq!(
        judge(&scene.books).sentence,
        "nginx is not held up: 0 % of its active time blocked; \
         it also waited 800 ms behind the tracer itself, which is not counted."
    );
}

/// The process asks so much, and has had a CPU for `ran_ms` in all.
fn asks(scene: &mut Scene, client: ProcessId, requests: u64, ran_ms: u64) {
    let asks = Asks {
        connections: 1,
        requests,
        bytes: 0,
    };
    scene.books.asks.insert(client, asks);
    let held = Held {
        ns: ran_ms * MS,
        ..Held::default()
    };
    let key = (Resource::Cpu, None, Holder::Process(client));
    scene.books.held.insert(key, held);
}

#[test]
fn who_asks_is_not_to_blame_for_the_cpu_on_which_it_asks() {
    let mut scene = Scene::new();
    let client = scene.process(21, "curl");
    beside_gzip(&mut scene, client);
    asks(&mut scene, client, 1000, SLICES * 20);
    let verdict = judge(&scene.books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.culprits.len(), 1);
    near(first.culprits[0].share, 0.5);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 50 % of its blocked time it stood behind gzip (pid 4711) and 50 % behind its own clients (curl, pid 21)."
    );
    assert!(
        verdict
            .remedies
            .iter()
            .all(|remedy| !remedy.command.contains("21"))
    );
}

#[test]
fn clients_alone_accuse_nobody() {
    let mut scene = Scene::new();
    let client = scene.process(21, "curl");
    let mut scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(client), 40);
    asks(&mut scene, client, 1000, SLICES * 40);
    let verdict = judge(&scene.books);
    assert_eq!(
        of(&verdict.finding.hypotheses, Resource::Cpu).cause,
        Some(Cause::Clients)
    );
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind its own clients (curl, pid 21); no other was seen."
    );
    assert_eq!(verdict.remedies, []);
}

#[test]
fn a_client_that_does_much_more_than_ask_is_to_blame_for_the_rest_but_not_stopped() {
    let mut scene = Scene::new();
    let dump = scene.process(21, "pg_dump");
    let mut scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(dump), 40);
    // A connection and 10 requests cost 30 ms, of 800.
    asks(&mut scene, dump, 10, SLICES * 40);
    let verdict = judge(&scene.books);
    near(
        verdict.primary().unwrap().culprits[0].share,
        1.0 - 30.0 / 800.0,
    );
    for remedy in &verdict.remedies {
        let stops = ["kill", "renice", "cpu.shares", "CPUWeight"];
        let stops = stops.iter().any(|word| remedy.command.contains(word));
        assert!(!stops, "{}", remedy.command);
    }
}

#[test]
fn what_stands_beside_a_client_in_its_pipeline_does_not_ask() {
    let mut scene = Scene::new();
    let dump = scene.process(21, "pg_dump");
    beside_gzip(&mut scene, dump);
    for process in &mut scene.books.processes[1..] {
        (process.pgid, process.sid) = (21, 21);
    }
    asks(&mut scene, dump, 1000, SLICES * 20);
    let verdict = judge(&scene.books);
    let culprits = &verdict.primary().unwrap().culprits;
    assert_eq!(culprits.len(), 1);
    assert_eq!(culprits[0].name, "gzip");
    near(culprits[0].share, 0.5);
}
