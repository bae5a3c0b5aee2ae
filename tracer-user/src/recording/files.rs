//! What is in the files of a recording: the one that the user named, and, once that is full, the one before it.
//!
//! When the named file has half of the size that a recording may have, the next one of the [`series`](crate::new_file::series) begins, with
//! the facts that stand. So the newest half at least is always there, each file can be read alone, and both together read as one. If no
//! next one can be created, the recording ends there: its file has no end, so it reads as cut off.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::BufMut as _;

use super::{
    CONTINUES, END, EVENTS, HEADER, MAGIC, PACKED, STANDING, VERSION,
    packed::Packer,
    writer::{Batch, chunk},
};
use crate::{
    machine::capability::{self, Capability},
    new_file::{
        Name,
        series::{Open, Opened},
    },
};

/// How much was written; shared with whoever asks for the next file.
#[derive(Debug, Default)]
pub(super) struct Size {
    /// Bytes in the current file.
    pub(super) written: AtomicU64,
    /// From so many bytes on the file is full.
    pub(super) most: AtomicU64,
    /// How often a next file was begun.
    pub(super) turned: AtomicU64,
}

/// The files, as they are written.
pub(super) struct Files {
    open: Open,
    file: Box<dyn Write + Send>,
    /// The name of the first file.
    name: Name,
    has_name: bool,
    number: u16,
    written: u64,
    size: Arc<Size>,
    packer: Packer,
}

impl Files {
    /// Begins the first file.
    pub(super) fn begin(mut open: Open, size: Arc<Size>) -> io::Result<Self> {
        let Opened { file, name, most } = open()?;
        size.most.store(most, Relaxed);
        let mut files = Self {
            open,
            file,
            name,
            has_name: false,
            number: 0,
            written: 0,
            size,
            packer: Packer::new(),
        };
        files.write(&header(0))?;
        Ok(files)
    }

    /// Gives the first file its name. From then on this thread has no more capabilities than the next file needs.
    pub(super) fn take_name(&mut self) -> io::Result<()> {
        if mem::replace(&mut self.has_name, true) {
            return Ok(());
        }
        let mut needed = self.name.needs();
        // What is allocated is locked, and where little may be locked, only this capability allows it.
        needed.push(Capability::IpcLock);
        self.name.take()?;
        // If the kernel refuses, it has more than it needs.
        let _ = capability::keep_only(&needed);
        Ok(())
    }

    /// Writes a batch.
    pub(super) fn events(&mut self, batch: &Batch) -> io::Result<()> {
        let list = batch.list();
        match self.packer.pack(&list) {
            Some(packed) => self.write(&chunk(PACKED, &packed)),
            None => self.write(&chunk(EVENTS, &list)),
        }
    }

    /// Begins the next file with the facts that stand. The one before ends once the next one has its name: until then it is cut off.
    pub(super) fn turn(&mut self, standing: &[Batch]) -> io::Result<()> {
        self.take_name()?;
        let end = chunk(END, &[]);
        let length = self.written + end.len() as u64;
        let next = (self.open)()?;
        let mut name = next.name;
        let mut before = mem::replace(&mut self.file, next.file);
        self.number = self.number % u16::MAX + 1;
        self.written = 0;
        self.write(&header(self.number))?;
        self.write(&chunk(CONTINUES, &length.to_le_bytes()))?;
        for batch in standing {
            self.facts(batch)?;
        }
        name.take()?;
        before.write_all(&end)?;
        before.flush()?;
        self.size.most.store(next.most, Relaxed);
        self.size.turned.fetch_add(1, Relaxed);
        Ok(())
    }

    fn facts(&mut self, batch: &Batch) -> io::Result<()> {
        let list = batch.list();
        // The kind says whether a list is compressed: that of facts has one kind, and a byte for it.
        let packed = self.packer.pack(&list);
        let mut payload = vec![u8::from(packed.is_some())];
        payload.put_slice(&packed.unwrap_or(list));
        self.write(&chunk(STANDING, &payload))
    }

    /// The file is whole, and has its name.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.write(&chunk(END, &[]))?;
        self.take_name()?;
        self.flush()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        self.size.written.store(self.written, Relaxed);
        Ok(())
    }
}

/// The header of a file.
fn header(number: u16) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER);
    header.put_slice(MAGIC);
    header.put_u16_le(VERSION);
    header.put_u16_le(number);
    header
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        fs::{self, Metadata},
        os::unix::fs::PermissionsExt as _,
        path::{Path, PathBuf},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::{
        new_file::series::{at, before},
        recording::{Reader, Writer},
    };

    /// An empty folder for a test.
    fn folder(test: &str) -> PathBuf {
        let path = env::temp_dir().join(format!("tracer-files-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        path
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    /// Numbers in files of about so many bytes in all. Each next one begins with the last number before it.
    fn in_files(path: &Path, max_size: u64, numbers: u64) {
        let mut writer = Writer::create(path, Some(max_size)).unwrap();
        for number in 0..numbers {
            writer.push(&vec![number; 20]);
            if number % 100 == 99 {
                writer.flush();
                // The disk may take it.
                thread::sleep(Duration::from_millis(1));
            }
            if writer.is_full() {
                writer.turn(&[vec![number, u64::MAX]]);
            }
        }
        assert_eq!(writer.finish().unwrap().dropped, 0);
    }

    #[test]
    fn the_newest_files_are_kept_and_read_as_one_or_alone() {
        let folder = folder("ring");
        let path = folder.join("a.rec");
        in_files(&path, 20_000, 40_000);
        let before = before(&path);
        let found = [&path, &before].map(|path| fs::metadata(path).unwrap());
        let sizes = found.each_ref().map(Metadata::len);
        assert!(sizes.iter().sum::<u64>() < 30_000, "{sizes:?}");
        let modes = found.map(|found| found.permissions().mode() & 0o7777);
        assert_eq!(modes, [0o600, 0o600]);
        let read = |path: &Path| -> Vec<Vec<u64>> {
            let events = Reader::open(path).unwrap();
            events.collect::<anyhow::Result<_>>().unwrap()
        };
        let both = read(&path);
        // The first has the facts as it begins; then all numbers to the last.
        let [first, fact] = both[0][..] else {
            unreachable!("facts come first");
        };
        assert!(first > 0 && fact == u64::MAX);
        let numbers = both[1..].iter().map(|event| event[0]);
        assert!(numbers.eq(first + 1..40_000));
        fs::remove_file(&before).unwrap();
        let newest = read(&path);
        assert!(newest.len() < both.len() && newest[0][1] == u64::MAX);
        assert!(both.ends_with(&newest[1..]));
        // Another file with that name is none of it.
        fs::write(&before, b"TRACEREC").unwrap();
        assert_eq!(read(&path), newest);
        fs::remove_dir_all(&folder).unwrap();
    }

    /// Begins the files of a recording in a thread of its own, which gives up capabilities.
    fn with_files(path: &Path, then: impl FnOnce(Files) + Send) {
        let begin = || Files::begin(at(path, None), Arc::default()).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut files = begin();
                files.take_name().unwrap();
                then(files);
            });
        });
    }

    #[test]
    fn a_file_that_was_moved_away_stays_there_and_one_of_somebody_else_is_not_replaced() {
        let folder = folder("moved");
        let (path, away) = (folder.join("a.rec"), folder.join("b.rec"));
        with_files(&path, |mut files| {
            fs::rename(&path, &away).unwrap();
            files.turn(&[]).unwrap();
            let moved: anyhow::Result<Vec<u64>> = Reader::open(&away).unwrap().collect();
            assert!(moved.unwrap().is_empty(), "it has its end");
            assert_eq!(names(&folder), ["a.rec", "b.rec"]);
            fs::remove_file(&path).unwrap();
            fs::write(&path, "another").unwrap();
            let error = files.turn(&[]).unwrap_err();
            assert!(error.to_string().contains("another file"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), b"another");
            assert_eq!(names(&folder), ["a.rec", "b.rec"]);
        });
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_next_file_lies_where_the_first_one_does_whatever_has_the_path_of_its_folder() {
        let (folder, moved) = (folder("place"), folder("place-moved"));
        with_files(&folder.join("a.rec"), |mut files| {
            fs::rename(&folder, moved.join("there")).unwrap();
            fs::create_dir(&folder).unwrap();
            files.turn(&[]).unwrap();
            files.end().unwrap();
        });
        assert!(names(&folder).is_empty());
        assert_eq!(names(&moved.join("there")), ["a.rec", "a.rec.old"]);
        fs::remove_dir_all(&folder).unwrap();
        fs::remove_dir_all(&moved).unwrap();
    }
}
