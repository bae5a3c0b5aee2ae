//! The block family against `/proc/diskstats`, on a disk that only the test uses.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tracer::{
    event::{DiskTotal, Event},
    recording::Reader,
};
use tracer_tests::harness::{Guard, Trace, difference};

/// A loop device on a file of its own.
struct LoopDisk(String);

impl LoopDisk {
    fn new(file: &Path) -> Self {
        let output = Command::new("losetup")
            .args(["--find", "--show", "--direct-io=on"])
            .arg(file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "losetup: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }

    fn name(&self) -> &str {
        self.0.trim_start_matches("/dev/")
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Reads and writes completed, and bytes of both.
fn diskstats(name: &str) -> [u64; 4] {
    let text = fs::read_to_string("/proc/diskstats").unwrap();
    let line = text
        .lines()
        .find(|line| line.split_whitespace().nth(2) == Some(name))
        .unwrap();
    let field = |n: usize| {
        line.split_whitespace()
            .nth(n)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    [field(3), field(7), 512 * field(5), 512 * field(9)]
}

fn dd(args: &[&str]) {
    let output = Command::new("dd").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "dd {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Sum of a recording's totals of one disk.
fn totals(recording: &Path, dev: u32) -> [u64; 4] {
    let events = Reader::<Event>::open(recording)
        .unwrap()
        .map(Result::unwrap);
    let totals = events.filter_map(|event| match event {
        Event::DiskTotal(total) if total.dev == dev => Some(total),
        _ => None,
    });
    totals.fold(
        [0; 4],
        |[a, b, c, d],
         DiskTotal {
             reads,
             writes,
             read_bytes,
             write_bytes,
             ..
         }| { [a + reads, b + writes, c + read_bytes, d + write_bytes] },
    )
}

/// Device number as the kernel packs it, from sysfs.
fn dev(name: &str) -> u32 {
    let text = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    let (major, minor) = text.trim().split_once(':').unwrap();
    major.parse::<u32>().unwrap() << 20 | minor.parse::<u32>().unwrap()
}

#[test]
fn ios_and_bytes_of_a_disk_are_the_kernels_own() {
    println!("RAN block");
    // Not on a RAM disk: direct I/O needs a file system that has it.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file: PathBuf = dir.path().join("disk");
    fs::write(&file, vec![7; 64 << 20]).unwrap();
    let disk = LoopDisk::new(&file);
    let recording = dir.path().join("trace.rec");
    let target = Guard(Command::new("sleep").arg("300").spawn().unwrap());
    let args = [
        "--pid",
        &target.0.id().to_string(),
        "--duration",
        "120s",
        "--record",
        recording.to_str().unwrap(),
    ];
    let before = diskstats(disk.name());
    let trace = Trace::start(&args).unwrap();
    dd(&[
        &format!("if={}", disk.0),
        "of=/dev/null",
        "bs=4k",
        "count=1009",
        "iflag=direct",
    ]);
    dd(&[
        "if=/dev/zero",
        &format!("of={}", disk.0),
        "bs=64k",
        "count=503",
        "oflag=direct",
    ]);
    dd(&[
        &format!("if={}", disk.0),
        "of=/dev/null",
        "bs=1M",
        "count=61",
        "iflag=direct",
    ]);
    let after = diskstats(disk.name());
    trace.stop().unwrap();
    let kernel: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    let ours = totals(&recording, dev(disk.name()));
    println!("reads, writes, bytes read, bytes written: diskstats {kernel:?}, tracer {ours:?}");
    assert!(kernel[0] >= 1009 + 61 && kernel[1] >= 503);
    for (kernel, ours) in kernel.into_iter().zip(ours) {
        assert!(difference(kernel, ours) <= 0.01, "{kernel} and {ours}");
    }
}
