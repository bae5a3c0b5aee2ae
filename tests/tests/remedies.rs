//! What a report advises is run as it is printed, and the kernel is asked whether it took effect.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::{
    cgroup,
    disk::{LoopDisk, whole_disk_below, written_file},
    harness::{Guard, Trace, signal},
};

/// A name that a shell would take apart, and act upon.
const HOSTILE: &str = "tracer's `test` $(kill 0) \"x\" & *";

/// A shell that is always runnable, on CPU 0.
fn spinning() -> Guard {
    let mut command = Command::new("taskset");
    command.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
    Guard(command.spawn().unwrap())
}

/// How fast the disk is, bytes per second: a read waits for it far longer than for two busy CPUs.
const SPEED: u64 = 24 << 20;
/// More than is read in a trace, so that few programs are started in one.
const SIZE: u64 = 128 << 20;

/// A loop disk that is slow for whoever is in its group: the disk below it is limited for them, which leaves the loop a queue in which
/// they wait for each other.
struct SlowDisk {
    disk: LoopDisk,
    group: cgroup::Group,
    _dir: tempfile::TempDir,
}

impl SlowDisk {
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = dir.path().join("disk");
        written_file(&file, SIZE).unwrap();
        let group = cgroup::Group::for_disks().unwrap();
        let below = whole_disk_below(&file).unwrap();
        group.limit_reads(&below, SPEED).unwrap();
        let disk = LoopDisk::new(&file).unwrap();
        Self {
            disk,
            group,
            _dir: dir,
        }
    }

    /// A target and its culprit on this disk with this scheduler, if the kernel has it.
    fn contended(&self, scheduler: &str) -> Option<(Readers, Readers)> {
        let path = format!("/sys/block/{}/queue/scheduler", self.disk.name());
        if fs::write(&path, scheduler).is_err() {
            println!("SKIP remedies: this kernel has no {scheduler}");
            return None;
        }
        Some((self.reading("64k"), self.reading("8M")))
    }

    /// Reads the disk from its beginning again and again, past the page cache.
    fn reading(&self, block: &str) -> Readers {
        let script = format!(
            "while :; do dd if={} of=/dev/null bs={block} iflag=direct status=none; done",
            self.disk.path()
        );
        let mut command = Command::new("sh");
        // With its children, so that all end together.
        command.args(["-c", &script]).process_group(0);
        let members = self.group.members();
        // SAFETY: between fork and exec it only opens and writes a file, and one test runs at a time.
        unsafe { command.pre_exec(move || fs::write(&members, "0")) };
        Readers(Guard(command.spawn().unwrap()))
    }
}

/// Traces until there is somebody to restrain: a `dd` of a loop lives for a moment, and who has ended when the report is made is nobody
/// that a command could name.
const TRIES: usize = 4;

/// The commands that apply against whoever holds up this process.
fn advised(target: &Guard) -> Vec<String> {
    let tries = (0..TRIES).map(|_| advised_once(target));
    let found = tries.into_iter().find(|commands| !commands.is_empty());
    found.unwrap_or_else(|| panic!("nothing was advised in {TRIES} traces"))
}

fn advised_once(target: &Guard) -> Vec<String> {
    let pid = target.0.id().to_string();
    let trace = Trace::start(&["--pid", &pid, "--duration", "3s", "--output", "json"]).unwrap();
    let report = trace.wait().unwrap().json().unwrap();
    println!("{}", report["verdict"]["sentence"]);
    let remedies = report["verdict"]["remedies"].as_array().unwrap().iter();
    let applies = remedies.filter(|remedy| remedy["applies"] == true);
    let commands: Vec<String> = applies
        .map(|remedy| remedy["command"].as_str().unwrap().to_owned())
        .collect();
    println!("{commands:#?}");
    commands
}

/// Runs the one with this in it, and says what it was.
#[track_caller]
fn follow(commands: &[String], part: &str) -> String {
    let found = commands.iter().find(|command| command.contains(part));
    let command = found.unwrap_or_else(|| panic!("no {part} in {commands:#?}"));
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0);
    let status = shell.stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command}: {status}");
    command.clone()
}

/// A group that is removed whatever becomes of the test, when nobody is in it any more.
struct Group(PathBuf);

impl Group {
    /// The group that a command makes.
    fn made_by(command: &str) -> Self {
        let made = command.split("mkdir -p ").nth(1).unwrap();
        Self(made.split_whitespace().next().unwrap().into())
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// Takes everybody out of it: they go where the test itself is.
    fn leave(&self) {
        let above = self.0.parent().unwrap_or(Path::new("/"));
        for pid in self.file("cgroup.procs").lines() {
            let _ = fs::write(above.join("cgroup.procs"), pid);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.leave();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Everything behind the name in `/proc/PID/stat`: state first.
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

/// A hierarchy of cgroup v1 in which groups can be made.
fn old_hierarchy(controller: &str) -> Option<PathBuf> {
    let path = PathBuf::from("/sys/fs/cgroup").join(controller);
    path.join("cgroup.procs").exists().then_some(path)
}

#[test]
fn what_is_advised_against_a_holder_of_the_cpu_takes_effect() {
    println!("RAN remedies");
    let (target, culprit) = (spinning(), spinning());
    let pid = culprit.0.id();
    let commands = advised(&target);

    let renice = commands.iter().find(|c| c.contains("echo 19 >"));
    follow(&commands, renice.map_or("renice", |_| "autogroup"));
    assert_eq!(nice(pid), "19");

    let weight = if old_hierarchy("cpu").is_some() {
        ("cpu.shares", "102\n")
    } else {
        ("cpu.weight", "10\n")
    };
    let group = Group::made_by(&follow(&commands, weight.0));
    assert_eq!(group.file(weight.0), weight.1);
    assert_eq!(group.file("cgroup.procs"), format!("{pid}\n"));
    drop(group);

    // With `at` or systemd-run it is them that let it go on.
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

/// Ends what waits to let a process go on: it would signal whoever has that number in eight hours.
fn end_sleeper(pid: u32) {
    let script = format!("sleep 28800; kill -CONT {pid}");
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let cmdline = fs::read(path.join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = cmdline.split(|byte| *byte == 0).collect();
        if words.get(2) == Some(&script.as_bytes()) {
            let waiting: u32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
            let children = format!("/proc/{waiting}/task/{waiting}/children");
            let sleeping = fs::read_to_string(children).unwrap_or_default();
            signal(waiting, libc::SIGKILL);
            for child in sleeping.split_whitespace() {
                signal(child.parse().unwrap(), libc::SIGKILL);
            }
        }
    }
}

#[test]
fn a_group_with_a_hostile_name_gets_its_weight() {
    let Some(hierarchy) = old_hierarchy("cpu") else {
        println!("SKIP remedies: no cpu hierarchy of cgroup v1");
        return;
    };
    println!("RAN remedies");
    let group = Group(hierarchy.join(HOSTILE));
    fs::create_dir(&group.0).unwrap();
    let (target, culprit) = (spinning(), spinning());
    fs::write(group.0.join("cgroup.procs"), culprit.0.id().to_string()).unwrap();
    let command = follow(&advised(&target), "cpu.shares");
    assert!(!command.contains("mkdir"), "{command}");
    assert_eq!(group.file("cpu.shares"), "102\n");
}

#[test]
fn what_is_advised_against_a_holder_of_a_disk_takes_effect() {
    println!("RAN remedies");
    let slow = SlowDisk::new();
    for (scheduler, old, unified) in [
        ("bfq", "blkio.bfq.weight", "io.bfq.weight"),
        ("none", "blkio.throttle.read_bps_device", "io.max"),
    ] {
        let Some((target, culprit)) = slow.contended(scheduler) else {
            continue;
        };
        let commands = advised(&target.0);
        let name = match old_hierarchy("blkio") {
            Some(_) => old,
            None => unified,
        };
        let group = Group::made_by(&follow(&commands, name));
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
    let slow = SlowDisk::new();
    for (scheduler, honours) in [("none", false), ("bfq", true)] {
        let Some((target, culprit)) = slow.contended(scheduler) else {
            continue;
        };
        let commands = advised(&target.0);
        let is_advised = commands.iter().any(|command| command.contains("ionice"));
        assert_eq!(is_advised, honours, "{scheduler}");
        if honours {
            follow(&commands, "ionice");
            let pid = culprit.0.0.id().to_string();
            let class = Command::new("ionice").args(["-p", &pid]).output().unwrap();
            assert_eq!(String::from_utf8_lossy(&class.stdout).trim(), "idle");
        }
    }
}

/// A process group that ends with its test.
struct Readers(Guard);

impl Drop for Readers {
    fn drop(&mut self) {
        let group = -i32::try_from(self.0.0.id()).unwrap();
        // SAFETY: no pointers; the group is that of a child that was not waited for.
        unsafe { libc::kill(group, libc::SIGKILL) };
    }
}
