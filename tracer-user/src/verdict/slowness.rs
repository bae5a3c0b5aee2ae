//! How slow the target is: since when it waits, how many requests it got, and how long they took.

use super::{Finding, view::active_ns};
use crate::{
    model::books::{Bin, Books, Budget, Requests},
    units::{clock, plural, time},
};

/// So long before and after a moment must differ for a wait to have begun there, ns. A person would not tell less apart.
const LOOK_NS: u64 = 1_000_000_000;
/// From this part of its mean on a wait is there.
const THERE: f64 = 0.5;
/// Up to this part of its mean it is not there yet: who works always waits a little.
const NOT_YET: f64 = 0.05;

/// Since when the target waits for the first of its resources: ", since 07:07:24 UTC". Empty where that is not known.
pub(super) fn since(books: &Books, finding: &Finding) -> String {
    let started_ns = books.start.wall_ns;
    let Some(first) = finding.primary().filter(|_| started_ns > 0) else {
        return String::new();
    };
    let ledger = |bin: &Bin| -> Budget {
        match finding.of_requests {
            true => bin.requests,
            false => bin.threads,
        }
    };
    let class = first.resource.class().index();
    let waited: Vec<u64> = books.bins.iter().map(|bin| ledger(bin)[class]).collect();
    let active: Vec<u64> = books
        .bins
        .iter()
        .map(|bin| active_ns(&ledger(bin)))
        .collect();
    let look = LOOK_NS.div_ceil(books.bin_ns.max(1)).max(1) as usize;
    match begin(&waited, &active, look) {
        Some(0) => format!(", since before {}", clock(started_ns)),
        Some(bin) => {
            let after_ns = bin as u64 * books.bin_ns;
            format!(", since {}", clock(started_ns + after_ns))
        }
        None => String::new(),
    }
}

/// The bin in which a wait began that is still there at the end; 0 if it was there from the first one on. `None` if neither is
/// certain: it comes and goes, or the target did nothing before.
fn begin(waited: &[u64], active: &[u64], look: usize) -> Option<usize> {
    if waited.len() < 2 * look {
        return None;
    }
    let usual = mean(waited);
    let is_there = |bins: &[u64]| usual > 0.0 && mean(bins) >= THERE * usual;
    if !is_there(&waited[waited.len() - look..]) {
        return None;
    }
    if is_there(&waited[..look]) {
        return Some(0);
    }
    let first = waited.iter().position(|ns| is_there(&[*ns]))?;
    let (before, after) = waited.split_at(first);
    let is_new = before.len() >= look
        && mean(before) <= NOT_YET * usual
        && is_there(&after[..look.min(after.len())]);
    let was_active = active[..first]
        .chunks(look)
        .all(|bins| bins.iter().any(|ns| *ns > 0));
    (is_new && was_active).then_some(first)
}

fn mean(bins: &[u64]) -> f64 {
    bins.iter().sum::<u64>() as f64 / bins.len().max(1) as f64
}

/// The requests: "; 412 requests: p50 41.0 ms, p99 812 ms; 3 are open, the oldest for 1.84 s".
pub(super) fn requests(books: &Books, finding: &Finding) -> String {
    let Some(found) = books.requests.as_ref().filter(|_| finding.active) else {
        return String::new();
    };
    let Some((p50, p99)) = found.p50_ns.zip(found.p99_ns) else {
        return match found.count {
            0 => unanswered(found, finding),
            _ => String::new(),
        };
    };
    let requests = plural(found.count, "request");
    let mut text = format!("; {requests}: p50 {}, p99 {}", time(p50), time(p99));
    // One that has waited for longer than nearly all others took is worth a word.
    if let Some(oldest) = found.oldest_open_ns.filter(|oldest| *oldest > p99) {
        let age = time(oldest);
        text.push_str(&match found.open {
            1 => format!("; 1 is open, for {age}"),
            open => format!("; {open} are open, the oldest for {age}"),
        });
    }
    text
}

/// The requests that wait, where none got its answer: "; it holds 8 requests open, the oldest for 41 s".
fn unanswered(found: &Requests, finding: &Finding) -> String {
    if found.open == 0 {
        return String::new();
    }
    let age = time(found.oldest_open_ns.unwrap_or(0));
    let oldest = if found.open > 1 { "the oldest " } else { "" };
    let open = plural(found.open, "request");
    let mut text = format!("; it holds {open} open, {oldest}for {age}");
    let asleep_in = found.asleep_in.iter();
    let mostly = asleep_in.max_by_key(|(_, count)| **count);
    if let Some((function, _)) = mostly.filter(|_| finding.primary().is_none()) {
        text.push_str(&format!(", in threads that sleep in {function}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bins that each wait so much, of a target that is active in all but the first `idle` ones; four are looked at.
    fn began(idle: usize, waited: &[u64]) -> Option<usize> {
        let active: Vec<u64> = (0..waited.len())
            .map(|bin| u64::from(bin >= idle))
            .collect();
        begin(waited, &active, 4)
    }

    #[test]
    fn a_wait_that_was_there_from_the_first_bin_on_began_before() {
        assert_eq!(began(0, &[9; 8]), Some(0));
        assert_eq!(began(0, &[9, 0, 9, 0, 9, 0, 9, 0]), Some(0));
        assert_eq!(began(0, &[0; 8]), None);
        assert_eq!(began(0, &[9; 7]), None);
    }

    #[test]
    fn a_wait_begins_where_the_target_worked_before_without_it() {
        let grows = [0, 0, 0, 0, 0, 9, 9, 9, 9, 9];
        assert_eq!(began(0, &grows), Some(5));
        // Nobody asked before.
        assert_eq!(began(4, &grows), None);
        // It hardly differs, or is over, or too short a time was seen before.
        assert_eq!(began(0, &[1, 1, 1, 1, 1, 9, 9, 9, 9, 9]), None);
        assert_eq!(began(0, &[0, 0, 0, 0, 9, 9, 9, 9, 0, 0, 0, 0]), None);
        let mut soon = [9; 16];
        soon[..3].fill(0);
        assert_eq!(began(0, &soon), None);
    }
}
