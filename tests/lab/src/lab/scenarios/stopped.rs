//! Scenarios of a server that somebody stops: with signals, in a frozen group, with a debugger. And of one that nobody stops long.

use std::path::PathBuf;

use anyhow::Result;

use super::cpu::{SERVED, SERVED_BYTES};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{self, cgroup::Cgroup};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "stopped-signals",
        about: "a script stops the server for half of the time, as cpulimit does",
        quick: false,
        make: |stage| Ok(signalled(stage, LIMITER)?.holds("stopped", None)),
    },
    Scenario {
        name: "stopped-kill",
        about: "the same by the command kill: each is gone when the stop ends",
        quick: false,
        make: |stage| Ok(signalled(stage, COMMAND)?.holds("stopped", None)),
    },
    Scenario {
        name: "stopped-frozen",
        about: "a script freezes the server's group for half of the time",
        quick: false,
        make: frozen,
    },
    Scenario {
        name: "stopped-strace",
        about: "strace is on the server, and lets each system call wait for 3 ms",
        quick: false,
        make: traced,
    },
    Scenario {
        name: "stopped-briefly",
        about: "a script stops the server once a second and lets it go on at once; a busy program is elsewhere",
        quick: false,
        make: briefly,
    },
    Scenario {
        name: "stopped-neighbour",
        about: "a script stops and freezes another program for half of the time, and not the server",
        quick: false,
        make: neighbour,
    },
    Scenario {
        name: "stopped-strace-neighbour",
        about: "strace is on another program, and not on the server",
        quick: false,
        make: traced_neighbour,
    },
];

/// `$1` has the pid of the server. `kill` is the shell's own.
const LIMITER: &str = r#"pid=$(cat "$1")
while :; do kill -STOP "$pid"; sleep 0.1; kill -CONT "$pid"; sleep 0.1; done"#;
const COMMAND: &str = r#"pid=$(cat "$1")
while :; do /bin/kill -STOP "$pid"; sleep 0.1; /bin/kill -CONT "$pid"; sleep 0.1; done"#;
const BRIEFLY: &str = r#"pid=$(cat "$1")
while sleep 1; do kill -STOP "$pid"; kill -CONT "$pid"; done"#;
/// `$1` is the file, `$2` and `$3` are the words that freeze and let go.
const FREEZER: &str = r#"while :; do echo "$2" >"$1"; sleep 0.2; echo "$3" >"$1"; sleep 0.2; done"#;
/// `$1` has the pid. A slow terminal would let it wait as well.
const STRACE: &str =
    r#"exec strace -f -q -o /dev/null -e inject=all:delay_exit=3000 -p "$(cat "$1")""#;

/// The same, once that process is there: the file may be of an earlier run.
const STRACE_LATER: &str = r#"until kill -0 "$(cat "$1" 2>/dev/null)" 2>/dev/null; do sleep 0.1; done
exec strace -f -q -o /dev/null -e inject=all:delay_exit=3000 -p "$(cat "$1")""#;
/// Does nothing but system calls, once it has written its pid.
const CALLS: &str = r#"echo $$ >"$1"; exec dd if=/dev/zero of=/dev/null bs=4k status=none"#;

/// A busy program is at least this busy, in seconds per second.
const BUSY: f64 = 0.5;
/// One that is stopped for half of the time is at most this busy.
const HALF: f64 = 0.75;

/// A server with its client. Returns the file with the server's pid, too.
fn served(stage: &Stage) -> Result<(Scene, PathBuf)> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let pid = stage.room.dir.join("server.pid");
    let own_pid = r#"echo $$ >"$1"; shift; exec "$@""#;
    let mut server = stage.room.script(own_pid, &pid);
    server
        .words
        .extend(stage.room.server(address, &served, false).words);
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=10"])
        .on_cpus(stage.elsewhere.clone());
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client);
    Ok((scene, pid))
}

fn signalled(stage: &Stage, script: &str) -> Result<Scene> {
    let (scene, pid) = served(stage)?;
    let script = stage.room.script(script, &pid);
    Ok(scene.guilty("stopper", script.on_cpus(stage.elsewhere.clone())))
}

fn frozen(stage: &Stage) -> Result<Scene> {
    let (mut scene, _) = served(stage)?;
    let group = Cgroup::to_freeze(&format!("{}-frozen", world::name()))?;
    scene.server = scene.server.also_in(group.procs());
    let (file, words) = group.freezer();
    let script = stage.room.script(FREEZER, &file).with(words);
    Ok(scene
        .guilty("freezer", script.on_cpus(stage.elsewhere.clone()))
        .holds("stopped", None))
}

fn traced(stage: &Stage) -> Result<Scene> {
    let (scene, pid) = served(stage)?;
    let strace = stage.room.script(STRACE, &pid);
    Ok(scene
        .guilty("strace", strace.on_cpus(stage.elsewhere.clone()))
        .holds("stopped", None))
}

fn briefly(stage: &Stage) -> Result<Scene> {
    let (scene, pid) = served(stage)?;
    let script = stage.room.script(BRIEFLY, &pid);
    Ok(scene
        .innocent("hog", stage.hog(1).on_cpus(stage.elsewhere.clone()))
        .innocent("stopper", script.on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Backup(0)), BUSY)
        // The client shares its CPU with them, the server does not.
        .at_most(Meter::Queued(Who::Server), 0.05))
}

/// The busy program writes its pid, joins the group, and is stopped and frozen in it.
fn neighbour(stage: &Stage) -> Result<Scene> {
    let (mut scene, _) = served(stage)?;
    // With the server, because beside the busy program the client would wait for that one itself.
    scene.client = scene.client.map(|client| client.on_cpus(vec![stage.cpu]));
    let group = Cgroup::to_freeze(&format!("{}-frozen", world::name()))?;
    let (file, words) = group.freezer();
    let hog = stage.hog(1).on_cpus(stage.elsewhere.clone());
    let freezer = stage.room.script(FREEZER, &file).with(words);
    Ok(scene
        .innocent("hog", hog.also_in(group.procs()))
        .innocent("freezer", freezer.on_cpus(stage.elsewhere.clone()))
        .at_most(Meter::OnCpu(Who::Backup(0)), HALF)
        .unharmed())
}

/// Without strace the other program would be busy all the time.
fn traced_neighbour(stage: &Stage) -> Result<Scene> {
    let (mut scene, _) = served(stage)?;
    // As in `neighbour`.
    scene.client = scene.client.map(|client| client.on_cpus(vec![stage.cpu]));
    let pid = stage.room.dir.join("neighbour.pid");
    let elsewhere = || stage.elsewhere.clone();
    let calls = stage.room.script(CALLS, &pid).on_cpus(elsewhere());
    let strace = stage.room.script(STRACE_LATER, &pid).on_cpus(elsewhere());
    Ok(scene
        .innocent("dd", calls)
        .innocent("strace", strace)
        .at_most(Meter::OnCpu(Who::Backup(0)), HALF)
        .unharmed())
}
