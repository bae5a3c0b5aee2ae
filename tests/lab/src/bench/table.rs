//! The table of a bench, and the same as JSON.

use serde_json::{Value, json};

use super::{
    Report,
    figures::{Series, Summary, chance, ratio, stands_out, summary},
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
    /// The same. Where their cost does not stand out from noise there is no ratio, and tracer may add so many ns.
    PeersOr(&'static [&'static str], f64),
    /// The load without a watcher.
    Bare,
    /// The load without a watcher, from which it must not be told: the target is the level of a [test](chance) of the pairs.
    Same,
}

/// A limit and what was measured.
struct Judged {
    text: String,
    /// What was measured: a ratio, a cost, or how likely the difference is by chance.
    ratio: Option<f64>,
    /// In place of a figure that there is none of.
    unknown: &'static str,
    /// By the quartiles that speak for tracer: few short runs on a busy machine must not fail by chance.
    at_best: Option<f64>,
    target: f64,
    fails: f64,
    /// As figure and limits are shown: a ratio, a part of the load's own cost, or ns.
    shown: fn(f64) -> String,
}

impl Judged {
    /// The figure in words.
    fn found(&self) -> String {
        self.ratio.map_or(self.unknown.to_owned(), self.shown)
    }
}

/// Shows a ratio.
fn plain(figure: f64) -> String {
    format!("{figure:.2}")
}

impl Found {
    fn series(&self, name: &str) -> Option<&Series> {
        let (_, series) = self.rows.iter().find(|(watcher, _)| watcher.name == name)?;
        Some(series)
    }

    fn added(&self, name: &str) -> Option<Summary> {
        self.series(name)?.added()
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
        let limits = self.limits.iter();
        limits.filter_map(|limit| self.judge(limit)).collect()
    }

    fn judge(&self, limit: &Limit) -> Option<Judged> {
        match limit.to {
            To::Same => self.judge_same(limit),
            To::Bare => {
                let to = summary(&self.bare)?;
                let shown = |part: f64| format!("{:+.1} %", 100.0 * part);
                self.judge_ratio(limit, to, "the bare load", shown)
            }
            To::Peers(names) => {
                self.judge_ratio(limit, self.together(names)?, &names.join(" + "), plain)
            }
            To::PeersOr(names, ns) => {
                let (to, names) = (self.together(names)?, names.join(" + "));
                if stands_out(to) {
                    self.judge_ratio(limit, to, &names, plain)
                } else {
                    self.judge_alone(limit, &names, ns)
                }
            }
        }
    }

    fn judge_ratio(
        &self,
        limit: &Limit,
        to: Summary,
        name: &str,
        shown: fn(f64) -> String,
    ) -> Option<Judged> {
        let of = self.added(limit.of)?;
        Some(Judged {
            text: format!("{} ÷ {name}", limit.of),
            ratio: ratio(of, to),
            unknown: "within the noise",
            at_best: (to.high > 0.0).then(|| of.low / to.high),
            target: limit.target,
            fails: limit.fails,
            shown,
        })
    }

    /// Peers without a cost leave nothing to compare with, so tracer's own cost is judged.
    fn judge_alone(&self, limit: &Limit, name: &str, ns: f64) -> Option<Judged> {
        let of = self.added(limit.of)?;
        Some(Judged {
            text: format!("{}, where {name} cost nothing beyond noise", limit.of),
            ratio: Some(of.median),
            unknown: "",
            at_best: Some(of.low),
            target: limit.target * ns,
            fails: limit.fails * ns,
            shown: |ns| format!("{ns:+.0} ns"),
        })
    }

    /// A test finds no difference, or finds one. It does not fail a bench: of 20 rows that are alike it finds one to differ.
    fn judge_same(&self, limit: &Limit) -> Option<Judged> {
        let pairs = self.series(limit.of)?.differences();
        let level = limit.target;
        (!pairs.is_empty()).then(|| Judged {
            text: format!(
                "{} against the bare load, {} pairs: p of Wilcoxon's signed-rank test, two-sided, is to be above {level}",
                limit.of,
                pairs.len()
            ),
            ratio: chance(&pairs, level),
            unknown: "too few pairs to tell",
            at_best: None,
            target: level,
            fails: limit.fails,
            shown: |p| format!("{p:.3}"),
        })
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
            let found = judged.found();
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
            .map(|judged| {
                json!({"what": judged.text, "ratio": judged.ratio, "target": judged.target, "shown": judged.found()})
            })
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

    /// What a limit makes of these.
    fn judged(to: To, target: f64, tracer: &[f64], peer: [f64; 3]) -> Judged {
        let mut found = found([0.0; 3], peer);
        found.rows[0].1 = Series {
            watched: tracer.iter().map(|added| 100.0 + added).collect(),
            bare: vec![100.0; tracer.len()],
        };
        let limit = Limit {
            of: "tracer",
            to,
            target,
            fails: 2.0,
        };
        found.judge(&limit).unwrap()
    }

    #[test]
    fn peers_that_cost_nothing_leave_tracers_own_cost_to_judge() {
        let to = To::PeersOr(&["peer"], 500.0);
        let costly = judged(to, 1.0, &[300.0; 3], [200.0; 3]);
        assert_eq!((costly.ratio, costly.target), (Some(1.5), 1.0));
        let free = judged(to, 1.0, &[300.0; 3], [-200.0, 1.0, 200.0]);
        assert_eq!(
            (free.ratio, free.target, free.fails),
            (Some(300.0), 500.0, 1000.0)
        );
        assert_eq!(free.found(), "+300 ns");
    }

    #[test]
    fn a_load_that_is_the_same_is_told_from_one_that_is_not() {
        let same = |tracer: &[f64]| judged(To::Same, 0.05, tracer, [0.0; 3]);
        let slower: Vec<f64> = (1..=12).map(f64::from).collect();
        assert!(same(&slower).ratio.unwrap() < 0.05);
        let either = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0];
        assert!(same(&either).ratio.unwrap() > 0.05);
        assert_eq!(same(&[1.0; 3]).found(), "too few pairs to tell");
    }

    #[test]
    fn a_peer_that_does_not_run_judges_nobody() {
        let mut found = found([30.0; 3], [10.0; 3]);
        found.rows[1].1 = Series::default();
        assert!(found.judged().is_empty());
    }
}
