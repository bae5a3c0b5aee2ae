//! Holders of a CPU that are no known process: interrupts, kernel workers, the other half of a core.

use std::collections::BTreeMap;

use super::{near, of};
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Holder, Siblings, Source},
    verdict::fixture::{MS, Scene, disk_behind_tar, judge},
};

const NET_RX: Source = Source::Softirq(3);

#[test]
fn interrupts_are_named_beside_a_culprit_and_get_no_remedy_of_their_own() {
    let mut scene = Scene::new();
    let (flood, cpu) = (scene.process(4711, "flood"), scene.place("cpu1"));
    let scene = scene
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, Some(cpu), Holder::Process(flood), 28)
        .charge(Resource::Cpu, Some(cpu), Holder::Interrupt(NET_RX), 12);
    let verdict = judge(&scene.books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 70 % of its blocked time it stood behind flood (pid 4711) and 30 % behind softirq:NET_RX on cpu1."
    );
    let found = of(&verdict.finding.hypotheses, Resource::Cpu);
    assert_eq!(found.cause, Some(Cause::Contention));
    near(found.culprits[0].share, 0.7);
    near(found.self_share, 0.0);
}

#[test]
fn a_worker_of_the_kernel_is_accused_with_its_function() {
    let mut scene = Scene::new();
    let worker = scene.process(77, "kworker/1:2-events");
    scene.books.processes[worker].kernel = true;
    let functions = BTreeMap::from([("flush_to_ldisc".to_owned(), 5), ("other".to_owned(), 4)]);
    scene.books.works.insert(worker, functions);
    let scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(worker), 40);
    let verdict = judge(&scene.books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind kworker (flush_to_ldisc) (pid 77)."
    );
}

/// Waits 1 ms of each slice for the CPU and 2 ms for a disk, and shared its core for so much of 200 ms.
fn sharing(beside: u64) -> Scene {
    let mut scene = Scene::new()
        .threads(Class::Cpu, 1)
        .threads(Class::Disk, 2)
        .threads(Class::OnCpu, 80);
    scene.books.siblings = Siblings {
        target_ns: 200 * MS,
        beside_ns: beside * MS,
    };
    scene
}

#[test]
fn a_cpu_whose_core_was_shared_for_half_the_time_is_not_called_healthy() {
    let verdict = judge(&sharing(100).books);
    assert!(!verdict.healthy.contains(&Resource::Cpu));
    let (resource, reason) = &verdict.unknown[0];
    assert_eq!(*resource, Resource::Cpu);
    assert!(
        reason.contains("hyperthread") && reason.contains("50 %"),
        "{reason}"
    );
    assert!(
        verdict.sentence.starts_with("nginx is not held up: ")
            && verdict.sentence.ends_with(
                ", but another process used the other hyperthread of its core for 50 % of its time on a CPU."
            ),
        "{}",
        verdict.sentence
    );
}

#[test]
fn a_core_that_was_shared_for_less_than_half_the_time_is_healthy() {
    let verdict = judge(&sharing(99).books);
    assert!(verdict.healthy.contains(&Resource::Cpu));
    assert_eq!(verdict.unknown, []);
}

#[test]
fn a_target_that_is_held_up_elsewhere_is_told_of_its_core_too() {
    let mut scene = disk_behind_tar();
    scene.books.siblings = Siblings {
        target_ns: 200 * MS,
        beside_ns: 150 * MS,
    };
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Disk);
    assert_eq!(verdict.unknown[0].0, Resource::Cpu);
    assert!(!verdict.healthy.contains(&Resource::Cpu));
}

#[test]
fn a_wait_for_a_cpu_stays_what_it_is_whoever_is_beside() {
    let mut scene = Scene::new();
    let hog = scene.process(4711, "hog");
    let mut scene =
        scene
            .threads(Class::Cpu, 40)
            .charge(Resource::Cpu, None, Holder::Process(hog), 40);
    scene.books.siblings = Siblings {
        target_ns: 200 * MS,
        beside_ns: 200 * MS,
    };
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Cpu);
    assert_eq!(verdict.unknown, []);
}
