//! Looks that are repeated beside the loop that reads: one at a time, each on a thread of its own, and a rest after each.
//!
//! A look that hangs is the last one: no other begins, and nobody waits for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use super::{clocks::thread_cpu_time, looks, priority};

/// After a look, rest 50 times the CPU time that it took, unless another factor is given: looking costs at most 2 % of a CPU.
const REST: u32 = 50;

/// What was found, and the CPU time of the look.
type Found<T> = (T, Duration);

/// The looks for one kind of thing. Each finds a `T`, by means of the reader `R`.
pub(crate) struct Rounds<T, R = ()> {
    /// What a look needs to know of the one before. No two looks have it at once.
    reader: Arc<Mutex<R>>,
    /// After a look, rest so many times the CPU time that it took.
    factor: u32,
    /// When the look under way began, or the last one.
    begun: Instant,
    /// When there was last a reason to rest; `None` before the first.
    since: Option<Instant>,
    /// The rest that the last look deserves.
    rest: Duration,
    is_looking: bool,
    found: (Sender<Found<T>>, Receiver<Found<T>>),
}

impl<T: Send + 'static> Rounds<T> {
    /// No look yet; the first is due at once.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::with((), REST)
    }

    /// The same, but the first look comes after a rest, too.
    #[must_use]
    pub(crate) fn after_rest() -> Self {
        let mut rounds = Self::new();
        rounds.pause();
        rounds
    }

    /// Begins a look, as [`Self::begin_with`] does.
    pub(crate) fn begin(&mut self, look: impl FnOnce() -> T + Send + 'static) {
        self.begin_with(|()| look());
    }
}

impl<T: Send + 'static, R: Send + 'static> Rounds<T, R> {
    /// The looks of a reader, which rest `factor` times the CPU time that they took. No look yet; the first is due at once.
    #[must_use]
    pub(crate) fn with(reader: R, factor: u32) -> Self {
        Self {
            reader: Arc::new(Mutex::new(reader)),
            factor,
            begun: Instant::now(),
            since: None,
            rest: Duration::ZERO,
            is_looking: false,
            found: channel(),
        }
    }

    /// May a look begin, if there is at least this time from one to the next?
    #[must_use]
    pub(crate) fn is_due(&self, apart: Duration) -> bool {
        let apart = apart.max(self.rest);
        !self.is_looking && self.since.is_none_or(|since| since.elapsed() >= apart)
    }

    /// Is a look under way?
    #[must_use]
    pub(crate) fn is_looking(&self) -> bool {
        self.is_looking
    }

    /// There was nothing to look for: the next look is due after a rest.
    pub(crate) fn pause(&mut self) {
        self.since = Some(Instant::now());
    }

    /// Begins a look; no other may be under way. It has ordinary priority, because the records must be read first. Each has a thread of its
    /// own: one that lasted would keep what the tracer gives up once it is attached.
    pub(crate) fn begin_with(&mut self, look: impl FnOnce(&mut R) -> T + Send + 'static) {
        let (sender, reader) = (self.found.0.clone(), Arc::clone(&self.reader));
        let look = looks::on_thread(move || {
            priority::as_everybody();
            let found = {
                // A look that panicked was the last one.
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                look(&mut reader)
            };
            // The receiver is gone once the trace is over.
            let _ = sender.send((found, thread_cpu_time()));
        });
        // Without a thread there is nothing to be found, and another try comes after a rest.
        self.is_looking = look.is_some();
        self.begun = Instant::now();
        self.pause();
    }

    /// What the look found that has ended since the last call.
    pub(crate) fn take(&mut self) -> Option<T> {
        let look = self.found.1.try_recv().ok()?;
        Some(self.end(look))
    }

    /// The same. Waits for a look under way, but for no longer than `patience` since that began: how long a look takes says whether it
    /// hangs, and not how long somebody waits for it. So nobody waits for one that began long ago.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<T> {
        if !self.is_looking {
            return None;
        }
        let patience = patience.saturating_sub(self.begun.elapsed());
        let look = self.found.1.recv_timeout(patience).ok()?;
        Some(self.end(look))
    }

    fn end(&mut self, (found, took): Found<T>) -> T {
        self.is_looking = false;
        self.rest = took * self.factor;
        self.pause();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn one_look_takes_place_at_a_time_and_its_result_is_there_once() {
        let mut rounds = Rounds::new();
        assert!(rounds.is_due(LONG));
        let (go, wait) = channel::<()>();
        rounds.begin(move || wait.recv().is_ok());
        assert!(rounds.is_looking() && !rounds.is_due(Duration::ZERO));
        assert_eq!(rounds.take(), None);
        go.send(()).unwrap();
        assert_eq!(rounds.wait(LONG), Some(true));
        assert!(!rounds.is_looking());
        assert_eq!((rounds.take(), rounds.wait(LONG)), (None, None));
    }

    #[test]
    fn after_a_look_and_where_there_is_nothing_to_look_for_comes_a_rest() {
        let mut rounds = Rounds::<()>::after_rest();
        assert!(!rounds.is_due(LONG) && rounds.is_due(Duration::ZERO));
        rounds.end(((), LONG));
        assert!(!rounds.is_due(Duration::ZERO));
    }

    #[test]
    fn each_look_goes_on_with_what_the_reader_knows_and_rests_as_is_asked() {
        let mut rounds = Rounds::with(7, 2);
        for expected in [8, 9] {
            rounds.begin_with(|known| {
                *known += 1;
                *known
            });
            assert_eq!(rounds.wait(LONG), Some(expected));
        }
        rounds.end((0, LONG));
        assert_eq!(rounds.rest, 2 * LONG);
    }

    #[test]
    fn who_hangs_is_waited_for_no_longer_than_the_patience_since_its_begin() {
        let mut rounds = Rounds::new();
        let (go, wait) = channel::<()>();
        rounds.begin(move || wait.recv().is_ok());
        rounds.begun -= Duration::from_secs(1);
        let begun = Instant::now();
        assert_eq!(rounds.wait(Duration::from_millis(1)), None);
        assert!(begun.elapsed() < LONG && rounds.is_looking());
        drop(go);
        assert_eq!(rounds.wait(LONG), Some(false));
    }
}
