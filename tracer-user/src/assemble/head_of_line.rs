//! The client whose requests others stood behind: one thread serves both, and worked for that client for long. The target waits for no
//! resource then, and its clients do for each other.

use crate::{model::books::Books, units::share, verdict::client_name};

/// If requests stood behind those of one client for less than this part of their time, nobody would feel it.
const TELLING: f64 = 0.05;

/// One line of evidence, if it is much.
pub(super) fn line(books: &Books) -> Option<String> {
    let (client, ns) = books.before_others.iter().max_by_key(|(_, ns)| **ns)?;
    let all: u64 = books.budget(|bin| &bin.requests).iter().sum();
    let part = *ns as f64 / all.max(1) as f64;
    (part >= TELLING).then(|| {
        let (part, client) = (share(part.min(1.0)), client_name(books, *client));
        format!("for {part} of their time requests stood behind those of the client {client}, which the same thread serves")
    })
}
