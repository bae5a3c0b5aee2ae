//! The picture of the screen: lines of text, from 40 columns and 12 lines on.
//!
//! A colour says how much a wait costs its victim, and nothing else; so does the mark before it. Nothing is filled, so that a light
//! background is as good as a dark one.

use ratatui::{
    Frame,
    style::{Color, Modifier, Style},
};

use super::{
    Screen, View,
    rows::{Column, Table},
};
use crate::{
    render::table::{Align, table_in, wrap_in},
    report::top::Top,
    units::{count, escape_terminal as safe, percent, shorten, time},
};

/// A victim that loses so much of its time is held up by it, and one that loses less than the second may not feel it.
const RED: f64 = 0.20;
const YELLOW: f64 = 0.05;

/// Lines from which on the sentence has two of them.
const TALL: usize = 16;

/// Columns of words that are worth to be shown: the begin of a name, and its pid.
const WORDS: usize = 14;

/// Columns from which on the tables have names in the line that lists them.
const WIDE: usize = 70;

const KEYS: [(&str, &str); 14] = [
    ("0 1 2 3 4", "waits, processes, disks, memory, connections"),
    ("↑ ↓ PgUp PgDn", "another row"),
    (
        "Enter",
        "look closer: all waits of this process, from now on",
    ),
    ("Backspace", "back"),
    ("/", "only rows with what you type; !x: those without x"),
    ("Space", "freeze, or go on"),
    ("← →", "an interval back or on"),
    ("b", "sixty intervals back"),
    ("s", "sort by the next column"),
    ("r", "the other way round"),
    ("t", "totals in place of rates"),
    ("w", "write what is shown to a file"),
    ("?", "these keys"),
    ("q Ctrl-C", "quit"),
];

/// A line, and how it looks.
#[derive(Clone, Debug, Default, PartialEq)]
struct Line {
    text: String,
    style: Style,
}

impl Line {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            style: Style::new(),
        }
    }

    fn bold(text: impl Into<String>) -> Self {
        Self {
            style: Style::new().add_modifier(Modifier::BOLD),
            ..Self::plain(text)
        }
    }
}

impl Screen {
    /// Draws all of it.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let lines = self.lines(width, height);
        let buffer = frame.buffer_mut();
        for (y, line) in (area.y..area.bottom()).zip(lines) {
            buffer.set_stringn(area.x, y, &line.text, width, line.style);
        }
    }

    /// The lines of a screen of this size.
    fn lines(&self, width: usize, height: usize) -> Vec<Line> {
        let Some(top) = self.shown() else {
            return vec![Line::plain("looking at all processes …")];
        };
        let mut lines = self.sentence(top, width, if height < TALL { 1 } else { 2 });
        lines.push(self.tables(width));
        // One line is for the state.
        let room = height.saturating_sub(lines.len() + 1);
        let mut body = match self.help {
            true => self.keys(top, width),
            false => self.body(width, room),
        };
        body.resize(room, Line::default());
        lines.extend(body);
        lines.push(Line::plain(shorten(&self.state(top), width)));
        lines
    }

    fn sentence(&self, top: &Top, width: usize, most: usize) -> Vec<Line> {
        // What was is as it was said then.
        let text = match self.back {
            0 => &self.said.sentence,
            _ => &top.sentence,
        };
        let mut wrapped = wrap_in(width, &safe(text), "", "");
        if wrapped.len() > most {
            let rest = wrapped.split_off(most.saturating_sub(1)).join(" ");
            wrapped.push(shorten(&rest, width));
        }
        wrapped.resize(most, String::new());
        wrapped.into_iter().map(Line::bold).collect()
    }

    /// The tables that there are, or the way to what is looked at closer.
    fn tables(&self, width: usize) -> Line {
        if self.closer.is_some() {
            return Line::plain(shorten(&self.way(), width));
        }
        let name = |(digit, (view, name)): (usize, &(View, &str))| {
            let is_shown = *view == self.view;
            match (is_shown, width >= WIDE) {
                (true, _) => format!("[{digit} {name}]"),
                (false, true) => format!("{digit} {name}"),
                (false, false) => digit.to_string(),
            }
        };
        let names: Vec<String> = View::ALL.iter().enumerate().map(name).collect();
        Line::plain(shorten(&names.join("  "), width))
    }

    fn keys(&self, top: &Top, width: usize) -> Vec<Line> {
        let keys = KEYS.map(|(key, does)| format!("{key:<14} {does}"));
        let missing = top.tracer.missing.iter();
        let missing = missing
            .map(|missing| format!("without {}: {}", safe(&missing.probe), safe(&missing.cost)));
        let probes = match top.tracer.missing.is_empty() {
            true => vec!["all probes are attached".to_owned()],
            false => missing.collect(),
        };
        let all = keys.into_iter().chain([String::new()]).chain(probes);
        all.map(|text| Line::plain(shorten(&text, width))).collect()
    }

    /// The table: its head, and as many rows as there is room for, the one under the bar among them.
    fn body(&self, width: usize, room: usize) -> Vec<Line> {
        let table = self.table();
        if table.rows.is_empty() {
            return vec![Line::plain(match self.filter.is_empty() {
                true => "nothing",
                false => "nothing that the filter lets through",
            })];
        }
        let mut texts = texts(&table, width, self.sort).into_iter();
        let head = texts.next().map(Line::bold);
        let fitting = room.saturating_sub(1).max(1);
        // An interval may have fewer rows than the one before.
        let selected = self.selected.min(table.rows.len() - 1);
        let first = (selected + 1).saturating_sub(fitting);
        let rows = texts.zip(&table.rows).enumerate();
        let rows = rows.skip(first).take(fitting);
        let rows = rows.map(|(at, (text, row))| {
            let colour = match row.harm {
                harm if harm >= RED => Style::new().fg(Color::Red),
                harm if harm >= YELLOW => Style::new().fg(Color::Yellow),
                _ => Style::new(),
            };
            let style = if self.colour { colour } else { Style::new() };
            match at == selected {
                true => Line {
                    text: format!("{text:<width$}"),
                    style: style.add_modifier(Modifier::REVERSED),
                },
                false => Line { text, style },
            }
        });
        head.into_iter().chain(rows).collect()
    }

    fn state(&self, top: &Top) -> String {
        if self.typing {
            return format!("/{}_", safe(&self.filter));
        }
        if !self.note.is_empty() {
            return safe(&self.note);
        }
        let clock = top.time.split(['T', '.']).nth(1).unwrap_or(&top.time);
        let mut parts = vec![safe(clock), time(top.interval_ns)];
        parts.extend(match (self.frozen, self.back) {
            (false, _) => None,
            (true, 0) => Some("FROZEN".to_owned()),
            (true, back) => Some(format!("FROZEN {back} back")),
        });
        if !self.filter.is_empty() {
            parts.push(format!("/{}", safe(&self.filter)));
        }
        let lost = top.tracer.lost.saturating_add(top.tracer.left_out);
        if lost > 0 {
            parts.push(format!("lost {}", count(lost)));
        }
        parts.push(format!("tracer {}", percent(top.tracer.cpu)));
        parts.push("? keys".to_owned());
        parts.join(" · ")
    }
}

/// Head and rows of a table, of the columns for which there is room.
fn texts(table: &Table, width: usize, sort: Option<usize>) -> Vec<String> {
    let kept = kept(table, width);
    let head = kept.iter().map(|at| {
        let name = table.columns[*at].name;
        match sort == Some(*at) {
            true => format!("{name}↓"),
            false => name.to_owned(),
        }
    });
    let of_row = |cells: &[String]| -> Vec<String> {
        let cell = |at: &usize| cells.get(*at).cloned().unwrap_or_default();
        kept.iter().map(cell).collect()
    };
    let mut all: Vec<Vec<String>> = vec![head.collect()];
    all.extend(table.rows.iter().map(|row| of_row(&row.cells)));
    let align = |at: &usize| match table.columns[*at].is_figure {
        true => Align::Right,
        false => Align::Left,
    };
    let align: Vec<Align> = kept.iter().map(align).collect();
    let is_flexible = |at: &usize| align[*at] == Align::Left;
    let flexible: Vec<usize> = (0..align.len()).filter(is_flexible).collect();
    table_in(width, &all, &align, &flexible, 0)
}

/// The columns for which there is room.
fn kept(table: &Table, width: usize) -> Vec<usize> {
    let widest = |at: usize| {
        let cells = table.rows.iter().filter_map(|row| row.cells.get(at));
        let name = table.columns[at].name.chars().count();
        cells
            .map(|cell| cell.chars().count())
            .fold(name, usize::max)
    };
    let least = |at: usize, column: &Column| match column.is_figure {
        true => widest(at),
        false => widest(at).min(WORDS),
    };
    let columns = table.columns.iter().enumerate();
    let mut kept: Vec<(usize, usize)> = columns
        .map(|(at, column)| (at, least(at, column)))
        .collect();
    let needed = |kept: &[(usize, usize)]| {
        let widths: usize = kept.iter().map(|(_, width)| width).sum();
        widths + 2 * kept.len().saturating_sub(1)
    };
    while needed(&kept) > width && kept.len() > 1 {
        let rank = |(at, _): &(usize, usize)| table.columns[*at].rank;
        let highest = kept.iter().map(rank).max();
        let Some(last) = kept
            .iter()
            .rposition(|column| Some(rank(column)) == highest)
        else {
            break;
        };
        kept.remove(last);
    }
    kept.into_iter().map(|(at, _)| at).collect()
}
