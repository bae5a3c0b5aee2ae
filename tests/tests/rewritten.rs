//! Runs the command lines that a report rewrites as they are printed: they do the same work, and take less.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::{
    advice::{advised, shell, the},
    disk::{Mounted, written_file},
    harness::{Guard, signed},
    slow_disk::{Readers, SlowDisk},
    terminal::Terminal,
};

/// How often the test looks at a running process.
const GLANCE: Duration = Duration::from_millis(5);
/// Many times longer than the lowest level takes for the file.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the test measures the culprit's reads.
const WATCHED: Duration = Duration::from_secs(2);

fn installed(program: &str) -> bool {
    let there = Command::new("which").arg(program).output();
    there.is_ok_and(|output| output.status.success())
}

/// A number in `/proc/PID/FILE`, behind its name.
fn number(pid: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// CPU time of a process so far, in clock ticks.
fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

/// Threads, and CPU ticks for each megabyte read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Effort {
    threads: u64,
    ticks_per_mb: f64,
}

impl Effort {
    fn of(pid: u32) -> Option<Self> {
        let read = number(pid, "io", "rchar:")?.max(1) as f64 / 1e6;
        Some(Self {
            threads: number(pid, "status", "Threads:")?,
            ticks_per_mb: ticks(pid)? as f64 / read,
        })
    }
}

/// The process of this program in a process group.
fn member(group: u32, program: &str) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        name.to_str()?.parse::<u32>().ok()
    });
    let is_it = |pid: &u32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // SAFETY: the call takes no pointers.
        let of = unsafe { libc::getpgid(signed(*pid)) };
        comm.trim() == program && of == signed(group)
    };
    pids.into_iter().find(is_it)
}

/// A command as it was printed, and all that it starts.
struct Followed(Readers);

impl Followed {
    fn new(command: &str) -> Self {
        Self(Readers(shell(command).spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        &mut self.0.0
    }

    /// The program that the command starts, as soon as it runs.
    fn program(&mut self, name: &str) -> u32 {
        let until = Instant::now() + LONGEST;
        while Instant::now() < until {
            if let Some(pid) = member(self.child().id(), name) {
                return pid;
            }
            assert!(self.child().try_wait().unwrap().is_none(), "no {name}");
            thread::sleep(GLANCE);
        }
        panic!("no {name} after {LONGEST:?}");
    }

    /// Looks at the program until the command ends, and returns what it took.
    fn effort(&mut self, name: &str) -> Effort {
        let pid = self.program(name);
        let (until, mut most) = (Instant::now() + LONGEST, Effort::default());
        loop {
            if let Some(effort) = Effort::of(pid) {
                most = Effort {
                    threads: most.threads.max(effort.threads),
                    ticks_per_mb: effort.ticks_per_mb,
                };
            }
            if let Some(status) = self.child().try_wait().unwrap() {
                assert!(status.success(), "{name}: {status}");
                return most;
            }
            assert!(Instant::now() < until, "{name} runs on: {most:?}");
            thread::sleep(GLANCE);
        }
    }
}

/// Text that every compressor takes long for.
fn text(file: &Path) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "head -c 36M /dev/urandom | base64"]);
    let status = shell.stdout(File::create_new(file).unwrap()).status();
    assert!(status.unwrap().success());
}

/// A compressor that is started again as the report says takes less, and comes to its end.
fn takes_less(words: &str, rewritten: &str, result: &str) {
    let name = words.split(' ').next().unwrap();
    if !installed(name) {
        println!("SKIP rewritten: {name} is not installed");
        return;
    }
    println!("RAN rewritten");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file = dir.path().join("a dump");
    text(&file);
    let mut spinning = Command::new("taskset");
    spinning.args(["-c", "0", "sh", "-c", "while :; do :; done"]);
    let target = Guard(spinning.spawn().unwrap());
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).args(words.split(' '));
    command.arg("a dump").current_dir(dir.path());
    let _terminal = Terminal::of(&mut command).unwrap();
    let mut culprit = Guard(command.spawn().unwrap());
    let commands = advised(target.0.id());
    let advice = the(&commands, rewritten);
    let before = Effort::of(culprit.0.id()).unwrap();
    let mut followed = Followed::new(advice);
    // The test has signalled it to end; its parent reaps it.
    assert!(culprit.0.wait().unwrap().code() != Some(0), "{advice}");
    let after = followed.effort(name);
    println!("{name}: {before:?}, then {after:?}");
    assert!(after.threads < before.threads, "{before:?} {after:?}");
    assert!(
        after.ticks_per_mb < before.ticks_per_mb * 0.75,
        "{before:?} {after:?}"
    );
    assert!(dir.path().join(format!("a dump.{result}")).exists());
}

#[test]
fn a_zstd_that_is_started_again_takes_less() {
    takes_less("zstd -19 -T2", "zstd -1 -T1 -f", "zst");
}

#[test]
fn an_xz_that_is_started_again_takes_less() {
    // In small blocks: else it reads far ahead of what it compresses.
    takes_less("xz -9 -k -T2 --block-size=1MiB", "xz -0 -T1 -k", "xz");
}

#[test]
fn a_pigz_that_is_started_again_takes_less() {
    takes_less("pigz -11 -k -p 3", "pigz -1 -p1 -f -k", "gz");
}

/// What a process reads, in bytes per second.
fn rate(pid: u32) -> f64 {
    let read = || number(pid, "io", "rchar:").unwrap();
    let (before, began) = (read(), Instant::now());
    thread::sleep(WATCHED);
    (read() - before) as f64 / began.elapsed().as_secs_f64()
}

#[test]
fn an_rsync_that_is_started_again_moves_half_as_much() {
    if !installed("rsync") {
        println!("SKIP rewritten: rsync is not installed");
        return;
    }
    println!("RAN rewritten");
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let slow = SlowDisk::new(dir.path()).unwrap();
    let point = dir.path().join("srv");
    let _mounted = Mounted::ext4(&slow.disk, &point).unwrap();
    written_file(&point.join("dump"), 200 << 20).unwrap();
    fs::write("/proc/sys/vm/drop_caches", "1").unwrap();

    let target = slow.reading("64k").unwrap();
    let mut command = Command::new("rsync");
    // As a shell does: rsync changes its directory, and the paths that it was given start from here.
    command.env("PWD", dir.path()).current_dir(dir.path());
    command.args(["-a", "srv/", "to/"]);
    let _terminal = Terminal::of(&mut command).unwrap();
    let mut culprit = slow.start(command).unwrap();
    let pid = culprit.0.id();
    let before = rate(pid);
    let commands = advised(target.0.id());
    let advice = the(&commands, "--bwlimit");
    drop(target);
    let mut followed = Followed::new(advice);
    assert!(!culprit.0.wait().unwrap().success(), "{advice}");
    let again = followed.program("rsync");
    assert_ne!(again, pid);
    let after = rate(again);
    println!("{advice}: {before:.0} bytes/s, then {after:.0}");
    assert!(after > 0.0 && after < before * 0.75, "{before} {after}");
}
