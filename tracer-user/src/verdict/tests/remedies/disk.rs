//! Remedies for a disk.

use tracer_common::histogram::Family;

use super::*;
use crate::model::books::Histogram;

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
        let mut scene = tar_on(scheduler);
        spends(&mut scene, 3, 1);
        scene.books.start.kernel = kernel.to_owned();
        let remedy = of(&scene, "ionice");
        assert_eq!(remedy.applies, applies, "{scheduler} {kernel}");
        assert_eq!(remedy.command, "ionice -c3 -p 4711");
    }
    assert_eq!(
        of(&tar_on("none"), "ionice").note,
        "does nothing here, because the scheduler of sda is none, which ignores I/O classes (ionice(1))"
    );
}

/// The target's requests spend time before the device and on it.
fn spends(scene: &mut Scene, before_ns: u64, on_ns: u64) {
    scene.books.histograms = [
        (Family::BlockIoQueue, before_ns),
        (Family::BlockIoDevice, on_ns),
    ]
    .map(|(family, sum_ns)| {
        let histogram = Histogram {
            family: family as u32,
            sum_ns,
            ..Histogram::default()
        };
        (0, histogram)
    })
    .to_vec();
}

#[test]
fn mq_deadline_cannot_choose_among_what_the_device_took_already() {
    let mut scene = tar_on("mq-deadline");
    does_nothing(&of(&scene, "ionice"), "is not known");
    spends(&mut scene, 1, 3);
    does_nothing(&of(&scene, "ionice"), "spent 75 % of their time on it");
    // BFQ keeps the device's queue short.
    scene.books.disks[0].scheduler = "bfq".to_owned();
    assert!(of(&scene, "ionice").applies);
}

#[test]
fn ionice_names_the_threads_and_not_what_it_cannot_slow() {
    let mut scene = tar_on("mq-deadline");
    spends(&mut scene, 3, 1);
    culprit(&mut scene).threads = 4;
    assert_eq!(
        of(&scene, "ionice").command,
        "ionice -t -c3 -p $(basename -a /proc/4711/task/*)"
    );
    scene
        .books
        .written
        .insert((0, Holder::Process(1)), 16 << 20);
    does_nothing(&of(&scene, "ionice"), "page cache");
    culprit(&mut scene).unbuffered = true;
    assert!(of(&scene, "ionice").applies);
    culprit(&mut scene).io_class = Some(3);
    does_nothing(&of(&scene, "ionice"), "idle class already");
}

#[test]
fn bfq_divides_between_cgroups_before_it_looks_at_classes() {
    let mut scene = tar_on("bfq");
    io_group(&mut scene).path = "/jobs".to_owned();
    does_nothing(&of(&scene, "ionice"), "/jobs");
}

#[test]
fn a_group_gets_a_weight_where_one_counts() {
    let v1 = of(&tar_on("bfq"), "weight");
    assert!(v1.applies);
    assert_eq!(
        v1.command,
        "mkdir -p /c/blkio/tracer-4711 && echo 10 > /c/blkio/tracer-4711/blkio.bfq.weight \
         && for p in 4711; do echo $p > /c/blkio/tracer-4711/cgroup.procs; done"
    );
    let mut scene = tar_on("none");
    scene.books.means.io = hierarchy(true, "/c");
    scene.books.means.io_cost = vec!["8:0".to_owned()];
    assert!(of(&scene, "echo 10 > /c/tracer-4711/io.weight").applies);
}

#[test]
fn elsewhere_a_group_gets_half_of_what_it_read_as_a_limit() {
    let v1 = of(&tar_on("none"), "throttle");
    assert!(v1.applies);
    assert_eq!(
        v1.command,
        "mkdir -p /c/blkio/tracer-4711 && echo '8:0 4194304' > /c/blkio/tracer-4711/blkio.throttle.read_bps_device \
         && for p in 4711; do echo $p > /c/blkio/tracer-4711/cgroup.procs; done"
    );
    let mut scene = tar_on("none");
    scene.books.means.io = hierarchy(true, "/c");
    assert_eq!(
        of(&scene, "io.max").command,
        "echo +io > /c/cgroup.subtree_control && mkdir -p /c/tracer-4711 && echo '8:0 rbps=4194304' > /c/tracer-4711/io.max \
         && for p in 4711; do echo $p > /c/tracer-4711/cgroup.procs; done"
    );
}

#[test]
fn a_service_is_told_through_systemd_also_before_the_controller_is_on_for_it() {
    let mut scene = tar_on("none");
    scene.books.means.io = hierarchy(true, "/c");
    scene.books.means.systemd = true;
    let place = |scene: &mut Scene, id: usize, path: &str| {
        scene.books.processes[id].cgroup = path.into();
    };
    place(&mut scene, 1, "/system.slice/backup.service");
    place(&mut scene, 0, "/system.slice/web.service");
    let command = of(&scene, "IOReadBandwidthMax").command;
    assert!(
        command.starts_with("systemctl set-property --runtime backup.service "),
        "{command}"
    );
    // The target would be restrained with it, or all that a user has started.
    place(&mut scene, 0, "/system.slice/backup.service");
    assert!(of(&scene, "io.max").command.contains("mkdir"));
    place(&mut scene, 0, "/system.slice/web.service");
    place(&mut scene, 1, "/user.slice/session-3.scope");
    assert!(of(&scene, "io.max").command.contains("mkdir"));
}

#[test]
fn a_unit_of_its_own_is_told_through_systemd() {
    let mut scene = tar_on("none");
    scene.books.means.io = hierarchy(true, "/c");
    scene.books.means.systemd = true;
    let group = io_group(&mut scene);
    group.path = "/system.slice/backup.service".to_owned();
    group.leaf = true;
    group.members = vec![4711];
    assert_eq!(
        of(&scene, "systemctl set-property").command,
        "systemctl set-property --runtime backup.service 'IOReadBandwidthMax=/dev/sda 4194304'"
    );
    // With somebody of another job in it, it is not the culprit's.
    io_group(&mut scene).members.push(10);
    assert!(of(&scene, "io.max").command.contains("mkdir"));
}

#[test]
fn cgroups_of_v1_do_not_limit_writeback() {
    let mut scene = tar_on("none");
    scene
        .books
        .written
        .insert((0, Holder::Process(1)), 16 << 20);
    does_nothing(&of(&scene, "throttle.write_bps_device"), "writeback");
    scene.books.means.io = None;
    does_nothing(&of(&scene, "systemd-run --scope"), "was not recorded");
    scene.books.means.cpu = hierarchy(false, "/c/cpu");
    does_nothing(&of(&scene, "systemd-run --scope"), "no cgroup hierarchy");
}

#[test]
fn who_was_started_by_cron_is_moved_in_its_crontab() {
    let mut scene = tar_on("none");
    let cron = scene.process(300, "cron");
    scene.books.processes[1].parent = Some(cron);
    culprit(&mut scene).uid = 1000;
    let remedy = of(&scene, "crontab");
    assert_eq!(remedy.command, "crontab -u \"$(id -nu 1000)\" -e");
    assert!(
        remedy.applies && remedy.note.contains("cron (pid 300)"),
        "{}",
        remedy.note
    );
}

#[test]
fn who_was_started_by_hand_or_as_a_service_is_put_off_otherwise() {
    let mut scene = tar_on("none");
    assert_eq!(
        of(&scene, "STOP").command,
        "kill -STOP 4711 && { nohup sh -c 'sleep 28800; kill -CONT 4711' > /dev/null 2>&1 & }"
    );
    scene.books.means.commands = vec!["at".to_owned()];
    assert_eq!(
        of(&scene, "STOP").command,
        "kill -STOP 4711 && echo 'kill -CONT 4711' | at now + 8 hours"
    );
    scene.books.means.systemd = true;
    scene.books.processes[1].cgroup = "/system.slice/backup.service".into();
    assert_eq!(
        of(&scene, "TriggeredBy").command,
        "systemctl edit --full \"$(systemctl show -P TriggeredBy backup.service)\""
    );
}

#[test]
fn a_script_takes_the_order_too_because_its_commands_are_short_lived() {
    let mut scene = tar_on("bfq");
    let script = scene.process(4700, "backup.sh");
    let books = &mut scene.books;
    (books.processes[1].parent, books.processes[1].sid) = (Some(script), 4700);
    assert_eq!(of(&scene, "ionice").command, "ionice -t -c3 -p 4711 4700");
    assert!(of(&scene, "weight").command.contains("for p in 4711 4700;"));
    assert!(
        of(&scene, "STOP")
            .command
            .starts_with("kill -STOP 4711 4700; { nohup")
    );
}
