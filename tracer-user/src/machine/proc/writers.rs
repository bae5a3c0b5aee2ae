//! The processes that have files open for writing.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use super::{disk::packed, exists, numbers_in, readers::FOR_WRITING};

/// Bytes that the kernel half keeps of a name.
const LONGEST: usize = tracer_common::block::FILE_NAME - 1;

/// What the kernel puts behind the path of a file that was removed.
const REMOVED: &str = " (deleted)";

/// A file, as the kernel half knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownFile {
    /// Device of its file system, as the kernel packs it.
    pub(crate) fs_dev: u32,
    /// Number of its inode.
    pub(crate) inode: u64,
    /// One of its names, without folders.
    pub(crate) name: String,
}

/// Of each of these files the only process that has it open for writing; `None` if there is none, or several. Nobody is found if there is
/// a process that may not be looked at: it may have them open, too.
#[must_use]
pub(crate) fn only_writers(files: &[KnownFile]) -> Vec<Option<u32>> {
    let mut writers: Vec<Vec<u32>> = vec![Vec::new(); files.len()];
    for pid in numbers_in("/proc") {
        let Some(open) = open_for_writing(pid, files) else {
            return vec![None; files.len()];
        };
        for (writers, is_open) in writers.iter_mut().zip(open) {
            if is_open {
                writers.push(pid);
            }
        }
    }
    let only = |writers: Vec<u32>| match writers[..] {
        [pid] => Some(pid),
        _ => None,
    };
    writers.into_iter().map(only).collect()
}

/// Which of these files a process has open for writing; `None` if it may not be looked at.
fn open_for_writing(pid: u32, files: &[KnownFile]) -> Option<Vec<bool>> {
    let mut open = vec![false; files.len()];
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return (!exists(pid)).then_some(open);
    };
    for entry in entries.flatten() {
        let descriptor = entry.path();
        // Who has closed it since does not write through it.
        let Ok(path) = fs::read_link(&descriptor) else {
            continue;
        };
        for (file, open) in files.iter().zip(&mut open) {
            // The name is compared first: that asks no file system.
            *open |= has_name(&path, &file.name) && leads_to(&descriptor, file).unwrap_or(false);
        }
    }
    Some(open)
}

/// Does a path end with this name, of which the end may be cut off?
fn has_name(path: &Path, name: &str) -> bool {
    let Some(last) = path.file_name() else {
        return false;
    };
    let last = last.to_string_lossy();
    let last = last.strip_suffix(REMOVED).unwrap_or(&last);
    last == name || (name.len() >= LONGEST && last.starts_with(name))
}

/// Is a descriptor open for writing this file?
fn leads_to(descriptor: &Path, file: &KnownFile) -> io::Result<bool> {
    if fs::symlink_metadata(descriptor)?.mode() & FOR_WRITING == 0 {
        return Ok(false);
    }
    let found = fs::metadata(descriptor)?;
    let dev = packed((libc::major(found.dev()), libc::minor(found.dev())));
    Ok((dev, found.ino()) == (Some(file.fs_dev), file.inode))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn who_has_a_file_open_for_writing_is_found_and_who_reads_it_is_not() {
        let path = std::env::temp_dir().join(format!("tracer-writers-{}", std::process::id()));
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let about = fs::metadata(&path).unwrap();
        let file = KnownFile {
            fs_dev: packed((libc::major(about.dev()), libc::minor(about.dev()))).unwrap(),
            inode: about.ino(),
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        };
        let other = KnownFile {
            inode: u64::MAX,
            ..file.clone()
        };
        let files = [file, other];
        let own = std::process::id();
        let open = || open_for_writing(own, &files);
        assert_eq!(open(), Some(vec![true, false]));
        fs::remove_file(&path).unwrap();
        assert_eq!(open(), Some(vec![true, false]));
        drop(writer);
        assert_eq!(open(), Some(vec![false, false]));
        drop(reader);
        assert_eq!(open_for_writing(u32::MAX, &files), Some(vec![false, false]));
    }

    #[test]
    fn a_name_may_be_cut_off_and_a_removed_file_still_has_it() {
        let is = |path: &str, name: &str| has_name(Path::new(path), name);
        assert!(is("/mnt/big", "big") && is("/mnt/big (deleted)", "big"));
        assert!(!is("/mnt/bigger", "big") && !is("/big/other", "big"));
        let cut = "x".repeat(LONGEST);
        assert!(is(&format!("/mnt/{cut}yz"), &cut));
        assert!(!is("/", "big") && !is("pipe:[5]", "big"));
    }
}
