//! Servers whose connections are served by one thread or by a runtime's few, while other threads wait for files: node, Caddy, tokio,
//! nginx with threads, Python's asyncio, and the JVM.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    Room, nginx,
    process::Program,
    python::{self, Form},
};

const NODE: &str = include_str!("node.js");
const JAVA: &str = include_str!("Serve.java");

/// A runtime, as a server of files at an address.
pub(crate) type Make = fn(&Room, SocketAddr, &Path) -> Result<Program>;

/// node reads files in a pool of threads, and sends what it has read from its loop.
pub(crate) fn node(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    let script = source(room, "node.js", NODE)?;
    Ok(room
        .program(["node"])
        .with([script])
        .with([address.to_string()])
        .with([files]))
}

/// A source in the room.
fn source(room: &Room, name: &str, text: &str) -> Result<PathBuf> {
    let path = room.dir.join(name);
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

/// A thread of the JVM's finds out which connection has something to read, and one of a pool reads it, and the file, and sends that. It
/// leaves no file of its own elsewhere, and no part of an answer waits for the client to have had the one before.
pub(crate) fn java(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    Ok(room
        .program(["java", "-XX:-UsePerfData", "-Xmx256m"])
        .with(["-Dsun.net.httpserver.nodelay=true"])
        .with([source(room, "Serve.java", JAVA)?])
        .with([address.to_string()])
        .with([files]))
}

/// The same as [`node`], and it compresses in its pool.
pub(crate) fn node_gzip(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    Ok(node(room, address, files)?.with(["gzip"]))
}

/// Caddy is Go's: whichever thread runs a connection's routine reads the file, and a poller wakes routines for sockets.
pub(crate) fn caddy(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    // It wants a home, and keeps certificates there when it has any.
    let home = |name: &str| {
        let mut setting = OsString::from(format!("{name}="));
        setting.push(&room.dir);
        setting
    };
    let homes = ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"].map(home);
    Ok(room
        .program(["env"])
        .with(homes)
        .with(["caddy", "file-server", "--listen", &address.to_string()])
        .with([OsString::from("--root"), files.into()]))
}

/// tokio's runtime of two threads, with a pool for what blocks.
pub(crate) fn tokio(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    Ok(room
        .own("demo-tokio")
        .with(["--threads=2", "--listen", &address.to_string()])
        .with([OsString::from("--root"), files.into()]))
}

/// The same, and it compresses in that pool.
pub(crate) fn tokio_gzip(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    Ok(tokio(room, address, files)?.with(["--gzip"]))
}

/// nginx sends files from a pool of threads.
pub(crate) fn nginx_threads(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    let files = files.display();
    let site = format!("gzip off; aio threads; server {{ listen {address}; root {files}; }}");
    Ok(room.nginx_with(nginx::site(&room.dir, &site)?))
}

/// Python's asyncio reads files in an executor's threads.
pub(crate) fn asyncio(room: &Room, address: SocketAddr, files: &Path) -> Result<Program> {
    python::server(room, Form::Loop, address, files, ["--pool"])
}
