//! Requests or threads, and how the one's time is split by the other's charges.

use super::near;
use crate::{
    class::{Class, Resource},
    model::books::Holder,
    verdict::fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
};

#[test]
fn few_requests_that_took_less_time_than_the_threads_are_no_ledger() {
    let mut scene = disk_behind_tar().requests(Class::OnCpu, 50);
    let verdict = judge(&scene.books);
    assert!(verdict.finding.of_requests && !verdict.finding.held_up);
    scene.books.requests.as_mut().unwrap().count = 19;
    let verdict = judge(&scene.books);
    assert!(!verdict.finding.of_requests && verdict.finding.held_up);
}

#[test]
fn a_starved_event_loop_is_judged_by_its_few_requests() {
    let mut scene = Scene::new().requests(Class::Network, 300);
    let (rsync, eth0) = (scene.process(4711, "rsync"), scene.place("eth0"));
    let mut scene = scene
        .charge(Resource::Network, Some(eth0), Holder::Process(rsync), 8)
        .charge(Resource::Network, Some(eth0), Holder::Own, 2);
    let few = scene.books.requests.as_mut().unwrap();
    (few.count, few.open) = (2, 3);
    let verdict = judge(&scene.books);
    assert!(verdict.finding.of_requests && verdict.finding.held_up);
    near(verdict.primary().unwrap().culprits[0].share, 0.8);
}

#[test]
fn requests_without_time_are_no_ledger() {
    let verdict = judge(&disk_behind_tar().requests(Class::OnCpu, 0).books);
    assert!(!verdict.finding.of_requests);
}

#[test]
fn request_time_is_split_slice_by_slice_as_the_threads_time_is() {
    let mut scene = Scene::new();
    let (tar, sda) = (scene.process(4711, "tar"), scene.place("sda"));
    let mut scene = scene
        .threads(Class::Disk, 10)
        .requests(Class::OnCpu, 50)
        .requests(Class::Disk, 100)
        .charge(Resource::Disk, Some(sda), Holder::Process(tar), 8)
        .charge(Resource::Disk, Some(sda), Holder::Own, 2);
    // In the first half of the window the requests wait three times as long, and tar holds a half only.
    for bin in &mut scene.books.bins[..SLICES as usize / 2] {
        bin.requests[Class::Disk.index()] = 300 * MS;
        bin.charges[0].ns = 5 * MS;
        bin.charges[1].ns = 5 * MS;
    }
    let verdict = judge(&scene.books);
    // (300 · 0.5 + 100 · 0.8) / 400, while of the threads' time it is 0.65.
    near(verdict.primary().unwrap().culprits[0].share, 230.0 / 400.0);
    near(verdict.primary().unwrap().self_share, 170.0 / 400.0);
    near(verdict.finding.blocked_part, 400.0 / 500.0);
    assert!(verdict.sentence.contains("of its requests' blocked time"));
}

#[test]
fn a_slice_without_charges_takes_the_split_of_the_window_as_an_estimate() {
    let mut scene = disk_behind_tar().requests(Class::Disk, 100);
    for bin in &mut scene.books.bins[..5] {
        bin.charges.clear();
        bin.threads[Class::Disk.index()] = 0;
    }
    let verdict = judge(&scene.books);
    near(verdict.primary().unwrap().culprits[0].share, 0.9);
    // A quarter is estimated.
    near(verdict.confidence, 1.0 - 0.25 / 2.0);
}

#[test]
fn requests_that_wait_for_what_no_thread_was_charged_with_have_no_holder() {
    let verdict = judge(&Scene::new().requests(Class::Upstream, 100).books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.resource, Resource::Upstream);
    near(first.self_share, 0.0);
    near(verdict.confidence, 0.0);
}

#[test]
fn a_process_of_the_target_is_the_target_itself() {
    let mut scene = Scene::new();
    let worker = scene.process(11, "nginx");
    scene.books.processes[worker].target = true;
    let scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(worker), 40);
    near(judge(&scene.books).primary().unwrap().self_share, 1.0);
}
