//! Files that the tracer writes for its user.
//!
//! The tracer is root in a folder of somebody else, and what it writes holds the command lines of all users. So nobody else may read its
//! files, no symbolic link is followed, and a file takes its name only once it may replace an older one.
//!
//! [`create`] makes one, and [`Name`] is what it is still to be called. In a [`series`] one file after the other has the same name.

mod name;
pub(crate) mod series;
#[cfg(test)]
mod tests;

pub(crate) use self::name::{FOREIGN_FOLDERS, Name, needed_here};

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{FromRawFd as _, RawFd},
        unix::fs::{FileTypeExt as _, OpenOptionsExt as _, fchown},
    },
    path::{Path, PathBuf},
};

/// For the owner alone, to read and to write.
const MODE: u32 = 0o600;
/// The open files of this process. A path through the descriptor of a folder leads to that folder, wherever it lies by then.
const OPEN_FILES: &str = "/proc/self/fd";

/// The folder in which a file lies.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Opens a file to be written from its beginning. An older file of this name stays as it is until the new one takes the name. A pipe, a
/// terminal, `/dev/null` and `/dev/stdout` are written to as they are.
///
/// # Errors
/// If it cannot be written, or is a symbolic link, a folder or a disk. The error says what to do.
pub(crate) fn create(path: &Path) -> io::Result<(File, Name)> {
    if let Some(fd) = descriptor(path) {
        return Ok((duplicate(fd)?, Name::default()));
    }
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return beside(path),
        Err(error) => return Err(explain(error)),
    };
    if kind.is_file() {
        beside(path)
    } else if kind.is_fifo() || kind.is_char_device() {
        Ok((existing(path)?, Name::default()))
    } else if kind.is_symlink() {
        refuse("it is a symbolic link, which the tracer does not follow: name the file itself")
    } else if kind.is_dir() {
        refuse("it is a folder: name a file in it")
    } else {
        refuse("it is neither a file nor a pipe: name another one")
    }
}

/// A new file in the same folder, for the user who called `sudo`.
fn beside(path: &Path) -> io::Result<(File, Name)> {
    let part = part_of(path);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&part)
        .map_err(explain)?;
    let name = Name::of(part, path);
    if let Some((uid, gid)) = caller() {
        // Some file systems know no owners: there the file stays as private as they keep it.
        let _ = fchown(&file, Some(uid), Some(gid));
    }
    Ok((file, name))
}

/// A pipe or a device that is there.
fn existing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
        .map_err(explain)
}

/// `FILE.PID.part`: of two tracers that write the same file each has its own.
fn part_of(path: &Path) -> PathBuf {
    let mut part = OsString::from(path);
    part.push(format!(".{}.part", std::process::id()));
    PathBuf::from(part)
}

/// The open descriptor that a path means: `/dev/stdout`, `/dev/fd/3`, `/proc/self/fd/3`. The links there are the kernel's own. Opened anew,
/// a file would be written from its beginning again, and a socket not at all.
fn descriptor(path: &Path) -> Option<RawFd> {
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let number = |name: &OsStr| name.to_str()?.parse().ok();
    if fs::canonicalize(OPEN_FILES).is_ok_and(|own| own == folder) {
        return number(path.file_name()?);
    }
    if folder != Path::new("/dev") {
        return None;
    }
    let target = fs::read_link(path).ok()?;
    number(target.strip_prefix(OPEN_FILES).ok()?.as_os_str())
}

fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: takes no pointer. If the descriptor is not open, the kernel says so.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// User and group of the one who called `sudo`.
fn caller() -> Option<(u32, u32)> {
    // SAFETY: takes nothing, and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let variable = |name| env::var(name).ok();
    caller_of(is_root, variable("SUDO_UID"), variable("SUDO_GID"))
}

/// Without root the variables say nothing: anybody can set them.
fn caller_of(is_root: bool, uid: Option<String>, gid: Option<String>) -> Option<(u32, u32)> {
    let number = |text: Option<String>| text?.parse().ok();
    let caller = number(uid).zip(number(gid));
    caller.filter(|_| is_root)
}

fn refuse<T>(text: &'static str) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// Adds to an error what its reader can do.
fn explain(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        ErrorKind::NotFound => "its folder is not there: make it, or name a file in another one",
        ErrorKind::NotADirectory => "a part of its path is no folder: name a file in a folder",
        ErrorKind::PermissionDenied => {
            "no file may be created in its folder: name a file in another one"
        }
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only: name a file on another one",
        ErrorKind::StorageFull => "its file system is full: name a file on another one",
        ErrorKind::AlreadyExists => {
            "two outputs have this name, or a file of an older run is in the way: name another one"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{advice} ({error})"))
}
