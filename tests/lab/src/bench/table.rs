//! The table of a bench, and the same as JSON.

use serde_json::{Value, json};

use super::{
    Report,
    figures::{Series, Summary, ratio, summary},
    watcher::Watcher,
};

/// The findings of a bench about one load.
pub(crate) struct Found {
    /// The load and its unit: "switch: ns per switch".
    pub(crate) title: &'static str,
    pub(crate) bare: Vec<f64>,
    pub(crate) rows: Vec<(Watcher, Series)>,
    pub(crate) limits: &'static [Limit],
}

/// How much tracer may add.
pub(crate) struct Limit {
    /// The row of tracer.
    pub(crate) of: &'static str,
    /// The cost to compare with.
    pub(crate) to: To,
    /// The promise.
    pub(crate) target: f64,
    /// `--short` fails where even the better quartiles are beyond this. It is the target, or the figure reached, with a margin for
    /// other machines.
    pub(crate) fails: f64,
}

/// A cost to compare tracer's with.
#[derive(Clone, Copy)]
pub(crate) enum To {
    /// The rows of its peers; their costs are added up.
    Peers(&'static [&'static str]),
    /// The load without a watcher.
    Bare,
}

/// A limit and what was measured.
struct Judged {
    text: String,
    ratio: Option<f64>,
    /// By the quartiles that speak for tracer: few short runs on a busy machine must not fail by chance.
    at_best: Option<f64>,
    target: f64,
    fails: f64,
    /// As it is shown: a ratio, or a part of the load's own cost.
    shown: fn(f64) -> String,
}

impl Found {
    fn added(&self, name: &str) -> Option<Summary> {
        let (_, series) = self.rows.iter().find(|(watcher, _)| watcher.name == name)?;
        series.added()
    }

    /// The sum of the costs that some rows add; `None` where one did not run.
    fn together(&self, names: &[&str]) -> Option<Summary> {
        let peers = names.iter().map(|name| self.added(name));
        let peers = peers.collect::<Option<Vec<_>>>()?;
        let sum = |part: fn(&Summary) -> f64| peers.iter().map(part).sum::<f64>();
        Some(Summary {
            median: sum(|peer| peer.median),
            low: sum(|peer| peer.low),
            high: sum(|peer| peer.high),
        })
    }

    /// The limits for which all rows were measured.
    fn judged(&self) -> Vec<Judged> {
        let judge = |limit: &Limit| {
            let of = self.added(limit.of)?;
            let (to, name) = match limit.to {
                To::Peers(names) => (self.together(names)?, names.join(" + ")),
                To::Bare => (summary(&self.bare)?, "the bare load".to_owned()),
            };
            Some(Judged {
                text: format!("{} ÷ {name}", limit.of),
                ratio: ratio(of, to),
                at_best: (to.high > 0.0).then(|| of.low / to.high),
                target: limit.target,
                fails: limit.fails,
                shown: match limit.to {
                    To::Peers(_) => |ratio| format!("{ratio:.2}"),
                    To::Bare => |part| format!("{:+.1} %", 100.0 * part),
                },
            })
        };
        self.limits.iter().filter_map(judge).collect()
    }

    /// As a report.
    pub(crate) fn report(&self) -> Report {
        Report {
            text: self.text(),
            json: self.json(),
            faults: self.faults(),
        }
    }

    /// Where a ratio is beyond its limit.
    fn faults(&self) -> Vec<String> {
        let beyond = |judged: Judged| {
            let ratio = judged.at_best.filter(|ratio| *ratio > judged.fails)?;
            let (found, limit) = ((judged.shown)(ratio), (judged.shown)(judged.fails));
            let (title, what) = (self.title, judged.text);
            Some(format!("{title}: {what} is at best {found}, limit {limit}"))
        };
        self.judged().into_iter().filter_map(beyond).collect()
    }

    fn text(&self) -> String {
        let bare = summary(&self.bare).map_or(0.0, |bare| bare.median);
        let runs = self.rows.iter().map(|(_, series)| series.watched.len());
        let mut text = format!(
            "\n{} ({bare:.0} without a watcher, {} runs each)\n{:<40}{:>10}{:>22}{:>9}\n",
            self.title,
            runs.max().unwrap_or(0),
            "watcher",
            "added",
            "quartiles",
            "of bare"
        );
        for (watcher, series) in &self.rows {
            let Some(added) = series.added() else {
                text += &format!(
                    "{:<40}{:>41}\n",
                    watcher.name, "does not run on this kernel"
                );
                continue;
            };
            text += &format!(
                "{:<40}{:>+10.0}{:>22}{:>8.1}%\n",
                watcher.name,
                added.median,
                format!("{:+.0} … {:+.0}", added.low, added.high),
                100.0 * added.median / bare
            );
        }
        for judged in self.judged() {
            let found = judged
                .ratio
                .map_or("within the noise".to_owned(), judged.shown);
            let target = (judged.shown)(judged.target);
            text += &format!("  {}: {found} (target {target})\n", judged.text);
        }
        text
    }

    /// The figures, in nanoseconds.
    fn json(&self) -> Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|(watcher, series)| {
                json!({"watcher": watcher.name, "added_ns": series.added(), "watched_ns": series.watched, "bare_ns": series.bare})
            })
            .collect();
        let ratios: Vec<_> = self
            .judged()
            .iter()
            .map(|judged| json!({"what": judged.text, "ratio": judged.ratio, "target": judged.target}))
            .collect();
        json!({"title": self.title, "bare_ns": summary(&self.bare), "rows": rows, "ratios": ratios})
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::bench::watcher::Target;

    const LIMITS: &[Limit] = &[Limit {
        of: "tracer",
        to: To::Peers(&["peer"]),
        target: 1.0,
        fails: 2.0,
    }];

    /// A bare load of 100, and what two watchers add to it in three runs.
    fn found(tracer: [f64; 3], peer: [f64; 3]) -> Found {
        let row = |name, added: [f64; 3]| {
            let watcher = Watcher {
                name: Cow::Borrowed(name),
                programs: &[],
                target: Target::All,
                short: true,
            };
            let series = Series {
                watched: added.map(|added| 100.0 + added).to_vec(),
                bare: vec![100.0; 3],
            };
            (watcher, series)
        };
        Found {
            title: "load",
            bare: vec![100.0; 3],
            rows: vec![row("tracer", tracer), row("peer", peer)],
            limits: LIMITS,
        }
    }

    #[test]
    fn a_ratio_beyond_its_limit_is_a_fault() {
        assert_eq!(found([30.0; 3], [10.0; 3]).faults().len(), 1);
        assert!(found([19.0; 3], [10.0; 3]).faults().is_empty());
    }

    #[test]
    fn a_ratio_that_may_be_chance_is_no_fault() {
        assert!(
            found([10.0, 30.0, 32.0], [9.0, 10.0, 20.0])
                .faults()
                .is_empty()
        );
    }

    #[test]
    fn a_peer_that_does_not_run_judges_nobody() {
        let mut found = found([30.0; 3], [10.0; 3]);
        found.rows[1].1 = Series::default();
        assert!(found.judged().is_empty());
    }
}
