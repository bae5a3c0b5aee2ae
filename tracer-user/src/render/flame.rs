//! Flame graphs: folded text is the seam, `inferno` draws.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use inferno::flamegraph::{
    self, Options,
    color::{BackgroundColor, Color, PaletteMap},
};

use crate::{
    report::{Flame, FlameStack},
    units::folded_frame,
};

/// Frames that open every path into and out of the kernel and tell nobody anything.
const PLUMBING: &[&str] = &[
    "entry_SYSCALL_64_after_hwframe",
    "do_syscall_64",
    "x64_sys_call",
    "schedule",
    "__schedule",
];

/// Position of the wait class in a stack, behind the target.
const CLASS_FRAME: usize = 1;

/// Belongs to no class, or to several.
const GREY: Color = Color {
    r: 205,
    g: 205,
    b: 205,
};

/// One line for each stack, `frame;frame;… ns`, in order.
#[must_use]
pub fn folded(flame: &Flame) -> String {
    let mut lines: Vec<String> = flame
        .stacks
        .iter()
        .map(|stack| format!("{} {}\n", frames(stack), stack.ns))
        .collect();
    lines.sort();
    lines.concat()
}

fn frames(stack: &FlameStack) -> String {
    let wanted = stack
        .frames
        .iter()
        .filter(|frame| !PLUMBING.contains(&frame.as_str()));
    without_number_at_end(
        wanted
            .map(|frame| folded_frame(frame))
            .collect::<Vec<_>>()
            .join(";"),
    )
}

/// Folded text ends in one number. A name that ends in one too reads as the first sample of a differential profile: `inferno` takes it
/// off the name and colours by the difference.
fn without_number_at_end(frames: String) -> String {
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    match frames.rsplit_once(' ') {
        Some((rest, word)) if is_number(word) => format!("{rest}_{word}"),
        _ => frames,
    }
}

/// One colour for each wait class, and grey for frames that stand in several (a function where threads of two classes slept).
fn colours(flame: &Flame) -> PaletteMap {
    let mut class_of: BTreeMap<String, Option<&str>> = BTreeMap::new();
    for stack in &flame.stacks {
        let Some(class) = stack.frames.get(CLASS_FRAME) else {
            continue;
        };
        let line = frames(stack);
        for frame in line.split(';').skip(CLASS_FRAME) {
            class_of
                .entry(frame.to_owned())
                .and_modify(|known| *known = known.filter(|known| known == class))
                .or_insert(Some(class.as_str()));
        }
    }
    let mut map = PaletteMap::default();
    for (frame, class) in class_of {
        map.insert(frame, class.map_or(GREY, colour));
    }
    if let Some(stack) = flame.stacks.first() {
        let target = frames(stack);
        map.insert(target.split(';').next().unwrap_or_default(), GREY);
    }
    // The root frame has no name.
    map.insert("", GREY);
    map
}

fn colour(class: &str) -> Color {
    let (r, g, b) = match class {
        "cpu" => (240, 150, 70),
        "disk" => (104, 160, 224),
        "network" => (112, 190, 120),
        "memory" => (196, 150, 220),
        "lock" => (232, 112, 112),
        "upstream" => (232, 200, 90),
        _ => return GREY,
    };
    Color { r, g, b }
}

/// The flame graph as SVG. Without any blocked time it says so.
///
/// # Errors
/// If `inferno` cannot draw it.
pub fn svg(flame: &Flame) -> Result<Vec<u8>> {
    // Microseconds: nanoseconds are too many digits to read.
    let lines: Vec<String> = flame
        .stacks
        .iter()
        .filter(|stack| stack.ns >= 1000)
        .map(|stack| format!("{} {}", frames(stack), stack.ns / 1000))
        .collect();
    let mut svg = Vec::new();
    let mut palette = colours(flame);
    let mut options = Options::default();
    options.palette_map = Some(&mut palette);
    options.bgcolors = Some(BackgroundColor::Flat(Color {
        r: 250,
        g: 250,
        b: 250,
    }));
    options.subtitle =
        Some("from below: target, wait class, place, holder, stack that waited".to_owned());
    options.title = crate::units::escape_terminal(&flame.title);
    "µs blocked".clone_into(&mut options.count_name);
    options.hash = true;
    options.deterministic = true;
    options.min_width = 0.1;
    if lines.is_empty() {
        options.title.push_str(": nothing to draw");
        let nothing = ["nothing waited 1"];
        flamegraph::from_lines(&mut options, nothing, &mut svg)
            .context("cannot draw the flame graph")?;
        return Ok(svg);
    }
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .context("cannot draw the flame graph")?;
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flame(comm: &str) -> Flame {
        let stack = |holder: &str, ns| FlameStack {
            frames: vec![comm.to_owned(), "disk".to_owned(), holder.to_owned()],
            ns,
        };
        Flame {
            title: format!("{comm} blocked"),
            stacks: vec![stack("tar [1]", 5_000_000), stack("a;b\n 7", 2_000_000)],
        }
    }

    #[test]
    fn a_hostile_name_keeps_one_line_for_each_stack() {
        let text = folded(&flame("x"));
        assert_eq!(text, "x;disk;a:b\\x0a_7 2000000\nx;disk;tar [1] 5000000\n");
    }

    #[test]
    fn a_number_at_the_end_of_a_name_is_no_sample() {
        let svg = String::from_utf8(svg(&flame("x")).unwrap()).unwrap();
        assert!(svg.contains("a:b\\x0a_7 ("), "the name lost its number");
        assert!(!svg.contains("%; +"), "drawn as a difference");
    }

    #[test]
    fn a_frame_has_the_colour_of_its_class_and_grey_in_two() {
        let stack = |class: &str| FlameStack {
            frames: ["x", class, class, "shared"].map(str::to_owned).into(),
            ns: 5_000_000,
        };
        let map = colours(&Flame {
            title: String::new(),
            stacks: vec![stack("disk"), stack("cpu")],
        });
        assert_eq!(map.get("disk"), Some(colour("disk")));
        assert_eq!(map.get("shared"), Some(GREY));
        assert_eq!(map.get("x"), Some(GREY));
    }

    #[test]
    fn markup_in_a_name_is_escaped() {
        let svg = String::from_utf8(svg(&flame("<script>alert(1)</script>")).unwrap()).unwrap();
        assert!(!svg.contains("<script>alert"), "markup got through");
        assert!(svg.contains("&lt;script&gt;alert"));
    }

    #[test]
    fn nothing_blocked_still_draws() {
        let svg = svg(&Flame {
            title: "idle".to_owned(),
            stacks: Vec::new(),
        })
        .unwrap();
        assert!(String::from_utf8(svg).unwrap().contains("nothing to draw"));
    }
}
