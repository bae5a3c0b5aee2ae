//! Backups of several programs, and how such jobs are started.

use anyhow::Result;

use super::{
    cpu::compressors,
    disk::trees,
    network::{BACKED_UP_BYTES, FULL, net, sink},
};
use crate::lab::{
    meter::Meter,
    scenario::{Scenario, Scene, Stage},
};
use crate::world;

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "pipeline-zstd",
        about: "tar | zstd -12 | cat on the server's CPU: zstd is what hurts",
        quick: true,
        make: |stage| {
            let script =
                r#"while :; do tar cf - "$1" 2>/dev/null | zstd -q -12 | cat >/dev/null; done"#;
            compressors(stage, false, &three_times(script), |script| script)
        },
    },
    Scenario {
        name: "pipeline-md5",
        about: "tar | gzip -1 | md5sum: every stage has its part",
        quick: false,
        make: |stage| {
            let script =
                r#"while :; do tar cf - "$1" 2>/dev/null | gzip -1 | md5sum >/dev/null; done"#;
            compressors(stage, false, &three_times(script), |script| script)
        },
    },
    Scenario {
        name: "pipeline-tar-hurts",
        about: "tar | zstd -1 | socat from nginx's disk: tar is what hurts",
        quick: false,
        make: tar_hurts,
    },
    Scenario {
        name: "pipeline-zstd-hurts",
        about: "tar | zstd -15 | socat on nginx's CPU: zstd is what hurts",
        quick: false,
        make: zstd_hurts,
    },
    Scenario {
        name: "pipeline-sender-hurts",
        about: "tar | zstd -1 | socat through nginx's link: socat is what hurts",
        quick: false,
        make: sender_hurts,
    },
    Scenario {
        name: "cron-job",
        about: "compressors in a session of their own, as cron starts them",
        quick: false,
        make: |stage| {
            let script = r#"sh -c 'for file in "$1"/*; do while :; do gzip -9 -c "$file" >/dev/null; done & done; wait' job "$1""#;
            compressors(stage, false, script, |script| script.in_a_session())
        },
    },
    Scenario {
        name: "xargs-P",
        about: "find | xargs -P 4 gzip -9",
        quick: false,
        make: |stage| {
            let script = r#"while :; do find "$1" -type f -print0 | xargs -0 -P 4 -n 1 gzip -9 -c >/dev/null; done"#;
            compressors(stage, true, script, |script| script)
        },
    },
];

/// tar | zstd | socat to this address; zstd works this hard.
fn to_elsewhere(address: std::net::SocketAddr, level: u32) -> String {
    format!(r#"tar cf - "$1" 2>/dev/null | zstd -q -{level} | socat -u - TCP:{address}"#)
}

/// Of the three stages, tar has the server's disk to read; its output is little work for the others.
fn tar_hurts(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let lanes = format!(
        r#"for tree in "$1"/*; do (set -- "$tree"; {}) & done; wait"#,
        to_elsewhere(address, 1)
    );
    Ok(trees(stage, None, true, &lanes)?.with(sink(stage, address)))
}

/// The output goes nowhere in particular, without waiting; zstd needs all of a CPU that it gets.
fn zstd_hurts(stage: &Stage) -> Result<Scene> {
    let address = world::loopback()?;
    let lane = format!("while :; do {}; done", to_elsewhere(address, 15));
    let scene = compressors(stage, true, &three_times(&lane), |script| script)?;
    Ok(scene.with(sink(stage, address).on_cpus(stage.elsewhere.clone())))
}

/// The files are in memory, and zstd hardly tries. All stages wait for the link, and the server with them.
fn sender_hurts(stage: &Stage) -> Result<Scene> {
    let net = net(stage, true)?;
    let files = stage.files("backed-up", 4, BACKED_UP_BYTES)?;
    let lane = format!("while :; do {}; done", to_elsewhere(net.far, 1));
    Ok(net
        .scene
        .with(sink(stage, net.far).in_netns(&net.link.netns))
        .guilty("backup", stage.room.script(&three_times(&lane), &files))
        .holds("network", None)
        .at_least(Meter::Sent(net.link.device), FULL))
}

/// One pipeline would leave the server half of the CPU, which it hardly feels.
fn three_times(script: &str) -> String {
    format!("for lane in 1 2 3; do {script} & done; wait")
}
