//! The system call in which a thread sleeps, from `/proc/PID/task/TID/syscall`.

use super::{SmallFiles, numbers_in};

/// Most threads of a process looked at.
const MOST: usize = 1024;

/// Tells `see` of the threads of a process, each with the line of its system call. A thread that is gone has none.
pub(super) fn each_call(pid: u32, mut see: impl FnMut(u32, &[u8])) {
    let mut files = SmallFiles::default();
    for tid in numbers_in(&format!("/proc/{pid}/task")).take(MOST) {
        if let Some(line) = files.read(format_args!("/proc/{pid}/task/{tid}/syscall")) {
            see(tid, line);
        }
    }
}

/// Calls that only some architectures have, where others have nothing of these numbers; and one that `libc` lacks.
pub(super) mod numbers {
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) use libc::{
        SYS_epoll_wait as EPOLL_WAIT, SYS_poll as POLL, SYS_select as SELECT,
    };
    #[cfg(target_arch = "x86_64")]
    pub(in super::super) const IO_PGETEVENTS: i64 = 333;
    #[cfg(not(target_arch = "x86_64"))]
    pub(in super::super) const EPOLL_WAIT: i64 = -2;
    #[cfg(not(target_arch = "x86_64"))]
    pub(in super::super) const POLL: i64 = -3;
    #[cfg(not(target_arch = "x86_64"))]
    pub(in super::super) const SELECT: i64 = -4;
    /// Of `include/uapi/asm-generic/unistd.h`.
    #[cfg(not(target_arch = "x86_64"))]
    pub(in super::super) const IO_PGETEVENTS: i64 = 292;
}

/// A system call of a sleeping thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SystemCall {
    /// Its number on this architecture.
    pub(super) number: i64,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

impl SystemCall {
    /// The call of a thread; `None` if the thread runs, is gone, or sleeps outside system calls. Nothing is stopped for it.
    pub(super) fn of(pid: u32, tid: u32) -> Option<Self> {
        let mut files = SmallFiles::default();
        Self::parse(files.read(format_args!("/proc/{pid}/task/{tid}/syscall"))?)
    }

    /// Parses `73 0x3 0x2 0x0 …`: the number is decimal, the arguments are not.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            let word = words.next()?.strip_prefix("0x")?;
            *argument = u64::from_str_radix(word, 16).ok()?;
        }
        Some(Self { number, arguments })
    }

    /// The descriptor of the file that it reads, writes, or writes out; `None` for a call about no one file.
    pub(super) fn file(&self) -> Option<u64> {
        let first = ON_FIRST.contains(&self.number);
        let second = || self.number == libc::SYS_sendfile;
        first
            .then_some(self.arguments[0])
            .or_else(|| second().then_some(self.arguments[1]))
    }

    /// The descriptor of the pipe, queue or socket into which it writes, or that it connects; `None` for another call.
    pub(super) fn written(&self) -> Option<u64> {
        let (_, at) = INTO.iter().find(|(number, _)| *number == self.number)?;
        // An `int` leaves the upper half of its register undefined.
        Some(self.arguments[*at] & 0xffff_ffff)
    }
}

/// Calls that write into what one of their arguments names, and which one. One that sends several messages does not tell which of them
/// waits.
const INTO: [(i64, usize); 11] = [
    (libc::SYS_write, 0),
    (libc::SYS_writev, 0),
    (libc::SYS_pwritev2, 0),
    (libc::SYS_sendto, 0),
    (libc::SYS_sendmsg, 0),
    (libc::SYS_connect, 0),
    (libc::SYS_vmsplice, 0),
    (libc::SYS_sendfile, 0),
    (libc::SYS_mq_timedsend, 0),
    (libc::SYS_tee, 1),
    (libc::SYS_splice, 2),
];

/// Calls about the file that their first argument names.
const ON_FIRST: [i64; 16] = [
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_readv,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_pwrite64,
    libc::SYS_writev,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_fallocate,
    libc::SYS_ftruncate,
];

/// Is it a line of a program of 32 bits? The last but one word of nine is its stack pointer.
pub(super) fn is_narrow(line: &[u8]) -> bool {
    let words = str::from_utf8(line).unwrap_or_default();
    let pointer = words.split_ascii_whitespace().nth(7);
    let pointer = pointer.and_then(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok());
    pointer.is_none_or(|pointer| pointer >> 32 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_number_and_six_arguments_and_a_running_thread_has_none() {
        let call = SystemCall::parse(b"73 0x3 0x2 0x0 0x7fe8 0x0 0xff 0x7ffc 0x7fe8\n");
        let arguments = [3, 2, 0, 0x7fe8, 0, 0xff];
        let expected = SystemCall {
            number: 73,
            arguments,
        };
        assert_eq!(call, Some(expected));
        assert_eq!(SystemCall::parse(b"running\n"), None);
        assert_eq!(SystemCall::parse(b"-1 0x7ffc 0x7fe8\n"), None);
    }

    #[test]
    fn the_file_of_a_call_is_its_first_argument_or_that_which_it_sends() {
        let file = |number| {
            let arguments = [5, 6, 0, 0, 0, 0];
            SystemCall { number, arguments }.file()
        };
        assert_eq!(file(libc::SYS_fsync), Some(5));
        assert_eq!(file(libc::SYS_sendfile), Some(6));
        assert_eq!(file(libc::SYS_openat), None);
    }

    #[test]
    fn what_a_call_writes_into_is_a_number_of_half_a_register() {
        let into = |number| {
            let arguments = [0xffff_ffff_0000_0005, 6, 7, 0, 0, 0];
            SystemCall { number, arguments }.written()
        };
        assert_eq!(into(libc::SYS_write), Some(5));
        assert_eq!(into(libc::SYS_tee), Some(6));
        assert_eq!(into(libc::SYS_splice), Some(7));
        assert_eq!(into(libc::SYS_read), None);
    }
}
