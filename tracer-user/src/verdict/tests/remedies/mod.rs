//! Each row where it applies, and where it does not.

mod cpu;
mod disk;
mod network;
mod own;

use crate::{
    class::{Class, Resource},
    model::books::{Held, Holder, ProcessId},
    standing::{Group, Hierarchy, Program, Standing},
    verdict::{
        Remedy,
        fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
    },
};

/// A process with a known program, words and groups.
fn standing(pid: u32, words: &str) -> Standing {
    let group = Group {
        path: "/".to_owned(),
        own: true,
        weight: Some(100),
        ..Group::default()
    };
    Standing {
        pid,
        threads: 1,
        io_class: Some(0),
        program: Program::Dynamic,
        arguments: words.split(' ').map(str::to_owned).collect(),
        cwd: "/".to_owned(),
        cpu: Some(group.clone()),
        io: Some(group),
        ..Standing::default()
    }
}

/// How the culprit stands: process 1 of every scene here.
fn culprit(scene: &mut Scene) -> &mut Standing {
    scene.books.standings.get_mut(&1).unwrap()
}

/// The culprit's group in the hierarchy that divides the disks.
fn io_group(scene: &mut Scene) -> &mut Group {
    culprit(scene).io.as_mut().unwrap()
}

fn hierarchy(unified: bool, mount: &str) -> Option<Hierarchy> {
    Some(Hierarchy {
        unified,
        mount: mount.to_owned(),
    })
}

/// The remedy with this in its command.
#[track_caller]
fn of(scene: &Scene, part: &str) -> Remedy {
    let remedies = judge(&scene.books).remedies;
    let found = remedies.iter().find(|remedy| remedy.command.contains(part));
    found
        .unwrap_or_else(|| panic!("{part}: {remedies:#?}"))
        .clone()
}

#[track_caller]
fn does_nothing(remedy: &Remedy, because: &str) {
    assert!(!remedy.applies, "{remedy:?}");
    assert!(
        remedy.note.starts_with("does nothing here, because ") && remedy.note.contains(because),
        "{}",
        remedy.note
    );
}

/// tar (4711) moves 8 MiB/s on sda (8:0) with this scheduler, on Linux 6.12 with v1 of cgroups.
fn tar_on(scheduler: &str) -> Scene {
    let mut scene = disk_behind_tar();
    let books = &mut scene.books;
    books.start.kernel = "6.12.43+deb13-amd64".to_owned();
    books.disks.push(Default::default());
    books.disks[0].name = "sda".to_owned();
    books.disks[0].dev = 8 << 20;
    books.disks[0].scheduler = scheduler.to_owned();
    books.means.io = hierarchy(false, "/c/blkio");
    books.standings.insert(0, standing(10, "nginx"));
    books.standings.insert(1, standing(4711, "tar -c /srv"));
    holds(&mut scene, Resource::Disk, 1, 16 << 20);
    scene
}

fn holds(scene: &mut Scene, resource: Resource, id: ProcessId, bytes: u64) {
    let place = (!scene.books.places.is_empty()).then_some(0);
    let held = Held {
        bytes,
        ..Held::default()
    };
    let key = (resource, place, Holder::Process(id));
    scene.books.held.insert(key, held);
}

#[test]
fn a_command_with_the_pid_of_a_process_that_ended_does_nothing() {
    let mut scene = tar_on("bfq");
    scene.books.processes[1].exited = true;
    for remedy in judge(&scene.books).remedies {
        does_nothing(&remedy, "tar has ended");
    }
}

#[test]
fn who_is_not_held_up_needs_no_remedy() {
    let mut scene = disk_behind_tar().threads(Class::OnCpu, 900);
    scene.books.end.ns = SLICES * 100 * MS;
    assert_eq!(judge(&scene.books).remedies, []);
}
