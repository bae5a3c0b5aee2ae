//! A backup that gets in the way: it reads a disk, fills a link, or keeps a CPU busy.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};

use super::drop_pages;

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// No disk of today has larger blocks.
const BLOCK_BYTES: usize = 4096;

/// The backup's work, again and again until it is ended.
#[derive(clap::Subcommand)]
pub enum Task {
    /// Read a directory's files, past the page cache's benefit, and throw the bytes away
    Read {
        /// Directory to back up
        #[arg(long)]
        files: PathBuf,
        /// Files read at the same time
        #[arg(long, default_value_t = 4)]
        parallel: usize,
    },
    /// Read a directory's files around the page cache (O_DIRECT), each thread with one request at a time
    ReadDirect {
        /// Directory to back up
        #[arg(long)]
        files: PathBuf,
        /// Files read at the same time
        #[arg(long, default_value_t = 4)]
        parallel: usize,
        /// Bytes of a request, a multiple of 4096
        #[arg(long, default_value_t = 128 * 1024)]
        request_bytes: usize,
        /// Milliseconds to pause after each request
        #[arg(long, default_value_t = 0)]
        pause_ms: u64,
    },
    /// Send a directory's files over TCP
    Send {
        /// Directory to back up
        #[arg(long)]
        files: PathBuf,
        /// Address of the sink
        #[arg(long)]
        to: SocketAddr,
        /// Streams at the same time
        #[arg(long, default_value_t = 4)]
        parallel: usize,
    },
    /// Compress a directory's files and throw the result away
    Compress {
        /// Directory to back up
        #[arg(long)]
        files: PathBuf,
        /// Files compressed at the same time
        #[arg(long, default_value_t = 4)]
        parallel: usize,
    },
}

/// Works until the process is ended, or until something goes wrong.
pub fn run(task: &Task) -> Result<()> {
    match task {
        Task::Read { files, parallel } => {
            in_parallel(files, *parallel, |file| read_cold(file, &mut io::sink()))
        }
        Task::ReadDirect {
            files,
            parallel,
            request_bytes,
            pause_ms,
        } => {
            let pause = Duration::from_millis(*pause_ms);
            open_in_parallel(files, *parallel, open_direct, |file| {
                read_direct(file, *request_bytes, pause)
            })
        }
        Task::Compress { files, parallel } => in_parallel(files, *parallel, compress),
        Task::Send {
            files,
            to,
            parallel,
        } => {
            let connect = || {
                TcpStream::connect(to).with_context(|| format!("could not reach the sink at {to}"))
            };
            in_parallel(files, *parallel, |file| read_into(file, &mut connect()?))
        }
    }
}

/// Takes what senders send and throws it away.
pub fn sink(listen: SocketAddr) -> Result<()> {
    let listener =
        TcpListener::bind(listen).with_context(|| format!("could not listen on {listen}"))?;
    for stream in listener.incoming() {
        let mut stream = stream.context("could not accept a stream")?;
        thread::spawn(move || io::copy(&mut stream, &mut io::sink()));
    }
    Ok(())
}

/// Thread k of n does `work` on every file with a number that is k modulo n, for ever.
fn in_parallel(
    dir: &Path,
    parallel: usize,
    work: impl Fn(File) -> Result<()> + Sync,
) -> Result<()> {
    open_in_parallel(dir, parallel, |path| File::open(path), work)
}

fn open_in_parallel(
    dir: &Path,
    parallel: usize,
    open: impl Fn(&Path) -> io::Result<File> + Sync,
    work: impl Fn(File) -> Result<()> + Sync,
) -> Result<()> {
    let files = files_below(dir)?;
    ensure!(
        (1..=files.len()).contains(&parallel),
        "{} files are too few for {parallel} threads",
        files.len()
    );
    let one = |k: usize| -> Result<()> {
        for path in files.iter().skip(k).step_by(parallel).cycle() {
            let opened =
                open(path).with_context(|| format!("could not open {}", path.display()))?;
            work(opened).with_context(|| format!("could not back up {}", path.display()))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel).map(|k| scope.spawn(move || one(k))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

/// All files below a directory, in an order that is the same each time.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let listing = || format!("could not list {}", dir.display());
        for entry in fs::read_dir(&dir).with_context(listing)? {
            let entry = entry.with_context(listing)?;
            let kind = entry.file_type().with_context(listing)?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads and leaves nothing in the page cache, as backup programs do for the sake of everybody else. Here it keeps the next round
/// from being served from memory.
fn read_cold(file: File, to: &mut impl Write) -> Result<()> {
    let kept = file.try_clone()?;
    drop_pages(&kept);
    read_into(file, to)?;
    drop_pages(&kept);
    Ok(())
}

fn read_into(mut file: File, to: &mut impl Write) -> Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..read])?;
    }
}

fn open_direct(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)
}

/// Reads past the page cache, which asks for buffers that begin where a block could.
fn read_direct(mut file: File, request_bytes: usize, pause: Duration) -> Result<()> {
    let mut room = vec![0; request_bytes + BLOCK_BYTES];
    let begin = room.as_ptr().align_offset(BLOCK_BYTES);
    let chunk = &mut room[begin..begin + request_bytes];
    while file.read(chunk)? > 0 {
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
    Ok(())
}

fn compress(file: File) -> Result<()> {
    let mut packed = GzEncoder::new(io::sink(), Compression::best());
    read_into(file, &mut packed)?;
    packed.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_below_is_found_in_the_same_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        for name in ["b", "d/c", "a"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let names = ["a", "b", "d/c"].map(|name| dir.path().join(name));
        assert_eq!(files_below(dir.path()).unwrap(), names);
    }

    #[test]
    fn more_threads_than_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = in_parallel(dir.path(), 1, |_| Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "0 files are too few for 1 threads");
    }

    #[test]
    fn a_failure_ends_the_backup_with_the_files_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        let error = in_parallel(dir.path(), 1, |_| bail!("broken")).unwrap_err();
        assert!(error.to_string().ends_with("/a"), "{error}");
    }
}
