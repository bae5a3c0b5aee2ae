//! Processes that come, go and are forgotten.

use super::*;

fn fork(pid: u32, parent_pid: u32) -> event::Fork {
    event::Fork {
        pid,
        tid: pid,
        parent_pid,
        start_ns: u64::from(pid),
        comm: format!("process-{pid}"),
        ..event::Fork::default()
    }
}

/// A shell at attach, and what it forks in a minute.
fn forks(each: impl Fn(&mut Processes, u32)) -> Processes {
    let mut processes = Processes::default();
    processes.found(&event::Process {
        pid: 1,
        comm: "sh".to_owned(),
        ..event::Process::default()
    });
    for pid in 2..60_000 {
        processes.forked(&fork(pid, 1), false);
        each(&mut processes, pid);
    }
    processes
}

#[test]
fn those_that_ended_long_ago_and_held_nothing_are_forgotten() {
    let mut processes = forks(|processes, pid| _ = processes.exited(pid));
    assert!(processes.all().len() <= MOST_ENDED + 3);
    assert_eq!(processes.id_if_there(100), None);
    let shell = processes.id(1);
    assert_eq!(processes.all()[shell].comm, "sh");
    let last = processes.id(59_999);
    assert_eq!(processes.all()[last].comm, "process-59999");
    assert_eq!(processes.all()[last].parent, Some(shell));
}

#[test]
fn a_process_is_known_by_the_time_at_which_it_had_its_id() {
    let mut processes = Processes::default();
    let born = |start_ns, comm: &str| event::Fork {
        start_ns,
        comm: comm.to_owned(),
        ..fork(7, 1)
    };
    processes.forked(&born(10, "fsfreeze"), false);
    _ = processes.exited(7);
    processes.forked(&born(30, "cron"), false);
    let mut comm_at = |ns| {
        let id = processes.id_at(7, ns)?;
        Some(processes.all()[id].comm.to_string())
    };
    assert_eq!(comm_at(20).as_deref(), Some("fsfreeze"));
    assert_eq!(comm_at(40).as_deref(), Some("cron"));
    // Of who had it before nothing is known.
    assert_eq!(comm_at(5), None);
    // Nothing is known of one that was there all the time, but no other had its id.
    assert!(processes.id_at(8, 5).is_some());
}

#[test]
fn who_was_named_is_kept_and_so_are_its_ancestors() {
    let mut processes = forks(|processes, pid| {
        if pid == 10 {
            processes.forked(&fork(100_000, 10), false);
            processes.id(100_000);
            _ = processes.exited(100_000);
        }
        _ = processes.exited(pid);
    });
    let held = processes.id(100_000);
    let parent = processes.all()[held].parent.unwrap();
    assert_eq!(processes.all()[held].comm, "process-100000");
    assert_eq!(processes.all()[parent].pid, 10);
    assert!(processes.all().len() <= MOST_ENDED + 5);
}

#[test]
fn a_parent_goes_after_its_last_child() {
    let processes = forks(|processes, pid| {
        processes.forked(&fork(pid + 100_000, pid), false);
        _ = processes.exited(pid);
        _ = processes.exited(pid + 100_000);
    });
    assert!(processes.all().len() <= MOST_ENDED + 4);
}

#[test]
fn a_program_that_forks_and_exits_again_and_again_is_forgotten_at_once() {
    let mut processes = Processes::default();
    for pid in 1..200_000 {
        processes.forked(&fork(pid + 1, pid), false);
        _ = processes.exited(pid);
    }
    // Each has a child until the last one is gone.
    _ = processes.exited(200_000);
    for pid in 300_000..=300_000 + MOST_ENDED as u32 {
        processes.forked(&fork(pid, 1_000_000), false);
        _ = processes.exited(pid);
    }
    assert!(processes.free.len() >= 199_000, "{}", processes.free.len());
}

#[test]
fn nobody_is_forgotten_while_it_lives() {
    let mut processes = forks(|_, _| {});
    assert_eq!(processes.all().len(), 59_999);
    assert!(processes.exited(2).is_empty());
}

#[test]
fn a_process_that_was_moved_has_its_group_and_so_have_those_it_forks() {
    let mut processes = Processes::default();
    processes.found(&event::Process {
        pid: 1,
        cgroup: "/init.scope".to_owned(),
        ..event::Process::default()
    });
    let moved = |pid| event::Moved {
        ns: 1,
        pid,
        cgroup: "/system.slice/restic.service".to_owned(),
    };
    for pid in [2, 3] {
        processes.forked(&fork(pid, pid - 1), false);
        processes.moved(&moved(2));
    }
    // Of one that was never seen nothing is kept.
    processes.moved(&moved(99));
    let all = processes.all().iter();
    let groups: Vec<(u32, &str)> = all.map(|p| (p.pid, p.cgroup.as_str())).collect();
    let service = "/system.slice/restic.service";
    assert_eq!(groups, [(1, "/init.scope"), (2, service), (3, service)]);
}
