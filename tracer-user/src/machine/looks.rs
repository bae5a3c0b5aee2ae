//! Looks that may hang. They run on threads of their own, and their caller waits only for so long.
//!
//! `/proc/PID/cmdline` waits while that process is stuck in its memory, and `stat` waits for a server of files that is gone. A
//! thread that hangs is left behind: it ends with its wait, or with the tracer.

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// If nothing was found for so long, a look may hang, and one more thread goes on with the rest.
const HANGS: Duration = Duration::from_millis(20);

/// Most threads for one list: at most so many are left behind.
const MOST_THREADS: usize = 8;

/// Stack of a thread that looks, bytes. The memory of the tracer stays locked, and a look needs a fraction of this.
const STACK: usize = 128 << 10;

/// The time between two questions whether the caller has enough.
const STEP: Duration = Duration::from_millis(10);

/// Starts a thread that looks at something. `None` if there can be no more threads.
pub(crate) fn on_thread<R: Send + 'static>(
    look: impl FnOnce() -> R + Send + 'static,
) -> Option<JoinHandle<R>> {
    thread::Builder::new().stack_size(STACK).spawn(look).ok()
}

/// The looks at a list of items, under way.
pub(crate) struct Looks<I, T> {
    board: Arc<Board<I, T>>,
    /// Starts one more thread.
    start: Box<dyn Fn()>,
    threads: usize,
    /// How many results there were at the last wait, and since when.
    seen: (usize, Instant),
}

/// The results of the looks that ended in time.
pub(crate) struct Found<I, T> {
    /// In no order.
    pub(crate) found: Vec<T>,
    /// Items without a result.
    pub(crate) unread: Vec<I>,
}

/// What the threads and the caller share.
struct Board<I, T> {
    work: Mutex<Work<I, T>>,
    over: Condvar,
}

struct Work<I, T> {
    /// Items that no thread has begun. The last is the next.
    waiting: Vec<I>,
    /// Items that the threads look at.
    begun: Vec<I>,
    found: Vec<T>,
}

impl<I, T> Looks<I, T>
where
    I: Copy + PartialEq + Send + 'static,
    T: Send + 'static,
{
    /// Begins to look at each item, the first one first. Each thread has its own clone of `look`.
    #[must_use]
    pub(crate) fn begin(
        mut items: Vec<I>,
        look: impl FnMut(I) -> T + Clone + Send + 'static,
    ) -> Self {
        items.reverse();
        let board = Arc::new(Board {
            work: Mutex::new(Work {
                waiting: items,
                begun: Vec::new(),
                found: Vec::new(),
            }),
            over: Condvar::new(),
        });
        let shared = Arc::clone(&board);
        let start = move || {
            let (board, look) = (Arc::clone(&shared), look.clone());
            // Without a thread the items stay unread.
            let _ = on_thread(move || board.work_off(look));
        };
        start();
        Self {
            board,
            start: Box::new(start),
            threads: 1,
            seen: (0, Instant::now()),
        }
    }

    /// Waits until every look has ended, at most `patience`, or until the caller `has_enough`: it is asked every few milliseconds.
    pub(crate) fn end_within(
        mut self,
        patience: Duration,
        mut has_enough: impl FnMut() -> bool,
    ) -> Found<I, T> {
        let until = Instant::now() + patience;
        while !self.wait() && Instant::now() < until && !has_enough() {}
        let mut work = self.board.lock();
        let mut unread = mem::take(&mut work.waiting);
        unread.extend(&work.begun);
        let found = mem::take(&mut work.found);
        Found { found, unread }
    }

    /// Waits for a short time. True once every look has ended.
    fn wait(&mut self) -> bool {
        let work = self.board.lock();
        let waited = self
            .board
            .over
            .wait_timeout_while(work, STEP, |work| !work.is_over());
        let (work, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let (is_over, is_left) = (work.is_over(), !work.waiting.is_empty());
        let found = work.found.len();
        drop(work);
        let (before, since) = self.seen;
        if found != before {
            self.seen = (found, Instant::now());
        } else if is_left && since.elapsed() >= HANGS && self.threads < MOST_THREADS {
            self.threads += 1;
            self.seen.1 = Instant::now();
            (self.start)();
        }
        is_over
    }
}

impl<I: Copy + PartialEq, T> Board<I, T> {
    fn lock(&self) -> MutexGuard<'_, Work<I, T>> {
        // No look runs while it is locked, so none can leave it half changed.
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work_off(&self, mut look: impl FnMut(I) -> T) {
        while let Some(item) = self.next() {
            let seen = look(item);
            let mut work = self.lock();
            work.begun.retain(|begun| *begun != item);
            work.found.push(seen);
            if work.is_over() {
                self.over.notify_all();
            }
        }
    }

    fn next(&self) -> Option<I> {
        let mut work = self.lock();
        let item = work.waiting.pop()?;
        work.begun.push(item);
        Some(item)
    }
}

impl<I, T> Work<I, T> {
    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::CString,
        fs::{self, File, OpenOptions},
        os::unix::ffi::OsStrExt as _,
        path::{Path, PathBuf},
    };

    use super::*;

    /// Far more than a look takes on a busy machine: who hangs fails.
    const LONG: Duration = Duration::from_secs(60);

    /// A file that behaves like one of a server that is gone: whoever opens it waits.
    fn hanging_file(name: &str) -> PathBuf {
        let name = format!("tracer-looks-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let text = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a valid string.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        path
    }

    /// Lets go who waits for the file.
    fn let_go(path: &Path) {
        drop(OpenOptions::new().write(true).open(path).unwrap());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn where_nothing_hangs_everything_is_found() {
        let looks = Looks::begin((0..1000).collect(), |item: u32| 2 * item);
        let Found { mut found, unread } = looks.end_within(LONG, || false);
        found.sort_unstable();
        assert_eq!(found, (0..1000).map(|item| 2 * item).collect::<Vec<u32>>());
        assert_eq!(unread, [0; 0]);
    }

    #[test]
    fn a_look_that_hangs_keeps_nobody_from_the_others() {
        let path = hanging_file("one");
        let file = path.clone();
        let mut looks = Looks::begin(vec![1_u32, 2, 3], move |item| {
            if item == 1 {
                drop(File::open(&file));
            }
            item
        });
        let begun = Instant::now();
        while looks.board.lock().found.len() < 2 {
            assert!(!looks.wait() && begun.elapsed() < LONG);
        }
        let Found { mut found, unread } = looks.end_within(Duration::ZERO, || false);
        let_go(&path);
        found.sort_unstable();
        assert_eq!((found, unread), (vec![2, 3], vec![1]));
    }

    #[test]
    fn who_has_enough_gets_what_is_there_and_waits_no_longer() {
        let path = hanging_file("all");
        let file = path.clone();
        let looks = Looks::begin(vec![1_u32], move |_| drop(File::open(&file)));
        let begun = Instant::now();
        let Found { found, unread } = looks.end_within(LONG, || true);
        let took = begun.elapsed();
        let_go(&path);
        assert!(took < LONG);
        assert_eq!((found.len(), unread), (0, vec![1]));
    }

    #[test]
    fn few_threads_are_left_behind_however_many_looks_hang() {
        let path = hanging_file("many");
        let file = path.clone();
        let items: Vec<usize> = (0..4 * MOST_THREADS).collect();
        let mut looks = Looks::begin(items, move |_| drop(File::open(&file)));
        let begun = Instant::now();
        while looks.threads < MOST_THREADS {
            assert!(!looks.wait() && begun.elapsed() < LONG);
        }
        thread::sleep(2 * HANGS);
        looks.wait();
        assert_eq!(looks.threads, MOST_THREADS);
        assert!(looks.board.lock().begun.len() <= MOST_THREADS);
        let Found { found, unread } = looks.end_within(Duration::ZERO, || false);
        assert_eq!((found.len(), unread.len()), (0, 4 * MOST_THREADS));
        let_go(&path);
    }
}
