//! The process family: each fork, exec and exit of children that `/proc` no longer knows when the trace ends.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tracer::{event::Event, recording::Reader};
use tracer_tests::{
    cgroup::{Controller, Group, Hierarchy},
    harness::{Guard, Trace, figure, signal},
};

/// Children that are born and gone while the trace runs: a prime number.
const CHILDREN: usize = 101;

/// What a recording has of the children of `parent`, by pid.
#[derive(Debug, Default)]
struct Children {
    forked: BTreeSet<u32>,
    executed: BTreeSet<u32>,
    ended: BTreeSet<u32>,
}

fn children(recording: &Path, parent: u32) -> Children {
    let mut found = Children::default();
    for event in Reader::<Event>::open(recording).unwrap() {
        match event.unwrap() {
            Event::Fork(fork) if fork.parent_pid == parent && fork.pid == fork.tid => {
                found.forked.insert(fork.pid);
            }
            Event::Exec(exec) if found.forked.contains(&exec.pid) => {
                assert_eq!(exec.comm, "true");
                found.executed.insert(exec.pid);
            }
            Event::Exit(exit) if found.forked.contains(&exit.pid) => {
                found.ended.insert(exit.pid);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn children_that_are_gone_when_it_ends_are_all_known() {
    println!("RAN proc");
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("trace.rec");
    let script = format!(
        "read go; i=0; while [ $i -lt {CHILDREN} ]; do /bin/true; i=$((i+1)); done; echo done; read end"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Guard(shell.spawn().unwrap());
    let pid = shell.0.id();
    let file = recording.to_str().unwrap();
    let trace = Trace::start(&[
        "--pid",
        &pid.to_string(),
        "--duration",
        "120s",
        "--record",
        file,
    ])
    .unwrap();
    shell.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let mut said = String::new();
    let out = shell.0.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut said).unwrap();
    assert_eq!(said, "done\n");
    trace.stop().unwrap();
    let found = children(&recording, pid);
    let counts = [&found.forked, &found.executed, &found.ended].map(BTreeSet::len);
    println!("forks, execs, exits: {counts:?}, of {CHILDREN}");
    assert_eq!(counts, [CHILDREN; 3]);
}

/// Makes the test below a process of its own for the one after it.
const EXECUTES: &str = "TRACER_TEST_EXECUTES";

#[test]
fn a_process_for_the_next_test() {
    if env::var_os(EXECUTES).is_none() {
        return;
    }
    let executes = || {
        // SAFETY: takes no argument and cannot fail.
        println!("tid={}", unsafe { libc::gettid() });
        io::stdin().read_line(&mut String::new()).unwrap();
        panic!("{}", Command::new("sleep").arg("60").exec());
    };
    thread::spawn(executes).join().unwrap();
}

#[test]
fn a_thread_that_executes_a_program_ends_under_its_old_number() {
    println!("RAN proc");
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("trace.rec");
    let mut process = Command::new(env::current_exe().unwrap());
    process
        .args(["--exact", "a_process_for_the_next_test", "--nocapture"])
        .env(EXECUTES, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut process = Guard(process.spawn().unwrap());
    let pid = process.0.id();
    let mut out = BufReader::new(process.0.stdout.take().unwrap()).lines();
    let tid = out.find_map(|line| {
        let line = line.unwrap();
        line.split_once("tid=").map(|(_, tid)| tid.to_owned())
    });
    let tid: u32 = tid.unwrap().trim().parse().unwrap();
    let trace = Trace::start(&[
        "--pid",
        &pid.to_string(),
        "--duration",
        "120s",
        "--output",
        "json",
        "--record",
        recording.to_str().unwrap(),
    ])
    .unwrap();
    let mut stdin = process.0.stdin.take().unwrap();
    stdin.write_all(b"go\n").unwrap();
    let begun = Instant::now();
    while fs::read_to_string(format!("/proc/{pid}/comm")).unwrap() != "sleep\n" {
        assert!(begun.elapsed() < Duration::from_secs(60));
        thread::yield_now();
    }
    // As long as it seemed to run, if its old number did not end.
    thread::sleep(Duration::from_secs(2));
    let report = trace.stop().unwrap().json().unwrap();
    let ended = |event: &Event| matches!(event, Event::ThreadEnd(end) if end.tid == tid);
    let mut events = Reader::<Event>::open(&recording)
        .unwrap()
        .map(Result::unwrap);
    assert!(events.any(|event| ended(&event)));
    let on_cpu = figure(&report, "/threads/budget_ns/on_cpu").unwrap_or(0);
    println!("on a CPU for {on_cpu} ns");
    assert!(on_cpu < 1_000_000_000);
}

#[test]
fn a_program_that_is_started_anew_goes_on_with_the_trace() {
    println!("RAN proc");
    const NAME: &str = "tracer-renewed";
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(NAME);
    std::os::unix::fs::symlink("/bin/sleep", &program).unwrap();
    let start = || {
        let mut command = Command::new(&program);
        Guard(command.arg0("sleep").arg("300").spawn().unwrap())
    };
    let first = start();
    let args = ["--comm", NAME, "--duration", "120s", "--output", "json"];
    let trace = Trace::start(&args).unwrap();
    let old = first.0.id();
    drop(first);
    let second = start();
    // A record is read a tenth of a second late. By then the trace has ended with the first one, or goes on.
    thread::sleep(Duration::from_secs(2));
    let report = trace.stop().unwrap().json().unwrap();
    let pids = report["target"]["pids"].to_string();
    println!("{pids}");
    for pid in [old, second.0.id()] {
        assert!(pids.contains(&pid.to_string()));
    }
    assert!(figure(&report, "/window/duration_ns").unwrap() > 1_000_000_000);
}

/// A control group of a test, in the first hierarchy where one can be made.
fn group(name: &str) -> Option<Group> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let hierarchies = Hierarchy::mounted(&mounts, Controller::Freezer).into_iter();
    hierarchies
        .map(|found| found.group(name))
        .find_map(Result::ok)
}

/// The processes of the target, in words.
fn pids_of(trace: Trace) -> String {
    // A record is read a tenth of a second late, and a group is looked at once a second.
    thread::sleep(Duration::from_secs(4));
    let report = trace.stop().unwrap().json().unwrap();
    let pids = report["target"]["pids"].as_array().unwrap().clone();
    let pids: Vec<String> = pids.iter().map(|pid| format!("[{pid}]")).collect();
    println!("{pids:?}");
    pids.concat()
}

fn sleeper() -> Guard {
    Guard(Command::new("sleep").arg("300").spawn().unwrap())
}

#[test]
fn whoever_is_born_in_a_group_or_comes_to_it_is_traced_with_it() {
    let Some(group) = group("tracer-homes") else {
        println!("SKIP proc: no cgroup can be made");
        return;
    };
    println!("RAN proc");
    let folder = group.members().parent().unwrap().to_owned();
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    // What it starts goes with it: the shell waits in its own group for the word.
    let mut shell = Command::new("sh");
    shell.args(["-c", "read go; sleep 300 & echo $!; wait"]);
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Guard(shell.spawn().unwrap());
    let (there, outside, moved) = (sleeper(), sleeper(), sleeper());
    for member in [&shell, &there] {
        group.take(member.0.id()).unwrap();
    }
    let path = format!("/{name}");
    let args = ["--cgroup", &path, "--duration", "120s", "--output", "json"];
    let trace = Trace::start(&args).unwrap();
    assert!(trace.greeting.contains(&path), "{}", trace.greeting);
    shell.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut born = String::new();
    let stdout = shell.0.stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut born).unwrap();
    let born: u32 = born.trim().parse().unwrap();
    group.take(moved.0.id()).unwrap();
    let pids = pids_of(trace);
    signal(born, libc::SIGKILL);
    for pid in [shell.0.id(), there.0.id(), born, moved.0.id()] {
        assert!(pids.contains(&format!("[{pid}]")), "{pid}: {pids}");
    }
    assert!(!pids.contains(&format!("[{}]", outside.0.id())), "{pids}");
}

#[test]
fn a_group_that_is_filled_anew_goes_on_with_the_trace() {
    let Some(group) = group("tracer-renewed") else {
        println!("SKIP proc: no cgroup can be made");
        return;
    };
    println!("RAN proc");
    let first = sleeper();
    group.take(first.0.id()).unwrap();
    // The whole path of the folder means this one alone.
    let folder = group.members().parent().unwrap().to_owned();
    let args = [
        "--cgroup",
        folder.to_str().unwrap(),
        "--no-children",
        "--duration",
        "120s",
        "--output",
        "json",
    ];
    let trace = Trace::start(&args).unwrap();
    let old = first.0.id();
    drop(first);
    // As a service manager does it: forked elsewhere, moved, and only then executed.
    let members = group.members();
    let mut command = Command::new("sleep");
    command.arg("300");
    // SAFETY: the closure makes system calls only. `0` is whoever writes it.
    unsafe { command.pre_exec(move || fs::write(&members, "0")) };
    let second = Guard(command.spawn().unwrap());
    let pids = pids_of(trace);
    for pid in [old, second.0.id()] {
        assert!(pids.contains(&format!("[{pid}]")), "{pid}: {pids}");
    }
}
