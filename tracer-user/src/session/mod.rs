//! One trace: attached probes, the facts at attach, the loop that reads, the totals at the end.

mod asked;
mod at_attach;
mod clients;
mod holders;

use std::{
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{Signal, SignalKind, signal},
};
use tracer_common::{block::IO_OPEN, config::MISSING, sched::WAIT_OPEN};

use self::{
    asked::Asked,
    at_attach::{Before, with_children},
    clients::Clients,
    holders::Holders,
};
use crate::{
    event::{self, Event},
    kernel::{
        btf::Btf,
        features::Features,
        held_back::Groups,
        load::{self, Attached, Loader, Traced, Unsupported},
        pace::Pace,
        reader::{self, Reader},
        rings,
        self_time::{Ran, SelfTime},
        smt,
        symbols::KernelSymbols,
    },
    machine::{
        clocks::{clock_ns, now_ns},
        evidence::Evidence,
        give_back_memory,
        ingress::Ingress,
        priority, proc,
        steal::Steal,
    },
    standing::{Means, OwnLimit},
};

/// What to trace.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Processes that were asked for.
    pub(crate) pids: Vec<u32>,
    /// Their children too.
    pub(crate) follow_children: bool,
    /// When the tracer started.
    pub(crate) begun: Instant,
}

/// Why a trace ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The time was over.
    Duration,
    /// Ctrl-C or SIGTERM.
    Signal,
    /// All processes that were asked for are gone.
    TargetExited,
}

/// The signals that end a trace with a report. Caught before anything is attached, so that none of them ends it without one.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches SIGINT and SIGTERM from now on; within a runtime.
    ///
    /// # Errors
    /// If they cannot be caught.
    pub(crate) fn catch() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot catch SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot catch SIGTERM")?,
        })
    }
}

/// A trace under way.
pub(crate) struct Session {
    attached: Attached,
    reader: Reader,
    holders: Holders,
    asked: Asked,
    groups: Groups,
    clients: Clients,
    means: Means,
    limits: Vec<OwnLimit>,
    evidence: Evidence,
    ingress: Ingress,
    steal: Steal,
    self_time: SelfTime,
    /// Begin of the window.
    begin_ns: u64,
    /// Does the kernel tell in each slice what was stolen?
    steal_by_slice: bool,
    targets: Vec<u32>,
    facts: Vec<Event>,
    exits: Vec<OwnedFd>,
    description: String,
}

/// Takes events in order; the second argument reads what is open right now (threads off the CPU, requests in flight).
pub(crate) type Sink<'a> = dyn FnMut(&[Event], &mut dyn FnMut() -> Vec<Event>) + 'a;

impl Session {
    /// Attaches, and collects the facts at attach.
    ///
    /// # Errors
    /// [`Unsupported`] if the kernel lacks or refuses something that is required.
    pub(crate) fn attach(loader: Loader, settings: Settings) -> Result<Self> {
        let exits = settings
            .pids
            .iter()
            .filter_map(|pid| proc::process_descriptor(*pid))
            .collect();
        let asked = settings.clone();
        // Beside the kernel's types and the maps, which keep one CPU busy.
        let before = thread::spawn(move || Before::read(&asked));
        let btf = Btf::of_kernel().map_err(|error| Unsupported(format!("{error:#}")))?;
        let features = Features::detect(&btf);
        let mut prepared = load::prepare(loader, &btf, &features, settings.follow_children)?;
        drop(btf);
        let Ok(before) = before.join() else {
            bail!("cannot read how the target stands");
        };
        let Before {
            disks,
            io_limits,
            means,
            limits,
        } = before;
        let traced = Traced {
            pids: with_children(&settings, || prepared.parents()),
            disks,
            limits: io_limits,
        };
        let mut attached = load::attach(prepared, &features, &traced)?;
        // A hundred thousand names, of which none is needed before the first stack.
        let symbols = thread::spawn(|| {
            let symbols = KernelSymbols::read();
            give_back_memory();
            symbols
        });
        let evidence = Evidence::begin(settings.pids.first().copied().unwrap_or_default());
        let window_ns = now_ns();
        let ingress = Ingress::begin(window_ns);
        let steal = Steal::begin();
        let attach_ns = settings.begun.elapsed().as_nanos() as u64;
        let mut processes = proc::processes(|_| false);
        // Children that were forked before the fork probe was there, and after the first look.
        let marked = traced.pids;
        let pids = with_children(&settings, || {
            let of = |process: &event::Process| (process.pid, process.parent_pid);
            processes.iter().map(of).collect()
        });
        let late: Vec<u32> = pids
            .iter()
            .copied()
            .filter(|pid| !marked.contains(pid))
            .collect();
        load::set_targets(&mut attached.ebpf, &late)?;
        let everybody: Vec<u32> = processes.iter().map(|process| process.pid).collect();
        load::set_senders(&mut attached.ebpf, &proc::senders(&everybody));
        let symbols = move || symbols.join().ok().and_then(Result::ok).unwrap_or_default();
        let reader = Reader::new(&mut attached.ebpf, Box::new(symbols))?;
        rings::map_once();
        for process in &mut processes {
            process.target = pids.contains(&process.pid);
        }
        let description = describe(&settings, &processes, pids.len());
        let (sockets, listening) = proc::sockets(&pids);
        let unanswered = proc::unanswered(&pids, &sockets, &listening);
        let mut asked = Asked::new(&pids, &listening);
        let clients = Clients::new(&listening);
        asked.see_open(&sockets);
        let mut start = start(&settings, &attached, window_ns, attach_ns);
        start.listening = listening;
        start.target_disks = traced.disks;
        if !evidence.has_log() {
            start.missing.push(no_log());
        }
        let mut facts = facts(start, processes, &pids, sockets);
        facts.extend(unanswered.into_iter().map(Event::Unanswered));
        Ok(Self {
            attached,
            reader,
            holders: Holders::default(),
            asked,
            groups: Groups::default(),
            clients,
            means,
            limits,
            evidence,
            ingress,
            steal,
            self_time: SelfTime::begin(),
            begin_ns: window_ns,
            steal_by_slice: features.config.offsets.rq_stolen != MISSING,
            targets: settings.pids,
            facts,
            exits,
            description,
        })
    }

    /// Whom it traces, for people.
    #[must_use]
    pub(crate) fn description(&self) -> String {
        self.description.clone()
    }

    /// Reads until the end of the window, feeding `sink`.
    ///
    /// # Errors
    /// If signals cannot be caught or a map cannot be read.
    pub(crate) async fn run(
        mut self,
        mut signals: Signals,
        duration: Option<Duration>,
        sink: &mut Sink<'_>,
    ) -> Result<Stop> {
        let exits = std::mem::take(&mut self.exits);
        let all_exited = wait_for_all(exits);
        tokio::pin!(all_exited);
        let deadline = duration.map(|duration| tokio::time::Instant::now() + duration);
        let mut pace = Pace::default();
        sink(&std::mem::take(&mut self.facts), &mut Vec::new);
        // Of what attaching took only what the model keeps is held in memory.
        give_back_memory();
        if let Some(note) = priority::hold() {
            eprintln!("tracer: {note}");
        }
        let mut batch = Vec::new();
        let stop = loop {
            tokio::select! {
                () = tokio::time::sleep(pace.rest()) => {}
                () = sleep_until(deadline) => break Stop::Duration,
                _ = signals.interrupt.recv() => break Stop::Signal,
                _ = signals.terminate.recv() => break Stop::Signal,
                () = &mut all_exited => break Stop::TargetExited,
            }
            self.self_time.tick(&self.attached.ebpf);
            let before = self.reader.received().0;
            self.reader.poll(&mut batch);
            pace.took(self.reader.received().0 - before);
            self.holders.see(&batch);
            self.asked.see(&batch);
            self.clients.see(&batch);
            self.follow(&mut batch);
            let name = |address| self.reader.function(address);
            if pace.is_round() {
                self.groups.look(&mut self.attached.ebpf, &self.means, name);
            }
            batch.extend(self.clients.take());
            let ebpf = &self.attached.ebpf;
            sink(&batch, &mut || reader::open(ebpf, now_ns()));
            batch.clear();
        };
        let end = self.finish(stop)?;
        sink(&end, &mut Vec::new);
        Ok(stop)
    }

    /// Marks processes that the target asks, and says so: their waits are recorded from now on. One that cannot be marked is not
    /// followed, and stays upstream.
    fn follow(&mut self, batch: &mut Vec<Event>) {
        for found in self.asked.take() {
            if load::set_targets(&mut self.attached.ebpf, &[found.pid]).is_err() {
                continue;
            }
            let ports = Vec::from_iter(found.port);
            batch.push(Event::Follow(event::Follow {
                ns: now_ns(),
                pid: found.pid,
                by_pid: found.by_pid,
                listening: ports.clone(),
            }));
            batch.extend(proc::threads(found.pid).into_iter().map(Event::Thread));
            let unanswered = proc::unanswered(&[found.pid], &[], &ports);
            batch.extend(unanswered.into_iter().map(Event::Unanswered));
        }
    }

    /// Detaches, and reads what is left: the rings, what was open at the end, the totals.
    fn finish(&mut self, stop: Stop) -> Result<Vec<Event>> {
        let end_ns = now_ns();
        let open = reader::open(&self.attached.ebpf, end_ns);
        let shared = smt::shared(&self.attached.ebpf, end_ns);
        let ran = self.self_time.end(&self.attached.ebpf);
        load::detach(&mut self.attached.ebpf);
        let mut events = Vec::new();
        self.reader.finish(&mut events);
        let mut events: Vec<Event> = events
            .into_iter()
            .filter_map(|event| clip(event, end_ns))
            .collect();
        events.extend(open.into_iter().filter_map(|event| clip(event, end_ns)));
        self.holders.see(&events);
        events.extend(reader::totals(&self.attached.ebpf, end_ns)?);
        events.extend(shared);
        let (stolen, line) = self.steal.end();
        if !self.steal_by_slice {
            events.extend(stolen);
        }
        events.extend(self.standings(&events));
        let mut end = self.end(end_ns, stop, ran)?;
        end.evidence.extend(line);
        events.push(Event::End(Box::new(end)));
        Ok(events)
    }

    /// How the target and those who held most stand: what a remedy is checked against.
    fn standings(&mut self, events: &[Event]) -> Vec<Event> {
        self.means.interfaces = proc::interfaces();
        let mut pids = self.holders.largest(events);
        pids.extend(&self.targets);
        pids.remove(&std::process::id());
        let pids = Vec::from_iter(pids);
        let standings = proc::standings(&pids, &self.means).into_iter();
        let mut facts: Vec<Event> = standings
            .map(|standing| Event::Standing(Box::new(standing)))
            .collect();
        facts.extend(self.limits.drain(..).map(Event::OwnLimit));
        facts.push(Event::Means(Box::new(self.means.clone())));
        facts
    }

    fn end(&mut self, end_ns: u64, stop: Stop, ran: Ran) -> Result<event::End> {
        let mut losses = reader::losses(&self.attached.ebpf)?;
        losses.count_nested(ran.nested);
        let mut evidence = [self.evidence.end(), self.ingress.end(end_ns)].concat();
        evidence.extend(reader::unseen(&self.attached.ebpf, end_ns - self.begin_ns));
        Ok(event::End {
            ns: end_ns,
            sent: losses.sent,
            received: self.reader.received().0,
            ring_drops: losses.ring,
            map_losses: losses.maps,
            recording_drops: 0,
            cpu_ns: clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID),
            rss_bytes: proc::self_rss_bytes(),
            maps_bytes: load::maps_bytes(&self.attached.ebpf),
            kernel_ns: ran.kernel_ns,
            evidence,
            target_exited: stop == Stop::TargetExited,
        })
    }
}

/// What is lost without `/dev/kmsg`.
fn no_log() -> event::MissingProbe {
    event::MissingProbe {
        probe: "kernel log".to_owned(),
        cost: "errors that the kernel logged are not shown".to_owned(),
        blinds: None,
    }
}

/// What an event says of the time until `end_ns`; nothing for what began later.
fn clip(mut event: Event, end_ns: u64) -> Option<Event> {
    match &mut event {
        Event::Wait(wait) if wait.off_ns > end_ns => return None,
        Event::Wait(wait) if wait.ns > end_ns => {
            wait.run_queue_ns = wait.run_queue_ns.saturating_sub(wait.ns - end_ns);
            wait.ns = end_ns;
            wait.flags |= WAIT_OPEN;
        }
        Event::Io(io) if io.queue_ns > end_ns => return None,
        Event::Io(io) if io.ns > end_ns => {
            io.ns = end_ns;
            io.flags |= IO_OPEN;
        }
        Event::Slice(slice) if slice.begin_ns < end_ns => slice.ns = slice.ns.min(end_ns),
        Event::Histogram(_) | Event::Stack(_) => {}
        other if other.ns() > end_ns => return None,
        _ => {}
    }
    Some(event)
}

fn describe(settings: &Settings, processes: &[event::Process], traced: usize) -> String {
    let first = settings.pids.first().copied().unwrap_or_default();
    let comm = processes
        .iter()
        .find(|process| process.pid == first)
        .map_or("?", |process| process.comm.as_str());
    match traced - 1 {
        0 => format!("{comm} (pid {first})"),
        1 => format!("{comm} (pid {first}) and 1 more process"),
        more => format!("{comm} (pid {first}) and {more} more processes"),
    }
}

fn start(settings: &Settings, attached: &Attached, window_ns: u64, attach_ns: u64) -> event::Start {
    let wall_ns = clock_ns(libc::CLOCK_REALTIME).saturating_sub(now_ns().saturating_sub(window_ns));
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let first = settings.pids.first().copied().unwrap_or_default();
    let cgroup = proc::cgroup_of(first);
    event::Start {
        ns: window_ns,
        wall_ns,
        attach_ns,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: read("/proc/sys/kernel/osrelease"),
        cpus: aya::util::online_cpus().map_or(1, |cpus| cpus.len() as u32),
        hostname: read("/proc/sys/kernel/hostname"),
        targets: settings.pids.clone(),
        unit: cgroup.as_deref().and_then(proc::unit_of),
        cgroup,
        listening: Vec::new(),
        target_disks: Vec::new(),
        missing: attached.missing.clone(),
    }
}

/// Everything that was true at attach, in the order in which the model wants it.
fn facts(
    start: event::Start,
    processes: Vec<event::Process>,
    pids: &[u32],
    sockets: Vec<event::OpenSocket>,
) -> Vec<Event> {
    let mut facts = vec![Event::Start(Box::new(start))];
    facts.extend(processes.into_iter().map(Event::Process));
    facts.extend(
        pids.iter()
            .flat_map(|pid| proc::threads(*pid))
            .map(Event::Thread),
    );
    facts.extend(proc::disks().into_iter().map(Event::Disk));
    let remote = pids.first().map(|pid| proc::remote_mounts(*pid));
    facts.extend(remote.into_iter().flatten().map(Event::RemoteMount));
    facts.extend(sockets.into_iter().map(Event::OpenSocket));
    facts
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns when every process has ended; never, if there is nothing to wait for.
async fn wait_for_all(exits: Vec<OwnedFd>) {
    if exits.is_empty() {
        std::future::pending::<()>().await;
    }
    for exit in exits {
        // SAFETY: the descriptor is owned, and lives as long as its registration.
        let exit = unsafe { AsyncFd::register_with_interest(exit, tokio::io::Interest::READABLE) };
        if let Ok(exit) = exit {
            let _ = exit.readable().await;
        }
    }
}
