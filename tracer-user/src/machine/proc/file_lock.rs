//! Locks on files (`flock`, `fcntl`, leases), from `/proc/locks`: for whom a thread waits, and on which file.

use std::{collections::HashMap, fs, os::unix::fs::MetadataExt as _, path::Path};

use super::{SmallFiles, numbers_in, system_call::SystemCall};

/// Most owners of one lock: more readers of a file are one crowd.
const MOST_OWNERS: usize = 8;

/// How a lock came about: the kinds do not see each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `flock`: it belongs to the open file, which several processes may share.
    Flock,
    /// `fcntl`: it belongs to a process, or (pid -1) to the open file.
    Posix,
}

/// A line of `/proc/locks`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    waits: bool,
    kind: Kind,
    writes: bool,
    /// Process that made the lock; `None` if the lock belongs to an open file.
    pid: Option<u32>,
    inode: u64,
    /// First and last byte.
    range: (u64, u64),
}

impl Line {
    /// Parses `2: -> FLOCK  ADVISORY  WRITE 14519 fe:00:10076164 0 EOF`. Leases are `None`: see [`Lease`].
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1).peekable();
        let waits = words.next_if_eq(&"->").is_some();
        let kind = match words.next()? {
            "FLOCK" => Kind::Flock,
            "POSIX" | "OFDLCK" => Kind::Posix,
            _ => return None,
        };
        let writes = words.nth(1)? == "WRITE";
        let pid: i64 = words.next()?.parse().ok()?;
        let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
        let begin = words.next()?.parse().ok()?;
        let end = match words.next()? {
            "EOF" => u64::MAX,
            end => end.parse().ok()?,
        };
        Some(Self {
            waits,
            kind,
            writes,
            pid: u32::try_from(pid).ok().filter(|pid| *pid > 0),
            inode,
            range: (begin, end),
        })
    }

    /// Does this lock keep `waiting` from being granted?
    fn blocks(&self, waiting: &Self) -> bool {
        let overlaps = self.range.0 <= waiting.range.1 && waiting.range.0 <= self.range.1;
        let own = self.kind == Kind::Posix && self.pid.is_some() && self.pid == waiting.pid;
        !self.waits
            && (self.kind, self.inode) == (waiting.kind, waiting.inode)
            && (self.writes || waiting.writes)
            && overlaps
            && !own
    }
}

/// A lease on a file, or who waits until it is given up: lines with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    number: u64,
    waits: bool,
    pid: u32,
    /// The file's; 0 of who waits, and has not opened it yet.
    inode: u64,
}

impl Lease {
    /// Parses `7: LEASE  BREAKING  READ 25 fe:00:12 0 EOF` and `7: -> LEASE  BREAKER   WRITE 10 <none>:0 0 EOF`. Those of a file server
    /// of the kernel begin with `DELEG`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().peekable();
        let number = words.next()?.strip_suffix(':')?.parse().ok()?;
        let waits = words.next_if_eq(&"->").is_some();
        if !matches!(words.next()?, "LEASE" | "DELEG") {
            return None;
        }
        Some(Self {
            number,
            waits,
            pid: words.nth(2)?.parse().ok()?,
            inode: words.next()?.rsplit(':').next()?.parse().ok()?,
        })
    }
}

/// All locks on files of this machine at one time.
#[derive(Debug)]
pub(crate) struct FileLocks {
    lines: Vec<Line>,
    leases: Vec<Lease>,
    /// The processes that own each lock that was asked for. To find them may take a look at all descriptors of all processes.
    owners: HashMap<Line, Vec<u32>>,
}

impl FileLocks {
    /// Reads them.
    #[must_use]
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string("/proc/locks").unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        Self {
            lines: text.lines().filter_map(Line::parse).collect(),
            leases: text.lines().filter_map(Lease::parse).collect(),
            owners: HashMap::new(),
        }
    }

    /// The file for which a thread waits, and the processes that own the lock. `None` if it waits for no lock on a file. No process
    /// is found if its pid namespace hides it, or the owner of an open file is gone.
    #[must_use]
    pub(crate) fn wanted_by(&mut self, pid: u32, tid: u32) -> Option<(String, Vec<u32>)> {
        let call = SystemCall::of(pid, tid)?;
        let Some(kind) = kind_of(&call) else {
            let lease = self.lease_before(pid)?;
            return Some((open_file(lease.pid, lease.inode)?, vec![lease.pid]));
        };
        let path = format!("/proc/{pid}/fd/{}", call.arguments[0]);
        let file = fs::read_link(&path).ok()?;
        let inode = inode_of(pid, call.arguments[0])?;
        let mut owners = Vec::new();
        for line in self.owners_of(kind, inode, pid) {
            let known = self.owners.entry(line);
            let living = known.or_insert_with_key(|line| living_owners(line, &file));
            for owner in living {
                if !owners.contains(owner) && owners.len() < MOST_OWNERS {
                    owners.push(*owner);
                }
            }
        }
        Some((file.to_string_lossy().into_owned(), owners))
    }

    /// The lease for which a process waits.
    fn lease_before(&self, pid: u32) -> Option<&Lease> {
        let mut waits = self.leases.iter();
        let waits = waits.find(|lease| lease.waits && lease.pid == pid)?;
        let mut owned = self.leases.iter().filter(|lease| !lease.waits);
        owned.find(|lease| lease.number == waits.number)
    }

    /// The locks for which a process waits in the file with this inode.
    fn owners_of(&self, kind: Kind, inode: u64, pid: u32) -> Vec<Line> {
        let of_file = |line: &&Line| line.waits && (line.kind, line.inode) == (kind, inode);
        let waiting = self.lines.iter().filter(of_file);
        // A wait for a lock of an open file names no process.
        let waiting = waiting.filter(|line| line.pid.is_none_or(|waits| waits == pid));
        let waiting: Vec<&Line> = waiting.collect();
        let blocks = |line: &&Line| waiting.iter().any(|waiting| line.blocks(waiting));
        self.lines.iter().filter(blocks).cloned().collect()
    }
}

/// The kind of lock that a system call waits for.
fn kind_of(call: &SystemCall) -> Option<Kind> {
    // `F_OFD_SETLKW` of `include/uapi/asm-generic/fcntl.h`.
    const WAITS: [u64; 2] = [libc::F_SETLKW as u64, 38];
    match call.number {
        libc::SYS_flock => Some(Kind::Flock),
        libc::SYS_fcntl if WAITS.contains(&call.arguments[1]) => Some(Kind::Posix),
        _ => None,
    }
}

/// The path of a file that a process has open, by the file's inode. `None` if it has no such file open, or before 5.14.
#[must_use]
pub(crate) fn open_file(pid: u32, inode: u64) -> Option<String> {
    let descriptors = numbers_in(&format!("/proc/{pid}/fd")).map(u64::from);
    let mut of_file = descriptors.filter(|descriptor| shown_inode(pid, *descriptor) == Some(inode));
    let path = fs::read_link(format!("/proc/{pid}/fd/{}", of_file.next()?)).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The inode of an open file. On old kernels the file system is asked, which may take long if it is remote.
fn inode_of(pid: u32, descriptor: u64) -> Option<u64> {
    shown_inode(pid, descriptor).or_else(|| {
        let path = format!("/proc/{pid}/fd/{descriptor}");
        Some(fs::metadata(path).ok()?.ino())
    })
}

/// The inode of an open file, as the kernel shows it since 5.14.
fn shown_inode(pid: u32, descriptor: u64) -> Option<u64> {
    let mut files = SmallFiles::default();
    let text = files.read(format_args!("/proc/{pid}/fdinfo/{descriptor}"))?;
    let text = str::from_utf8(text).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("ino:"))?;
    number.trim().parse().ok()
}

/// The processes that own a lock. One that belongs to an open file outlives the process that made it: then those that share the file
/// own it.
fn living_owners(line: &Line, file: &Path) -> Vec<u32> {
    match line.pid {
        Some(pid) if line.kind == Kind::Posix || has_open(pid, line, file) => vec![pid],
        _ => sharers(line, file),
    }
}

/// All processes that have the open file of a lock.
fn sharers(line: &Line, file: &Path) -> Vec<u32> {
    let all = numbers_in("/proc").filter(|pid| has_open(*pid, line, file));
    all.take(MOST_OWNERS).collect()
}

/// Does a process have the open file of a lock? Its path is compared first: that asks no file system.
fn has_open(pid: u32, line: &Line, file: &Path) -> bool {
    let mut files = SmallFiles::default();
    numbers_in(&format!("/proc/{pid}/fd")).any(|descriptor| {
        let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
        // In another mount namespace the same file has another path, but nearly always the same name.
        if path.map_or(true, |path| path.file_name() != file.file_name()) {
            return false;
        }
        let Some(info) = files.read(format_args!("/proc/{pid}/fdinfo/{descriptor}")) else {
            return false;
        };
        let info = String::from_utf8_lossy(info);
        let locks = info.lines().filter_map(|line| line.strip_prefix("lock:"));
        let same =
            |lock: Line| (lock.kind, lock.inode, lock.range) == (line.kind, line.inode, line.range);
        locks.filter_map(Line::parse).any(same)
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{BufRead as _, BufReader, Write as _},
        os::fd::AsRawFd as _,
        process::{Command, Stdio},
    };

    use super::*;

    const LOCKS: &str = "\
1: POSIX  ADVISORY  WRITE 20 fe:00:7 100 199
1: -> POSIX  ADVISORY  WRITE 10 fe:00:7 150 150
2: POSIX  ADVISORY  READ 21 fe:00:7 0 50
3: FLOCK  ADVISORY  READ 22 fe:00:8 0 EOF
3: -> FLOCK  ADVISORY  WRITE 10 fe:00:8 0 EOF
3:  -> FLOCK  ADVISORY  READ 11 fe:00:8 0 EOF
4: FLOCK  ADVISORY  READ 23 fe:00:8 0 EOF
5: OFDLCK ADVISORY  WRITE -1 fe:00:9 0 EOF
5: -> OFDLCK ADVISORY  READ -1 fe:00:9 0 EOF
6: LEASE  ACTIVE    READ 24 fe:00:7 0 EOF
7: LEASE  BREAKING  READ 25 fe:00:12 0 EOF
7: -> LEASE  BREAKER   WRITE 10 <none>:0 0 EOF
";

    fn owners(kind: Kind, inode: u64, pid: u32) -> Vec<Option<u32>> {
        let locks = FileLocks::parse(LOCKS);
        let owners = locks.owners_of(kind, inode, pid);
        owners.iter().map(|line| line.pid).collect()
    }

    #[test]
    fn only_locks_on_the_same_bytes_block() {
        assert_eq!(owners(Kind::Posix, 7, 10), [Some(20)]);
        assert_eq!(owners(Kind::Posix, 7, 11), [], "it waits for nothing there");
    }

    #[test]
    fn a_writer_waits_for_all_readers_and_a_reader_behind_it_for_none_that_holds() {
        assert_eq!(owners(Kind::Flock, 8, 10), [Some(22), Some(23)]);
        assert_eq!(owners(Kind::Flock, 8, 11), []);
    }

    #[test]
    fn who_waits_for_a_lease_is_listed_below_it() {
        let locks = FileLocks::parse(LOCKS);
        let found = locks.lease_before(10).map(|lease| (lease.pid, lease.inode));
        assert_eq!(found, Some((25, 12)));
        assert_eq!(locks.lease_before(24), None);
    }

    #[test]
    fn a_lock_of_an_open_file_names_no_process() {
        assert_eq!(owners(Kind::Posix, 9, 10), [None]);
    }

    /// A child that waits for a lock of this process.
    #[test]
    fn a_lock_is_owned_by_who_made_it_and_after_it_by_who_shares_the_file() {
        let path = std::env::temp_dir().join(format!("tracer-lock-{}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        file.write_all(b"x").unwrap();
        // SAFETY: the descriptor is open.
        assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
        let mut waiter = Command::new("flock")
            .arg(&path)
            .arg("true")
            .spawn()
            .unwrap();
        let wanted = loop {
            match FileLocks::read().wanted_by(waiter.id(), waiter.id()) {
                Some((file, owners)) if !owners.is_empty() => break (file, owners),
                _ => std::thread::yield_now(),
            }
        };
        assert_eq!(
            wanted,
            (path.display().to_string(), vec![std::process::id()])
        );
        drop(file);
        waiter.wait().unwrap();
        // A shell takes the lock through a process that ends, as scripts do.
        let script = "exec 9>\"$0\"; flock 9; echo; read -r _";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = shell.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let text = fs::read_to_string("/proc/locks").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(
            open_file(shell.id(), inode),
            Some(path.display().to_string())
        );
        let mut lines = text.lines().filter_map(Line::parse);
        let made = lines.find(|line| line.inode == inode).unwrap();
        let owners = living_owners(&made, &path);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        fs::remove_file(&path).unwrap();
        assert_ne!(made.pid, Some(shell.id()));
        assert_eq!(owners, [shell.id()]);
    }
}
