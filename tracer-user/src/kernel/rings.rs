//! Maps the data of each ring once, instead of twice.
//!
//! The kernel offers the data of a ring twice, one copy behind the other (`kernel/bpf/ringbuf.c`), and aya maps both. A record that
//! wraps is then read in one piece. Of the second copy, no more than one record is ever read. But every page of it counts as
//! resident, and costs an entry in the page table.

use std::{fs, ops::Range, ptr};

use tracer_common::{histogram::Snapshot, proc::Exec, sched::Stack};

/// Bytes of the second copy that stay mapped: far more than the longest record.
const KEPT: usize = 64 << 10;
const _: () = assert!(
    size_of::<Stack>() < KEPT && size_of::<Exec>() < KEPT && size_of::<Snapshot>() < KEPT,
    "a record reaches beyond"
);

/// Gives back the part of the rings that is never read. To be called before memory is locked.
pub(crate) fn map_once() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for unread in maps.lines().filter_map(unread) {
        // SAFETY: nothing reads there. The pages stay readable, as zeros, and mapped, so that aya can unmap the ring as a whole.
        unsafe {
            libc::mmap(
                ptr::with_exposed_provenance_mut(unread.start),
                unread.len(),
                libc::PROT_READ,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED,
                -1,
                0,
            )
        };
    }
}

/// The addresses that are never read of the ring in a line of `/proc/PID/maps`: `BEGIN-END r--s OFFSET DEVICE INODE anon_inode:bpf-map`.
/// A ring is a page of positions and the data twice. `None` if the line is about something else.
fn unread(line: &str) -> Option<Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let number = |hex: &str| usize::from_str_radix(hex, 16).ok();
    let (begin, end) = fields.next()?.split_once('-')?;
    let (begin, end) = (number(begin)?, number(end)?);
    let is_read_only = fields.next()? == "r--s";
    // The first page of a ring is the reader's own and mapped apart: this mapping begins with the second page.
    let page = number(fields.next()?)?;
    let is_map = fields.nth(2)? == "anon_inode:bpf-map";
    let data = end.checked_sub(begin)?.checked_sub(page)? / 2;
    let is_ring = is_read_only && is_map && page > 0 && data.is_power_of_two() && data > KEPT;
    is_ring.then_some(begin + page + data + KEPT..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_ring_the_second_look_is_unread_but_for_its_beginning() {
        let ring = "7f0000000000-7f0000201000 r--s 00001000 00:0f 1057     anon_inode:bpf-map";
        assert_eq!(unread(ring), Some(0x7f00_0011_1000..0x7f00_0020_1000));
    }

    #[test]
    fn what_is_no_ring_is_left_alone() {
        for line in [
            "7f0000000000-7f0000001000 rw-s 00000000 00:0f 1057     anon_inode:bpf-map",
            "7f0000000000-7f0000201000 r--s 00000000 00:0f 1057     anon_inode:bpf-map",
            "7f0000000000-7f0000301000 r--s 00001000 00:0f 1057     anon_inode:bpf-map",
            "7f0000000000-7f0000011000 r--s 00001000 00:0f 1057     anon_inode:bpf-map",
            "7f0000000000-7f0000201000 r--s 00001000 08:01 1057     /usr/bin/tracer",
            "7f0000000000-7f0000201000 r--s 00001000 00:0f 1057",
            "",
        ] {
            assert_eq!(unread(line), None, "{line}");
        }
    }
}
