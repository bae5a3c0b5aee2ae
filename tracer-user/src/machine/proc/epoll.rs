//! What is in a set of `epoll`, from `/proc/PID/fdinfo`.

use std::fs;

/// A file in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Its descriptor when it was added.
    pub(super) fd: u64,
    /// The events that are waited for (`epoll_ctl(2)`).
    pub(super) events: u32,
    pub(super) inode: u64,
}

/// The files in a set that a process has open; `None` if it cannot be read.
pub(super) fn targets(pid: u32, fd: u64) -> Option<Vec<Target>> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    let lines = text.lines().filter(|line| line.starts_with("tfd:"));
    lines.map(Target::parse).collect()
}

impl Target {
    /// Parses `tfd: 5 events: 40000019 data: 5 pos:0 ino:28def7 sdev:9` (`ep_show_fdinfo` of `fs/eventpoll.c`, since 4.13).
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(1);
        let fd = words.next()?.parse().ok()?;
        let events = words.nth(1)?;
        let inode = words.find_map(|word| word.strip_prefix("ino:"))?;
        Some(Self {
            fd,
            events: u32::from_str_radix(events, 16).ok()?,
            inode: u64::from_str_radix(inode, 16).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_a_set_has_events_and_an_inode_in_hexadecimal() {
        let line = "tfd:        5 events: 40000019 data:                5  pos:0 ino:28def7 sdev:9";
        let target = Target {
            fd: 5,
            events: 0x4000_0019,
            inode: 0x28_def7,
        };
        assert_eq!(Target::parse(line), Some(target));
        for broken in [
            "tfd:",
            "tfd: 5 events: 19 data: 5",
            "tfd: x events: 19 data: 5 ino:1",
        ] {
            assert_eq!(Target::parse(broken), None, "{broken}");
        }
    }
}
