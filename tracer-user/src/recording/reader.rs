//! Reads a recording that may come from anywhere: cut off, damaged, or made to harm.

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
    vec,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use bytes::Buf as _;
use serde::de::DeserializeOwned;

use super::{CHUNK_HEADER, END, EVENTS, HEADER, LONGEST_PAYLOAD, MAGIC, VERSION};

/// The events of a recording, in the order in which they were pushed. Input that is cut off or corrupt gives everything before the damage,
/// then one error, then nothing more.
pub struct Reader<T> {
    file: Box<dyn Read + Send>,
    /// Bytes read so far.
    offset: u64,
    batch: vec::IntoIter<T>,
    ended: bool,
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
        Self::new(Box::new(BufReader::new(file)))
            .with_context(|| format!("read {}", path.display()))
    }

    /// Checks the header.
    pub(super) fn new(file: Box<dyn Read + Send>) -> Result<Self> {
        let mut reader = Self {
            file,
            offset: 0,
            batch: Vec::new().into_iter(),
            ended: false,
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
            version == VERSION,
            "the recording has version {version}, this tracer reads version {VERSION}: use the tracer that made it"
        );
        ensure!(
            numbers.get_u16_le() == 0,
            "recording is corrupt at byte {}: unknown flags",
            HEADER - 2
        );
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

    /// The events of the next chunk; `None` at the end.
    fn next_batch(&mut self) -> Result<Option<Vec<T>>> {
        let chunk = self.chunk()?;
        let payload = self.up_to(chunk.length)?;
        if payload.len() < chunk.length {
            let missing = chunk.length - payload.len();
            return Err(self.cut(&format!(
                "the chunk that begins at byte {} lacks {missing} bytes",
                chunk.offset
            )));
        }
        let corrupt = |what: &str| anyhow!("recording is corrupt at byte {}: {what}", chunk.offset);
        ensure!(
            crc32fast::hash(&payload) == chunk.checksum,
            corrupt("the checksum does not match")
        );
        if chunk.kind == END {
            ensure!(
                self.up_to(1)?.is_empty(),
                corrupt("something follows the end")
            );
            return Ok(None);
        }
        match postcard::take_from_bytes(&payload) {
            Ok((events, [])) => Ok(Some(events)),
            Ok(_) => bail!(corrupt("a chunk has more than its events")),
            Err(error) => bail!(corrupt(&format!("a chunk cannot be decoded ({error})"))),
        }
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
        let corrupt = |what: &str| anyhow!("recording is corrupt at byte {offset}: {what}");
        ensure!(
            matches!(kind, EVENTS | END),
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

impl<T: DeserializeOwned> Iterator for Reader<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.batch.next() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            match self.next_batch() {
                Ok(Some(events)) => self.batch = events.into_iter(),
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
