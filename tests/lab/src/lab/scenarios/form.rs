//! Forms that servers and backups have: threads, processes and loops, pools, namespaces.

use anyhow::Result;

use super::cpu::{QUEUED, SERVED, SERVED_BYTES, compressing_for};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{
    self,
    cgroup::Cgroup,
    python::{self, Form},
};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "form-pool",
        about: "a server with a pool of two threads for two connections, and a busy program on its CPU",
        quick: false,
        make: pool,
    },
    Scenario {
        name: "form-pid-namespace",
        about: "the compressors live in a PID namespace of their own, as in a container",
        quick: false,
        make: pid_namespace,
    },
    Scenario {
        name: "form-container",
        about: "the server lives in a PID namespace and a control group of its own, the compressors outside",
        quick: false,
        make: container,
    },
    Scenario {
        name: "form-2000-threads",
        about: "a server with a pool of 2000 threads, and a busy program on its CPU",
        quick: false,
        make: two_thousand_threads,
    },
    Scenario {
        name: "form-thread-each",
        about: "a Python server with a thread for each request, gzip -9 on its CPU",
        quick: false,
        make: |stage| python(stage, Form::Threads),
    },
    Scenario {
        name: "form-fork-each",
        about: "a Python server that forks for each request, gzip -9 on its CPU",
        quick: false,
        make: |stage| python(stage, Form::Processes),
    },
    Scenario {
        name: "form-event-loop",
        about: "a Python server with one thread for all connections, gzip -9 on its CPU",
        quick: false,
        make: |stage| python(stage, Form::Loop),
    },
    Scenario {
        name: "form-ports",
        about: "two Python event loops listen at one port, gzip -9 on their CPU",
        quick: false,
        make: |stage| python(stage, Form::Ports),
    },
    Scenario {
        name: "form-handed",
        about: "a Python server hands its connections to two processes, gzip -9 on their CPU",
        quick: false,
        make: |stage| python(stage, Form::Handed),
    },
    Scenario {
        name: "form-handed-elsewhere",
        about: "a Python server hands its connections to two processes, gzip -9 on another CPU",
        quick: false,
        make: handed_elsewhere,
    },
    Scenario {
        name: "form-inetd",
        about: "a shell script with gzip is started for each request, as by inetd; zstd -12 on their CPU",
        quick: false,
        make: inetd,
    },
];

/// The options of a client with few connections and long pauses. A CPU of its own would be enough for the server.
const CLIENT: [&str; 2] = ["--connections=2", "--think-ms=40"];

/// With a pool, a connection holds its thread: as many connections as threads.
fn pool(stage: &Stage) -> Result<Scene> {
    let mut scene = compressing_for(stage, false, CLIENT)?;
    scene.server = scene.server.with(["--threads=2"]);
    // Only the client connects. A look whether the server listens would hold a thread for a moment, which is no harm.
    Ok(scene
        .guilty("hog", stage.hog(3).on_cpus(vec![stage.cpu]))
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

fn pid_namespace(stage: &Stage) -> Result<Scene> {
    let script = r#"exec unshare --pid --fork sh -c 'for file in "$1"/*; do
        while :; do gzip -9 -c "$file" >/dev/null; done & done; wait' backup "$1""#;
    beside(stage, compressing_for(stage, false, CLIENT)?, script)
}

/// As containers start them: `/proc` is the namespace's own, the first process in it is the server.
fn container(stage: &Stage) -> Result<Scene> {
    let mut scene = compressing_for(stage, false, CLIENT)?;
    let group = Cgroup::make(&format!("{}-container", world::name()))?;
    let unshare = ["unshare", "--pid", "--mount-proc", "--fork"];
    let words = unshare.into_iter().map(Into::into);
    scene.server.words = words.chain(scene.server.words).collect();
    scene.server.groups = vec![group.procs()];
    beside(stage, scene, GZIP)
}

fn two_thousand_threads(stage: &Stage) -> Result<Scene> {
    let mut scene = compressing_for(stage, false, ["--connections=4", "--think-ms=80"])?;
    scene.server = scene.server.with(["--threads=2000"]);
    Ok(scene
        .guilty("hog", stage.hog(3).on_cpus(vec![stage.cpu]))
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

/// A thread or a process serves one request and ends; the others keep their connections. The client has these CPUs.
fn python_for(stage: &Stage, form: Form, clients: Vec<usize>) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let room = &stage.room;
    let mut server = python::server(room, form, address, &served, ["--work=gzip"])?;
    if matches!(form, Form::Threads | Form::Processes) {
        server = server.with(["--close"]);
    }
    let client = room.client(address, &served).with(CLIENT);
    let server = server.on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, client.on_cpus(clients)))
}

fn python(stage: &Stage, form: Form) -> Result<Scene> {
    beside(
        stage,
        python_for(stage, form, stage.elsewhere.clone())?,
        GZIP,
    )
}

fn handed_elsewhere(stage: &Stage) -> Result<Scene> {
    let files = stage.files("backed-up", 4, 8 << 20)?;
    let backup = stage.room.script(GZIP, &files);
    Ok(python_for(stage, Form::Handed, vec![stage.cpu])?
        .innocent("backup", backup.on_cpus(stage.elsewhere.clone()))
        .at_least(Meter::OnCpu(Who::Backup(0)), TAKEN)
        .unharmed())
}

/// It reads the head of a request to its empty line, and answers with a file.
const ONE_REQUEST: &str = r#"read -r method path rest
while read -r line && [ "${#line}" -gt 1 ]; do :; done
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n'
gzip -6 -c "$LAB_ROOT$path" >"$LAB_TMP/$$"
printf '%x\r\n' "$(stat -c %s "$LAB_TMP/$$")"
cat "$LAB_TMP/$$"
printf '\r\n0\r\n\r\n'
rm "$LAB_TMP/$$"
"#;

fn inetd(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let room = &stage.room;
    let script = room.dir.join("request.sh");
    std::fs::write(&script, ONE_REQUEST)?;
    let listen = format!(
        "TCP-LISTEN:{},bind={},reuseaddr,fork,backlog=64",
        address.port(),
        address.ip()
    );
    let server = room
        .program(["env"])
        .with([format!("LAB_ROOT={}", served.display())])
        .with([format!("LAB_TMP={}", room.subdir("answers")?.display())])
        .with(["socat", &listen])
        .with([format!("EXEC:sh {}", script.display())]);
    let client = room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=60"])
        .on_cpus(stage.elsewhere.clone());
    let scene = Scene::new(server.on_cpus(vec![stage.cpu]), address, client);
    let zstd = r#"for file in "$1"/*; do while :; do zstd -q -12 -c "$file" >/dev/null; done & done; wait"#;
    beside(stage, scene, zstd)
}

/// A compressor for each of four files.
pub(crate) const GZIP: &str =
    r#"for file in "$1"/*; do while :; do gzip -9 -c "$file" >/dev/null; done & done; wait"#;

/// With a script that compresses files below `$1` on the server's CPU, and is guilty. Threads and processes that live for one
/// request take their queueing time with them. The proof is that the script had the CPU.
pub(crate) fn beside(stage: &Stage, scene: Scene, script: &str) -> Result<Scene> {
    let files = stage.files("backed-up", 4, 8 << 20)?;
    let backup = stage.room.script(script, &files);
    Ok(scene
        .guilty("backup", backup.on_cpus(vec![stage.cpu]))
        .holds("cpu", None)
        .at_least(Meter::OnCpu(Who::Backup(0)), TAKEN))
}

/// How much of the server's CPU others take at least, in seconds per second: the server then queues behind them.
const TAKEN: f64 = 0.4;
