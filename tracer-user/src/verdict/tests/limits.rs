//! A limit of the target's group: its own use of it, and that of others in the group.

use super::{near, of};
use crate::{
    class::{Cause, Class, Resource},
    model::books::Holder,
    standing::{Hierarchy, OwnLimit},
    verdict::{
        fixture::{MS, SLICES, Scene, judge},
        remedy::Remedy,
    },
};

const QUOTA: &str = "/cpu/shop/cpu.cfs_quota_us";

/// Throttled for 40 ms of each slice: `gzip` of them because gzip used up the quota, the rest for its own use.
fn throttled(gzip: u64) -> Scene {
    let mut scene = Scene::new();
    let (id, quota) = (scene.process(4711, "gzip"), scene.place(QUOTA));
    scene.books.limits.insert(quota);
    let whole = 40 * MS * SLICES;
    scene.books.causes = vec![(Resource::Cpu, Cause::Quota, whole)];
    scene.books.own_limits = vec![OwnLimit {
        resource: Resource::Cpu,
        file: QUOTA.to_owned(),
        value: "50000".to_owned(),
    }];
    scene.books.means.cpu = Some(Hierarchy {
        unified: false,
        mount: "/cpu".to_owned(),
    });
    scene
        .threads(Class::Cpu, 40)
        .charge(Resource::Cpu, Some(quota), Holder::Process(id), gzip)
        .charge(Resource::Cpu, None, Holder::OwnQuota, 40 - gzip)
}

#[test]
fn who_used_up_the_limit_of_the_group_is_accused() {
    let verdict = judge(&throttled(36).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: its group's CPU limit, used up by gzip (pid 4711) in the same group, stops it for 100 % of its \
         blocked time."
    );
    let found = of(&verdict.finding.hypotheses, Resource::Cpu);
    assert_eq!(found.cause, Some(Cause::Quota));
    near(found.culprits[0].share, 0.9);
    near(found.self_share, 0.1);
}

#[test]
fn a_part_that_is_the_targets_own_use_is_said() {
    let verdict = judge(&throttled(25).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: its group's CPU limit, used up by gzip (pid 4711) in the same group, stops it for 100 % of its \
         blocked time, 38 % by its own use."
    );
}

#[test]
fn who_used_little_of_the_limit_is_not_accused_and_acquitted_only_if_it_used_next_to_nothing() {
    let verdict = judge(&throttled(4).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: its own CPU quota (cpu.max) stops it for 100 % of its blocked time; nobody else is to blame."
    );
    let verdict = judge(&throttled(5).books);
    assert!(
        !verdict.sentence.contains("nobody else is to blame"),
        "{}",
        verdict.sentence
    );
}

#[test]
fn against_who_used_up_a_limit_the_limit_is_raised_or_it_leaves_the_group() {
    let remedies = judge(&throttled(36).books).remedies;
    let works = |remedy: &&Remedy| remedy.applies;
    let applied: Vec<&str> = remedies
        .iter()
        .filter(works)
        .map(|remedy| remedy.command.as_str())
        .collect();
    assert_eq!(applied[0], format!("echo 100000 > {QUOTA}"));
    assert!(
        applied[1].starts_with("mkdir -p /cpu/tracer-4711 && "),
        "{applied:?}"
    );
    let renice = remedies
        .iter()
        .find(|remedy| remedy.command.starts_with("renice"));
    assert!(
        renice.is_some_and(|remedy| remedy.note.contains("the limit counts CPU time")),
        "{remedies:?}"
    );
}

/// Waits for pages that its full group evicted: `cp` of 40 ms because cp filled the group.
fn evicted(cp: u64) -> Scene {
    let mut scene = Scene::new();
    let (id, limit) = (
        scene.process(4711, "cp"),
        scene.place("/memory/shop/memory.limit_in_bytes"),
    );
    scene.books.limits.insert(limit);
    let whole = 40 * MS * SLICES;
    scene.books.causes = vec![(Resource::Memory, Cause::Limit, whole)];
    scene
        .threads(Class::Memory, 40)
        .charge(Resource::Memory, Some(limit), Holder::Process(id), cp)
        .charge(Resource::Memory, None, Holder::OwnQuota, 40 - cp)
}

#[test]
fn the_own_memory_limit_accuses_nobody() {
    let verdict = judge(&evicted(0).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for memory: its own memory limit evicts what it needs, for 100 % of its blocked time; nobody else is to blame."
    );
    let found = of(&verdict.finding.hypotheses, Resource::Memory);
    assert_eq!((found.cause, found.culprits.len()), (Some(Cause::Limit), 0));
}

#[test]
fn who_filled_the_memory_of_the_group_is_accused() {
    let verdict = judge(&evicted(38).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for memory: its group's memory limit, used up by cp (pid 4711) in the same group, stops it for 100 % of its \
         blocked time."
    );
}
