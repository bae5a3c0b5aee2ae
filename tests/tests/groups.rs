//! Which processes the report accuses together: process trees as jobs have them, on the CPU of a target.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::unix::{fs::symlink, process::CommandExt as _},
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tracer_tests::{
    busy,
    harness::{Guard, cpu_charged, run, signal},
    truth::last_cpu,
};

/// Names under which the same program runs. The name tells its processes apart.
const NAMES: [&str; 3] = ["pack", "compress", "look"];
/// Longer than a test.
const LONG: &str = "30000";
const PATIENCE: Duration = Duration::from_secs(10);

/// What a report accuses.
#[derive(Debug)]
struct Accused {
    job: String,
    pids: BTreeSet<u32>,
    /// Shares of the programs of this test. What else the machine runs is left out.
    share: f64,
}

/// A directory of programs, and all processes that were started from it.
struct Jobs {
    dir: TempDir,
}

impl Jobs {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            symlink(env!("CARGO_BIN_EXE_test-job"), dir.path().join(name)).unwrap();
        }
        symlink(
            env!("CARGO_BIN_EXE_tracer-guest-smoke"),
            dir.path().join("server"),
        )
        .unwrap();
        symlink("/bin/sh", dir.path().join("cron")).unwrap();
        Self { dir }
    }

    /// Starts a program by its name here, in a session of its own, on the CPU that all share.
    fn program(&self, name: &str) -> Command {
        let path = self.dir.path().join(name);
        let program = if path.exists() { path } else { name.into() };
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.current_dir(self.dir.path());
        // SAFETY: the closure makes system calls only, and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                busy::bind(last_cpu()).map_err(io::Error::other)
            });
        }
        command
    }

    /// Has a shell, by its name here, run this script: `@` is the directory of the programs.
    fn script(&self, shell: &str, text: &str) -> Guard {
        let mut command = self.program(shell);
        Guard(command.args(["-c", &self.fill(text)]).spawn().unwrap())
    }

    /// Has a shell run these lines as if somebody typed them: each is a process group.
    fn typed(&self, lines: &str) -> (Guard, ChildStdin) {
        let mut shell = self.program("bash");
        let mut shell = Guard(shell.arg("--norc").stdin(Stdio::piped()).spawn().unwrap());
        let mut stdin = shell.0.stdin.take().unwrap();
        writeln!(stdin, "set -m\n{}", self.fill(lines)).unwrap();
        // The shell waits for more lines as long as this is open.
        (shell, stdin)
    }

    fn fill(&self, text: &str) -> String {
        let dir = format!("{}/", self.dir.path().display());
        text.replace('@', &dir).replace("LONG", LONG)
    }

    /// Processes whose command line begins with the path of a program.
    fn pids(&self, name: &str) -> BTreeSet<u32> {
        let path = format!("{}\0", self.dir.path().join(name).display());
        all_pids(|cmdline| cmdline.starts_with(&path))
    }

    /// Waits until a name has so many processes.
    fn wait_for(&self, name: &str, count: usize) -> BTreeSet<u32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pids = self.pids(name);
            if pids.len() == count {
                return pids;
            }
            assert!(Instant::now() < deadline, "{name}: {pids:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A server that shares the CPU, and nothing else, with the jobs.
    fn server(&self) -> Guard {
        let mut server = self.program("server");
        server.args(["busy", "--threads", "1", "--for-ms", LONG]);
        Guard(server.spawn().unwrap())
    }

    /// The culprits in the report of a server's trace.
    fn accused(&self, server: u32) -> Vec<Accused> {
        let pid = server.to_string();
        let args = ["attach", "--pid", &pid, "--duration", "1s"];
        let ended = run(&[&args[..], &["--output", "json"]].concat()).unwrap();
        let report = ended.json().unwrap();
        let verdict = &report["verdict"];
        let own = cpu_charged(&report, |row| row["comm"].as_str().is_some_and(is_own));
        let part = own as f64 / cpu_charged(&report, |_| true) as f64;
        println!("{}, {:.0} % of it own", verdict["sentence"], 100.0 * part);
        assert_eq!(verdict["resource"], "cpu", "{verdict:#}");
        let culprits = verdict["culprits"].as_array().unwrap();
        culprits
            .iter()
            .map(|culprit| accused(culprit, part))
            .collect()
    }

    /// The report accuses one job, and these programs are in it.
    fn one(&self, members: &BTreeSet<u32>) -> Accused {
        let server = self.server();
        let mut accused = self.accused(server.0.id());
        assert_eq!(accused.len(), 1, "{accused:?}");
        let job = accused.remove(0);
        assert!(job.share > 0.8, "{job:?}");
        assert!(job.pids.is_superset(members), "{members:?} {job:?}");
        job
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let own = format!("{}/", self.dir.path().display());
        let deadline = Instant::now() + PATIENCE;
        loop {
            // A process of the script may start another one before it ends.
            let left = all_pids(|cmdline| cmdline.contains(&own));
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for pid in left {
                signal(pid, libc::SIGKILL);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Processes with this command line (each word ends in a zero byte). A zombie has none.
fn all_pids(is_meant: impl Fn(&str) -> bool) -> BTreeSet<u32> {
    let names = fs::read_dir("/proc").unwrap().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let cmdline = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        is_meant(&String::from_utf8_lossy(&cmdline))
    })
    .collect()
}

/// Whether a holder of this name belongs to a test: one of its programs, or a shell that starts them.
fn is_own(comm: &str) -> bool {
    let shells = ["sh", "bash", "cron", "xargs", "setsid"];
    NAMES.contains(&comm) || shells.contains(&comm)
}

fn accused(culprit: &Value, part: f64) -> Accused {
    let pids = culprit["pids"].as_array().unwrap().iter();
    Accused {
        job: culprit["comm"].as_str().unwrap().to_owned(),
        pids: pids.map(|pid| pid.as_u64().unwrap() as u32).collect(),
        share: culprit["share"].as_f64().unwrap() / part,
    }
}

/// Each of these sets is a culprit of its own.
fn assert_apart(accused: &[Accused], jobs: &[&BTreeSet<u32>]) {
    assert_eq!(accused.len(), jobs.len(), "{accused:?}");
    for job in jobs {
        let found = accused.iter().find(|accused| &&accused.pids == job);
        assert!(found.is_some(), "{job:?} among {accused:?}");
    }
}

fn union(a: &BTreeSet<u32>, b: &BTreeSet<u32>) -> BTreeSet<u32> {
    a.union(b).copied().collect()
}

/// A cgroup of a test, in a hierarchy that controls nothing if there is one: only its path matters.
struct Cgroup(PathBuf);

impl Cgroup {
    /// Deeper than all other cgroups of the machine, because the deepest path of a process counts.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let root = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (*fields.get(2)? == "cgroup2").then(|| fields[1].to_owned())
        })?;
        let inner = format!("tracer-test-{}/a/b", std::process::id());
        let path = PathBuf::from(root).join(inner).join(name);
        fs::create_dir_all(&path).ok()?;
        Some(Self(path))
    }

    fn take(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The member that was just killed stays for a moment: try `b`, `a` and the test's own above it again.
        let deadline = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        for above in self.0.ancestors().skip(1).take(3) {
            let _ = fs::remove_dir(above);
        }
    }
}

#[test]
fn a_pipeline_of_a_shell_is_one_job_and_its_next_line_another() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let _shell = jobs.typed("@pack LONG | @compress LONG &\n@look LONG &");
    let pipeline = union(&jobs.wait_for("pack", 1), &jobs.wait_for("compress", 1));
    let look = jobs.wait_for("look", 1);
    let server = jobs.server();
    let accused = jobs.accused(server.0.id());
    assert_apart(&accused, &[&pipeline, &look]);
    assert_eq!(accused[0].job, "pack | compress");
}

#[test]
fn target_and_backup_typed_in_one_shell_are_apart() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let server = "@server busy --threads 1 --for-ms LONG < /dev/null &";
    let lines = format!("{server}\n@pack LONG &\n@look LONG &");
    let _shell = jobs.typed(&lines);
    let (pack, look) = (jobs.wait_for("pack", 1), jobs.wait_for("look", 1));
    let server = jobs.wait_for("server", 1);
    let accused = jobs.accused(*server.first().unwrap());
    assert_apart(&accused, &[&pack, &look]);
}

#[test]
fn target_and_backup_started_by_one_script_are_apart() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let text =
        "@server busy --threads 1 --for-ms LONG < /dev/null & @pack LONG & @look LONG & wait";
    let _script = jobs.script("sh", text);
    let (pack, look) = (jobs.wait_for("pack", 1), jobs.wait_for("look", 1));
    let server = jobs.wait_for("server", 1);
    let accused = jobs.accused(*server.first().unwrap());
    assert_apart(&accused, &[&pack, &look]);
}

#[test]
fn what_xargs_runs_side_by_side_is_one_job() {
    println!("RAN groups");
    let jobs = Jobs::new();
    // None of six holds a fifth.
    let _script = jobs.script("sh", "seq 6 | xargs -P 6 -I N @compress LONG; :");
    let workers = jobs.wait_for("compress", 6);
    assert_eq!(jobs.one(&workers).job, "compress");
}

#[test]
fn the_short_lived_children_of_a_script_are_one_job() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let script = jobs.script("sh", "while :; do @compress 30; done");
    let job = jobs.one(&BTreeSet::new());
    assert!(job.job.contains("compress"), "{job:?}");
    assert!(job.pids.len() > 10, "{job:?}");
    drop(script);
}

#[test]
fn a_backup_that_became_a_daemon_is_one_job() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let mut starter = jobs.script("sh", "setsid sh -c '@pack LONG & @compress LONG &' &");
    let members = union(&jobs.wait_for("pack", 1), &jobs.wait_for("compress", 1));
    assert!(starter.0.wait().unwrap().success());
    assert_eq!(jobs.one(&members).job, "pack | compress");
}

#[test]
fn the_jobs_of_cron_are_apart() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let first = "setsid sh -c '@pack LONG & @compress LONG & wait' &";
    let _cron = jobs.script(
        "cron",
        &format!("{first} setsid sh -c '@look LONG; :' & wait"),
    );
    let first = union(&jobs.wait_for("pack", 1), &jobs.wait_for("compress", 1));
    let look = jobs.wait_for("look", 1);
    let server = jobs.server();
    assert_apart(&jobs.accused(server.0.id()), &[&first, &look]);
}

#[test]
fn workers_that_lead_sessions_of_their_own_are_their_parents_job() {
    println!("RAN groups");
    let jobs = Jobs::new();
    let mut parent = jobs.program("pack");
    let parent = Guard(parent.args([LONG, "--workers", "6"]).spawn().unwrap());
    let mut workers = jobs.wait_for("pack", 7);
    workers.remove(&parent.0.id());
    assert_eq!(jobs.one(&workers).job, "pack");
}

#[test]
fn a_unit_and_a_container_are_one_job_each() {
    let docker = format!("docker-{}.scope", "0123456789abcdef".repeat(4));
    for name in ["backup.service", &docker] {
        let Some(cgroup) = Cgroup::new(name) else {
            println!("SKIP groups: no cgroup can be made");
            return;
        };
        println!("RAN groups");
        let jobs = Jobs::new();
        // Each has a session of its own: only the cgroup joins them.
        let of = |name| Guard(jobs.program(name).arg(LONG).spawn().unwrap());
        let members = [of("pack"), of("compress")];
        let members: BTreeSet<u32> = members.each_ref().map(|member| member.0.id()).into();
        members.iter().for_each(|pid| cgroup.take(*pid));
        assert_eq!(jobs.one(&members).job, "pack | compress");
    }
}

#[test]
fn target_and_backup_in_one_unit_are_apart() {
    let Some(cgroup) = Cgroup::new("all.service") else {
        println!("SKIP groups: no cgroup can be made");
        return;
    };
    println!("RAN groups");
    let jobs = Jobs::new();
    let of = |name| Guard(jobs.program(name).arg(LONG).spawn().unwrap());
    let (pack, look, server) = (of("pack"), of("look"), jobs.server());
    for member in [&pack, &look, &server] {
        cgroup.take(member.0.id());
    }
    let alone = |guard: &Guard| BTreeSet::from([guard.0.id()]);
    let accused = jobs.accused(server.0.id());
    assert_apart(&accused, &[&alone(&pack), &alone(&look)]);
}
