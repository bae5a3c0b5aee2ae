//! Keeps the tracer working on a machine in trouble. It goes first on a busy CPU, and its memory stays locked.

use std::{fs::File, os::fd::AsRawFd as _, time::Duration};

use super::{capability::Capability, clocks::clock_ns, proc};

/// Before every process of ordinary priority; real-time priority could take a whole CPU from the machine.
const NICE: libc::c_int = -10;
/// `MCL_ONFAULT` (4.4): a page is locked when it is first touched, so memory that is only reserved costs nothing.
const MCL_ONFAULT: libc::c_int = 4;
/// Bytes for each `readahead`. One call reads at most the disk's `read_ahead_kb` (`force_page_cache_ra`), by default 128 KiB.
const READ_AHEAD: usize = 128 << 10;

/// Raises the priority of this process, and asks the disk for all of its program.
///
/// `attach` does this first, while there is one thread: every later thread inherits the priority. The tracer starts no other
/// process. Read page by page, the program would wait behind the requests of others once for each page.
pub(crate) fn first() {
    // SAFETY: no pointers. Without the permission the priority stays as it is.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
    let Ok(program) = File::open("/proc/self/exe") else {
        return;
    };
    let length = program.metadata().map_or(0, |metadata| metadata.len());
    for begin in (0..length).step_by(READ_AHEAD) {
        // SAFETY: no pointers; it is advice, and does not wait. Pages in memory are not read again.
        unsafe { libc::readahead(program.as_raw_fd(), begin as libc::off64_t, READ_AHEAD) };
    }
}

/// Gives the calling thread ordinary priority: its work takes many milliseconds, and the records do not wait for it.
pub(crate) fn as_everybody() {
    // SAFETY: no pointers. To go later than before is always allowed.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
}

/// Lets the calling thread run only on a CPU that no other thread wants (`SCHED_IDLE` in sched(7)). Any other thread that wakes
/// there takes the CPU at once. A nice value alone does not achieve this.
pub(crate) fn when_idle() {
    let no_priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: a valid pointer; if the kernel refuses, the thread goes on as before.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const no_priority) };
}

/// Age of this process since its fork, to a tick of 10 ms. It includes the time until the program is in memory. A process that had
/// another program before `exec` is older.
#[must_use]
pub(crate) fn age() -> Duration {
    let now = clock_ns(libc::CLOCK_BOOTTIME);
    let age = proc::start_time(std::process::id()).map(|start| now.saturating_sub(start));
    Duration::from_nanos(age.unwrap_or(0))
}

/// Waits until the whole program is in memory, and keeps it there. Nothing is locked without `CAP_IPC_LOCK`: every allocation above
/// `RLIMIT_MEMLOCK` would fail (mlockall(2)).
pub(crate) fn begin() {
    if Capability::IpcLock.is_effective() {
        // SAFETY: no pointers; memory that cannot be locked stays as it is.
        unsafe { libc::mlockall(libc::MCL_CURRENT) };
    }
}

/// Locks the memory in use, now and later, until [`lock_no_more`]. To be called as the window begins, once the memory that attaching took
/// is given back. Returns a note for people if something was not possible.
#[must_use]
pub(crate) fn hold() -> Option<&'static str> {
    let is_held = Capability::IpcLock.is_effective()
        // SAFETY: no pointers.
        && unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | MCL_ONFAULT) } == 0;
    // SAFETY: no pointers. The call returns the value itself. -1 may be a value or an error: both are above `NICE`.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    match (is_held, nice <= NICE) {
        (true, true) => None,
        (false, true) => {
            Some("memory cannot be locked: where memory is short, the tracer waits like everybody")
        }
        (true, false) => {
            Some("cannot go first (nice): on busy CPUs the tracer waits like everybody")
        }
        (false, false) => Some(
            "cannot go first (nice) nor lock memory: on a busy machine the tracer waits like everybody",
        ),
    }
}

/// Resident memory from which on the growth is not locked, bytes. The program, the rings, and the books of an ordinary trace are below
/// that. Where memory is short, the rest goes to the swap: locked memory of the tracer may not bring a server down.
const MOST_LOCKED: u64 = 48 << 20;

/// Once enough is locked, what is allocated from then on is not. Returns whether that is so: then it need not be called again.
#[must_use]
pub(crate) fn lock_no_more() -> bool {
    if proc::self_rss_bytes() < MOST_LOCKED {
        return false;
    }
    if !Capability::IpcLock.is_effective() {
        return true;
    }
    // SAFETY: no pointers. Without `MCL_FUTURE` what is mapped now stays locked, and what is mapped later is not (mlockall(2);
    // `apply_mlockall_flags` of mm/mlock.c, 4.4 to 7.2). If the kernel refuses, all stays as it is.
    unsafe { libc::mlockall(libc::MCL_CURRENT | MCL_ONFAULT) };
    true
}
