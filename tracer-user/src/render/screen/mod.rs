//! The live screen of `tracer top`: a pure fold of intervals and keys, and its picture.
//!
//! [`Screen::shows`] takes an interval, [`Screen::press`] a key, and [`Screen::draw`] draws what is to be seen. None of them knows a
//! terminal: whoever has one reads its keys and does what a [`Wish`] says.

mod draw;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{
    text::TextOptions,
    top::{party, text},
};
use crate::report::top::{Party, Top, Wait};
use rows::{Row, Table};

/// Intervals that are kept: ten minutes of seconds.
const MOST_INTERVALS: usize = 600;

/// Rows of each table that are kept of an interval: more than fit on a screen.
const MOST_ROWS: usize = 100;

/// Rows that are kept of an interval from before the last minute: of ten minutes, all rows would take some ten megabytes.
const MOST_OLD_ROWS: usize = 20;

/// A sentence is shown once it is the verdict of so many intervals in turn: else the first line would flicker.
const STEADY: u32 = 2;

/// Intervals that `b` goes back.
const FAR: usize = 60;

/// Rows of a page.
const PAGE: usize = 10;

/// Rows of each table that are written to a file.
const WRITTEN_ROWS: usize = 1000;

/// A key that somebody pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// A page back.
    PageUp,
    /// A page on.
    PageDown,
    /// Looks closer.
    Enter,
    /// Looks from further away, or deletes a character.
    Backspace,
    /// Leaves off.
    Escape,
    /// Ends the program, as Ctrl-C.
    Interrupt,
    /// A character.
    Char(char),
}

/// What is to be done about a key, besides drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    Nothing,
    /// The end.
    Quit,
    /// All is wanted of these processes from now on.
    Look(Vec<u32>),
    /// This text is to be written to a file of this name.
    Write(String, String),
}

/// A table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum View {
    /// Who waits for whom.
    #[default]
    Waits,
    Processes,
    Disks,
    Machine,
    Flows,
}

impl View {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Waits, "waits"),
        (Self::Processes, "processes"),
        (Self::Disks, "disks"),
        (Self::Machine, "memory"),
        (Self::Flows, "connections"),
    ];

    fn of(digit: char) -> Option<Self> {
        let index = digit.to_digit(10)? as usize;
        Self::ALL.get(index).map(|(view, _)| *view)
    }
}

/// What is seen and done.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    colour: bool,
    /// The oldest first.
    intervals: VecDeque<Top>,
    /// How far back the one lies that is shown.
    back: usize,
    /// Does that one stay, whatever comes?
    frozen: bool,
    said: Said,
    view: View,
    /// The row under the bar.
    selected: usize,
    /// Column by which rows are sorted; `None`: as they come, the worst first.
    sort: Option<usize>,
    reversed: bool,
    /// Sums since the begin in place of rates?
    totals: bool,
    filter: String,
    typing: bool,
    /// The victim that is looked at closer, with whoever held what it waited for.
    closer: Option<(Party, Option<Party>)>,
    help: bool,
    /// What became of the last wish.
    note: String,
}

/// The sentence of the first line.
#[derive(Clone, Debug, Default)]
struct Said {
    sentence: String,
    /// The verdict that is shown, and the one that may follow.
    shown: Option<Verdict>,
    next: Option<Verdict>,
    times: u32,
}

/// Victim, culprit and resource of a verdict; `None` if nothing is contended.
type Verdict = Option<(u32, Option<u32>, &'static str)>;

impl Said {
    /// An interval says this. Figures change with each, the verdict when it is steady.
    fn hears(&mut self, top: &Top) {
        let first = top.waits.first().filter(|_| top.contended);
        let verdict = first.map(|wait| {
            let culprit = wait.culprit.as_ref().map(|culprit| culprit.pid);
            (wait.victim.pid, culprit, wait.resource.name())
        });
        if self.next != Some(verdict) {
            (self.next, self.times) = (Some(verdict), 0);
        }
        self.times += 1;
        let is_steady = self.times >= STEADY || self.shown.is_none();
        if self.shown == Some(verdict) || is_steady {
            self.shown = Some(verdict);
            self.sentence.clone_from(&top.sentence);
        }
    }
}

impl Screen {
    /// An empty screen, with colours or without.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self {
            colour,
            ..Self::default()
        }
    }

    /// Takes an interval.
    pub fn shows(&mut self, mut top: Top) {
        self.said.hears(&top);
        keep(&mut top, MOST_ROWS);
        if self.intervals.len() >= MOST_INTERVALS {
            self.intervals.pop_front();
        }
        self.intervals.push_back(top);
        let old = self.intervals.len().checked_sub(FAR + 1);
        if let Some(old) = old.and_then(|at| self.intervals.get_mut(at)) {
            keep(old, MOST_OLD_ROWS);
        }
        if self.frozen {
            self.goes_back(1);
        }
    }

    /// Something that was wished is done, or was not possible.
    pub fn notes(&mut self, note: String) {
        self.note = note;
    }

    /// The interval that is shown.
    fn shown(&self) -> Option<&Top> {
        let newest = self.intervals.len().checked_sub(1)?;
        self.intervals.get(newest.saturating_sub(self.back))
    }

    fn goes_back(&mut self, intervals: usize) {
        let oldest = self.intervals.len().saturating_sub(1);
        self.back = self.back.saturating_add(intervals).min(oldest);
    }

    /// Takes a key.
    pub fn press(&mut self, key: Key) -> Wish {
        self.note.clear();
        // The row that is meant is the one under the bar: an interval may have fewer rows than the one before.
        self.selects(0);
        if self.typing && key != Key::Interrupt {
            self.types(key);
            return Wish::Nothing;
        }
        match key {
            Key::Up => self.selected = self.selected.saturating_sub(1),
            Key::Down => self.selects(1),
            Key::PageUp => self.selected = self.selected.saturating_sub(PAGE),
            Key::PageDown => self.selects(PAGE),
            Key::Left => self.travels(1),
            Key::Right => {
                self.back = self.back.saturating_sub(1);
                self.frozen = self.back > 0;
            }
            Key::Enter => return self.enters(),
            Key::Backspace | Key::Escape => self.leaves(),
            Key::Interrupt => return Wish::Quit,
            Key::Char(letter) => return self.letter(letter),
        }
        Wish::Nothing
    }

    fn letter(&mut self, letter: char) -> Wish {
        match letter {
            'q' => return Wish::Quit,
            'w' => return self.writes(),
            '?' => self.help = !self.help,
            '/' => {
                self.typing = true;
                self.filter.clear();
            }
            ' ' => {
                self.frozen = !self.frozen;
                self.back = 0;
            }
            'b' => self.travels(FAR),
            's' => self.sorts(),
            'r' => self.reversed = !self.reversed,
            't' => self.totals = !self.totals,
            digit => {
                if let Some(view) = View::of(digit) {
                    self.view = view;
                    self.leaves();
                    (self.selected, self.sort, self.reversed) = (0, None, false);
                }
            }
        }
        Wish::Nothing
    }

    /// The filter, as it is typed.
    fn types(&mut self, key: Key) {
        match key {
            Key::Char(letter) => self.filter.push(letter),
            Key::Backspace => _ = self.filter.pop(),
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            Key::Enter => self.typing = false,
            _ => {}
        }
        self.selected = 0;
    }

    fn selects(&mut self, further: usize) {
        let last = self.table().rows.len().saturating_sub(1);
        self.selected = self.selected.saturating_add(further).min(last);
    }

    /// Back in time: what is shown stays until somebody comes back.
    fn travels(&mut self, intervals: usize) {
        self.frozen = true;
        self.goes_back(intervals);
    }

    /// The next column with figures, and then none.
    fn sorts(&mut self) {
        let table = self.table();
        let first = self.sort.map_or(0, |column| column + 1);
        let figures = (first..table.columns.len()).find(|at| table.columns[*at].is_figure);
        self.sort = figures;
        self.selected = 0;
    }

    /// Looks closer at the row under the bar.
    fn enters(&mut self) -> Wish {
        let table = self.table();
        let row = table.rows.get(self.selected);
        let Some(about) = row.and_then(|row| row.about.clone()) else {
            return Wish::Nothing;
        };
        let pids = about.0.pids.clone();
        self.closer = Some(about);
        self.selected = 0;
        match self.frozen {
            // The past stays as it is.
            true => Wish::Nothing,
            false => Wish::Look(pids),
        }
    }

    fn leaves(&mut self) {
        self.help = false;
        if self.closer.take().is_some() {
            self.selected = 0;
        }
    }

    fn writes(&self) -> Wish {
        let Some(top) = self.shown() else {
            return Wish::Nothing;
        };
        let options = TextOptions {
            top: WRITTEN_ROWS,
            colour: false,
        };
        // Colons are no part of a name on many file systems.
        let name = format!("tracer-top-{}.txt", top.time.replace(':', ""));
        Wish::Write(name, text(top, &options))
    }

    /// The rows that are shown, filtered and sorted.
    fn table(&self) -> Table {
        let Some(top) = self.shown() else {
            return Table::default();
        };
        let mut table = match &self.closer {
            Some((victim, _)) => rows::closer(top, victim, self.totals),
            None => match self.view {
                View::Waits => rows::waits(top, |wait| self.line_of(wait)),
                View::Processes => rows::processes(top, self.totals),
                View::Disks => rows::disks(top),
                View::Machine => rows::machine(top),
                View::Flows => rows::flows(top, self.totals),
            },
        };
        table.rows.retain(|row| self.is_wanted(row));
        if let Some(column) = self.sort {
            let figure = |row: &Row| row.figures.get(column).copied().unwrap_or(0.0);
            table.rows.sort_by(|a, b| figure(b).total_cmp(&figure(a)));
        }
        if self.reversed {
            table.rows.reverse();
        }
        table
    }

    /// Does a row have what the filter asks for? `!word` asks for those without it.
    fn is_wanted(&self, row: &Row) -> bool {
        let has = |word: &str| row.cells.iter().any(|cell| cell.contains(word));
        match self.filter.strip_prefix('!') {
            Some("") => true,
            Some(word) => !has(word),
            None => has(&self.filter),
        }
    }

    /// What the same wait cost its victim in the last minute, in thousandths of its time, the oldest first.
    fn line_of(&self, wait: &Wait) -> Vec<u64> {
        let newest = self.intervals.len().saturating_sub(self.back);
        let first = newest.saturating_sub(FAR);
        let part = |top: &Top| {
            let same = top.waits.iter().filter(|other| is_same(other, wait));
            let part: f64 = same.map(|wait| wait.part).sum();
            (1000.0 * part) as u64
        };
        self.intervals.range(first..newest).map(part).collect()
    }

    /// The way to what is looked at closer.
    fn way(&self) -> String {
        match &self.closer {
            Some((victim, Some(culprit))) => format!("{} › {}", party(victim), party(culprit)),
            Some((victim, None)) => party(victim),
            None => String::new(),
        }
    }
}

/// Keeps so many rows of each table, and the memory of no more.
fn keep(top: &mut Top, rows: usize) {
    top.waits.truncate(rows);
    top.waits.shrink_to_fit();
    top.processes.truncate(rows);
    top.processes.shrink_to_fit();
    if let Some(flows) = &mut top.flows {
        flows.truncate(rows);
        flows.shrink_to_fit();
    }
}

/// Is it the wait of the same victim for the same resource behind the same holder?
fn is_same(a: &Wait, b: &Wait) -> bool {
    let culprit = |wait: &Wait| wait.culprit.as_ref().map(|culprit| culprit.pid);
    (a.victim.pid, a.resource, culprit(a)) == (b.victim.pid, b.resource, culprit(b))
}
