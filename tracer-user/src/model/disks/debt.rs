//! What used up a device's rate before a wait began. A limited device (blk-throttle, a cloud volume, a drive with a cache) serves a
//! burst at once and stands still until its rate allows more. Who waits then waits for the burst, of which nothing is there any more.

use super::{
    disk::{Disk, MOST_OTHERS, Shares, Whose},
    fit::SPAN_NS,
    own,
};

/// Work that was done faster than the device can do it for long.
#[derive(Clone, Debug, Default)]
pub(super) struct Debt {
    /// Time by which it is ahead of the device's rate as the wait begins, ns.
    pub(super) ns: u64,
    /// Whose work it was, as parts of `ns`.
    shares: Shares,
}

impl Disk {
    /// The debt at `begin`: the most by which the work of any last time is longer than that time itself.
    pub(super) fn debt(&self, begin: u64, whose: Whose<'_>) -> Debt {
        let Some(in_turn) = self.in_turn() else {
            return Debt::default();
        };
        let ended: Vec<_> = self.ended_before(begin).take(MOST_OTHERS).collect();
        let (mut work, mut most, mut count) = (0, 0, 0);
        for (index, request) in ended.iter().enumerate() {
            let before = ended.get(index + 1).map_or(0, |before| before.end_ns);
            let since = request.issue_ns.max(before);
            if since + SPAN_NS < begin {
                break;
            }
            work += in_turn(request);
            let ahead = work.saturating_sub(begin.saturating_sub(since));
            if ahead > most {
                (most, count) = (ahead, index + 1);
            }
        }
        let (mut of, mut of_own) = (Vec::new(), Vec::new());
        let all: u64 = ended[..count].iter().map(|request| in_turn(request)).sum();
        for request in &ended[..count] {
            let (owner, part) = (whose(request), in_turn(request) as f64 / all.max(1) as f64);
            let share = part * most as f64;
            match of.iter_mut().find(|(holder, _)| *holder == owner) {
                Some((_, sum)) => *sum += share,
                None => of.push((owner, share)),
            }
            own::add(&mut of_own, owner, request, share);
        }
        Debt {
            ns: most,
            shares: (of, of_own),
        }
    }
}

impl Debt {
    /// Adds it to the shares of those who were there during the wait, for whom the device worked `there_ns` of it.
    pub(super) fn added_to(self, shares: Shares, there_ns: u64) -> Shares {
        let (mut of, mut of_own) = self.shares;
        let (there, there_own) = shares;
        let all: f64 = there.iter().map(|(_, share)| share).sum();
        let scale = there_ns as f64 / all;
        for (holder, share) in there {
            match of.iter_mut().find(|(known, _)| *known == holder) {
                Some((_, sum)) => *sum += share * scale,
                None => of.push((holder, share * scale)),
            }
        }
        let there_own = there_own.into_iter();
        of_own.extend(there_own.map(|(own, share)| (own, share * scale)));
        (of, of_own)
    }
}
