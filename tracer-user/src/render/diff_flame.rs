//! Differential flame graphs: `difffolded.pl`'s two columns are the seam, and `inferno` draws them in Brendan Gregg's red and blue.
//!
//! Both columns are times of one second of the window, so windows of different lengths can be compared without a scale of their own.

use std::collections::BTreeMap;

use anyhow::Result;
use inferno::flamegraph::color::Color;

use super::flame::{joined, options, picture, with_legend};
use crate::{
    report::diff::DiffFlame,
    units::{share, time},
};

/// The strongest colours that `inferno` gives to a difference.
const MORE: Color = Color {
    r: 255,
    g: 100,
    b: 100,
};
const LESS: Color = Color {
    r: 100,
    g: 100,
    b: 255,
};

/// Stacks that look the same are one: (before, after) in ns for each second.
fn merged(flame: &DiffFlame) -> BTreeMap<String, (u64, u64)> {
    let mut stacks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for stack in &flame.stacks {
        let sums = stacks.entry(joined(&stack.frames)).or_default();
        sums.0 = sums.0.saturating_add(stack.before_ns);
        sums.1 = sums.1.saturating_add(stack.after_ns);
    }
    stacks
}

/// One line for each stack, `frame;frame;… before after`, in order: ns for each second of the window.
#[must_use]
pub fn folded(flame: &DiffFlame) -> String {
    let lines = merged(flame).into_iter();
    let lines = lines.filter(|(_, (before, after))| before.max(after) > &0);
    lines
        .map(|(frames, (before, after))| format!("{frames} {before} {after}\n"))
        .collect()
}

/// The flame graph as SVG: as wide as the time after, red where that is more than before, blue where it is less. What is gone has no
/// width, so the legend says how much that is.
///
/// # Errors
/// If `inferno` cannot draw it.
pub fn svg(flame: &DiffFlame) -> Result<Vec<u8>> {
    let stacks = merged(flame);
    // In microseconds: nanoseconds have too many digits to read.
    let line = |(frames, (before, after)): (&String, &(u64, u64))| {
        format!("{frames} {} {}", before / 1000, after / 1000)
    };
    let is_drawn = |(_, (before, after)): &(&String, &(u64, u64))| *before.max(after) >= 1000;
    let mut lines: Vec<String> = stacks.iter().filter(is_drawn).map(line).collect();
    let mut options = options(&flame.title, &flame.sentence, "µs blocked a second");
    if stacks.values().all(|(_, after)| *after < 1000) {
        options.title.push_str(": nothing to draw");
        lines = vec!["nothing waited 1".to_owned()];
    }
    let svg = picture(&mut options, &lines)?;
    Ok(with_legend(&svg, &legend(&stacks)).into_bytes())
}

fn legend(stacks: &BTreeMap<String, (u64, u64)>) -> Vec<(Option<Color>, String)> {
    let gone = stacks.values().filter(|(_, after)| *after < 1000);
    let sum = |sum: u64, (before, _): &(u64, u64)| sum.saturating_add(*before);
    let (gone, all) = (gone.fold(0, sum), stacks.values().fold(0, sum));
    let gone = match gone {
        0..1000 => "nothing is gone that waited before".to_owned(),
        _ => format!(
            "gone and not drawn: {} a second, {} of the time before (swap the recordings to see it)",
            time(gone),
            share(gone as f64 / all.max(1) as f64)
        ),
    };
    vec![
        (Some(MORE), "more than before".to_owned()),
        (Some(LESS), "less".to_owned()),
        (
            None,
            "width: after; the colour is that of the innermost frame".to_owned(),
        ),
        (None, gone),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::diff::DiffStack;

    const MS: u64 = 1_000_000;

    fn stack(frames: &[&str], before_ms: u64, after_ms: u64) -> DiffStack {
        DiffStack {
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
            before_ns: before_ms * MS,
            after_ns: after_ms * MS,
        }
    }

    fn flame(stacks: Vec<DiffStack>) -> DiffFlame {
        DiffFlame {
            title: "nginx: blocked".to_owned(),
            sentence: "after: slower.".to_owned(),
            stacks,
        }
    }

    fn drawn(flame: &DiffFlame) -> String {
        String::from_utf8(svg(flame).unwrap()).unwrap()
    }

    /// The red, green and blue of the frame of this name.
    fn fill(svg: &str, name: &str) -> Vec<u8> {
        let title = format!("<title>{name} (");
        let (_, frame) = svg.split_once(title.as_str()).unwrap();
        let (_, fill) = frame.split_once("fill=\"rgb(").unwrap();
        let (fill, _) = fill.split_once(')').unwrap();
        fill.split(',').map(|part| part.parse().unwrap()).collect()
    }

    #[test]
    fn folded_text_has_two_columns_and_one_line_for_what_looks_the_same() {
        let flame = flame(vec![
            stack(&["x", "disk", "tar", "schedule", "read"], 5, 0),
            stack(&["x", "disk", "tar", "read"], 1, 2),
            stack(&["x", "disk", "a;b\n 7"], 0, 3),
            stack(&["x", "disk", "nobody"], 0, 0),
        ]);
        assert_eq!(
            folded(&flame),
            "x;disk;a:b\\x0a_7 0 3000000\nx;disk;tar;read 6000000 2000000\n"
        );
    }

    #[test]
    fn more_is_red_less_is_blue_and_the_same_is_neither() {
        let picture = drawn(&flame(vec![
            stack(&["x", "disk", "tar"], 10, 40),
            stack(&["x", "cpu", "gzip"], 40, 10),
            stack(&["x", "lock", "itself"], 7, 7),
        ]));
        assert_eq!(fill(&picture, "tar"), [MORE.r, MORE.g, MORE.b]);
        assert_eq!(fill(&picture, "gzip"), [LESS.r, LESS.g, LESS.b]);
        let [r, g, b] = fill(&picture, "itself")[..] else {
            panic!("no colour");
        };
        assert!(r == g && g == b);
        assert!(picture.contains("nothing is gone"));
    }

    #[test]
    fn what_is_gone_is_said() {
        let gone = flame(vec![
            stack(&["x", "disk", "tar"], 30, 0),
            stack(&["x", "cpu", "gzip"], 10, 10),
        ]);
        let picture = drawn(&gone);
        assert!(picture.contains("gone and not drawn: 30.0 ms a second, 75 % of the time before"));
        assert!(!picture.contains("<title>tar ("));
        let all = drawn(&flame(vec![stack(&["x", "disk", "tar"], 30, 0)]));
        assert!(all.contains("nothing to draw") && all.contains("30.0 ms a second, 100 %"));
        assert!(drawn(&flame(Vec::new())).contains("nothing to draw"));
    }

    #[test]
    fn a_hostile_name_stays_a_name() {
        for name in [
            "<script>alert(1)</script>",
            "a 1 2 3",
            "x_[k]",
            "# 5",
            ";;",
            "",
            "\x1b[2J\u{202e}",
        ] {
            let mut hostile = flame(vec![stack(&[name, "disk", name], 3, 9)]);
            (hostile.title, hostile.sentence) = (name.to_owned(), name.to_owned());
            let picture = drawn(&hostile);
            assert!(picture.contains("<svg") && !picture.contains("<script>alert"));
            let harmful = |c: char| (c.is_control() && !"\n\t".contains(c)) || c == '\u{202e}';
            assert!(!picture.contains(harmful), "{name:?}");
            assert_eq!(folded(&hostile).lines().count(), 1, "{name:?}");
            assert!(folded(&hostile).ends_with(" 3000000 9000000\n"), "{name:?}");
        }
    }
}
