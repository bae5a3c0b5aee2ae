//! Pages that were dirtied before the trace: their file is said, and nobody is accused.

use crate::{
    class::{Class, Resource},
    model::books::{Earlier, Holder, OldFile},
    verdict::{
        fixture::{Scene, judge},
        old_pages,
    },
};

fn big(open: bool, writer: Option<(u32, &str)>) -> OldFile {
    OldFile {
        name: "big".to_owned(),
        inode: 12,
        bytes: 240 << 20,
        open,
        writer: writer.map(|(pid, comm)| (pid, comm.to_owned())),
    }
}

/// 300 MiB were written back to sda, most of them of this file.
fn mostly(file: OldFile) -> Earlier {
    Earlier {
        recorded_bytes: 200 << 20,
        known_bytes: 300 << 20,
        files: 2,
        largest: Some(file),
    }
}

/// The end of the sentence and the line of evidence, where nginx waits for sda behind such pages alone.
fn said(earlier: Earlier) -> (String, Option<String>) {
    let mut scene = Scene::new();
    let (sda, other) = (scene.place("sda"), scene.place("sdb"));
    scene.books.earlier.insert(sda, earlier);
    // It does not stand there.
    scene.books.earlier.insert(other, mostly(big(true, None)));
    let scene = scene.threads(Class::Disk, 40);
    let scene = scene.charge(Resource::Disk, Some(sda), Holder::Earlier, 40);
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().culprits, []);
    let begin = "nginx waits for the disk: 100 % of its blocked time dirty pages were written back on sda; \
        100 % behind the write-back of pages dirtied before the trace";
    let rest = verdict.sentence.strip_prefix(begin);
    let rest = rest.unwrap_or_else(|| panic!("{}", verdict.sentence));
    (rest.to_owned(), old_pages(&scene.books, &verdict.finding))
}

#[test]
fn the_file_is_said_and_that_whoever_wrote_it_is_gone() {
    let (rest, evidence) = said(mostly(big(false, None)));
    let expected = " (big, inode 12, by a process that has ended or closed it).";
    assert_eq!(rest, expected);
    assert_eq!(
        evidence.unwrap(),
        "of the pages that were dirty before the trace and were written back to sda, 240 MiB (80 %) are of big, inode 12: \
         nobody has it open for writing any more"
    );
}

#[test]
fn who_has_the_file_open_is_said_and_not_accused() {
    let (rest, evidence) = said(mostly(big(true, Some((7, "dd")))));
    let expected = " (big, inode 12, which dd (pid 7) has open for writing).";
    assert_eq!(rest, expected);
    assert!(evidence.unwrap().ends_with(
        "dd (pid 7) alone has it open for writing, which does not show that it dirtied them"
    ));
    let (rest, evidence) = said(mostly(big(true, None)));
    assert_eq!(rest, " (big, inode 12, still open for writing).");
    assert!(evidence.unwrap().ends_with("it is still open for writing"));
}

#[test]
fn a_file_without_a_name_has_its_number() {
    let (rest, _) = said(mostly(OldFile {
        name: String::new(),
        ..big(false, None)
    }));
    assert!(rest.starts_with(" (inode 12, by a process"), "{rest}");
}

#[test]
fn of_many_files_only_the_number_is_said() {
    let many = |recorded_bytes, files| Earlier {
        recorded_bytes,
        files,
        ..mostly(big(false, None))
    };
    // Twice as much was written as is known of its files.
    let (rest, evidence) = said(many(600 << 20, 9));
    assert_eq!(rest, " (9 files), by nobody who was seen.");
    assert_eq!(evidence, None);
    let (rest, _) = said(many(600 << 20, 1));
    assert_eq!(rest, ", by nobody who was seen.");
    assert_eq!(said(Earlier::default()).0, rest);
}

#[test]
fn the_file_is_said_beside_a_culprit() {
    let mut scene = Scene::new();
    let (tar, sda) = (scene.process(4711, "tar"), scene.place("sda"));
    scene.books.earlier.insert(sda, mostly(big(false, None)));
    let scene = scene
        .threads(Class::Disk, 40)
        .charge(Resource::Disk, Some(sda), Holder::Process(tar), 24)
        .charge(Resource::Disk, Some(sda), Holder::Earlier, 16);
    let verdict = judge(&scene.books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 60 % of its blocked time it stood behind tar (pid 4711) and 40 % behind the write-back of pages \
         dirtied before the trace (big, inode 12, by a process that has ended or closed it) on sda."
    );
}
