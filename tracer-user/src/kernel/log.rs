//! Messages of the kernel half, which it writes if a counter is not enough.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{LevelFilter, Log, Metadata, Record};

/// The name of the level among the object's globals; an object that logs nothing has none.
pub(super) const LEVEL: &str = aya_log::LEVEL;

/// The least important level that the kernel half writes. It is frozen into the programs, so that the verifier removes all below it.
/// Warnings are always written, because they are counted.
#[must_use]
pub(super) fn level() -> u8 {
    log::max_level().max(LevelFilter::Warn) as u8
}

/// The reading end of the kernel half's messages.
pub(super) struct KernelLog {
    reader: EbpfLogger<Counted>,
    count: Arc<AtomicU64>,
}

impl KernelLog {
    /// Takes the ring of messages out of the loaded object; `None` if the object logs nothing.
    #[must_use]
    pub(super) fn open(ebpf: &mut Ebpf) -> Option<Self> {
        let count = Arc::default();
        let counted = Counted(Arc::clone(&count));
        match EbpfLogger::init_with_logger(ebpf, counted) {
            Ok(reader) => Some(Self { reader, count }),
            Err(aya_log::Error::MapNotFound) => None,
            Err(error) => {
                log::warn!("cannot read what the kernel half warns of: {error}");
                None
            }
        }
    }

    /// Logs the messages written since the last call. Without any, this is one load from memory.
    pub(super) fn flush(&mut self) {
        self.reader.flush();
    }

    /// Messages so far.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Passes messages on to the program's logger, and counts them, shown or not.
struct Counted(Arc<AtomicU64>);

impl Log for Counted {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        log::logger().log(record);
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_counts_where_nobody_shows_it() {
        let count = Arc::default();
        let counted = Counted(Arc::clone(&count));
        counted.log(
            &Record::builder()
                .args(format_args!("a fork was lost"))
                .build(),
        );
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn warnings_are_written_whatever_is_shown() {
        assert!(level() >= log::Level::Warn as u8);
    }
}
