//! Faults of the machine, and of whoever started the tracer: what was seen is reported, and nothing is left behind.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _, pipe},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tracer_tests::harness::{
    Busy, Guard, Loaded, SchedStat, Trace, difference, figure, loaded, path, run, signal,
    switching, tracer, wait_until_unloaded,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");
const PAIRS: &str = env!("CARGO_BIN_EXE_bench-pairs");

/// Tracers that trace one target at once.
const TRACERS: usize = 8;
/// Moments at which a tracer is killed: this many, so far apart. Attaching takes a tenth of a second.
const KILLS: u32 = 50;
const APART: Duration = Duration::from_millis(10);
/// How long a tracer is stopped.
const STOPPED: Duration = Duration::from_secs(3);
/// Ctrl-C is answered within this time.
const ANSWERED: Duration = Duration::from_secs(1);
/// How long the target does its utmost before that, and the fewest records that this makes on any machine.
const LOADED: Duration = Duration::from_secs(4);
const LOAD: u64 = 50_000;
/// The second Ctrl-C comes this long after the first one. By then the tracer tries to write its report.
const SECOND: Duration = Duration::from_secs(2);

fn all_loaded() -> [BTreeSet<u32>; 2] {
    [Loaded::Programs, Loaded::Maps].map(loaded)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Lets the target work, and returns what the kernel counted meanwhile.
fn work(busy: &mut Busy) -> SchedStat {
    let before = SchedStat::of(busy.pid()).unwrap();
    busy.go().unwrap();
    busy.done().unwrap();
    SchedStat::of(busy.pid()).unwrap().since(before)
}

fn on_cpu(report: &Value) -> u64 {
    figure(report, "/threads/budget_ns/on_cpu").unwrap()
}

fn has_evidence(report: &Value, begin: &str) -> bool {
    let mut lines = report["evidence"].as_array().into_iter().flatten();
    lines.any(|line| line.as_str().is_some_and(|line| line.starts_with(begin)))
}

#[test]
fn eight_tracers_at_once_count_the_same_and_leave_nothing_loaded() {
    println!("RAN faults");
    let before = all_loaded();
    let mut busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let args = ["--pid", &pid, "--duration", "120s", "--output", "json"];
    let traces: Vec<Trace> = (0..TRACERS).map(|_| Trace::start(&args).unwrap()).collect();
    let ran = work(&mut busy);
    for trace in traces {
        let report = trace.stop().unwrap().json().unwrap();
        let counted = on_cpu(&report);
        println!("on a CPU: {counted} ns of {} ns", ran.on_cpu_ns);
        assert!(difference(counted, ran.on_cpu_ns) <= 0.05);
    }
    wait_until_unloaded(&before).unwrap();
}

#[test]
fn kill_9_at_fifty_moments_leaves_nothing_loaded_and_no_file_that_looks_whole() {
    println!("RAN faults");
    let before = all_loaded();
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let [recording, picture, folded] =
        ["a.rec", "a.svg", "a.folded"].map(|name| dir.path().join(name));
    let args = [
        "--pid",
        &pid,
        "--duration",
        "60s",
        "--record",
        path(&recording),
        "--flamegraph",
        path(&picture),
        "--folded",
        path(&folded),
    ];
    for moment in 0..KILLS {
        let mut command = Command::new(tracer());
        command.arg("attach").args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = Guard(command.spawn().unwrap());
        thread::sleep(APART * moment);
        child.0.kill().unwrap();
        child.0.wait().unwrap();
    }
    // The last one traces for certain, and its recording has its name.
    let trace = Trace::start(&args).unwrap();
    let begun = Instant::now();
    while !recording.exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "no recording");
        thread::yield_now();
    }
    signal(trace.pid(), libc::SIGKILL);
    let _ = trace.wait();
    wait_until_unloaded(&before).unwrap();
    let pinned = fs::read_dir("/sys/fs/bpf").map_or(0, Iterator::count);
    assert_eq!(pinned, 0, "something is pinned");
    for file in fs::read_dir(dir.path()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(name == "a.rec" || name.ends_with(".part"), "{name}");
    }
    let ended = run(&["report", path(&recording)]).unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
}

#[test]
fn a_tracer_that_was_stopped_says_so_and_counts_all_that_it_did_not_lose() {
    println!("RAN faults");
    let mut busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let args = ["--pid", &pid, "--duration", "120s", "--output", "json"];
    let trace = Trace::start(&args).unwrap();
    signal(trace.pid(), libc::SIGSTOP);
    let begun = Instant::now();
    let ran = work(&mut busy);
    // The fault itself takes as long.
    thread::sleep(STOPPED.saturating_sub(begun.elapsed()));
    signal(trace.pid(), libc::SIGCONT);
    let report = trace.stop().unwrap().json().unwrap();
    let evidence = &report["evidence"];
    assert!(
        has_evidence(&report, "the tracer itself stood still for"),
        "{evidence}"
    );
    let lost = report["losses"]["ring"].as_object();
    let is_whole = lost.is_none_or(serde_json::Map::is_empty);
    let counted = on_cpu(&report);
    println!(
        "on a CPU: {counted} ns of {} ns; whole: {is_whole}",
        ran.on_cpu_ns
    );
    assert!(!is_whole || difference(counted, ran.on_cpu_ns) <= 0.05);
}

#[test]
fn a_hang_up_ends_a_trace_with_its_report() {
    println!("RAN faults");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let args = ["--pid", &pid, "--duration", "120s", "--output", "json"];
    let trace = Trace::start(&args).unwrap();
    signal(trace.pid(), libc::SIGHUP);
    let report = trace.wait().unwrap().json().unwrap();
    assert_eq!(report["schema"], "tracer.report/1");
}

#[test]
fn under_load_ctrl_c_is_answered_with_the_report_within_a_second() {
    println!("RAN faults");
    let load = switching(PAIRS).unwrap();
    let pid = load.0.id().to_string();
    let args = ["--pid", &pid, "--duration", "120s", "--output", "json"];
    let trace = Trace::start(&args).unwrap();
    thread::sleep(LOADED);
    let begun = Instant::now();
    let ended = trace.stop().unwrap();
    let took = ended.answered - begun;
    let received = figure(&ended.json().unwrap(), "/losses/received").unwrap();
    let gone = begun.elapsed();
    println!("{received} records; answered after {took:?}, gone after {gone:?}");
    assert!(received > LOAD, "{received} records are no load");
    assert!(took < ANSWERED, "{took:?}");
}

/// A pipe that nobody reads, and that has no room left.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    // SAFETY: no pointers.
    let room = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_GETPIPE_SZ) };
    let lines = vec![b'\n'; usize::try_from(room).unwrap()];
    writer.write_all(&lines).unwrap();
    (reader, writer)
}

#[test]
fn a_second_ctrl_c_ends_a_tracer_that_cannot_write_and_leaves_nothing_loaded() {
    println!("RAN faults");
    let before = all_loaded();
    let busy = Busy::idle(PROGRAM).unwrap();
    let (_unread, full) = full_pipe();
    let mut command = Command::new(tracer());
    command.args(["attach", "--duration", "120s", "--pid"]);
    command.arg(busy.pid().to_string());
    command.stdin(Stdio::null()).stdout(full);
    let mut child = Guard(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut stderr = BufReader::new(child.0.stderr.take().unwrap());
    let mut greeting = String::new();
    stderr.read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("tracing"), "{greeting}");
    signal(child.0.id(), libc::SIGINT);
    thread::sleep(SECOND);
    let ended = child.0.try_wait().unwrap();
    assert!(ended.is_none(), "it had nothing to write: {ended:?}");
    let begun = Instant::now();
    signal(child.0.id(), libc::SIGINT);
    // The status that a shell gives: 128 and the signal.
    let status = child.0.wait().unwrap();
    let took = begun.elapsed();
    assert_eq!(status.code(), Some(128 + libc::SIGINT));
    assert!(took < ANSWERED, "{took:?}");
    wait_until_unloaded(&before).unwrap();
}

#[test]
fn where_stdout_is_full_the_files_are_written() {
    println!("RAN faults");
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (picture, folded) = (dir.path().join("a.svg"), dir.path().join("a.folded"));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(tracer());
    command.args(["attach", "--duration", "1s", "--pid"]);
    command.arg(busy.pid().to_string());
    command.args(["--flamegraph", path(&picture), "--folded", path(&folded)]);
    let ended = command.stdout(full).output().unwrap();
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    assert!(text.contains("cannot write to stdout"), "{text}");
    let drawn = fs::read_to_string(&picture).unwrap();
    assert!(drawn.contains("<svg"), "{drawn}");
    assert!(folded.exists());
}

/// Lets no file of a command grow beyond a kilobyte. The command hears of it as of a full disk, not by a signal.
fn with_full_disks(command: &mut Command) {
    let limit = || {
        let limit = libc::rlimit {
            rlim_cur: 1024,
            rlim_max: 1024,
        };
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        // SAFETY: a valid pointer.
        match unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec it makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(limit) };
}

#[test]
fn where_the_disk_is_full_the_report_is_there_and_the_recording_is_cut_off() {
    println!("RAN faults");
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (recording, picture) = (dir.path().join("a.rec"), dir.path().join("a.svg"));
    let mut command = Command::new(tracer());
    command.args(["attach", "--duration", "4s", "--output", "json", "--pid"]);
    command.arg(busy.pid().to_string());
    command.args(["--record", path(&recording), "--flamegraph", path(&picture)]);
    with_full_disks(&mut command);
    let ended = command.output().unwrap();
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(1), "{text}");
    for said in [
        "nothing more can be recorded",
        "cannot record to",
        "cannot write",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["schema"], "tracer.report/1");
    assert!(!picture.exists(), "half of a picture has its name");
    let ended = run(&["report", path(&recording)]).unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stdout);
}

#[test]
fn a_reader_that_went_away_is_an_error_of_no_command() {
    println!("RAN faults");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let unread = || {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        writer
    };
    for args in [
        ["man"].as_slice(),
        &["completions", "bash"],
        &["--help"],
        &["doctor"],
        &["attach", "--pid", &pid, "--duration", "1s"],
    ] {
        let mut command = Command::new(tracer());
        let ended = command.args(args).stdout(unread()).output().unwrap();
        let text = stderr(&ended);
        let is_good = matches!(ended.status.code(), Some(0 | 5));
        assert!(is_good && !text.contains("panicked"), "{args:?}: {text}");
    }
    let mut command = Command::new(tracer());
    command.args(["attach", "--duration", "4s", "--output", "json", "--pid"]);
    let ended = command.arg(&pid).stderr(unread()).output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["schema"], "tracer.report/1");
}

#[test]
fn in_a_pid_namespace_of_its_own_it_refuses_in_one_sentence() {
    println!("RAN faults");
    for args in [
        ["attach", "--pid", "4194000"].as_slice(),
        &["attach", "--comm", "sh"],
        &["doctor"],
    ] {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        let ended = command.arg(tracer()).args(args).output().unwrap();
        let shown = String::from_utf8_lossy(&ended.stdout);
        let text = format!("{shown}{}", stderr(&ended));
        assert_eq!(ended.status.code(), Some(3), "{args:?}: {text}");
        assert!(text.contains("the host's pid namespace"), "{text}");
    }
}

#[test]
fn where_the_kernel_hides_its_addresses_idle_is_idle_and_what_is_not_seen_is_said() {
    println!("RAN faults");
    let dir = tempfile::tempdir().unwrap();
    // As the kernel shows it with kernel.kptr_restrict=2.
    let table = dir.path().join("kallsyms");
    let lines = ["T _text", "t ep_poll", "t do_wait", "t hrtimer_nanosleep"];
    let lines = lines.map(|line| format!("0000000000000000 {line}\n"));
    fs::write(&table, lines.concat()).unwrap();
    let mut sleeper = Command::new("sh");
    sleeper.args(["-c", "while :; do sleep 0.1; done"]);
    let sleeper = Guard(sleeper.stdin(Stdio::null()).spawn().unwrap());
    let script = r#"mount --bind "$0" /proc/kallsyms && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, path(&table)]);
    command.arg(tracer());
    command.args(["attach", "--duration", "2s", "--output", "json", "--pid"]);
    let ended = command.arg(sleeper.0.id().to_string()).output().unwrap();
    let text = stderr(&ended);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    let report: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let missing = report["losses"]["missing_probes"].to_string();
    assert!(missing.contains("kernel.kptr_restrict"), "{missing}");
    let budget = &report["threads"]["budget_ns"];
    println!("{budget}");
    let of = |class: &str| budget[class].as_u64().unwrap_or(0);
    assert!(of("idle") > 1_000_000_000, "{budget}");
    assert!(of("other") < of("idle") / 4, "{budget}");
    let unknown = report["unknown"].to_string();
    assert!(
        unknown.contains("lock") && unknown.contains("memory"),
        "{unknown}"
    );
}
