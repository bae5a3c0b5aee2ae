//! Evidence that is no wait: the kernel's log of the window, and connections that were dropped.

use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
};

/// Most lines of the kernel's log in a report; the others are counted.
const MOST_LINES: usize = 20;
/// Longest record of `/dev/kmsg`, bytes (`CONSOLE_EXT_LOG_MAX`, `PRINTKRB_RECORD_MAX`).
const LONGEST_RECORD: usize = 8 << 10;

/// Words of the kernel's log about a machine in trouble. A line matches if it has every word of an entry. What a line means is said
/// where it does not say so itself ([`MEANINGS`]).
const TELLING: &[&[&str]] = &[
    // blk_print_req_error: "I/O error, dev sda, sector 1 op 0x0:(READ) …", "critical medium error, dev …"; buffer_io_error.
    &["I/O error"],
    &["critical ", " error, dev "],
    // nvme_timeout, ata_eh_link_report, scsi_print_result.
    &["nvme", " timeout"],
    &["ata", ": exception Emask"],
    &["FAILED Result: hostbyte="],
    // check_hung_task, watchdog_timer_fn.
    &["INFO: task ", " blocked for more than "],
    &["BUG: soft lockup"],
    // __oom_kill_process: "Out of memory: Killed process …", "Memory cgroup out of memory: Killed process …".
    &["ut of memory: Kill"],
    // __ext4_error, xfs_alert, btrfs_printk, ext4_handle_error.
    &["EXT4-fs error"],
    &["EXT4-fs (", "Remounting filesystem read-only"],
    &["XFS (", "rror"],
    &["XFS (", "orruption"],
    &["XFS (", "hut"],
    &["BTRFS", "error"],
    // phy_print_status, most drivers of network cards, ata.
    &["Link is Down"],
    &["ink is down"],
    &["ink down"],
    // nfs, cifs; tcp_syn_flood_action.
    &["server ", " not responding"],
    &["Possible SYN flooding on port"],
    // watchdog_hardlockup_check (6.5), watchdog_overflow_callback; show_workqueue_state; print_cpu_stall, print_other_cpu_stall.
    &["Watchdog detected hard LOCKUP"],
    &["BUG: workqueue lockup"],
    &["rcu: INFO: ", "detected stall"],
    &[DROP_CACHES],
    &[CONNTRACK_FULL],
    &[CONNTRACK_EXPECT_FULL],
    &[AUDIT_FULL],
    &[AUDIT_BACKLOG],
    &[TCP_MEMORY],
    &[TCP_ORPHANS],
];

/// drop_caches_sysctl_handler: "sh (4711): drop_caches: 3" since 3.15; not after somebody wrote 4.
const DROP_CACHES: &str = "): drop_caches: ";
/// __nf_conntrack_alloc: "nf_conntrack: table full, dropping packet", from 4.x on with the prefix twice, from 6.18 on also "nf_conntrack:
/// table full in netns 4026532202, dropping packet".
const CONNTRACK_FULL: &str = "nf_conntrack: table full";
/// nf_ct_expect_related_report: "nf_conntrack: expectation table full".
const CONNTRACK_EXPECT_FULL: &str = "nf_conntrack: expectation table full";
/// audit_log_lost: "audit: backlog limit exceeded".
const AUDIT_FULL: &str = "audit: backlog limit exceeded";
/// audit_log_start: "audit: audit_backlog=65 > audit_backlog_limit=64".
const AUDIT_BACKLOG: &str = "audit: audit_backlog=";
/// tcp_check_oom: "TCP: out of memory -- consider tuning tcp_mem".
const TCP_MEMORY: &str = "TCP: out of memory";
/// tcp_check_oom: "TCP: too many orphaned sockets".
const TCP_ORPHANS: &str = "TCP: too many orphaned sockets";

/// What some lines mean for those who wait.
const MEANINGS: &[(&str, &str)] = &[
    (
        DROP_CACHES,
        "that process emptied the caches of the machine: what was in them is read from disk again",
    ),
    (
        CONNTRACK_FULL,
        "new connections are dropped until old ones are forgotten (net.netfilter.nf_conntrack_max)",
    ),
    (
        AUDIT_FULL,
        "system calls that are audited may wait for auditd",
    ),
    (
        AUDIT_BACKLOG,
        "system calls that are audited may wait for auditd",
    ),
    (
        TCP_MEMORY,
        "TCP has used up its memory on this machine: connections stall or are reset",
    ),
];

/// A line of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// The file of the kernel's that has it; `None` if the tracer found it out itself.
    pub(crate) source: Option<String>,
}

impl Line {
    /// From a file of the kernel's.
    #[must_use]
    pub(crate) fn of(source: impl Into<String>, text: String) -> Self {
        Self {
            text,
            source: Some(source.into()),
        }
    }

    /// What the tracer found out itself.
    #[must_use]
    pub(crate) fn own(text: String) -> Self {
        Self { text, source: None }
    }
}

/// The kernel's log.
const LOG: &str = "/dev/kmsg";

/// Files that the tracer opens as the window begins, and reads as it ends.
pub(crate) struct Evidence {
    log: Option<File>,
    counters: Option<File>,
    /// Path of the counters.
    counted_in: String,
    before: Drops,
}

/// `ListenOverflows` and `ListenDrops` of `TcpExt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Drops {
    overflows: u64,
    drops: u64,
}

impl Evidence {
    /// Opens the kernel's log at its end, and the counters of the network namespace of `pid`. These stay readable when the process is gone.
    #[must_use]
    pub(crate) fn begin(pid: u32) -> Self {
        let counted_in = format!("/proc/{pid}/net/netstat");
        let mut counters = File::open(&counted_in).ok();
        let before = counters.as_mut().and_then(drops).unwrap_or_default();
        Self {
            log: log_at_its_end(),
            counters,
            counted_in,
            before,
        }
    }

    /// Can the kernel's log be read?
    #[must_use]
    pub(crate) fn has_log(&self) -> bool {
        self.log.is_some()
    }

    /// Lines of evidence: dropped connections first, then the log.
    #[must_use]
    pub(crate) fn end(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        if let Some(after) = self.counters.as_mut().and_then(drops) {
            let dropped = dropped(self.before, after);
            lines.extend(dropped.map(|text| Line::of(&self.counted_in, text)));
        }
        if let Some(log) = &mut self.log {
            let telling = telling(|record| log.read(record)).into_iter();
            lines.extend(telling.map(|text| Line::of(LOG, text)));
        }
        lines
    }
}

fn log_at_its_end() -> Option<File> {
    let mut log = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(LOG)
        .ok()?;
    log.seek(SeekFrom::End(0)).ok()?;
    Some(log)
}

/// The lines among the records that matter. `read` gives one record at a time, as `/dev/kmsg` does.
fn telling(mut read: impl FnMut(&mut [u8]) -> std::io::Result<usize>) -> Vec<String> {
    let mut record = vec![0; LONGEST_RECORD];
    let (mut lines, mut more, mut is_overwritten) = (Vec::new(), 0_u64, false);
    loop {
        match read(&mut record) {
            Ok(0) => break,
            Ok(length) => match record_text(&record[..length]).filter(|text| is_telling(text)) {
                Some(text) if lines.len() < MOST_LINES => lines.push(line(&text)),
                Some(_) => more += 1,
                None => {}
            },
            // EPIPE: records were overwritten before they were read; the next read goes on behind them.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => is_overwritten = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    if more > 0 {
        lines.push(format!("kernel log: {more} more lines of these kinds"));
    }
    if is_overwritten {
        lines.push(
            "kernel log: its oldest lines of the window were overwritten before the end".to_owned(),
        );
    }
    lines
}

/// The text of a record of the kernel itself: `priority,sequence,usec,flags…;text`, then lines of properties. A process that writes
/// to `/dev/kmsg` gives its record another facility (bits 3 and up of the priority). Such a record is no evidence.
fn record_text(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let text = text.lines().next()?.trim();
    (priority >> 3 == 0 && !text.is_empty()).then(|| text.to_owned())
}

/// A line of evidence, with what it means.
fn line(text: &str) -> String {
    let known = MEANINGS.iter().find(|(words, _)| text.contains(words));
    known.map_or_else(
        || format!("kernel log: {text}"),
        |(_, meaning)| format!("kernel log: {text} ({meaning})"),
    )
}

fn is_telling(text: &str) -> bool {
    TELLING
        .iter()
        .any(|words| words.iter().all(|word| text.contains(word)))
}

fn drops(counters: &mut File) -> Option<Drops> {
    let mut text = String::new();
    counters.seek(SeekFrom::Start(0)).ok()?;
    counters.read_to_string(&mut text).ok()?;
    parse_drops(&text)
}

/// `netstat` has two lines for each family: names and values.
fn parse_drops(text: &str) -> Option<Drops> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let value = |wanted: &str| -> Option<u64> {
        let at = names.split(' ').position(|name| name == wanted)?;
        values.split(' ').nth(at)?.parse().ok()
    };
    Some(Drops {
        overflows: value("ListenOverflows")?,
        drops: value("ListenDrops")?,
    })
}

/// One line if a counter grew. The kernel counts an overflow as a drop too (`tcp_v4_syn_recv_sock`, `tcp_conn_request`).
fn dropped(before: Drops, after: Drops) -> Option<String> {
    let overflows = after.overflows.saturating_sub(before.overflows);
    let drops = after.drops.saturating_sub(before.drops).max(overflows);
    match (overflows, drops) {
        (_, 0) => None,
        (0, drops) => Some(format!(
            "{drops} attempts to connect were dropped in the target's network namespace (ListenDrops); a repeated attempt counts again"
        )),
        (overflows, drops) => Some(format!(
            "{drops} attempts to connect were dropped in the target's network namespace, {overflows} because a queue of connections not \
             yet accepted was full (ListenOverflows); a repeated attempt counts again"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// The lines of evidence among these records. After the last one, reading would block.
    fn log(records: Vec<io::Result<&'static str>>) -> Vec<String> {
        let mut records = records.into_iter();
        telling(|buffer| {
            let record = records
                .next()
                .unwrap_or(Err(ErrorKind::WouldBlock.into()))?;
            buffer[..record.len()].copy_from_slice(record.as_bytes());
            Ok(record.len())
        })
    }

    #[test]
    fn an_io_error_of_the_kernel_is_evidence_and_its_chatter_is_not() {
        let lines = log(vec![
            Ok("6,1,10,-;usb 1-1: new high-speed USB device\n"),
            Ok(
                "3,2,20,-;I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0\n SUBSYSTEM=block\n DEVICE=b8:0\n",
            ),
            Ok("3,3,30,-;INFO: task tar:4711 blocked for more than 122 seconds.\n"),
        ]);
        assert_eq!(
            lines,
            [
                "kernel log: I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0",
                "kernel log: INFO: task tar:4711 blocked for more than 122 seconds.",
            ]
        );
    }

    #[test]
    fn what_a_process_wrote_into_the_log_is_no_evidence() {
        // 12 = facility "user" (1), priority 4.
        assert!(log(vec![Ok("12,1,10,-;I/O error, dev sda, sector 1\n")]).is_empty());
    }

    #[test]
    fn lines_of_a_machine_in_trouble_are_known_in_the_words_of_several_kernels() {
        let records = [
            "6,1,10,-;backup.sh (4711): drop_caches: 3\n",
            "4,2,20,-;nf_conntrack: table full, dropping packet\n",
            "4,3,30,-;nf_conntrack: nf_conntrack: table full, dropping packet\n",
            "4,4,40,-;nf_conntrack: nf_conntrack: table full in netns 4026532202, dropping packet\n",
            "4,5,50,-;audit: audit_backlog=65 > audit_backlog_limit=64\n",
            "4,6,60,-;audit: audit_lost=12 audit_rate_limit=0 audit_backlog_limit=64\n",
            "3,7,70,-;audit: backlog limit exceeded\n",
            "6,8,80,-;TCP: out of memory -- consider tuning tcp_mem\n",
            "6,9,90,-;TCP: too many orphaned sockets\n",
            "0,10,100,-;watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [tar:4711]\n",
            "0,11,110,-;NMI watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [tar:4711]\n",
            "0,12,120,-;BUG: soft lockup - CPU#0 stuck for 67s! [kswapd0:36]\n",
            "3,13,130,-;rcu: INFO: rcu_sched self-detected stall on CPU\n",
            "6,14,140,-;audit: type=1400 audit(1700000000.1:7): apparmor=\"DENIED\"\n",
            "6,15,150,-;TCP: Hash tables configured (established 65536 bind 65536)\n",
        ];
        let lines = log(records.into_iter().map(Ok).collect());
        let texts = records.map(|record| record.split_once(';').unwrap().1.trim());
        let quiet = |text: &&str| !text.contains("audit_lost") && !text.contains("DENIED");
        let expected = texts
            .iter()
            .filter(|text| quiet(text) && !text.contains("Hash"));
        assert_eq!(lines.len(), expected.clone().count());
        for (line, text) in lines.iter().zip(expected) {
            assert!(line.starts_with(&format!("kernel log: {text}")), "{line}");
        }
        assert!(lines[0].ends_with("what was in them is read from disk again)"));
    }

    #[test]
    fn a_process_that_writes_of_dropped_caches_is_no_evidence() {
        assert!(log(vec![Ok("14,1,10,-;backup.sh (4711): drop_caches: 3\n")]).is_empty());
    }

    #[test]
    fn records_that_were_overwritten_are_said_and_the_rest_is_read() {
        let lines = log(vec![
            Err(ErrorKind::BrokenPipe.into()),
            Ok("3,9,10,-;Out of memory: Killed process 7 (mysqld)\n"),
        ]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("Killed process 7"));
        assert!(lines[1].contains("overwritten"));
    }

    #[test]
    fn a_storm_is_cut_and_counted() {
        let lines = log((0..50)
            .map(|_| Ok("3,9,10,-;eth0: Link is Down\n"))
            .collect());
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert_eq!(
            lines[MOST_LINES],
            "kernel log: 30 more lines of these kinds"
        );
    }

    #[test]
    fn dropped_connections_are_the_growth_of_the_counters() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 20 23\nIpExt: InNoRoutes\nIpExt: 0\n";
        let after = parse_drops(text).unwrap();
        assert_eq!(
            after,
            Drops {
                overflows: 20,
                drops: 23
            }
        );
        let line = dropped(
            Drops {
                overflows: 3,
                drops: 3,
            },
            after,
        )
        .unwrap();
        assert!(
            line.starts_with("20 attempts") && line.contains(" 17 because"),
            "{line}"
        );
        assert_eq!(dropped(after, after), None);
    }
}
