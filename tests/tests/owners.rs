//! Which process owns a disk request that a kernel thread submits: on a disk that only the test uses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::Write as _,
    os::unix::{fs::MetadataExt as _, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use tracer::{
    event::{DiskTotal, EarlierFile, Event},
    recording::Reader,
};
use tracer_tests::{
    cgroup::Group,
    disk::{self, LoopDisk, Mounted},
    harness::{Guard, Trace, run},
};

/// A traced process that works on a file system on a disk of the test.
struct World {
    dir: tempfile::TempDir,
    disk: LoopDisk,
}

impl World {
    fn new() -> Self {
        // Not on a RAM disk: only other file systems have direct I/O.
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = dir.path().join("disk");
        File::create(&file).unwrap().set_len(512 << 20).unwrap();
        let disk = LoopDisk::new(&file).unwrap();
        Self { dir, disk }
    }

    /// Reads the disk past the page cache, `bytes` at a time.
    fn reading(&self, bytes: u32) -> Command {
        let mut command = Command::new("dd");
        command.args(["of=/dev/null", "iflag=direct", "status=none"]);
        command.args([format!("if={}", self.disk.path()), format!("bs={bytes}")]);
        command
    }

    /// Starts a command that may read only so many bytes of the disk a second.
    fn limited(&self, group: &Group, bytes: u64, mut command: Command) -> Child {
        let dev = self.disk.dev().unwrap();
        let device = format!("{}:{}", dev >> 20, dev & 0xf_ffff);
        group.limit_reads(&device, bytes).unwrap();
        let members = group.members();
        // SAFETY: between fork and exec the closure only opens and writes a file, and this thread alone allocates.
        unsafe { command.pre_exec(move || fs::write(&members, "0")) };
        command.spawn().unwrap()
    }

    /// Traces while `work` runs. Returns what each process had of the disk, and the writes that the kernel counted.
    fn traced(&self, work: impl FnOnce()) -> (BTreeMap<u32, DiskTotal>, u64) {
        let recording = self.dir.path().join("trace.rec");
        let target = Guard(Command::new("sleep").arg("300").spawn().unwrap());
        let pid = target.0.id().to_string();
        let recorded = recording.to_str().unwrap();
        let args = ["--pid", &pid, "--duration", "120s", "--record", recorded];
        let before = self.disk.stats().unwrap();
        let trace = Trace::start(&args).unwrap();
        work();
        let after = self.disk.stats().unwrap();
        trace.stop().unwrap();
        let dev = self.disk.dev().unwrap();
        let totals = self.recorded(|event| match event {
            Event::DiskTotal(total) if total.dev == dev => Some((total.pid, total)),
            _ => None,
        });
        (totals.into_iter().collect(), after[3] - before[3])
    }

    /// What is chosen of the events of the last trace.
    fn recorded<T>(&self, choose: impl FnMut(Event) -> Option<T>) -> Vec<T> {
        let recording = self.dir.path().join("trace.rec");
        let events = Reader::<Event>::open(&recording).unwrap();
        events.map(Result::unwrap).filter_map(choose).collect()
    }

    /// The files of which that trace saw pages written back that were dirty before, the largest first.
    fn earlier_files(&self) -> Vec<EarlierFile> {
        let dev = self.disk.dev().unwrap();
        self.recorded(|event| match event {
            Event::EarlierFile(file) if file.dev == dev && !file.is_disk => Some(*file),
            _ => None,
        })
    }
}

/// Has a child of its own write one file, and returns the child's pid.
fn child(script: &str, point: &Path) -> u32 {
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {script}")])
        .current_dir(point)
        .spawn()
        .unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success(), "{script}");
    pid
}

#[test]
fn pages_written_back_belong_to_who_dirtied_them() {
    println!("RAN block");
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    let (mut large, mut small) = (0, 0);
    let (totals, kernel) = world.traced(|| {
        large = child(
            "dd if=/dev/zero of=large bs=1M count=96 status=none",
            &point,
        );
        small = child(
            "dd if=/dev/zero of=small bs=1M count=32 status=none",
            &point,
        );
        disk::run("sync", &["-f", point.to_str().unwrap()]).unwrap();
    });
    let of = |pid| totals.get(&pid).map_or(0, |total| total.write_bytes);
    let all: u64 = totals.values().map(|total| total.write_bytes).sum();
    println!(
        "large {} small {} all {all} diskstats {kernel}",
        of(large),
        of(small)
    );
    assert_eq!(all, kernel);
    assert!(of(large).abs_diff(96 << 20) < 1 << 20);
    assert!(of(small).abs_diff(32 << 20) < 1 << 20);
}

#[test]
fn files_that_have_no_room_still_belong_to_who_dirtied_them() {
    println!("RAN block");
    /// More than the kernel half remembers on a small machine, by a prime.
    const FILES: u32 = 25_013;
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    let mut maker = 0;
    let (totals, kernel) = world.traced(|| {
        let script = "sh -c 'for i in $(seq 199); do mkdir $i; done; \
            i=0; while [ $i -lt FILES ]; do echo $i >$((1 + i % 199))/$i; i=$((i + 1)); done; :'";
        maker = child(&script.replace("FILES", &FILES.to_string()), &point);
        disk::run("sync", &["-f", point.to_str().unwrap()]).unwrap();
    });
    let written: u64 = totals.values().map(|total| total.write_bytes).sum();
    let of = |pid: &u32| totals.get(pid).map_or(0, |total| total.write_bytes);
    println!(
        "written {written} (diskstats {kernel}), by the shell {}",
        of(&maker)
    );
    // Some kernels run no tracing program while the first process is current: a completion in an interrupt then stays unseen.
    assert!(written.abs_diff(kernel) * 100 < kernel);
    // A page for each file. The rest is the file system's own tables, which its threads write too.
    let pages = u64::from(FILES) * 4096;
    assert!(of(&maker) >= pages, "{} of {pages}", of(&maker));
}

#[test]
fn pages_dirtied_before_the_trace_belong_to_nobody_who_is_seen() {
    println!("RAN block");
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    child(
        "dd if=/dev/zero of=before bs=1M count=61 status=none",
        &point,
    );
    let mut later = 0;
    let (totals, kernel) = world.traced(|| {
        later = child(
            "dd if=/dev/zero of=later bs=1M count=31 status=none",
            &point,
        );
        disk::run("sync", &["-f", point.to_str().unwrap()]).unwrap();
    });
    let of = |pid| totals.get(&pid).map_or(0, |total| total.write_bytes);
    let all: u64 = totals.values().map(|total| total.write_bytes).sum();
    println!(
        "before {} later {} all {all} diskstats {kernel}",
        of(0),
        of(later)
    );
    assert_eq!(all, kernel);
    // Metadata, too, may have been dirty before.
    assert!((61 << 20..63 << 20).contains(&of(0)));
    assert!(of(later).abs_diff(31 << 20) < 1 << 20);
    let files = world.earlier_files();
    println!("{files:?}");
    let before = &files[0];
    assert_eq!(before.name, "before");
    assert_eq!(before.inode, inode_of(&point.join("before")));
    assert!((61 << 20..63 << 20).contains(&before.bytes));
    assert!(!before.open && before.writer.is_none());
    assert!(files.iter().all(|file| file.name != "later"));
}

#[test]
fn who_still_has_a_file_open_that_was_dirtied_before_the_trace_is_known() {
    println!("RAN block");
    const BYTES: usize = 31 << 20;
    /// Bytes that the kernel half keeps of a name.
    const KEPT: usize = 39;
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    let name = "a name that is much longer than what is kept of it";
    let mut file = File::create(point.join(name)).unwrap();
    file.write_all(&vec![7; BYTES]).unwrap();
    world.traced(|| disk::run("sync", &["-f", point.to_str().unwrap()]).unwrap());
    let files = world.earlier_files();
    println!("{files:?}");
    let first = &files[0];
    assert_eq!(first.name, name[..KEPT]);
    assert_eq!(first.inode, inode_of(&point.join(name)));
    assert!(first.bytes.abs_diff(BYTES as u64) < 1 << 20);
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let own = (std::process::id(), comm.trim_end().to_owned());
    assert_eq!((first.open, &first.writer), (true, &Some(own)));
    // It was open until now.
    drop(file);
}

#[test]
fn a_journal_commit_belongs_to_those_who_have_a_part_in_it() {
    println!("RAN block");
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    let mut maker = 0;
    let (totals, kernel) = world.traced(|| {
        maker = child(
            "sh -c 'for i in $(seq 20); do mkdir dir$i; done; for i in $(seq 3000); do : > dir1/file$i; done; :'",
            &point,
        );
        let mut file = File::create(point.join("own")).unwrap();
        file.write_all(b"one block of the test itself").unwrap();
        file.sync_all().unwrap();
    });
    let written: u64 = totals.values().map(|total| total.write_bytes).sum();
    let of = |pid: &u32| totals.get(pid).map_or(0, |total| total.write_bytes);
    let journal: u64 = totals.keys().filter(|pid| is_journal(**pid)).map(of).sum();
    let (own, shell) = (of(&std::process::id()), of(&maker));
    println!(
        "written {written} (diskstats {kernel}), by the shell {shell}, the test {own}, the journal's thread {journal}"
    );
    // A request may be merged from bios of several owners: each of its bytes has one owner.
    assert_eq!(written, kernel);
    assert!(journal * 20 < written, "left with the journal's thread");
    assert!(shell * 10 > written * 3, "2,000 files");
    assert!(own > 0 && own * 10 < written, "one block and its inode");
}

#[test]
fn who_is_held_back_by_its_own_limit_stands_behind_nobody() {
    println!("RAN block");
    let world = World::new();
    let group = Group::for_disks().unwrap();
    let limited = Guard(world.limited(&group, 2 << 20, world.reading(64 << 10)));
    // A harmless reader of the same disk that reads as often as it likes.
    let _other = Guard(world.reading(64 << 10).spawn().unwrap());
    let pid = limited.0.id().to_string();
    let report = run(&[
        "attach",
        "--pid",
        &pid,
        "--duration",
        "3s",
        "--output",
        "json",
    ])
    .unwrap();
    let report = report.json().unwrap();
    drop(limited);
    let verdict = &report["verdict"];
    println!("{}", verdict["sentence"]);
    assert_eq!(verdict["resource"], "disk");
    assert_eq!(verdict["cause"], "quota");
    assert_eq!(verdict["culprits"].as_array().unwrap().len(), 0);
    assert!(verdict["self_share"].as_f64().unwrap() > 0.9);
}

#[test]
fn what_a_limit_held_back_belongs_to_who_is_limited() {
    println!("RAN block");
    const READS: u64 = 127;
    let world = World::new();
    let group = Group::for_disks().unwrap();
    let mut reader = 0;
    let (totals, _) = world.traced(|| {
        let mut reading = world.reading(64 << 10);
        reading.arg(format!("count={READS}"));
        let mut child = world.limited(&group, 2 << 20, reading);
        reader = child.id();
        assert!(child.wait().unwrap().success());
    });
    let all: u64 = totals.values().map(|total| total.reads).sum();
    let own = totals.get(&reader).map_or(0, |total| total.reads);
    println!("{own} of {all} reads are the limited reader's");
    assert!(all >= READS);
    // The tracer needs up to 0.1 s to find the group's owner, and does not know it for requests before.
    assert!(own * 10 >= READS * 8);
}

#[test]
fn whoever_writes_a_file_or_a_file_system_out_shows_the_disk_before_it_waits() {
    println!("RAN block");
    const FILES: usize = 11;
    const FILE_SYSTEMS: usize = 7;
    let world = World::new();
    let point = world.dir.path().join("mount");
    let _mounted = Mounted::ext4(&world.disk, &point).unwrap();
    let script = format!(
        "read go
        for i in $(seq {FILES}); do dd if=/dev/zero of=file bs=1 count=1 conv=fsync status=none; done
        for i in $(seq {FILE_SYSTEMS}); do echo $i >other; sync -f .; done"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(&point);
    let mut target = Guard(shell.stdin(Stdio::piped()).spawn().unwrap());
    let recording = world.dir.path().join("trace.rec");
    let pid = target.0.id().to_string();
    let recorded = recording.to_str().unwrap();
    let args = ["--pid", &pid, "--duration", "60s", "--record", recorded];
    let trace = Trace::start(&args).unwrap();
    let mut go = target.0.stdin.take().unwrap();
    go.write_all(b"go\n").unwrap();
    assert!(target.0.wait().unwrap().success());
    trace.stop().unwrap();
    let dev = world.disk.dev().unwrap();
    let events = Reader::<Event>::open(&recording).unwrap();
    let shown: BTreeSet<u32> = events
        .map(Result::unwrap)
        .filter_map(|event| match event {
            Event::Sync(sync) if sync.dev == dev => Some(sync.pid),
            _ => None,
        })
        .collect();
    println!("{} processes wrote the disk out", shown.len());
    assert_eq!(shown.len(), FILES + FILE_SYSTEMS);
}

fn inode_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn is_journal(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.starts_with("jbd2/"))
}
