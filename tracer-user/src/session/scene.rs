//! The processes and connections that are there as the window begins, as the events before the first record.

use std::fs;

use anyhow::Result;

use super::{
    Named, Settings,
    aside::{Aside, unread},
    calls::threads_of,
    hearers::place,
    window::Window,
};
use crate::{
    event::{
        self, Disk, Event, OpenSocket, Process, Question, RemoteMount, Unanswered, Unheard,
        WriteSeen,
    },
    kernel::{self, Kernel},
    machine::{
        clocks::{clock_ns, now_ns},
        looks::Found,
        proc::{self, Sockets, UnderWay},
    },
    standing::home,
};

/// What is looked for once, and the cost if that takes too long.
const SOCKETS: (&str, &str) = (
    "the target's sockets, and who was sending at attach",
    "requests that were open at attach are not seen, nor on which ports it listens, and packets on the way have no owner until their \
     sockets send anew",
);
const UNANSWERED: (&str, &str) = (
    "the target's connections",
    "who had asked whom before attach is unknown",
);
const HEARERS: (&str, &str) = (
    "who hears the target's connections",
    "a server that hung before attach may look idle",
);
const WRITES: (&str, &str) = (
    "who has to read what the target writes",
    "who does not read since before attach is not named",
);
const REMOTE: (&str, &str) = (
    "the target's mounts",
    "waits for file systems of other machines do not name their servers",
);
const DISKS: (&str, &str) = ("/sys/block", "disks have no names");

/// Every process of this machine, and the targets' connections.
pub(super) struct Scene {
    processes: Vec<Process>,
    /// Processes to be traced; the first gives the report its name.
    pub(super) targets: Vec<u32>,
    /// The targets' open connections, but for idle ones of their clients.
    pub(super) sockets: Vec<OpenSocket>,
    /// Ports on which they listen.
    pub(super) listening: Vec<u32>,
    /// What they asked that nobody has answered.
    questions: Vec<Question>,
    unanswered: Vec<Unanswered>,
    /// The connections that nobody hears.
    unheard: Vec<Unheard>,
    /// Who has to read what their threads write.
    writes: Vec<WriteSeen>,
    /// Answers of the targets that are under way.
    pub(super) under_way: UnderWay,
    /// Their threads, and what those wait for.
    threads: Vec<Event>,
    /// The disks of this machine.
    disks: Vec<Disk>,
    /// The mounts of the first target that have their data elsewhere.
    remote: Vec<RemoteMount>,
}

impl Scene {
    /// Looks around `aside`, once the probes fire. It marks children that were forked between the first look and the attach of the
    /// probe of forks. The processes `marked` are targets already.
    ///
    /// # Errors
    /// If a target cannot be marked.
    pub(super) fn look(settings: &Settings, marked: &[u32], aside: &mut Aside<'_>) -> Result<Self> {
        let mut processes = processes(aside);
        let parents = || processes.iter().map(|p| (p.pid, p.parent_pid)).collect();
        let targets = settings.with_children(parents);
        let is_late = |pid: &u32| !marked.contains(pid);
        let late: Vec<u32> = targets.iter().copied().filter(is_late).collect();
        aside.kernel.mark(&late)?;
        for process in &mut processes {
            process.target = targets.contains(&process.pid);
        }
        // The targets first: the search may end before it has come to the last.
        let everybody = targets.iter().copied();
        let everybody: Vec<u32> = everybody.chain(processes.iter().map(|p| p.pid)).collect();
        let pids = targets.clone();
        let Sockets {
            open: sockets,
            listening,
            questions,
            senders,
        } = aside.look_once(SOCKETS, move || proc::sockets(&pids, &everybody));
        aside.kernel.set_senders(&senders);
        let (pids, open, ports) = (targets.clone(), sockets.clone(), listening.clone());
        let (mut unanswered, under_way) = aside.look_once(UNANSWERED, move || {
            let mut under_way = UnderWay::default();
            let found = proc::unanswered(&pids, &open, &ports, &mut under_way);
            (found, under_way)
        });
        let mut place = place(&targets, &listening, &unanswered, &sockets);
        let owing = place.owing.clone();
        let ((unheard, awaited), fellows) = aside.look_once(HEARERS, move || {
            let fellows = proc::wait_for_fellows(&place.pids);
            let servers = proc::serve_streams(&place.pids);
            for pid in fellows.iter().copied().chain(servers) {
                if !place.owing.contains(&pid) {
                    place.owing.push(pid);
                }
            }
            (proc::unheard_and_awaited(&place), fellows)
        });
        unanswered.extend(awaited);
        // Apart: it may hang in the memory of a target.
        let (owing, ports) = ([owing, fellows].concat(), listening.clone());
        let writes = aside.look_once(WRITES, move || proc::writes(&owing, &ports));
        let first = targets.first().copied();
        Ok(Self {
            threads: threads(&targets, aside),
            disks: disks(aside),
            remote: aside.look_once(REMOTE, move || {
                first.map(proc::remote_mounts).unwrap_or_default()
            }),
            under_way,
            processes,
            targets,
            sockets,
            listening,
            questions,
            unanswered,
            unheard,
            writes,
        })
    }

    /// The targets in a few words, for people.
    #[must_use]
    pub(super) fn description(&self, settings: &Settings) -> String {
        let first = settings.first();
        let is_first = |process: &&Process| process.pid == first;
        let comm = self.processes.iter().find(is_first);
        let comm = comm.map_or("?", |process| process.comm.as_str());
        let group = match &settings.named {
            Named::Group(wanted) => format!("{wanted}: "),
            Named::Processes | Named::Comm(_) | Named::Port(_) => String::new(),
        };
        match self.targets.len() - 1 {
            0 => format!("{group}{comm} (pid {first})"),
            1 => format!("{group}{comm} (pid {first}) and 1 more process"),
            more => format!("{group}{comm} (pid {first}) and {more} more processes"),
        }
    }

    /// The start of the trace. Attaching took `attach_ns` nanoseconds; `disks` are the device numbers of the disks under the
    /// targets' mounts.
    #[must_use]
    pub(super) fn start(
        &self,
        settings: &Settings,
        window: &Window,
        kernel: &Kernel,
        attach_ns: u64,
        disks: Vec<u32>,
    ) -> event::Start {
        let is_first = |process: &&Process| process.pid == settings.first();
        let first = self.processes.iter().find(is_first);
        // Read with all others: the kernel may have one lock for all groups, and this thread may not hang.
        let cgroup = first.map(|process| process.cgroup.clone());
        let cgroup = cgroup.filter(|cgroup| !cgroup.is_empty());
        event::Start {
            targets: settings.pids.clone(),
            unit: cgroup
                .as_deref()
                .and_then(home::unit_or_session)
                .map(str::to_owned),
            cgroup,
            listening: self.listening.clone(),
            target_disks: disks,
            missing: kernel
                .missing()
                .iter()
                .cloned()
                .chain(window.missing())
                .collect(),
            ..start(window.begin_ns, attach_ns)
        }
    }

    /// Everything that was true at attach, in the order that the model needs; `start` comes first.
    #[must_use]
    pub(super) fn into_events(self, start: event::Start) -> Vec<Event> {
        let mut events = vec![Event::Start(Box::new(start))];
        events.extend(self.processes.into_iter().map(Event::Process));
        let pid = std::process::id();
        events.push(Event::Tracer(event::Tracer { pid }));
        events.extend(self.threads);
        events.extend(self.disks.into_iter().map(Event::Disk));
        events.extend(self.remote.into_iter().map(Event::RemoteMount));
        // The model asks for the others when they are used.
        let unread = self.sockets.into_iter();
        let unread = unread.filter(|socket| socket.unread_bytes > 0);
        events.extend(unread.map(Event::OpenSocket));
        events.extend(self.questions.into_iter().map(Event::Question));
        events.extend(self.unanswered.into_iter().map(Event::Unanswered));
        events.extend(self.unheard.into_iter().map(Event::Unheard));
        events.extend(self.writes.into_iter().map(Event::WriteSeen));
        events
    }
}

/// The start of a trace on this machine, which began at `begin_ns`. Attaching took `attach_ns` nanoseconds.
#[must_use]
pub(super) fn start(begin_ns: u64, attach_ns: u64) -> event::Start {
    let since_begin_ns = now_ns().saturating_sub(begin_ns);
    event::Start {
        ns: begin_ns,
        wall_ns: clock_ns(libc::CLOCK_REALTIME).saturating_sub(since_begin_ns),
        attach_ns,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: system_word("osrelease"),
        cpus: kernel::online_cpus(),
        hostname: system_word("hostname"),
        ..event::Start::default()
    }
}

/// The disks of this machine.
pub(super) fn disks(aside: &mut Aside<'_>) -> Vec<Disk> {
    aside.look_once(DISKS, proc::disks)
}

/// Every process, in order of pid. One that is stuck in its memory has no command line.
pub(super) fn processes(aside: &mut Aside<'_>) -> Vec<Process> {
    let Found {
        found,
        unread: stuck,
    } = aside.look(proc::pids(), proc::look_at_process());
    let stuck = stuck.into_iter().filter_map(proc::process_but_cmdline);
    let stuck: Vec<Process> = stuck.collect();
    if !stuck.is_empty() {
        let what = format!("the command lines of {} processes", stuck.len());
        aside.miss(unread(&what, "they have only a name", None));
    }
    let mut all: Vec<Process> = found.into_iter().flatten().chain(stuck).collect();
    all.sort_unstable_by_key(|process| process.pid);
    all
}

/// The threads of the targets, and what those wait for that sleep already.
fn threads(targets: &[u32], aside: &mut Aside<'_>) -> Vec<Event> {
    let Found {
        found,
        unread: stuck,
    } = aside.look(targets.to_vec(), |pid| threads_of(&[pid]));
    if !stuck.is_empty() {
        let what = format!("the threads of {} target processes", stuck.len());
        let cost = "their waits that began before attach are not seen";
        aside.miss(unread(&what, cost, None));
    }
    found.into_iter().flatten().collect()
}

/// A file of `/proc/sys/kernel`; empty if it cannot be read.
fn system_word(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    text.unwrap_or_default().trim().to_owned()
}
