//! A family of probes has one name in all places, so that one search shows the whole of it.

use super::{Finding, Source};

/// The code that attaches a family's programs and decodes its records: each file is a family.
const ATTACHES: &str = "tracer-user/src/probes/";

/// Files there that serve all families. Histograms have no programs of their own: those of other families count.
const FOR_ALL: [&str; 5] = ["mod", "frame", "histogram", "maps", "table"];

/// Where the other parts of a family lie: its programs, its records, and its tests with real probes.
const PARTS: [&str; 3] = [
    "tracer-ebpf/src/probes/",
    "tracer-common/src/",
    "tests/tests/",
];

/// Families that lack one of their parts.
pub(super) fn families(tree: &[Source<'_>]) -> Vec<(String, Finding)> {
    let paths: Vec<&str> = tree.iter().map(|source| source.path).collect();
    let stems = paths
        .iter()
        .filter_map(|path| path.strip_prefix(ATTACHES)?.strip_suffix(".rs"));
    let families = stems.filter(|stem| !FOR_ALL.contains(stem));
    let parts = families.flat_map(|family| PARTS.map(|part| (family, format!("{part}{family}"))));
    let is_there = |part: &str| {
        let (file, folder) = (format!("{part}.rs"), format!("{part}/mod.rs"));
        paths.iter().any(|path| *path == file || *path == folder)
    };
    parts
        .filter(|(_, part)| !is_there(part))
        .map(|(family, part)| {
            let advice = format!("there is no {part}.rs: a family has one name in all its places");
            (
                format!("{ATTACHES}{family}.rs"),
                Finding { line: 0, advice },
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_without_a_part_is_found() {
        let whole = [
            "tracer-user/src/probes/mod.rs",
            "tracer-user/src/probes/irq.rs",
            "tracer-ebpf/src/probes/irq/mod.rs",
            "tracer-ebpf/src/probes/wakeup.rs",
            "tracer-common/src/irq.rs",
            "tests/tests/irq.rs",
        ];
        let tree = whole.map(|path| Source { path, text: "" });
        assert_eq!(families(&tree), []);
        let found = families(&tree[..4]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, "tracer-user/src/probes/irq.rs");
    }
}
