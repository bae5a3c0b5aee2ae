//! The scheduler family against `/proc/PID/task/*/schedstat`.

use std::path::Path;

use tracer_tests::{harness::difference, truth};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

#[test]
fn run_queue_and_on_cpu_time_are_the_kernels_own() {
    let sched = truth::sched(Path::new(PROGRAM), 11_000).unwrap();
    println!("RAN sched");
    println!("{sched}");
    assert!(
        difference(sched.run_queue_ns.0, sched.run_queue_ns.1) <= 0.001,
        "{sched}"
    );
    assert!(
        difference(sched.on_cpu_ns.0, sched.on_cpu_ns.1) <= 0.005,
        "{sched}"
    );
    assert!(
        difference(sched.wall_ns.0, sched.wall_ns.1) <= 0.0001,
        "{sched}"
    );
}

#[test]
fn a_hog_on_the_same_cpu_is_named() {
    let sentence = truth::cpu_scene(Path::new(PROGRAM), 5_000).unwrap();
    println!("RAN sched");
    println!("{sentence}");
}
