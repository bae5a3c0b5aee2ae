//! Flame graphs: folded text is the seam, `inferno` draws.

use anyhow::{Context, Result};
use inferno::flamegraph::{self, Options};

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
    wanted
        .map(|frame| folded_frame(frame))
        .collect::<Vec<_>>()
        .join(";")
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
    let mut options = Options::default();
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
        assert_eq!(text, "x;disk;a:b\\x0a 7 2000000\nx;disk;tar [1] 5000000\n");
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
