//! The scheduler family, compared with `/proc/PID/task/*/schedstat`.

use std::{fs, path::Path, process::Command};

use tracer_tests::{
    busy::Args,
    harness::{Busy, SchedStat, Trace},
    truth::{self, Sched, last_cpu},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

#[test]
fn run_queue_and_on_cpu_time_are_the_kernels_own() {
    println!("RAN sched");
    let sched = truth::sched(Path::new(PROGRAM), Some(last_cpu()), 11_000).unwrap();
    println!("{sched}");
    sched.check().unwrap();
}

#[test]
fn threads_that_move_between_cpus_lose_no_time() {
    println!("RAN sched");
    let sched = truth::sched(Path::new(PROGRAM), None, 11_000).unwrap();
    println!("{sched}");
    sched.check().unwrap();
}

/// The only child of a process.
fn child_of(parent: u32) -> u32 {
    let is_child = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_comm = stat.rsplit(')').next().unwrap_or_default();
        after_comm.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let names = fs::read_dir("/proc").unwrap();
    let pids = names.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let mut pids = pids;
    pids.find(is_child).expect("the target has no child")
}

#[test]
fn a_child_forked_during_the_trace_is_counted_from_its_birth() {
    println!("RAN sched");
    let cpu = last_cpu();
    let script = format!("read go; \"$0\" busy --threads 2 --cpu {cpu} --for-ms 10500; read end");
    let mut target = Busy::spawn(Command::new("sh").args(["-c", &script, PROGRAM])).unwrap();
    let hog = Args {
        threads: 2,
        cpu: Some(cpu),
        for_ms: 10_500,
        hog: true,
    };
    let mut hog = Busy::start(Path::new(PROGRAM), &hog).unwrap();
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "120s", "--output", "json"]).unwrap();
    let before = SchedStat::of(target.pid()).unwrap();
    target.go().unwrap();
    target.hear("ready").unwrap();
    let child = child_of(target.pid());
    hog.go().unwrap();
    target.go().unwrap();
    target.done().unwrap();
    hog.done().unwrap();
    let parent = SchedStat::of(target.pid()).unwrap().since(before);
    let mut kernel = SchedStat::of(child).unwrap();
    kernel.on_cpu_ns += parent.on_cpu_ns;
    kernel.run_queue_ns += parent.run_queue_ns;
    let report = trace.stop().unwrap().json().unwrap();
    let sched = Sched::compare(kernel, &report, &[target.pid(), child]).unwrap();
    println!("{sched}");
    sched.check().unwrap();
}

#[test]
fn a_hog_on_the_same_cpu_is_named() {
    println!("RAN sched");
    let sentence = truth::cpu_scene(Path::new(PROGRAM), 5_000).unwrap();
    println!("{sentence}");
}
