//! The living threads. A wait asks for its thread some twenty times: the last one that was asked for is found without its hash.

use rustc_hash::FxHashMap as HashMap;

use super::thread::Thread;

/// Threads by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Living {
    threads: Vec<(u32, Thread)>,
    /// Where in the list each is.
    places: HashMap<u32, usize>,
    /// Where the last one was found. Whoever looks there sees whether it is the same.
    last: usize,
}

impl Living {
    #[inline]
    fn place(&self, tid: u32) -> Option<usize> {
        match self.threads.get(self.last) {
            Some((last, _)) if *last == tid => Some(self.last),
            _ => self.places.get(&tid).copied(),
        }
    }

    /// The thread with this number.
    #[inline]
    pub(super) fn get(&self, tid: u32) -> Option<&Thread> {
        let place = self.place(tid)?;
        Some(&self.threads[place].1)
    }

    /// The same, to be written to.
    #[inline]
    pub(super) fn get_mut(&mut self, tid: u32) -> Option<&mut Thread> {
        let place = self.place(tid)?;
        self.last = place;
        Some(&mut self.threads[place].1)
    }

    /// The same; a thread that was not known is `new`.
    #[inline]
    pub(super) fn get_or_add(&mut self, tid: u32, new: impl FnOnce() -> Thread) -> &mut Thread {
        let place = match self.place(tid) {
            Some(place) => place,
            None => self.add(tid, new()),
        };
        self.last = place;
        &mut self.threads[place].1
    }

    fn add(&mut self, tid: u32, thread: Thread) -> usize {
        let place = self.threads.len();
        self.threads.push((tid, thread));
        self.places.insert(tid, place);
        place
    }

    /// A thread begins. Returns the one that had its number before.
    pub(super) fn insert(&mut self, tid: u32, thread: Thread) -> Option<Thread> {
        if let Some(known) = self.get_mut(tid) {
            return Some(std::mem::replace(known, thread));
        }
        self.add(tid, thread);
        None
    }

    /// A thread ended.
    pub(super) fn remove(&mut self, tid: u32) -> Option<Thread> {
        let place = self.places.remove(&tid)?;
        let (_, thread) = self.threads.swap_remove(place);
        if let Some((moved, _)) = self.threads.get(place) {
            self.places.insert(*moved, place);
        }
        Some(thread)
    }

    /// All of them, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Thread)> + Clone {
        self.threads.iter().map(|(tid, thread)| (*tid, thread))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_whoever_was_asked_for_before_and_whoever_ended() {
        let mut living = Living::default();
        for tid in 0..100 {
            let begin_ns = |living: &Living, tid| living.get(tid).map(|thread| thread.begin_ns);
            assert!(living.insert(tid, Thread::new(u64::from(tid))).is_none());
            assert_eq!(begin_ns(&living, tid), Some(u64::from(tid)));
        }
        assert!(living.remove(7).is_some() && living.remove(7).is_none());
        assert!(living.remove(99).is_some());
        for tid in (0..100).rev() {
            let found = living.get_mut(tid).map(|thread| thread.begin_ns);
            let is_there = tid != 7 && tid != 99;
            assert_eq!(found, is_there.then_some(u64::from(tid)));
            // Again, without the hash.
            assert_eq!(living.get(tid).map(|thread| thread.begin_ns), found);
        }
        assert_eq!(living.get_or_add(7, || Thread::new(5)).begin_ns, 5);
        assert_eq!(living.get_or_add(7, || Thread::new(6)).begin_ns, 5);
        assert!(living.insert(7, Thread::new(8)).is_some());
        assert_eq!(living.iter().count(), 99);
    }
}
