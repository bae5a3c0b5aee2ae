//! Scenarios of one CPU that others want too.

use anyhow::Result;

use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world;

/// The scenarios.
pub const ALL: &[Scenario] = &[Scenario {
    name: "cpu-70-30",
    about: "two programs on the server's CPU, one with seven busy threads, one with three",
    quick: true,
    make: seven_and_three,
}];

const SERVED: usize = 16;
/// Some milliseconds of compression: more than a scheduler gives a waking thread on credit.
const SERVED_BYTES: usize = 128 << 10;
/// How much of each second the server must have queued, at least, for its CPU to be what it waits for.
pub const QUEUED: f64 = 0.2;

/// A server that compresses what it serves, on its CPU, with a client elsewhere.
pub fn compressing(stage: &Stage) -> Result<Scene> {
    let served = stage.files("served", SERVED, SERVED_BYTES)?;
    let address = world::loopback()?;
    let client = stage
        .room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=40"])
        .on_cpus(stage.elsewhere.clone());
    let server = stage
        .room
        .server(address, &served, true)
        .on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server, address, client))
}

/// All threads weigh the same, so that each program gets of the CPU what it has of the threads.
fn seven_and_three(stage: &Stage) -> Result<Scene> {
    let hog = |threads| stage.hog(threads).on_cpus(vec![stage.cpu]);
    Ok(compressing(stage)?
        .guilty("seven", hog(7))
        .guilty("three", hog(3))
        .holds("cpu", Some(|backup| Meter::OnCpu(Who::Backup(backup))))
        .at_least(Meter::Queued(Who::Server), QUEUED))
}
