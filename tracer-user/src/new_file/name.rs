//! The name of a new file. The file has it only once it is whole.

use std::{
    fs::{self, File, Metadata},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{caller, explain, folder_of, refuse};
use crate::machine::capability::Capability;

/// To create files in a folder of somebody else, and to give them their names.
pub(crate) const FOREIGN_FOLDERS: [Capability; 2] = [Capability::DacOverride, Capability::Fowner];

/// A folder in which its owner may create files.
const WRITABLE: u32 = 0o300;

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
    /// This name for the file that lies in `part`.
    pub(super) fn of(part: PathBuf, name: &Path) -> Self {
        Self(Some(Waiting {
            part,
            name: name.to_owned(),
            folder: None,
            before: None,
        }))
    }

    /// The same for the next file: when it takes the name, the file before gets another one for its own.
    pub(super) fn after(mut self, before: &Metadata, own: PathBuf) -> Self {
        if let Some(waiting) = &mut self.0 {
            waiting.before = Some(Before {
                name: own,
                identity: identity(before),
            });
        }
        self
    }

    /// The same, where the path leads through the descriptor of a folder: as long as the name is to be taken, it must lead there.
    pub(super) fn held(mut self, folder: Option<&Arc<File>>) -> Self {
        if let Some(waiting) = &mut self.0 {
            waiting.folder = folder.cloned();
        }
        self
    }

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
        let waiting = self.0.as_ref();
        waiting.map_or_else(Vec::new, |waiting| needed_in(waiting.folder()))
    }

    /// Is it in a folder of somebody else, so that taking it needs a capability?
    pub(crate) fn is_in_foreign_folder(&self) -> bool {
        let waiting = self.0.as_ref();
        waiting.is_some_and(|waiting| is_foreign(waiting.folder()))
    }
}

impl Waiting {
    /// The folder in which the file lies.
    fn folder(&self) -> io::Result<Metadata> {
        match &self.folder {
            Some(folder) => folder.metadata(),
            None => fs::metadata(folder_of(&self.name)),
        }
    }
}

/// The capabilities that it takes to create a file in the working directory later.
pub(crate) fn needed_here() -> Vec<Capability> {
    needed_in(fs::metadata("."))
}

/// The capabilities that it takes to create a file in this folder.
fn needed_in(folder: io::Result<Metadata>) -> Vec<Capability> {
    let mut needed = Vec::new();
    if is_foreign(folder) {
        needed.extend(FOREIGN_FOLDERS);
    }
    if caller().is_some() {
        needed.push(Capability::Chown);
    }
    needed
}

/// Is it a folder of somebody else?
fn is_foreign(folder: io::Result<Metadata>) -> bool {
    // SAFETY: takes nothing, and cannot fail.
    let own = unsafe { libc::geteuid() };
    !folder.is_ok_and(|folder| folder.uid() == own && folder.mode() & WRITABLE == WRITABLE)
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
