//! How sure, and what cannot be said.

use super::near;
use crate::{
    class::{Class, Resource},
    model::books::Holder,
    verdict::fixture::{MS, Scene, disk_behind_tar, judge},
};

#[test]
fn lost_records_lower_confidence() {
    let mut scene = disk_behind_tar();
    scene.books.end.sent = 1000;
    scene.books.end.ring_drops = vec![("waits".to_owned(), 200), ("block_io".to_owned(), 50)];
    let verdict = judge(&scene.books);
    near(verdict.confidence, 0.75);
    assert_eq!(verdict.doubts, ["25 % of the records were lost"]);
}

#[test]
fn a_dropped_snapshot_lowers_nothing_and_an_unknown_record_does() {
    let dropped = |kind: &str| {
        let mut scene = disk_behind_tar();
        scene.books.end.sent = 1000;
        scene.books.end.ring_drops = vec![(kind.to_owned(), 100)];
        let verdict = judge(&scene.books);
        (verdict.confidence, verdict.doubts)
    };
    assert_eq!(dropped("histograms"), (1.0, Vec::new()));
    let (confidence, doubts) = dropped("futexes");
    near(confidence, 0.9);
    assert_eq!(doubts, ["10 % of the records were lost"]);
}

#[test]
fn unexplained_time_lowers_confidence_and_above_a_tenth_halves_it() {
    let mut scene = Scene::new();
    let tar = scene.process(4711, "tar");
    // Blocked 50, of which nobody has 2 and 2 are of no known class: 4 / 50.
    let little = Scene {
        books: scene.books.clone(),
    }
    .threads(Class::Disk, 48)
    .threads(Class::Other, 2)
    .charge(Resource::Disk, None, Holder::Process(tar), 46)
    .charge(Resource::Disk, None, Holder::Nobody, 2);
    near(judge(&little.books).confidence, 0.92);
    // 10 / 50, which would be 0.8.
    let much = scene
        .threads(Class::Disk, 46)
        .threads(Class::Other, 4)
        .charge(Resource::Disk, None, Holder::Process(tar), 40)
        .charge(Resource::Disk, None, Holder::Nobody, 6);
    let verdict = judge(&much.books);
    near(verdict.confidence, 0.5);
    assert_eq!(
        verdict.doubts,
        ["20 % of the blocked time could not be explained"]
    );
}

#[test]
fn charges_that_fall_short_of_the_wait_leave_the_rest_to_nobody() {
    let mut scene = Scene::new();
    let tar = scene.process(4711, "tar");
    let scene =
        scene
            .threads(Class::Disk, 50)
            .charge(Resource::Disk, None, Holder::Process(tar), 47);
    let verdict = judge(&scene.books);
    near(verdict.primary().unwrap().culprits[0].share, 0.94);
    near(verdict.confidence, 0.94);
}

#[test]
fn an_estimate_counts_half_and_a_disk_that_is_mostly_estimated_stays_at_a_half() {
    let estimated = |class: Class, ms| {
        let mut scene = Scene::new();
        let tar = scene.process(4711, "tar");
        let resource = class.resource().unwrap();
        let scene = scene
            .threads(class, 40)
            .estimate(resource, None, Holder::Process(tar), 40, ms);
        judge(&scene.books).confidence
    };
    near(estimated(Class::Disk, 16), 0.8);
    near(estimated(Class::Disk, 24), 0.5);
    near(estimated(Class::Cpu, 24), 0.7);
}

#[test]
fn a_culprit_that_changes_from_slice_to_slice_is_not_certain() {
    let mut scene = Scene::new();
    let (a, b) = (scene.process(21, "gzip"), scene.process(22, "xz"));
    let mut scene = scene.threads(Class::Cpu, 40);
    for (slice, bin) in scene.books.bins.iter_mut().enumerate() {
        let holder = Holder::Process(if slice % 2 == 0 { a } else { b });
        bin.charges.push(crate::model::books::Charge {
            resource: Resource::Cpu,
            place: None,
            holder,
            ns: 40 * MS,
            estimated_ns: 0,
        });
    }
    let verdict = judge(&scene.books);
    assert!(
        (0.35..0.75).contains(&verdict.confidence),
        "{}",
        verdict.confidence
    );
    near(verdict.confidence, judge(&scene.books).confidence);
}

#[test]
fn a_resource_without_its_probe_is_unknown_and_never_healthy() {
    let verdict = judge(
        &Scene::new()
            .threads(Class::OnCpu, 90)
            .blind(Resource::Disk)
            .books,
    );
    let reason = "block_rq_complete: waits for disks have no holder".to_owned();
    assert_eq!(verdict.unknown, [(Resource::Disk, reason)]);
    assert_eq!(verdict.healthy, [Resource::Network, Resource::Cpu]);
    near(verdict.confidence, 0.5);
    assert_eq!(
        verdict.sentence,
        "nginx is not held up: 0 % of its active time blocked, but waits for the disk cannot be seen here."
    );
}

/// nginx is blocked for 42 ms of each slice, 40 ms of them by nothing that has a name.
fn blocked_by_nothing_known() -> Scene {
    let mut scene = Scene::new();
    let tar = scene.process(4711, "tar");
    scene
        .threads(Class::Other, 40)
        .threads(Class::Disk, 2)
        .charge(Resource::Disk, None, Holder::Process(tar), 2)
}

#[test]
fn blocked_by_nothing_known_is_a_steady_answer_and_as_likely_wrong_as_right() {
    let verdict = judge(&blocked_by_nothing_known().books);
    assert_eq!(verdict.primary(), None);
    near(verdict.confidence, 0.5);
    assert_eq!(
        verdict.doubts,
        ["95 % of the blocked time could not be explained"]
    );
}
