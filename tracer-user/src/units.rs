//! Figures and text from outside, written for people. No other place prints a unit or escapes a text for a terminal.

use std::fmt::Write as _;

/// A time: three significant digits and a unit (`953 ns`, `4.20 ms`, `13.0 s`, `2 min 5 s`).
#[must_use]
pub fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        // The limits are where rounding would make four digits.
        1_000..999_500 => scaled(ns as f64 / 1e3, "µs"),
        999_500..999_500_000 => scaled(ns as f64 / 1e6, "ms"),
        999_500_000..120_000_000_000 => scaled(ns as f64 / 1e9, "s"),
        _ => format!("{} min {} s", ns / 60_000_000_000, ns / 1_000_000_000 % 60),
    }
}

/// A number of bytes (`512 B`, `12.3 MiB`).
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        scaled(value, UNITS[unit])
    }
}

fn scaled(value: f64, unit: &str) -> String {
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A share of one, in percent: whole, but never rounded to 0 or to 100.
#[must_use]
pub fn share(share: f64) -> String {
    match share {
        share if share <= 0.0 => "0 %".to_owned(),
        share if share < 0.005 => "< 1 %".to_owned(),
        share if share > 0.995 && share < 1.0 => "> 99 %".to_owned(),
        share => format!("{:.0} %", 100.0 * share),
    }
}

/// A figure of 0..1, in whole percent.
#[must_use]
pub fn percent(part: f64) -> String {
    format!("{:.0} %", 100.0 * part)
}

/// A count, with `k` and `M` from five digits on.
#[must_use]
pub fn count(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

/// A time since 1970, as RFC 3339 in UTC with milliseconds. The calendar is Howard Hinnant's `civil_from_days`.
#[must_use]
pub fn utc(wall_ns: u64) -> String {
    let seconds = wall_ns / 1_000_000_000;
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        wall_ns / 1_000_000 % 1000
    )
}

/// The same time, without the day: `07:07:24 UTC`.
#[must_use]
pub fn clock(wall_ns: u64) -> String {
    let whole = utc(wall_ns);
    let time = whole.split(['T', '.']).nth(1);
    format!("{} UTC", time.unwrap_or(&whole))
}

/// Cuts a text to a width, and shows that it did.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `1 thread`, `5 threads`.
#[must_use]
pub fn plural(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Does the character turn the direction of writing (Unicode TR9), or break the line?
fn turns_or_breaks(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// Is it no character at all (Unicode 23.7), which XML forbids, or a tag that nobody sees?
fn is_invisible(c: char) -> bool {
    let no_character = (c as u32 & 0xfffe) == 0xfffe || matches!(c, '\u{fdd0}'..='\u{fdef}');
    no_character || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// Where a text from outside is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A terminal, or a file for people: also the texts of an SVG, in which the drawing library escapes the markup.
    People,
    /// A frame of folded stacks, of a flame graph too.
    Folded,
    /// A whole JSON document. Programs read the same texts as before.
    Json,
}

/// Text from outside (a name, a command line, a path, an address), safe in an output. Control characters (C0, C1, DEL), those that turn
/// the direction of writing, and those that are none become escapes. Everything else, other scripts included, stays. Every output
/// passes through here.
#[must_use]
pub fn outside(text: &str, output: Output) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match (c, output) {
            // Between values. Within one it is escaped already.
            ('\n', Output::Json) => safe.push(c),
            (';', Output::Folded) => safe.push(':'),
            _ if !c.is_control() && !turns_or_breaks(c) && !is_invisible(c) => safe.push(c),
            (_, Output::Json) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            _ if (c as u32) < 0x100 => _ = write!(safe, "\\x{:02x}", c as u32),
            _ => _ = write!(safe, "\\u{{{:x}}}", c as u32),
        }
    }
    safe
}

/// Text from outside, safe on a terminal.
#[must_use]
pub fn escape_terminal(text: &str) -> String {
    outside(text, Output::People)
}

/// Characters of a frame. The longest name of a kernel function has 511 (`KSYM_NAME_LEN`).
const FRAME: usize = 511;

/// A frame of folded text: no separator, no line break, and nothing that a terminal obeys.
#[must_use]
pub fn folded_frame(text: &str) -> String {
    outside(&shorten(text, FRAME), Output::Folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        let shown: Vec<String> = [953, 4_200_000, 13_000_000_000, 125_000_000_000, 999_999]
            .map(time)
            .into();
        assert_eq!(
            shown,
            ["953 ns", "4.20 ms", "13.0 s", "2 min 5 s", "1.00 ms"]
        );
    }

    #[test]
    fn a_share_is_never_rounded_to_nothing_or_to_all() {
        let shown: Vec<String> = [0.0, 0.001, 0.93, 0.999, 1.0].map(share).into();
        assert_eq!(shown, ["0 %", "< 1 %", "93 %", "> 99 %", "100 %"]);
    }

    #[test]
    fn bytes_are_binary() {
        assert_eq!(
            [bytes(512), bytes(12_900_000), bytes(u64::MAX)],
            ["512 B", "12.3 MiB", "16384 PiB"]
        );
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc(951_782_399_999_000_000), "2000-02-28T23:59:59.999Z");
        assert_eq!(utc(1_709_164_800_000_000_000), "2024-02-29T00:00:00.000Z");
        assert_eq!(clock(951_782_399_999_000_000), "23:59:59 UTC");
    }

    #[test]
    fn a_name_cannot_drive_the_terminal() {
        assert_eq!(
            escape_terminal("\x1b[2Ja\u{9b}b\u{202e}c\u{61c}\x7f"),
            "\\x1b[2Ja\\x9bb\\u{202e}c\\u{61c}\\x7f"
        );
        assert_eq!(escape_terminal("größe 日本"), "größe 日本");
        assert_eq!(folded_frame("a;b\nc"), "a:b\\x0ac");
        assert_eq!(
            escape_terminal("a\u{fffe}\u{e0041}"),
            "a\\u{fffe}\\u{e0041}"
        );
    }
}
