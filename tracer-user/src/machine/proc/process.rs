//! Processes: `/proc/PID/stat`, `cmdline` and `cgroup`.

use std::{borrow::Cow, collections::HashMap};

use super::{SmallFiles, numbers_in, system_value};
use crate::event::Process;

/// `PF_KTHREAD` of `include/linux/sched.h`: the same bit since 2.6.27.
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `PF_EXITING`: the same bit since 2.4.
const EXITING: u32 = 0x4;

/// `PF_IO_WORKER`, 5.12 to 7.2.
const RING_THREAD: u32 = 0x10;

/// Most bytes kept of a command line: it may have megabytes, and no reader needs more.
const LONGEST_CMDLINE: u64 = 4096;

/// The fields of `/proc/PID/stat` that the tracer uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(crate) comm: String,
    pub(crate) state: char,
    pub(crate) parent_pid: u32,
    pub(crate) pgid: u32,
    pub(crate) sid: u32,
    pub(crate) flags: u32,
    /// Since boot, in clock ticks.
    pub(crate) start_ticks: u64,
}

impl Stat {
    /// Parses the line. The name stands in parentheses and may itself contain parentheses and spaces: it ends at the last `)`.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        let (open, close) = (line.find('(')?, line.rfind(')')?);
        let comm = unescape(line.get(open + 1..close)?).into_owned();
        // Numbers as in proc(5), of which this is field 3.
        let mut fields = line[close + 1..].split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent_pid = fields.next()?.parse().ok()?;
        // A group or session has number 0 (in old kernels -1) if its leader is outside this pid namespace.
        let pgid = fields.next()?.parse().unwrap_or(0);
        let sid = fields.next()?.parse().unwrap_or(0);
        let flags = fields.nth(2)?.parse().ok()?;
        let start_ticks = fields.nth(12)?.parse().ok()?;
        Some(Self {
            comm,
            state,
            parent_pid,
            pgid,
            sid,
            flags,
            start_ticks,
        })
    }

    /// Is it a thread of the kernel?
    pub(crate) fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Is it a thread of the kernel that works for a ring of `io_uring`, as one of the threads of its process?
    pub(super) fn works_for_ring(&self) -> bool {
        self.flags & RING_THREAD != 0
    }

    /// Start, nanoseconds since boot.
    fn start_ns(&self, ticks_per_s: u64) -> u64 {
        (u128::from(self.start_ticks) * 1_000_000_000 / u128::from(ticks_per_s)) as u64
    }
}

/// `stat` writes a newline and a backslash in a name as `\n` and `\\` (`fs/proc/array.c`, `proc_task_name`).
fn unescape(comm: &str) -> Cow<'_, str> {
    if !comm.contains('\\') {
        return comm.into();
    }
    let mut plain = String::with_capacity(comm.len());
    let mut chars = comm.chars();
    while let Some(c) = chars.next() {
        match (c, chars.as_str().chars().next()) {
            ('\\', Some(next @ ('n' | '\\'))) => {
                plain.push(if next == 'n' { '\n' } else { '\\' });
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    plain.into()
}

/// Every process that is there now, in no order.
#[must_use]
pub(crate) fn pids() -> Vec<u32> {
    numbers_in("/proc").collect()
}

/// The look at one process after another; `None` if it is gone. It hangs at a process that is stuck in its memory, where its command
/// line is.
pub(crate) fn look_at_process() -> impl FnMut(u32) -> Option<Process> + Clone {
    let (mut files, ticks_per_s) = (SmallFiles::default(), ticks_per_s());
    move |pid| {
        let process = process(&mut files, pid, ticks_per_s)?;
        // A kernel thread has no command line. A process that has just gone still has its name.
        let cmdline = match process.kernel {
            true => None,
            false => files.read_up_to(format_args!("/proc/{pid}/cmdline"), LONGEST_CMDLINE),
        };
        let cmdline = cmdline.map(cmdline_text).unwrap_or_default();
        Some(Process { cmdline, ..process })
    }
}

/// One process without its command line; `None` if it is gone. It never hangs.
#[must_use]
pub(crate) fn process_but_cmdline(pid: u32) -> Option<Process> {
    process(&mut SmallFiles::default(), pid, ticks_per_s())
}

/// One process, so far without its command line.
fn process(files: &mut SmallFiles, pid: u32, ticks_per_s: u64) -> Option<Process> {
    let stat = stat(files, pid)?;
    let kernel = stat.is_kernel_thread();
    let cgroup = files
        .read(format_args!("/proc/{pid}/cgroup"))
        .and_then(most_specific)
        .unwrap_or_default();
    Some(Process {
        pid,
        parent_pid: stat.parent_pid,
        pgid: stat.pgid,
        sid: stat.sid,
        start_ns: stat.start_ns(ticks_per_s),
        comm: stat.comm,
        cmdline: String::new(),
        cgroup,
        kernel,
        target: false,
    })
}

/// The command line of a process, or the title that it has written over it; `None` if it is gone or has none.
#[must_use]
pub(crate) fn title(pid: u32) -> Option<String> {
    let mut files = SmallFiles::default();
    let text = files.read_up_to(format_args!("/proc/{pid}/cmdline"), LONGEST_CMDLINE)?;
    Some(cmdline_text(text)).filter(|text| !text.is_empty())
}

/// The name of a process; `None` if it is gone.
#[must_use]
pub(crate) fn comm(pid: u32) -> Option<String> {
    Some(stat(&mut SmallFiles::default(), pid)?.comm)
}

/// `/proc/PID/stat` of every process, in no order.
pub(super) fn stats() -> impl Iterator<Item = (u32, Stat)> {
    let mut files = SmallFiles::default();
    numbers_in("/proc").filter_map(move |pid| Some((pid, stat(&mut files, pid)?)))
}

/// `/proc/PID/stat` of one process.
pub(super) fn stat(files: &mut SmallFiles, pid: u32) -> Option<Stat> {
    Stat::parse(files.read(format_args!("/proc/{pid}/stat"))?)
}

/// Clock ticks of `stat` per second. It is 100 everywhere, but the function still asks.
fn ticks_per_s() -> u64 {
    system_value(libc::_SC_CLK_TCK, 100)
}

/// The arguments with spaces between them.
fn cmdline_text(arguments: &[u8]) -> String {
    String::from_utf8_lossy(arguments)
        .replace('\0', " ")
        .trim()
        .to_owned()
}

/// The most specific path among the lines `ID:CONTROLLERS:PATH` of `/proc/PID/cgroup`. With cgroup v1 and in a hybrid each hierarchy has
/// its own path, and some stay at the root.
fn most_specific(lines: &[u8]) -> Option<String> {
    let lines = String::from_utf8_lossy(lines);
    let depth = |path: &&str| {
        (
            path.split('/').filter(|part| !part.is_empty()).count(),
            path.len(),
        )
    };
    paths_in(&lines).max_by_key(depth).map(str::to_owned)
}

/// The paths in the lines of `/proc/PID/cgroup`.
pub(super) fn paths_in(lines: &str) -> impl Iterator<Item = &str> {
    let paths = lines.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.map(|path| path.strip_suffix(" (deleted)").unwrap_or(path))
}

/// The control group of a process, the most specific one; `None` if it is gone or ends. The kernel may have one lock for all groups: it
/// may hang.
#[must_use]
pub(crate) fn cgroup(pid: u32) -> Option<String> {
    let mut files = SmallFiles::default();
    let lines = files.read(format_args!("/proc/{pid}/cgroup"))?;
    let cgroup = most_specific(lines)?;
    // One that ends is shown at the roots of v1's hierarchies (`proc_cgroup_show`).
    let stat = stat(&mut files, pid)?;
    (stat.flags & EXITING == 0).then_some(cgroup)
}

/// Is it a thread of the kernel? No if there is no such process.
#[must_use]
pub(crate) fn is_kernel_thread(pid: u32) -> bool {
    stat(&mut SmallFiles::default(), pid).is_some_and(|stat| stat.is_kernel_thread())
}

/// When a process started, nanoseconds since boot; with the pid it names a process for ever.
#[must_use]
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    Some(stat(&mut SmallFiles::default(), pid)?.start_ns(ticks_per_s()))
}

/// The parent of a zombie.
pub(crate) struct ZombieParent {
    /// Process.
    pub(crate) pid: u32,
    /// Name; `?` if it cannot be read.
    pub(crate) comm: String,
}

/// The parent that a zombie waits for. `None` for a process that can still run; its first thread alone may have ended.
#[must_use]
pub(crate) fn zombie_of(pid: u32) -> Option<ZombieParent> {
    let mut files = SmallFiles::default();
    let zombie = stat(&mut files, pid).filter(|stat| matches!(stat.state, 'Z' | 'X'))?;
    // The entry of the first thread stays until the last one ends.
    if numbers_in(&format!("/proc/{pid}/task")).count() > 1 {
        return None;
    }
    let parent = stat(&mut files, zombie.parent_pid);
    Some(ZombieParent {
        pid: zombie.parent_pid,
        comm: parent.map_or_else(|| "?".to_owned(), |parent| parent.comm),
    })
}

/// The pids of child and parent, for every process that is there now.
#[must_use]
pub(crate) fn parents() -> Vec<(u32, u32)> {
    let parents = stats().map(|(pid, stat)| (pid, stat.parent_pid));
    parents.collect()
}

/// The descendants of `root`, without itself, nearer generations first. `edges` has the pids of child and parent of all processes.
#[must_use]
pub(crate) fn descendants(root: u32, edges: impl Iterator<Item = (u32, u32)>) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (child, parent) in edges {
        children.entry(parent).or_default().push(child);
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        // Taken out, so that a circle (a pid used again during the scan) ends.
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found.retain(|pid| *pid != root);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "4711 (a) (b c) S 1 4700 4690 34816 4711 4194560 1 0 0 0 7 3 0 0 20 0 1 0 12345 1000 200 18446744073709551615";

    #[test]
    fn a_name_may_contain_parentheses_and_spaces() {
        let stat = Stat::parse(LINE.as_bytes()).unwrap();
        assert_eq!(stat.comm, "a) (b c");
        assert_eq!(
            (stat.state, stat.parent_pid, stat.pgid, stat.sid),
            ('S', 1, 4700, 4690)
        );
        assert_eq!((stat.flags, stat.start_ticks), (4_194_560, 12345));
        assert!(!stat.is_kernel_thread());
        assert_eq!(stat.start_ns(100), 123_450_000_000);
    }

    #[test]
    fn a_cut_stat_line_is_none_at_every_length_before_the_start_time() {
        let needed = LINE.find("12345").unwrap();
        for length in 0..needed {
            assert_eq!(Stat::parse(&LINE.as_bytes()[..length]), None, "{length}");
        }
        assert_eq!(Stat::parse(b"1 )( S 1"), None);
    }

    #[test]
    fn a_kernel_thread_has_its_flag() {
        let line = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0";
        assert!(Stat::parse(line.as_bytes()).unwrap().is_kernel_thread());
    }

    #[test]
    fn escapes_in_a_name_are_undone() {
        assert_eq!(unescape(r"a\nb\\c\d\"), "a\nb\\c\\d\\");
        assert_eq!(unescape("plain"), "plain");
    }

    #[test]
    fn a_command_line_has_spaces_for_nuls_and_survives_other_bytes() {
        assert_eq!(cmdline_text(b"tar\0-c\0/\xff\0\0"), "tar -c /\u{fffd}");
        assert_eq!(cmdline_text(b""), "");
    }

    #[test]
    fn the_deepest_cgroup_path_wins_in_v1_v2_and_hybrid() {
        let of = |lines: &str| most_specific(lines.as_bytes()).unwrap();
        assert_eq!(
            of("0::/system.slice/nginx.service\n"),
            "/system.slice/nginx.service"
        );
        assert_eq!(
            of("9:name=systemd:/\n4:memory:/jobs/a:b\n1:cpu:/\n0::/\n"),
            "/jobs/a:b"
        );
        assert_eq!(
            of("1:cpu:/docker/0123456789\n0::/sys/init\n"),
            "/docker/0123456789"
        );
        assert_eq!(of("0::/gone.scope (deleted)\n"), "/gone.scope");
        assert_eq!(most_specific(b""), None);
    }

    #[test]
    fn descendants_are_found_through_generations_and_circles() {
        let edges = [(2, 1), (3, 2), (4, 3), (5, 1), (6, 5), (2, 4), (9, 9)];
        let below = |root| descendants(root, edges.into_iter());
        assert_eq!(below(2), [3, 4]);
        assert_eq!(below(1).len(), 6);
        assert_eq!(below(9), [0; 0]);
        assert_eq!(below(7), [0; 0]);
    }

    #[test]
    fn the_scan_finds_this_process_and_its_child() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let (own, child_pid) = (std::process::id(), child.id());
        let scan: Vec<Process> = pids().into_iter().filter_map(look_at_process()).collect();
        let scanned = scan.iter().map(|found| (found.pid, found.parent_pid));
        let (below, below_too) = (
            descendants(own, scanned),
            descendants(own, parents().into_iter()),
        );
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(cgroup(child_pid), None);
        assert!(below.contains(&child_pid) && below_too.contains(&child_pid));
        let process = scan.iter().find(|process| process.pid == own).unwrap();
        assert!(!process.kernel && !process.cmdline.is_empty());
        let nameless = Process {
            cmdline: String::new(),
            ..process.clone()
        };
        assert_eq!(process_but_cmdline(own), Some(nameless));
        assert_eq!(Some(process.start_ns), start_time(own));
        let lines = std::fs::read("/proc/self/cgroup").unwrap();
        assert_eq!(process.cgroup, most_specific(&lines).unwrap());
        assert_eq!(Some(process.cgroup.clone()), cgroup(own));
        assert!(!is_kernel_thread(own));
        assert_eq!(start_time(u32::MAX), None);
    }
}
