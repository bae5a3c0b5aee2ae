//! Servers as people write them in Python: its own in three forms, one that pushes, one that asks others, one of a file system, and
//! an application under gunicorn. Beside them, whom they ask, a patient client, and programs that are in the way of servers.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Room, ledger, made::Made, process::Program};

/// The option of a client that is there to the end of any play.
const TO_THE_END_MS: &str = "--for-ms=300000";

const SERVER: &str = include_str!("server.py");
const FILES: &str = include_str!("files.py");
const PUSH: &str = include_str!("push.py");
const LOCK: &str = include_str!("lock.py");
const HOLD: &str = include_str!("hold.py");
const AIO: &str = include_str!("aio.py");
const ASKED: &str = include_str!("asked.py");
const ASKER: &str = include_str!("asker.py");
const CLIENT: &str = include_str!("client.py");
const TUNNEL: &str = include_str!("tunnel.py");
const APPLICATION: &str = include_str!("application.py");

/// How a Python server serves connections.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// A thread for each.
    Threads,
    /// A process for each, forked as it comes.
    Processes,
    /// One thread for all (`asyncio`).
    Loop,
    /// Two such processes, each with a socket of its own at the same port (`SO_REUSEPORT`).
    Ports,
    /// A process takes connections, and hands them to two others (`SCM_RIGHTS`), which have a thread for each.
    Handed,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Loop => "loop",
            Self::Ports => "ports",
            Self::Handed => "handed",
        }
    }
}

/// A server of these files with more options of `server.py`, such as `--work=gzip`.
pub(crate) fn server<const N: usize>(
    room: &Room,
    form: Form,
    address: SocketAddr,
    files: &Path,
    options: [&str; N],
) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "server.py", SERVER)?])
        .with([form.name(), &address.to_string()])
        .with([files])
        .with(options))
}

/// An application under gunicorn, a master and two workers; `work` is its work for each answer.
pub(crate) fn gunicorn(room: &Room, bind: &str, files: &Path, work: &str) -> Result<Program> {
    let dir = script(room, "application.py", APPLICATION)?;
    let dir = dir.parent().context("a file lies in a directory")?;
    let mut root = OsString::from("LAB_ROOT=");
    root.push(files);
    Ok(room
        .program(["gunicorn", "--workers=2", "--log-level=warning"])
        .with(["--bind", bind])
        .with([OsString::from("--chdir"), dir.into()])
        .with([OsString::from("--worker-tmp-dir"), dir.into()])
        .with([OsString::from("--env"), root])
        .with(["--env", &format!("LAB_WORK={work}")])
        .with(["application:app"]))
}

/// A server with one thread that reads a file asynchronously: each answer is a block of it, whatever was asked for.
pub(crate) fn aio(room: &Room, address: SocketAddr, file: &Path) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "aio.py", AIO)?])
        .with([address.to_string()])
        .with([file]))
}

/// A server that pushes messages to its clients, as over WebSockets, and its client, which measures how late they come.
pub(crate) fn push(room: &Room, address: SocketAddr) -> Result<(Program, Program)> {
    let path = script(room, "push.py", PUSH)?;
    let part = |role: &str| {
        room.program(["python3"])
            .with([path.clone()])
            .with([role, &address.to_string()])
    };
    Ok((part("server"), part("client")))
}

/// Clients of a server that pushes: so many connections that stay to the end, of a kind (`websocket`, `events`).
pub(crate) fn watchers(
    room: &Room,
    address: SocketAddr,
    kind: &str,
    connections: usize,
) -> Result<Program> {
    Ok(push(room, address)?
        .1
        .with(["--kind", kind, TO_THE_END_MS])
        .with([format!("--connections={connections}")]))
}

/// A server with a thread for each connection that asks somebody in this way for each answer (`asker.py`).
pub(crate) fn asker(room: &Room, way: &str, address: SocketAddr) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "asker.py", ASKER)?])
        .with([way, &address.to_string()]))
}

/// Whom a server asks in this way, and where: a path, the name of a queue, or an address (`asked.py`).
pub(crate) fn asked(room: &Room, way: &str, at: &str) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "asked.py", ASKED)?])
        .with([way, at]))
}

/// A client that waits for any answer, however long that takes (`client.py`).
pub(crate) fn client(room: &Room, address: SocketAddr) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "client.py", CLIENT)?])
        .with(["--address", &address.to_string()]))
}

/// The same, with requests that nobody measures, to the end.
pub(crate) fn clients(room: &Room, address: SocketAddr, connections: usize) -> Result<Program> {
    Ok(client(room, address)?
        .with([TO_THE_END_MS.to_owned()])
        .with([format!("--connections={connections}")]))
}

/// A program that holds a lock of this kind (`mutex`, `pi`, `semaphore`, `lease`, `sqlite`) in a shared file, on it or beside it, again and
/// again: so many seconds, and then not for so many.
pub(crate) fn holder(
    room: &Room,
    kind: &str,
    file: &Path,
    [held, free]: [&str; 2],
) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "lock.py", LOCK)?])
        .with([kind])
        .with([file])
        .with([held, free]))
}

/// One end of a tunnel through an interface of this mode (`tun`, `tap`) that is there already, at these addresses (`tunnel.py`).
pub(crate) fn tunnel(
    room: &Room,
    (interface, mode): (&str, &str),
    here: SocketAddr,
    there: SocketAddr,
) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "tunnel.py", TUNNEL)?])
        .with([interface, mode, &here.to_string(), &there.to_string()]))
}

/// A program that takes this part of the memory that is available, and then so many MiB more each second.
pub(crate) fn hold(room: &Room, part: &str, mib_per_second: &str) -> Result<Program> {
    Ok(room
        .program(["python3"])
        .with([script(room, "hold.py", HOLD)?])
        .with([part, mib_per_second]))
}

/// A process that serves the files below `root` as a file system at `point` (FUSE), with more options of `files.py`. The mount is
/// removed with everything else.
pub(crate) fn file_system<const N: usize>(
    room: &Room,
    root: &Path,
    point: &Path,
    options: [&str; N],
) -> Result<Program> {
    ledger::make(Made::Mount(point.to_owned()), || Ok(()))?;
    Ok(room
        .program(["python3"])
        .with([script(room, "files.py", FILES)?])
        .with([root, point])
        .with(options))
}

/// Puts a script into the room.
fn script(room: &Room, name: &str, text: &str) -> Result<PathBuf> {
    let path = room.dir.join(name);
    fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}
