//! Writes the answer to stdout and to files.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::diagnostics;
use crate::{
    cli::OutputArgs,
    new_file::{self, Name},
    render::{self, text::TextOptions},
    report::{
        Flame, Report,
        diff::{Diff, DiffFlame},
    },
};

/// The begin may wait this long until a file is created. The error of a mistyped path comes sooner; only a stalled disk takes longer, or
/// a pipe that nobody reads.
const OPENING: Duration = Duration::from_millis(300);
/// The end may wait this long until it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// The files that the user named. They are created before there is anything to write into them, so that a mistyped path costs no trace.
pub(crate) struct Files {
    flamegraph: Option<Output>,
    folded: Option<Output>,
}

impl Files {
    /// Creates them. Older files keep their names until these are written.
    ///
    /// # Errors
    /// If one cannot be created.
    pub(crate) fn create(args: &OutputArgs) -> Result<Self> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
        Ok(Self {
            flamegraph: create(&args.flamegraph)?,
            folded: create(&args.folded)?,
        })
    }

    /// Are all of them open?
    pub(crate) fn are_open(&self) -> bool {
        let mut files = self.flamegraph.iter().chain(&self.folded);
        files.all(|output| output.file.is_some())
    }

    /// Is one of them a picture?
    pub(crate) fn have_picture(&self) -> bool {
        self.flamegraph.is_some()
    }

    /// Is one of them, or may it be, in a folder of somebody else?
    pub(crate) fn are_in_foreign_folders(&self) -> bool {
        let mut files = self.flamegraph.iter().chain(&self.folded);
        files.any(|output| match &output.file {
            Some((_, name)) => name.is_in_foreign_folder(),
            None => true,
        })
    }
}

/// A file to be written.
struct Output {
    path: PathBuf,
    file: Option<(File, Name)>,
    /// Where it comes from if it is not there yet.
    created: Receiver<io::Result<(File, Name)>>,
}

impl Output {
    fn create(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        let (sender, created) = channel();
        let owned = path.clone();
        // A thread of its own: if the disk is stalled, it hangs there.
        thread::Builder::new()
            .name("output".into())
            .spawn(move || sender.send(new_file::create(&owned)).ok())
            .context("cannot start a thread")?;
        let file = match created.recv_timeout(OPENING) {
            Ok(file) => Some(file.with_context(|| cannot_write(&path))?),
            Err(_) => None,
        };
        Ok(Self {
            path,
            file,
            created,
        })
    }

    fn write(self, bytes: &[u8]) -> Result<()> {
        let Self {
            path,
            file,
            created,
        } = self;
        let file = match file {
            Some(file) => Ok(file),
            None => match created.recv_timeout(PATIENCE) {
                Ok(created) => created,
                Err(RecvTimeoutError::Timeout) => bail!(
                    "{}: it is not open after {} s: its disk is stalled, or nobody reads the pipe",
                    cannot_write(&path),
                    PATIENCE.as_secs()
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(cannot_write(&path)),
            },
        };
        let write = |(mut file, mut name): (File, Name)| {
            file.write_all(bytes)?;
            name.take()
        };
        file.and_then(write).with_context(|| cannot_write(&path))
    }
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Writes the report to stdout, and the files that the user named.
///
/// # Errors
/// If a file or stdout cannot be written: the first of these errors. The others are shown.
pub(crate) fn write(args: &OutputArgs, files: Files, report: &Report, flame: &Flame) -> Result<()> {
    let text = (args.output.write)(report, &options(args))?;
    let svg = || render::flame::svg(flame);
    write_all(files, &text, svg, || render::flame::folded(flame))
}

/// Writes a diff to stdout, and the files that the user named.
///
/// # Errors
/// If a file or stdout cannot be written: the first of these errors. The others are shown.
pub(crate) fn write_diff(
    args: &OutputArgs,
    files: Files,
    diff: &Diff,
    flame: &DiffFlame,
) -> Result<()> {
    let text = (args.output.write_diff)(diff, &options(args))?;
    let svg = || render::diff_flame::svg(flame);
    write_all(files, &text, svg, || render::diff_flame::folded(flame))
}

fn options(args: &OutputArgs) -> TextOptions {
    text_options(args.top)
}

/// The options of a text on stdout with so many rows in each table.
pub(crate) fn text_options(rows: u16) -> TextOptions {
    TextOptions {
        top: usize::from(rows),
        colour: io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    }
}

/// Each is written whatever becomes of the others: a full disk may cost only what lies on it.
fn write_all(
    files: Files,
    text: &str,
    svg: impl FnOnce() -> Result<Vec<u8>>,
    folded: impl FnOnce() -> String,
) -> Result<()> {
    let reported = stdout(text.as_bytes());
    let drawn = files.flamegraph.map(|file| file.write(&svg()?));
    let folded = files.folded.map(|file| file.write(folded().as_bytes()));
    let written = [Some(reported), drawn, folded].into_iter().flatten();
    let mut errors = written.filter_map(Result::err);
    let first = errors.next();
    errors.for_each(|error| diagnostics::say(&format!("{error:#}")));
    first.map_or(Ok(()), Err)
}

/// Writes to stdout; a reader that went away (`tracer … | head`) is no error.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn stdout(bytes: &[u8]) -> Result<()> {
    to_reader(bytes).map(drop)
}

/// The same. Returns whether there is still a reader.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn to_reader(bytes: &[u8]) -> Result<bool> {
    let mut stdout = io::stdout();
    // What is left in the buffer would be written as the process ends, and its loss would be no error.
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).context("cannot write to stdout"),
    }
}
