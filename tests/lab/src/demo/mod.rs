//! `cargo xtask demo`: tracer at work on scenes of known truth.
//!
//! In each scene a web server, a client and a backup share one scarce thing. It is a slow disk, a shaped link or one CPU. The
//! backup must make the server measurably slower, else the run is void. Tracer must then name the thing and the backup, else the
//! run is wrong.
//!
//! Code map: [`scene`] lists the scenes. [`disk`], [`network`] and [`cpu`] make them from the parts in [`crate::world`].
//! [`mod@play`] plays a run, [`judge`] compares, [`remedy`] applies a remedy, [`table`] shows.

mod cpu;
mod disk;
mod judge;
mod network;
mod play;
mod remedy;
mod scene;
mod table;
mod world;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use xtask::{
    build,
    command::{is_root, say},
    paths, setup,
};

use self::{
    judge::Judgement,
    play::{Outcome, Play},
    scene::Scene,
};
use crate::world::{Room, caller, ledger, supervise};

/// How often to try a run while its backup does not slow the server.
const ATTEMPTS: u32 = 3;

/// The scenes to show, and how.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which scene
    #[arg(value_enum, default_value = "all")]
    scene: Choice,
    /// Use real programs: nginx as the server; tar, rsync and gzip as the backups
    #[arg(long, value_enum)]
    with: Option<With>,
    /// How often to play each scene
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// How long tracer watches
    #[arg(long, default_value = "10s", value_parser = caller::duration)]
    duration: Duration,
    /// Directory for recordings, flame graphs, reports and the client's figures [default: target/demo]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Directory on a real disk for what is needed while the demo runs
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    /// The I/O scheduler of the slow disk, such as mq-deadline or bfq [default: none]
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// After a right verdict run its first remedy that applies here, and measure once more
    #[arg(long, conflicts_with = "physics")]
    apply_remedy: bool,
    /// Play the scenes without tracer, to see what the backup does to the server
    #[arg(long, hide = true)]
    physics: bool,
    /// Everything is built: said by the demo to itself when it starts itself anew as root
    #[arg(long, hide = true)]
    built: bool,
    /// Somebody cleans up: said by the demo to itself when it starts the process that plays
    #[arg(long, hide = true)]
    supervised: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum Choice {
    Disk,
    Network,
    Cpu,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum With {
    Nginx,
}

impl Args {
    /// Whether real programs play.
    fn real(&self) -> bool {
        self.with == Some(With::Nginx)
    }

    fn scenes(&self) -> &'static [Scene] {
        match self.scene {
            Choice::Disk => &[Scene::Disk],
            Choice::Network => &[Scene::Network],
            Choice::Cpu => &[Scene::Cpu],
            Choice::All => Scene::ALL,
        }
    }

    fn keep(&self) -> PathBuf {
        self.keep
            .clone()
            .unwrap_or_else(|| paths::target().join("demo"))
    }
}

/// Plays the scenes, shows the table, and fails where tracer was wrong.
pub(crate) fn run(args: Args) -> Result<()> {
    if args.supervised {
        return play_and_show(&args);
    }
    if !args.built {
        // Still as the calling user: root's files in the target directory would be in the way of later builds.
        prepare(&args)?;
    }
    if !is_root() {
        return caller::again_as_root("the demo makes a disk, a link and control groups");
    }
    let status = supervise::supervise(&args.scratch)?;
    caller::give_back(&args.keep());
    // The player has shown its errors.
    std::process::exit(status)
}

fn play_and_show(args: &Args) -> Result<()> {
    let outcomes = play_all(args)?;
    println!("\n{}", table::table(&outcomes));
    if args.apply_remedy {
        println!("{}", table::remedies(&outcomes));
    }
    verdict(&outcomes)
}

/// Installs what is missing, and builds tracer and the demo's own programs.
fn prepare(args: &Args) -> Result<()> {
    setup::demo_tools()?;
    if args.real() {
        setup::nginx_tools()?;
    }
    if !args.physics {
        build::run(&build::Args::default())?;
    }
    build::scene_programs()
}

fn play_all(args: &Args) -> Result<Vec<Outcome>> {
    let keep = args.keep();
    fs::create_dir_all(&keep).with_context(|| format!("could not make {}", keep.display()))?;
    let mut outcomes = Vec::new();
    for &scene in args.scenes() {
        let mark = ledger::mark()?;
        say(&format!("{}: making the scene …", scene.name()));
        let room = Room::make(&args.scratch)?;
        let world = scene.make(args, &room)?;
        for run in 1..=args.repeat {
            outcomes.extend(play(&Play {
                scene,
                run,
                args,
                world: &world,
                keep: &keep,
            })?);
        }
        ledger::undo(mark)?;
    }
    Ok(outcomes)
}

/// Plays a run until it is not void; returns all attempts.
fn play(play: &Play<'_>) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for _ in 0..ATTEMPTS {
        let outcome = play
            .play()
            .with_context(|| format!("the {} scene failed", play.scene.name()))?;
        let void = outcome.judgement == Judgement::Void;
        outcomes.push(outcome);
        if !void {
            break;
        }
        say(&format!(
            "{} {}: void, the backup did not slow the server",
            play.scene.name(),
            play.run
        ));
    }
    Ok(outcomes)
}

/// Fails where a run was wrong, or void at every attempt.
fn verdict(outcomes: &[Outcome]) -> Result<()> {
    let wrong = outcomes
        .iter()
        .filter(|outcome| matches!(outcome.judgement, Judgement::Wrong(_)))
        .count();
    let same = |a: &Outcome, b: &Outcome| a.scene == b.scene && a.run == b.run;
    let runs = outcomes.chunk_by(same);
    let void = runs
        .filter(|run| {
            run.iter()
                .all(|outcome| outcome.judgement == Judgement::Void)
        })
        .count();
    if wrong + void > 0 {
        bail!("{wrong} runs wrong, {void} void at every attempt");
    }
    Ok(())
}
