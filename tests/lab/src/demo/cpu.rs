//! The scene of the shared CPU: the server compresses what it serves, the backup what it saves, on one CPU.

use anyhow::{Context as _, Result};

use super::{
    Args,
    world::{World, server},
};
use crate::world::{self, Room, files, process::usable_cpus};

const SERVED: usize = 16;
/// Some milliseconds of compression: more than a scheduler gives a waking thread on credit.
const SERVED_BYTES: usize = 128 << 10;
const BACKED_UP: usize = 4;
const BACKED_UP_BYTES: usize = 8 << 20;

/// Makes the scene.
pub(crate) fn make(args: &Args, room: &Room) -> Result<World> {
    let (served, backed_up) = (room.subdir("served")?, room.subdir("backed-up")?);
    files::write_files(&served, SERVED, SERVED_BYTES)?;
    files::write_files(&backed_up, BACKED_UP, BACKED_UP_BYTES)?;

    let mut others = usable_cpus()?;
    let shared = others.pop().context("there is no usable CPU")?;
    let address = world::loopback()?;
    let client = room
        .client(address, &served)
        .with(["--connections=2", "--think-ms=40"]);
    // On a machine with one CPU the client must share it too.
    let client = if others.is_empty() {
        client
    } else {
        client.on_cpus(others)
    };
    let gzip =
        r#"for file in "$1"/*; do while :; do gzip -9 -c "$file" >/dev/null; done & done; wait"#;
    let backup = if args.real() {
        room.script(gzip, &backed_up)
    } else {
        room.backup("compress", &backed_up)
    };
    Ok(World {
        extras: Vec::new(),
        server: server(args, room, address, &served, true)?.on_cpus(vec![shared]),
        address,
        backup: backup.on_cpus(vec![shared]),
        client,
        disk: None,
    })
}
