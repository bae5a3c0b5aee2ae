//! Remedies: a table, each row with its check against this machine. A remedy that does nothing here says why.
//!
//! A command is to be pasted into a root shell (POSIX `sh`): words from outside are quoted in it.

mod bwlimit;
mod case;
mod compression;
mod cpu_share;
mod go_on;
mod io_share;
mod ionice;
mod memory_high;
mod options;
mod own_limit;
mod renice;
mod reschedule;
mod seat;
mod shell;
mod tc;
mod through;
mod trickle;

use super::{Finding, group::Groups};
use crate::{
    class::Resource::{self, Cpu, Disk, Memory, Network},
    model::books::Books,
};
use case::Case;

/// A remedy, whether it helps here or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Ready to run. Text from outside is quoted for the shell, but not escaped for a terminal.
    pub command: String,
    /// Why it would help.
    pub why: &'static str,
    /// Does it do anything here?
    pub applies: bool,
    /// Its cost to the culprit, or the reason why it does nothing; with the page of the manual.
    pub note: String,
}

/// A row's advice about one culprit.
struct Advice {
    command: String,
    why: &'static str,
    /// Its cost where it applies, or the reason why it does nothing here.
    effect: Result<String, String>,
}

/// One row: the resources that are waited for, and its advice. `None` if it is no remedy against this culprit at all.
type Row = (&'static [Resource], fn(&Case<'_>) -> Option<Advice>);

/// Rows that act at once and cost least come first. Last come those that start the culprit again from the beginning, or put it off.
const TABLE: [Row; 10] = [
    (&[Disk, Memory], memory_high::memory_high),
    (&[Disk], ionice::ionice),
    (&[Disk], io_share::io_share),
    (&[Network], tc::class),
    (&[Cpu], renice::renice),
    (&[Cpu], cpu_share::cpu_share),
    (&[Network, Disk], bwlimit::bwlimit),
    (&[Network], trickle::trickle),
    (&[Cpu], compression::compression),
    (&[Disk, Network, Cpu, Memory], reschedule::reschedule),
];

/// Against a client that holds the resource through the target; in the order of [`TABLE`].
const THROUGH: [Row; 2] = [
    (&[Disk], through::through),
    (&[Disk], reschedule::reschedule),
];

/// Remedies against the target's own limit and the culprits of the verdict, those that apply first. A kernel thread takes no orders.
pub(super) fn remedies(books: &Books, finding: &Finding) -> Vec<Remedy> {
    let Some(found) = finding.primary() else {
        return Vec::new();
    };
    let groups = Groups::new(books);
    let mut remedies = own_limit::own_limits(books, found);
    remedies.extend(go_on::go_on(books, found));
    let tables = TABLE.iter().map(|row| (row, false));
    let tables = tables.chain(THROUGH.iter().map(|row| (row, true)));
    for ((_, row), through) in tables.filter(|(row, _)| row.0.contains(&found.resource)) {
        let culprits = found.culprits.iter();
        let users = culprits.filter(|culprit| {
            culprit.through == through && !books.processes[culprit.process].kernel
        });
        let advice = users.filter_map(|culprit| {
            row(&Case {
                books,
                found,
                culprit,
                groups: &groups,
            })
        });
        remedies.extend(advice.map(Remedy::from));
    }
    remedies.sort_by_key(|remedy| !remedy.applies);
    remedies
}

impl From<Advice> for Remedy {
    fn from(advice: Advice) -> Self {
        Self {
            command: advice.command,
            why: advice.why,
            applies: advice.effect.is_ok(),
            note: advice
                .effect
                .unwrap_or_else(|because| format!("does nothing here, because {because}")),
        }
    }
}
