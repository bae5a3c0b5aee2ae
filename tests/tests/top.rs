//! The whole machine: who waits for whom although nobody was named, and figures that are the kernel's own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use tracer_tests::{
    busy::Args,
    disk::{LoopDisk, run as must_run, written_file},
    harness::{Busy, Guard, difference, path, run, signal, tracer},
    slow_disk::SlowDisk,
    terminal::Terminal,
    truth::last_cpu,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");

/// The intervals that `tracer top --output json` shows with these arguments.
fn tops(args: &[&str]) -> Vec<Value> {
    let all = [&["top", "--output", "json"][..], args].concat();
    let ended = run(&all).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// One interval of three seconds.
fn once() -> Value {
    let mut tops = tops(&["--once", "--interval", "3s"]);
    assert_eq!(tops.len(), 1);
    tops.remove(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn who_waits_for_a_disk_and_who_reads_it_come_first_without_being_named() {
    println!("RAN top");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let slow = SlowDisk::new(dir.path()).unwrap();
    // Of one name they would be one job.
    let program = dir.path().join("victim");
    fs::copy("/bin/dd", &program).unwrap();
    let source = format!("if={}", slow.disk.path());
    let mut command = Command::new(&program);
    command.args([
        source.as_str(),
        "of=/dev/null",
        "bs=64k",
        "iflag=direct",
        "status=none",
    ]);
    let victim = slow.start(command).unwrap();
    let _hog = slow.reading("8M").unwrap();
    let top = once();
    let first = &top["waits"][0];
    assert_eq!(top["contended"], true, "{top}");
    assert_eq!(first["victim"]["pid"], victim.0.id(), "{top}");
    assert_eq!(first["resource"], "disk", "{top}");
    assert!(text(&first["culprit"]["comm"]).contains("dd"), "{top}");
    assert!(
        text(&top["sentence"]).starts_with("victim waits for the disk"),
        "{top}"
    );
    // Both read from the disk, and each is told so.
    let rows = top["processes"].as_array().unwrap();
    let row = rows.iter().find(|row| row["pid"] == victim.0.id());
    let row = row.unwrap_or_else(|| panic!("the victim has no row: {top}"));
    assert!(row["disk_ns"].as_u64().unwrap() > 1_000_000_000, "{row}");
}

#[test]
fn who_waits_for_a_cpu_comes_first_and_not_those_that_take_it() {
    println!("RAN top");
    let args = Args {
        threads: 1,
        cpu: Some(last_cpu()),
        for_ms: 60_000,
        hog: false,
    };
    let mut server = Busy::start(Path::new(PROGRAM), &args).unwrap();
    let cpu = last_cpu().to_string();
    let hog = || {
        let mut command = Command::new("taskset");
        command.args(["-c", &cpu, "sh", "-c", "while :; do :; done"]);
        Guard(command.spawn().unwrap())
    };
    let hogs = [hog(), hog(), hog()];
    server.go().unwrap();
    let top = once();
    let first = &top["waits"][0];
    assert_eq!(first["victim"]["pid"], server.pid(), "{top}");
    assert_eq!(first["resource"], "cpu", "{top}");
    let culprit = &first["culprit"]["pid"];
    assert!(hogs.iter().any(|hog| *culprit == hog.0.id()), "{top}");
    assert!(first["part"].as_f64().unwrap() > 0.1, "{top}");
}

#[test]
fn a_machine_on_which_nothing_is_contended_says_so() {
    println!("RAN top");
    let tops = tops(&["--batch", "6"]);
    assert_eq!(tops.len(), 6);
    for top in &tops {
        let is_calm = text(&top["sentence"]).starts_with("nothing is contended");
        assert_eq!(top["contended"], !is_calm, "{top}");
    }
    // Something else may run on this machine now and then.
    assert!(tops.iter().any(|top| top["contended"] == false), "{tops:?}");
}

#[test]
fn the_figures_of_a_disk_sum_up_to_the_kernels_own() {
    println!("RAN top");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = dir.path().join("disk");
    written_file(&file, 64 << 20).unwrap();
    let disk = LoopDisk::new(&file).unwrap();
    let mut command = Command::new(tracer());
    command
        .args(["top", "--batch", "5", "--output", "json"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut top = Guard(command.spawn().unwrap());
    let mut lines = BufReader::new(top.0.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let before = disk.stats().unwrap();
    let source = format!("if={}", disk.path());
    must_run(
        "dd",
        &[
            &source,
            "of=/dev/null",
            "bs=4k",
            "count=1009",
            "iflag=direct",
        ],
    )
    .unwrap();
    let target = format!("of={}", disk.path());
    must_run(
        "dd",
        &[
            "if=/dev/zero",
            &target,
            "bs=64k",
            "count=503",
            "oflag=direct",
        ],
    )
    .unwrap();
    let after = disk.stats().unwrap();
    let rest = lines.map(Result::unwrap);
    let tops: Vec<Value> = [first]
        .into_iter()
        .chain(rest)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    let sum = |figure: &str| -> f64 {
        let in_interval = tops.iter().filter_map(|top| {
            let mut disks = top["disks"].as_array()?.iter();
            let row = disks.find(|row| row["name"] == disk.name())?;
            Some(row[figure].as_f64()? * top["counted_ns"].as_f64()? / 1e9)
        });
        in_interval.sum()
    };
    let ours = [
        sum("reads_per_s"),
        sum("writes_per_s"),
        1024.0 * sum("read_kib_per_s"),
        1024.0 * sum("written_kib_per_s"),
    ];
    let kernel: Vec<u64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
    println!("reads, writes, bytes read, bytes written: diskstats {kernel:?}, top {ours:?}");
    for (kernel, ours) in kernel.into_iter().zip(ours) {
        assert!(
            difference(kernel, ours.round() as u64) <= 0.02,
            "{kernel} and {ours}"
        );
    }
}

#[test]
fn a_recording_shows_what_was_shown_live() {
    println!("RAN top");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("top.rec");
    let file = path(&file);
    let live = tops(&["--batch", "3", "--record", file]);
    let played = tops(&["--from", file, "--batch", "3"]);
    assert_eq!(live.len(), 3);
    assert_eq!(live, played);
    let shown = run(&["top", "--from", file]).unwrap();
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("Memory and CPUs"), "{}", shown.stdout);
    // It has no target.
    let report = run(&["report", file]).unwrap();
    assert_eq!(report.code, Some(1), "{}", report.stdout);
    assert!(report.stderr.contains("top --from"), "{}", report.stderr);
}

/// The live screen in a terminal of 80 columns, once it shows an interval.
fn screen(args: &[&str]) -> (Guard, Terminal) {
    let mut command = Command::new(tracer());
    command.arg("top").args(args);
    let mut terminal = Terminal::of(&mut command).unwrap();
    terminal.resize(80, 24).unwrap();
    assert!(!terminal.is_raw().unwrap());
    let screen = Guard(command.spawn().unwrap());
    // The command has the program's end of the terminal, too.
    drop(command);
    terminal.wait_for("connections").unwrap();
    assert!(terminal.is_raw().unwrap());
    (screen, terminal)
}

/// What leaves the other screen of a terminal.
const LEAVES: &str = "\x1b[?1049l";

/// What ends a screen.
type Ends = fn(&Guard, &mut Terminal);

#[test]
fn however_the_screen_ends_the_terminal_is_as_it_was() {
    println!("RAN top");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("top.rec");
    let played = ["--from", path(&file)];
    tops(&["--batch", "1", "--record", path(&file)]);
    let by_signal: Ends = |screen, _| signal(screen.0.id(), libc::SIGTERM);
    let endings: [(&str, &[&str], Ends); 4] = [
        ("q", &[], |_, terminal| terminal.press("q").unwrap()),
        ("Ctrl-C", &[], |_, terminal| terminal.press("\x03").unwrap()),
        ("SIGTERM", &[], by_signal),
        ("SIGTERM while it plays", &played, by_signal),
    ];
    for (name, args, ends) in endings {
        let (mut screen, mut terminal) = screen(args);
        ends(&screen, &mut terminal);
        terminal.wait_for(LEAVES).unwrap();
        let status = screen.0.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
        assert!(!terminal.is_raw().unwrap(), "{name}");
    }
}

#[test]
fn keys_change_the_screen_and_so_does_its_size() {
    println!("RAN top");
    let (mut screen, mut terminal) = screen(&[]);
    // Only what differs from the picture before is written: these words come to empty lines.
    terminal.press("3").unwrap();
    terminal.wait_for("hypervisor").unwrap();
    terminal.press("0?").unwrap();
    terminal.wait_for("freeze").unwrap();
    terminal.press("? /nobody has this name").unwrap();
    terminal.wait_for("filter").unwrap();
    // Escape, and a key right behind it, would be one key with Alt.
    terminal.press("\r").unwrap();
    for (columns, lines) in [(40, 12), (300, 100), (80, 24)] {
        terminal.resize(columns, lines).unwrap();
        // Frozen, it is drawn anew for the next key.
        terminal.press("0").unwrap();
        terminal.wait_for("FROZEN").unwrap();
    }
    terminal.press("q").unwrap();
    terminal.wait_for(LEAVES).unwrap();
    assert_eq!(screen.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_recording_is_played_on_the_screen() {
    println!("RAN top");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("top.rec");
    let file = path(&file);
    tops(&["--batch", "2", "--record", file]);
    let (mut screen, mut terminal) = screen(&["--from", file]);
    terminal.press("2").unwrap();
    terminal.wait_for("util").unwrap();
    terminal.press("q").unwrap();
    terminal.wait_for(LEAVES).unwrap();
    assert_eq!(screen.0.wait().unwrap().code(), Some(0));
}
