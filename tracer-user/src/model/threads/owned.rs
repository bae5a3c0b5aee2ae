//! The open requests that a thread owns. An event loop may own ten thousand: each stays with it, answered as it is, until the next one
//! comes on its connection.

use std::collections::BTreeMap;

use super::time_line::KEPT;

/// The sockets of their connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owned {
    /// By seat: each request gets the next one when a thread comes to own it, so they are in that order.
    seats: BTreeMap<u64, u64>,
    /// From when on what the thread did may still be judged, ns: at most the time of the request that is judged least far.
    needed_ns: u64,
    /// How often that may be asked for until it is worth looking at all requests again.
    left: usize,
}

impl Owned {
    /// The thread owns one more, which is judged up to `judged_ns`.
    pub(crate) fn add(&mut self, seat: u64, socket: u64, judged_ns: u64) {
        self.seats.insert(seat, socket);
        self.needed_ns = self.needed_ns.min(judged_ns);
    }

    /// The thread does not own it any more.
    pub(crate) fn remove(&mut self, seat: u64) {
        self.seats.remove(&seat);
    }

    /// The connection of a request that the thread owns lies at another address.
    pub(crate) fn rename(&mut self, seat: u64, socket: u64) {
        if let Some(known) = self.seats.get_mut(&seat) {
            *known = socket;
        }
    }

    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// The one that it owns; `None` if there are others, or none.
    #[must_use]
    pub(crate) fn only(&self) -> Option<u64> {
        match self.seats.len() {
            1 => self.seats.values().next().copied(),
            _ => None,
        }
    }

    /// All of them, the first first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.seats.values().copied()
    }

    /// From when on what the thread did may still be judged, ns, or a time before that. `exact` looks at all requests. The time line asks
    /// for this once in [`KEPT`] waits. So it is looked at one request for each wait, however many there are.
    pub(crate) fn needed_ns(&mut self, exact: impl FnOnce(&Self) -> u64) -> u64 {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => {
                self.needed_ns = exact(self);
                self.left = self.seats.len() / KEPT;
            }
        }
        self.needed_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_the_order_in_which_they_were_owned() {
        let mut owned = Owned::default();
        assert_eq!(owned.only(), None);
        owned.add(1, 70, 5);
        assert_eq!(owned.only(), Some(70));
        owned.add(2, 60, 6);
        owned.add(3, 50, 7);
        owned.rename(2, 65);
        assert_eq!(owned.iter().collect::<Vec<_>>(), [70, 65, 50]);
        owned.remove(1);
        // Another's.
        owned.remove(9);
        assert_eq!(owned.iter().next_back(), Some(50));
        assert_eq!((owned.only(), owned.is_empty()), (None, false));
    }

    #[test]
    fn all_of_them_are_looked_at_as_seldom_as_there_are_many() {
        let mut owned = Owned::default();
        let many = 10_000;
        for seat in 0..many {
            owned.add(seat, seat, 100 + seat);
        }
        let mut looked_at = 0;
        let waits = 100 * many as usize;
        for _ in 0..waits / KEPT {
            let needed_ns = owned.needed_ns(|owned| {
                looked_at += owned.iter().count();
                100
            });
            assert_eq!(needed_ns, 100);
        }
        assert!(looked_at <= 2 * waits, "{looked_at}");
    }

    #[test]
    fn what_a_new_one_needs_is_kept_at_once() {
        let mut owned = Owned::default();
        for seat in 0..2 * KEPT as u64 {
            owned.add(seat, seat, 500);
        }
        assert_eq!(owned.needed_ns(|_| 500), 500);
        owned.add(1000, 9, 300);
        assert_eq!(
            owned.needed_ns(|_| unreachable!("it was looked a moment ago")),
            300
        );
    }
}
