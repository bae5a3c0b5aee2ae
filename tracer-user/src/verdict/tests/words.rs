//! What the sentence says to a person who is woken at night: since when, how slow, who by what name, and what to do next.

use crate::{
    class::{Class, Resource},
    model::books::{EndedBy, Requests, UnknownSleep},
    standing::Called,
    verdict::fixture::{MS, Scene, disk_behind_tar, judge},
};

/// 2026-11-23 07:00:00 UTC.
const STARTED_NS: u64 = 1_795_417_200_000_000_000;

/// What the sentence says of [`disk_behind_tar`] after it was changed.
fn said(change: impl FnOnce(&mut Scene)) -> String {
    let mut scene = disk_behind_tar();
    change(&mut scene);
    judge(&scene.books).sentence
}

#[test]
fn a_wait_that_the_trace_found_began_before_it() {
    let sentence = said(|scene| scene.books.start.wall_ns = STARTED_NS);
    let expected = "nginx waits for the disk, since before 07:00:00 UTC: 90 % of its blocked time it stood behind tar (pid 4711) on sda.";
    assert_eq!(sentence, expected);
}

#[test]
fn a_wait_that_began_in_the_trace_has_its_time() {
    let sentence = said(|scene| {
        scene.books.start.wall_ns = STARTED_NS;
        // The first 1.1 s nginx works without it.
        for bin in &mut scene.books.bins[..11] {
            bin.threads[Class::Disk.index()] = 0;
            bin.charges.clear();
        }
        // A window of 3 s.
        let last = scene.books.bins[19].clone();
        scene.books.bins.extend(vec![last; 10]);
        scene.books.end.ns = 3000 * MS;
    });
    let expected = "nginx waits for the disk, since 07:00:01 UTC: ";
    assert!(sentence.starts_with(expected), "{sentence}");
}

#[test]
fn the_requests_are_counted_with_how_long_they_take() {
    let with = |open, oldest_ms| {
        said(|scene| {
            scene.books.requests = Some(Requests {
                count: 4,
                open,
                oldest_open_ns: Some(oldest_ms * MS),
                p50_ns: Some(41 * MS),
                p99_ns: Some(812 * MS),
                ..Requests::default()
            });
        })
    };
    let requests = " on sda; 4 requests: p50 41.0 ms, p99 812 ms";
    for (open, oldest_ms, hangs) in [
        (3, 700, ""),
        (3, 1840, "; 3 are open, the oldest for 1.84 s"),
        (1, 1840, "; 1 is open, for 1.84 s"),
    ] {
        let (sentence, end) = (with(open, oldest_ms), format!("{requests}{hangs}."));
        assert!(sentence.ends_with(&end), "{sentence}");
    }
}

#[test]
fn a_culprit_has_the_name_by_which_an_operator_knows_it() {
    let named = |path: &str, targets: &str, comm: &str, cmdline: &str| {
        let sentence = said(|scene| {
            scene.books.processes[0].cgroup = targets.into();
            let culprit = &mut scene.books.processes[1];
            culprit.cgroup = path.into();
            culprit.comm = comm.into();
            culprit.cmdline = cmdline.into();
        });
        let (_, name) = sentence.split_once("(pid 4711").unwrap();
        name.split_once(')').unwrap().0.to_owned()
    };
    let (unit, tar) = ("/system.slice/backup.service", "tar -cf - /srv");
    assert_eq!(named(unit, "/", "tar", tar), ", backup.service");
    assert_eq!(named(unit, unit, "tar", tar), "");
    let id = "0123456789abcdef".repeat(4);
    let container = format!("/docker/{id}");
    assert_eq!(
        named(&container, unit, "tar", tar),
        ", container 0123456789ab"
    );
    assert_eq!(named(&container, &container, "tar", tar), "");
    let of_user = "/user.slice/user-7.slice/user@7.service/app.slice/backup.service";
    assert_eq!(
        named(of_user, unit, "tar", tar),
        ", backup.service of uid 7"
    );
    let script = "python3 /srv/backup.py";
    assert_eq!(named("/", "/", "python3", script), ", backup.py");
    assert_eq!(named(unit, "/", "python3", script), ", backup.service");
}

/// The name of tar in the sentence, in the first container of a pod, if nginx is in this group.
fn in_pod(targets: &str) -> String {
    let [first, second] = ["a", "b"].map(|digit| digit.repeat(64));
    let sentence = said(|scene| {
        let books = &mut scene.books;
        books.processes[0].cgroup = targets.replace("ID", &second).into();
        books.processes[1].cgroup =
            arcstr::format!("/kubepods/burstable/pod{}/{first}", "0".repeat(32));
        for (process, name) in [(1, "backup"), (0, "nginx")] {
            let group = books.processes[process].cgroup.to_string();
            let called = Called::in_pod(&group, [name, "api-7f9c4d5b6-x2x4z", "shop"]).unwrap();
            books.containers.insert(group, called);
        }
    });
    let (_, name) = sentence.split_once("(pid 4711").unwrap();
    name.split_once(')').unwrap().0.to_owned()
}

#[test]
fn a_culprit_in_a_pod_has_its_name_and_within_the_targets_pod_that_of_its_container() {
    assert_eq!(in_pod("/"), ", pod shop/api-7f9c4d5b6-x2x4z");
    assert_eq!(in_pod("/kubepods/burstable/podx/ID"), ", container backup");
}

#[test]
fn a_container_has_the_name_that_its_runtime_knows() {
    let id = "c".repeat(64);
    let sentence = said(|scene| {
        let group = format!("/system.slice/docker-{id}.scope");
        scene.books.processes[1].cgroup = arcstr::format!("{group}/init.scope");
        let called = Called::alone(&group, "nightly").unwrap();
        scene.books.containers.insert(group, called);
    });
    assert!(
        sentence.contains("(pid 4711, container nightly)"),
        "{sentence}"
    );
}

#[test]
fn a_job_of_cron_has_its_command_and_not_the_service_of_all_jobs() {
    let sentence = said(|scene| {
        let cron = scene.process(300, "cron");
        let shell = scene.process(301, "sh");
        let books = &mut scene.books;
        books.processes[shell].cmdline = "/bin/sh -c /root/nightly.sh --all".into();
        books.processes[shell].parent = Some(cron);
        books.processes[1].parent = Some(shell);
        for process in &mut books.processes[1..] {
            process.cgroup = "/system.slice/cron.service".into();
        }
    });
    let expected = "(pid 4711, cron job /root/nightly.sh --all)";
    assert!(sentence.contains(expected), "{sentence}");
}

/// nginx waits for something that has no class, and slept so.
fn waits_for_something(sleeps: &[(&str, EndedBy, u64)], waker: &str) -> String {
    let mut scene = Scene::new();
    scene.process(7, waker);
    let sleeps = sleeps.iter().map(|(function, ended_by, ms)| UnknownSleep {
        function: (*function).to_owned(),
        ended_by: *ended_by,
        ns: ms * MS,
    });
    let mut scene = scene.threads(Class::Other, 40);
    scene.books.unknown = sleeps.collect();
    judge(&scene.books).sentence
}

#[test]
fn a_wait_for_something_unknown_has_its_function_who_ended_it_and_the_next_step() {
    let begin =
        "nginx waits, but not for a resource that is known: 80 % of its active time blocked";
    let stacks = "; to find out more: cat /proc/10/task/*/stack.";
    type Slept<'a> = &'a [(&'a str, EndedBy, u64)];
    let cases: [(Slept<'_>, String); 5] = [
        (
            &[("pipe_read", EndedBy::Process(1), 700)],
            ", mostly in pipe_read until cron (pid 7) woke it; to find out more: tracer attach --pid 7.".to_owned(),
        ),
        (
            &[("pipe_read", EndedBy::Process(0), 700)],
            format!(", mostly in pipe_read until a thread of its own woke it{stacks}"),
        ),
        (
            &[
                ("usb_sg_wait", EndedBy::NoTask, 300),
                ("pipe_read", EndedBy::Process(1), 290),
                ("do_wait", EndedBy::Nothing, 200),
            ],
            format!(", partly in usb_sg_wait until a timer, a device or a packet woke it{stacks}"),
        ),
        (
            &[("", EndedBy::Nothing, 700)],
            format!(", mostly in a function that was not recorded, which nothing has ended yet{stacks}"),
        ),
        (&[], stacks.to_owned()),
    ];
    for (sleeps, end) in cases {
        assert_eq!(waits_for_something(sleeps, "cron"), format!("{begin}{end}"));
    }
}

#[test]
fn a_known_resource_needs_no_next_step_of_that_kind() {
    let mut scene = disk_behind_tar();
    scene.books.unknown = vec![UnknownSleep {
        function: "pipe_read".to_owned(),
        ended_by: EndedBy::NoTask,
        ns: 9,
    }];
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Disk);
    assert!(!verdict.sentence.contains("to find out more"));
}
