//! What a discard or a flush costs a device: its bytes do not say. To forget a gigabyte may take less time than to write a page, or
//! seconds. So does a flush, which has no bytes.

use rustc_hash::FxHashMap as HashMap;
use tracer_common::block::{OP_DISCARD, OP_FLUSH, OP_SECURE_ERASE, OP_WRITE_ZEROES};

use super::request::Request;

/// Is it a request that moves none of its bytes?
pub(super) fn moves_nothing(op: u32) -> bool {
    matches!(
        op,
        OP_DISCARD | OP_FLUSH | OP_SECURE_ERASE | OP_WRITE_ZEROES
    )
}

/// What was seen of requests of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    count: f64,
    /// Sum of their times on the device, ns.
    ns: f64,
    /// Sum of the demands in flight beside them.
    beside: f64,
}

/// The demand of discards and flushes, by operation and size class.
#[derive(Clone, Debug, Default)]
pub(super) struct Discards {
    seen: HashMap<(u32, u32), Seen>,
}

impl Discards {
    /// A discard completed, beside the demand `beside`.
    pub(super) fn add(&mut self, kind: (u32, u32), request: &Request, beside: f64) {
        let seen = self.seen.entry(kind).or_default();
        seen.count += 1.0;
        seen.ns += request.device_ns() as f64;
        seen.beside += beside;
    }

    /// Demand of such a discard: what the device could have served in its time, without what it did serve. At least `cost`, that of
    /// any I/O. `in_turn` is the time of a unit of demand, ns.
    pub(super) fn demand(&self, kind: (u32, u32), cost: f64, in_turn: f64) -> f64 {
        let Some(seen) = self.seen.get(&kind).filter(|_| in_turn > 0.0) else {
            return cost;
        };
        let demand = (seen.ns / in_turn - seen.beside) / seen.count;
        demand.max(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::books::Holder;

    const KIND: (u32, u32) = (OP_DISCARD, 31);
    /// A device that moves a byte in 10 ns, and for which an I/O costs as much as 4 KiB.
    const COST: f64 = 4096.0;
    const IN_TURN: f64 = 10.0;

    fn demand(device_ns: u64, beside: f64) -> f64 {
        let mut discards = Discards::default();
        let request = Request {
            process: 0,
            queue_ns: 0,
            issue_ns: 0,
            end_ns: device_ns,
            bytes: 1 << 30,
            op: OP_DISCARD,
            owner: Holder::Own,
            tid: 1,
            flags: 0,
        };
        discards.add(KIND, &request, beside);
        discards.demand(KIND, COST, IN_TURN)
    }

    #[test]
    fn a_discard_counts_by_its_time_whatever_its_bytes() {
        assert_eq!(demand(20_000, 0.0), COST);
        assert_eq!(demand(50_000_000, 0.0), 5_000_000.0);
    }

    #[test]
    fn the_time_that_the_device_spent_on_others_is_not_its_own() {
        assert_eq!(demand(50_000_000, 4_000_000.0), 1_000_000.0);
        assert_eq!(demand(50_000_000, 6_000_000.0), COST);
    }

    #[test]
    fn one_that_was_never_seen_costs_as_much_as_any() {
        assert_eq!(Discards::default().demand(KIND, COST, IN_TURN), COST);
    }
}
