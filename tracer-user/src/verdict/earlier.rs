//! What is known of pages that were dirtied before the trace: the file, and whether somebody still has it open. Nobody is accused of
//! them: who has a file open need not be who dirtied it.

use std::collections::BTreeMap;

use super::{Finding, Hypothesis, constants::CULPRIT_PART};
use crate::{
    class::Resource,
    model::books::{Books, Earlier, Holder, OldFile, PlaceId},
    units::{bytes, share},
};

/// What the target stood behind, in words: "the write-back of pages dirtied before the trace (big, inode 12, …)".
pub(super) fn write_back(books: &Books, found: &Hypothesis) -> String {
    let known = place(books, found.resource).and_then(|place| books.earlier.get(&place));
    let by = match known.map(|known| (known.main_file(), known.files)) {
        Some((Some(file), _)) => format!(" ({}, {})", name(file), whose(file)),
        Some((None, files)) if files > 1 => format!(" ({files} files), by nobody who was seen"),
        _ => ", by nobody who was seen".to_owned(),
    };
    format!("the write-back of pages dirtied before the trace{by}")
}

/// A line of evidence on the file, if the target stood behind such pages for long. Text from outside is not escaped in it.
#[must_use]
pub fn old_pages(books: &Books, finding: &Finding) -> Option<String> {
    let mut hypotheses = finding.hypotheses.iter();
    let found = hypotheses.find(|found| found.earlier_share >= CULPRIT_PART)?;
    let place = place(books, found.resource)?;
    let known = books.earlier.get(&place)?;
    let file = known.main_file()?;
    Some(line(&books.places[place], known, file))
}

fn line(place: &str, known: &Earlier, file: &OldFile) -> String {
    let open = match (&file.writer, file.open) {
        (Some((pid, comm)), _) => format!(
            "{comm} (pid {pid}) alone has it open for writing, which does not show that it dirtied them"
        ),
        (None, true) => "it is still open for writing".to_owned(),
        (None, false) => "nobody has it open for writing any more".to_owned(),
    };
    format!(
        "of the pages that were dirty before the trace and were written back to {place}, {} ({}) are of {}: {open}",
        bytes(file.bytes),
        share(file.bytes as f64 / known.bytes().max(1) as f64),
        name(file)
    )
}

/// "big, inode 12"
fn name(file: &OldFile) -> String {
    match file.name.is_empty() {
        true => format!("inode {}", file.inode),
        false => format!("{}, inode {}", file.name, file.inode),
    }
}

fn whose(file: &OldFile) -> String {
    match (&file.writer, file.open) {
        (Some((pid, comm)), _) => format!("which {comm} (pid {pid}) has open for writing"),
        (None, true) => "still open for writing".to_owned(),
        (None, false) => "by a process that has ended or closed it".to_owned(),
    }
}

/// Where the target stood behind such pages for longest.
fn place(books: &Books, resource: Resource) -> Option<PlaceId> {
    let mut places: BTreeMap<PlaceId, u64> = BTreeMap::new();
    let charges = books.bins.iter().flat_map(|bin| &bin.charges);
    for charge in charges.filter(|charge| charge.resource == resource) {
        if let (Holder::Earlier, Some(place)) = (charge.holder, charge.place) {
            let sum = places.entry(place).or_default();
            *sum = sum.saturating_add(charge.ns);
        }
    }
    let longest = places.into_iter().max_by_key(|(_, ns)| *ns);
    longest.map(|(place, _)| place)
}
