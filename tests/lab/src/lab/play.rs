//! Plays a scenario once: the server alone, then beside the backups and watched by tracer. The client measures in the very window
//! that is judged.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use xtask::{command::say, paths};

use super::{
    compared::Compared,
    felt,
    meter::{Cast, Meter},
    outcome::{Asked, Label, Measured, Outcome, Suspect},
    scenario::{Scenario, Scene, Truth},
};
use crate::{
    latency::Latency,
    said::Said,
    world::{
        made::gone,
        process::{Running, ends_with_us, family, keep_this_thread_on, usable_cpus},
    },
};

/// How long the client measures without the backups, and with them where tracer does not watch.
const MEASURED: Duration = Duration::from_secs(3);
/// How long the backups run before anything is measured: their queues must have filled.
const SETTLED: Duration = Duration::from_millis(1500);
/// How often to look which processes there are.
const OFTEN: Duration = Duration::from_millis(100);
/// What a report calls the resource of who waits for somebody's answer, and that of who waits for nothing.
const UPSTREAM: &str = "upstream";
const NOTHING: &str = "none";
/// How long tracer may take besides its window.
const TRACER_PATIENCE: Duration = Duration::from_secs(60);

/// One run of a scenario.
pub(crate) struct Play<'a> {
    /// Which.
    pub(crate) scenario: &'a Scenario,
    /// The run's number, from 1.
    pub(crate) run: u32,
    /// Its programs and its truth.
    pub(crate) scene: &'a Scene,
    /// How long tracer watches; none where it is not asked.
    pub(crate) window: Option<Duration>,
    /// How much longer than the window the client asks. Tracer needs about 0.3 s to begin, and the server must be in use to the end.
    pub(crate) margin: Duration,
    /// Directory for what stays: recording, report, figures.
    pub(crate) keep: &'a Path,
}

/// The programs that run.
struct Actors {
    server: Running,
    backups: Vec<Running>,
    // The last to end: the others may need them.
    extras: Vec<Running>,
}

impl Actors {
    fn cast(&self) -> Cast {
        let families = |programs: &[Running]| -> Vec<Vec<u32>> {
            let pids = programs.iter().map(Running::pid);
            pids.map(family).collect()
        };
        Cast {
            server: family(self.server.pid()),
            backups: families(&self.backups),
            extras: families(&self.extras),
        }
    }

    fn expect_alive(&mut self) -> Result<()> {
        self.server.expect_alive()?;
        let mut others = self.backups.iter_mut().chain(&mut self.extras);
        others.try_for_each(Running::expect_alive)
    }
}

/// Processes and counters while tracer watched.
struct Watched {
    /// All processes that were seen of each program.
    cast: Cast,
    /// The growth of each counter per second.
    grown: Vec<f64>,
}

impl Play<'_> {
    /// Plays it.
    pub(crate) fn play(&self) -> Result<Outcome> {
        for disk in &self.scene.disks {
            disk.remount()?;
        }
        let mut extras = Vec::new();
        for program in &self.scene.extras {
            extras.push(program.start(Stdio::null())?);
        }
        let server = self.scene.server.start(Stdio::null())?;
        let mut running = Actors {
            server,
            backups: Vec::new(),
            extras,
        };
        if let Some(address) = self.scene.address {
            running.server.expect_listening(address)?;
        }
        let without = self.alone()?;
        for backup in &self.scene.backups {
            running.backups.push(backup.program.start(Stdio::null())?);
        }
        thread::sleep(SETTLED);
        running.expect_alive()?;
        let mut outcome = Outcome {
            scenario: self.scenario.name.to_owned(),
            run: self.run,
            label: self.label(&[], &running.cast()),
            void: None,
            without,
            with: None,
            compared: Compared::default(),
            measured: Vec::new(),
            said: None,
            failed: None,
        };
        self.watch(&mut running, &mut outcome)?;
        if self.window.is_some() {
            outcome.keep(self.keep)?;
        }
        Ok(outcome)
    }

    /// How long the client asks beside the backups.
    fn asked(&self) -> Duration {
        self.window.unwrap_or(MEASURED) + self.margin
    }

    /// Why a run does not count, if it does not: its physics did not happen.
    fn void(&self, outcome: &Outcome) -> Option<String> {
        if self.scene.client.is_some() && outcome.with.is_none() {
            return Some("no request had an answer".to_owned());
        }
        self.not_felt(outcome.without, outcome.with)
            .or_else(|| self.not_as_long(outcome.with))
            .or_else(|| not_grown(&outcome.measured))
    }

    /// Why the client's figures are not those of the scenario, if they are not.
    fn not_felt(&self, without: Option<Latency>, with: Option<Latency>) -> Option<String> {
        felt::not_felt(self.scene.slower.as_ref()?, without?, with?, self.asked())
    }

    /// Why requests do not take as long as those of the scenario, if they do not.
    fn not_as_long(&self, with: Option<Latency>) -> Option<String> {
        let bounds = self.scene.usual_ms.as_ref()?;
        let usual_ms = with?.p50_ns as f64 / 1e6;
        (!bounds.contains(&usual_ms)).then(|| {
            format!(
                "requests usually take {usual_ms:.1} ms, not {} to {}",
                bounds.start(),
                bounds.end()
            )
        })
    }

    /// Counts, and has tracer watch if it is asked.
    fn watch(&self, running: &mut Actors, outcome: &mut Outcome) -> Result<()> {
        let client = self.client(self.asked())?;
        let tracer = match self.window {
            None => None,
            Some(window) => Some(self.attach(running.server.pid(), window)?),
        };
        // This thread looks through all of `/proc` again and again. Keep it off the last CPU, where the server runs.
        let cpus = usable_cpus()?;
        keep_this_thread_on(&cpus[..cpus.len() - 1])?;
        let counted = self.count(running, tracer);
        keep_this_thread_on(&cpus)?;
        let (watched, status) = counted?;
        running.expect_alive()?;
        // The backups may be so much in the way that no request has an answer in time. Then there is nothing to compare.
        let figures = client.map(Running::output).transpose()?;
        let latency = figures.as_ref().map(|json| Latency::parse(json));
        outcome.with = latency.and_then(Result::ok);
        let uses = self.uses().len();
        let physics = self.scene.physics.iter().zip(&watched.grown[uses..]);
        outcome.measured = physics
            .map(|(physics, &per_second)| Measured {
                what: physics.meter.name(),
                per_second,
                least: *physics.per_second.start(),
                most: Some(*physics.per_second.end()).filter(|most| most.is_finite()),
            })
            .collect();
        outcome.label = self.label(&watched.grown[..uses], &watched.cast);
        outcome.void = self.void(outcome);
        match status {
            None => {}
            Some(Err(why)) => outcome.failed = Some(why),
            Some(Ok(())) => {
                let read = fs::read_to_string(outcome.file(self.keep, "json"));
                if let (Some(client), Ok(report)) = (&figures, &read) {
                    outcome.compared = Compared::new(client, report, self.scene.others_ask);
                }
                match read
                    .context("tracer wrote no report")
                    .and_then(|json| Said::parse(&json))
                {
                    Ok(said) => outcome.said = Some(said),
                    Err(error) => outcome.failed = Some(format!("{error:#}")),
                }
            }
        }
        Ok(())
    }

    /// Reads the counters at the begin and at the end of tracer's window. Meanwhile it notes which processes there are: compressors
    /// come and go.
    fn count(
        &self,
        running: &Actors,
        tracer: Option<Child>,
    ) -> Result<(Watched, Option<Result<(), String>>)> {
        let mut meters = self.uses();
        meters.extend(
            self.scene
                .physics
                .iter()
                .map(|physics| physics.meter.clone()),
        );
        let mut cast = running.cast();
        let before = read_all(&meters, &cast)?;
        let begin = Instant::now();
        let end = begin + self.window.unwrap_or(MEASURED);
        while Instant::now() < end {
            thread::sleep(OFTEN);
            join(&mut cast, running.cast());
        }
        let elapsed = begin.elapsed().as_secs_f64();
        // Before the client ends: the threads of its connections end with it, and with them the kernel's figures of them.
        let after = read_all(&meters, &cast)?;
        let status = tracer.map(wait_for_tracer).transpose()?;
        join(&mut cast, running.cast());
        let grown = before
            .iter()
            .zip(after)
            .map(|(before, after)| (after - before).max(0.0) / elapsed);
        let grown = grown.collect();
        Ok((Watched { grown, cast }, status))
    }

    /// The counters of what each backup uses of the resource that the guilty hold.
    fn uses(&self) -> Vec<Meter> {
        match &self.scene.truth {
            Truth::Guilty {
                used: Some(used), ..
            } => (0..self.scene.backups.len()).map(used).collect(),
            _ => Vec::new(),
        }
    }

    fn label(&self, used: &[f64], cast: &Cast) -> Label {
        let backups = || self.scene.backups.iter().enumerate();
        let all: f64 = backups()
            .filter(|(_, backup)| backup.guilty)
            .filter_map(|(number, _)| used.get(number))
            .sum();
        let suspect = |(number, backup): (usize, &super::scenario::Backup)| Suspect {
            name: backup.name.to_owned(),
            guilty: backup.guilty,
            excused: backup.excused,
            pids: cast.backups.get(number).cloned().unwrap_or_default(),
            share: used
                .get(number)
                .filter(|_| backup.guilty && all > 0.0)
                .map(|used| used / all),
        };
        Label {
            resource: match self.scene.truth {
                Truth::Guilty { resource, .. } | Truth::Own { resource, .. } => {
                    Some(resource.to_owned())
                }
                Truth::Asked { .. } => Some(UPSTREAM.to_owned()),
                Truth::Nothing => Some(NOTHING.to_owned()),
                Truth::Innocent => None,
            },
            part: match &self.scene.truth {
                Truth::Own { part, .. } => part.clone(),
                _ => None,
            },
            asked: match &self.scene.truth {
                Truth::Asked { extra, address } => Some(Asked {
                    pids: extra
                        .and_then(|number| cast.extras.get(number))
                        .cloned()
                        .unwrap_or_default(),
                    address: address.clone(),
                }),
                _ => None,
            },
            backups: backups().map(suspect).collect(),
        }
    }

    /// Starts tracer; its output while it watches goes to a file.
    fn attach(&self, pid: u32, window: Duration) -> Result<Child> {
        self.say(&format!(
            "tracer watches pid {pid} for {} s …",
            window.as_secs_f64()
        ));
        let file = |extension: &str| {
            self.keep
                .join(format!("{}-{}.{extension}", self.scenario.name, self.run))
        };
        // An earlier run's file must not be taken for this one's.
        gone(fs::remove_file(file("tracer")))?;
        let create = |path: PathBuf| {
            File::create(&path).with_context(|| format!("could not make {}", path.display()))
        };
        let mut tracer = Command::new(paths::tracer());
        tracer.args(["attach", "--pid", &pid.to_string(), "--output", "json"]);
        tracer.args(["--duration", &format!("{}ms", window.as_millis())]);
        tracer.arg("--record").arg(file("tracer"));
        ends_with_us(tracer, libc::SIGTERM)
            .stdin(Stdio::null())
            .stdout(create(file("json"))?)
            .stderr(create(file("stderr"))?)
            .spawn()
            .context("could not start tracer: build it with `cargo xtask`")
    }

    /// The client's figures while nothing runs beside the server.
    fn alone(&self) -> Result<Option<Latency>> {
        let Some(client) = self.client(MEASURED)? else {
            return Ok(None);
        };
        self.say(&format!(
            "measuring without the backups, {} s …",
            MEASURED.as_secs()
        ));
        measured(client).map(Some)
    }

    fn client(&self, length: Duration) -> Result<Option<Running>> {
        let millis = length.as_millis().to_string();
        let client = self
            .scene
            .client
            .clone()
            .map(|client| client.with(["--for-ms", &millis]));
        client
            .map(|client| client.start(Stdio::piped()))
            .transpose()
    }

    fn say(&self, text: &str) {
        say(&format!("{} {}: {text}", self.scenario.name, self.run));
    }
}

/// Waits for its end; the inner error says why there is no report.
fn wait_for_tracer(mut tracer: Child) -> Result<Result<(), String>> {
    let end = Instant::now() + TRACER_PATIENCE;
    loop {
        match tracer.try_wait().context("could not wait for tracer")? {
            Some(status) if status.success() => return Ok(Ok(())),
            Some(status) => return Ok(Err(format!("tracer ended with {status}"))),
            None if Instant::now() < end => thread::sleep(OFTEN),
            None => {
                tracer.kill().context("could not end tracer")?;
                tracer.wait().context("could not wait for tracer")?;
                bail!("tracer did not come to its end");
            }
        }
    }
}

fn read_all(meters: &[Meter], cast: &Cast) -> Result<Vec<f64>> {
    meters.iter().map(|meter| meter.read(cast)).collect()
}

fn join(all: &mut Cast, seen: Cast) {
    let joined = |all: &mut Vec<u32>, seen: Vec<u32>| {
        all.extend(seen);
        all.sort_unstable();
        all.dedup();
    };
    joined(&mut all.server, seen.server);
    let others = all.backups.iter_mut().zip(seen.backups);
    let extras = all.extras.iter_mut().zip(seen.extras);
    for (all, seen) in others.chain(extras) {
        joined(all, seen);
    }
}

/// The first counter that did not grow as it should have, if there is one.
fn not_grown(measured: &[Measured]) -> Option<String> {
    let missing = measured.iter().find(|measured| !measured.holds())?;
    Some(format!("{}: {:.3}", missing.what, missing.per_second))
}

/// A client's figures, once it is done.
fn measured(client: Running) -> Result<Latency> {
    Latency::parse(&client.output()?)
}
