//! Looks once, at the end, for who has the files open of which pages were dirty before the trace.
//!
//! That accuses nobody: who has a file open need not be who dirtied it.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    event::{EarlierFile, Event},
    machine::{
        looks::Looks,
        proc::{self, KnownFile},
    },
};

/// How long the end of the trace waits for this look. It asks all processes for their descriptors, which takes a few milliseconds.
const PATIENCE: Duration = Duration::from_millis(300);

/// Most files that are looked for.
const MOST: usize = 8;

/// Notes the process that alone has a file open for writing. Only the first file of each disk is looked for, which is the largest.
pub(super) fn find_writers(totals: &mut [Event]) {
    let mut files = first_of_each_disk(totals);
    files.retain(|file| file.open && !file.name.is_empty());
    files.truncate(MOST);
    if files.is_empty() {
        return;
    }
    let wanted: Vec<KnownFile> = files.iter().map(|file| known(file)).collect();
    let look = move |()| {
        let writers = proc::only_writers(&wanted).into_iter();
        let named = writers.map(|pid| pid.and_then(|pid| Some((pid, proc::comm(pid)?))));
        named.collect::<Vec<_>>()
    };
    // Without a result they stay unknown.
    let found = Looks::begin(vec![()], look).end_within(PATIENCE, || false);
    for (file, writer) in files.into_iter().zip(found.found.into_iter().flatten()) {
        file.writer = writer;
    }
}

/// The files, with the tables of file systems left out.
fn first_of_each_disk(totals: &mut [Event]) -> Vec<&mut EarlierFile> {
    let mut disks = BTreeSet::new();
    let files = totals.iter_mut().filter_map(|event| match event {
        Event::EarlierFile(file) if !file.is_disk => Some(&mut **file),
        _ => None,
    });
    files.filter(|file| disks.insert(file.dev)).collect()
}

fn known(file: &EarlierFile) -> KnownFile {
    KnownFile {
        fs_dev: file.fs_dev,
        inode: file.inode,
        name: file.name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dev: u32, name: &str, is_disk: bool) -> Event {
        Event::EarlierFile(Box::new(EarlierFile {
            dev,
            name: name.to_owned(),
            is_disk,
            ..EarlierFile::default()
        }))
    }

    #[test]
    fn the_largest_file_of_each_disk_is_looked_for() {
        let mut totals = [
            file(7, "", true),
            file(7, "big", false),
            file(8, "other", false),
            file(7, "small", false),
        ];
        let first = first_of_each_disk(&mut totals);
        let names: Vec<&str> = first.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["big", "other"]);
    }

    #[test]
    fn who_writes_a_file_that_nobody_has_open_is_not_looked_for() {
        let mut totals = [file(7, "big", false)];
        let before = totals.clone();
        find_writers(&mut totals);
        assert_eq!(totals, before);
    }
}
