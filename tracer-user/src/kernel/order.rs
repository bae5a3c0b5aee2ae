//! Puts records in order of time as they come out of the rings: nearly all come in order already.

use std::collections::VecDeque;

use crate::event::Event;

/// A record usually comes at most this many places from its own. A program reads the clock, and then reserves its place in the
/// ring. In between, other CPUs may have reserved theirs.
const NEAR: usize = 8;

/// Records that may not be complete yet.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// In order.
    events: VecDeque<Event>,
    /// Records that came long after younger ones. The sum of a slice comes when the next slice begins, and the second ring is read
    /// later.
    late: Vec<Event>,
}

impl Order {
    /// Takes a record.
    pub(crate) fn push(&mut self, event: Event) {
        let ns = event.ns();
        let last = self.events.len();
        for at in (last.saturating_sub(NEAR)..=last).rev() {
            if at == 0 || self.events[at - 1].ns() <= ns {
                return self.events.insert(at, event);
            }
        }
        self.late.push(event);
    }

    /// Moves all records from before `ns` to `out`, in order of time. Records of the same time keep the order in which they came.
    pub(crate) fn settle(&mut self, ns: u64, out: &mut Vec<Event>) {
        let settled = self.events.partition_point(|event| event.ns() < ns);
        self.late.sort_by_key(Event::ns);
        let mut left = settled;
        let settled = self.late.partition_point(|event| event.ns() < ns);
        for late in self.late.drain(..settled) {
            let before = self.events.partition_point(|e| e.ns() <= late.ns());
            out.extend(self.events.drain(..before));
            out.push(late);
            left -= before;
        }
        out.extend(self.events.drain(..left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Exit;

    fn exit(ns: u64, pid: u32) -> Event {
        Event::Exit(Exit { ns, pid })
    }

    /// Times of these records, and numbers in the order in which they came, before `ns`.
    fn settled(order: &mut Order, ns: u64) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        order.settle(ns, &mut out);
        let known = |event: &Event| match event {
            Event::Exit(exit) => (exit.ns, exit.pid),
            other => panic!("{other:?}"),
        };
        out.iter().map(known).collect()
    }

    #[test]
    fn what_comes_late_takes_its_place_and_what_is_young_waits() {
        let mut order = Order::default();
        let times = [
            10, 12, 11, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 13, 30, 13, 5,
        ];
        for (number, ns) in times.into_iter().enumerate() {
            order.push(exit(ns, number as u32));
        }
        let mut expected: Vec<(u64, u32)> = (0..).zip(times).map(|(n, ns)| (ns, n)).collect();
        expected.sort_by_key(|(ns, _)| *ns);
        let young = expected.split_off(10);
        assert_eq!(settled(&mut order, 24), expected);
        assert_eq!(settled(&mut order, 24), []);
        assert_eq!(settled(&mut order, u64::MAX), young);
    }

    #[test]
    fn of_the_same_time_the_first_comes_first() {
        let mut order = Order::default();
        let times = [7; 20].into_iter().chain([9; 20]).chain([7, 9, 7, 9]);
        for (number, ns) in times.enumerate() {
            order.push(exit(ns, number as u32));
        }
        let all = settled(&mut order, 10);
        assert!(all.is_sorted(), "{all:?}");
        assert_eq!(all.len(), 44);
    }
}
