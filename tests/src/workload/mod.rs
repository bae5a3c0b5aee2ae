//! The programs of the demo, as functions; `src/bin` holds their command lines.

pub mod backup;
pub mod client;
pub mod crowd;
pub mod hog;
pub mod http;
pub mod pairs;
pub mod quantile;
pub mod query;
pub mod ring;
pub mod server;
pub mod stamped;
pub mod stream;

use std::{fs::File, os::fd::AsRawFd as _};

/// Ends this process after so many seconds, whatever it is doing. A workload that lost its master must not load the machine for
/// ever.
pub fn limit_lifetime(seconds: u32) {
    // SAFETY: alarm takes a number and touches no memory; its signal is left at the default, which ends the process.
    unsafe { libc::alarm(seconds) };
}

/// Drops a file's clean pages from the page cache, so that the next reader waits for the disk. Best effort: pages
/// that somebody is using stay.
pub fn drop_pages(file: &File) {
    // SAFETY: the descriptor is open for as long as the borrow of `file`; the call touches no memory of ours.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}
