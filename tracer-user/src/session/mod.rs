//! One trace: it attaches, reads until the window ends, and reads the rest.
//!
//! The types enforce the order of the steps. Nothing is loaded before the signals are caught. A window opens on an attached kernel
//! half, and closes on a detached one.

mod aside;
mod asked;
mod at_attach;
mod beside;
mod calls;
mod clients;
mod clip;
mod debuggers;
mod earlier;
mod end;
mod everybody;
mod found;
mod groups;
mod hands;
mod hearers;
mod holders;
mod homes;
mod limits;
mod locks;
mod memory;
mod newcomers;
mod scene;
mod settings;
mod shed;
mod stop;
mod takers;
mod titles;
mod window;

pub(crate) use self::{
    everybody::{Everybody, Next},
    settings::{Named, Settings},
    stop::{Signals, Stop, catch_ends, is_asked},
};

use std::time::Duration;

use anyhow::Result;
use tracer_common::shed::Group;

use self::{
    aside::Aside,
    at_attach::{AtAttach, Reading},
    beside::Beside,
    end::{finish, last_looks},
    limits::Limits,
    scene::Scene,
    shed::Shedding,
    stop::Ends,
    window::Window,
};
use crate::{
    event::Event,
    kernel::{
        Kernel,
        btf::Btf,
        features::Features,
        load::{self, Loader, Prepared, Scope, Traced, Unsupported},
    },
    machine::{clocks::now_ns, give_back_memory, priority},
    probes,
};

/// Most processes that match what the user named of which the standing is read at the end.
const MOST_TARGETS: usize = 64;

/// A trace under way.
pub(crate) struct Session {
    kernel: Kernel,
    window: Window,
    beside: Beside,
    limits: Limits,
    /// `None` if there is nothing to shed.
    shedding: Option<Shedding>,
    ends: Ends,
    /// Processes that match what the user named.
    targets: Vec<u32>,
    /// The events before the first record.
    facts: Vec<Event>,
    /// The records that came while the facts were looked for.
    early: Vec<Event>,
    description: String,
}

/// Takes events in order. The second argument reads all that is open right now: threads off the CPU, requests in flight.
pub(crate) type Sink<'a> = dyn FnMut(&[Event], &mut dyn FnMut() -> Vec<Event>) + 'a;

impl Session {
    /// Attaches, and collects the facts at attach.
    ///
    /// # Errors
    /// [`Unsupported`] if the kernel lacks or refuses a required probe.
    pub(crate) fn attach(loader: Loader, signals: Signals, settings: Settings) -> Result<Self> {
        let renewed = settings.named != Named::Processes;
        let ends = Ends::new(signals, &settings.pids, renewed);
        let begun = settings.begun;
        let done = |what: &str| log::debug!("{what} after {} ms", begun.elapsed().as_millis());
        done("ready to read the kernel's types");
        // On another CPU: the kernel's types and the maps keep this one busy.
        let reading = Reading::begin(&settings);
        let scope = Scope::Targets {
            follow_children: settings.follow_children,
        };
        let (features, prepared) = prepare(loader, scope, done)?;
        let (verified, (pids, read)) = load::load_programs(prepared, &features, |parents| {
            let pids = settings.with_children(|| parents.read());
            (pids, reading.end())
        });
        done("programs loaded");
        let AtAttach {
            disks,
            io_limits,
            means,
            limits,
            missing,
        } = read;
        let traced = Traced {
            pids,
            light: Vec::new(),
            disks,
            limits: io_limits,
        };
        let attached = load::attach(verified, &features, &traced)?;
        done("programs attached");
        let mut kernel = Kernel::open(attached, &features)?;
        let limits_read = Limits::begin(&settings.pids, &means, &limits);
        let mut window = Window::open(&kernel, settings.first(), means);
        let attach_ns = settings.begun.elapsed().as_nanos() as u64;
        log::info!("attached after {} ms", attach_ns / 1_000_000);
        let mut aside = Aside::new(&mut kernel);
        let mut scene = Scene::look(&settings, &traced.pids, &mut aside)?;
        let (early, unread) = aside.end();
        done("looked around");
        window.under_way = std::mem::take(&mut scene.under_way);
        let mut beside = Beside::begin(&settings, &scene);
        let frozen = beside.freezers.watch(&scene.targets);
        let mut start = scene.start(&settings, &window, &kernel, attach_ns, traced.disks);
        start.missing.extend(missing.into_iter().chain(unread));
        start.missing.extend(beside.freezers.missing());
        let description = scene.description(&settings);
        let mut facts = scene.into_events(start);
        facts.extend(frozen);
        let beside = beside.with_facts(&facts);
        let shedding = shedding(&kernel, window.begin_ns);
        Ok(Self {
            description,
            facts,
            early,
            kernel,
            window,
            beside,
            limits: limits_read,
            shedding,
            ends,
            targets: settings.pids.into_iter().take(MOST_TARGETS).collect(),
        })
    }

    /// The targets in a few words, for people.
    #[must_use]
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Reads until the end of the window, feeding `sink`.
    ///
    /// # Errors
    /// If a map cannot be read.
    pub(crate) async fn run(self, duration: Option<Duration>, sink: &mut Sink<'_>) -> Result<Stop> {
        let Self {
            mut kernel,
            window,
            mut beside,
            mut limits,
            mut shedding,
            mut ends,
            mut targets,
            facts,
            early,
            description: _,
        } = self;
        ends.within(duration);
        sink(&facts, &mut Vec::new);
        limits.see(&facts);
        drop(facts);
        sink(&limits.first(&mut kernel), &mut Vec::new);
        beside.see(&early);
        sink(&early, &mut Vec::new);
        drop(early);
        // Before memory is locked: attaching took several times the memory that is needed from now on.
        give_back_memory();
        if let Some(note) = priority::hold() {
            log::warn!("{note}");
        }
        let mut batch = Vec::new();
        let mut is_all_locked = true;
        let stop = loop {
            tokio::select! {
                () = tokio::time::sleep(kernel.rest()) => {}
                stop = ends.next() => break stop,
            }
            kernel.poll(&mut batch);
            beside.see(&batch);
            let found = beside.take(|pid| kernel.mark(&[pid]));
            limits.see(&found);
            batch.extend(found);
            for pid in beside.newcomers.take_matching() {
                ends.add(pid);
                if targets.len() < MOST_TARGETS {
                    targets.push(pid);
                }
            }
            let open = beside.locks.is_due().then(|| kernel.open_now());
            batch.extend(beside.take_locks(open, |pid| kernel.mark(&[pid])));
            let is_round = kernel.is_round();
            if is_round && is_all_locked {
                is_all_locked = !priority::lock_no_more();
            }
            batch.extend(beside.freezers.look(now_ns(), is_round));
            if is_round {
                let name = |address| kernel.function(address);
                let found = beside.groups.look(kernel.held_back(), &window.means, name);
                kernel.set_held_back(&found);
                batch.extend(limits.take(&mut kernel));
            }
            if let Some(shedding) = &mut shedding {
                shed_or_watch(&mut kernel, shedding, &mut batch);
            }
            sink(&batch, &mut || kernel.open_now());
            batch.clear();
        };
        sink(&last_looks(&mut kernel, &mut beside), &mut Vec::new);
        let last = finish(kernel, window, (beside, limits), targets, stop)?;
        sink(&last, &mut Vec::new);
        Ok(stop)
    }
}

/// The features of this kernel, and the maps for these processes. Says what is `done`.
fn prepare(loader: Loader, scope: Scope, done: impl Fn(&str)) -> Result<(Features, Prepared)> {
    let btf = Btf::of_kernel().map_err(|error| Unsupported(format!("{error:#}")))?;
    let features = Features::detect(&btf);
    done("features known");
    let prepared = load::prepare(loader, &btf, &features, scope)?;
    drop(btf);
    done("maps created");
    Ok((features, prepared))
}

/// What is shed of an attached kernel half: nothing yet. `None` if none of these probes is attached.
fn shedding(kernel: &Kernel, begin_ns: u64) -> Option<Shedding> {
    let missing = kernel.missing();
    let is_missing = |name: &str| missing.iter().any(|missing| missing.name() == name);
    let is_there = shed::is_there(probes::all(), Group::Interrupts, is_missing);
    is_there.then(|| Shedding::new(begin_ns))
}

/// Sheds probes or watches them again, as the queues ask for in which the target waits. Each change is an event of the batch: the records
/// from after it come later.
fn shed_or_watch(kernel: &mut Kernel, shedding: &mut Shedding, batch: &mut Vec<Event>) {
    shedding.see(batch);
    let now = now_ns();
    if !shedding.is_due(now) {
        return;
    }
    let by_itself = shedding.found(kernel.watched_ns(Group::Interrupts), now);
    batch.extend(by_itself);
    if let Some(is_shed) = shedding.decide(now, kernel.queued_ns())
        && let Some(since_ns) = kernel.shed(Group::Interrupts, is_shed)
    {
        batch.push(shedding.set(is_shed, since_ns));
    }
}
