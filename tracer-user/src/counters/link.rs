//! Interfaces: `/proc/net/dev`.

use serde::{Deserialize, Serialize};

use super::number;

/// Where the counts of a line stand, behind the name.
mod at {
    pub(super) const RECEIVED: usize = 0;
    pub(super) const RECEIVED_PACKETS: usize = 1;
    pub(super) const RECEIVE_DROPS: usize = 3;
    pub(super) const SENT: usize = 8;
    pub(super) const SENT_PACKETS: usize = 9;
    pub(super) const SEND_DROPS: usize = 11;
}

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkCounts {
    /// Name (`eth0`).
    pub name: String,
    /// Bytes that came in.
    pub received: u64,
    /// Packets that came in.
    pub received_packets: u64,
    /// Packets that came in and were dropped.
    pub receive_drops: u64,
    /// Bytes that left.
    pub sent: u64,
    /// Packets that left.
    pub sent_packets: u64,
    /// Packets that were to leave and were dropped.
    pub send_drops: u64,
}

impl LinkCounts {
    /// Parses `/proc/net/dev`. The head lines, and one that is cut, are left out.
    pub fn parse(text: &str) -> impl Iterator<Item = Self> {
        text.lines().filter_map(Self::line)
    }

    fn line(line: &str) -> Option<Self> {
        // A name may have colons itself.
        let (name, counts) = line.rsplit_once(':')?;
        let words: Vec<&str> = counts.split_ascii_whitespace().collect();
        let count = |at| number(&words, at);
        Some(Self {
            name: name.trim().to_owned(),
            received: count(at::RECEIVED)?,
            received_packets: count(at::RECEIVED_PACKETS)?,
            receive_drops: count(at::RECEIVE_DROPS)?,
            sent: count(at::SENT)?,
            sent_packets: count(at::SENT_PACKETS)?,
            send_drops: count(at::SEND_DROPS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 1000 10 0 0 0 0 0 0 1000 10 0 0 0 0 0 0
eth0:1: 2000 20 1 2 0 0 0 0 3000 30 3 4 0 0 0 0
";

    #[test]
    fn each_count_has_its_place_and_a_name_may_have_a_colon() {
        let links: Vec<LinkCounts> = LinkCounts::parse(TEXT).collect();
        let expected = LinkCounts {
            name: "eth0:1".to_owned(),
            received: 2000,
            received_packets: 20,
            receive_drops: 2,
            sent: 3000,
            sent_packets: 30,
            send_drops: 4,
        };
        assert_eq!(links.len(), 2);
        assert_eq!((links[0].name.as_str(), links[0].sent), ("lo", 1000));
        assert_eq!(links[1], expected);
    }
}
