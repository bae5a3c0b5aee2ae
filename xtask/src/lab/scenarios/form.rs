//! Forms that servers and backups have: pools of threads, namespaces.

use anyhow::Result;

use super::cpu::{QUEUED, compressing_for};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};

/// The scenarios.
pub const ALL: &[Scenario] = &[
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
];

/// With a pool, a connection holds its thread: as many connections as threads.
fn pool(stage: &Stage) -> Result<Scene> {
    let mut scene = compressing_for(stage, false, ["--connections=2", "--think-ms=40"])?;
    scene.server = scene.server.with(["--threads=2"]);
    // Only the client connects: a look whether the server listens would hold a thread for a moment, which is no harm.
    Ok(scene
        .guilty("hog", stage.hog(3).on_cpus(vec![stage.cpu]))
        .holds("cpu", None)
        .at_least(Meter::Queued(Who::Server), QUEUED))
}

fn pid_namespace(stage: &Stage) -> Result<Scene> {
    let files = stage.files("backed-up", 4, 8 << 20)?;
    let script = r#"exec unshare --pid --fork sh -c 'for file in "$1"/*; do
        while :; do gzip -9 -c "$file" >/dev/null; done & done; wait' backup "$1""#;
    let backup = stage.room.script(script, &files).on_cpus(vec![stage.cpu]);
    Ok(
        compressing_for(stage, false, ["--connections=2", "--think-ms=40"])?
            .guilty("backup", backup)
            .holds("cpu", None)
            .at_least(Meter::Queued(Who::Server), QUEUED),
    )
}
