//! The machine's memory, and who fills it.

use super::of;
use crate::{
    class::{Cause, Resource},
    model::books::Holder,
    standing::{Hierarchy, Standing},
    verdict::fixture::{MS, SLICES, Scene, judge},
};

/// Waits of 40 ms, of which tar has this much because it filled memory.
fn short(resource: Resource, cause: Cause, tar: u64) -> Scene {
    let mut scene = Scene::new();
    let id = scene.process(4711, "tar");
    scene.books.causes = vec![(resource, cause, 40 * MS * SLICES)];
    scene.books.by_memory.insert(resource, tar * MS * SLICES);
    let rest = match resource {
        Resource::Disk => Holder::Own,
        _ => Holder::Nobody,
    };
    scene
        .threads(resource.class(), 40)
        .charge(resource, None, Holder::Process(id), tar)
        .charge(resource, None, rest, 40 - tar)
}

#[test]
fn who_evicts_what_the_target_reads_again_is_named_with_the_eviction() {
    let verdict = judge(&short(Resource::Disk, Cause::CacheEviction, 38).books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 95 % of its blocked time it stood behind tar (pid 4711), for pages that had been evicted from \
         the cache."
    );
}

#[test]
fn who_fills_memory_is_named_with_the_reclaim() {
    let verdict = judge(&short(Resource::Memory, Cause::DirectReclaim, 40).books);
    let found = of(&verdict.finding.hypotheses, Resource::Memory);
    assert_eq!(found.cause, Some(Cause::DirectReclaim));
    assert_eq!(found.culprits.len(), 1);
    assert!(
        verdict.sentence.ends_with(
            "it stood behind tar (pid 4711), which filled the memory that it has to reclaim itself."
        ),
        "{}",
        verdict.sentence
    );
}

#[test]
fn nobody_is_accused_of_memory_that_was_swapped_out_before() {
    let verdict = judge(&short(Resource::Memory, Cause::SwapIn, 0).books);
    let found = of(&verdict.finding.hypotheses, Resource::Memory);
    assert_eq!(found.culprits.len(), 0);
    assert!(
        verdict
            .sentence
            .contains("memory that had been swapped out was read back"),
        "{}",
        verdict.sentence
    );
    assert!(!verdict.sentence.contains("nobody else is to blame"));
}

#[test]
fn who_fills_memory_is_kept_to_its_own_pages_where_groups_have_such_a_bound() {
    let mut scene = short(Resource::Disk, Cause::CacheEviction, 38);
    let known = Standing {
        pid: 4711,
        ..Standing::default()
    };
    scene.books.standings.insert(1, known);
    let high = |scene: &Scene| {
        let remedies = judge(&scene.books).remedies;
        let mut high = remedies.into_iter().filter(|remedy| {
            remedy.command.contains("memory.high") || remedy.command.contains("MemoryHigh")
        });
        high.next().unwrap()
    };
    let hierarchy = |unified| {
        Some(Hierarchy {
            unified,
            mount: "/c".to_owned(),
        })
    };
    scene.books.means.io = hierarchy(true);
    let new = high(&scene);
    assert!(new.applies);
    assert_eq!(
        new.command,
        "echo +memory > /c/cgroup.subtree_control && mkdir -p /c/tracer-4711 && echo 268435456 > /c/tracer-4711/memory.high \
         && for p in 4711; do echo $p > /c/tracer-4711/cgroup.procs; done"
    );
    scene.books.means.io = hierarchy(false);
    let old = high(&scene);
    assert!(
        !old.applies && old.note.contains("version 1"),
        "{}",
        old.note
    );
}
