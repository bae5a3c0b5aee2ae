//! Scenarios of locks that others have: on files, in memory that processes share, and on a database in a file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tracer_tests::slow_disk::SPEED;

use super::{
    asynchronous::slowly_written,
    cpu::{SERVED, SERVED_BYTES},
};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    self,
    process::Program,
    python::{self, Form},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "lock-file-held",
        about: "each request locks a file, which flock(1) holds for a job nearly all the time",
        quick: false,
        make: |stage| {
            held(
                stage,
                "flock",
                r#"while :; do flock "$1/lock" sleep 1.5; sleep .2; done"#,
            )
        },
    },
    Scenario {
        name: "lock-file-shell",
        about: "the same, with a script that takes the lock through a process that ends at once",
        quick: false,
        make: |stage| {
            let script =
                r#"exec 9>>"$1/lock"; while :; do flock 9; sleep 1.5; flock -u 9; sleep .2; done"#;
            held(stage, "flock", script)
        },
    },
    Scenario {
        name: "lock-file-tried",
        about: "each request tries to lock a file again and again, which flock(1) holds for a job nearly all the time",
        quick: false,
        make: |stage| {
            held(
                stage,
                "try",
                r#"while :; do flock "$1/lock" sleep 1.5; sleep .2; done"#,
            )
        },
    },
    Scenario {
        name: "lock-convoy",
        about: "a job holds the file that each request locks; a monitor often waits before the server and lets it go at once",
        quick: false,
        make: convoy,
    },
    Scenario {
        name: "lock-memory-held",
        about: "each request locks a mutex in shared memory, which another program holds nearly all the time",
        quick: false,
        make: |stage| taken(stage, "mutex"),
    },
    Scenario {
        name: "lock-pi-held",
        about: "the same with a mutex that inherits priorities and is robust, so that the kernel itself knows who has it",
        quick: false,
        make: |stage| taken(stage, "pi"),
    },
    Scenario {
        name: "lock-pi-brief",
        about: "the same, but the other program gives it back at once; a backup is busy elsewhere",
        quick: false,
        make: |stage| taken_briefly(stage, "pi"),
    },
    Scenario {
        name: "lock-semaphore-held",
        about: "each request passes a semaphore in shared memory, which another program has taken nearly all the time",
        quick: false,
        make: |stage| taken(stage, "semaphore"),
    },
    Scenario {
        name: "lock-semaphore-brief",
        about: "the same, but the other program gives it back at once; a backup is busy elsewhere",
        quick: false,
        make: |stage| taken_briefly(stage, "semaphore"),
    },
    Scenario {
        name: "lock-sqlite-held",
        about: "each request writes to a database of SQLite's, on which another program has a transaction nearly all the time",
        quick: false,
        make: |stage| taken(stage, "sqlite"),
    },
    Scenario {
        name: "lock-sqlite-brief",
        about: "the same, but the other program's transactions are short; a backup is busy elsewhere",
        quick: false,
        make: |stage| taken_briefly(stage, "sqlite"),
    },
    Scenario {
        name: "lock-lease-held",
        about: "each request opens a file, on which another program has a lease nearly all the time",
        quick: false,
        make: |stage| taken(stage, "lease"),
    },
    Scenario {
        name: "lock-lease-brief",
        about: "the same, but the other program gives it up at once; a backup is busy elsewhere",
        quick: false,
        make: |stage| taken_briefly(stage, "lease"),
    },
    Scenario {
        name: "lock-directory-held",
        about: "each request looks for a new name in a directory, in which a job renames a file, and waits for a slow disk each time",
        quick: false,
        make: |stage| renamed(stage, true),
    },
    Scenario {
        name: "lock-directory-apart",
        about: "the same, but the job renames its file in another directory of that disk",
        quick: false,
        make: |stage| renamed(stage, false),
    },
    Scenario {
        name: "lock-file-own",
        about: "the server's own threads wait for each other's lock on a file; a backup is busy elsewhere",
        quick: false,
        make: |stage| own(stage, "flock"),
    },
    Scenario {
        name: "lock-file-own-tried",
        about: "the same, and each thread tries again and again",
        quick: false,
        make: |stage| own(stage, "try"),
    },
    Scenario {
        name: "lock-file-child",
        about: "each request locks a file, which a child of the server holds for a job of its own; a backup is busy elsewhere",
        quick: false,
        make: child,
    },
    Scenario {
        name: "lock-file-brief",
        about: "a job locks the file of each request now and then, so briefly that it is hardly felt",
        quick: false,
        make: brief,
    },
];

/// How busy a busy backup is at least, in seconds per second.
const BUSY: f64 = 0.5;

/// A directory with an empty file to lock.
fn locked(stage: &Stage) -> Result<PathBuf> {
    let dir = stage.room.subdir("locked")?;
    fs::write(dir.join("lock"), [0; 4096])?;
    Ok(dir)
}

/// A server of threads that locks the file for each request, and sleeps with it.
fn serving(stage: &Stage, dir: &Path, work: &str, sleep_ms: u32) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let room = &stage.room;
    let options = [
        &format!("--work={work}"),
        &format!("--lock={}", dir.join("lock").display()),
        &format!("--sleep-ms={sleep_ms}"),
    ];
    let server = python::server(
        room,
        Form::Threads,
        address,
        &served,
        options.map(String::as_str),
    )?;
    let client = room
        .client(address, &served)
        .with(["--connections=4", "--think-ms=20"])
        .on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

fn elsewhere(stage: &Stage, program: Program) -> Program {
    program.on_cpus(stage.elsewhere.clone())
}

fn held(stage: &Stage, work: &str, script: &str) -> Result<Scene> {
    let dir = locked(stage)?;
    let job = elsewhere(stage, stage.room.script(script, &dir));
    let scene = serving(stage, &dir, work, 0)?;
    Ok(scene.guilty("job", job).holds("lock", None))
}

fn convoy(stage: &Stage) -> Result<Scene> {
    let dir = locked(stage)?;
    let job = r#"while :; do flock "$1/lock" sleep .5; sleep .05; done"#;
    let monitor = r#"while :; do flock "$1/lock" true; sleep .01; done"#;
    let [job, monitor] =
        [job, monitor].map(|script| elsewhere(stage, stage.room.script(script, &dir)));
    let scene = serving(stage, &dir, "flock", 0)?;
    let scene = scene.guilty("job", job).innocent("monitor", monitor);
    Ok(scene.holds("lock", None))
}

/// A lock of this kind, which another program holds.
fn taken(stage: &Stage, kind: &str) -> Result<Scene> {
    let dir = locked(stage)?;
    let holder = python::holder(&stage.room, kind, &dir.join("lock"), ["1.5", "0.2"])?;
    let scene = serving(stage, &dir, kind, 0)?;
    let scene = scene.guilty("holder", elsewhere(stage, holder));
    Ok(scene.holds("lock", None))
}

fn taken_briefly(stage: &Stage, kind: &str) -> Result<Scene> {
    let dir = locked(stage)?;
    let holder = python::holder(&stage.room, kind, &dir.join("lock"), ["0.001", "1"])?;
    let scene = serving(stage, &dir, kind, 0)?;
    Ok(scene
        .innocent("hog", elsewhere(stage, stage.hog(1)))
        .innocent("holder", elsewhere(stage, holder))
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed())
}

/// Renames a file again and again. Each change of such a directory (`chattr +D`) is on the disk before the kernel lets its lock go.
const RENAMES: &str = r#"
import os, subprocess, sys

directory = sys.argv[1]
subprocess.run(["chattr", "+D", directory], check=True)
here, there = (os.path.join(directory, name) for name in ("here", "there"))
open(here, "w").close()
while True:
    os.rename(here, there)
    os.rename(there, here)
"#;

/// Each answer takes the server so much longer than its look for a name, in ms. The look alone takes half a millisecond with all that is
/// around it, and on a small machine twice that in any company: whether a job slows it would not show.
const LOOKUP_MS: u32 = 1;

/// The server only reads: it waits for no disk itself.
fn renamed(stage: &Stage, in_its_directory: bool) -> Result<Scene> {
    let [disk, _below] = slowly_written(stage, "disk", 256 << 20, SPEED)?;
    let [its, other] = ["its", "other"].map(|name| disk.point.join(name));
    for dir in [&its, &other] {
        fs::create_dir(dir)?;
    }
    let dir = if in_its_directory { &its } else { &other };
    let job = stage.room.program(["python3", "-c", RENAMES]);
    let job = elsewhere(stage, job.with([dir.as_path()]));
    let busy = Meter::DiskBusy(disk.name().to_owned());
    let scene = serving(stage, &its, "lookup", LOOKUP_MS)?.at_least(busy, 0.05);
    let scene = match in_its_directory {
        true => scene.guilty("job", job).holds("lock", None),
        false => scene.innocent("job", job).unharmed(),
    };
    Ok(scene.with_disk(disk))
}

fn own(stage: &Stage, work: &str) -> Result<Scene> {
    let dir = locked(stage)?;
    let scene = serving(stage, &dir, work, 15)?;
    Ok(scene
        .innocent("hog", elsewhere(stage, stage.hog(1)))
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        .unharmed())
}

/// `$1` is a directory with a file, which a child holds nearly all the time; the rest is the server.
const WITH_CHILD: &str =
    r#"dir="$1"; shift; while :; do flock "$dir/lock" sleep 1; done & exec "$@""#;
/// What the child runs: the server's own command line does not have these words.
const CHILD: &str = "sleep 1";
/// A request waits for the end of the child's second, and most of these have just begun.
const AT_LEAST_MS: f64 = 300.0;

fn child(stage: &Stage) -> Result<Scene> {
    let dir = locked(stage)?;
    let mut scene = serving(stage, &dir, "flock", 0)?;
    let sh = stage.room.program(["sh", "-c", WITH_CHILD, "server"]);
    let server = std::mem::replace(&mut scene.server.words, sh.with([&dir]).words);
    scene.server.words.extend(server);
    let scene = scene.owes("lock", CHILD).unharmed().takes(AT_LEAST_MS);
    Ok(scene.beside_hog(stage))
}

fn brief(stage: &Stage) -> Result<Scene> {
    let dir = locked(stage)?;
    let job = r#"while :; do flock "$1/lock" true; sleep .3; done"#;
    let job = elsewhere(stage, stage.room.script(job, &dir));
    let scene = serving(stage, &dir, "flock", 10)?;
    Ok(scene.innocent("job", job).unharmed())
}
