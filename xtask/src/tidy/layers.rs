//! Which module may use which: the arrows of the code map, one way.

use super::{Finding, Source};

/// A module of the user half, and the modules and words that it may use.
struct Layer {
    /// Below `tracer-user/src`: `NAME.rs` and all that is in `NAME/`.
    module: &'static str,
    /// Other modules of the same crate; all others are forbidden, those too that come later.
    may: &'static [&'static str],
    /// Words of code that it may not have, besides those of [`AYA`].
    words: &'static [&'static str],
    why: &'static str,
}

/// Plain types of the domain: every module may use them.
const PLAIN: [&str; 9] = [
    "class",
    "counters",
    "figures",
    "file_system",
    "functions",
    "largest",
    "loss",
    "standing",
    "units",
];

/// Only `kernel/` names aya. The probes may, for the trait that says that a record is plain bytes.
const AYA: &str = "aya::";
const NAMES_AYA: [(&str, &[&str]); 2] = [("kernel", &[]), ("probes", &["aya::Pod"])];

/// Words of code that read a clock.
const CLOCKS: [&str; 2] = ["std::time::Instant", "SystemTime"];

const LAYERS: [Layer; 11] = [
    Layer {
        module: "event",
        may: &[],
        words: &["println!"],
        why: "an event is what the kernel said, owned, and knows nobody",
    },
    Layer {
        module: "probes",
        may: &["event"],
        words: &["println!"],
        why: "a probe's table says what attaches, and its records become events",
    },
    Layer {
        module: "machine",
        may: &["event"],
        words: &["println!"],
        why: "what `/proc`, netlink and sysfs say is read, not judged",
    },
    Layer {
        module: "kernel",
        may: &["event", "machine", "probes"],
        words: &["println!"],
        why: "what loads and reads probes does not judge",
    },
    Layer {
        module: "session",
        may: &["event", "kernel", "machine", "probes"],
        words: &["println!"],
        why: "a session is one trace: it emits events and judges nothing",
    },
    Layer {
        module: "model",
        may: &["event"],
        words: &["std::fs", "std::io", "std::net", "std::process", "println!"],
        why: "the model is a fold of events: no clock, no I/O; times come in as event time stamps",
    },
    Layer {
        module: "verdict",
        may: &["model"],
        words: &["std::fs", "std::io", "println!"],
        why: "a verdict is a judgement on the model alone",
    },
    Layer {
        module: "assemble",
        may: &["event", "model", "report", "verdict"],
        words: &["println!"],
        why: "books and verdict become a report here, and nothing else happens",
    },
    Layer {
        module: "top",
        may: &["assemble", "event", "gate", "model", "recording", "report"],
        words: &["std::fs", "std::io", "println!"],
        why: "the machine is a fold of events, as one target is: no clock, no I/O",
    },
    Layer {
        module: "report",
        may: &[],
        words: &["println!"],
        why: "a report is the plain values that renderers may see",
    },
    Layer {
        module: "render",
        may: &["report"],
        words: &["println!", "print!("],
        why: "a renderer writes a report to where it is told, and computes nothing",
    },
];

/// Layers that get their times from events.
const WITHOUT_CLOCK: [&str; 6] = ["event", "model", "verdict", "top", "report", "render"];

/// Where the user half lies.
const USER_HALF: &str = "tracer-user/src/";

/// Uses that go against the arrows.
pub(super) fn dependencies(source: &Source<'_>) -> Vec<Finding> {
    let Some(path) = source.path.strip_prefix(USER_HALF) else {
        return Vec::new();
    };
    let module = path.split(['/', '.']).next().unwrap_or_default();
    let mut findings: Vec<_> = LAYERS
        .iter()
        .filter(|layer| layer.module == module)
        .flat_map(|layer| layer.check(source))
        .collect();
    findings.extend(cmd_is_on_top(source, module));
    findings.extend(aya_has_one_place(source, module));
    findings
}

impl Layer {
    fn check(&self, source: &Source<'_>) -> Vec<Finding> {
        let forbidden = |module: &str| {
            module != self.module && !PLAIN.contains(&module) && !self.may.contains(&module)
        };
        // Tests may build what they look at with the layers below and above.
        let code_ends = tests_begin(source);
        let modules = uses(source.text)
            .into_iter()
            .filter(|(_, module)| forbidden(module))
            .map(|(line, module)| (line, format!("crate::{module}")));
        let clocks = WITHOUT_CLOCK.contains(&self.module);
        let clocks = CLOCKS.iter().filter(|_| clocks);
        let words: Vec<_> = self.words.iter().chain(clocks).copied().collect();
        modules
            .chain(words_in(source, &words))
            .filter(|(line, _)| *line < code_ends)
            .map(|(line, name)| Finding {
                line,
                advice: format!("`{name}` does not belong here: {}", self.why),
            })
            .collect()
    }
}

/// The line on which a file's tests begin. It is past the end of a file without tests, and 0 in a file of tests.
fn tests_begin(source: &Source<'_>) -> usize {
    if source.path.contains("/tests/") || source.path.ends_with("/tests.rs") {
        return 0;
    }
    let mark = source
        .text
        .lines()
        .position(|line| line.starts_with("#[cfg(test)]"));
    mark.map_or(usize::MAX, |index| index + 1)
}

/// The lines that have one of these words in their code, with the word.
fn words_in(source: &Source<'_>, words: &[&str]) -> Vec<(usize, String)> {
    let word = |text: &str| {
        let found = words.iter().find(|word| has_word(text, word));
        found.map(|word| (*word).to_owned())
    };
    source
        .lines()
        .filter_map(|(line, text)| Some((line, word(code(text))?)))
        .collect()
}

/// Commands use everything and are used by `main` alone.
fn cmd_is_on_top(source: &Source<'_>, module: &str) -> Vec<Finding> {
    let below = module != "cmd" && module != "main";
    let used = uses(source.text)
        .into_iter()
        .filter(|(_, used)| below && *used == "cmd");
    let finding = |line| Finding {
        line,
        advice: "only main may use crate::cmd: move what is shared below it".to_owned(),
    };
    used.map(|(line, _)| finding(line)).collect()
}

/// Nobody but the kernel's room depends on aya: everything else can be read, tested and used without it.
fn aya_has_one_place(source: &Source<'_>, module: &str) -> Vec<Finding> {
    let allowed = NAMES_AYA.iter().find(|(room, _)| *room == module);
    let code_ends = tests_begin(source);
    let lines = source.lines().take_while(|(line, _)| *line < code_ends);
    let lines = lines.map(|(line, text)| (line, code(text)));
    let named = lines.filter(|(_, text)| has_word(text, AYA));
    let wrong = named.filter(|(_, text)| match allowed {
        None => true,
        Some((_, only)) => !only.is_empty() && !only.iter().any(|word| has_word(text, word)),
    });
    let finding = |(line, _)| Finding {
        line,
        advice: "only kernel/ names aya (the probes only `aya::Pod`): ask it for what you need"
            .to_owned(),
    };
    wrong.map(finding).collect()
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

/// The first names of the items of a group up to its closing brace. Each comes with its number of lines below the group's
/// beginning.
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
        let clock = "use std::time::Instant;\n";
        assert_eq!(found("tracer-user/src/model/blame.rs", clock), [1]);
        assert_eq!(
            found("tracer-user/src/model.rs", "// not std::time::Instant\n"),
            NONE
        );
        assert_eq!(found("tracer-user/src/modelled.rs", clock), NONE);
        assert_eq!(found("tracer-user/src/session/mod.rs", clock), NONE);
    }

    #[test]
    fn a_layer_uses_only_what_it_may_also_what_is_new() {
        let text = "use crate::machine::proc;\nuse crate::units;\nuse crate::brand_new;\n";
        assert_eq!(found("tracer-user/src/kernel/load.rs", text), [3]);
        assert_eq!(found("tracer-user/src/machine/proc.rs", text), [3]);
        assert_eq!(found("tracer-user/src/model/mod.rs", text), [1, 3]);
        assert_eq!(found("xtask/src/model/mod.rs", text), NONE);
    }

    #[test]
    fn tests_may_use_what_the_code_may_not() {
        let text = "use crate::event;\n#[cfg(test)]\nmod tests {\n    use crate::event;\n}\n";
        assert_eq!(found("tracer-user/src/verdict/mod.rs", text), [1]);
    }

    #[test]
    fn aya_is_named_in_one_place() {
        let (pod, ring) = ("use aya::Pod;\n", "let ring: aya::maps::RingBuf;\n");
        assert_eq!(found("tracer-user/src/kernel/rings.rs", ring), NONE);
        assert_eq!(found("tracer-user/src/probes/tcp.rs", pod), NONE);
        assert_eq!(found("tracer-user/src/probes/tcp.rs", ring), [1]);
        assert_eq!(found("tracer-user/src/machine/proc.rs", pod), [1]);
        assert_eq!(found("tracer-user/src/cmd/doctor.rs", ring), [1]);
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
