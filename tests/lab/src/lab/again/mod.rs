//! Kept recordings, reported again: `--judge` grades tracer's verdicts of today, `--same` compares two builds of tracer.

mod difference;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::{command::could_not_start, paths};

use self::difference::difference;
use super::outcome::{self, Outcome};
use crate::said::Said;

/// Has every kept recording judged by today's tracer. Returns the outcomes, and the runs with another verdict than the live one.
pub(super) fn judge(dir: &Path) -> Result<(Vec<Outcome>, Vec<String>)> {
    let mut outcomes = outcome::kept(dir)?;
    let played = outcomes.iter_mut().filter(|outcome| outcome.void.is_none());
    let changed = on_all_cpus(played, |outcome| {
        let run = format!("{}-{}", outcome.scenario, outcome.run);
        (!is_as_live(outcome, dir)).then_some(run)
    });
    Ok((outcomes, changed.into_iter().flatten().collect()))
}

/// Has a kept recording judged again. Returns whether the verdict is that of the live run.
fn is_as_live(outcome: &mut Outcome, dir: &Path) -> bool {
    // From tracer's own report: numbers that were written and read once more may differ in their last digit.
    let live = fs::read_to_string(outcome.file(dir, "json")).map_err(anyhow::Error::from);
    let live = live.and_then(|json| Said::parse(&json)).ok();
    (outcome.said, outcome.failed) = match now(&outcome.file(dir, "tracer")) {
        Ok(said) => (Some(said), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let verdict = |said: &Option<Said>| said.as_ref().map(Said::verdict);
    verdict(&outcome.said) == verdict(&live)
}

/// Today's verdict of tracer on a kept recording.
fn now(recording: &Path) -> Result<Said> {
    let output = report(&paths::tracer(), recording)?;
    ensure!(
        output.status.success(),
        "tracer ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Said::parse(std::str::from_utf8(&output.stdout).context("tracer's report is not text")?)
}

/// Compares the JSON reports that two builds make of each recording in a directory, and fails where one differs.
pub(super) fn same(dir: &Path, than: &Path) -> Result<()> {
    let recordings = recordings(dir)?;
    ensure!(
        !recordings.is_empty(),
        "there is no recording (*.tracer) in {}",
        dir.display()
    );
    let count = recordings.len();
    let compared = on_all_cpus(recordings, |recording| {
        let found = compare(&paths::tracer(), than, &recording)?;
        Ok(found.map(|found| format!("differs: {}: {found}", recording.display())))
    });
    let compared = compared.into_iter().collect::<Result<Vec<_>>>()?;
    let differ: Vec<_> = compared.into_iter().flatten().collect();
    for line in &differ {
        println!("{line}");
    }
    println!("{} same, {} differ", count - differ.len(), differ.len());
    if !differ.is_empty() {
        bail!("{} of {count} reports differ", differ.len());
    }
    Ok(())
}

/// The difference between two builds' reports of a recording.
fn compare(this: &Path, than: &Path, recording: &Path) -> Result<Option<String>> {
    let (this, than) = (report(this, recording)?, report(than, recording)?);
    if this.stdout.is_empty() && than.stdout.is_empty() {
        let why = String::from_utf8_lossy(&this.stderr);
        return Ok(Some(format!("no build reports it: {}", why.trim())));
    }
    if this.status != than.status {
        return Ok(Some(format!(
            "this build ends with {}, the other with {}",
            this.status, than.status
        )));
    }
    Ok(difference(&this.stdout, &than.stdout))
}

/// Has a build of tracer report a recording as JSON.
fn report(tracer: &Path, recording: &Path) -> Result<Output> {
    let mut report = Command::new(tracer);
    report.arg("report").arg(recording);
    report.args(["--output", "json"]);
    report
        .output()
        .with_context(|| could_not_start(&report, "have tracer report a recording"))
}

/// The recordings in a directory, by name.
fn recordings(dir: &Path) -> Result<Vec<PathBuf>> {
    let listing = || format!("could not list {}", dir.display());
    let entries = fs::read_dir(dir)
        .with_context(listing)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(listing)?;
    let paths = entries.iter().map(fs::DirEntry::path);
    let mut files: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "tracer"))
        .collect();
    files.sort();
    Ok(files)
}

/// Does something with every item, on all CPUs. The results are in the order of the items.
fn on_all_cpus<T: Send, R: Send>(
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let items: Vec<_> = items.into_iter().enumerate().collect();
    let queue = Mutex::new(items.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let one = || {
        let mut done = Vec::new();
        while let Some((at, item)) = next() {
            done.push((at, work(item)));
        }
        done
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus).map(|_| scope.spawn(one)).collect();
        let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
        ended
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_cpus_are_in_the_order_of_the_items() {
        let doubled = on_all_cpus(0..97, |number| 2 * number);
        assert_eq!(
            doubled,
            (0..97).map(|number| 2 * number).collect::<Vec<_>>()
        );
    }
}
