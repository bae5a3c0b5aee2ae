//! Disks: `/proc/diskstats`.

use serde::{Deserialize, Serialize};

use super::number;

/// Where the counts of a line stand (`Documentation/admin-guide/iostats.rst`).
mod at {
    pub(super) const NAME: usize = 2;
    pub(super) const READS: usize = 3;
    pub(super) const READS_MERGED: usize = 4;
    pub(super) const READ_SECTORS: usize = 5;
    pub(super) const READ_MS: usize = 6;
    pub(super) const WRITES: usize = 7;
    pub(super) const WRITES_MERGED: usize = 8;
    pub(super) const WRITTEN_SECTORS: usize = 9;
    pub(super) const WRITE_MS: usize = 10;
    pub(super) const IN_FLIGHT: usize = 11;
    pub(super) const BUSY_MS: usize = 12;
    pub(super) const WEIGHTED_MS: usize = 13;
}

/// One disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounts {
    /// Name (`sda`).
    pub name: String,
    /// Reads completed.
    pub reads: u64,
    /// Reads that were merged into others.
    pub reads_merged: u64,
    /// Sectors of 512 bytes that were read.
    pub read_sectors: u64,
    /// Time of all reads, ms.
    pub read_ms: u64,
    /// Writes completed.
    pub writes: u64,
    /// Writes that were merged into others.
    pub writes_merged: u64,
    /// Sectors of 512 bytes that were written.
    pub written_sectors: u64,
    /// Time of all writes, ms.
    pub write_ms: u64,
    /// Requests right now.
    pub in_flight: u64,
    /// Time in which there was a request, ms.
    pub busy_ms: u64,
    /// Time of all requests, ms.
    pub weighted_ms: u64,
}

impl DiskCounts {
    /// Parses `/proc/diskstats`, 5.10 to 7.2. A line that is cut is left out.
    pub fn parse(text: &str) -> impl Iterator<Item = Self> {
        text.lines().filter_map(Self::line)
    }

    fn line(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let count = |at| number(&words, at);
        Some(Self {
            name: (*words.get(at::NAME)?).to_owned(),
            reads: count(at::READS)?,
            reads_merged: count(at::READS_MERGED)?,
            read_sectors: count(at::READ_SECTORS)?,
            read_ms: count(at::READ_MS)?,
            writes: count(at::WRITES)?,
            writes_merged: count(at::WRITES_MERGED)?,
            written_sectors: count(at::WRITTEN_SECTORS)?,
            write_ms: count(at::WRITE_MS)?,
            in_flight: count(at::IN_FLIGHT)?,
            busy_ms: count(at::BUSY_MS)?,
            weighted_ms: count(at::WEIGHTED_MS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = " 259       0 nvme0n1 101 12 2048 55 201 22 4096 66 3 77 121 9 9 9 9 1 2";

    #[test]
    fn each_count_has_its_place() {
        let disks: Vec<DiskCounts> = DiskCounts::parse(LINE).collect();
        let expected = DiskCounts {
            name: "nvme0n1".to_owned(),
            reads: 101,
            reads_merged: 12,
            read_sectors: 2048,
            read_ms: 55,
            writes: 201,
            writes_merged: 22,
            written_sectors: 4096,
            write_ms: 66,
            in_flight: 3,
            busy_ms: 77,
            weighted_ms: 121,
        };
        assert_eq!(disks, [expected]);
    }

    #[test]
    fn a_cut_line_is_left_out_at_every_length() {
        let needed = LINE.find(" 121").unwrap();
        for length in 0..=needed {
            assert_eq!(DiskCounts::parse(&LINE[..length]).count(), 0, "{length}");
        }
    }
}
