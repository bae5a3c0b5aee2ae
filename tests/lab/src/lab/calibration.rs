//! Does confidence mean what it says? Over all plays: of the verdicts that are at least so sure, how many are right.

use super::{
    grade::{Grade, grade},
    outcome::Outcome,
};

/// Confidence from which a row counts, and the part of its verdicts that should be right.
const ROWS: [(f64, Option<f64>); 3] = [(0.9, Some(0.98)), (0.5, Some(0.90)), (0.0, None)];

/// The verdicts of at least one confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    /// They are at least so sure, 0..1.
    pub(crate) least: f64,
    /// Of them, right.
    pub(crate) right: usize,
    /// All of them.
    pub(crate) all: usize,
    /// The part that should be right, if that is asked.
    pub(crate) target: Option<f64>,
}

impl Row {
    /// The part that is right; none of nothing.
    pub(crate) fn part(&self) -> Option<f64> {
        (self.all > 0).then(|| self.right as f64 / self.all as f64)
    }

    /// Whether enough are right. Of none, all are.
    pub(crate) fn is_met(&self) -> bool {
        self.target
            .zip(self.part())
            .is_none_or(|(target, part)| part >= target)
    }
}

/// The rows over these plays. A void one counts for nothing. One without a verdict has no confidence.
pub(crate) fn calibration(outcomes: &[Outcome]) -> Vec<Row> {
    let graded = outcomes.iter().filter_map(|outcome| {
        let right = match grade(outcome) {
            Grade::Right => true,
            Grade::Wrong(_) => false,
            Grade::Void | Grade::NotAsked => return None,
        };
        Some((outcome.said.as_ref()?.confidence?, right))
    });
    let graded: Vec<(f64, bool)> = graded.collect();
    let row = |(least, target): (f64, Option<f64>)| {
        let sure = graded.iter().filter(|(confidence, _)| *confidence >= least);
        Row {
            least,
            right: sure.clone().filter(|(_, right)| *right).count(),
            all: sure.count(),
            target,
        }
    };
    ROWS.into_iter().map(row).collect()
}

/// The rows in words, a line each.
pub(crate) fn text(rows: &[Row]) -> String {
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> String {
    let part = row
        .part()
        .map_or("-".to_owned(), |part| format!("{:.1} %", part * 100.0));
    let target = row.target.map_or(String::new(), |target| {
        let met = if row.is_met() { "met" } else { "MISSED" };
        format!(", target {:.0} %: {met}", target * 100.0)
    });
    format!(
        "confidence ≥ {:.1}: {} of {} right, {part}{target}\n",
        row.least, row.right, row.all
    )
}

/// The rows for a program.
pub(crate) fn json(rows: &[Row]) -> serde_json::Value {
    let row = |row: &Row| {
        serde_json::json!({
            "least_confidence": row.least, "right": row.right, "verdicts": row.all, "target": row.target, "met": row.is_met(),
        })
    };
    rows.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lab::{compared::Compared, outcome::Label},
        said::Said,
    };

    /// An innocent play in which tracer was so sure; where it is wrong, it accuses somebody.
    fn play(confidence: f64, right: bool, void: bool) -> Outcome {
        let culprits = if right { "[]" } else { r#"[{"pid": 1}]"# };
        let said = format!(
            r#"{{"verdict": {{"resource": "cpu", "culprits": {culprits}, "confidence": {confidence}}}}}"#
        );
        Outcome {
            scenario: "x".to_owned(),
            run: 1,
            label: Label {
                resource: None,
                backups: Vec::new(),
                part: None,
                asked: None,
            },
            without: None,
            with: None,
            compared: Compared::All,
            measured: Vec::new(),
            void: void.then(|| "no load".to_owned()),
            said: Some(Said::parse(&said).unwrap()),
            failed: None,
        }
    }

    #[test]
    fn each_row_counts_the_verdicts_that_are_at_least_so_sure() {
        let plays = [
            play(1.0, true, false),
            play(0.9, false, false),
            play(0.89, true, false),
            play(0.5, true, false),
            play(0.2, false, false),
            play(1.0, false, true),
        ];
        let rows = calibration(&plays);
        let counts: Vec<_> = rows.iter().map(|row| (row.right, row.all)).collect();
        assert_eq!(counts, [(1, 2), (3, 4), (3, 5)]);
        assert!(!rows[0].is_met() && !rows[1].is_met() && rows[2].is_met());
        assert_eq!(
            text(&rows),
            "confidence ≥ 0.9: 1 of 2 right, 50.0 %, target 98 %: MISSED\n\
             confidence ≥ 0.5: 3 of 4 right, 75.0 %, target 90 %: MISSED\n\
             confidence ≥ 0.0: 3 of 5 right, 60.0 %\n"
        );
    }

    #[test]
    fn no_verdict_misses_no_target() {
        let rows = calibration(&[play(1.0, true, true)]);
        assert!(rows.iter().all(|row| row.all == 0 && row.is_met()));
        assert!(text(&rows).starts_with("confidence ≥ 0.9: 0 of 0 right, -, target 98 %: met\n"));
    }
}
