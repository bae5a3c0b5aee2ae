//! The table of all runs, and their sum.

use std::collections::BTreeMap;

use super::{
    compared::Compared,
    grade::{Fault, Grade, grade, share_error},
    outcome::Outcome,
};
use crate::{columns::columns, latency::Latency};

const HEAD: [&str; 8] = [
    "scenario",
    "run",
    "truth",
    "verdict",
    "confidence",
    "p99 ms without/with",
    "blocked part cost (distance)",
    "",
];

/// All outcomes, a line each.
pub(crate) fn table(outcomes: &[Outcome]) -> String {
    columns(HEAD, outcomes.iter().map(row))
}

fn row(outcome: &Outcome) -> [String; 8] {
    let said = outcome.said.as_ref();
    [
        outcome.scenario.clone(),
        outcome.run.to_string(),
        truth(outcome),
        said.map_or("-".to_owned(), |said| {
            let culprits = said
                .culprits
                .iter()
                .map(|culprit| (culprit.comm.as_str(), Some(culprit.share)));
            holders(&said.resource, culprits)
        }),
        said.and_then(|said| said.confidence)
            .map_or("-".to_owned(), |confidence| format!("{confidence:.2}")),
        format!("{}/{}", p99(outcome.without), p99(outcome.with)),
        said.and_then(|said| said.figures)
            .map_or("-".to_owned(), |figures| {
                let distance = figures.distance();
                format!(
                    "{:.2} {:.2} {:.2} ({distance:+.2})",
                    figures.blocked, figures.part, figures.cost
                )
            }),
        graded(outcome),
    ]
}

fn truth(outcome: &Outcome) -> String {
    let Some(resource) = &outcome.label.resource else {
        return "innocent".to_owned();
    };
    let guilty = outcome.label.backups.iter().filter(|backup| backup.guilty);
    holders(
        resource,
        guilty.map(|backup| (backup.name.as_str(), backup.share)),
    )
}

/// `cpu: a 70 %, b 30 %`
fn holders<'a>(resource: &str, holders: impl Iterator<Item = (&'a str, Option<f64>)>) -> String {
    // A name may hold anything; a terminal must not obey it.
    let one = |(name, share): (&str, Option<f64>)| match share {
        None => name.escape_debug().to_string(),
        Some(share) => format!("{} {:.0} %", name.escape_debug(), share * 100.0),
    };
    let all: Vec<_> = holders.map(one).collect();
    if all.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}: {}", all.join(", "))
    }
}

fn p99(latency: Option<Latency>) -> String {
    latency.map_or("-".to_owned(), |latency| {
        format!("{:.1}", latency.p99_ns as f64 / 1e6)
    })
}

fn graded(outcome: &Outcome) -> String {
    match grade(outcome) {
        Grade::Right => match share_error(outcome) {
            None => "right".to_owned(),
            Some(error) => format!("right, shares ±{:.1} points", error * 100.0),
        },
        Grade::Wrong(faults) => {
            let texts: Vec<_> = faults.iter().map(Fault::text).collect();
            format!("WRONG: {}", texts.join("; "))
        }
        Grade::Void => format!("void: {}", outcome.void.as_deref().unwrap_or_default()),
        Grade::NotAsked => {
            let measured: Vec<_> = outcome
                .measured
                .iter()
                .map(|measured| format!("{} {:.2}", measured.what, measured.per_second))
                .collect();
            measured.join(", ")
        }
    }
}

/// An outcome with its grade.
pub(crate) fn json(outcome: &Outcome) -> serde_json::Value {
    let grade = grade(outcome);
    let faults: Vec<_> = match &grade {
        Grade::Wrong(faults) => faults.iter().map(Fault::text).collect(),
        Grade::Right | Grade::Void | Grade::NotAsked => Vec::new(),
    };
    let word = match grade {
        Grade::Right => "right",
        Grade::Wrong(_) => "wrong",
        Grade::Void => "void",
        Grade::NotAsked => "not asked",
    };
    let distance = outcome
        .said
        .as_ref()
        .and_then(|said| said.figures)
        .map(|figures| figures.distance());
    serde_json::json!({
        "outcome": outcome, "grade": word, "faults": faults, "share_error": share_error(outcome), "distance": distance,
    })
}

/// Totals, and which truth became which verdict.
pub(crate) fn sum(outcomes: &[Outcome]) -> String {
    let grades: Vec<_> = outcomes.iter().map(grade).collect();
    let right = grades
        .iter()
        .filter(|grade| **grade == Grade::Right)
        .count();
    let void = grades.iter().filter(|grade| **grade == Grade::Void).count();
    let faults: Vec<_> = grades
        .iter()
        .filter_map(|grade| {
            if let Grade::Wrong(faults) = grade {
                Some(faults)
            } else {
                None
            }
        })
        .collect();
    let accused = faults
        .iter()
        .filter(|faults| {
            faults
                .iter()
                .any(|fault| matches!(fault, Fault::Accused(_)))
        })
        .count();
    let error = outcomes
        .iter()
        .filter(|outcome| outcome.void.is_none())
        .filter_map(share_error)
        .reduce(f64::max);
    let error = error.map_or(String::new(), |error| {
        format!(
            ", largest error of a blame share {:.1} points",
            error * 100.0
        )
    });
    format!(
        "{}{}{right} of {} right, {void} void, false accusations in {accused}{error}\n",
        confusion(outcomes),
        quantiles(outcomes),
        right + faults.len()
    )
}

/// In how many runs tracer's quantiles are the client's, and both of each other one. The numbers of requests show whose are more.
fn quantiles(outcomes: &[Outcome]) -> String {
    let played = outcomes.iter().filter(|outcome| outcome.void.is_none());
    let asked = played.filter(|outcome| outcome.with.is_some());
    let (mut near, mut far, mut nothing) = (0, Vec::new(), 0);
    for outcome in asked {
        match Compared::pair(outcome) {
            None => nothing += 1,
            Some(pair) if pair.is_near => near += 1,
            Some(pair) => {
                let (said, client) = (figures(pair.said), figures(pair.client));
                far.push(format!("{} {said} ({client})", outcome.scenario));
            }
        }
    }
    let all = near + far.len();
    if all == 0 {
        return String::new();
    }
    let others = match far.is_empty() {
        true => String::new(),
        false => format!("; the others (client's): {}", far.join(", ")),
    };
    format!(
        "p50/p99 ms of tracer within 10 % of the client's in {near} of {all}, nothing to compare in {nothing}{others}\n"
    )
}

/// `0.11/0.67 of 484`
fn figures(of: Latency) -> String {
    let [p50, p99] = [of.p50_ns, of.p99_ns].map(|ns| ns as f64 / 1e6);
    let count = of
        .requests
        .map_or(String::new(), |count| format!(" of {count}"));
    format!("{p50:.2}/{p99:.2}{count}")
}

/// Truth × verdict: how often.
fn confusion(outcomes: &[Outcome]) -> String {
    let mut counts = BTreeMap::<(String, String), usize>::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.void.is_none()) {
        let Some(said) = &outcome.said else { continue };
        let truth = outcome
            .label
            .resource
            .clone()
            .unwrap_or_else(|| "innocent".to_owned());
        let verdict = if said.culprits.is_empty() {
            format!("{}, nobody accused", said.resource)
        } else {
            format!("{}, accused", said.resource)
        };
        *counts.entry((truth, verdict)).or_default() += 1;
    }
    counts
        .into_iter()
        .map(|((truth, verdict), count)| format!("{truth:9} → {verdict:24} {count}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{lab::outcome::Label, said::Said};

    fn outcome(void: Option<&str>, said: &str) -> Outcome {
        Outcome {
            scenario: "x".to_owned(),
            run: 1,
            label: Label {
                resource: None,
                part: None,
                asked: None,
                backups: Vec::new(),
            },
            without: None,
            with: None,
            compared: Compared::All,
            measured: Vec::new(),
            void: void.map(str::to_owned),
            said: Some(Said::parse(said).unwrap()),
            failed: None,
        }
    }

    const ACQUITTAL: &str = r#"{"verdict": {"resource": "none", "culprits": []}}"#;
    const ACCUSATION: &str =
        r#"{"verdict": {"resource": "cpu", "culprits": [{"pid": 1, "comm": "a", "share": 0.5}]}}"#;

    #[test]
    fn a_void_run_is_never_counted_as_right() {
        let text = sum(&[
            outcome(None, ACQUITTAL),
            outcome(Some("no load"), ACQUITTAL),
            outcome(None, ACCUSATION),
        ]);
        assert!(
            text.ends_with("1 of 2 right, 1 void, false accusations in 1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_line_names_whom_tracer_accuses() {
        let text = table(&[outcome(None, ACCUSATION)]);
        assert!(
            text.contains("cpu: a 50 %") && text.contains("WRONG: a is accused falsely"),
            "{text}"
        );
    }
}
