//! The process family: each fork, exec and exit of children that `/proc` no longer knows when the trace ends.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use tracer::{event::Event, recording::Reader};
use tracer_tests::harness::{Guard, Trace};

/// Children that are born and gone while the trace runs: a prime number.
const CHILDREN: usize = 101;

/// What a recording has of the children of `parent`, by pid.
#[derive(Debug, Default)]
struct Children {
    forked: BTreeSet<u32>,
    executed: BTreeSet<u32>,
    ended: BTreeSet<u32>,
}

fn children(recording: &Path, parent: u32) -> Children {
    let mut found = Children::default();
    for event in Reader::<Event>::open(recording).unwrap() {
        match event.unwrap() {
            Event::Fork(fork) if fork.parent_pid == parent && fork.pid == fork.tid => {
                found.forked.insert(fork.pid);
            }
            Event::Exec(exec) if found.forked.contains(&exec.pid) => {
                assert_eq!(exec.comm, "true");
                found.executed.insert(exec.pid);
            }
            Event::Exit(exit) if found.forked.contains(&exit.pid) => {
                found.ended.insert(exit.pid);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn children_that_are_gone_when_it_ends_are_all_known() {
    println!("RAN proc");
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("trace.rec");
    let script = format!(
        "read go; i=0; while [ $i -lt {CHILDREN} ]; do /bin/true; i=$((i+1)); done; echo done; read end"
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut shell = Guard(shell.spawn().unwrap());
    let pid = shell.0.id();
    let file = recording.to_str().unwrap();
    let trace = Trace::start(&[
        "--pid",
        &pid.to_string(),
        "--duration",
        "120s",
        "--record",
        file,
    ])
    .unwrap();
    shell.0.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    let mut said = String::new();
    let out = shell.0.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut said).unwrap();
    assert_eq!(said, "done\n");
    trace.stop().unwrap();
    let found = children(&recording, pid);
    let counts = [&found.forked, &found.executed, &found.ended].map(BTreeSet::len);
    println!("forks, execs, exits: {counts:?}, of {CHILDREN}");
    assert_eq!(counts, [CHILDREN; 3]);
}
