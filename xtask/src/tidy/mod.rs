//! The rules of the house that a machine can check; each finding says where and what to do.

mod imports;
mod layers;
mod stems;
mod unused;

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use xtask::{
    command::{output, say},
    paths,
};

/// The longest a file may get: past this nobody reads it whole.
const FILE_LINES: usize = 500;
/// The longest line; the formatter breaks code earlier, but not comments and strings.
const LINE_CHARS: usize = 140;
/// Everything that may lie at the top of the tree, besides files with a dot in front.
const TOP_LEVEL: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "tests",
    "tracer-common",
    "tracer-ebpf",
    "tracer-user",
    "xtask",
];
/// Marks of unfinished work. (In two parts, so that this file keeps the rule.)
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("to", "do!("),
    concat!("unimplemented", "!("),
];
/// Folders of the machines that this is developed on.
const MACHINE_PATHS: [&str; 3] = [
    concat!("/wo", "rk/"),
    concat!("/fa", "rm/"),
    concat!("/tmp", "/wt/"),
];
/// Words of documents outside the tree: a reader cannot follow them. (In parts, so that this file keeps the rule.)
const OUTSIDE_DOCUMENTS: [&str; 5] = [
    concat!("design", " §"),
    concat!("design", ".md"),
    concat!("house", ".md"),
    concat!("kernel", ".md"),
    concat!("faults", ".md"),
];
/// The longest that the README may get: a newcomer reads it whole.
const README_LINES: usize = 150;
const README_WORDS: usize = 1_400;
/// The files with methods of the whole model, where two owners of its state meet. Everywhere else a room keeps to its own.
const MODEL_METHODS: [&str; 3] = [
    "tracer-user/src/model/mod.rs",
    "tracer-user/src/model/wait.rs",
    "tracer-user/src/model/close.rs",
];
/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] = [
    "data",
    "handler",
    "helper",
    "helpers",
    "info",
    "manager",
    "misc",
    "processor",
    "utils",
];

/// A file of the tree.
struct Source<'a> {
    /// Below the root of the tree, with `/`.
    path: &'a str,
    text: &'a str,
}

/// A rule that is broken: the line, 0 for the whole file, and what to do.
#[derive(Debug, PartialEq)]
struct Finding {
    line: usize,
    advice: String,
}

/// Looks at one file.
type Rule = fn(&Source<'_>) -> Vec<Finding>;

const RULES: [Rule; 12] = [
    top_level,
    file_length,
    line_length,
    readme_length,
    unfinished,
    machine_paths,
    outside_documents,
    module_doc,
    empty_name,
    model_methods,
    imports::groups,
    layers::dependencies,
];

/// Checks every file that git knows or would add, and fails when a rule is broken.
pub(crate) fn run() -> Result<()> {
    let root = paths::workspace();
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root);
    let files = output(&mut list, "list the files of the tree")?;
    // A file that git knows and that is gone breaks no rule.
    let there = files.lines().filter(|path| root.join(path).exists());
    let texts = there.map(|path| Ok((path, read(&root.join(path))?)));
    let texts: Vec<(&str, String)> = texts.collect::<Result<_>>()?;
    let tree: Vec<Source<'_>> = texts
        .iter()
        .map(|(path, text)| Source { path, text })
        .collect();
    let of_file = tree.iter().flat_map(|source| {
        let found = RULES.iter().flat_map(|rule| rule(source));
        found.map(|finding| (source.path.to_owned(), finding))
    });
    let mut broken = 0;
    let of_tree = [unused::dependencies(&tree), stems::families(&tree)];
    for (path, Finding { line, advice }) in of_file.chain(of_tree.into_iter().flatten()) {
        println!("{path}:{line}: {advice}");
        broken += 1;
    }
    ensure!(broken == 0, "{broken} places break the rules of the house");
    say("the rules of the house are kept");
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("could not read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

impl Source<'_> {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines, counted from 1.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
    }

    /// A finding on each line that contains one of these words.
    fn containing(&self, words: &[&str], advice: impl Fn(&str) -> String) -> Vec<Finding> {
        let found = |(line, text): (usize, &str)| {
            let word = words.iter().find(|word| text.contains(**word))?;
            Some(Finding {
                line,
                advice: advice(word),
            })
        };
        self.lines().filter_map(found).collect()
    }
}

/// One finding on the whole file when the condition holds.
fn whole_file(broken: bool, advice: impl FnOnce() -> String) -> Vec<Finding> {
    broken
        .then(|| Finding {
            line: 0,
            advice: advice(),
        })
        .into_iter()
        .collect()
}

fn top_level(source: &Source<'_>) -> Vec<Finding> {
    let top = source.path.split('/').next().unwrap_or_default();
    whole_file(!top.starts_with('.') && !TOP_LEVEL.contains(&top), || {
        format!("{top} does not belong at the top of the tree: move it into one of the packages")
    })
}

fn file_length(source: &Source<'_>) -> Vec<Finding> {
    let count = source.text.lines().count();
    whole_file(source.is_rust() && count > FILE_LINES, || {
        format!("{count} lines, more than {FILE_LINES}: split the file by what its parts are about")
    })
}

fn line_length(source: &Source<'_>) -> Vec<Finding> {
    let long = |(line, text): (usize, &str)| {
        let chars = text.chars().count();
        (chars > LINE_CHARS).then(|| Finding {
            line,
            advice: format!("{chars} characters: break it at {LINE_CHARS}"),
        })
    };
    if source.is_rust() {
        source.lines().filter_map(long).collect()
    } else {
        Vec::new()
    }
}

fn readme_length(source: &Source<'_>) -> Vec<Finding> {
    let lines = source.text.lines().count();
    let words = source.text.split_whitespace().count();
    let long = lines > README_LINES || words > README_WORDS;
    whole_file(source.path == "README.md" && long, || {
        format!(
            "{lines} lines, {words} words, more than {README_LINES} or {README_WORDS}: \
             move what few need to tracer-user/man/reading.md"
        )
    })
}

fn outside_documents(source: &Source<'_>) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    source.containing(&OUTSIDE_DOCUMENTS, |word| {
        format!("`{word}` is not in the tree: say here what it says")
    })
}

fn model_methods(source: &Source<'_>) -> Vec<Finding> {
    let model = source.path.starts_with("tracer-user/src/model/");
    if !model || MODEL_METHODS.contains(&source.path) {
        return Vec::new();
    }
    source
        .lines()
        .filter(|(_, line)| line.starts_with("impl Model "))
        .map(|(line, _)| Finding {
            line,
            advice:
                "give this to the owner of the state that it changes, and hand that what it needs"
                    .to_owned(),
        })
        .collect()
}

fn unfinished(source: &Source<'_>) -> Vec<Finding> {
    if source.path == "Cargo.lock" {
        return Vec::new();
    }
    source.containing(&UNFINISHED, |word| {
        format!("`{word}`: do it, or file an issue and leave the mark out")
    })
}

fn machine_paths(source: &Source<'_>) -> Vec<Finding> {
    source.containing(&MACHINE_PATHS, |word| {
        format!("`{word}` is a path of one machine: take it from the environment")
    })
}

fn module_doc(source: &Source<'_>) -> Vec<Finding> {
    let undocumented = source.is_rust() && !source.text.trim_start().starts_with("//!");
    whole_file(undocumented, || {
        "begin the file with a `//!` sentence: what it is for".to_owned()
    })
}

fn empty_name(source: &Source<'_>) -> Vec<Finding> {
    let stem = Path::new(source.path)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default();
    whole_file(source.is_rust() && EMPTY_NAMES.contains(&stem), || {
        format!("`{stem}` says nothing: name the file after what it does")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No line is found. (With its type, which an empty array in a comparison would leave open.)
    const NONE: [usize; 0] = [];

    fn found(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&Source { path, text })
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn only_known_names_lie_at_the_top() {
        assert_eq!(found(top_level, "notes.md", ""), [0]);
        assert_eq!(found(top_level, "README.md", ""), NONE);
        assert_eq!(found(top_level, ".ci/run", ""), NONE);
        assert_eq!(found(top_level, "xtask/src/notes.rs", ""), NONE);
    }

    #[test]
    fn long_files_and_long_lines_are_found_in_rust_alone() {
        let (many, long) = ("\n".repeat(FILE_LINES + 1), "ä".repeat(LINE_CHARS + 1));
        assert_eq!(found(file_length, "a.rs", &many), [0]);
        assert_eq!(found(file_length, "a.rs", &many[1..]), NONE);
        assert_eq!(found(line_length, "a.rs", &format!("\n{long}")), [2]);
        assert_eq!(found(line_length, "a.rs", &"ä".repeat(LINE_CHARS)), NONE);
        assert_eq!(found(line_length, "README.md", &long), NONE);
    }

    #[test]
    fn a_readme_that_nobody_reads_whole_is_found() {
        let (lines, words) = ("\n".repeat(README_LINES + 1), "a ".repeat(README_WORDS + 1));
        assert_eq!(found(readme_length, "README.md", &lines), [0]);
        assert_eq!(found(readme_length, "README.md", &words), [0]);
        assert_eq!(found(readme_length, "README.md", &words[2..]), NONE);
        assert_eq!(found(readme_length, "reading.md", &words), NONE);
    }

    #[test]
    fn documents_that_nobody_has_are_found() {
        let text = format!("//! a\n// see {}6", OUTSIDE_DOCUMENTS[0]);
        assert_eq!(found(outside_documents, "a.rs", &text), [2]);
        assert_eq!(found(outside_documents, "a.rs", "// this design"), NONE);
    }

    #[test]
    fn a_method_of_the_whole_model_has_few_places() {
        let text = "//! a\nimpl Model {\n}\n";
        assert_eq!(
            found(model_methods, "tracer-user/src/model/flow.rs", text),
            [2]
        );
        assert_eq!(found(model_methods, MODEL_METHODS[0], text), NONE);
    }

    #[test]
    fn unfinished_work_is_found_everywhere_but_in_the_lock_file() {
        assert_eq!(
            found(
                unfinished,
                "README.md",
                &format!("x\n{} later", UNFINISHED[0])
            ),
            [2]
        );
        assert_eq!(found(unfinished, "Cargo.lock", UNFINISHED[0]), NONE);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(
            found(
                machine_paths,
                "a.sh",
                &format!("cd {}main", MACHINE_PATHS[0])
            ),
            [1]
        );
        assert_eq!(found(machine_paths, "a.sh", "cd /var/lib"), NONE);
    }

    #[test]
    fn a_file_begins_with_what_it_is_for() {
        assert_eq!(found(module_doc, "a.rs", "use std::fs;"), [0]);
        assert_eq!(found(module_doc, "a.rs", "//! Reads."), NONE);
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        assert_eq!(found(empty_name, "a/src/utils.rs", ""), [0]);
        assert_eq!(found(empty_name, "a/src/units.rs", ""), NONE);
    }
}
