//! Writes a recording without ever making the tracing loop wait for the disk.

use std::{
    io,
    marker::PhantomData,
    mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::BufMut as _;
use serde::Serialize;

use super::{
    CHUNK_HEADER, LONGEST_PAYLOAD,
    files::{Files, Size},
};
use crate::new_file::series::{self, Open};

/// A batch is sent to the disk when it has this many bytes.
const BATCH: usize = 64 << 10;

/// Batches that may wait for the disk: 16 MiB.
pub(super) const WAITING: usize = (16 << 20) / BATCH;

/// The end of a recording may wait this long for the disk. At 2 MB/s all waiting batches are written by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// The begin of a recording may wait this long for a busy disk to create the file. The error of a mistyped path comes sooner.
const OPENING: Duration = Duration::from_millis(300);

/// Pause between two looks whether the disk is done.
const LOOK: Duration = Duration::from_millis(5);

/// The longest count in front of a list, bytes: a varint of 64 bits.
const LONGEST_COUNT: usize = 10;

/// The longest event that still fits in a chunk behind a batch that is not yet sent, bytes.
const LONGEST_EVENT: usize = LONGEST_PAYLOAD - LONGEST_COUNT - BATCH;

/// Counts of the events pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events written. Those of files before the last two are gone by now.
    pub events: u64,
    /// Events left out: the disk was too slow, or failed.
    pub dropped: u64,
}

/// Events encoded one after the other, on their way to the disk.
#[derive(Default)]
pub(super) struct Batch {
    encoded: Vec<u8>,
    events: u64,
}

impl Batch {
    /// Adds an event; false if it cannot be encoded, or is too long for any reader.
    fn add<T: Serialize>(&mut self, event: &T) -> bool {
        let begin = self.encoded.len();
        let is_encoded = postcard::to_io(event, &mut self.encoded).is_ok();
        let fits = is_encoded && self.encoded.len() - begin <= LONGEST_EVENT;
        match fits {
            true => self.events += 1,
            false => self.encoded.truncate(begin),
        }
        fits
    }

    /// As `postcard` writes a list: the count, then the elements.
    pub(super) fn list(&self) -> Vec<u8> {
        let mut list = Vec::with_capacity(LONGEST_COUNT + self.encoded.len());
        let mut count = self.events;
        while count >= 0x80 {
            list.put_u8(count as u8 | 0x80);
            count >>= 7;
        }
        list.put_u8(count as u8);
        list.put_slice(&self.encoded);
        list
    }
}

/// What the disk thread is to do.
enum Task {
    /// Give the file its name.
    Name,
    /// Write these events.
    Write(Batch),
    /// Begin the next file with these facts.
    Turn(Vec<Batch>),
}

/// The result of the disk thread.
struct Disk {
    /// Events in the file.
    events: u64,
    /// Why it ended early, if it did.
    result: io::Result<()>,
}

/// A recording being written. One that is dropped instead of finished has no end, and reads as cut off.
///
/// Until [`Writer::take_name`] its file lies beside, and an older recording of that name stays. From then on it has its name, so that of
/// a tracer that is killed the part that was written is found where it was asked for.
pub struct Writer<T> {
    batch: Batch,
    pushed: u64,
    dropped: u64,
    tasks: SyncSender<Task>,
    size: Arc<Size>,
    /// How often a next file was asked for.
    turned: u64,
    thread: JoinHandle<Disk>,
    /// Set before the last batch is out: the disk thread then writes the end too.
    is_finished: Arc<AtomicBool>,
    events: PhantomData<fn(&T)>,
}

impl<T: Serialize> Writer<T> {
    /// Begins a recording of at most so many bytes in all, or else of as many as is usual. One that may be there keeps its name for now.
    ///
    /// # Errors
    /// If the file cannot be created, or its header cannot be written. If a stalled disk has not reported that yet,
    /// [`Writer::finish`] does.
    pub fn create(path: &Path, max_size: Option<u64>) -> Result<Self> {
        Self::begin(series::at(path, max_size))
            .with_context(|| format!("create the recording {}", path.display()))
    }

    /// Begins a recording in an empty file.
    #[cfg(test)]
    pub(super) fn to(file: Box<dyn io::Write + Send>) -> Result<Self> {
        let mut file = Some(file);
        Self::begin(Box::new(move || -> io::Result<series::Opened> {
            Ok(series::Opened {
                file: file.take().ok_or(io::ErrorKind::Other)?,
                name: crate::new_file::Name::default(),
                most: u64::MAX,
            })
        }))
    }

    /// Begins a recording in a file that the disk thread opens. So a disk that is stalled already does not delay the tracing.
    fn begin(open: Open) -> Result<Self> {
        let (tasks, receiver) = sync_channel(WAITING);
        let size = Arc::new(Size::default());
        let shared = Arc::clone(&size);
        let (opened, is_open) = sync_channel(1);
        let is_finished = Arc::new(AtomicBool::new(false));
        let finished = Arc::clone(&is_finished);
        let write = move || {
            let files = match Files::begin(open, shared) {
                Ok(files) => files,
                Err(error) => {
                    // If it took too long, the receiver is gone: then `finish` reports the error.
                    let _ = opened.send(Err(io::Error::new(error.kind(), error.to_string())));
                    return Disk {
                        events: 0,
                        result: Err(error),
                    };
                }
            };
            let _ = opened.send(Ok(()));
            work(files, &receiver, &finished)
        };
        let thread = thread::Builder::new()
            .name("recording".into())
            .spawn(write)?;
        if let Ok(opened) = is_open.recv_timeout(OPENING) {
            opened?;
        }
        Ok(Self {
            batch: Batch::default(),
            pushed: 0,
            dropped: 0,
            tasks,
            size,
            turned: 0,
            thread,
            is_finished,
            events: PhantomData,
        })
    }

    /// Gives the file its name, in place of an older recording; never waits. [`Writer::finish`] does so at the latest.
    pub fn take_name(&mut self) {
        // A disk thread that has failed reports that at the end.
        let _ = self.tasks.try_send(Task::Name);
    }

    /// Gives the recording up, before it has taken its name: nothing of it is left, unless the disk is stalled.
    pub fn give_up(self) {
        let Self { tasks, thread, .. } = self;
        drop(tasks);
        let deadline = Instant::now() + OPENING;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
    }

    /// Adds an event; never waits. An event that cannot be written counts as dropped.
    pub fn push(&mut self, event: &T) {
        // Before the push, not after it. So the very last event is still here when `finish` may wait for the disk.
        if self.batch.encoded.len() >= BATCH {
            self.flush();
        }
        self.pushed += 1;
        self.dropped += u64::from(!self.batch.add(event));
    }

    /// Sends the events pushed so far to the disk; never waits.
    pub fn flush(&mut self) {
        let batch = mem::take(&mut self.batch);
        let events = batch.events;
        // Full (the disk is too slow) or closed (it failed): lost all the same.
        if events > 0 && self.tasks.try_send(Task::Write(batch)).is_err() {
            self.dropped += events;
        }
    }

    /// Is the file full? Then the next one is to begin, with [`Writer::turn`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Size {
            written,
            most,
            turned,
        } = &*self.size;
        // While the disk is at it, the file before is still full; and after an error there is no next one.
        self.turned == turned.load(Ordering::Relaxed)
            && !self.thread.is_finished()
            && written.load(Ordering::Relaxed) >= most.load(Ordering::Relaxed)
    }

    /// Begins the next file: after the events pushed so far, and with these facts, which are from the events before. Never waits: if the
    /// disk is too slow, the file stays full.
    pub fn turn(&mut self, standing: &[T]) {
        self.flush();
        let mut batches = vec![Batch::default()];
        for fact in standing {
            if let Some(last) = batches.last_mut() {
                last.add(fact);
                if last.encoded.len() >= BATCH {
                    batches.push(Batch::default());
                }
            }
        }
        if self.tasks.try_send(Task::Turn(batches)).is_ok() {
            self.turned += 1;
        }
    }

    /// Has the disk thread ended already? Then the file could not be written (a full disk), and nothing more is.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// The events that wait to be sent to the disk together. One that was pushed last, and is alone, was preceded by a [`Writer::flush`].
    #[must_use]
    pub fn unsent(&self) -> u64 {
        self.batch.events
    }

    /// Events known to be dropped so far. To have the number in the last event: [`Writer::flush`], ask, push that event, finish.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Waits until everything is on its way to the file, but not for ever, and closes it.
    ///
    /// # Errors
    /// If the file could not be written (a full or a stalled disk). Then it has the events written before, and reads as cut off.
    pub fn finish(self) -> Result<Written> {
        self.finish_within(PATIENCE)
    }

    /// [`Writer::finish`] with another patience.
    pub(super) fn finish_within(self, patience: Duration) -> Result<Written> {
        let deadline = Instant::now() + patience;
        let Self {
            batch,
            pushed,
            tasks,
            thread,
            is_finished,
            ..
        } = self;
        // The window is over: the disk may take its time. A thread that has failed reports it below.
        let mut last = (batch.events > 0).then_some(Task::Write(batch));
        while let Some(task) = last.take() {
            match tasks.try_send(task) {
                Err(TrySendError::Full(unsent)) if Instant::now() < deadline => last = Some(unsent),
                _ => break,
            }
            thread::sleep(LOOK);
        }
        is_finished.store(true, Ordering::Release);
        drop(tasks);
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                bail!(
                    "the disk has not taken it within {} s: it is cut off",
                    patience.as_secs_f64()
                );
            }
            thread::sleep(LOOK);
        }
        let disk = thread
            .join()
            .map_err(|_| anyhow!("the thread that writes the recording panicked"))?;
        let written = Written {
            events: disk.events,
            dropped: pushed - disk.events,
        };
        disk.result.with_context(|| {
            format!(
                "write the recording: it has {} events, {} are left out",
                written.events, written.dropped
            )
        })?;
        Ok(written)
    }
}

/// The disk thread: ends when the writer is finished or dropped, or with the first error.
fn work(mut files: Files, tasks: &Receiver<Task>, is_finished: &AtomicBool) -> Disk {
    let mut events = 0;
    let mut write = || -> io::Result<()> {
        for task in tasks {
            match task {
                Task::Name => files.take_name()?,
                Task::Write(batch) => {
                    files.events(&batch)?;
                    events += batch.events;
                }
                Task::Turn(standing) => files.turn(&standing)?,
            }
        }
        match is_finished.load(Ordering::Acquire) {
            true => files.end(),
            false => files.flush(),
        }
    };
    let result = write();
    Disk { events, result }
}

/// A chunk with its header.
pub(super) fn chunk(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::with_capacity(CHUNK_HEADER + payload.len());
    chunk.put_u8(kind);
    // A batch is shorter than LONGEST_PAYLOAD, which fits.
    chunk.put_u32_le(payload.len() as u32);
    chunk.put_u32_le(crc32fast::hash(payload));
    chunk.put_slice(payload);
    chunk
}
