//! What the tracer may do while it traces, and what it can do without root.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, Stdio},
    ptr, thread,
    time::{Duration, Instant},
};

use tracer_tests::harness::{Busy, Trace, figure, path, run, switching, tracer};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tracer-guest-smoke");
const PAIRS: &str = env!("CARGO_BIN_EXE_bench-pairs");

const NOBODY: u32 = 65_534;

/// Numbers of `linux/capability.h`.
const CHOWN: u32 = 0;
const DAC_OVERRIDE: u32 = 1;
const DAC_READ_SEARCH: u32 = 2;
const FOWNER: u32 = 3;
const IPC_LOCK: u32 = 14;
const SYS_PTRACE: u32 = 19;
const SYS_ADMIN: u32 = 21;
const SYS_RESOURCE: u32 = 24;
const SYSLOG: u32 = 34;
const PERFMON: u32 = 38;
const BPF: u32 = 39;

/// The smallest size that a recording may have, bytes, and the option that asks for it.
const SMALL: u64 = 16 << 20;
const SMALLEST: &str = "16M";
/// The third file of a recording takes the name, and the second one takes the place of the first.
const THIRD: u16 = 2;
/// So long it may take until a target that does its utmost has filled two files of half that size.
const FILLED: Duration = Duration::from_secs(200);

fn mask(capabilities: &[u32]) -> u64 {
    let bits = capabilities.iter().map(|number| 1_u64 << number);
    bits.fold(0, |all, bit| all | bit)
}

/// A line of a `status` file, without its name.
fn line<'a>(status: &'a str, name: &str) -> &'a str {
    let mut lines = status.lines();
    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_default().trim()
}

/// The `status` file of each thread of a process.
fn threads(pid: u32) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")));
    // A thread may end meanwhile.
    status.filter_map(Result::ok).collect()
}

/// The effective capabilities of any thread, once no thread has others than these. What attaching started needs a moment to end.
fn settle(pid: u32, most: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let threads = threads(pid);
        let mut all = 0;
        for status in &threads {
            let set = |name| u64::from_str_radix(line(status, name), 16).unwrap();
            all |= set("CapEff") | set("CapPrm") | set("CapInh") | set("CapAmb");
            assert_eq!(line(status, "NoNewPrivs"), "1", "{status}");
            assert_eq!(line(status, "Seccomp"), "2", "{status}");
        }
        if all & !most == 0 {
            return all;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{all:x}: {threads:?}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a trace that records may do while it traces.
fn tracing() -> Vec<u32> {
    let mut tracing = vec![BPF, SYS_PTRACE, DAC_READ_SEARCH, SYS_ADMIN, IPC_LOCK];
    if std::env::var_os("SUDO_UID").is_some() {
        // The next file of the recording is given to the caller.
        tracing.push(CHOWN);
    }
    tracing
}

#[test]
fn while_it_traces_no_thread_may_do_more_than_a_trace_needs() {
    println!("RAN privileges");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let (recording, picture) = (dir.path().join("a.rec"), dir.path().join("a.svg"));
    let tracing = tracing();
    let foreign = [&tracing[..], &[DAC_OVERRIDE, FOWNER]].concat();
    // Who has root's folder needs nothing to write there; in another's, files take their names only with a capability.
    for (owner, kept) in [(0, tracing), (NOBODY, foreign)] {
        chown(dir.path(), Some(owner), Some(owner)).unwrap();
        let args = [
            "--pid",
            &pid,
            "--duration",
            "60s",
            "--output",
            "json",
            "--record",
            path(&recording),
            "--flamegraph",
            path(&picture),
        ];
        let trace = Trace::start(&args).unwrap();
        let has = settle(trace.pid(), mask(&kept));
        assert_eq!(has & mask(&[DAC_OVERRIDE]) != 0, owner == NOBODY);
        let ended = trace.stop().unwrap();
        ended.json().unwrap();
        let drawn = fs::read_to_string(&picture).unwrap();
        assert!(drawn.contains("<svg"), "{drawn}");
        assert_eq!(fs::metadata(&picture).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(run(&["report", path(&recording)]).unwrap().code, Some(0));
        fs::remove_file(&picture).unwrap();
    }
}

/// How many files of a recording there were before the one that has its name; `None` before it has any.
fn number(recording: &Path) -> Option<u16> {
    // Magic, version, number.
    let mut header = [0; 12];
    let mut file = File::open(recording).ok()?;
    file.read_exact(&mut header).ok()?;
    let is_recording = header.starts_with(b"TRACEREC");
    is_recording.then(|| u16::from_le_bytes([header[10], header[11]]))
}

/// The length of the window that a report on a recording covers, ns. It says that the begin of the trace is not in it.
fn newest_ns(recording: &Path) -> u64 {
    let ended = run(&["report", path(recording), "--output", "json"]).unwrap();
    let report = ended.json().unwrap();
    let missing = report["losses"]["missing_probes"].to_string();
    assert!(missing.contains("--max-size"), "{missing}");
    figure(&report, "/window/duration_ns").unwrap()
}

#[test]
fn a_confined_trace_begins_the_next_files_of_its_recording_and_keeps_the_newest() {
    println!("RAN privileges");
    let load = switching(PAIRS).unwrap();
    let pid = load.0.id().to_string();
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("a.rec");
    let mut args = vec!["--pid", &pid, "--duration", "250s", "--output", "json"];
    args.extend(["--record", path(&recording), "--max-size", SMALLEST]);
    let trace = Trace::start(&args).unwrap();
    let kept = mask(&tracing());
    settle(trace.pid(), kept);
    let begun = Instant::now();
    while number(&recording).is_none_or(|number| number < THIRD) {
        let elapsed = begun.elapsed();
        assert!(elapsed < FILLED, "file {:?}", number(&recording));
        thread::sleep(Duration::from_millis(50));
    }
    println!("the third file begins after {:?}", begun.elapsed());
    // The thread that has just begun a file, too.
    settle(trace.pid(), kept);
    let live = trace.stop().unwrap().json().unwrap();
    let whole_ns = figure(&live, "/window/duration_ns").unwrap();
    let old = dir.path().join("a.rec.old");
    let sizes = [&recording, &old].map(|file| fs::metadata(file).unwrap().len());
    assert!(sizes[1] >= SMALL / 2, "{sizes:?}");
    // Whether a file is full is looked at once a second.
    assert!(sizes.iter().sum::<u64>() < 2 * SMALL, "{sizes:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    let both_ns = newest_ns(&recording);
    fs::remove_file(&old).unwrap();
    let alone_ns = newest_ns(&recording);
    println!("of {whole_ns} ns both files have {both_ns}, the newest {alone_ns}");
    assert!(0 < alone_ns && alone_ns < both_ns && both_ns < whole_ns);
}

#[test]
fn a_report_and_a_diff_can_open_nothing_more_and_have_no_capability() {
    println!("RAN privileges");
    let busy = Busy::idle(PROGRAM).unwrap();
    let pid = busy.pid().to_string();
    let dir = tempfile::tempdir().unwrap();
    let [recording, folded, picture] =
        ["a.rec", "a.folded", "a.svg"].map(|name| dir.path().join(name));
    let args = [
        "attach",
        "--pid",
        &pid,
        "--duration",
        "1s",
        "--record",
        path(&recording),
    ];
    assert_eq!(run(&args).unwrap().code, Some(0));
    let expected = run(&["report", path(&recording), "--output", "json"]).unwrap();
    assert_eq!(expected.code, Some(0), "{}", expected.stderr);
    let pipe = dir.path().join("pipe");
    let args = ["--output", "json", "--folded", path(&folded)];
    let args = [args.as_slice(), &["--flamegraph", path(&picture)]].concat();
    let report = [["report", path(&pipe)].as_slice(), &args].concat();
    assert_eq!(confined(&report, &pipe, &recording), expected.stdout);
    assert_eq!(fs::metadata(&folded).unwrap().mode() & 0o7777, 0o600);
    assert!(fs::read_to_string(&picture).unwrap().contains("<svg"));
    // The first recording is open before it may open nothing more.
    let diff = ["diff", path(&recording), path(&pipe)];
    let diff = [diff.as_slice(), &args].concat();
    let found = confined(&diff, &pipe, &recording);
    assert!(found.contains("tracer.diff/1"), "{found}");
}

/// The output of a command that reads the recording from this pipe, and that may do nothing else meanwhile.
fn confined(args: &[&str], pipe: &Path, recording: &Path) -> String {
    // From a pipe, so that it can be looked at before it has read everything.
    let _ = fs::remove_file(pipe);
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let mut command = Command::new(tracer());
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let mut writer = fs::OpenOptions::new().write(true).open(pipe).unwrap();
    let bytes = fs::read(recording).unwrap();
    // The header.
    let (begin, rest) = bytes.split_at(12);
    writer.write_all(begin).unwrap();
    let begun = Instant::now();
    loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        if line(&status, "Seccomp") == "2" {
            assert_eq!(line(&status, "NoNewPrivs"), "1");
            assert_eq!(line(&status, "CapPrm"), "0000000000000000");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{status}");
        thread::sleep(Duration::from_millis(1));
    }
    writer.write_all(rest).unwrap();
    drop(writer);
    let ended = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

/// A command that runs as nobody, with these capabilities and no others.
fn as_nobody(command: &mut Command, capabilities: &[u32]) {
    let capabilities = capabilities.to_vec();
    let drop_root = move || {
        // SAFETY: no pointers.
        checked(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1_u64, 0_u64, 0_u64, 0_u64) })?;
        // SAFETY: no group is read.
        checked(unsafe { libc::setgroups(0, ptr::null()) })?;
        // SAFETY: no pointers.
        checked(unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) })?;
        // SAFETY: no pointers.
        checked(unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) })?;
        let (version, mask) = (0x2008_0522_u32, mask(&capabilities));
        let (low, high) = (mask as u32, (mask >> 32) as u32);
        // Effective, permitted, inheritable; the lower words first.
        let (header, sets) = ([version, 0], [low, low, low, high, high, high]);
        // SAFETY: both have the layout of this version of the call.
        let failed = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
        checked(failed as libc::c_int)?;
        for number in &capabilities {
            let raise = libc::PR_CAP_AMBIENT_RAISE as u64;
            // SAFETY: no pointers.
            checked(unsafe {
                libc::prctl(
                    libc::PR_CAP_AMBIENT,
                    raise,
                    u64::from(*number),
                    0_u64,
                    0_u64,
                )
            })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(drop_root) };
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives a command a `/proc` that shows each user only the processes that he may trace.
fn with_hidden_processes(command: &mut Command) {
    let hide = || {
        // SAFETY: no pointers.
        checked(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        let (none, apart) = (ptr::null::<libc::c_char>(), libc::MS_REC | libc::MS_PRIVATE);
        // SAFETY: a valid string, and the kernel takes no others for this.
        checked(unsafe { libc::mount(none, c"/".as_ptr(), none, apart, none.cast()) })?;
        let (proc, options) = (c"proc".as_ptr(), c"hidepid=2".as_ptr().cast());
        // SAFETY: valid strings.
        checked(unsafe { libc::mount(proc, c"/proc".as_ptr(), proc, 0, options) })
    };
    // SAFETY: between fork and exec it makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(hide) };
}

#[test]
fn of_a_process_that_is_hidden_nobody_says_that_it_is_not_there() {
    println!("RAN privileges");
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let binary = copy(dir.path());
    let attach = |named: &[u32]| {
        let mut command = Command::new(&binary);
        command.args(["attach", "--duration", "1s", "--pid"]);
        command.arg(busy.pid().to_string());
        with_hidden_processes(&mut command);
        as_nobody(&mut command, named);
        let ended = command.output().unwrap();
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), text)
    };
    let (code, text) = attach(&[BPF, PERFMON]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("hidepid") && text.contains("CAP_SYS_PTRACE"),
        "{text}"
    );
    // Before 5.11 it is refused for another reason: maps count against a limit.
    let (code, text) = attach(&[BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH]);
    assert!(code.is_some() && !text.contains("hidepid"), "{text}");
}

/// The tracer where everybody may execute it.
fn copy(dir: &Path) -> std::path::PathBuf {
    let binary = dir.join("tracer");
    fs::copy(tracer(), &binary).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    binary
}

#[test]
fn named_capabilities_do_instead_of_root() {
    println!("RAN privileges");
    const NAMED: [u32; 5] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, SYSLOG];
    // For kernels before 5.11, where maps count against a limit. A container's root may lack it.
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = u64::from_str_radix(line(&own, "CapPrm"), 16).unwrap();
    let raised = SYS_RESOURCE..SYS_RESOURCE + u32::from(own >> SYS_RESOURCE & 1 == 1);
    let named: Vec<u32> = NAMED.into_iter().chain(raised).collect();
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(copy(dir.path()));
    command
        .args(["attach", "--duration", "1s", "--output", "json", "--pid"])
        .arg(busy.pid().to_string());
    as_nobody(&mut command, &named);
    let ended = command.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(0), "{text}");
    let report: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(report["schema"], "tracer.report/1");
}

#[test]
fn a_recording_is_whole_where_memory_is_locked_and_no_more_may_be() {
    const LOCKING: [u32; 5] = [BPF, PERFMON, SYS_PTRACE, DAC_READ_SEARCH, IPC_LOCK];
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let binary = copy(dir.path());
    let folder = dir.path().join("of-nobody");
    fs::create_dir(&folder).unwrap();
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let recording = folder.join("a.rec");
    let mut command = Command::new(binary);
    command
        .args(["attach", "--duration", "1s", "--record"])
        .arg(&recording)
        .arg("--pid")
        .arg(busy.pid().to_string());
    let nothing = || {
        let limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        // SAFETY: a valid pointer.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) })
    };
    // SAFETY: it makes one system call, and allocates nothing.
    unsafe { command.pre_exec(nothing) };
    as_nobody(&mut command, &LOCKING);
    let ended = command.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    if ended.status.code() == Some(3) {
        println!(
            "SKIP privileges: this kernel counts maps against the limit, as before 5.11: {text}"
        );
        return;
    }
    println!("RAN privileges");
    assert_eq!(ended.status.code(), Some(0), "{text}");
    assert_eq!(run(&["report", path(&recording)]).unwrap().code, Some(0));
}

#[test]
fn what_is_missing_is_named_with_its_cost() {
    println!("RAN privileges");
    let busy = Busy::idle(PROGRAM).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let binary = copy(dir.path());
    let mut command = Command::new(&binary);
    command
        .args(["attach", "--duration", "1s", "--pid"])
        .arg(busy.pid().to_string());
    as_nobody(&mut command, &[BPF]);
    let ended = command.output().unwrap();
    let text = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(3), "{text}");
    assert!(text.contains("lacks CAP_PERFMON:"), "{text}");
    let mut command = Command::new(&binary);
    command.args(["doctor", "--output", "json"]);
    as_nobody(&mut command, &[BPF]);
    let ended = command.output().unwrap();
    assert_eq!(ended.status.code(), Some(3));
    let doctor: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    let rows = doctor["capabilities"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["capability"] == name).unwrap();
    assert_eq!(row("CAP_BPF")["ok"], true);
    assert_eq!(row("CAP_PERFMON")["ok"], false);
    assert_eq!(row("CAP_PERFMON")["required"], true);
    assert_eq!(row("CAP_SYS_PTRACE")["ok"], false);
    assert!(
        row("CAP_SYS_PTRACE")["cost"]
            .as_str()
            .is_some_and(|cost| !cost.is_empty())
    );
}
