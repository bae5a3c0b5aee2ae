//! The scene of the slow disk: server and backup read one loop disk with cold files.

use std::fs;

use anyhow::Result;
use tracer_tests::slow_disk::SPEED;

use super::{
    Args,
    world::{World, server},
};
use crate::world::{self, Room, disk, files};

/// The server's files: small ones, as on web servers.
const SERVED: usize = 384;
const SERVED_BYTES: usize = 64 << 10;
/// The backup's files, in directories that it reads in parallel.
const TREES: usize = 4;
const TREE_FILE_BYTES: usize = 16 << 20;
/// How long the backup runs besides the tracer, in seconds, with room to spare.
const BESIDES_SECONDS: u64 = 10;

/// Makes the scene.
pub(crate) fn make(args: &Args, room: &Room) -> Result<World> {
    // The backup must not come to its end, nor read anything twice: the second time it would read memory.
    let seconds = args.duration.as_secs() + BESIDES_SECONDS;
    let files_each = usize::try_from(SPEED * seconds)? / TREES / TREE_FILE_BYTES + 1;
    let disk_bytes = SERVED * SERVED_BYTES + TREES * files_each * TREE_FILE_BYTES;
    let bytes = disk::bytes_for(disk_bytes as u64);
    let disk = disk::attach(room, "disk", bytes, args.scheduler.as_deref())?;

    let (served, trees) = (disk.point.join("served"), disk.point.join("trees"));
    fs::create_dir(&served)?;
    files::write_files(&served, SERVED, SERVED_BYTES)?;
    for tree in 0..TREES {
        let tree = trees.join(tree.to_string());
        fs::create_dir_all(&tree)?;
        files::write_files(&tree, files_each, TREE_FILE_BYTES)?;
    }
    room.group
        .limit_reads(&disk::whole_disk(&room.dir)?, SPEED)?;

    let address = world::loopback()?;
    let client = room
        .client(address, &served)
        .with(["--cold", "--connections=4", "--think-ms=20"]);
    // `tar` to /dev/null would notice and not read at all.
    let tar =
        r#"for tree in "$1"/*; do tar cf - "$tree" 2>/dev/null | cat >/dev/null & done; wait"#;
    let backup = if args.real() {
        room.script(tar, &trees)
    } else {
        room.backup("read", &trees)
    };
    let server = server(args, room, address, &served, false)?;
    Ok(World {
        extras: Vec::new(),
        server,
        address,
        backup,
        client,
        disk: Some(disk),
    })
}
