//! `cargo xtask lab`: scenarios of known truth, and tracer's verdicts on them.
//!
//! A scenario counts only where its physics happened. The client must have felt the backup (or not), and the kernel's counters must
//! have grown as the label says. Else it is void, and tried again. A right verdict has the right resource and every guilty backup,
//! with the shares that the kernel counted. A verdict that accuses anybody else is wrong, whatever else is right.
//!
//! Code map: [`scenarios`] lists the scenarios in words of [`scenario`], and [`turns`] says which of them `--quick` plays today.
//! [`mod@play`] plays one with [`meter`]s, and [`felt`] asks whether the client felt it. [`outcome`] is the kept result, with tracer's
//! verdict as [`said`](crate::said) reads it. [`mod@grade`] compares it with the truth, and [`compared`] the times of requests with the
//! client's. [`table`] and [`mod@calibration`] show.

mod again;
mod calibration;
mod compared;
mod felt;
mod grade;
mod meter;
mod outcome;
mod play;
mod scenario;
mod scenarios;
mod table;
mod turns;

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use xtask::{
    build,
    command::{is_root, say},
    paths, setup,
};

use self::{
    grade::{Grade, grade},
    outcome::Outcome,
    play::Play,
    scenario::{Scenario, Stage},
};
use crate::world::{caller, ledger, supervise};

/// How often to try a scenario while its physics do not happen.
const ATTEMPTS: u32 = 3;

/// How often to try to remove what a scenario made, and how long to wait before the next try.
const UNDO_TRIES: u32 = 6;
const UNDO_REST: Duration = Duration::from_secs(10);

/// The scenarios to play, and how.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask lab --list\n  cargo xtask lab cpu-70-30 slow-client --repeat 3\n  \
    cargo xtask lab --keep DIR      all, with recordings\n  cargo xtask lab --judge DIR     the same verdicts again from them\n  \
    cp target/release/tracer /tmp/before, change tracer, and ask whether its reports are what they were:\n  \
    cargo xtask lab --same DIR --than /tmp/before"
)]
pub(crate) struct Args {
    /// Scenarios, or families of them such as disk; all when none is named
    names: Vec<String>,
    /// List the scenarios
    #[arg(long)]
    list: bool,
    /// Play a few of all families, and others each day, in about three minutes
    #[arg(long, conflicts_with = "names")]
    quick: bool,
    /// How often to play each scenario
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    /// Play them in another order than that of the list, the same for the same number
    #[arg(long, value_name = "NUMBER")]
    shuffle: Option<u64>,
    /// How long tracer watches
    #[arg(long, default_value = "10s", value_parser = caller::duration)]
    duration: Duration,
    /// How much longer than tracer watches the client asks: tracer must have begun by then
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = caller::duration)]
    margin: Duration,
    /// Write all outcomes as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Directory for recordings, reports and labels [default: target/lab]
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Play nothing: grade tracer's verdicts of today on the recordings in this directory, and compare with the live ones
    #[arg(long, value_name = "DIR")]
    judge: Option<PathBuf>,
    /// Play nothing: compare two builds' JSON reports of the recordings in this directory, byte by byte (the demo's too)
    #[arg(long, value_name = "DIR", requires = "than", conflicts_with = "judge")]
    same: Option<PathBuf>,
    /// The other build's tracer, for --same
    #[arg(long, value_name = "FILE", requires = "same")]
    than: Option<PathBuf>,
    /// Directory on a real disk for what is needed while scenarios are played
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    /// A whole disk that scenarios may overwrite; may be given several times: the families journal and memory need two
    #[arg(long, value_name = "DEVICE")]
    disk: Vec<PathBuf>,
    /// Play without tracer, to see whether the physics happen
    #[arg(long)]
    physics: bool,
    /// Everything is built: said by the lab to itself when it starts itself anew as root
    #[arg(long, hide = true)]
    built: bool,
    /// Somebody cleans up: said by the lab to itself when it starts the process that plays
    #[arg(long, hide = true)]
    supervised: bool,
}

impl Args {
    fn keep(&self) -> PathBuf {
        self.keep
            .clone()
            .unwrap_or_else(|| paths::target().join("lab"))
    }

    /// Whether a family can be played here. Most machines lack what some of them need: these are played where somebody asks for them.
    fn has_room_for(&self, family: &str) -> bool {
        // What `--quick` plays is listed as it is played.
        let asked = (self.list && !self.quick) || !self.names.is_empty();
        match family {
            scenarios::ON_WHOLE_DISKS => asked || !self.disk.is_empty(),
            scenarios::IN_LITTLE_MEMORY | scenarios::WITH_MODULES => asked,
            _ => true,
        }
    }

    /// The scenarios that were asked for, in the order in which they are to be played.
    fn scenarios(&self) -> Result<Vec<(&'static str, &'static Scenario)>> {
        self.scenarios_on(turns::today())
    }

    fn scenarios_on(&self, day: u64) -> Result<Vec<(&'static str, &'static Scenario)>> {
        let all = || {
            scenarios::ALL
                .iter()
                .flat_map(|(family, list)| list.iter().map(move |scenario| (*family, scenario)))
        };
        for name in &self.names {
            if !all().any(|(family, scenario)| family == name || scenario.name == name) {
                bail!("there is no scenario and no family {name}: see cargo xtask lab --list");
            }
        }
        let mut scenarios: Vec<_> = all()
            .filter(|(family, _)| self.has_room_for(family))
            .collect();
        let by_turns = scenarios.iter().filter(|(_, scenario)| !scenario.quick);
        let by_turns = by_turns.map(|(_, scenario)| scenario.name).collect();
        let due = turns::whose_turn(by_turns, day);
        let wanted = |family: &str, scenario: &Scenario| {
            let named = |name: &String| family == name || scenario.name == name;
            (self.names.is_empty() || self.names.iter().any(named))
                && (!self.quick || scenario.quick || due.contains(&scenario.name))
        };
        scenarios.retain(|(family, scenario)| wanted(family, scenario));
        if let Some(number) = self.shuffle {
            scenarios.sort_by_key(|(_, scenario)| place(number, scenario.name));
        }
        Ok(scenarios)
    }
}

/// Where a scenario stands in a shuffled list.
fn place(number: u64, name: &str) -> u64 {
    // Its keys are fixed: the same number gives the same order.
    let mut hasher = DefaultHasher::new();
    (number, name).hash(&mut hasher);
    hasher.finish()
}

/// Plays, shows the table, and fails where tracer was wrong.
pub(crate) fn run(args: Args) -> Result<()> {
    if args.list {
        for (family, scenario) in args.scenarios()? {
            println!("{family:9} {:24} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    if let Some(dir) = &args.judge {
        build::run(&build::Args::default())?;
        return judge(&args, dir);
    }
    if let (Some(dir), Some(than)) = (&args.same, &args.than) {
        build::run(&build::Args::default())?;
        return again::same(dir, than);
    }
    args.scenarios()?;
    if args.supervised {
        return play_and_show(&args);
    }
    if !args.built {
        // Still as the calling user: root's files in the target directory would be in the way of later builds.
        setup::demo_tools()?;
        setup::lab_tools()?;
        if !args.physics {
            build::run(&build::Args::default())?;
        }
        build::scene_programs()?;
    }
    if !is_root() {
        return caller::again_as_root("the lab makes disks, links and control groups");
    }
    let status = supervise::supervise(&args.scratch)?;
    caller::give_back(&args.keep());
    // The player has shown its errors.
    std::process::exit(status)
}

fn play_and_show(args: &Args) -> Result<()> {
    let keep = args.keep();
    fs::create_dir_all(&keep).with_context(|| format!("could not make {}", keep.display()))?;
    let mut outcomes = Vec::new();
    let mut broken = Vec::new();
    for (_, scenario) in args.scenarios()? {
        let mark = ledger::mark()?;
        // A scenario that cannot be played is named in the end; the others are still played.
        if let Err(error) = play_all(args, scenario, &mut outcomes) {
            say(&format!("error: {}: {error:#}", scenario.name));
            broken.push(scenario.name);
        }
        undo(mark)?;
    }
    show(args, &outcomes)?;
    if !broken.is_empty() {
        bail!("could not play {}", broken.join(", "));
    }
    verdict(&outcomes)
}

/// Removes what a scenario made. A process that waits for the disk uses it until its writes are through, whatever ends it.
fn undo(mark: usize) -> Result<()> {
    for _ in 0..UNDO_TRIES {
        if ledger::undo(mark).is_ok() {
            return Ok(());
        }
        thread::sleep(UNDO_REST);
    }
    ledger::undo(mark)
}

/// Plays a scenario as often as was asked, and each time until it is not void.
fn play_all(args: &Args, scenario: &'static Scenario, outcomes: &mut Vec<Outcome>) -> Result<()> {
    say(&format!("{}: making the scene …", scenario.name));
    let stage = Stage::make(&args.scratch, args.duration, &args.disk)?;
    let scene = (scenario.make)(&stage)?;
    for run in 1..=args.repeat {
        let play = Play {
            scenario,
            run,
            scene: &scene,
            window: (!args.physics).then_some(args.duration),
            margin: args.margin,
            keep: &args.keep(),
        };
        for _ in 0..ATTEMPTS {
            let outcome = play.play()?;
            stage.room.group.end_processes();
            let void = outcome.void.clone();
            outcomes.push(outcome);
            let Some(why) = void else { break };
            say(&format!("{} {run}: void: {why}", scenario.name));
        }
    }
    Ok(())
}

fn show(args: &Args, outcomes: &[Outcome]) -> Result<()> {
    let rows = calibration::calibration(outcomes);
    println!(
        "\n{}{}{}",
        table::table(outcomes),
        calibration::text(&rows),
        table::sum(outcomes)
    );
    if let Some(file) = &args.json {
        let runs: Vec<_> = outcomes.iter().map(table::json).collect();
        let text = serde_json::to_string_pretty(&serde_json::json!({
            "schema": "tracer.lab/1", "runs": runs, "calibration": calibration::json(&rows),
        }))?;
        fs::write(file, text).with_context(|| format!("could not write {}", file.display()))?;
    }
    Ok(())
}

/// Fails where a run was wrong, or void at every attempt.
fn verdict(outcomes: &[Outcome]) -> Result<()> {
    let grades = outcomes.iter().map(grade);
    let wrong = grades
        .filter(|grade| matches!(grade, Grade::Wrong(_)))
        .count();
    let same = |a: &Outcome, b: &Outcome| a.scenario == b.scenario && a.run == b.run;
    let runs = outcomes.chunk_by(same);
    let void = runs
        .filter(|run| run.iter().all(|outcome| outcome.void.is_some()))
        .count();
    if wrong + void > 0 {
        bail!("{wrong} runs wrong, {void} void at every attempt");
    }
    Ok(())
}

/// Grades kept recordings with today's tracer, and names each verdict that differs from the live one.
fn judge(args: &Args, dir: &Path) -> Result<()> {
    let (outcomes, changed) = again::judge(dir)?;
    show(args, &outcomes)?;
    if changed.is_empty() {
        println!("all verdicts are those of the live runs");
    } else {
        println!("not the verdict of the live run: {}", changed.join(", "));
    }
    verdict(&outcomes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn args(words: &[&str]) -> Args {
        let command = Args::augment_args(clap::Command::new("lab"));
        let words = ["lab"].into_iter().chain(words.iter().copied());
        Args::from_arg_matches(&command.get_matches_from(words)).unwrap()
    }

    fn names(args: &Args, day: u64) -> BTreeSet<&'static str> {
        let scenarios = args.scenarios_on(day).unwrap().into_iter();
        scenarios.map(|(_, scenario)| scenario.name).collect()
    }

    #[test]
    fn quick_plays_a_few_each_time_and_by_turns_all_that_can_be_played_here() {
        let (quick, all) = (args(&["--quick"]), names(&args(&[]), 0));
        let days = all.len() as u64;
        let each_day: Vec<_> = (0..days).map(|day| names(&quick, day)).collect();
        let few = each_day[0].len();
        assert!(few < all.len() && each_day.iter().all(|names| names.len() == few));
        let played: BTreeSet<&str> = each_day.into_iter().flatten().collect();
        assert_eq!(played, all);
    }

    #[test]
    fn what_quick_plays_is_listed_as_it_is_played() {
        let (quick, listed) = (args(&["--quick"]), args(&["--quick", "--list"]));
        assert_eq!(names(&quick, 7), names(&listed, 7));
        assert!(names(&args(&["--list"]), 7).len() > names(&args(&[]), 7).len());
    }

    #[test]
    fn the_readme_says_how_many_scenarios_are_played() {
        let readme = fs::read_to_string(paths::workspace().join("README.md")).unwrap();
        let count = names(&args(&[]), 0).len();
        let said = format!("plays {count} labelled scenarios");
        assert!(readme.contains(&said), "the number is another: {said}");
    }
}
