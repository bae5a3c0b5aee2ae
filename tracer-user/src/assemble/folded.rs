//! A line for what a long trace keeps in coarser sums only.

use crate::{
    model::books::{Books, Folded},
    units::{count, plural},
};

/// What is kept in coarser sums; `None` if everything is told apart.
pub(super) fn line(books: &Books) -> Option<String> {
    let Folded {
        processes: (processes, kinds),
        places,
        stacks,
        connections,
        softirqs,
    } = books.folded;
    let mut parts = Vec::new();
    if processes > 0 {
        let (processes, kinds) = (count(processes), plural(kinds, "sum"));
        parts.push(format!(
            "{processes} processes in {kinds}, by the names of each and of those that started it"
        ));
    }
    if places > 0 {
        parts.push(format!("{} places as \"other places\"", count(places)));
    }
    if stacks > 0 {
        let waits = plural(stacks, "wait");
        parts.push(format!("{waits} without a stack in the flame graph"));
    }
    if connections > 0 {
        let idle = plural(connections, "idle connection");
        parts.push(format!("{idle} as new when used again"));
    }
    if softirqs > 0 {
        let waits = plural(softirqs, "wait");
        parts.push(format!(
            "{waits} behind softirqs, not divided among the owners of packets"
        ));
    }
    let all = parts.join("; ");
    (!parts.is_empty()).then(|| format!("kept in coarser sums, in a long trace: {all}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_apart_no_longer_is_said() {
        let mut books = Books::default();
        assert_eq!(line(&books), None);
        books.folded.stacks = 1;
        let expected =
            "kept in coarser sums, in a long trace: 1 wait without a stack in the flame graph";
        assert_eq!(line(&books).as_deref(), Some(expected));
        books.folded.processes = (70_000, 2);
        let said = line(&books).unwrap();
        let processes = "70k processes in 2 sums, by the names of each";
        assert!(said.contains(processes), "{said}");
    }
}
