//! Control groups that freeze processes: which file does it, and who writes that file.
//!
//! With the freezer of cgroup v1 a sleeping thread is frozen where it sleeps (6.1 and later). No switch shows that, and there is no
//! tracepoint. But whoever freezes a group writes a file, and `fanotify` reports the writer. Without it the files are read from time
//! to time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::CString,
    fs,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use super::standing::{above, path_in};
use crate::event::{Event, Freeze, MissingProbe};

/// The file of cgroup v1 that freezes a group, and the one of v2.
const OLD: &str = "freezer.state";
const UNIFIED: &str = "cgroup.freeze";

/// Most processes that are watched: children share the groups of their parents, and a service has few.
const MOST: usize = 1024;

/// The groups of the target's processes.
pub(crate) struct Freezers {
    /// Where the hierarchies are mounted, and the file of each.
    hierarchies: Vec<Hierarchy>,
    /// Reports writes; `None` if the kernel cannot, or may not here.
    notices: Option<OwnedFd>,
    /// Files of which it reports writes.
    marked: HashSet<String>,
    groups: BTreeMap<u32, Group>,
    /// The last process of which the group was looked up again.
    renewed: u32,
}

/// A hierarchy that can freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    unified: bool,
    mount: String,
}

/// The groups of a process.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Files that freeze its group or one above, the nearest first.
    files: Vec<String>,
    /// The one that does.
    frozen_by: Option<String>,
}

impl Freezers {
    /// Watches nobody yet.
    #[must_use]
    pub(crate) fn begin() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        Self {
            hierarchies: hierarchies(&mounts),
            notices: notices(),
            marked: HashSet::new(),
            groups: BTreeMap::new(),
            renewed: 0,
        }
    }

    /// The reports of writes as a missing probe, where groups can be frozen and the kernel does not report who does it.
    #[must_use]
    pub(crate) fn missing(&self) -> Option<MissingProbe> {
        let is_missing = self.notices.is_none() && !self.hierarchies.is_empty();
        is_missing.then(|| MissingProbe {
            probe: "fanotify".to_owned(),
            cost: "who freezes the target's cgroup is unknown, and a short freeze is not seen"
                .to_owned(),
            blinds: None,
        })
    }

    /// Watches these processes, too. Returns those that are frozen, as if they had been so since attach.
    pub(crate) fn watch(&mut self, pids: &[u32]) -> Vec<Event> {
        pids.iter().filter_map(|pid| self.renew(*pid, 0)).collect()
    }

    /// Takes note of children of processes that are watched, and of the end of processes.
    pub(crate) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            match event {
                Event::Fork(fork) if fork.target && fork.pid == fork.tid => {
                    if let Some(group) = self.groups.get(&fork.parent_pid).cloned()
                        && self.groups.len() < MOST
                    {
                        self.groups.insert(fork.pid, group);
                    }
                }
                Event::Exit(exit) => _ = self.groups.remove(&exit.pid),
                _ => {}
            }
        }
    }

    /// The groups that were frozen or let go since the last look, at `now_ns`. In a round it also looks up the group of one process
    /// again, which may have been moved.
    pub(crate) fn look(&mut self, now_ns: u64, is_round: bool) -> Vec<Event> {
        let mut events = Vec::new();
        let writers = self.writers();
        if !writers.is_empty() {
            for (pid, group) in &mut self.groups {
                if group.files.iter().any(|file| writers.contains_key(file)) {
                    events.extend(group.changed(*pid, now_ns, &writers));
                }
            }
        }
        if is_round {
            let after = self.groups.range(self.renewed + 1..).next();
            let next = after.or_else(|| self.groups.iter().next());
            if let Some(pid) = next.map(|(pid, _)| *pid) {
                events.extend(self.renew(pid, now_ns));
                self.renewed = pid;
            }
            if self.notices.is_none() {
                let all = self.groups.iter_mut();
                events.extend(all.filter_map(|(pid, group)| group.changed(*pid, now_ns, &writers)));
            }
        }
        events
    }

    /// Looks up the group of a process.
    fn renew(&mut self, pid: u32, now_ns: u64) -> Option<Event> {
        let lines = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        if self.groups.len() >= MOST && !self.groups.contains_key(&pid) {
            return None;
        }
        let files = files(&lines, &self.hierarchies);
        for file in &files {
            if self.marked.insert(file.clone())
                && let Some(notices) = &self.notices
            {
                mark(notices, file);
            }
        }
        let group = self.groups.entry(pid).or_default();
        group.files = files;
        group.changed(pid, now_ns, &HashMap::new())
    }

    /// The files written since the last look, with their last writers.
    fn writers(&self) -> HashMap<String, u32> {
        let mut writers = HashMap::new();
        let Some(notices) = &self.notices else {
            return writers;
        };
        let mut buffer = [0_u8; 4096];
        loop {
            // SAFETY: the buffer has that many bytes.
            let read = unsafe {
                libc::read(
                    notices.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                )
            };
            // Nothing more, or an error: then the files are read in the next round of nobody's writes.
            let Some(bytes) = usize::try_from(read).ok().filter(|read| *read > 0) else {
                return writers;
            };
            for (file, pid) in written(&buffer[..bytes]) {
                writers.insert(file, pid);
            }
        }
    }
}

impl Group {
    /// Is it frozen or let go since the last look?
    fn changed(&mut self, pid: u32, now_ns: u64, writers: &HashMap<String, u32>) -> Option<Event> {
        let found = self.files.iter().find(|file| freezes(file)).cloned();
        if found == self.frozen_by {
            return None;
        }
        let by_pid = found.as_ref().and_then(|file| writers.get(file)).copied();
        self.frozen_by.clone_from(&found);
        Some(Event::Freeze(Freeze {
            ns: now_ns,
            pid,
            file: found.unwrap_or_default(),
            by_pid: by_pid.unwrap_or(0),
        }))
    }
}

/// Does the group of this file freeze its processes itself, and not only because one above does?
fn freezes(file: &str) -> bool {
    let own = match file.strip_suffix(OLD) {
        Some(folder) => format!("{folder}freezer.self_freezing"),
        None => file.to_owned(),
    };
    fs::read_to_string(own).is_ok_and(|text| text.trim() == "1")
}

/// The hierarchies in a list of mounts that can freeze.
fn hierarchies(mounts: &str) -> Vec<Hierarchy> {
    let found = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (mount, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let unified = kind == "cgroup2";
        let old = kind == "cgroup" && options.split(',').any(|option| option == "freezer");
        (unified || old).then(|| Hierarchy {
            unified,
            mount: mount.to_owned(),
        })
    });
    found.collect()
}

/// The files that freeze a process, by the lines of its `/proc/PID/cgroup`. The root of a hierarchy has none.
fn files(lines: &str, hierarchies: &[Hierarchy]) -> Vec<String> {
    let mut files = Vec::new();
    for Hierarchy { unified, mount } in hierarchies {
        let name = if *unified { UNIFIED } else { OLD };
        let path = path_in(lines, *unified, "freezer");
        let paths = std::iter::successors(path, |path| above(path));
        let inner = paths.filter(|path| *path != "/");
        files.extend(inner.map(|path| format!("{mount}{path}/{name}")));
    }
    files
}

/// A descriptor of `fanotify`.
fn notices() -> Option<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_NONBLOCK | libc::FAN_CLOEXEC;
    let opens = (libc::O_RDONLY | libc::O_CLOEXEC) as u32;
    // SAFETY: no pointers.
    let fd = unsafe { libc::fanotify_init(flags, opens) };
    // SAFETY: the descriptor is open, and nothing else owns it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks for writes of a file. A file that is not there is not written.
fn mark(notices: &OwnedFd, file: &str) {
    let Ok(path) = CString::new(file) else { return };
    // SAFETY: a path that ends with 0.
    unsafe {
        libc::fanotify_mark(
            notices.as_raw_fd(),
            libc::FAN_MARK_ADD,
            libc::FAN_MODIFY,
            libc::AT_FDCWD,
            path.as_ptr(),
        )
    };
}

/// The files of these reports, and who wrote each.
fn written(mut reports: &[u8]) -> Vec<(String, u32)> {
    const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
    let mut written = Vec::new();
    while reports.len() >= SIZE {
        // SAFETY: the kernel wrote so many bytes, and any bit pattern is valid.
        let report = unsafe {
            reports
                .as_ptr()
                .cast::<libc::fanotify_event_metadata>()
                .read_unaligned()
        };
        if let Some(file) = file_of(report.fd) {
            written.push((file, u32::try_from(report.pid).unwrap_or(0)));
        }
        let length = (report.event_len as usize).max(SIZE);
        reports = reports.get(length..).unwrap_or_default();
    }
    written
}

/// The path of a descriptor that came with a report, which is closed; `None` where reports were lost.
fn file_of(fd: RawFd) -> Option<String> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the kernel opened it for this reader.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    Some(path.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_both_hierarchies_are_found_from_the_group_upwards() {
        let mounts = "cgroup /c/freezer cgroup rw,relatime,freezer 0 0\n\
                      cgroup /c/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /c/unified cgroup2 rw 0 0\n";
        let found = hierarchies(mounts);
        assert_eq!(found.len(), 2);
        let lines = "5:freezer:/jobs/a\n4:cpu:/b\n0::/x\n";
        assert_eq!(
            files(lines, &found),
            [
                "/c/freezer/jobs/a/freezer.state",
                "/c/freezer/jobs/freezer.state",
                "/c/unified/x/cgroup.freeze"
            ]
        );
        assert!(files("5:freezer:/\n0::/\n", &found).is_empty());
    }

    #[test]
    fn a_group_is_reported_once_when_it_is_frozen_and_once_when_it_is_let_go() {
        let dir = std::env::temp_dir().join(format!("freezer-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let file = dir.join(UNIFIED).to_str().unwrap().to_owned();
        let mut freezers = Freezers::begin();
        let group = Group {
            files: vec![file.clone()],
            frozen_by: None,
        };
        freezers.groups.insert(7, group);
        if let Some(notices) = &freezers.notices {
            fs::write(&file, "0").unwrap();
            mark(notices, &file);
        }
        let mut change = |text: &str, ns| {
            fs::write(&file, text).unwrap();
            let is_round = freezers.notices.is_none();
            freezers.look(ns, is_round)
        };
        let by_pid = |event: &Event| match event {
            Event::Freeze(freeze) => (freeze.ns, freeze.pid, freeze.file.is_empty()),
            _ => unreachable!("only freezes"),
        };
        let seen: Vec<_> = [("1", 5), ("1", 6), ("0", 9), ("0", 10)]
            .into_iter()
            .flat_map(|(text, ns)| change(text, ns))
            .collect();
        fs::remove_dir_all(&dir).unwrap();
        let seen: Vec<_> = seen.iter().map(by_pid).collect();
        assert_eq!(seen, [(5, 7, false), (9, 7, true)]);
    }

    #[test]
    fn a_child_has_the_group_of_its_parent_until_it_ends() {
        let mut freezers = Freezers::begin();
        freezers.groups.insert(7, Group::default());
        let fork = |pid, parent_pid| {
            Event::Fork(crate::event::Fork {
                pid,
                tid: pid,
                parent_pid,
                target: true,
                ..crate::event::Fork::default()
            })
        };
        freezers.see(&[fork(8, 7), fork(10, 9)]);
        assert!(freezers.groups.keys().eq(&[7, 8]));
        freezers.see(&[Event::Exit(crate::event::Exit { ns: 0, pid: 8 })]);
        assert!(freezers.groups.keys().eq(&[7]));
    }

    #[test]
    fn this_process_is_not_frozen() {
        assert_eq!(Freezers::begin().watch(&[std::process::id()]), []);
    }
}
