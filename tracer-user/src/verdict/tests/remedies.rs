//! Each row where it applies, and where it does not.

use crate::{
    class::{Class, Resource},
    model::books::{Held, Holder},
    verdict::{
        Remedy,
        fixture::{MS, SLICES, Scene, disk_behind_tar},
        judge,
    },
};

/// For a culprit at a disk with this scheduler.
fn ionice(scheduler: &str, kernel: &str) -> Remedy {
    let mut scene = disk_behind_tar();
    scene.books.start.kernel = kernel.to_owned();
    scene.books.disks.push(Default::default());
    scene.books.disks[0].name = "sda".to_owned();
    scene.books.disks[0].scheduler = scheduler.to_owned();
    judge(&scene.books).remedies.remove(0)
}

#[test]
fn ionice_applies_where_the_scheduler_knows_classes() {
    for (scheduler, kernel, applies) in [
        ("bfq", "5.10.0-30-amd64", true),
        ("mq-deadline", "6.12.43+deb13-amd64", true),
        ("mq-deadline", "5.10.0-30-amd64", false),
        ("none", "6.12.43", false),
        ("kyber", "6.12.43", false),
        ("", "6.12.43", false),
    ] {
        let remedy = ionice(scheduler, kernel);
        assert_eq!(remedy.applies, applies, "{scheduler} {kernel}");
        assert_eq!(remedy.command, "ionice -c3 -p 4711");
    }
    assert_eq!(
        ionice("none", "6.12").note,
        "does nothing here, because the scheduler of sda is none, which ignores I/O classes (ionice(1))"
    );
}

#[test]
fn a_command_with_the_pid_of_a_process_that_ended_does_nothing() {
    let mut scene = disk_behind_tar();
    scene.books.processes[1].exited = true;
    let remedy = judge(&scene.books).remedies.remove(0);
    assert!(!remedy.applies);
    assert!(remedy.note.contains("tar has ended"), "{}", remedy.note);
}

/// Remedies against a process that fills eth0 with this command line.
fn sender(comm: &str, cmdline: &str) -> Vec<Remedy> {
    let mut scene = Scene::new();
    let (sender, eth0) = (scene.process(99, comm), scene.place("eth0"));
    scene.books.processes[sender].cmdline = cmdline.to_owned();
    let key = (Resource::Network, Some(eth0), Holder::Process(sender));
    // 2 s at 8 MiB/s.
    let bytes = 16 << 20;
    scene.books.held.insert(
        key,
        Held {
            ns: 0,
            ios: 0,
            bytes,
        },
    );
    let scene = scene
        .threads(Class::Network, 40)
        .charge(key.0, key.1, key.2, 40);
    judge(&scene.books).remedies
}

#[test]
fn rsync_over_the_network_is_told_to_send_half_as_fast() {
    let remedies = sender("rsync", "rsync -a /srv backup:/srv");
    assert!(remedies[0].applies);
    assert_eq!(
        remedies[0].command,
        "rsync --bwlimit=4096 -a /srv backup:/srv"
    );
    let limited = sender("rsync", "rsync --bwlimit=9m -a /srv backup:/srv");
    assert!(!limited[0].applies);
    assert_eq!(sender("curl", "curl https://example.org"), []);
}

#[test]
fn renice_names_every_member_and_spares_kernel_threads() {
    let mut scene = Scene::new();
    let (a, b) = (scene.process(21, "gzip"), scene.process(22, "gzip"));
    scene.books.processes[b].parent = Some(a);
    scene.books.processes[b].sid = 21;
    let mut scene = scene
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, None, Holder::Process(a), 25)
        .charge(Resource::Cpu, None, Holder::Process(b), 15);
    scene.books.start.cpus = 2;
    let remedy = judge(&scene.books).remedies.remove(0);
    assert_eq!(remedy.command, "renice -n 19 -p 21 22");
    assert!(remedy.applies && remedy.note.contains("taskset"));
    for process in &mut scene.books.processes[1..] {
        process.kernel = true;
    }
    assert_eq!(judge(&scene.books).remedies, []);
}

#[test]
fn who_is_not_held_up_needs_no_remedy() {
    let mut scene = disk_behind_tar().threads(Class::OnCpu, 900);
    scene.books.end.ns = SLICES * 100 * MS;
    assert_eq!(judge(&scene.books).remedies, []);
}
