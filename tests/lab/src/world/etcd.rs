//! etcd, a server of Go's that puts what many clients write into one log, and waits for the disk once for all of them.

use std::{net::SocketAddr, path::Path};

use anyhow::Result;

use super::{Room, loopback, process::Program, python};

/// Bytes that etcd takes on its disk: two parts of its log, and its database.
pub(crate) const BYTES: usize = 192 << 20;

/// An etcd of one member below `home`, with its client, which writes one key for each connection.
pub(crate) fn etcd(room: &Room, address: SocketAddr, home: &Path) -> Result<(Program, Program)> {
    let (clients, peers) = (
        format!("http://{address}"),
        format!("http://{}", loopback()?),
    );
    let server = room
        .program([
            "etcd",
            "--name=lab",
            "--logger=zap",
            "--log-level=error",
            "--data-dir",
        ])
        .with([home.join("etcd")])
        .with(["--listen-client-urls", &clients])
        .with(["--advertise-client-urls", &clients])
        .with(["--listen-peer-urls", &peers])
        .with(["--initial-advertise-peer-urls", &peers])
        .with(["--initial-cluster", &format!("lab={peers}")]);
    let client = python::client(room, address)?.with(["--protocol=etcd"]);
    Ok((server, client))
}
