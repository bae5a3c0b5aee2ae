//! Flame graphs: folded text is the seam, `inferno` draws, and a legend is put below.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::{Context, Result};
use inferno::flamegraph::{
    self, Options,
    color::{BackgroundColor, Color, PaletteMap},
};

use crate::{
    class::Class,
    report::{Flame, FlameStack},
    units::{escape_terminal, folded_frame, shorten},
};

/// Frames that are on every path into or out of the kernel, and so explain none.
const PLUMBING: &[&str] = &[
    "entry_SYSCALL_64_after_hwframe",
    "do_syscall_64",
    "x64_sys_call",
    "schedule",
    "__schedule",
];

/// Width of a character at the size that `inferno` writes, and the height of a line, in pixels.
const CHARACTER: usize = 7;
const LINE: usize = 24;
/// Columns that fit in the 1,200 pixels of a page without being zoomed.
const COLUMNS: usize = 165;

/// One line for each stack, `frame;frame;… ns`, in order.
#[must_use]
pub fn folded(flame: &Flame) -> String {
    let line = |stack: &FlameStack| format!("{} {}\n", joined(&stack.frames), stack.ns);
    let mut lines: Vec<String> = flame.stacks.iter().map(line).collect();
    lines.sort();
    lines.concat()
}

/// The frames of a stack as folded text has them.
pub(super) fn joined(frames: &[String]) -> String {
    let frames: Vec<String> = shown(frames).map(|(_, frame)| frame).collect();
    without_number_at_end(no_comment(frames.join(";")))
}

/// A line of folded text that begins so is a comment, which no name may turn its stack into.
fn no_comment(line: String) -> String {
    match line.trim_start().starts_with("# ") {
        true => line.replacen("# ", "#_", 1),
        false => line,
    }
}

/// The frames of a stack with their positions, without plumbing.
fn shown(frames: &[String]) -> impl Iterator<Item = (usize, String)> {
    let frames = frames.iter().enumerate();
    frames
        .filter(|(_, frame)| !PLUMBING.contains(&frame.as_str()))
        .map(|(position, frame)| (position, folded_frame(frame)))
}

/// Folded text ends in one number. A name that also ends in a number reads as the first sample of a differential profile. `inferno`
/// takes it off the name and colours by the difference.
fn without_number_at_end(frames: String) -> String {
    let is_number = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    match frames.rsplit_once(' ') {
        Some((rest, word)) if is_number(word) => format!("{rest}_{word}"),
        _ => frames,
    }
}

/// The role that sets the colour of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Paint {
    /// A holder that the verdict accuses.
    Culprit,
    /// The class, the place or a holder that nobody accuses.
    Wait(Class),
    /// A function that waited.
    Function(Class),
    /// The target.
    Target,
}

impl Paint {
    fn of(stack: &FlameStack, position: usize) -> Self {
        match position {
            0 => Self::Target,
            _ if position == stack.holder && stack.accused => Self::Culprit,
            _ if position <= stack.holder => Self::Wait(stack.class),
            _ => Self::Function(stack.class),
        }
    }

    /// Paul Tol's "light" scheme (Colour Schemes, SRON technical note). Black text is readable on each colour, and colour-blind
    /// people can distinguish them. Its one strong warm colour is the culprits'.
    fn colour(self) -> Color {
        let (r, g, b) = match self {
            Self::Culprit => (238, 136, 102),
            Self::Target => (221, 221, 221),
            Self::Wait(class) => of_class(class),
            Self::Function(class) => lighter(of_class(class)),
        };
        Color { r, g, b }
    }

    /// `inferno` colours by name, but one name may stand in several classes: this mark makes the names differ. It is one character for
    /// private use (Unicode 23.5) behind the name, and is taken out of the picture.
    fn mark(self) -> char {
        let number = match self {
            Self::Culprit => 0,
            Self::Target => 1,
            Self::Wait(class) => 2 + 2 * class.index(),
            Self::Function(class) => 3 + 2 * class.index(),
        };
        char::from_u32(FIRST_MARK + number as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}

/// Marks are the private characters from this one on.
const FIRST_MARK: u32 = 0xe000;

fn is_mark(c: char) -> bool {
    (FIRST_MARK..FIRST_MARK + 2 + 2 * Class::COUNT as u32).contains(&(c as u32))
}

fn of_class(class: Class) -> (u8, u8, u8) {
    match class {
        Class::Cpu => (238, 221, 136),
        Class::Disk => (119, 170, 221),
        Class::Network => (68, 187, 153),
        Class::Memory => (255, 170, 187),
        Class::Lock => (187, 204, 51),
        Class::Upstream => (153, 221, 255),
        Class::Stopped => (170, 170, 0),
        Class::OnCpu | Class::Idle | Class::Other => (221, 221, 221),
    }
}

/// Half the way to white.
fn lighter((r, g, b): (u8, u8, u8)) -> (u8, u8, u8) {
    let half = |part: u8| part / 2 + 127;
    (half(r), half(g), half(b))
}

/// One line of a picture, in microseconds: nanoseconds have too many digits to read. Each frame has the mark of its paint.
fn line(stack: &FlameStack) -> String {
    let frames: Vec<String> = shown(&stack.frames)
        .map(|(position, mut frame)| {
            frame.retain(|c| !is_mark(c));
            frame.push(Paint::of(stack, position).mark());
            frame
        })
        .collect();
    format!("{} {}", no_comment(frames.join(";")), stack.ns / 1000)
}

/// The colour of each marked frame.
fn colours(lines: &[String], paints: &BTreeMap<char, Paint>) -> PaletteMap {
    let mut map = PaletteMap::default();
    let frames = lines
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .flat_map(|(frames, _)| frames.split(';'));
    for frame in frames {
        let paint = frame.chars().last().and_then(|mark| paints.get(&mark));
        map.insert(frame, paint.unwrap_or(&Paint::Target).colour());
    }
    // The root frame has no name.
    map.insert("", Paint::Target.colour());
    map
}

/// The flame graph as SVG. Without any blocked time it shows that instead.
///
/// # Errors
/// If `inferno` cannot draw it.
pub fn svg(flame: &Flame) -> Result<Vec<u8>> {
    let drawn: Vec<&FlameStack> = flame
        .stacks
        .iter()
        .filter(|stack| stack.ns >= 1000)
        .collect();
    let paints: BTreeMap<char, Paint> = drawn
        .iter()
        .flat_map(|stack| shown(&stack.frames).map(|(position, _)| Paint::of(stack, position)))
        .map(|paint| (paint.mark(), paint))
        .collect();
    let mut lines: Vec<String> = drawn.into_iter().map(line).collect();
    let mut palette = colours(&lines, &paints);
    let mut options = options(&flame.title, &flame.sentence, "µs blocked");
    options.palette_map = Some(&mut palette);
    if lines.is_empty() {
        options.title.push_str(": nothing to draw");
        lines.push("nothing waited 1".to_owned());
    }
    let mut svg = picture(&mut options, &lines)?;
    svg.retain(|c| !is_mark(c));
    Ok(with_legend(&svg, &legend(paints.into_values())).into_bytes())
}

/// What all pictures have in common.
pub(super) fn options<'a>(title: &str, sentence: &str, unit: &str) -> Options<'a> {
    let mut options = Options::default();
    options.bgcolors = Some(BackgroundColor::Flat(Color {
        r: 250,
        g: 250,
        b: 250,
    }));
    options.title = shorten(&escape_terminal(title), COLUMNS);
    options.subtitle = Some(shorten(&escape_terminal(sentence), COLUMNS));
    unit.clone_into(&mut options.count_name);
    options.hash = true;
    options.deterministic = true;
    options.min_width = 0.1;
    options
}

/// The picture of these lines, of which there is one at least.
pub(super) fn picture(options: &mut Options<'_>, lines: &[String]) -> Result<String> {
    let mut svg = Vec::new();
    flamegraph::from_lines(options, lines.iter().map(String::as_str), &mut svg)
        .context("cannot draw the flame graph")?;
    String::from_utf8(svg).context("the flame graph is no text")
}

/// `inferno` asks for chance once in a process. In a static program it does so through a file, so whoever may soon open no file any more
/// lets it ask before.
///
/// # Errors
/// If `inferno` cannot draw.
pub fn prepare() -> Result<()> {
    let lines = ["nothing waited 1".to_owned()];
    picture(&mut options("", "", ""), &lines).map(drop)
}

/// What the colours mean.
fn legend(paints: impl Iterator<Item = Paint>) -> Vec<(Option<Color>, String)> {
    let mut legend: Vec<(Option<Color>, String)> = Vec::new();
    for paint in paints {
        let words = match paint {
            Paint::Culprit => "who is to blame",
            Paint::Wait(class) => class.name(),
            Paint::Function(_) | Paint::Target => continue,
        };
        legend.push((Some(paint.colour()), words.to_owned()));
    }
    let order =
        "from below: target, wait class, place, holder, then the functions that waited (lighter)";
    legend.push((None, order.to_owned()));
    legend
}

/// Adds a line below that explains the colours. The words are not escaped: they are no text from outside.
pub(super) fn with_legend(svg: &str, entries: &[(Option<Color>, String)]) -> String {
    let Some((_, rest)) = svg.split_once(" height=\"") else {
        return svg.to_owned();
    };
    let Some(height) = rest
        .split('"')
        .next()
        .and_then(|height| height.parse::<usize>().ok())
    else {
        return svg.to_owned();
    };
    let taller = height + LINE;
    // The page, its view and its background; no frame is as high.
    let page = svg
        .replace(
            &format!(" height=\"{height}\""),
            &format!(" height=\"{taller}\""),
        )
        .replace(
            &format!(" 0 1200 {height}\""),
            &format!(" 0 1200 {taller}\""),
        );
    let (middle, mut x) = (height + LINE / 2 - 6, 10);
    let mut legend = String::from("<g id=\"legend\">");
    for (colour, words) in entries {
        if let Some(Color { r, g, b }) = colour {
            let _ = write!(
                legend,
                "<rect x=\"{x}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"rgb({r},{g},{b})\"/>",
                middle - 6
            );
            x += 17;
        }
        let _ = write!(
            legend,
            "<text x=\"{x}\" y=\"{}\">{words}</text>",
            middle + 4
        );
        x += words.chars().count() * CHARACTER + 20;
    }
    legend.push_str("</g>");
    match page.rsplit_once("</svg>") {
        Some((page, _)) => format!("{page}{legend}</svg>\n"),
        None => page,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(class: Class, frames: &[&str], accused: bool) -> FlameStack {
        FlameStack {
            frames: frames.iter().map(|frame| (*frame).to_owned()).collect(),
            class,
            holder: 2,
            accused,
            ns: 5_000_000,
        }
    }

    fn flame(comm: &str) -> Flame {
        Flame {
            title: format!("{comm} blocked"),
            sentence: format!("{comm} waits for the disk."),
            stacks: vec![
                stack(Class::Disk, &[comm, "disk", "tar [1]"], true),
                FlameStack {
                    ns: 2_000_000,
                    ..stack(Class::Disk, &[comm, "disk", "a;b\n 7"], false)
                },
            ],
        }
    }

    fn drawn(flame: &Flame) -> String {
        String::from_utf8(svg(flame).unwrap()).unwrap()
    }

    /// The colours of the frames of this name, in the order of the picture.
    fn fills(svg: &str, name: &str) -> Vec<String> {
        let title = format!("<title>{name} (");
        let titled = svg.split(title.as_str()).skip(1);
        let fill = |frame: &str| {
            let (_, fill) = frame.split_once("fill=\"").unwrap();
            fill.split('"').next().unwrap().to_owned()
        };
        titled.map(fill).collect()
    }

    fn rgb(paint: Paint) -> String {
        let Color { r, g, b } = paint.colour();
        format!("rgb({r},{g},{b})")
    }

    #[test]
    fn a_hostile_name_keeps_one_line_for_each_stack() {
        let text = folded(&flame("x"));
        assert_eq!(text, "x;disk;a:b\\x0a_7 2000000\nx;disk;tar [1] 5000000\n");
    }

    #[test]
    fn a_number_at_the_end_of_a_name_is_no_sample() {
        let svg = drawn(&flame("x"));
        assert!(svg.contains("a:b\\x0a 7 ("), "the name lost its number");
        assert!(!svg.contains("%; +"), "drawn as a difference");
    }

    #[test]
    fn a_frame_has_the_colour_of_its_class_also_where_its_name_stands_in_two() {
        let picture = drawn(&Flame {
            stacks: vec![
                stack(Class::Disk, &["x", "disk", "tar", "read"], false),
                stack(Class::Cpu, &["x", "cpu", "gzip", "read"], false),
            ],
            ..flame("x")
        });
        assert_eq!(fills(&picture, "disk"), [rgb(Paint::Wait(Class::Disk))]);
        let read = [Class::Cpu, Class::Disk].map(|class| rgb(Paint::Function(class)));
        assert_eq!(fills(&picture, "read"), read);
        assert_eq!(fills(&picture, "x"), [rgb(Paint::Target)]);
    }

    #[test]
    fn only_the_accused_stand_out() {
        let picture = drawn(&flame("x"));
        assert_eq!(fills(&picture, "tar [1]"), [rgb(Paint::Culprit)]);
        let innocent = [rgb(Paint::Wait(Class::Disk))];
        assert_eq!(fills(&picture, "a:b\\x0a 7"), innocent);
    }

    #[test]
    fn no_two_classes_that_are_drawn_have_one_colour_and_no_two_paints_one_mark() {
        let classes = Class::ALL.into_iter().filter(|class| class.is_blocked());
        let mut colours: Vec<_> = classes.map(of_class).collect();
        colours.push((238, 136, 102));
        colours.sort_unstable();
        assert!(colours.windows(2).all(|pair| pair[0] != pair[1]));
        let of = |class| [Paint::Wait(class), Paint::Function(class)];
        let paints = Class::ALL.into_iter().flat_map(of);
        let mut marks: Vec<char> = paints
            .chain([Paint::Culprit, Paint::Target])
            .map(Paint::mark)
            .collect();
        assert!(marks.iter().all(|mark| is_mark(*mark)));
        marks.sort_unstable();
        assert!(marks.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn the_legend_says_what_is_drawn_and_the_page_has_room_for_it() {
        let picture = drawn(&flame("x"));
        let (_, legend) = picture.split_once("<g id=\"legend\">").unwrap();
        assert!(legend.contains(">disk<") && legend.contains(">who is to blame<"));
        assert!(!legend.contains(">cpu<"), "{legend}");
        let (_, height) = picture.split_once(" height=\"").unwrap();
        let height: usize = height.split('"').next().unwrap().parse().unwrap();
        assert!(picture.contains(&format!("viewBox=\"0 0 1200 {height}\"")));
        let (_, y) = legend.split_once(" y=\"").unwrap();
        let y: usize = y.split('"').next().unwrap().parse().unwrap();
        assert!((height - LINE..height).contains(&y), "{y} of {height}");
    }

    #[test]
    fn the_sentence_stands_below_the_title() {
        assert!(drawn(&flame("x")).contains(">x waits for the disk.</text>"));
    }

    #[test]
    fn markup_in_a_name_is_escaped() {
        let svg = drawn(&flame("<script>alert(1)</script>"));
        assert!(!svg.contains("<script>alert"), "markup got through");
        assert!(svg.contains("&lt;script&gt;alert"));
    }

    #[test]
    fn a_name_that_begins_as_a_comment_is_drawn() {
        assert!(drawn(&flame("# x")).contains("<title>disk ("));
        assert!(folded(&flame("# x")).starts_with("#_x;disk;"));
    }

    #[test]
    fn a_mark_in_a_name_does_not_choose_a_colour() {
        let name = format!("tar{}", Paint::Culprit.mark());
        let picture = drawn(&Flame {
            stacks: vec![stack(Class::Disk, &["x", "disk", &name], false)],
            ..flame("x")
        });
        assert_eq!(fills(&picture, "tar"), [rgb(Paint::Wait(Class::Disk))]);
    }

    #[test]
    fn nothing_blocked_still_draws() {
        let picture = drawn(&Flame {
            stacks: Vec::new(),
            ..flame("idle")
        });
        assert!(picture.contains("nothing to draw"));
    }
}
