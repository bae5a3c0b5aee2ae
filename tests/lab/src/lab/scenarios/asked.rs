//! Scenarios of a server that waits for another process in other ways than the web's: a pipe, a Unix socket, a queue, a permission, a
//! child. Who is slow by himself is to be named. Who keeps him from the disk is to be accused.

use std::path::Path;

use anyhow::Result;

use super::asynchronous::{with_tar_elsewhere, with_tar_here};
use crate::lab::{
    meter::{Meter, Who},
    scenario::{Scenario, Scene, Stage},
};
use crate::world::{self, meeting, process::Program, python};

/// The scenarios.
pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "asked-pipe-slow",
        about: "each request writes to a pipe, whose reader takes 40 ms for each line",
        quick: false,
        make: |stage| slow(stage, "pipe"),
    },
    Scenario {
        name: "asked-pipe-tar",
        about: "each request writes to a pipe, whose reader reads a file for each line; tar reads the same disk",
        quick: false,
        make: |stage| beside_tar(stage, "pipe"),
    },
    Scenario {
        name: "asked-pipe-fast",
        about: "each request writes to a pipe, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "pipe"),
    },
    Scenario {
        name: "asked-pipe-stuck",
        about: "each request writes to a pipe, whose reader has stopped to read before the trace",
        quick: false,
        make: |stage| stuck(stage, "pipe"),
    },
    Scenario {
        name: "asked-log-slow",
        about: "each request sends a datagram to a Unix socket, as to /dev/log, whose reader takes 40 ms for each",
        quick: false,
        make: |stage| slow(stage, "datagram"),
    },
    Scenario {
        name: "asked-log-fast",
        about: "each request sends a datagram to a Unix socket, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "datagram"),
    },
    Scenario {
        name: "asked-log-stuck",
        about: "each request sends a datagram to a Unix socket, whose reader has stopped to read before the trace",
        quick: false,
        make: |stage| stuck(stage, "datagram"),
    },
    Scenario {
        name: "asked-stream-slow",
        about: "each request writes to a Unix stream, as to the journal, whose reader takes 40 ms for each piece",
        quick: false,
        make: |stage| slow(stage, "stream"),
    },
    Scenario {
        name: "asked-stream-stuck",
        about: "each request writes to a Unix stream, whose reader has stopped to read before the trace",
        quick: false,
        make: |stage| stuck(stage, "stream"),
    },
    Scenario {
        name: "asked-stream-tar",
        about: "each request writes to a Unix stream, whose reader reads a file for each piece; tar reads the same disk",
        quick: false,
        make: |stage| beside_tar(stage, "stream"),
    },
    Scenario {
        name: "asked-stream-fast",
        about: "each request writes to a Unix stream, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "stream"),
    },
    Scenario {
        name: "asked-packet-slow",
        about: "each request sends a packet over a Unix socket of SOCK_SEQPACKET, whose reader takes 40 ms for each",
        quick: false,
        make: |stage| slow(stage, "packet"),
    },
    Scenario {
        name: "asked-packet-fast",
        about: "each request sends a packet over a Unix socket of SOCK_SEQPACKET, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "packet"),
    },
    Scenario {
        name: "asked-feed-slow",
        about: "each request sends a line over TCP, as to a collector of logs, whose reader takes 40 ms for each",
        quick: false,
        make: |stage| slow(stage, "feed"),
    },
    Scenario {
        name: "asked-feed-tar",
        about: "each request sends a line over TCP, whose reader reads a file for each; tar reads the same disk",
        quick: false,
        make: |stage| beside_tar(stage, "feed"),
    },
    Scenario {
        name: "asked-feed-fast",
        about: "each request sends a line over TCP, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "feed"),
    },
    Scenario {
        name: "asked-feed-stuck",
        about: "each request sends a line over TCP, whose reader has stopped to read before the trace",
        quick: false,
        make: |stage| stuck(stage, "feed"),
    },
    Scenario {
        name: "asked-scanner-slow",
        about: "each request opens a file, and a scanner takes 40 ms to permit that",
        quick: false,
        make: |stage| slow(stage, "scanner"),
    },
    Scenario {
        name: "asked-scanner-tar",
        about: "each request opens a file, and a scanner reads another one before it permits that; tar reads the same disk",
        quick: false,
        make: |stage| beside_tar(stage, "scanner"),
    },
    Scenario {
        name: "asked-scanner-fast",
        about: "each request opens a file, and a scanner permits that at once; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "scanner"),
    },
    Scenario {
        name: "asked-scanner-stuck",
        about: "each request opens a file, and a scanner has stopped to permit that before the trace",
        quick: false,
        make: |stage| stuck(stage, "scanner"),
    },
    Scenario {
        name: "asked-queue-slow",
        about: "each request sends a message to a queue of POSIX, whose reader takes 40 ms for each",
        quick: false,
        make: |stage| slow(stage, "queue"),
    },
    Scenario {
        name: "asked-queue-fast",
        about: "each request sends a message to a queue of POSIX, whose reader is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "queue"),
    },
    Scenario {
        name: "asked-queue-stuck",
        about: "each request sends a message to a queue of POSIX, whose reader has stopped to read before the trace",
        quick: false,
        make: |stage| stuck(stage, "queue"),
    },
    Scenario {
        name: "asked-helper-slow",
        about: "each request asks another process over a pair of pipes, which takes 40 ms for the answer",
        quick: false,
        make: |stage| slow(stage, "helper"),
    },
    Scenario {
        name: "asked-helper-tar",
        about: "each request asks another process over a pair of pipes, which reads a file; tar reads the same disk",
        quick: false,
        make: |stage| beside_tar(stage, "helper"),
    },
    Scenario {
        name: "asked-helper-fast",
        about: "each request asks another process over a pair of pipes, which is fast; a backup is busy elsewhere",
        quick: false,
        make: |stage| fast(stage, "helper"),
    },
    Scenario {
        name: "asked-child-tar",
        about: "each request starts a child that reads a file; tar reads the same disk",
        quick: false,
        make: |stage| with_tar_here(stage, |file| child(stage, &reads(file))),
    },
    Scenario {
        name: "asked-child-elsewhere",
        about: "each request starts a child that reads a file; tar reads another disk",
        quick: false,
        make: child_elsewhere,
    },
    Scenario {
        name: "asked-child-sleeps",
        about: "each request starts a child that sleeps for 50 ms; a backup is busy elsewhere",
        quick: false,
        make: child_sleeps,
    },
];

/// How long an answer usually takes at least where the other side is slow, and at most where it is not, in milliseconds.
const SLOW_MS: f64 = 30.0;
const FAST_MS: f64 = 20.0;

/// A server that asks in this way, and whom it asks, with these options of his. And where they meet.
fn asking(stage: &Stage, way: &str, options: &[&str]) -> Result<(Scene, Program, String)> {
    let room = &stage.room;
    let here = || vec![stage.cpu];
    let place = meeting::place(room, way)?;
    let asked = python::asked(room, way, &place)?.with(options.iter().copied());
    let address = world::loopback()?;
    let mut server = python::asker(room, way, address)?.with(["--at", &place]);
    if way == "pipe" {
        server = meeting::into_pipe(room, &place, server);
    }
    // The helper has one pair of pipes: of two questions at a time, one would wait for the other.
    let connections = if way == "helper" { 1 } else { 4 };
    let client = python::client(room, address)?
        .with([format!("--connections={connections}")])
        .on_cpus(here());
    let scene = Scene::new(server.on_cpus(here()), address, client);
    Ok((scene, asked.on_cpus(here()), place))
}

fn slow(stage: &Stage, way: &str) -> Result<Scene> {
    let (scene, asked, at) = asking(stage, way, &["--sleep-ms=40"])?;
    let scene = scene.waits_for(asked).beside_hog(stage);
    // Who writes to a stream is woken once much of the buffer is free again: most requests find room then, and few wait for long. So is who
    // sends packets over a connection.
    Ok(match way {
        "stream" | "packet" => scene,
        "feed" => scene.waits_for_address(at),
        _ => scene.takes(SLOW_MS),
    })
}

fn fast(stage: &Stage, way: &str) -> Result<Scene> {
    let (scene, asked, _) = asking(stage, way, &[])?;
    Ok(scene
        .with(asked)
        .takes_at_most(FAST_MS)
        .unharmed()
        .beside_hog(stage))
}

fn beside_tar(stage: &Stage, way: &str) -> Result<Scene> {
    with_tar_here(stage, |file| {
        let file = format!("--file={}", file.display());
        let (scene, asked, _) = asking(stage, way, &[file.as_str()])?;
        Ok(scene.with(asked))
    })
}

/// Who has it stopped is not in the way himself: he has asked for it long ago.
fn stuck(stage: &Stage, way: &str) -> Result<Scene> {
    let enough = stage.room.dir.join("enough");
    let until = format!("--until={}", enough.display());
    let (scene, asked, at) = asking(stage, way, &[until.as_str()])?;
    let stop = stage
        .room
        .script(r#"touch "$1"; exec sleep 300"#, &enough)
        .on_cpus(stage.elsewhere.clone());
    let scene = scene.waits_for(asked);
    let scene = match way {
        "feed" => scene.waits_for_address(at),
        _ => scene,
    };
    Ok(scene
        .innocent("who stops it", stop)
        .harmed()
        .beside_hog(stage))
}

/// A server that starts this command for each request.
fn child(stage: &Stage, command: &str) -> Result<Scene> {
    let address = world::loopback()?;
    let room = &stage.room;
    let server = python::asker(room, "child", address)?.with(["--run", command]);
    let client = python::client(room, address)?.on_cpus(vec![stage.cpu]);
    Ok(Scene::new(server.on_cpus(vec![stage.cpu]), address, client))
}

/// It reads a thousandth of a file of 64 MiB, another one each time, past the page cache.
fn reads(file: &Path) -> String {
    format!(
        "dd if={} of=/dev/null bs=64k count=1 skip={{n}} iflag=direct status=none",
        file.display()
    )
}

fn child_elsewhere(stage: &Stage) -> Result<Scene> {
    let (scene, other) = with_tar_elsewhere(stage, |file| child(stage, &reads(file)))?;
    // Its children's reads are its own, once it has waited for them.
    Ok(scene
        .at_least(Meter::Read(Who::Server), 4e5)
        .unharmed()
        .with_disk(other))
}

fn child_sleeps(stage: &Stage) -> Result<Scene> {
    Ok(child(stage, "sleep 0.05")?
        .takes(SLOW_MS)
        .unharmed()
        .beside_hog(stage))
}
