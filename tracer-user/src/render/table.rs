//! Columns, bars and wrapped lines for 80 columns.

use crate::units::shorten;

/// Flexible columns do not get narrower than this.
const LEAST: usize = 6;

/// Width of the report.
pub(super) const WIDTH: usize = 80;

/// The alignment of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Figures.
    Right,
}

/// Sets rows in columns as wide as their widest cell; the columns in `flexible` give way until a line fits.
#[must_use]
pub(super) fn table(
    rows: &[Vec<String>],
    align: &[Align],
    flexible: &[usize],
    indent: usize,
) -> Vec<String> {
    table_in(WIDTH, rows, align, flexible, indent)
}

/// The same in lines of this width.
#[must_use]
pub(super) fn table_in(
    width: usize,
    rows: &[Vec<String>],
    align: &[Align],
    flexible: &[usize],
    indent: usize,
) -> Vec<String> {
    let columns = align.len();
    let width_of = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns).map(width_of).collect();
    while indent + widths.iter().sum::<usize>() + 2 * (columns - 1) > width {
        let Some(widest) = flexible
            .iter()
            .copied()
            .filter(|column| widths[*column] > LEAST)
            .max_by_key(|column| widths[*column])
        else {
            break;
        };
        widths[widest] -= 1;
    }
    rows.iter()
        .map(|row| line(row, &widths, align, indent))
        .collect()
}

fn line(row: &[String], widths: &[usize], align: &[Align], indent: usize) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .zip(align)
        .map(|((cell, width), align)| {
            let cell = fit(cell, *width);
            match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            }
        })
        .collect();
    format!("{:indent$}{}", "", cells.join("  "))
        .trim_end()
        .to_owned()
}

/// Cuts a cell to a width. A pid at its end stays: the reader needs it to act.
fn fit(cell: &str, width: usize) -> String {
    let tail = match cell.rfind(" [") {
        Some(start) if cell.ends_with(']') => &cell[start..],
        _ => "",
    };
    let room = width.saturating_sub(tail.chars().count());
    if room < 2 {
        return shorten(cell, width);
    }
    shorten(&cell[..cell.len() - tail.len()], room) + tail
}

/// Breaks a text into lines between words; a word that is too long is broken too.
#[must_use]
pub(super) fn wrap(text: &str, first: &str, rest: &str) -> Vec<String> {
    wrap_in(WIDTH, text, first, rest)
}

/// The same into lines of this width.
#[must_use]
pub(super) fn wrap_in(width: usize, text: &str, first: &str, rest: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for mut word in text.split_whitespace() {
        loop {
            let room = width.saturating_sub(line.chars().count() + usize::from(!is_empty));
            let (head, tail) = split_at(word, room);
            if tail.is_empty() {
                line.push_str(if is_empty { "" } else { " " });
                line.push_str(word);
                is_empty = false;
                break;
            }
            if is_empty {
                // A line has room for one character at least, or a word would never end.
                let (head, tail) = if head.is_empty() {
                    split_at(word, 1)
                } else {
                    (head, tail)
                };
                line.push_str(head);
                word = tail;
            }
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            is_empty = true;
        }
    }
    lines.push(line);
    lines
}

/// The first characters of a word and the others. It looks no further, so that a word of megabytes is broken in one pass.
fn split_at(word: &str, chars: usize) -> (&str, &str) {
    let at = word
        .char_indices()
        .nth(chars)
        .map_or(word.len(), |(at, _)| at);
    word.split_at(at)
}

/// A bar of `width` columns in eighths.
#[must_use]
pub(super) fn bar(part: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (part.clamp(0.0, 1.0) * (8 * width) as f64).round() as usize;
    // Any part above 0 is visible.
    let eighths = if part > 0.0 { eighths.max(1) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// A histogram in one line of block characters: neighbouring buckets are joined until it fits.
#[must_use]
pub(super) fn sparkline(counts: &[u64], width: usize) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let joined = counts.len().div_ceil(width).max(1);
    let sums: Vec<u64> = counts
        .chunks(joined)
        .map(|chunk| chunk.iter().sum())
        .collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    let level = |sum: &u64| {
        if *sum == 0 {
            ' '
        } else {
            LEVELS[((sum * 8).div_ceil(most) as usize).clamp(1, 8) - 1]
        }
    };
    sums.iter().map(level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_broken_and_no_line_is_too_long() {
        let lines = wrap(&format!("a {} b", "x".repeat(200)), "", "  ");
        assert!(
            lines.iter().all(|line| line.chars().count() <= WIDTH),
            "{lines:?}"
        );
        assert_eq!(lines.concat().matches('x').count(), 200);
    }

    #[test]
    fn the_flexible_column_gives_way() {
        let rows = vec![
            vec!["n".repeat(90), "1".to_owned()],
            vec!["short".to_owned(), "12345".to_owned()],
        ];
        let lines = table(&rows, &[Align::Left, Align::Right], &[0], 2);
        assert!(
            lines.iter().all(|line| line.chars().count() <= WIDTH),
            "{lines:?}"
        );
        assert!(lines[0].contains('…'));
    }

    #[test]
    fn a_cell_that_is_cut_keeps_its_pid() {
        assert_eq!(fit("a-long-name [4711]", 13), "a-lon… [4711]");
        assert_eq!(fit("a-long-name [4711]", 6), "a-lon…");
        assert_eq!(fit("tar [4711]", 12), "tar [4711]");
    }

    #[test]
    fn a_bar_shows_even_a_little() {
        assert_eq!(bar(0.0, 10), "");
        assert_eq!(bar(0.0001, 10), "▏");
        assert_eq!(bar(1.0, 3), "███");
    }
}
