//! The scene of the full link: server and backup send through one shaped veth link. Their client and sink are at its other end, in
//! a network namespace of its own.

use std::net::SocketAddr;

use anyhow::Result;

use super::{
    Args,
    world::{World, server},
};
use crate::world::{Room, files, link, nginx};

const SERVED: usize = 16;
const SERVED_BYTES: usize = 64 << 10;
const BACKED_UP: usize = 4;
const BACKED_UP_BYTES: usize = 16 << 20;
const SERVER_PORT: u16 = 8080;
const SINK_PORT: u16 = 8873;

/// Makes the scene.
pub(crate) fn make(args: &Args, room: &Room) -> Result<World> {
    let (near, far) = link::addresses()?;
    let netns = link::link(near, far)?.netns;
    let (served, backed_up) = (room.subdir("served")?, room.subdir("backed-up")?);
    files::write_files(&served, SERVED, SERVED_BYTES)?;
    files::write_files(&backed_up, BACKED_UP, BACKED_UP_BYTES)?;

    let address = SocketAddr::from((near, SERVER_PORT));
    let sink = SocketAddr::from((far, SINK_PORT));
    let client = room
        .client(address, &served)
        .with(["--connections=4", "--think-ms=100"]);
    let (receiver, backup) = if args.real() {
        nginx::rsync(room, sink, &backed_up)?
    } else {
        let receiver = room.own("demo-sink").with(["--listen", &sink.to_string()]);
        (
            receiver,
            room.backup("send", &backed_up)
                .with(["--to", &sink.to_string()]),
        )
    };
    Ok(World {
        extras: vec![receiver.in_netns(&netns)],
        server: server(args, room, address, &served, false)?,
        address,
        backup,
        client: client.in_netns(&netns),
        disk: None,
    })
}
