//! Imports stand in three groups: std, other crates, own; the formatter can do so with a nightly compiler only.

use super::{Finding, Source};

/// Groups in their order.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Group {
    Std,
    OtherCrates,
    Own,
}

impl Group {
    fn of(path: &str, modules: &[&str]) -> Self {
        let first = path
            .trim_start_matches("::")
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default();
        match first {
            "std" | "core" | "alloc" => Self::Std,
            "crate" | "self" | "super" => Self::Own,
            module if modules.contains(&module) => Self::Own,
            _ => Self::OtherCrates,
        }
    }
}

/// A `use` at the top of a file.
struct Import {
    line: usize,
    group: Group,
    /// Whether it stands right below the import before it.
    joined: bool,
    /// Whether the file hands it on (`pub use`): such a line may stand where it likes.
    public: bool,
}

/// Groups that are mixed, torn apart, or in another order.
pub(super) fn groups(source: &Source<'_>) -> Vec<Finding> {
    if !source.is_rust() {
        return Vec::new();
    }
    let imports = imports(source);
    let advice = |before: &Import, import: &Import| {
        let anywhere = before.public || import.public;
        match (before.group, import.group) {
            (a, b) if b < a && !anywhere => Some("put std first, then other crates, then own"),
            (a, b) if a == b && !import.joined && !anywhere => {
                Some("leave no empty line within a group")
            }
            (a, b) if a != b && import.joined => Some("part the groups by an empty line"),
            _ => None,
        }
    };
    imports
        .windows(2)
        .filter_map(|pair| {
            Some(Finding {
                line: pair[1].line,
                advice: advice(&pair[0], &pair[1])?.to_owned(),
            })
        })
        .collect()
}

/// The imports at the head of a file.
fn imports(source: &Source<'_>) -> Vec<Import> {
    let lines = || source.lines().map(|(line, text)| (line, private(text)));
    let modules: Vec<&str> = lines()
        .filter_map(|(_, text)| text.strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    let mut found = Vec::new();
    let (mut inside, mut end) = (false, 0);
    for (line, text) in lines() {
        if let Some(path) = text.strip_prefix("use ") {
            found.push(Import {
                line,
                group: Group::of(path, &modules),
                joined: end != 0 && end + 1 == line,
                public: source.text.lines().nth(line - 1) != Some(text),
            });
            inside = true;
        } else if !inside && text.starts_with(char::is_alphabetic) && !text.starts_with("mod ") {
            break;
        }
        if inside && text.ends_with(';') {
            (inside, end) = (false, line);
        }
    }
    found
}

/// A line without its visibility.
fn private(line: &str) -> &str {
    ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|visible| line.strip_prefix(visible))
        .unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        let path = "a.rs";
        groups(&Source { path, text })
            .into_iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn three_groups_in_order_are_right() {
        let text = "use std::{\n    fs,\n    io,\n};\nuse std::net;\n\nuse anyhow::Result;\n\nuse super::A;\nuse crate::B;\n";
        assert_eq!(found(text), [0_usize; 0]);
    }

    #[test]
    fn groups_are_not_mixed_torn_or_turned_round() {
        assert_eq!(found("use std::fs;\nuse anyhow::Result;\n"), [2]);
        assert_eq!(found("use std::fs;\n\nuse std::io;\n"), [3]);
        assert_eq!(found("use crate::A;\n\nuse std::io;\n"), [3]);
    }

    #[test]
    fn what_a_file_hands_on_tears_no_group_and_later_imports_are_their_authors() {
        let text =
            "use super::A;\n\npub(super) use crate::B;\nuse crate::C;\n\nfn f() {}\nuse std::fs;\n";
        assert_eq!(found(text), [0_usize; 0]);
    }

    #[test]
    fn a_module_of_the_file_is_its_own() {
        let text = "mod ledger;\n\nuse anyhow::Result;\nuse ledger::Ledger;\n";
        assert_eq!(found(text), [4]);
    }
}
