//! The system call in which a thread sleeps, from `/proc/PID/task/TID/syscall`.

use super::SmallFiles;

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
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(line).ok()?.split_ascii_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number >= 0)?;
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            let word = words.next()?.strip_prefix("0x")?;
            *argument = u64::from_str_radix(word, 16).ok()?;
        }
        Some(Self { number, arguments })
    }
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
}
