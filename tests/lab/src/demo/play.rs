//! Plays a scene once: the server alone, then with the backup, then watched by tracer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use xtask::{
    command::{output, say},
    paths,
};

use super::{
    Args,
    judge::{self, Judgement},
    remedy::{self, Remedied},
    scene::Scene,
    world::World,
};
use crate::{
    latency::Latency,
    said::Said,
    world::{
        made::gone,
        process::{Program, Running, ends_with_us, family},
    },
};

/// How long the client measures, without and with the backup.
const MEASURED: Duration = Duration::from_secs(4);
/// How long the backup runs before anything is measured: its queues must have filled.
const SETTLED: Duration = Duration::from_millis(1500);
/// How much longer than the tracer the client asks: the server must be in use for the whole trace.
const MARGIN: Duration = Duration::from_secs(2);
/// How long tracer may take besides its window.
const TRACER_PATIENCE: Duration = Duration::from_secs(60);
/// The backup is in the way when it makes the slowest requests at least so many times slower.
const WORSE: f64 = 2.0;

/// The outcome of one run.
pub(crate) struct Outcome {
    /// Which scene.
    pub(crate) scene: Scene,
    /// The run's number, from 1.
    pub(crate) run: u32,
    /// Before the backup began.
    pub(crate) without: Latency,
    /// While it ran.
    pub(crate) with: Latency,
    /// Tracer's verdict, if it was asked and answered.
    pub(crate) said: Option<Said>,
    /// Whether the verdict is true of the scene.
    pub(crate) judgement: Judgement,
    /// The effect of a remedy, if one was to be applied and there is one.
    pub(crate) remedied: Option<Remedied>,
}

/// One run of a scene.
pub(crate) struct Play<'a> {
    /// Which scene.
    pub(crate) scene: Scene,
    /// The run's number, from 1.
    pub(crate) run: u32,
    /// The user's options.
    pub(crate) args: &'a Args,
    /// Where it takes place.
    pub(crate) world: &'a World,
    /// Directory for what stays: recording, flame graph, figures.
    pub(crate) keep: &'a Path,
}

impl Play<'_> {
    /// Plays it.
    pub(crate) fn play(&self) -> Result<Outcome> {
        if let Some(disk) = &self.world.disk {
            disk.remount()?;
        }
        let mut extras = Vec::new();
        for program in &self.world.extras {
            extras.push(program.start(Stdio::null())?);
        }
        let mut server = self.world.server.start(Stdio::null())?;
        server.expect_listening(self.world.address)?;

        self.say(&format!(
            "measuring without the backup, {} s …",
            MEASURED.as_secs()
        ));
        let without = self.measure("without")?;
        let mut backup = self.world.backup.start(Stdio::null())?;
        thread::sleep(SETTLED);
        self.say(&format!(
            "measuring with the backup, {} s …",
            MEASURED.as_secs()
        ));
        let with = self.measure("with")?;
        backup.expect_alive()?;

        let (said, judgement) = if (with.p99_ns as f64) < WORSE * without.p99_ns as f64 {
            (None, Judgement::Void)
        } else if self.args.physics {
            (None, Judgement::NotAsked)
        } else {
            self.watch(&server, &mut backup)?
        };
        let remedied = if self.args.apply_remedy && judgement == Judgement::Right {
            self.remedy(&mut backup)?
        } else {
            None
        };
        Ok(Outcome {
            scene: self.scene,
            run: self.run,
            without,
            with,
            said,
            judgement,
            remedied,
        })
    }

    /// Has tracer watch the server, shows what it says, and judges that.
    fn watch(&self, server: &Running, backup: &mut Running) -> Result<(Option<Said>, Judgement)> {
        let client = self.client(self.args.duration + MARGIN)?;
        let (recording, flame_graph) = (self.file("tracer"), self.file("svg"));
        for file in [&recording, &flame_graph] {
            // An earlier demo's file must not be taken for this one's.
            gone(fs::remove_file(file))?;
        }
        let tracer = self.attach(server.pid(), &recording, &flame_graph)?;
        let patience = self.args.duration + TRACER_PATIENCE;
        let (status, suspects) = wait_watching(tracer, backup.pid(), patience)?;
        backup.expect_alive()?;
        fs::write(self.file("traced.json"), client.output()?)?;
        if !status.success() {
            let why = format!("tracer ended with {status}");
            return Ok((None, Judgement::Wrong(why)));
        }
        if flame_graph.exists() {
            let place = flame_graph.display();
            self.say(&format!("the flame graph lies in {place}"));
        }
        match self.report(&recording) {
            Ok(said) => {
                let judgement = judge::judge(&said, self.scene, &suspects);
                Ok((Some(said), judgement))
            }
            // A tracer that cannot read its own recording is wrong, and the other runs are still to be seen.
            Err(error) => Ok((None, Judgement::Wrong(format!("{error:#}")))),
        }
    }

    /// Runs the first remedy that applies, and measures with it. The culprit is the backup: the verdict was right.
    fn remedy(&self, backup: &mut Running) -> Result<Option<Remedied>> {
        let report = fs::read_to_string(self.file("json")).context("could not read the report")?;
        let Some(command) = remedy::first(&report)? else {
            return Ok(None);
        };
        self.say(&format!("applying a remedy: {}", command.escape_debug()));
        remedy::apply(&command, &self.world.server)?;
        thread::sleep(SETTLED);
        backup.expect_alive()?;
        let latency = self.measure("remedied")?;
        Ok(Some(Remedied { command, latency }))
    }

    /// Starts tracer, with its text on our stdout.
    fn attach(&self, pid: u32, recording: &Path, flame_graph: &Path) -> Result<Child> {
        let window = self.args.duration.as_secs_f64();
        self.say(&format!(
            "tracer watches the server, pid {pid}, {window} s …"
        ));
        let mut tracer = Command::new(paths::tracer());
        tracer.args(["attach", "--pid", &pid.to_string()]);
        tracer.args(["--duration", &written(self.args.duration)]);
        tracer.arg("--record").arg(recording);
        tracer.arg("--flamegraph").arg(flame_graph);
        ends_with_us(tracer, libc::SIGTERM)
            .stdin(Stdio::null())
            .spawn()
            .context("could not start tracer: build it with `cargo xtask`")
    }

    /// Tracer's report of its recording.
    fn report(&self, recording: &Path) -> Result<Said> {
        let mut report = Command::new(paths::tracer());
        report
            .arg("report")
            .arg(recording)
            .args(["--output", "json"]);
        let json = output(&mut report, "have tracer report its recording")?;
        fs::write(self.file("json"), &json)?;
        Said::parse(&json)
    }

    fn measure(&self, phase: &str) -> Result<Latency> {
        let json = self.client(MEASURED)?.output()?;
        fs::write(self.file(&format!("{phase}.json")), &json)?;
        Latency::parse(&json)
    }

    fn client(&self, length: Duration) -> Result<Running> {
        let client: Program = self
            .world
            .client
            .clone()
            .with(["--for-ms", &length.as_millis().to_string()]);
        client.start(Stdio::piped())
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.keep
            .join(format!("{}-{}.{extension}", self.scene.name(), self.run))
    }

    fn say(&self, text: &str) {
        say(&format!("{} {}: {text}", self.scene.name(), self.run));
    }
}

/// A length of time as it is given on a command line.
fn written(length: Duration) -> String {
    match length.as_millis() {
        whole if whole % 1000 == 0 => format!("{}s", whole / 1000),
        millis => format!("{millis}ms"),
    }
}

/// Waits for tracer, and notes meanwhile which processes the backup consists of: compressors come and go.
fn wait_watching(
    mut tracer: Child,
    backup: u32,
    patience: Duration,
) -> Result<(ExitStatus, Vec<u32>)> {
    let end = Instant::now() + patience;
    let mut suspects = Vec::new();
    loop {
        suspects.extend(family(backup));
        suspects.sort_unstable();
        suspects.dedup();
        if let Some(status) = tracer.try_wait().context("could not wait for tracer")? {
            return Ok((status, suspects));
        }
        if Instant::now() > end {
            tracer.kill().context("could not end tracer")?;
            tracer.wait().context("could not wait for tracer")?;
            bail!("tracer did not come to its end");
        }
        thread::sleep(Duration::from_millis(200));
    }
}
