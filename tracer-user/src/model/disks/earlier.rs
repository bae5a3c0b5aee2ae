//! The files of which pages were written back that were dirty before the trace. Nobody knows who dirtied them, but the files are known.

use super::Disks;
use crate::{event, model::names::Names};

/// What was written back of such pages to one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Bytes in requests that were recorded.
    pub recorded_bytes: u64,
    /// Bytes of files that are known, and of the disk itself.
    pub known_bytes: u64,
    /// Files that are known.
    pub files: u64,
    /// The one of them with the most bytes.
    pub largest: Option<OldFile>,
}

/// A file with pages that were dirty before the trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OldFile {
    /// Its first name, without folders; empty if it is not known. Text from outside is not escaped in it.
    pub name: String,
    /// Number of its inode.
    pub inode: u64,
    /// Bytes of such pages that were written back.
    pub bytes: u64,
    /// Somebody had it open for writing when the last of them was queued.
    pub open: bool,
    /// The one process that had it open for writing at the end: its id and name.
    pub writer: Option<(u32, String)>,
}

impl Earlier {
    /// A request was recorded.
    pub(super) fn wrote(&mut self, bytes: u32) {
        self.recorded_bytes = self.recorded_bytes.saturating_add(bytes.into());
    }

    fn found(&mut self, file: &event::EarlierFile) {
        self.known_bytes = self.known_bytes.saturating_add(file.bytes);
        if file.is_disk {
            return;
        }
        self.files += 1;
        let largest = self.largest.as_ref();
        if largest.is_some_and(|known| known.bytes >= file.bytes) {
            return;
        }
        self.largest = Some(OldFile {
            name: file.name.clone(),
            inode: file.inode,
            bytes: file.bytes,
            open: file.open,
            writer: file.writer.clone(),
        });
    }

    /// Bytes in all. The kernel half may have forgotten files, and there are records of requests only while the target may wait there.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.recorded_bytes.max(self.known_bytes)
    }

    /// The file with at least half of all bytes.
    #[must_use]
    pub fn main_file(&self) -> Option<&OldFile> {
        let half = self.bytes().div_ceil(2);
        self.largest.as_ref().filter(|file| file.bytes >= half)
    }
}

impl Disks {
    /// A file of which pages were written back that were dirty before the trace.
    pub(in crate::model) fn earlier_file(&mut self, names: &mut Names, file: &event::EarlierFile) {
        let place = self.disk(names, file.dev).place;
        self.earlier.entry(place).or_default().found(file);
    }
}
