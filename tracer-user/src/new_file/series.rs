//! Files of which one after the other has the name that the user gave. The one before becomes `FILE.old`, in place of an earlier one.
//!
//! The next one is created and named as the first one was, although the tracer has given up most of what it may do by then.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    mem,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Name, OPEN_FILES, beside, create, explain, folder_of};

/// The size of all files that are kept if the user names none, bytes; less where that is more than a tenth of the free space.
const USUAL_SIZE: u64 = 1 << 30;
/// The same where there is hardly any space: the facts at attach alone may take a megabyte.
const LEAST_SIZE: u64 = 16 << 20;

/// A new file.
pub(crate) struct Opened {
    pub(crate) file: Box<dyn Write + Send>,
    /// The name that it has yet to take. The file before becomes `FILE.old` then.
    pub(crate) name: Name,
    /// From so many bytes on it is full.
    pub(crate) most: u64,
}

/// Opens the files, one after the other.
pub(crate) type Open = Box<dyn FnMut() -> io::Result<Opened> + Send>;

/// Opens the files of this name, which have at most so many bytes in all.
pub(crate) fn at(path: &Path, max_size: Option<u64>) -> Open {
    let path = path.to_owned();
    let mut last: Option<(Place, Metadata)> = None;
    Box::new(move || -> io::Result<Opened> {
        let (place, (file, name)) = match last.take() {
            None => {
                let place = Place::of(&path)?;
                let first = place.first()?;
                (place, first)
            }
            Some((place, known)) => {
                let next = place.next(&known, &aside(&path))?;
                (place, next)
            }
        };
        let known = file.metadata()?;
        let most = match known.is_file() {
            true => max_size.unwrap_or_else(|| usual_size(&file)) / 2,
            // A pipe has no size.
            false => u64::MAX,
        };
        last = Some((place, known));
        Ok(Opened {
            file: Box::new(file),
            name,
            most,
        })
    })
}

/// The path of the file before.
pub(crate) fn before(path: &Path) -> PathBuf {
    path.with_file_name(aside(path))
}

/// Its name.
fn aside(path: &Path) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".old");
    name
}

fn usual_size(file: &File) -> u64 {
    // SAFETY: all bytes zero are a valid value of this structure of integers.
    let mut known: libc::statvfs = unsafe { mem::zeroed() };
    // SAFETY: an open file, and a valid pointer to write to.
    let asked = unsafe { libc::fstatvfs(file.as_raw_fd(), &raw mut known) };
    match asked {
        0 => (known.f_bavail.saturating_mul(known.f_frsize) / 10).clamp(LEAST_SIZE, USUAL_SIZE),
        _ => USUAL_SIZE,
    }
}

/// Where files of one name are created, one after the other. Its folder is held open: somebody else may own it or one above, and could
/// make its path lead elsewhere while the tracer has capabilities.
struct Place {
    folder: Option<Arc<File>>,
    path: PathBuf,
}

impl Place {
    /// The place of this file.
    fn of(path: &Path) -> io::Result<Self> {
        let Some(name) = path.file_name() else {
            // No file can be created there, and whoever tries is told why.
            let path = path.to_owned();
            return Ok(Self { folder: None, path });
        };
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(folder_of(path))
            .map_err(explain)?;
        let path = Path::new(OPEN_FILES).join(folder.as_raw_fd().to_string());
        Ok(Self {
            path: path.join(name),
            folder: Some(Arc::new(folder)),
        })
    }

    /// The first file, by [`create`].
    fn first(&self) -> io::Result<(File, Name)> {
        let (file, name) = create(&self.path)?;
        Ok((file, name.held(self.folder.as_ref())))
    }

    /// The next file. When it takes the name, the file before gets `aside` for its own.
    fn next(&self, before: &Metadata, aside: &OsStr) -> io::Result<(File, Name)> {
        let (file, name) = beside(&self.path)?;
        let name = name.after(before, self.path.with_file_name(aside));
        Ok((file, name.held(self.folder.as_ref())))
    }
}
