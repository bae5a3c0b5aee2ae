//! Waits that only a timer of the target's own ended: they have a name, and nobody is to blame.

use super::near;
use crate::{
    class::Class,
    model::books::{Books, Nap},
    verdict::fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
};

/// Of each slice's 100 ms of requests 90 have no class, and of the threads' time 45. In `ms` of these a nap was waited for.
fn napped(processes: u64, itself: bool, ms: u64) -> Books {
    let mut scene = Scene::new();
    let sleep = scene.process(11, "sleep");
    let scene = scene
        .requests(Class::OnCpu, 10)
        .requests(Class::Other, 90)
        .threads(Class::Other, 45);
    let mut books = scene.books;
    books.processes[sleep].target = true;
    books.naps.push(Nap {
        process: sleep,
        processes,
        itself,
        ns: SLICES * ms * MS,
    });
    books
}

#[test]
fn a_process_of_its_own_that_sleeps_has_a_name_and_is_an_explanation() {
    let verdict = judge(&napped(1, false, 45));
    assert_eq!(
        verdict.sentence,
        "nginx waits for its own process sleep (pid 11), which sleeps until a timer wakes it: \
         90 % of request time."
    );
    assert_eq!(verdict.primary(), None);
    near(verdict.confidence, 1.0);
    assert_eq!(verdict.doubts, Vec::<String>::new());
    assert_eq!(
        verdict.naps,
        [
            "for 100 % of the blocked time it waited for a timer alone: \
             its own process sleep (pid 11) slept"
        ]
    );
}

#[test]
fn many_commands_of_one_name_are_counted() {
    assert_eq!(
        judge(&napped(110, false, 45)).sentence,
        "nginx waits for its own processes sleep (pid 11 and 109 more), \
         which sleep until a timer wakes them: 90 % of request time."
    );
}

#[test]
fn a_server_that_sleeps_itself_waits_for_nobody() {
    assert_eq!(
        judge(&napped(1, true, 45)).sentence,
        "nginx sleeps until a timer of its own wakes it: 90 % of request time."
    );
}

#[test]
fn what_a_few_naps_leave_is_not_known() {
    let verdict = judge(&napped(1, false, 15));
    assert_eq!(
        verdict.sentence,
        "nginx waits, but not for a resource that is known: 90 % of request time blocked; \
         to find out more: cat /proc/10/task/*/stack."
    );
    near(verdict.confidence, 0.5);
    assert_eq!(
        verdict.doubts,
        ["67 % of the blocked time could not be explained"]
    );
    assert!(verdict.naps[0].starts_with("for 33 % of the blocked time"));
}

#[test]
fn a_nap_beside_a_resource_is_named_after_it() {
    let mut scene = disk_behind_tar().threads(Class::Other, 40);
    let sleep = scene.process(11, "sleep");
    scene.books.naps.push(Nap {
        process: sleep,
        processes: 1,
        itself: false,
        ns: SLICES * 40 * MS,
    });
    let verdict = judge(&scene.books);
    let said = "; it also waits for its own process sleep (pid 11), \
                which sleeps until a timer wakes it: 50 % of its blocked time.";
    assert!(verdict.sentence.ends_with(said), "{}", verdict.sentence);
    assert_eq!(verdict.doubts, Vec::<String>::new());
}
