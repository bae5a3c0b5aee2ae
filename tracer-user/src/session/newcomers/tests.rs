//! Who becomes a target, and who does not.

use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Child, Command},
    time::Instant,
};

use super::*;
use crate::{
    event::{self, Follow},
    machine::proc::WantedGroup,
};

/// Far more than a look takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A target that nobody is.
const TARGET: u32 = u32::MAX;

fn newcomers(named: Named, follow_children: bool) -> Newcomers {
    let settings = Settings {
        pids: vec![TARGET],
        named,
        follow_children,
        begun: Instant::now(),
    };
    Newcomers::new(&settings, &[TARGET])
}

/// A process that is there.
struct Sleep(Child);

impl Sleep {
    fn new() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn forked_by(&self, parent_pid: u32, target: bool) -> Event {
        Event::Fork(Fork {
            pid: self.pid(),
            tid: self.pid(),
            parent_pid,
            target,
            comm: "server".to_owned(),
            ..Fork::default()
        })
    }

    fn executes(&self, comm: &str) -> Event {
        Event::Exec(Exec {
            pid: self.pid(),
            comm: comm.to_owned(),
            ..Exec::default()
        })
    }

    fn newcomer(&self, is_found: bool) -> Newcomer {
        let pid = self.pid();
        Newcomer { pid, is_found }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_child_of_a_target_that_the_kernel_half_did_not_mark_is_one_if_children_are() {
    let child = Sleep::new();
    for follow_children in [true, false] {
        let mut newcomers = newcomers(Named::Processes, follow_children);
        newcomers.see(&[child.forked_by(TARGET, false)]);
        let found = newcomers.ready();
        assert_eq!(found.contains(&child.newcomer(false)), follow_children);
        newcomers.see(&[child.forked_by(TARGET, true)]);
        assert_eq!(newcomers.ready(), []);
    }
    let mut newcomers = newcomers(Named::Processes, true);
    newcomers.see(&[child.forked_by(7, false)]);
    assert_eq!(newcomers.ready(), []);
}

#[test]
fn a_process_that_was_found_before_the_record_of_its_fork_is_a_target_all_the_same() {
    let child = Sleep::new();
    let mut newcomers = newcomers(Named::Processes, true);
    newcomers.own.insert(child.pid());
    newcomers.see(&[child.forked_by(TARGET, false)]);
    assert_eq!(newcomers.ready(), [child.newcomer(true)]);
}

#[test]
fn a_child_of_a_process_that_the_target_asks_is_followed_and_no_target() {
    let child = Sleep::new();
    let mut newcomers = newcomers(Named::Comm("sleep".to_owned()), true);
    let follow = Follow {
        pid: 7,
        ..Follow::default()
    };
    newcomers.see(&[Event::Follow(follow), child.forked_by(7, true)]);
    newcomers.see(&[child.executes("sleep")]);
    assert_eq!(newcomers.ready(), []);
}

#[test]
fn who_executes_the_program_of_that_name_is_a_target_and_so_are_its_children() {
    let (server, child) = (Sleep::new(), Sleep::new());
    let mut newcomers = newcomers(Named::Comm("sleep".to_owned()), true);
    newcomers.see(&[
        server.executes("sleep"),
        child.forked_by(server.pid(), false),
    ]);
    let expected = [server.newcomer(false), child.newcomer(false)];
    assert_eq!(newcomers.ready(), expected);
    assert_eq!(newcomers.take_matching(), [server.pid()]);
    // A target may be executed anew: the trace goes on with it.
    newcomers.see(&[child.executes("sleep")]);
    assert_eq!(newcomers.ready(), []);
    assert_eq!(newcomers.take_matching(), [child.pid()]);
}

#[test]
fn who_had_the_name_for_a_moment_is_none() {
    let other = Sleep::new();
    let mut newcomers = newcomers(Named::Comm("server".to_owned()), true);
    newcomers.see(&[other.forked_by(7, false)]);
    assert_eq!(newcomers.ready(), []);
    newcomers.see(&[other.executes("sleep")]);
    assert_eq!(newcomers.ready(), []);
    let (ns, pid) = (1, other.pid());
    let exit = event::Exit { ns, pid };
    newcomers.see(&[other.executes("server"), Event::Exit(exit)]);
    assert_eq!(newcomers.ready(), []);
}

fn look(newcomers: &mut Newcomers) -> Vec<u32> {
    newcomers.look();
    let found = newcomers.looks.wait(LONG).unwrap();
    newcomers.found(found);
    newcomers.ready().iter().map(|found| found.pid).collect()
}

#[test]
fn a_process_that_was_there_and_has_the_name_is_found_by_a_look() {
    let there = Sleep::new();
    let mut newcomers = newcomers(Named::Comm("sleep".to_owned()), true);
    assert!(look(&mut newcomers).contains(&there.pid()));
    assert!(newcomers.take_matching().contains(&there.pid()));
}

#[test]
fn who_takes_over_a_socket_on_the_port_is_found_and_so_is_a_socket_that_is_new() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut newcomers = newcomers(Named::Port(port), true);
    // The old holder is no news. Children of other tests have a copy, too, until they run their program.
    assert!(!look(&mut newcomers).contains(&std::process::id()));
    let copy = OwnedFd::from(listener.try_clone().unwrap());
    let heir = Sleep(Command::new("sleep").arg("60").stdin(copy).spawn().unwrap());
    newcomers.see(&[heir.executes("sleep")]);
    assert!(look(&mut newcomers).contains(&heir.pid()));
    assert!(newcomers.take_matching().contains(&heir.pid()));
    newcomers.listeners.clear();
    // The tracer itself is no target, whatever it has.
    assert!(!look(&mut newcomers).contains(&std::process::id()));
    assert!(newcomers.take_matching().contains(&std::process::id()));
}

#[test]
fn whoever_comes_to_the_group_is_found_also_where_that_is_made_again() {
    let dir = std::env::temp_dir().join(format!("tracer-newcomers-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let (there, moved) = (Sleep::new(), Sleep::new());
    let list = |pids: &[&Sleep]| {
        let lines: String = pids
            .iter()
            .map(|child| format!("{}\n", child.pid()))
            .collect();
        fs::write(dir.join("cgroup.procs"), lines).unwrap();
    };
    list(&[&there]);
    // No such group is mounted: once nobody is in the folder, none is found.
    let nowhere = WantedGroup::Cgroup(format!("/tracer-nowhere-{}", std::process::id()));
    let mut newcomers = newcomers(Named::Group(nowhere), true);
    assert!(newcomers.is_urgent);
    newcomers.folders = vec![dir.clone()];
    assert_eq!(look(&mut newcomers), [there.pid()]);
    assert_eq!(newcomers.take_matching(), [there.pid()]);
    // A fork elsewhere may be that of a service manager.
    newcomers.see(&[moved.forked_by(7, false)]);
    assert!(newcomers.has_strangers && newcomers.ready().is_empty());
    list(&[&there, &moved]);
    assert_eq!(look(&mut newcomers), [moved.pid()]);
    let exit = |pid| Event::Exit(event::Exit { ns: 1, pid });
    newcomers.is_urgent = false;
    newcomers.see(&[exit(TARGET), exit(there.pid()), exit(moved.pid())]);
    assert!(newcomers.is_urgent);
    list(&[]);
    assert_eq!(look(&mut newcomers), [0; 0]);
    assert!(newcomers.folders.is_empty());
    fs::remove_dir_all(&dir).unwrap();
}
