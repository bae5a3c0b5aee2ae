//! The kinds of things the demo makes, and how each is removed. Removing what is already gone succeeds.

use std::{
    ffi::CString,
    fmt::{self, Display, Formatter},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use xtask::command::output;

use super::{cgroup, tools::tool};

/// How long something may stay busy after its last user was ended. On a slow disk its writes take so long.
const BUSY: Duration = Duration::from_secs(30);
/// How often a busy thing is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Something that exists because of the demo.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Made {
    /// A directory and all that is in it.
    Dir(PathBuf),
    /// The loop devices over a file.
    Loop(PathBuf),
    /// A mount, by its mount point.
    Mount(PathBuf),
    /// Swap space, by its device.
    Swap(PathBuf),
    /// A control group, and every process in it.
    Cgroup(PathBuf),
    /// A controller, switched on for the groups below this one.
    Controller(PathBuf, String),
    /// A kernel's setting that was changed: its file, and what it was.
    Setting(PathBuf, String),
    /// A named network namespace.
    Netns(String),
    /// A network device, and with it its peer and its queueing discipline.
    Link(String),
    /// A table of rules for packets.
    Table(String),
    /// A message queue of POSIX, with the slash in front of its name.
    Queue(String),
}

impl Made {
    /// Reads what [`Display`] wrote.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let (kind, name) = line
            .split_once(' ')
            .with_context(|| format!("cannot read the ledger's line {line:?}"))?;
        // What a setting was may have a space in it, as `7:0 0`. The file is what begins with a slash.
        let two = |make: fn(PathBuf, String) -> Self| {
            let (text, file) = name
                .split_once(" /")
                .with_context(|| format!("cannot read the ledger's line {line:?}"))?;
            Ok::<_, anyhow::Error>(make(Path::new("/").join(file), text.to_owned()))
        };
        Ok(match kind {
            "dir" => Self::Dir(name.into()),
            "loop" => Self::Loop(name.into()),
            "mount" => Self::Mount(name.into()),
            "swap" => Self::Swap(name.into()),
            "cgroup" => Self::Cgroup(name.into()),
            "controller" => two(Self::Controller)?,
            "setting" => two(Self::Setting)?,
            "netns" => Self::Netns(name.into()),
            "link" => Self::Link(name.into()),
            "table" => Self::Table(name.into()),
            "queue" => Self::Queue(name.into()),
            _ => bail!("cannot read the ledger's line {line:?}"),
        })
    }

    /// Ends the processes in it, if it is something that has processes.
    pub(crate) fn end_processes(&self) {
        if let Self::Cgroup(path) = self {
            cgroup::end_processes(path);
        }
    }

    /// Removes it, with whatever uses it.
    pub(crate) fn remove(&self) -> Result<()> {
        match self {
            Self::Dir(path) => gone(fs::remove_dir_all(path)),
            Self::Loop(file) => detach(file),
            Self::Mount(point) => unmount(point),
            Self::Swap(device) => stop_swapping(device),
            Self::Cgroup(path) => while_busy(|| cgroup::remove(path)),
            Self::Controller(path, name) => cgroup::disable(path, name),
            Self::Setting(file, was) => gone(set(file, was)),
            Self::Netns(name) if Path::new("/run/netns").join(name).exists() => {
                ip(&["netns", "delete", name])
            }
            Self::Link(name) if Path::new("/sys/class/net").join(name).exists() => {
                ip(&["link", "delete", name])
            }
            Self::Netns(_) | Self::Link(_) => Ok(()),
            Self::Table(name) => delete_table(name),
            Self::Queue(name) => gone(unlink_queue(name)),
        }
        .with_context(|| format!("could not remove {self}"))
    }
}

impl Display for Made {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dir(path) => write!(f, "dir {}", path.display()),
            Self::Loop(path) => write!(f, "loop {}", path.display()),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::Swap(path) => write!(f, "swap {}", path.display()),
            Self::Cgroup(path) => write!(f, "cgroup {}", path.display()),
            Self::Controller(path, name) => write!(f, "controller {name} {}", path.display()),
            Self::Setting(path, was) => write!(f, "setting {was} {}", path.display()),
            Self::Netns(name) => write!(f, "netns {name}"),
            Self::Link(name) => write!(f, "link {name}"),
            Self::Table(name) => write!(f, "table {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}

/// The result of a removal, where absence is success.
pub(crate) fn gone(removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// Where a kernel knows no queues there is none.
fn unlink_queue(name: &str) -> std::io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the name is a C string.
    if unsafe { libc::mq_unlink(name.as_ptr()) } == 0 {
        return Ok(());
    }
    match std::io::Error::last_os_error() {
        error if error.kind() == ErrorKind::Unsupported => Ok(()),
        error => Err(error),
    }
}

/// Writes to a file of the kernel's. One that is gone stays gone: `fs::write` would make a new one.
pub(crate) fn set(file: &Path, text: &str) -> std::io::Result<()> {
    std::io::Write::write_all(
        &mut fs::File::options().write(true).open(file)?,
        text.as_bytes(),
    )
}

/// Tries until it works or has failed for too long.
fn while_busy(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + BUSY;
    loop {
        match attempt() {
            Err(_) if Instant::now() < end => thread::sleep(AGAIN),
            result => return result,
        }
    }
}

fn ip(words: &[&str]) -> Result<()> {
    output(tool("ip").args(words), "tidy up the network").map(drop)
}

/// Where there is no such program, nothing was made with it.
fn delete_table(name: &str) -> Result<()> {
    let Ok(listed) = tool("nft").args(["list", "tables", "ip"]).output() else {
        return Ok(());
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    if !listed
        .lines()
        .any(|line| line.trim_end().ends_with(&format!(" {name}")))
    {
        return Ok(());
    }
    output(
        tool("nft").args(["delete", "table", "ip", name]),
        "tidy up the network",
    )
    .map(drop)
}

fn unmount(point: &Path) -> Result<()> {
    while_busy(|| {
        if !is_mounted(point)? {
            return Ok(());
        }
        output(tool("umount").arg(point), "unmount the slow disk").map(drop)
    })
}

/// By the kernel's list: a look at a file system of which the server has ended would fail.
fn is_mounted(point: &Path) -> Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("could not list the mounts")?;
    let point = point.to_string_lossy().replace(' ', "\\040");
    let mut points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(points.any(|mounted| mounted == point))
}

/// What is still swapped out comes back into memory.
fn stop_swapping(device: &Path) -> Result<()> {
    // A kernel that cannot swap has no such list.
    let spaces = fs::read_to_string("/proc/swaps").unwrap_or_default();
    let mut devices = spaces.lines().filter_map(|line| line.split(' ').next());
    if !devices.any(|used| Path::new(used) == device) {
        return Ok(());
    }
    output(tool("swapoff").arg(device), "stop swapping to a disk").map(drop)
}

fn detach(file: &Path) -> Result<()> {
    while_busy(|| {
        let devices = devices_over(file)?;
        for device in &devices {
            output(
                tool("losetup").args(["--detach", device]),
                "detach the loop device",
            )?;
        }
        // Detaching is lazy while somebody (udev) looks at the device.
        if devices_over(file)?.is_empty() {
            Ok(())
        } else {
            bail!("a loop device over {} is busy", file.display())
        }
    })
}

/// The loop devices that are attached to a file, even if the file was deleted meanwhile.
fn devices_over(file: &Path) -> Result<Vec<String>> {
    let deleted = format!("{} (deleted)", file.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block").context("could not list the disks")? {
        let disk = entry?;
        let Ok(over) = fs::read_to_string(disk.path().join("loop/backing_file")) else {
            continue;
        };
        let over = over.trim_end_matches('\n');
        if Path::new(over) == file || over == deleted {
            found.push(format!("/dev/{}", disk.file_name().to_string_lossy()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read_as_it_was_written() {
        let all = [
            Made::Dir("/var/tmp/a b".into()),
            Made::Loop("/var/tmp/disk".into()),
            Made::Mount("/mnt".into()),
            Made::Swap("/dev/vdz".into()),
            Made::Cgroup("/sys/fs/cgroup/x".into()),
            Made::Controller("/sys/fs/cgroup".into(), "io".into()),
            Made::Setting("/sys/x y".into(), "128".into()),
            Made::Setting("/sys/fs/cgroup/blkio/x".into(), "7:0 0".into()),
            Made::Netns("n".into()),
            Made::Link("l".into()),
            Made::Table("t".into()),
            Made::Queue("/q".into()),
        ];
        for thing in all {
            assert_eq!(Made::parse(&thing.to_string()).unwrap(), thing);
        }
    }

    #[test]
    fn a_line_of_another_version_is_an_error() {
        assert!(Made::parse("volcano /").is_err());
        assert!(Made::parse("").is_err());
    }

    #[test]
    fn removing_what_is_gone_succeeds() {
        let absent = format!("tracer-never-made-{}", std::process::id());
        let absent = std::env::temp_dir().join(absent);
        for thing in [
            Made::Dir(absent.clone()),
            Made::Loop(absent.clone()),
            Made::Mount(absent.clone()),
            Made::Swap(absent.clone()),
            Made::Cgroup(absent.clone()),
            Made::Controller(absent.clone(), "io".into()),
            Made::Setting(absent.clone(), "1".into()),
            Made::Netns("tracer-never-made".into()),
            Made::Link("tdnevermade".into()),
            Made::Table("tdnevermade".into()),
            Made::Queue("/tracer-never-made".into()),
        ] {
            assert!(thing.remove().is_ok(), "{thing}");
        }
        assert!(!absent.exists());
    }
}
