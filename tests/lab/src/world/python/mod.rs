//! Servers as people write them in Python: its own in three forms, one that pushes, one of a file system, and an application under
//! gunicorn. Beside them, programs that are in the way of servers.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Room, ledger, made::Made, process::Program};

const SERVER: &str = include_str!("server.py");
const FILES: &str = include_str!("files.py");
const PUSH: &str = include_str!("push.py");
const LOCK: &str = include_str!("lock.py");
const HOLD: &str = include_str!("hold.py");
const AIO: &str = include_str!("aio.py");
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
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Threads => "threads",
            Self::Processes => "processes",
            Self::Loop => "loop",
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

/// A program that holds the mutex in a shared file for so many seconds, again and again, with a pause in between.
pub(crate) fn mutex(room: &Room, file: &Path, held: &str, free: &str) -> Result<Program> {
    let path = script(room, "lock.py", LOCK)?;
    let file = file.as_os_str().to_owned();
    Ok(room
        .program(["python3"])
        .with([path.into_os_string(), file])
        .with([held, free]))
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
