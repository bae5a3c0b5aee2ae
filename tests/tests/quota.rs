//! Own CPU quota, compared with the kernel's `cpu.stat`, alone and beside a hog.

use std::path::Path;

use serde_json::Value;
use tracer_tests::{
    busy::Args,
    cgroup::{Controller, Hierarchy},
    harness::{Busy, SchedStat, Trace, cpu_charged, difference, figure},
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// How long a busy process that may use a fifth of a CPU waited, and how long the kernel stopped it.
fn limited(hogs: bool) -> Option<(u64, u32, Value)> {
    let Some(hierarchy) = Hierarchy::of(Controller::Cpu) else {
        println!("SKIP sched: no CPU control groups");
        return None;
    };
    println!("RAN sched");
    let of = |threads| Args {
        threads,
        cpu: Some(last_cpu()),
        for_ms: 7_000,
        hog: true,
    };
    let group = hierarchy.limited("tracer-quota", 20).unwrap();
    let mut target = Busy::start(Path::new(PROGRAM), &of(1)).unwrap();
    group.take(target.pid()).unwrap();
    let mut hog = Busy::start(Path::new(PROGRAM), &of(1)).unwrap();
    let hog_pid = hog.pid();
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "60s", "--output", "json"]).unwrap();
    let before = group.throttled_ns().unwrap();
    if hogs {
        hog.go().unwrap();
    }
    target.go().unwrap();
    target.done().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    let throttled = group.throttled_ns().unwrap() - before;
    drop((target, hog));
    Some((throttled, hog_pid, report))
}

fn is_quota(row: &Value) -> bool {
    row["comm"] == "its own quota"
}

fn quota(report: &Value) -> u64 {
    cpu_charged(report, is_quota)
}

#[test]
fn an_own_quota_is_the_kernels_throttled_time_and_accuses_nobody() {
    let Some((throttled, _, report)) = limited(false) else {
        return;
    };
    let (quota, waited) = (
        quota(&report),
        figure(&report, "/threads/budget_ns/cpu").unwrap(),
    );
    println!("quota {quota} of {waited} ns, cpu.stat {throttled} ns");
    let sentence = &report["verdict"]["sentence"];
    assert!(difference(quota, throttled) < 0.02, "{sentence}");
    assert_eq!(report["verdict"]["cause"], "quota", "{sentence}");
    assert_eq!(
        report["verdict"]["culprits"],
        serde_json::json!([]),
        "{sentence}"
    );
}

#[test]
fn a_hog_answers_only_for_what_it_ran_while_the_quota_lasted() {
    let Some((throttled, hog, report)) = limited(true) else {
        return;
    };
    let waited = figure(&report, "/threads/budget_ns/cpu").unwrap();
    let is_hog = |row: &Value| row["pid"] == hog;
    let (quota, hogged) = (quota(&report), cpu_charged(&report, is_hog));
    // Other programs, interrupts and the hypervisor of a busy machine take time from the hog, too.
    let strangers = cpu_charged(&report, |row| !is_quota(row) && !is_hog(row));
    println!(
        "quota {quota}, hog {hogged}, strangers {strangers} of {waited} ns, cpu.stat {throttled} ns"
    );
    let sentence = &report["verdict"]["sentence"];
    assert!(difference(quota, throttled) < 0.02, "{sentence}");
    let not_quota = waited - throttled;
    assert!(hogged > not_quota / 5, "the hog had no part: {sentence}");
    assert!(
        difference(hogged, not_quota - strangers) < 0.05,
        "{sentence}: {:#}",
        report["blame"]
    );
}

#[test]
fn a_shared_quota_is_charged_to_its_users_by_the_kernels_run_time() {
    let Some(hierarchy) = Hierarchy::of(Controller::Cpu) else {
        println!("SKIP sched: no CPU control groups");
        return;
    };
    println!("RAN sched");
    let of = |for_ms| Args {
        threads: 1,
        cpu: Some(last_cpu()),
        for_ms,
        hog: true,
    };
    let group = hierarchy.limited("tracer-shared", 30).unwrap();
    let mut target = Busy::start(Path::new(PROGRAM), &of(7_000)).unwrap();
    let mut hog = Busy::start(Path::new(PROGRAM), &of(7_000)).unwrap();
    group.take(target.pid()).unwrap();
    group.take(hog.pid()).unwrap();
    let before = [target.pid(), hog.pid()].map(|pid| SchedStat::of(pid).unwrap());
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "60s", "--output", "json"]).unwrap();
    hog.go().unwrap();
    target.go().unwrap();
    target.done().unwrap();
    hog.done().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    let after = [target.pid(), hog.pid()].map(|pid| SchedStat::of(pid).unwrap());
    let ran = [0, 1].map(|who| after[who].since(before[who]).on_cpu_ns as f64);
    let by_limit = |row: &Value| {
        let place = row["place"].as_str().unwrap_or_default();
        row["pid"] == hog.pid() && place.starts_with('/')
    };
    let hogged = cpu_charged(&report, by_limit) as f64;
    let own = quota(&report) as f64;
    println!("quota {own}, used up by the hog {hogged}; they ran {ran:?} ns");
    let (part, true_part) = (hogged / (hogged + own), ran[1] / (ran[0] + ran[1]));
    let sentence = &report["verdict"]["sentence"];
    assert!(
        (part - true_part).abs() < 0.05,
        "{part} {true_part} {sentence}"
    );
    assert_eq!(
        report["verdict"]["culprits"][0]["pid"],
        hog.pid(),
        "{sentence}"
    );
}
