//! What a ring of `io_uring` waits for, from `/proc/PID/fdinfo`.
//!
//! A database reads and writes its files through a ring. Such a ring brings nothing of its clients.

use std::fs;

/// The line above the requests that wait until their file is ready (`io_uring_show_fdinfo`, 5.6 and later).
const WAITING: &str = "PollList:";

/// Does a ring of a process wait until files are ready, sockets perhaps? It may, where the kernel does not tell.
pub(super) fn waits(pid: u32, fd: u64) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}"));
    text.map_or(true, |text| has_waiting(&text))
}

/// While somebody has the ring locked, the kernel leaves all of it out, or shows an empty list. Who sleeps in a call has no ring locked.
fn has_waiting(text: &str) -> bool {
    let mut lines = text.lines().skip_while(|line| *line != WAITING);
    let list = lines.next();
    let first = lines.next();
    list.is_none() || first.is_some_and(|line| line.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    use super::*;

    /// A ring that nobody has asked for anything; `None` where this process may have none.
    fn ring() -> Option<OwnedFd> {
        // `struct io_uring_params` of `include/uapi/linux/io_uring.h`: 120 bytes.
        let mut parameters = [0_u64; 15];
        // SAFETY: the kernel reads and writes those 120 bytes.
        let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the descriptor is open, and nothing else owns it.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    #[test]
    fn a_ring_that_nobody_has_asked_for_anything_waits_for_nothing() {
        let Some(ring) = ring() else {
            return println!("no rings here");
        };
        assert!(!waits(std::process::id(), ring.as_raw_fd() as u64));
    }

    #[test]
    fn a_ring_waits_for_what_is_below_the_line_and_may_wait_where_there_is_none() {
        let head = "SqMask:\t0x3\nUserFiles:\t0\n";
        let quiet = format!("{head}PollList:\n");
        let of = [
            head.to_owned(),
            quiet.clone(),
            format!("{quiet}CqOverflowList:\n"),
            format!("{quiet}  op=27, task_works=0\nCqOverflowList:\n"),
        ];
        let found = of.map(|text| has_waiting(&text));
        assert_eq!(found, [true, false, false, true]);
        assert!(waits(u32::MAX, 3));
    }
}
