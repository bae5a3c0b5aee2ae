//! What a user can do wrong, and what the tracer must not leave behind.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tracer_tests::{
    busy::Args,
    harness::{Busy, Guard, Loaded, Trace, difference, figure, loaded, path, run, signal, tracer},
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// Runs `attach --pid PID` for a second: (exit code, stderr).
fn attach(pid: &str) -> (Option<i32>, String) {
    let ended = run(&["attach", "--pid", pid, "--duration", "1s"]).unwrap();
    (ended.code, ended.stderr)
}

#[test]
fn an_unknown_pid_is_no_target() {
    println!("RAN cli");
    let (code, text) = attach("4194000");
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("no process has pid 4194000"), "{text}");
}

#[test]
fn a_group_that_is_not_there_is_no_target_and_the_message_says_what_to_do() {
    println!("RAN cli");
    for (option, name, hint) in [
        (
            "--unit",
            "tracer-none",
            "systemctl status tracer-none.service",
        ),
        ("--container", "tracer-none", "docker ps"),
        ("--cgroup", "/tracer-none", "systemd-cgls"),
        ("--all-of", "tracer-none", "ps -e -o pid,comm"),
    ] {
        let ended = run(&["attach", option, name, "--duration", "1s"]).unwrap();
        assert_eq!(ended.code, Some(4), "{option}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{option}: {}", ended.stderr);
    }
}

#[test]
fn a_kernel_thread_is_refused() {
    println!("RAN cli");
    let is_kernel = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let flags = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(6)?.parse::<u64>().ok());
        flags.is_some_and(|flags| flags & 0x20_0000 != 0)
    };
    let Some(pid) = (2..100).find(is_kernel) else {
        panic!("no kernel thread among the first pids")
    };
    let (code, text) = attach(&pid.to_string());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("kernel thread"), "{text}");
}

#[test]
fn a_thread_id_is_refused_with_the_process_named() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let mut threads: Vec<u32> = fs::read_dir(format!("/proc/{}/task", busy.pid()))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .collect();
    threads.sort_unstable();
    let (code, text) = attach(&threads.last().unwrap().to_string());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains(&format!("--pid {}", busy.pid())), "{text}");
}

#[test]
fn an_inner_pid_of_a_container_gets_a_hint() {
    println!("RAN cli");
    // Many small pids exist inside: one of them does not exist outside.
    let script =
        "i=0; while [ $i -lt 97 ]; do sleep 60 & echo $!; i=$((i+1)); done; echo end; wait";
    let mut command = Command::new("unshare");
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            script,
        ])
        .stdout(Stdio::piped());
    let mut container = Guard(command.spawn().unwrap());
    let lines = BufReader::new(container.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut inner = lines
        .take_while(|line| line != "end")
        .map(|line| line.parse::<u32>().unwrap());
    let inner = inner.find(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    let inner = inner.expect("every pid below 100 exists outside");
    let (code, text) = attach(&inner.to_string());
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("did you mean host pid"), "{text}");
}

#[test]
fn without_permission_it_says_so() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let binary = copy.path().join("tracer");
    fs::copy(tracer(), &binary).unwrap();
    fs::set_permissions(
        copy.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let mut command = Command::new(&binary);
    command
        .args([
            "attach",
            "--pid",
            &busy.pid().to_string(),
            "--duration",
            "1s",
        ])
        .uid(65_534)
        .gid(65_534);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("sudo"), "{text}");
}

#[test]
fn nonsense_is_a_usage_error() {
    println!("RAN cli");
    for args in [
        vec!["attach"],
        vec!["attach", "--pid", "0"],
        vec!["attach", "--pid", "nginx"],
        vec!["attach", "--pid", "1", "--duration", "soon"],
        vec!["attach", "--pid", "1", "--interval", "0s"],
        vec!["attach", "--pid", "1", "--frobnicate"],
        vec!["report"],
        vec!["diff", "a.rec"],
        vec!["explain"],
    ] {
        let ended = run(&args).unwrap();
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("Usage") || ended.stderr.contains("error"),
            "{args:?}"
        );
    }
}

#[test]
fn a_target_that_exits_ends_the_trace_with_a_report() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid();
    let trace = Trace::start(&[
        "--pid",
        &pid.to_string(),
        "--duration",
        "60s",
        "--output",
        "json",
    ])
    .unwrap();
    let begun = Instant::now();
    signal(pid, libc::SIGKILL);
    let ended = trace.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(
        ended.stderr.contains("the target exited"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.json().unwrap()["schema"], "tracer.report/1");
}

#[test]
fn a_target_without_sockets_has_no_requests() {
    println!("RAN cli");
    let mut busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "60s", "--output", "json"]).unwrap();
    busy.go().unwrap();
    busy.done().unwrap();
    let report = trace.stop().unwrap().json().unwrap();
    assert!(report["requests"].is_null());
    assert_eq!(report["verdict"]["basis"], "threads");
}

#[test]
fn a_hostile_name_drives_neither_terminal_nor_browser() {
    println!("RAN cli");
    let dir = tempfile::tempdir().unwrap();
    let hostile = dir
        .path()
        .join(std::ffi::OsStr::from_bytes(b"\x1b[2J<script>;x"));
    fs::copy(PROGRAM, &hostile).unwrap();
    let mut busy = Busy::start(
        &hostile,
        &Args {
            threads: 2,
            cpu: Some(last_cpu()),
            for_ms: 700,
            hog: true,
        },
    )
    .unwrap();
    let (svg, folded) = (dir.path().join("f.svg"), dir.path().join("f.folded"));
    let pid = busy.pid().to_string();
    let args = [
        "--pid",
        &pid,
        "--duration",
        "60s",
        "--flamegraph",
        path(&svg),
        "--folded",
        path(&folded),
    ];
    let trace = Trace::start(&args).unwrap();
    assert!(!trace.greeting.contains('\x1b'), "{:?}", trace.greeting);
    busy.go().unwrap();
    busy.done().unwrap();
    let ended = trace.stop().unwrap();
    assert!(
        ended.stdout.contains("\\x1b[2J<script>"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'));
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.contains("&lt;script&gt;") && !svg.contains("[2J<script>"));
    for line in fs::read_to_string(folded).unwrap().lines() {
        let (stack, ns) = line.rsplit_once(' ').unwrap();
        assert!(
            ns.parse::<u64>().is_ok() && stack.split(';').count() >= 3,
            "{line}"
        );
    }
}

#[test]
fn kill_9_leaves_nothing_loaded_or_pinned() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let before = loaded(Loaded::Programs);
    let trace = Trace::start(&["--pid", &busy.pid().to_string(), "--duration", "60s"]).unwrap();
    let ours: BTreeSet<u32> = loaded(Loaded::Programs)
        .difference(&before)
        .copied()
        .collect();
    assert!(
        ours.len() >= 10,
        "the test does not see the programs: {ours:?}"
    );
    signal(trace.pid(), libc::SIGKILL);
    let _ = trace.wait();
    // The kernel frees them after a grace period.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !loaded(Loaded::Programs).is_disjoint(&ours) {
        assert!(Instant::now() < deadline, "programs stay loaded");
        std::thread::yield_now();
    }
    let pinned = fs::read_dir("/sys/fs/bpf")
        .map(|dir| dir.count())
        .unwrap_or(0);
    assert_eq!(pinned, 0, "something is pinned");
}

/// A short recording of a contended process: (its file, the live report).
fn recording(dir: &Path) -> (PathBuf, String) {
    let file = dir.join("trace.rec");
    let mut busy = Busy::start(
        Path::new(PROGRAM),
        &Args {
            threads: 3,
            cpu: Some(last_cpu()),
            for_ms: 1500,
            hog: false,
        },
    )
    .unwrap();
    let pid = busy.pid().to_string();
    let trace = Trace::start(&[
        "--pid",
        &pid,
        "--duration",
        "60s",
        "--output",
        "json",
        "--record",
        path(&file),
    ])
    .unwrap();
    busy.go().unwrap();
    busy.done().unwrap();
    let ended = trace.stop().unwrap();
    ended.json().unwrap();
    (file, ended.stdout)
}

#[test]
fn a_recording_gives_the_same_report_and_a_cut_one_what_is_left_of_it() {
    println!("RAN cli");
    let dir = tempfile::tempdir().unwrap();
    let (file, live) = recording(dir.path());
    let again = run(&["report", path(&file), "--output", "json"]).unwrap();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(again.stdout, live);
    let whole = fs::read(&file).unwrap();
    let cut = dir.path().join("cut.rec");
    for part in [0.0, 0.001, 0.5, 0.999] {
        fs::write(&cut, &whole[..(whole.len() as f64 * part) as usize]).unwrap();
        let ended = run(&["report", path(&cut), "--output", "json"]).unwrap();
        assert_eq!(ended.code, Some(1), "{part}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("byte") || part == 0.0,
            "{part}: {}",
            ended.stderr
        );
    }
    let ended = run(&["report", path(&cut)]).unwrap();
    assert!(ended.stdout.contains("cut off"), "{}", ended.stdout);
    let ended = run(&["report", "/etc/hostname"]).unwrap();
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("recording"), "{}", ended.stderr);
}

#[test]
fn nothing_changed_from_a_recording_to_the_same() {
    println!("RAN cli");
    let dir = tempfile::tempdir().unwrap();
    let (file, _) = recording(dir.path());
    let (svg, folded) = (dir.path().join("d.svg"), dir.path().join("d.folded"));
    let both = ["diff", path(&file), path(&file)];
    let files = ["--flamegraph", path(&svg), "--folded", path(&folded)];
    let json = ["--output", "json"];
    let ended = run(&[both.as_slice(), &json, &files].concat()).unwrap();
    let diff = ended.json().unwrap();
    assert_eq!(diff["schema"], "tracer.diff/1");
    assert_eq!(diff["before"], diff["after"]);
    assert!(
        !ended.stdout.contains("\"differs\": true"),
        "{}",
        ended.stdout
    );
    for line in fs::read_to_string(folded).unwrap().lines() {
        let mut columns = line.rsplitn(3, ' ');
        assert_eq!(columns.next(), columns.next(), "{line}");
    }
    assert!(fs::read_to_string(svg).unwrap().contains("<svg"));
    let text = run(&both).unwrap();
    assert!(text.stdout.contains("before") && text.stdout.contains("after"));
    for wrong in ["/etc/hostname", "/nonexistent/x.rec"] {
        let ended = run(&["diff", path(&file), wrong]).unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(wrong), "{}", ended.stderr);
    }
}

#[test]
fn an_unwritable_recording_fails_before_tracing() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let ended = run(&[
        "attach",
        "--pid",
        &pid,
        "--duration",
        "1s",
        "--record",
        "/nonexistent/x.rec",
    ])
    .unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("/nonexistent/x.rec") && !ended.stderr.contains("tracing"),
        "{}",
        ended.stderr
    );
}

#[test]
fn sigterm_reports_too_and_a_closed_stdout_is_no_error() {
    println!("RAN cli");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "60s"]).unwrap();
    signal(trace.pid(), libc::SIGTERM);
    let ended = trace.wait().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("Where the time went"),
        "{}",
        ended.stdout
    );
    let mut command = Command::new(tracer());
    command
        .args(["attach", "--pid", &pid, "--duration", "1s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = Guard(command.spawn().unwrap());
    drop(child.0.stdout.take());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn doctor_completions_and_man_work() {
    println!("RAN cli");
    let doctor = run(&["doctor"]).unwrap();
    assert!(
        matches!(doctor.code, Some(0 | 5)),
        "{}{}",
        doctor.stdout,
        doctor.stderr
    );
    assert!(doctor.stdout.contains("sched_switch"));
    let json = run(&["doctor", "--output", "json"]).unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(&json.stdout)
            .is_ok_and(|doctor| doctor["works"] == true)
    );
    for args in [["completions", "bash"].as_slice(), &["man"]] {
        let ended = run(args).unwrap();
        assert!(
            ended.code == Some(0) && ended.stdout.contains("tracer"),
            "{args:?}"
        );
    }
}

#[test]
fn a_zombie_is_no_target_and_its_parent_is_named() {
    println!("RAN cli");
    let mut child = Command::new("true").spawn().unwrap();
    let path = format!("/proc/{}/stat", child.id());
    while !fs::read_to_string(&path).unwrap().contains(") Z ") {
        std::thread::yield_now();
    }
    let (code, text) = attach(&child.id().to_string());
    child.wait().unwrap();
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("is a zombie"), "{text}");
    assert!(
        text.contains(&format!("(pid {})", std::process::id())),
        "{text}"
    );
}

#[test]
fn the_memory_that_the_tracer_reports_is_what_it_had_while_it_traced() {
    println!("RAN cli");
    let target = Busy::idle(PROGRAM).unwrap();
    let pid = target.pid().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "60s", "--output", "json"]).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", trace.pid())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kernel: u64 = resident.unwrap().parse::<u64>().unwrap() * 1024;
    let report = trace.stop().unwrap().json().unwrap();
    let ours = figure(&report, "/tracer/rss_bytes").unwrap();
    println!("resident: the kernel says {kernel} bytes, the report {ours}");
    assert!(difference(kernel, ours) <= 0.25, "{kernel} and {ours}");
}
