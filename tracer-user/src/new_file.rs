//! Files that the tracer writes for its user.
//!
//! The tracer is root in a folder of somebody else, and what it writes holds the command lines of all users. So nobody else may read its
//! files, no symbolic link is followed, and a file takes its name only once it may replace an older one.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, RawFd},
        unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::machine::capability::Capability;

/// To create files in a folder of somebody else, and to give them their names.
pub(crate) const FOREIGN_FOLDERS: [Capability; 2] = [Capability::DacOverride, Capability::Fowner];

/// For the owner alone, to read and to write.
const MODE: u32 = 0o600;
/// A folder in which its owner may create files.
const WRITABLE: u32 = 0o300;
/// The open files of this process. A path through the descriptor of a folder leads to that folder, wherever it lies by then.
const OPEN_FILES: &str = "/proc/self/fd";

/// The name of a new file, which it has not taken yet. Until then it lies beside. Dropped before that, the file is removed.
#[derive(Debug, Default)]
pub(crate) struct Name(Option<Waiting>);

#[derive(Debug)]
struct Waiting {
    /// Where the file lies.
    part: PathBuf,
    name: PathBuf,
    /// The folder in which both lie, if it is held open: the paths lead through its descriptor.
    folder: Option<Arc<File>>,
    /// The file that has the name until then, if that is to be kept.
    before: Option<Before>,
}

/// A file that gives its name to the next one.
#[derive(Debug)]
struct Before {
    /// Its own from then on.
    name: PathBuf,
    identity: Identity,
}

/// Device and inode of a file.
type Identity = (u64, u64);

impl Name {
    /// Gives the file its name, in place of an older file. Once is enough. What is no file (a pipe, a terminal) has its name already.
    ///
    /// # Errors
    /// If the folder refuses it.
    pub(crate) fn take(&mut self) -> io::Result<()> {
        let Some(waiting) = &self.0 else {
            return Ok(());
        };
        let Waiting { part, name, .. } = waiting;
        let before = match &waiting.before {
            Some(before) => before.give_up(name)?,
            None => None,
        };
        if let Err(error) = fs::rename(part, name) {
            // Then the name stays with the one that had it.
            if let Some(before) = before {
                let _ = fs::rename(before, name);
            }
            return Err(explain(error));
        }
        self.0 = None;
        Ok(())
    }

    /// The capabilities that it takes to create the next file of this name like this one. None, if it has its name already.
    pub(crate) fn needs(&self) -> Vec<Capability> {
        let mut needed = Vec::new();
        if self.is_in_foreign_folder() {
            needed.extend(FOREIGN_FOLDERS);
        }
        if self.0.is_some() && caller().is_some() {
            needed.push(Capability::Chown);
        }
        needed
    }

    /// Is it in a folder of somebody else, so that taking it needs a capability?
    pub(crate) fn is_in_foreign_folder(&self) -> bool {
        let Some(waiting) = &self.0 else {
            return false;
        };
        let folder = match &waiting.folder {
            Some(folder) => folder.metadata(),
            None => fs::metadata(folder_of(&waiting.name)),
        };
        // SAFETY: takes nothing, and cannot fail.
        let own = unsafe { libc::geteuid() };
        !folder.is_ok_and(|folder| folder.uid() == own && folder.mode() & WRITABLE == WRITABLE)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(Waiting { part, .. }) = &self.0 {
            // It may be gone with its folder.
            let _ = fs::remove_file(part);
        }
    }
}

impl Before {
    /// Takes the name away from the file, which gets its own, in place of an older file. Returns that, unless the file was moved away.
    fn give_up(&self, name: &Path) -> io::Result<Option<&Path>> {
        match fs::symlink_metadata(name) {
            Ok(found) if identity(&found) == self.identity => {
                fs::rename(name, &self.name).map_err(explain)?;
                Ok(Some(&self.name))
            }
            Ok(_) => refuse("another file has this name by now"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(explain(error)),
        }
    }
}

fn identity(found: &Metadata) -> Identity {
    (found.dev(), found.ino())
}

/// Where files of one name are created, one after the other. Its folder is held open: somebody else may own it or one above, and could
/// make its path lead elsewhere while the tracer has capabilities.
#[derive(Debug)]
pub(crate) struct Place {
    folder: Option<Arc<File>>,
    path: PathBuf,
}

impl Place {
    /// The place of this file.
    ///
    /// # Errors
    /// If its folder is not there. The error says what to do.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
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
    ///
    /// # Errors
    /// As there.
    pub(crate) fn first(&self) -> io::Result<(File, Name)> {
        let (file, name) = create(&self.path)?;
        Ok((file, self.held(name)))
    }

    /// The next file. When it takes the name, the file before gets `aside` for its own.
    ///
    /// # Errors
    /// If the folder refuses it.
    pub(crate) fn next(&self, before: &Metadata, aside: &OsStr) -> io::Result<(File, Name)> {
        let (file, mut name) = beside(&self.path)?;
        if let Some(waiting) = &mut name.0 {
            waiting.before = Some(Before {
                name: self.path.with_file_name(aside),
                identity: identity(before),
            });
        }
        Ok((file, self.held(name)))
    }

    /// As long as the name is to be taken, its path must lead to the folder.
    fn held(&self, mut name: Name) -> Name {
        if let Some(waiting) = &mut name.0 {
            waiting.folder.clone_from(&self.folder);
        }
        name
    }
}

/// The folder in which a file lies.
fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// Opens a file to be written from its beginning. An older file of this name stays as it is until the new one takes the name. A pipe, a
/// terminal, `/dev/null` and `/dev/stdout` are written to as they are.
///
/// # Errors
/// If it cannot be written, or is a symbolic link, a folder or a disk. The error says what to do.
pub(crate) fn create(path: &Path) -> io::Result<(File, Name)> {
    if let Some(fd) = descriptor(path) {
        return Ok((duplicate(fd)?, Name::default()));
    }
    let kind = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return beside(path),
        Err(error) => return Err(explain(error)),
    };
    if kind.is_file() {
        beside(path)
    } else if kind.is_fifo() || kind.is_char_device() {
        Ok((existing(path)?, Name::default()))
    } else if kind.is_symlink() {
        refuse("it is a symbolic link, which the tracer does not follow: name the file itself")
    } else if kind.is_dir() {
        refuse("it is a folder: name a file in it")
    } else {
        refuse("it is neither a file nor a pipe: name another one")
    }
}

/// A new file in the same folder, for the user who called `sudo`.
fn beside(path: &Path) -> io::Result<(File, Name)> {
    let part = part_of(path);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&part)
        .map_err(explain)?;
    let name = Name(Some(Waiting {
        part,
        name: path.to_owned(),
        folder: None,
        before: None,
    }));
    if let Some((uid, gid)) = caller() {
        // Some file systems know no owners: there the file stays as private as they keep it.
        let _ = fchown(&file, Some(uid), Some(gid));
    }
    Ok((file, name))
}

/// A pipe or a device that is there.
fn existing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NOCTTY)
        .open(path)
        .map_err(explain)
}

/// `FILE.PID.part`: of two tracers that write the same file each has its own.
fn part_of(path: &Path) -> PathBuf {
    let mut part = OsString::from(path);
    part.push(format!(".{}.part", std::process::id()));
    PathBuf::from(part)
}

/// The open descriptor that a path means: `/dev/stdout`, `/dev/fd/3`, `/proc/self/fd/3`. The links there are the kernel's own. Opened anew,
/// a file would be written from its beginning again, and a socket not at all.
fn descriptor(path: &Path) -> Option<RawFd> {
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let number = |name: &OsStr| name.to_str()?.parse().ok();
    if fs::canonicalize(OPEN_FILES).is_ok_and(|own| own == folder) {
        return number(path.file_name()?);
    }
    if folder != Path::new("/dev") {
        return None;
    }
    let target = fs::read_link(path).ok()?;
    number(target.strip_prefix(OPEN_FILES).ok()?.as_os_str())
}

fn duplicate(fd: RawFd) -> io::Result<File> {
    // SAFETY: takes no pointer. If the descriptor is not open, the kernel says so.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(copy) })
}

/// User and group of the one who called `sudo`.
fn caller() -> Option<(u32, u32)> {
    // SAFETY: takes nothing, and cannot fail.
    let is_root = unsafe { libc::geteuid() } == 0;
    let variable = |name| env::var(name).ok();
    caller_of(is_root, variable("SUDO_UID"), variable("SUDO_GID"))
}

/// Without root the variables say nothing: anybody can set them.
fn caller_of(is_root: bool, uid: Option<String>, gid: Option<String>) -> Option<(u32, u32)> {
    let number = |text: Option<String>| text?.parse().ok();
    let caller = number(uid).zip(number(gid));
    caller.filter(|_| is_root)
}

fn refuse<T>(text: &'static str) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::InvalidInput, text))
}

/// Adds to an error what its reader can do.
fn explain(error: io::Error) -> io::Error {
    let advice = match error.kind() {
        ErrorKind::NotFound => "its folder is not there: make it, or name a file in another one",
        ErrorKind::NotADirectory => "a part of its path is no folder: name a file in a folder",
        ErrorKind::PermissionDenied => {
            "no file may be created in its folder: name a file in another one"
        }
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only: name a file on another one",
        ErrorKind::StorageFull => "its file system is full: name a file on another one",
        ErrorKind::AlreadyExists => {
            "two outputs have this name, or a file of an older run is in the way: name another one"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{advice} ({error})"))
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::CString,
        io::{Read as _, Write as _},
        os::{
            fd::AsRawFd as _,
            unix::{
                ffi::OsStrExt as _,
                fs::{PermissionsExt as _, symlink},
            },
        },
    };

    use super::*;

    /// An empty folder, which goes away with this.
    struct Folder(PathBuf);

    impl Folder {
        fn of(test: &str) -> Self {
            let name = format!("tracer-new-file-{}-{test}", std::process::id());
            let path = env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn names(&self) -> Vec<String> {
            let files = fs::read_dir(&self.0).unwrap();
            let names = files.map(|file| file.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refusal(path: &Path) -> String {
        create(path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_private_and_replaces_an_older_one_only_when_it_takes_its_name() {
        let folder = Folder::of("whole");
        let path = folder.0.join("a.svg");
        fs::write(&path, "yesterday").unwrap();
        let (mut file, mut name) = create(&path).unwrap();
        file.write_all(b"today").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"yesterday");
        name.take().unwrap();
        name.take().unwrap();
        drop(name);
        assert_eq!(fs::read(&path).unwrap(), b"today");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            MODE
        );
        assert_eq!(folder.names(), ["a.svg"]);
    }

    #[test]
    fn a_file_that_never_takes_its_name_leaves_nothing_and_destroys_nothing() {
        let folder = Folder::of("refused");
        let path = folder.0.join("a.rec");
        let (_, name) = create(&path).unwrap();
        assert!(!name.is_in_foreign_folder(), "this test made the folder");
        drop(name);
        assert!(folder.names().is_empty());
        fs::write(&path, "yesterday").unwrap();
        drop(create(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"yesterday");
        assert_eq!(folder.names(), ["a.rec"]);
    }

    #[test]
    fn a_symbolic_link_is_refused_and_what_it_points_to_stays() {
        let folder = Folder::of("link");
        let (path, there) = (folder.0.join("link"), folder.0.join("there"));
        fs::write(&there, "secret").unwrap();
        symlink(&there, &path).unwrap();
        assert!(refusal(&path).contains("symbolic link"));
        assert_eq!(fs::read(&there).unwrap(), b"secret");
        fs::remove_file(&there).unwrap();
        assert!(refusal(&path).contains("symbolic link"), "a dangling one");
        assert_eq!(folder.names(), ["link"]);
    }

    #[test]
    fn errors_say_what_to_do() {
        let folder = Folder::of("errors");
        assert!(refusal(&folder.0).contains("name a file in it"));
        assert!(refusal(&folder.0.join("no/x")).contains("its folder is not there: make it"));
        fs::write(folder.0.join("file"), "").unwrap();
        assert!(refusal(&folder.0.join("file/x")).contains("is no folder"));
        let _first = create(&folder.0.join("twice")).unwrap();
        assert!(refusal(&folder.0.join("twice")).contains("in the way"));
    }

    #[test]
    fn a_pipe_is_written_to_and_stays_a_pipe() {
        let folder = Folder::of("pipe");
        let path = folder.0.join("pipe");
        let text = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a valid string.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        // Open for both, it waits for nobody.
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let (mut file, mut name) = create(&path).unwrap();
        file.write_all(b"today").unwrap();
        name.take().unwrap();
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"today");
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
        assert_eq!(folder.names(), ["pipe"]);
    }

    #[test]
    fn the_paths_of_devices_and_of_open_descriptors_are_written_to_as_they_are() {
        let (mut file, mut name) = create(Path::new("/dev/null")).unwrap();
        file.write_all(b"gone").unwrap();
        name.take().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        for folder in ["/proc/self/fd", "/dev/fd"] {
            if fs::exists(folder).unwrap() {
                let path = format!("{folder}/{}", writer.as_raw_fd());
                create(Path::new(&path)).unwrap().0.write_all(b"a").unwrap();
            }
        }
        drop(writer);
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        assert!(read == "aa" || read == "a", "{read}");
        if fs::exists("/dev/stdout").unwrap() {
            assert_eq!(descriptor(Path::new("/dev/stdout")), Some(1));
        }
        assert_eq!(descriptor(Path::new("why.svg")), None);
        assert_eq!(descriptor(Path::new("/dev/null")), None);
    }

    #[test]
    fn only_of_root_the_caller_of_sudo_is_asked() {
        let text = |text: &str| Some(text.to_owned());
        let (uid, gid) = (text("1000"), text("100"));
        assert_eq!(caller_of(true, uid.clone(), gid.clone()), Some((1000, 100)));
        assert_eq!(caller_of(false, uid.clone(), gid), None);
        assert_eq!(caller_of(true, uid, text("x")), None);
        assert_eq!(caller_of(true, None, None), None);
    }
}
