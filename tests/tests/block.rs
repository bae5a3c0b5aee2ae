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
use tracer_tests::{
    disk::{LoopDisk, run},
    harness::{Guard, Trace, difference},
};

fn dd(args: &[&str]) {
    run("dd", args).unwrap();
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

#[test]
fn ios_and_bytes_of_a_disk_are_the_kernels_own() {
    println!("RAN block");
    // Not on a RAM disk: only other file systems have direct I/O.
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let file: PathBuf = dir.path().join("disk");
    fs::write(&file, vec![7; 64 << 20]).unwrap();
    let disk = LoopDisk::new(&file).unwrap();
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
    let before = disk.stats().unwrap();
    let trace = Trace::start(&args).unwrap();
    dd(&[
        &format!("if={}", disk.path()),
        "of=/dev/null",
        "bs=4k",
        "count=1009",
        "iflag=direct",
    ]);
    dd(&[
        "if=/dev/zero",
        &format!("of={}", disk.path()),
        "bs=64k",
        "count=503",
        "oflag=direct",
    ]);
    dd(&[
        &format!("if={}", disk.path()),
        "of=/dev/null",
        "bs=1M",
        "count=61",
        "iflag=direct",
    ]);
    let after = disk.stats().unwrap();
    trace.stop().unwrap();
    let kernel: Vec<u64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    let ours = totals(&recording, disk.dev().unwrap());
    println!("reads, writes, bytes read, bytes written: diskstats {kernel:?}, tracer {ours:?}");
    assert!(kernel[0] >= 1009 + 61 && kernel[1] >= 503);
    for (kernel, ours) in kernel.into_iter().zip(ours) {
        assert!(difference(kernel, ours) <= 0.01, "{kernel} and {ours}");
    }
}
