//! The parts of a scene: a web server, its client, and a backup in its way.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;

use super::Args;
use crate::world::{Room, disk::Disk, process::Program};

/// A scene, ready to be played.
pub(crate) struct World {
    /// Programs that must run before the backup can, such as the sink of its streams.
    pub(crate) extras: Vec<Program>,
    /// The web server.
    pub(crate) server: Program,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The backup.
    pub(crate) backup: Program,
    /// The client, without the length of its run.
    pub(crate) client: Program,
    /// A mounted disk that is emptied from the page cache before each run, by mounting it anew.
    pub(crate) disk: Option<Disk>,
}

/// The web server for these files: the demo's own, or nginx.
pub(crate) fn server(
    args: &Args,
    room: &Room,
    address: SocketAddr,
    files: &Path,
    gzip: bool,
) -> Result<Program> {
    if args.real() {
        room.nginx(address, files, gzip)
    } else {
        Ok(room.server(address, files, gzip))
    }
}
