//! Datagrams of the target that left through a full link. Who sends without waiting has no wait, and how late each left is not known.

use super::blame::holder_name;
use crate::{
    model::books::{Books, DatagramsBehind, Holder},
    units::share,
};

/// If the link was full for less than this part of the slices in which datagrams left, few of them were late.
const TELLING: f64 = 0.1;
/// Full slices at least: fewer say little about how it goes.
const ENOUGH: u64 = 20;

/// One line of evidence for each such link, if others sent much there.
pub(super) fn lines(books: &Books) -> impl Iterator<Item = String> {
    let found = books.datagrams_behind.iter();
    found.filter_map(|found| line(books, found))
}

fn line(books: &Books, found: &DatagramsBehind) -> Option<String> {
    let full = found.full as f64 / found.slices.max(1) as f64;
    let all: u64 = found.bytes.values().sum();
    let others = found.bytes.iter();
    let others = others.filter(|(holder, _)| **holder != Holder::Own);
    let (most, bytes) = others.max_by_key(|(_, bytes)| **bytes)?;
    let part = *bytes as f64 / all.max(1) as f64;
    (full >= TELLING && found.full >= ENOUGH && part >= TELLING).then(|| {
        format!(
            "its datagrams left through {} with others' packets before them in {} of the time in which they left, and {} of what left \
             then was from {}: no wait shows how late they were",
            books.places[found.place],
            share(full),
            share(part),
            holder_name(books, *most)
        )
    })
}
