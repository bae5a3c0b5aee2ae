//! Dependencies that are declared and not used, as `cargo machete` finds them; installing that takes minutes on a bare machine.

use std::iter;

use super::{Finding, Source};

/// Tables of a manifest that declare what a package uses.
const TABLES: [&str; 3] = [
    "[dependencies]",
    "[dev-dependencies]",
    "[build-dependencies]",
];
/// The table of what packages may inherit.
const INHERITED: &str = "[workspace.dependencies]";

/// Findings in all manifests of the tree, each with the path of its manifest.
pub(super) fn dependencies(tree: &[Source<'_>]) -> Vec<(String, Finding)> {
    let manifests = tree.iter().filter_map(|source| {
        let folder = source.path.strip_suffix("Cargo.toml")?;
        (folder.is_empty() || folder.ends_with('/')).then_some((folder, source))
    });
    let packages: Vec<_> = manifests.collect();
    let unused = |(folder, manifest): &(&str, &Source<'_>)| {
        let code = || {
            tree.iter()
                .filter(|s| s.is_rust() && s.path.starts_with(folder))
        };
        let in_code = declared(manifest, &TABLES)
            .filter(|(_, name)| !code().any(|source| is_named(source.text, name)))
            .map(|(line, name)| (line, format!("no code names `{name}`: take it out")));
        let in_manifests = declared(manifest, &[INHERITED])
            .filter(|(_, name)| !packages.iter().any(|(_, other)| inherits(other, name)))
            .map(|(line, name)| (line, format!("no package inherits `{name}`: take it out")));
        let path = manifest.path.to_owned();
        let found: Vec<_> = in_code.chain(in_manifests).collect();
        iter::repeat(path).zip(
            found
                .into_iter()
                .map(|(line, advice)| Finding { line, advice }),
        )
    };
    packages.iter().flat_map(unused).collect()
}

/// Names in these tables of a manifest, with their lines.
fn declared<'a>(
    manifest: &'a Source<'_>,
    tables: &'a [&str],
) -> impl Iterator<Item = (usize, &'a str)> {
    let mut inside = false;
    manifest.lines().filter_map(move |(line, text)| {
        if text.starts_with('[') {
            inside = tables.contains(&text.trim());
            return None;
        }
        let (name, _) = text.split_once(['=', '.'])?;
        let is_name = inside && !text.starts_with('#');
        is_name.then_some((line, name.trim()))
    })
}

fn inherits(manifest: &Source<'_>, name: &str) -> bool {
    declared(manifest, &TABLES).any(|(_, used)| used == name)
}

/// Whether code names this crate, in a path (`serde_json::json!`) or in a `use`.
fn is_named(text: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(&name).any(|(at, _)| {
            let (before, after) = (&code[..at], &code[at + name.len()..]);
            let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            let is_import = before.trim_end().ends_with("use") && !after.starts_with('_');
            begins && (after.starts_with("::") || is_import)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(tree: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources: Vec<Source<'_>> = tree
            .iter()
            .map(|(path, text)| Source { path, text })
            .collect();
        let found = dependencies(&sources).into_iter();
        found.map(|(path, finding)| (path, finding.line)).collect()
    }

    #[test]
    fn what_only_a_comment_names_is_not_used() {
        let manifest = "[package]\nname = \"a\"\n[dependencies]\naya-log = { workspace = true }\nlog = \"0.4\"\nserde.workspace = true\n";
        let code = "use aya_log::EbpfLogger;\n// log::warn! is not called\nfn f() { crate::log::write(); serde::de() }\n";
        let tree = [("a/Cargo.toml", manifest), ("a/src/lib.rs", code)];
        assert_eq!(found(&tree), [("a/Cargo.toml".to_owned(), 5)]);
    }

    #[test]
    fn code_of_another_package_is_no_use() {
        let manifest = "[dev-dependencies]\ntempfile = \"3\"\n";
        let tree = [
            ("a/Cargo.toml", manifest),
            ("b/src/lib.rs", "use tempfile::TempDir;\n"),
        ];
        assert_eq!(found(&tree).len(), 1);
    }

    #[test]
    fn what_packages_may_inherit_is_inherited_by_one() {
        let tree = [
            (
                "Cargo.toml",
                "[workspace.dependencies]\n# Old.\nanyhow = \"1\"\nlibc = \"0.2\"\n",
            ),
            (
                "a/Cargo.toml",
                "[dependencies]\nlibc = { workspace = true }\n",
            ),
            ("a/src/lib.rs", "use libc;\n"),
        ];
        assert_eq!(found(&tree), [("Cargo.toml".to_owned(), 3)]);
    }
}
