//! The files that a trace leaves: whose they are, who may read them, and what they replace.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::harness::{Busy, Trace, path, run, signal, tracer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// Who calls `sudo` in these tests: `nobody`.
const CALLER: u32 = 65_534;

/// The three files that a trace can write, in this folder.
fn outputs(dir: &Path) -> [(&'static str, PathBuf); 3] {
    [
        ("--record", dir.join("a.rec")),
        ("--flamegraph", dir.join("a.svg")),
        ("--folded", dir.join("a.folded")),
    ]
}

fn names(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn files_belong_to_the_caller_of_sudo_alone() {
    println!("RAN files");
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let outputs = outputs(dir.path());
    let mut command = Command::new(tracer());
    command
        .args(["attach", "--duration", "1s", "--pid"])
        .arg(busy.pid().to_string())
        .env("SUDO_UID", CALLER.to_string())
        .env("SUDO_GID", CALLER.to_string());
    for (option, file) in &outputs {
        // What others could read before is replaced.
        fs::write(file, "yesterday").unwrap();
        command.arg(option).arg(file);
    }
    let ended = command.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    for (option, file) in &outputs {
        let found = fs::metadata(file).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o600, "{option}");
        assert_eq!((found.uid(), found.gid()), (CALLER, CALLER), "{option}");
        assert_ne!(fs::read(file).unwrap(), b"yesterday", "{option}");
    }
    assert_eq!(names(dir.path()), ["a.folded", "a.rec", "a.svg"]);
}

#[test]
fn what_cannot_be_written_fails_before_tracing_and_destroys_nothing() {
    println!("RAN files");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let outputs = outputs(dir.path());
    for (_, file) in &outputs {
        fs::write(file, "yesterday").unwrap();
    }
    for wrong in 0..outputs.len() {
        let mut args = vec!["attach", "--pid", &pid, "--duration", "1s"];
        for (at, (option, file)) in outputs.iter().enumerate() {
            let missing = at == wrong;
            let file = if missing {
                "/nonexistent/x"
            } else {
                path(file)
            };
            args.extend([*option, file]);
        }
        let ended = run(&args).unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let said = &ended.stderr;
        assert!(
            said.contains("/nonexistent/x: its folder is not there"),
            "{said}"
        );
        assert!(!said.contains("tracing"), "{said}");
    }
    for (option, file) in &outputs {
        assert_eq!(fs::read(file).unwrap(), b"yesterday", "{option}");
    }
    assert_eq!(names(dir.path()), ["a.folded", "a.rec", "a.svg"]);
}

#[test]
fn no_symbolic_link_is_followed() {
    println!("RAN files");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    for (option, file) in outputs(dir.path()) {
        symlink(&secret, &file).unwrap();
        let args = [
            "attach",
            "--pid",
            &pid,
            "--duration",
            "1s",
            option,
            path(&file),
        ];
        let ended = run(&args).unwrap();
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("symbolic link"), "{}", ended.stderr);
        assert_eq!(fs::read(&secret).unwrap(), b"secret");
    }
}

#[test]
fn a_killed_trace_leaves_a_cut_recording_and_no_half_picture() {
    println!("RAN files");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let [(_, recording), (_, picture), _] = outputs(dir.path());
    fs::write(&recording, "yesterday").unwrap();
    fs::write(&picture, "yesterday").unwrap();
    let files = ["--record", path(&recording), "--flamegraph", path(&picture)];
    let args = [&["--pid", pid.as_str(), "--duration", "60s"][..], &files].concat();
    let trace = Trace::start(&args).unwrap();
    // A header has 12 bytes; events follow within a second or two.
    let begun = Instant::now();
    while !is_begun(&recording) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "nothing is recorded"
        );
        thread::sleep(Duration::from_millis(10));
    }
    signal(trace.pid(), libc::SIGKILL);
    let _ = trace.wait();
    assert_eq!(fs::read(&picture).unwrap(), b"yesterday");
    let ended = run(&["report", path(&recording)]).unwrap();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("cut off"), "{}", ended.stdout);
}

fn is_begun(recording: &Path) -> bool {
    let bytes = fs::read(recording).unwrap();
    bytes.starts_with(b"TRACEREC") && bytes.len() > 12
}

#[test]
fn pipes_and_devices_are_written_to_and_not_replaced() {
    println!("RAN files");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let mut command = Command::new(tracer());
    command
        .args([
            "attach",
            "--pid",
            &pid,
            "--duration",
            "1s",
            "--record",
            "/dev/null",
        ])
        .args(["--flamegraph", path(&pipe), "--folded", "/dev/stdout"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let drawn = fs::read_to_string(&pipe).unwrap();
    let ended = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    assert!(drawn.contains("<svg"), "{drawn}");
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(
        fs::metadata("/dev/null")
            .unwrap()
            .file_type()
            .is_char_device()
    );
    assert!(String::from_utf8_lossy(&ended.stdout).contains("Where the time went"));
    assert_eq!(names(dir.path()), ["pipe"]);
}
