//! Somebody or something stops the target.

use super::near;
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Holder, Requests},
    verdict::{
        Verdict,
        fixture::{MS, SLICES, Scene, judge},
    },
};

const FILE: &str = "/c/freezer/my jobs/freezer.state";

/// nginx is stopped for half of the time, and sleeps for the rest but for the 10 ms.
fn stopped(scene: Scene, holder: Holder, cause: Cause, is_frozen: bool) -> Scene {
    let mut scene = scene.threads(Class::Stopped, 50).threads(Class::Idle, 40);
    let place = is_frozen.then(|| scene.place(FILE));
    let whole = SLICES * 50 * MS;
    scene.books.causes = vec![(Resource::Stopped, cause, whole)];
    scene.charge(Resource::Stopped, place, holder, 50)
}

fn by_process(comm: &str, cause: Cause, is_frozen: bool) -> Verdict {
    let mut scene = Scene::new();
    let process = scene.process(7, comm);
    judge(&stopped(scene, Holder::Process(process), cause, is_frozen).books)
}

fn by_nobody(holder: Holder, cause: Cause, is_frozen: bool) -> Verdict {
    judge(&stopped(Scene::new(), holder, cause, is_frozen).books)
}

#[track_caller]
fn says(verdict: &Verdict, sentence: &str, command: &str) {
    assert_eq!(verdict.sentence, sentence);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Stopped);
    near(verdict.confidence, 1.0);
    let commands: Vec<&str> = verdict
        .remedies
        .iter()
        .map(|remedy| remedy.command.as_str())
        .collect();
    assert_eq!(commands, [command]);
    assert!(verdict.remedies[0].applies);
}

#[test]
fn whoever_stops_it_is_named_with_the_part_of_the_time_and_how_it_is_let_go() {
    says(
        &by_process("sh", Cause::StopSignal, false),
        "nginx is stopped for 50 % of the time by sh (pid 7), with a signal.",
        "kill -CONT 10",
    );
    says(
        &by_process("cpulimit", Cause::StopSignal, false),
        "nginx is stopped for 50 % of the time by cpulimit (pid 7), with a signal.",
        "kill 7",
    );
    says(
        &by_process("strace", Cause::Traced, false),
        "nginx is stopped for 50 % of the time by strace (pid 7), which debugs it.",
        "kill 7",
    );
    says(
        &by_process("sh", Cause::Frozen, true),
        "nginx is stopped for 50 % of the time by sh (pid 7), which froze its cgroup (/c/freezer/my jobs/freezer.state).",
        "echo THAWED > '/c/freezer/my jobs/freezer.state'",
    );
}

#[test]
fn where_nobody_was_seen_stopping_it_nobody_is_accused() {
    let frozen = by_nobody(Holder::Freezer, Cause::Frozen, true);
    says(
        &frozen,
        "nginx is stopped for 50 % of the time: its cgroup is frozen (/c/freezer/my jobs/freezer.state).",
        "echo THAWED > '/c/freezer/my jobs/freezer.state'",
    );
    let before = by_nobody(Holder::StopSignal, Cause::StopSignal, false);
    says(
        &before,
        "nginx is stopped for 50 % of the time by a signal; who sent it was not seen.",
        "kill -CONT 10",
    );
    let terminal = by_nobody(Holder::StopSignal, Cause::JobControl, false);
    says(
        &terminal,
        "nginx is stopped for 50 % of the time by its terminal: it was suspended there, or used it in the background.",
        "kill -CONT 10",
    );
    let itself = by_nobody(Holder::Own, Cause::StopSignal, false);
    says(
        &itself,
        "nginx is stopped for 50 % of the time: it sends the signal itself.",
        "kill -CONT 10",
    );
    for verdict in [frozen, before, terminal, itself] {
        assert_eq!(verdict.primary().unwrap().culprits, []);
    }
}

#[test]
fn a_debugger_that_stops_an_idle_server_and_lets_it_go_on_at_once_is_not_accused() {
    let mut scene = Scene::new();
    for bin in &mut scene.books.bins {
        bin.threads[Class::OnCpu.index()] = MS;
    }
    let gdb = scene.process(7, "gdb");
    let scene = scene
        .threads(Class::Idle, 96)
        .threads(Class::Stopped, 3)
        .charge(Resource::Stopped, None, Holder::Process(gdb), 3);
    let verdict = judge(&scene.books);
    assert_eq!(
        verdict.sentence,
        "nginx is not held up: 0 % of its active time blocked."
    );
    assert_eq!(verdict.finding.hypotheses, []);
    let more = judge(&scene.threads(Class::Stopped, 8).books);
    assert_eq!(more.primary().unwrap().resource, Resource::Stopped);
}

#[test]
fn the_stops_of_a_debugger_are_over_with_it() {
    let mut scene = Scene::new();
    let gdb = scene.process(7, "gdb");
    scene.books.processes[gdb].exited = true;
    let scene = stopped(scene, Holder::Process(gdb), Cause::Traced, false);
    let remedies = judge(&scene.books).remedies;
    assert_eq!(remedies.len(), 1);
    assert!(!remedies[0].applies);
    assert_eq!(remedies[0].note, "does nothing here, because gdb has ended");
}

#[test]
fn a_stop_beside_another_wait_is_named_too() {
    let mut scene = crate::verdict::fixture::disk_behind_tar();
    let sh = scene.process(7, "sh");
    let scene = scene
        .threads(Class::Stopped, 20)
        .threads(Class::Idle, 30)
        .charge(Resource::Stopped, None, Holder::Process(sh), 20);
    assert_eq!(
        judge(&scene.books).sentence,
        "nginx waits for the disk: 60 % of its blocked time it stood behind tar (pid 4711) on sda; it is also stopped for 20 % of the time \
         by sh (pid 7)."
    );
}

#[test]
fn one_process_of_thirty_that_is_stopped_all_the_time_is_said_to_be() {
    let mut scene = Scene::new();
    let gdb = scene.process(7, "gdb");
    let mut scene = scene
        .threads(Class::Idle, 2890)
        .threads(Class::Stopped, 100)
        .charge(Resource::Stopped, None, Holder::Process(gdb), 100);
    scene.books.causes = vec![(Resource::Stopped, Cause::Traced, SLICES * 100 * MS)];
    scene.books.most_stopped_ns = SLICES * 100 * MS;
    says(
        &judge(&scene.books),
        "nginx is stopped for 100 % of the time in one of its threads by gdb (pid 7), which debugs it.",
        "kill 7",
    );
}

#[test]
fn requests_that_come_while_all_is_stopped_are_not_seen_so_the_threads_are_judged() {
    let mut scene = Scene::new();
    let sh = scene.process(7, "sh");
    let mut scene = stopped(scene, Holder::Process(sh), Cause::StopSignal, false)
        .requests(Class::OnCpu, 9)
        .requests(Class::Disk, 1);
    assert_eq!(
        judge(&scene.books).primary().unwrap().resource,
        Resource::Stopped
    );
    // Where they are seen, they are judged.
    scene = scene.requests(Class::Stopped, 30);
    let verdict = judge(&scene.books);
    assert!(verdict.finding.of_requests);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Stopped);
    scene.books.requests = Some(Requests::default());
    assert!(!judge(&scene.books).finding.of_requests);
}

#[test]
fn a_process_on_the_way_that_is_stopped_is_the_one_to_be_let_go() {
    let mut scene = Scene::new();
    let (sh, db) = (scene.process(7, "sh"), scene.process(20, "db"));
    let mut scene = stopped(scene, Holder::Process(sh), Cause::StopSignal, false);
    let whole = SLICES * 50 * MS;
    let way = (Resource::Stopped, vec![db]);
    scene.books.ways.insert(way, (whole, whole));
    says(
        &judge(&scene.books),
        "nginx waits for db (pid 20), which is stopped for 100 % of its blocked time by sh (pid 7), with a signal.",
        "kill -CONT 20",
    );
}
