//! The schedule of a process: its priority, groups and limits. It is read at the end, for the few processes that held most.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use super::{SmallFiles, means::old_name, numbers_in, process::Stat, sockets::open_sockets};
use crate::{
    machine::looks::{Found, Looks},
    standing::{Group, Hierarchy, Means, Program, Standing},
};

/// Longest command line kept, bytes: nobody pastes a longer one.
const LONGEST_CMDLINE: u64 = 4096;
/// Bytes read of a program: the program headers and Go's build mark usually lie within.
const HEAD: u64 = 64 * 1024;
/// Most descriptors looked at.
const MOST_FILES: usize = 256;
/// Variables that set the level or the threads of compressors.
const DEFAULTS: [&str; 6] = [
    "GZIP",
    "PIGZ",
    "XZ_DEFAULTS",
    "XZ_OPT",
    "ZSTD_CLEVEL",
    "ZSTD_NBTHREADS",
];

/// The standing of these processes in order of pid, and the processes that could not be read within `patience`. One that is gone, or
/// is a zombie, is left out. To read a command line or an environment waits while the process is stuck in its memory, and to read a
/// program waits for its file system. Only those that may have been `senders` are looked up in the list of all sockets.
#[must_use]
pub(crate) fn standings(
    pids: &[u32],
    senders: &[u32],
    means: &Means,
    patience: Duration,
) -> (Vec<Standing>, Vec<u32>) {
    // Once for all: the list may be long.
    let mut connections: HashMap<u32, Vec<(String, String)>> = HashMap::new();
    for socket in open_sockets(senders) {
        let of_process = connections.entry(socket.pid).or_default();
        of_process.push((socket.local, socket.remote));
    }
    let (means, connections) = (Arc::new(means.clone()), Arc::new(connections));
    let looks = Looks::begin(pids.to_vec(), move |pid| {
        let connections = connections.get(&pid).cloned().unwrap_or_default();
        standing(pid, &means, connections)
    });
    let Found { found, unread } = looks.end_within(patience, || false);
    let mut standings: Vec<Standing> = found.into_iter().flatten().collect();
    standings.sort_unstable_by_key(|standing| standing.pid);
    (standings, unread)
}

fn standing(pid: u32, means: &Means, connections: Vec<(String, String)>) -> Option<Standing> {
    let mut files = SmallFiles::default();
    let line = files.read(format_args!("/proc/{pid}/stat"))?.to_vec();
    if has_ended(&line) {
        return None;
    }
    let arguments = files
        .read_up_to(format_args!("/proc/{pid}/cmdline"), LONGEST_CMDLINE + 1)
        .map(words)
        .unwrap_or_default();
    let (unbuffered, redirected) = open_files(pid);
    let lines = files
        .read(format_args!("/proc/{pid}/cgroup"))
        .map(|lines| String::from_utf8_lossy(lines).into_owned())
        .unwrap_or_default();
    let group =
        |hierarchy: &Option<Hierarchy>, controller| group(&lines, hierarchy.as_ref()?, controller);
    let (nice, threads, policy) = scheduling(&line)?;
    Some(Standing {
        pid,
        threads,
        uid: fs::metadata(format!("/proc/{pid}")).map_or(0, |folder| folder.uid()),
        nice,
        policy,
        io_class: io_class(pid),
        autogroup: fs::read_to_string(format!("/proc/{pid}/autogroup"))
            .ok()
            .and_then(|text| autogroup(&text)),
        cpu: group(&means.cpu, "cpu"),
        io: group(&means.io, "io"),
        arguments,
        cwd: started_in(pid, &line).unwrap_or_default(),
        program: program(pid),
        unbuffered,
        redirected,
        defaults: defaults(pid),
        connections,
    })
}

/// The folder in which a process was started. rsync changes to the folder that it reads or writes. Only its environment still has
/// the first one.
fn started_in(pid: u32, line: &[u8]) -> Option<String> {
    if contains(line, b"(rsync)") {
        return variables(pid).find_map(|variable| Some(variable.strip_prefix("PWD=")?.to_owned()));
    }
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
    Some(folder.to_string_lossy().into_owned())
}

/// Field 3 (state) of proc(5)'s `stat`: a zombie has no command line any more.
fn has_ended(line: &[u8]) -> bool {
    let behind_name = line.rsplit(|byte| *byte == b')').next();
    behind_name.is_some_and(|rest| matches!(rest, [b' ', b'Z' | b'X', ..]))
}

/// Fields 19 (nice), 20 (threads) and 41 (policy) of proc(5)'s `stat`.
fn scheduling(line: &[u8]) -> Option<(i32, u32, u32)> {
    Stat::parse(line)?;
    let line = String::from_utf8_lossy(line);
    let mut fields = line[line.rfind(')')? + 1..].split_ascii_whitespace();
    let nice = fields.nth(16)?.parse().ok()?;
    let threads = fields.next()?.parse().ok()?;
    Some((nice, threads, fields.nth(20)?.parse().ok()?))
}

/// The words of a command line; none if it was cut.
fn words(cmdline: &[u8]) -> Vec<String> {
    if cmdline.len() as u64 > LONGEST_CMDLINE {
        return Vec::new();
    }
    let words = cmdline
        .strip_suffix(&[0])
        .unwrap_or(cmdline)
        .split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// `IOPRIO_CLASS_*` of the main thread: the upper three bits of 16 (ioprio_get(2)).
fn io_class(pid: u32) -> Option<u32> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: takes no pointers.
    let priority = unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, pid) };
    u32::try_from(priority)
        .ok()
        .map(|priority| priority >> 13 & 7)
}

/// `/autogroup-23 nice 0`
fn autogroup(text: &str) -> Option<(u64, i32)> {
    let (id, nice) = text
        .trim()
        .strip_prefix("/autogroup-")?
        .split_once(" nice ")?;
    Some((id.parse().ok()?, nice.parse().ok()?))
}

/// Two answers. Has the process a file open with `O_DIRECT` or `O_SYNC`? Is its input a pipe, or its output no terminal?
fn open_files(pid: u32) -> (bool, bool) {
    let leads_to = |fd: u32, to: &str| {
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}"));
        link.is_ok_and(|link| link.to_string_lossy().starts_with(to))
    };
    let terminal = leads_to(1, "/dev/pts/") || leads_to(1, "/dev/tty");
    (
        has_file_open(pid, libc::O_DIRECT | libc::O_DSYNC),
        leads_to(0, "pipe:") || !terminal,
    )
}

/// Does a process read or write a file around the page cache? It has one open with `O_DIRECT`.
#[must_use]
pub(crate) fn is_direct(pid: u32) -> bool {
    has_file_open(pid, libc::O_DIRECT)
}

/// Has the process a file open with one of these flags?
fn has_file_open(pid: u32, with: i32) -> bool {
    let is_one = |fd: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        let flags = i32::from_str_radix(flags.trim(), 8).ok()?;
        let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
        Some(link.starts_with("/") && flags & with != 0)
    };
    let mut fds = numbers_in(&format!("/proc/{pid}/fd")).take(MOST_FILES);
    fds.any(|fd| is_one(fd).unwrap_or(false))
}

/// The variables of an environment that set a compressor's level or threads.
fn defaults(pid: u32) -> Vec<String> {
    let known = |variable: &str| {
        variable
            .split_once('=')
            .is_some_and(|(name, value)| DEFAULTS.contains(&name) && !value.is_empty())
    };
    variables(pid).filter(|variable| known(variable)).collect()
}

/// Its environment, `NAME=VALUE`.
fn variables(pid: u32) -> impl Iterator<Item = String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let variables = environment.split(|byte| *byte == 0);
    let variables: Vec<String> = variables
        .map(|variable| String::from_utf8_lossy(variable).into_owned())
        .collect();
    variables.into_iter()
}

/// The kind of its program.
fn program(pid: u32) -> Program {
    let path = format!("/proc/{pid}/exe");
    let mut head = Vec::new();
    let Ok(file) = File::open(&path) else {
        return Program::Unknown;
    };
    if fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o6000 != 0) {
        return Program::SetUid;
    }
    match file.take(HEAD).read_to_end(&mut head) {
        Ok(_) => linked(&head),
        Err(_) => Program::Unknown,
    }
}

/// The kind of a program, from the first bytes of a 64-bit ELF file. `e_phoff` is at 32, `e_phentsize` at 54, `e_phnum` at 56,
/// `p_type` first (elf(5)). Go puts its build identity, a note of the owner `Go`, at the front.
fn linked(head: &[u8]) -> Program {
    const PT_INTERP: u32 = 3;
    let short = |at: usize| {
        head.get(at..at + 2)
            .map_or(0, |b| u16::from_le_bytes([b[0], b[1]]))
    };
    let word = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    let Some(table) = word(32).filter(|_| head.starts_with(b"\x7fELF\x02\x01")) else {
        return Program::Unknown;
    };
    if contains(head, b"Go build ID: \"") || contains(head, b"\x04\0\0\0\x53\0\0\0\x04\0\0\0Go\0\0")
    {
        return Program::Go;
    }
    let entry = |index: u16| word(table as usize + usize::from(index) * usize::from(short(54)));
    match (0..short(56)).any(|index| entry(index) == Some(PT_INTERP)) {
        true => Program::Dynamic,
        false => Program::Static,
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The group that counts for a controller, from the lines of `/proc/PID/cgroup`.
fn group(lines: &str, hierarchy: &Hierarchy, controller: &str) -> Option<Group> {
    let path = path_in(lines, hierarchy.unified, controller)?;
    let folder = |path: &str| format!("{}{path}", hierarchy.mount);
    let counts = counting(path, hierarchy, controller)?;
    let weight = match (controller, hierarchy.unified) {
        ("cpu", true) => "cpu.weight",
        ("cpu", false) => "cpu.shares",
        _ => "",
    };
    let read = |name: &str| fs::read_to_string(Path::new(&folder(counts)).join(name));
    let members = read("cgroup.procs").unwrap_or_default();
    let leaf = fs::read_dir(folder(counts)).is_ok_and(|mut entries| {
        !entries.any(|entry| entry.is_ok_and(|e| e.file_type().is_ok_and(|kind| kind.is_dir())))
    });
    Some(Group {
        path: counts.to_owned(),
        own: counts == path,
        leaf,
        members: members
            .lines()
            .filter_map(|pid| pid.parse().ok())
            .take(Group::MOST)
            .collect(),
        weight: read(weight).ok().and_then(|text| text.trim().parse().ok()),
    })
}

/// The nearest group from `path` upwards for which the controller is enabled.
pub(super) fn counting<'a>(
    path: &'a str,
    hierarchy: &Hierarchy,
    controller: &str,
) -> Option<&'a str> {
    let mut counts = path;
    while hierarchy.unified && !has_controller(&format!("{}{counts}", hierarchy.mount), controller)
    {
        counts = above(counts)?;
    }
    Some(counts)
}

/// The group above one; `/` has none.
pub(super) fn above(path: &str) -> Option<&str> {
    let above = path.rsplit_once('/').filter(|_| path != "/")?.0;
    Some(if above.is_empty() { "/" } else { above })
}

/// The path in the line of v2 (`0::PATH`), or of v1's controller (`4:cpu,cpuacct:PATH`).
pub(super) fn path_in<'a>(lines: &'a str, unified: bool, controller: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match unified {
            true => id == "0",
            false => controllers.split(',').any(|c| c == old_name(controller)),
        };
        found.then_some(path.strip_suffix(" (deleted)").unwrap_or(path))
    })
}

fn has_controller(folder: &str, controller: &str) -> bool {
    fs::read_to_string(format!("{folder}/cgroup.controllers"))
        .is_ok_and(|text| text.split_ascii_whitespace().any(|c| c == controller))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nice_threads_and_policy_are_fields_of_stat() {
        let line = b"7 (a b) S 1 7 7 0 -1 4194304 0 0 0 0 7 3 0 0 39 19 4 0 12345 1000 200 99 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 5 0 0";
        assert_eq!(scheduling(line), Some((19, 4, 5)));
    }

    #[test]
    fn a_zombie_has_ended_whatever_its_name() {
        assert!(has_ended(b"7 (a) S) Z 1 7 7 0"));
        assert!(!has_ended(b"7 (a) Z) S 1 7 7 0"));
    }

    #[test]
    fn words_keep_their_spaces_and_empty_ones_stay() {
        assert_eq!(
            words(b"rsync\0-a\0a b\0\0x\0"),
            ["rsync", "-a", "a b", "", "x"]
        );
        assert!(words(&vec![b'x'; 5000]).is_empty());
    }

    #[test]
    fn an_autogroup_has_an_identity_and_a_nice_value() {
        assert_eq!(autogroup("/autogroup-23 nice -5\n"), Some((23, -5)));
        assert_eq!(autogroup("/ nice 0\n"), None);
    }

    #[test]
    fn the_path_is_the_controllers_own() {
        let lines = "4:cpu,cpuacct:/jobs\n3:blkio:/disks\n0::/x.service\n";
        assert_eq!(path_in(lines, false, "cpu"), Some("/jobs"));
        assert_eq!(path_in(lines, false, "io"), Some("/disks"));
        assert_eq!(path_in(lines, true, "io"), Some("/x.service"));
    }

    #[test]
    fn a_child_that_is_nice_and_idle_is_seen_so() {
        let mut child = std::process::Command::new("nice")
            .args(["-n", "7", "sleep", "60"])
            .env("XZ_OPT", "-9")
            .spawn()
            .unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let look = || {
            let patience = Duration::from_secs(10);
            let pids = [child.id()];
            let (mut found, _) = standings(&pids, &pids, &super::super::means(), patience);
            found.pop()
        };
        let mut seen = look();
        while seen
            .as_ref()
            .is_some_and(|seen| seen.arguments.first().is_none_or(|name| name != "sleep"))
            && std::time::Instant::now() < until
        {
            seen = look();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = seen.unwrap();
        assert_eq!((seen.nice, seen.threads, seen.policy), (7, 1, 0));
        assert_eq!(seen.arguments, ["sleep", "60"]);
        assert_eq!(seen.program, Program::Dynamic);
        assert_eq!(seen.defaults, ["XZ_OPT=-9"]);
        let gone = standings(&[u32::MAX], &[], &Means::default(), Duration::from_secs(10));
        assert_eq!(gone, (Vec::new(), Vec::new()));
    }

    #[test]
    fn an_elf_file_without_an_interpreter_is_static() {
        let mut head = vec![0; 64 + 56];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (head[32], head[54], head[56], head[64]) = (64, 56, 1, 1);
        assert_eq!(linked(&head), Program::Static);
        head[64] = 3;
        assert_eq!(linked(&head), Program::Dynamic);
        head.extend(b"\xff Go build ID: \"abc\"");
        assert_eq!(linked(&head), Program::Go);
        assert_eq!(linked(b"#!/bin/sh"), Program::Unknown);
    }
}
