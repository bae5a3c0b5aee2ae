//! Which module may use which: the arrows of the code map, one way.

use super::{Finding, Source};

/// What a module must not use.
struct Layer {
    /// Below the root of the tree: `NAME.rs` and all that is in `NAME/`.
    module: &'static str,
    /// Modules of the same crate.
    modules: &'static [&'static str],
    /// Words of code.
    words: &'static [&'static str],
    why: &'static str,
}

const LAYERS: [Layer; 6] = [
    Layer {
        module: "tracer-user/src/event",
        modules: &["kernel", "model", "verdict", "report", "render", "cmd"],
        words: &["aya::"],
        why: "an event is what the kernel said, owned, and knows nobody",
    },
    Layer {
        module: "tracer-user/src/model",
        modules: &[
            "kernel",
            "verdict",
            "report",
            "render",
            "recording",
            "pipeline",
            "cmd",
        ],
        words: &[
            "std::time::Instant",
            "SystemTime",
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "aya::",
            "println!",
        ],
        why: "the model is a fold of events: no clock, no I/O; times come in as event time stamps",
    },
    Layer {
        module: "tracer-user/src/verdict",
        modules: &["kernel", "event", "render", "recording", "pipeline", "cmd"],
        words: &["std::time::Instant", "SystemTime", "aya::", "println!"],
        why: "a verdict is a judgement on the model alone",
    },
    Layer {
        module: "tracer-user/src/report",
        modules: &["kernel", "render", "cmd"],
        words: &["aya::", "println!"],
        why: "a report is the plain data that renderers may see",
    },
    Layer {
        module: "tracer-user/src/render",
        modules: &[
            "kernel",
            "probes",
            "event",
            "model",
            "verdict",
            "recording",
            "pipeline",
            "cmd",
        ],
        words: &["aya::", "println!", "print!("],
        why: "a renderer writes a report to where it is told, and computes nothing",
    },
    Layer {
        module: "tracer-user/src/kernel",
        modules: &[
            "model",
            "verdict",
            "report",
            "render",
            "recording",
            "pipeline",
            "cmd",
        ],
        words: &[],
        why: "what reads the kernel does not judge",
    },
];

/// Uses that go against the arrows.
pub(super) fn dependencies(source: &Source<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = LAYERS
        .iter()
        .filter(|layer| layer.holds(source))
        .flat_map(|layer| layer.check(source))
        .collect();
    findings.extend(cmd_is_on_top(source));
    findings
}

impl Layer {
    fn holds(&self, source: &Source<'_>) -> bool {
        let below = source.path.strip_prefix(self.module);
        below.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    fn check(&self, source: &Source<'_>) -> Vec<Finding> {
        let modules = uses(source.text)
            .into_iter()
            .filter(|(_, module)| self.modules.contains(module));
        let modules = modules.map(|(line, module)| (line, format!("crate::{module}")));
        let word = |text: &str| {
            self.words
                .iter()
                .find(|word| has_word(text, word))
                .map(|word| (*word).to_owned())
        };
        let words = source
            .lines()
            .filter_map(|(line, text)| Some((line, word(code(text))?)));
        let advice = |name: String| format!("`{name}` does not belong here: {}", self.why);
        modules
            .chain(words)
            .map(|(line, name)| Finding {
                line,
                advice: advice(name),
            })
            .collect()
    }
}

/// Commands use everything and are used by `main` alone.
fn cmd_is_on_top(source: &Source<'_>) -> Vec<Finding> {
    let below = source
        .path
        .strip_prefix("tracer-user/src/")
        .is_some_and(|rest| !rest.starts_with("cmd") && rest != "main.rs");
    let used = uses(source.text)
        .into_iter()
        .filter(|(_, module)| below && *module == "cmd");
    let finding = |line| Finding {
        line,
        advice: "only main may use crate::cmd: move what is shared below it".to_owned(),
    };
    used.map(|(line, _)| finding(line)).collect()
}

/// The part of a line before a comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether the code has this word, and not as the end of a longer one (`eprintln!` is not `println!`).
fn has_word(code: &str, word: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part_of_name))
}

/// Every `crate::module` in the code, also in the groups of `use crate::{…}`: (line, module).
fn uses(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, path) in text.match_indices("crate::") {
        let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if code(&text[line_start..=at]).len() != at + 1 - line_start {
            continue;
        }
        let rest = &text[at + path.len()..];
        let line = text[..at].matches('\n').count() + 1;
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_names(group).map(|(below, name)| (line + below, name))),
            None => found.push((line, name(rest))),
        }
    }
    found
}

/// The first names of the items of a group up to its closing brace, and how many lines below its beginning they are.
fn top_names(group: &str) -> impl Iterator<Item = (usize, &str)> {
    let (mut depth, mut expected) = (0_usize, true);
    let starts = group.char_indices().map_while(move |(at, c)| {
        let begins = depth == 0 && expected && (c.is_alphabetic() || c == '_');
        expected = (expected && !begins) || (depth == 0 && c == ',');
        match c {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        Some(begins.then_some(at))
    });
    starts
        .flatten()
        .map(|at| (group[..at].matches('\n').count(), name(&group[at..])))
}

/// The identifier at the beginning.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No line is found. (With its type, which an empty array in a comparison would leave open.)
    const NONE: [usize; 0] = [];

    fn found(path: &str, text: &str) -> Vec<usize> {
        dependencies(&Source { path, text })
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn uses_are_found_in_groups_and_in_paths() {
        let text = "use crate::{\n    event::{Event, Wait},\n    units,\n};\nuse crate::model::Model;\n// crate::kernel\n";
        assert_eq!(uses(text), [(2, "event"), (3, "units"), (5, "model")]);
    }

    #[test]
    fn the_model_has_no_clock() {
        assert_eq!(
            found(
                "tracer-user/src/model/blame.rs",
                "use std::time::Instant;\n"
            ),
            [1]
        );
        assert_eq!(
            found("tracer-user/src/model.rs", "// not std::time::Instant\n"),
            NONE
        );
        assert_eq!(
            found("tracer-user/src/modelled.rs", "use std::time::Instant;\n"),
            NONE
        );
    }

    #[test]
    fn a_renderer_neither_prints_nor_reads_the_model() {
        let text = "use crate::{\n    report::Report,\n    model,\n};\nprintln!();\n";
        assert_eq!(found("tracer-user/src/render/text.rs", text), [3, 5]);
    }

    #[test]
    fn a_warning_on_stderr_is_not_a_print() {
        assert_eq!(
            found("tracer-user/src/render/text.rs", "eprintln!();"),
            NONE
        );
    }

    #[test]
    fn commands_are_used_by_main_alone() {
        assert_eq!(
            found("tracer-user/src/symbol.rs", "use crate::cmd::attach;"),
            [1]
        );
        assert_eq!(
            found("tracer-user/src/cmd/report.rs", "use crate::cmd::attach;"),
            NONE
        );
    }
}
