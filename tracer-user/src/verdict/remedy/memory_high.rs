//! `memory.high`: a culprit above it gives back its own pages, not those of others.
//!
//! Documentation/admin-guide/cgroup-v2.rst, "Memory". Version 1 has a limit that kills instead.

use super::{
    Advice,
    case::Case,
    io_share::{V2, io},
    seat::{Seat, Setting},
};
use crate::class::Cause;

/// Bytes: enough to read ahead and to write behind at the speed of a disk.
const HIGH: u64 = 256 << 20;

pub(super) fn memory_high(case: &Case<'_>) -> Option<Advice> {
    let is_about_memory = matches!(
        case.found.cause,
        Some(Cause::CacheEviction | Cause::DirectReclaim | Cause::Compaction | Cause::SwapIn)
    );
    if !is_about_memory {
        return None;
    }
    let why = "its pages take the place of each other, not of others' pages";
    let unified = case.books.means.io.as_ref().filter(|io| io.unified);
    let Some(hierarchy) = unified else {
        return Some(Advice {
            command: format!("systemd-run --scope -p MemoryHigh={HIGH} COMMAND"),
            why,
            effect: case.means_known().and_then(|()| {
                Err(format!(
                    "control groups of version 1 have no memory.high ({V2})"
                ))
            }),
        });
    };
    // Version 2 has one tree of groups for all controllers.
    let seat = Seat::of(case, hierarchy, io, Setting::Limit, "+memory");
    let files = [("memory.high", HIGH.to_string())];
    Some(Advice {
        command: seat.command(&[format!("MemoryHigh={HIGH}")], &files),
        why,
        effect: case.gone().map(|()| {
            format!(
                "what it has filled so far stays where it is; it crawls if its own memory needs more{} ({V2})",
                seat.cost()
            )
        }),
    })
}
