//! The processes and connections that are there as the window begins, as the events before the first record.

use std::fs;

use anyhow::Result;

use super::{Settings, calls::threads_of, window::Window};
use crate::{
    event::{self, Event, OpenSocket, Process, Unanswered},
    kernel::{self, Kernel},
    machine::{
        clocks::{clock_ns, now_ns},
        proc,
    },
};

/// Every process of this machine, and the targets' connections.
pub(super) struct Scene {
    processes: Vec<Process>,
    /// Processes to be traced; the first gives the report its name.
    pub(super) targets: Vec<u32>,
    /// The targets' open connections.
    pub(super) sockets: Vec<OpenSocket>,
    /// Ports on which they listen.
    pub(super) listening: Vec<u32>,
    unanswered: Vec<Unanswered>,
}

impl Scene {
    /// Looks around once the probes fire. It marks children that were forked between the first look and the attach of the probe of
    /// forks. The processes `marked` are targets already.
    ///
    /// # Errors
    /// If a target cannot be marked.
    pub(super) fn look(settings: &Settings, marked: &[u32], kernel: &mut Kernel) -> Result<Self> {
        let mut processes = proc::processes(|_| false);
        let parents = || processes.iter().map(|p| (p.pid, p.parent_pid)).collect();
        let targets = settings.with_children(parents);
        let is_late = |pid: &u32| !marked.contains(pid);
        let late: Vec<u32> = targets.iter().copied().filter(is_late).collect();
        kernel.mark(&late)?;
        let everybody: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        kernel.set_senders(&proc::senders(&everybody));
        for process in &mut processes {
            process.target = targets.contains(&process.pid);
        }
        let (sockets, listening) = proc::sockets(&targets);
        Ok(Self {
            unanswered: proc::unanswered(&targets, &sockets, &listening),
            processes,
            targets,
            sockets,
            listening,
        })
    }

    /// The targets in a few words, for people.
    #[must_use]
    pub(super) fn description(&self, settings: &Settings) -> String {
        let first = settings.first();
        let is_first = |process: &&Process| process.pid == first;
        let comm = self.processes.iter().find(is_first);
        let comm = comm.map_or("?", |process| process.comm.as_str());
        match self.targets.len() - 1 {
            0 => format!("{comm} (pid {first})"),
            1 => format!("{comm} (pid {first}) and 1 more process"),
            more => format!("{comm} (pid {first}) and {more} more processes"),
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
        let since_begin_ns = now_ns().saturating_sub(window.begin_ns);
        let cgroup = proc::cgroup_of(settings.first());
        event::Start {
            ns: window.begin_ns,
            wall_ns: clock_ns(libc::CLOCK_REALTIME).saturating_sub(since_begin_ns),
            attach_ns,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: system_word("osrelease"),
            cpus: kernel::online_cpus(),
            hostname: system_word("hostname"),
            targets: settings.pids.clone(),
            unit: cgroup.as_deref().and_then(proc::unit_of),
            cgroup,
            listening: self.listening.clone(),
            target_disks: disks,
            missing: kernel
                .missing()
                .iter()
                .cloned()
                .chain(window.missing())
                .collect(),
        }
    }

    /// Everything that was true at attach, in the order that the model needs; `start` comes first.
    #[must_use]
    pub(super) fn into_events(self, start: event::Start) -> Vec<Event> {
        let mut events = vec![Event::Start(Box::new(start))];
        events.extend(self.processes.into_iter().map(Event::Process));
        let pid = std::process::id();
        events.push(Event::Tracer(event::Tracer { pid }));
        events.extend(threads_of(&self.targets));
        events.extend(proc::disks().into_iter().map(Event::Disk));
        let remote = self.targets.first().map(|pid| proc::remote_mounts(*pid));
        events.extend(remote.into_iter().flatten().map(Event::RemoteMount));
        events.extend(self.sockets.into_iter().map(Event::OpenSocket));
        events.extend(self.unanswered.into_iter().map(Event::Unanswered));
        events
    }
}

/// A file of `/proc/sys/kernel`; empty if it cannot be read.
fn system_word(name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}"));
    text.unwrap_or_default().trim().to_owned()
}
