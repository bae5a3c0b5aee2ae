//! Runs the advice of a report as it is printed, and asks the kernel whether it took effect.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tracer_tests::{
    advice::{advised, advised_on, follow},
    cgroup::{Controller, Group, Hierarchy},
    harness::{Guard, signal},
    slow_disk::{Readers, SlowDisk},
};

/// A name with characters that a shell would act upon.
const HOSTILE: &str = "tracer's `test` $(kill 0) \"x\" & *";

/// A shell that is always runnable, on CPU 0.
fn spinning() -> Guard {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
    Guard(command.spawn().unwrap())
}

/// A slow disk, in a directory that outlives it.
fn a_disk() -> (tempfile::TempDir, SlowDisk) {
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let slow = SlowDisk::new(dir.path()).unwrap();
    (dir, slow)
}

/// A target and its culprit on a disk with this scheduler, or `None` if the kernel lacks it.
fn contended(slow: &SlowDisk, scheduler: &str) -> Option<(Readers, Readers)> {
    if let Err(error) = slow.scheduler(scheduler) {
        println!("SKIP remedies: this kernel cannot schedule so: {error:#}");
        return None;
    }
    Some((slow.reading("64k").unwrap(), slow.reading("8M").unwrap()))
}

/// The fields of `/proc/PID/stat` behind the name: state first.
fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace();
    fields.map(str::to_owned).collect()
}

fn nice(pid: u32) -> String {
    let autogroup = fs::read_to_string(format!("/proc/{pid}/autogroup")).unwrap_or_default();
    let of_session = autogroup.trim().rsplit(' ').next().map(str::to_owned);
    match stat(pid)[16].as_str() {
        "0" => of_session.unwrap_or_default(),
        nice => nice.to_owned(),
    }
}

#[test]
fn what_is_advised_against_a_holder_of_the_cpu_takes_effect() {
    println!("RAN remedies");
    let (target, culprit) = (spinning(), spinning());
    let pid = culprit.0.id();
    let mut commands = advised(target.0.id());
    // Other programs may be busy on this machine, and get advice of their own.
    commands.retain(|command| command.contains(&pid.to_string()));

    let renice = commands.iter().find(|c| c.contains("echo 19 >"));
    follow(&commands, renice.map_or("renice", |_| "autogroup"));
    assert_eq!(nice(pid), "19");

    let weight = match Hierarchy::of(Controller::Cpu).unwrap().is_unified() {
        true => ("cpu.weight", "10\n"),
        false => ("cpu.shares", "102\n"),
    };
    let group = Group::made_by(&follow(&commands, weight.0)).unwrap();
    assert_eq!(group.file(weight.0), weight.1);
    assert_eq!(group.file("cgroup.procs"), format!("{pid}\n"));
    drop(group);

    // `at` or systemd-run let it go on.
    let later = commands.iter().find(|c| c.contains("nohup"));
    if later.is_some() {
        follow(&commands, "kill -STOP");
        let until = Instant::now() + Duration::from_secs(10);
        while stat(pid)[0] != "T" && Instant::now() < until {
            thread::yield_now();
        }
        let state = stat(pid)[0].clone();
        end_sleeper(pid);
        assert_eq!(state, "T");
    }
}

/// Ends what waits to let a process go on: in eight hours it would signal another process with that pid. It may not have begun to wait.
fn end_sleeper(pid: u32) {
    let script = format!("sleep 28800; kill -CONT {pid}");
    let until = Instant::now() + Duration::from_secs(10);
    while !end_waiting(&script) {
        assert!(Instant::now() < until, "nobody waits to let {pid} go on");
        thread::yield_now();
    }
}

/// Whether there was a shell with this script. Ends it with all that it has started.
fn end_waiting(script: &str) -> bool {
    let mut ended = false;
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let cmdline = fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = cmdline.split(|byte| *byte == 0).collect();
        if words.first() == Some(&b"sh".as_slice()) && words.get(2) == Some(&script.as_bytes()) {
            let waiting: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            // Stop it first, so that it starts nothing between the two looks.
            signal(waiting, libc::SIGSTOP);
            let children = format!("/proc/{waiting}/task/{waiting}/children");
            let sleeping = fs::read_to_string(children).unwrap_or_default();
            signal(waiting, libc::SIGKILL);
            for child in sleeping.split_whitespace() {
                signal(child.parse().unwrap(), libc::SIGKILL);
            }
            ended = true;
        }
    }
    ended
}

#[test]
fn a_group_with_a_hostile_name_gets_its_weight() {
    println!("RAN remedies");
    let hierarchy = Hierarchy::of(Controller::Cpu).unwrap();
    let (file, value) = match hierarchy.is_unified() {
        true => ("cpu.weight", "10\n"),
        false => ("cpu.shares", "102\n"),
    };
    let group = hierarchy.named(HOSTILE).unwrap();
    let (target, culprit) = (spinning(), spinning());
    group.take(culprit.0.id()).unwrap();
    let command = follow(&advised(target.0.id()), file);
    assert!(!command.contains("mkdir"), "{command}");
    assert_eq!(group.file(file), value);
}

#[test]
fn what_is_advised_against_a_holder_of_a_disk_takes_effect() {
    println!("RAN remedies");
    let (_dir, slow) = a_disk();
    for (scheduler, old, unified) in [
        ("bfq", "blkio.bfq.weight", "io.bfq.weight"),
        ("none", "blkio.throttle.read_bps_device", "io.max"),
    ] {
        let Some((target, culprit)) = contended(&slow, scheduler) else {
            continue;
        };
        let commands = advised_on(target.0.id(), slow.disk.name());
        let name = match Hierarchy::of(Controller::Io).unwrap().is_unified() {
            true => unified,
            false => old,
        };
        let group = Group::made_by(&follow(&commands, name)).unwrap();
        let written = group.file(name);
        let device = fs::read_to_string(format!("/sys/block/{}/dev", slow.disk.name())).unwrap();
        match scheduler {
            "bfq" => assert_eq!(written.trim().rsplit(' ').next(), Some("10")),
            _ => assert!(written.starts_with(device.trim()), "{written}"),
        }
        assert!(!group.file("cgroup.procs").is_empty());
        drop(culprit);
        drop(group);
    }
}

#[test]
fn an_idle_class_is_advised_only_where_the_scheduler_has_one_and_then_set() {
    println!("RAN remedies");
    let (_dir, slow) = a_disk();
    for (scheduler, honours) in [("none", false), ("bfq", true)] {
        let Some((target, culprit)) = contended(&slow, scheduler) else {
            continue;
        };
        let commands = advised_on(target.0.id(), slow.disk.name());
        let is_advised = commands.iter().any(|command| command.contains("ionice"));
        assert_eq!(is_advised, honours, "{scheduler}");
        if honours {
            follow(&commands, "ionice");
            let pid = culprit.0.id().to_string();
            let class = Command::new("ionice").args(["-p", &pid]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&class.stdout).trim(), "idle");
        }
    }
}
