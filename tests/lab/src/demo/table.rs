//! The table at the end.

use super::{judge::Judgement, play::Outcome};
use crate::{columns::columns, latency::Latency};

const HEAD: [&str; 9] = [
    "scene",
    "run",
    "without p50/p99 ms",
    "with p50/p99 ms",
    "resource",
    "culprit",
    "share",
    "confidence",
    "",
];

/// All outcomes, a line each, and the sum.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    columns(HEAD, outcomes.iter().map(row)) + &sum(outcomes)
}

/// The effects of remedies, a line each.
pub(crate) fn remedies(outcomes: &[Outcome]) -> String {
    let line = |outcome: &Outcome| {
        let (scene, run) = (outcome.scene.name(), outcome.run);
        let Some(remedied) = &outcome.remedied else {
            return format!("{scene} {run}: no remedy was applied\n");
        };
        format!(
            "{scene} {run}: p50/p99 ms {} without the backup, {} with it, {} after `{}`\n",
            times(outcome.without),
            times(outcome.with),
            times(remedied.latency),
            remedied.command.escape_debug()
        )
    };
    outcomes.iter().map(line).collect()
}

fn row(outcome: &Outcome) -> [String; 9] {
    let said = outcome.said.as_ref();
    let culprit = said.and_then(|said| said.culprits.first());
    [
        outcome.scene.name().to_owned(),
        outcome.run.to_string(),
        times(outcome.without),
        times(outcome.with),
        said.map_or("-", |said| &said.resource).to_owned(),
        // A name may hold anything; a terminal must not obey it.
        culprit
            .map_or("-", |culprit| &culprit.comm)
            .escape_debug()
            .to_string(),
        percent(culprit.map(|culprit| culprit.share)),
        said.and_then(|said| said.confidence)
            .map_or("-".to_owned(), |share| format!("{share:.2}")),
        match &outcome.judgement {
            Judgement::Right => "right".to_owned(),
            Judgement::Wrong(why) => format!("WRONG: {why}"),
            Judgement::Void => "void: the backup did not slow the server".to_owned(),
            Judgement::NotAsked => String::new(),
        },
    ]
}

fn times(latency: Latency) -> String {
    let ms = |ns: u64| ns as f64 / 1e6;
    format!("{:.1}/{:.1}", ms(latency.p50_ns), ms(latency.p99_ns))
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

fn sum(outcomes: &[Outcome]) -> String {
    let count = |wanted: fn(&Judgement) -> bool| {
        outcomes
            .iter()
            .filter(|outcome| wanted(&outcome.judgement))
            .count()
    };
    let right = count(|judgement| *judgement == Judgement::Right);
    let wrong = count(|judgement| matches!(judgement, Judgement::Wrong(_)));
    let void = count(|judgement| *judgement == Judgement::Void);
    if right + wrong == 0 {
        return format!("{void} of {} void\n", outcomes.len());
    }
    format!("{right} of {} right, {void} void\n", right + wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::scene::Scene;

    fn outcome(judgement: Judgement) -> Outcome {
        let without = Latency {
            p50_ns: 1_000_000,
            p99_ns: 2_000_000,
            mean_ns: None,
            requests: None,
        };
        let with = Latency {
            p50_ns: 40_000_000,
            p99_ns: 90_500_000,
            ..without
        };
        Outcome {
            scene: Scene::Disk,
            run: 1,
            without,
            with,
            said: None,
            judgement,
            remedied: None,
        }
    }

    #[test]
    fn a_line_shows_times_in_milliseconds() {
        let text = table(&[outcome(Judgement::Right)]);
        let line = text.lines().nth(1).unwrap();
        assert!(
            line.contains("1.0/2.0") && line.contains("40.0/90.5") && line.ends_with("right"),
            "{line}"
        );
    }

    #[test]
    fn a_void_run_is_never_counted_as_right() {
        let text = table(&[
            outcome(Judgement::Right),
            outcome(Judgement::Void),
            outcome(Judgement::Wrong(String::new())),
        ]);
        assert!(text.ends_with("1 of 2 right, 1 void\n"), "{text}");
    }
}
