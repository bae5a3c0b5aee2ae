//! The table of a bench, and the same as JSON.

use serde_json::{Value, json};

use super::{
    figures::{Series, Summary, ratio, summary},
    watcher::Watcher,
};

/// What a bench found about one load.
pub struct Found {
    /// The load and its unit: "switch: ns per switch".
    pub title: &'static str,
    pub bare: Vec<f64>,
    pub rows: Vec<(Watcher, Series)>,
    pub limits: &'static [Limit],
}

/// How much of its peers' cost tracer may add.
pub struct Limit {
    /// The row of tracer.
    pub of: &'static str,
    /// The rows of the peers; their costs are added up.
    pub to: &'static [&'static str],
    /// The promise.
    pub target: f64,
    /// Beyond this `--short` fails: the target, or what was reached, with a margin for the noise of few short runs.
    pub fails: f64,
}

/// A limit and what was measured.
pub struct Judged {
    pub text: String,
    pub ratio: Option<f64>,
    pub target: f64,
    pub fails: f64,
}

impl Found {
    fn added(&self, name: &str) -> Option<Summary> {
        let (_, series) = self.rows.iter().find(|(watcher, _)| watcher.name == name)?;
        series.added()
    }

    /// The limits whose rows were all measured.
    pub fn judged(&self) -> Vec<Judged> {
        let judge = |limit: &Limit| {
            let of = self.added(limit.of)?;
            let peers = limit
                .to
                .iter()
                .map(|name| self.added(name))
                .collect::<Option<Vec<_>>>()?;
            let sum = |part: fn(&Summary) -> f64| peers.iter().map(part).sum::<f64>();
            let to = Summary {
                median: sum(|peer| peer.median),
                low: sum(|peer| peer.low),
                high: sum(|peer| peer.high),
            };
            Some(Judged {
                text: format!("{} ÷ {}", limit.of, limit.to.join(" + ")),
                ratio: ratio(of, to),
                target: limit.target,
                fails: limit.fails,
            })
        };
        self.limits.iter().filter_map(judge).collect()
    }

    /// As text.
    pub fn text(&self) -> String {
        let bare = summary(&self.bare).map_or(0.0, |bare| bare.median);
        let mut text = format!(
            "\n{} ({bare:.0} without a watcher, {} runs each)\n{:<44}{:>8}{:>18}{:>8}\n",
            self.title,
            self.rows
                .first()
                .map_or(0, |(_, series)| series.watched.len()),
            "watcher",
            "added",
            "quartiles",
            "of bare"
        );
        for (watcher, series) in &self.rows {
            let Some(added) = series.added() else {
                text += &format!(
                    "{:<44}{:>34}\n",
                    watcher.name, "does not run on this kernel"
                );
                continue;
            };
            text += &format!(
                "{:<44}{:>+8.0}{:>18}{:>7.1}%\n",
                watcher.name,
                added.median,
                format!("{:+.0} … {:+.0}", added.low, added.high),
                100.0 * added.median / bare
            );
        }
        for judged in self.judged() {
            let found = judged
                .ratio
                .map_or("within the noise".to_owned(), |ratio| format!("{ratio:.2}"));
            text += &format!("  {}: {found} (target {:.2})\n", judged.text, judged.target);
        }
        text
    }

    /// As JSON: nanoseconds.
    pub fn json(&self) -> Value {
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
