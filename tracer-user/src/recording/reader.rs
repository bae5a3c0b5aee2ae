//! Reads a recording that may come from anywhere: cut off, damaged, or made to harm.

use std::{
    fs::{self, File, Metadata},
    io::{BufReader, Read},
    marker::PhantomData,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Buf as _;
use serde::de::DeserializeOwned;

use super::{
    CHUNK_HEADER, CONTINUES, END, EVENTS, HEADER, LONGEST_PAYLOAD, MAGIC, OLDEST, PACKED, STANDING,
    VERSION, packed::unpack,
};
use crate::new_file::series::before;

/// The events of a recording, in the order in which they were pushed. Input that is cut off or corrupt gives everything before the damage,
/// then one error, then nothing more.
///
/// Events are decoded one by one: in memory one can be a hundred times as long as in the file, so a chunk of small ones would take
/// gigabytes.
pub struct Reader<T> {
    file: Box<dyn Read + Send>,
    /// Bytes read so far.
    offset: u64,
    payload: Payload,
    ended: bool,
    /// Number of the file.
    number: u16,
    /// Length of the file before, bytes; `None` in the first.
    continues: Option<u64>,
    /// Was the file before read? Then the facts that stand are known.
    is_known: bool,
    /// The file that comes next.
    next: Option<Box<Self>>,
    events: PhantomData<fn() -> T>,
}

/// What is left of a chunk of events.
#[derive(Default)]
struct Payload {
    encoded: Vec<u8>,
    /// Where the next event begins in it.
    at: usize,
    /// Events that are left in it.
    left: u64,
    /// Begin of its chunk in the file, bytes.
    offset: u64,
}

/// The head of a chunk.
struct Chunk {
    kind: u8,
    /// Of the payload, bytes.
    length: usize,
    checksum: u32,
    /// Its begin in the file, bytes.
    offset: u64,
}

impl<T: DeserializeOwned> Reader<T> {
    /// Opens a recording.
    ///
    /// # Errors
    /// If the file cannot be read, is no recording, or has a version that this tracer does not know.
    pub fn open(path: &Path) -> Result<Self> {
        let file =
            File::open(path).with_context(|| format!("open the recording {}", path.display()))?;
        let newest = Self::new(Box::new(BufReader::new(file)))
            .with_context(|| format!("read {}", path.display()))?;
        Ok(match newest.before(path) {
            Some(before) => Self {
                next: Some(Box::new(Self {
                    is_known: true,
                    ..newest
                })),
                ..before
            },
            None => newest,
        })
    }

    /// The file before, if it is there: without it, this one is read alone.
    fn before(&self, path: &Path) -> Option<Self> {
        let (length, path) = (self.continues?, before(path));
        let is_it = |found: &Metadata| found.is_file() && found.len() == length;
        // Whoever opens a pipe may wait for ever.
        let file = fs::metadata(&path).ok().filter(is_it);
        let file = file.and_then(|_| File::open(&path).ok())?;
        if !is_it(&file.metadata().ok()?) {
            return None;
        }
        let before = Self::new(Box::new(BufReader::new(file))).ok()?;
        let follows = before.number % u16::MAX + 1 == self.number;
        follows.then_some(before)
    }

    /// Checks the header.
    pub(super) fn new(file: Box<dyn Read + Send>) -> Result<Self> {
        let mut reader = Self {
            file,
            offset: 0,
            payload: Payload::default(),
            ended: false,
            number: 0,
            continues: None,
            is_known: false,
            next: None,
            events: PhantomData,
        };
        let header = reader.up_to(HEADER)?;
        let magic = &header[..header.len().min(MAGIC.len())];
        ensure!(
            !magic.is_empty() && MAGIC.starts_with(magic),
            "not a recording of tracer"
        );
        ensure!(
            header.len() == HEADER,
            reader.cut("its header is incomplete")
        );
        let mut numbers = &header[MAGIC.len()..];
        let version = numbers.get_u16_le();
        ensure!(
            (OLDEST..=VERSION).contains(&version),
            "the recording has version {version}, this tracer reads version {VERSION}: use the tracer that made it"
        );
        reader.number = numbers.get_u16_le();
        ensure!(
            reader.number == 0 || version > 1,
            "recording is corrupt at byte {}: unknown flags",
            HEADER - 2
        );
        if reader.number > 0 {
            let (chunk, payload) = reader.whole_chunk()?;
            let length = <[u8; 8]>::try_from(payload.as_slice());
            match (chunk.kind, length) {
                (CONTINUES, Ok(length)) => reader.continues = Some(u64::from_le_bytes(length)),
                _ => bail!(corrupt(chunk.offset, "it does not say what it continues")),
            }
        }
        Ok(reader)
    }

    /// Up to `length` bytes; fewer only at the end of the file. The buffer grows with the bytes found, not with the length
    /// announced.
    fn up_to(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let result = self
            .file
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        result.with_context(|| format!("read the recording at byte {}", self.offset))?;
        Ok(bytes)
    }

    /// The error for a file that ends too early.
    fn cut(&self, what: &str) -> anyhow::Error {
        anyhow!("recording is cut off at byte {}: {what}", self.offset)
    }

    /// The next chunk, with its payload, as it was written.
    fn whole_chunk(&mut self) -> Result<(Chunk, Vec<u8>)> {
        let chunk = self.chunk()?;
        let payload = self.up_to(chunk.length)?;
        if payload.len() < chunk.length {
            let missing = chunk.length - payload.len();
            return Err(self.cut(&format!(
                "the chunk that begins at byte {} lacks {missing} bytes",
                chunk.offset
            )));
        }
        ensure!(
            crc32fast::hash(&payload) == chunk.checksum,
            corrupt(chunk.offset, "the checksum does not match")
        );
        Ok((chunk, payload))
    }

    /// Reads the next chunk; false at the end. One of facts that are known has no events.
    fn next_chunk(&mut self) -> Result<bool> {
        ensure!(
            self.payload.at == self.payload.encoded.len(),
            corrupt(self.payload.offset, "a chunk has more than its events")
        );
        let (chunk, payload) = self.whole_chunk()?;
        let wrong = |what: &str| corrupt(chunk.offset, what);
        let unpacked = |packed: &[u8]| unpack(packed).map_err(|e| wrong(&format!("{e:#}")));
        let encoded = match (chunk.kind, payload.first().copied()) {
            (END, _) => {
                ensure!(
                    self.up_to(1)?.is_empty(),
                    wrong("something follows the end")
                );
                return Ok(false);
            }
            (CONTINUES, _) => bail!(wrong("it continues another in the middle")),
            (STANDING, _) if self.is_known => return Ok(true),
            (STANDING, Some(0)) => payload[1..].to_vec(),
            (STANDING, Some(1)) => unpacked(&payload[1..])?,
            (STANDING, _) => bail!(wrong("facts of an unknown kind")),
            (PACKED, _) => unpacked(&payload)?,
            _ => payload,
        };
        self.payload = Payload {
            encoded,
            offset: chunk.offset,
            ..Payload::default()
        };
        // A list is its count, then its items.
        self.payload.left = self.payload.decode()?;
        Ok(true)
    }

    /// The head of the next chunk. It is checked as far as possible before the payload is read.
    fn chunk(&mut self) -> Result<Chunk> {
        let offset = self.offset;
        let head = self.up_to(CHUNK_HEADER)?;
        ensure!(!head.is_empty(), self.cut("its end is missing"));
        ensure!(
            head.len() == CHUNK_HEADER,
            self.cut("the head of a chunk is incomplete")
        );
        let mut head = head.as_slice();
        let (kind, length, checksum) =
            (head.get_u8(), head.get_u32_le() as usize, head.get_u32_le());
        let corrupt = |what: &str| corrupt(offset, what);
        ensure!(
            matches!(kind, EVENTS | END | PACKED | CONTINUES | STANDING),
            corrupt(&format!("unknown kind of chunk {kind}"))
        );
        ensure!(
            length <= LONGEST_PAYLOAD,
            corrupt(&format!("a chunk claims to have {length} bytes"))
        );
        ensure!(kind != END || length == 0, corrupt("an end with a payload"));
        Ok(Chunk {
            kind,
            length,
            checksum,
            offset,
        })
    }
}

impl Payload {
    /// What is encoded next.
    fn decode<T: DeserializeOwned>(&mut self) -> Result<T> {
        match postcard::take_from_bytes(&self.encoded[self.at..]) {
            Ok((decoded, rest)) => {
                self.at = self.encoded.len() - rest.len();
                Ok(decoded)
            }
            Err(error) => Err(corrupt(
                self.offset,
                &format!("a chunk cannot be decoded ({error})"),
            )),
        }
    }
}

/// The error for a chunk that begins at this byte.
fn corrupt(offset: u64, what: &str) -> anyhow::Error {
    anyhow!("recording is corrupt at byte {offset}: {what}")
}

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some(left) = self.payload.left.checked_sub(1) {
                self.payload.left = left;
                let event = self.payload.decode();
                self.ended = event.is_err();
                return Some(event);
            }
            match self.next_chunk() {
                Ok(true) => {}
                Ok(false) => match self.next.take() {
                    Some(next) => *self = *next,
                    None => self.ended = true,
                },
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
