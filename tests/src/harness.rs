//! Starts tracers and workloads, and ends them whatever becomes of the test.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::{busy, truth::last_cpu};

/// The tracer under test: `TRACER_BIN`.
///
/// # Panics
/// If the variable is not set: `cargo xtask test` sets it.
#[must_use]
pub fn tracer() -> PathBuf {
    env::var_os("TRACER_BIN")
        .map(PathBuf::from)
        .expect("TRACER_BIN is not set: run `cargo xtask test`")
}

/// A path as an argument.
///
/// # Panics
/// If it is no UTF-8: those of tests are.
#[must_use]
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A child that does not outlive its test.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process id as system calls take it.
#[must_use]
pub fn signed(pid: u32) -> libc::pid_t {
    pid as libc::pid_t
}

/// Sends a signal to a process that the test started.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: no pointers.
    unsafe { libc::kill(signed(pid), signal) };
}

/// Kinds of what a kernel has loaded, by the command of bpf(2) that lists their ids (`enum bpf_cmd` of `linux/bpf.h`).
#[derive(Clone, Copy)]
pub enum Loaded {
    /// `BPF_PROG_GET_NEXT_ID`.
    Programs = 11,
    /// `BPF_MAP_GET_NEXT_ID`.
    Maps = 12,
}

/// Ids of the programs or maps in the kernel. Some kernels give no more than the ids. The kernel never uses an id twice.
#[must_use]
pub fn loaded(kind: Loaded) -> BTreeSet<u32> {
    let mut ids = BTreeSet::new();
    // `union bpf_attr` for these commands: start_id, next_id, open_flags.
    let mut attr = [0_u32; 3];
    // SAFETY: the attribute has the length that the call names, and the kernel writes only into it.
    while unsafe { libc::syscall(libc::SYS_bpf, kind as i64, attr.as_mut_ptr(), 12) } == 0 {
        ids.insert(attr[1]);
        attr[0] = attr[1];
    }
    ids
}

/// Waits until nothing is loaded any more that was not there `before` (programs, maps), but for what others load meanwhile. The kernel
/// frees it after a grace period.
///
/// # Errors
/// If something stays.
pub fn wait_until_unloaded(before: &[BTreeSet<u32>; 2]) -> Result<()> {
    let ours = [Loaded::Programs, Loaded::Maps].map(loaded);
    let begun = Instant::now();
    loop {
        let now = [Loaded::Programs, Loaded::Maps].map(loaded);
        let left = |kind: usize| {
            let new = ours[kind].difference(&before[kind]);
            new.filter(|id| now[kind].contains(*id)).count()
        };
        let left = [left(0), left(1)];
        if left == [0, 0] {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "{left:?} programs and maps stay loaded"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// A trace under way.
pub struct Trace {
    child: Guard,
    stderr: BufReader<ChildStderr>,
    /// Its first line: the greeting, which comes when every probe is attached.
    pub greeting: String,
}

/// How a trace ended.
pub struct Ended {
    /// Exit code.
    pub code: Option<i32>,
    /// When the last of its report was read. On a CPU that is always busy, its threads of the lowest priority take their time to end.
    pub answered: Instant,
    /// The report.
    pub stdout: String,
    /// Everything after the greeting.
    pub stderr: String,
}

impl Trace {
    /// Starts `tracer attach` with these arguments, and waits until it traces.
    ///
    /// # Errors
    /// If it ends before.
    pub fn start(args: &[&str]) -> Result<Self> {
        let mut command = Command::new(tracer());
        command
            .arg("attach")
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = Guard(command.spawn().context("cannot start the tracer")?);
        let mut stderr = BufReader::new(child.0.stderr.take().context("no stderr")?);
        let mut greeting = String::new();
        stderr.read_line(&mut greeting)?;
        if !greeting.starts_with("tracing") {
            stderr.read_to_string(&mut greeting)?;
            bail!("the tracer does not trace: {greeting}");
        }
        Ok(Self {
            child,
            stderr,
            greeting,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Ends it as Ctrl-C does.
    ///
    /// # Errors
    /// If its output cannot be read.
    pub fn stop(self) -> Result<Ended> {
        signal(self.pid(), libc::SIGINT);
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If its output cannot be read.
    pub fn wait(mut self) -> Result<Ended> {
        let mut stdout = self.child.0.stdout.take().context("no stdout")?;
        // The provisional sentence is short; the report comes only at the end: no pipe fills while the other is read.
        let (mut text, mut answered) = (Vec::new(), Instant::now());
        let mut part = [0; 1 << 12];
        loop {
            let length = stdout.read(&mut part)?;
            if length == 0 {
                break;
            }
            text.extend_from_slice(&part[..length]);
            answered = Instant::now();
        }
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr)?;
        let status: ExitStatus = self.child.0.wait()?;
        Ok(Ended {
            code: status.code(),
            answered,
            stdout: String::from_utf8(text)?,
            stderr,
        })
    }
}

impl Ended {
    /// The report as JSON.
    ///
    /// # Errors
    /// If the trace failed or its output is no JSON.
    pub fn json(&self) -> Result<Value> {
        ensure!(
            self.code == Some(0),
            "exit code {:?}: {}",
            self.code,
            self.stderr
        );
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {}", self.stdout))
    }
}

/// Runs the tracer to its end: (exit code, stdout, stderr).
///
/// # Errors
/// If it cannot be started.
pub fn run(args: &[&str]) -> Result<Ended> {
    let output = Command::new(tracer())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot start the tracer")?;
    Ok(Ended {
        answered: Instant::now(),
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// A [`busy`] process.
pub struct Busy {
    child: Guard,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Busy {
    /// Starts `program busy …`, and waits until all its threads sleep.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(program: &Path, args: &busy::Args) -> Result<Self> {
        let mut command = Command::new(program);
        command.arg("busy");
        command.args(["--threads", &args.threads.to_string()]);
        command.args(["--for-ms", &args.for_ms.to_string()]);
        if let Some(cpu) = args.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        if args.hog {
            command.arg("--hog");
        }
        let mut busy = Self::spawn(&mut command)?;
        busy.hear("ready")?;
        Ok(busy)
    }

    /// A target that sleeps until it is told to work, with two threads on the last CPU.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn idle(program: &str) -> Result<Self> {
        let args = busy::Args {
            threads: 2,
            cpu: Some(last_cpu()),
            for_ms: 500,
            hog: false,
        };
        Self::start(Path::new(program), &args)
    }

    /// Starts a program that speaks as `busy` does, and waits for nothing.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = Guard(spawned.with_context(|| {
            format!("cannot start {}", command.get_program().to_string_lossy())
        })?);
        let stdin = child.0.stdin.take().context("no stdin")?;
        let stdout = BufReader::new(child.0.stdout.take().context("no stdout")?);
        Ok(Self {
            child,
            stdin,
            stdout,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Lets it work.
    ///
    /// # Errors
    /// If it is gone.
    pub fn go(&mut self) -> Result<()> {
        self.stdin
            .write_all(b"go\n")
            .context("the workload is gone")
    }

    /// Waits until it sleeps again.
    ///
    /// # Errors
    /// If it is gone.
    pub fn done(&mut self) -> Result<()> {
        self.hear("done")
    }

    /// Waits until it says this.
    ///
    /// # Errors
    /// If it says something else.
    pub fn hear(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        ensure!(
            line.trim() == word,
            "the workload said `{}` instead of `{word}`",
            line.trim()
        );
        Ok(())
    }
}

/// A process that switches between its threads on each CPU, as often as the machine can. `program` is `bench-pairs`.
///
/// # Errors
/// If it cannot be started.
pub fn switching(program: &str) -> Result<Guard> {
    let cpus: Vec<String> = (0..=last_cpu()).map(|cpu| cpu.to_string()).collect();
    let mut command = Command::new(program);
    command.args(["--cpus", &cpus.join(",")]);
    let spawned = command.stdin(Stdio::null()).spawn();
    spawned
        .map(Guard)
        .with_context(|| format!("cannot start {program}"))
}

/// A workload that is done sleeps within this.
const FALLS_ASLEEP: Duration = Duration::from_secs(10);

/// Whether any thread of a process runs, or stands in a run queue.
fn runs(pid: u32) -> Result<bool> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        let (_, after_name) = stat.rsplit_once(')').context("no name")?;
        if after_name.trim_start().starts_with('R') {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Sums of `/proc/PID/task/*/schedstat`, ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedStat {
    /// Field 1: on a CPU.
    pub on_cpu_ns: u64,
    /// Field 2: in a run queue.
    pub run_queue_ns: u64,
}

impl SchedStat {
    /// The increase since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            on_cpu_ns: self.on_cpu_ns - before.on_cpu_ns,
            run_queue_ns: self.run_queue_ns - before.run_queue_ns,
        }
    }

    /// The sums of a process, once all its threads sleep. A process that says it is done may run for a moment more. It may also
    /// have woken others that stand in the queue behind it.
    ///
    /// # Errors
    /// If it is gone, never sleeps, or the kernel does not keep these counters.
    pub fn of(pid: u32) -> Result<Self> {
        let begun = Instant::now();
        while runs(pid)? {
            ensure!(
                begun.elapsed() < FALLS_ASLEEP,
                "process {pid} does not fall asleep"
            );
            thread::sleep(Duration::from_millis(2));
        }
        let mut sum = Self::default();
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let mut fields = text.split_whitespace().map(str::parse::<u64>);
            sum.on_cpu_ns += fields.next().context("no field 1")??;
            sum.run_queue_ns += fields.next().context("no field 2")??;
        }
        Ok(sum)
    }
}

/// Part by which two figures differ.
#[must_use]
pub fn difference(a: u64, b: u64) -> f64 {
    a.abs_diff(b) as f64 / a.max(b).max(1) as f64
}

/// An integer of a report, by JSON pointer.
///
/// # Errors
/// If there is none.
pub fn figure(report: &Value, pointer: &str) -> Result<u64> {
    let found = report.pointer(pointer).and_then(Value::as_u64);
    found.with_context(|| format!("the report has no {pointer}"))
}

/// CPU time of the target's waits that a report charges to such holders, ns.
#[must_use]
pub fn cpu_charged(report: &Value, is: impl Fn(&Value) -> bool) -> u64 {
    let rows = report["blame"].as_array().into_iter().flatten();
    let rows = rows.filter(|row| row["resource"] == "cpu" && is(row));
    rows.filter_map(|row| row["ns"].as_u64()).sum()
}
