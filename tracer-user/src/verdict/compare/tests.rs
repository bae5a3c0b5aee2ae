//! Two hand-made windows, with answers worked out by hand.

use super::{Blamed, Comparison, Identity, Window, compare};
use crate::{
    class::{Class, Resource},
    model::books::{Books, Ends, Holder, Requests},
    verdict::{
        Charged,
        fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
    },
};

/// A scene that goes on for so many seconds, from 1 s after the boot of its machine on.
fn lasting(scene: &Scene, seconds: u64) -> Books {
    let mut books = scene.books.clone();
    let slices = (seconds * 10) as usize;
    books.bins = books.bins.iter().cycle().take(slices).cloned().collect();
    books.start.ns = 1_000 * MS;
    books.end.ns = books.start.ns + seconds * 1_000 * MS;
    books
}

/// With so many requests in each second, each of so many ms. Their time is disk time behind whoever holds it.
fn answering(scene: &Scene, seconds: u64, each_second: u64, ms: u64) -> Books {
    let mut books = lasting(scene, seconds);
    let mut buckets = vec![0; tracer_common::histogram::BUCKETS + 1];
    let bucket = tracer_common::histogram::bucket(ms * MS);
    let count = seconds * each_second;
    buckets[bucket.map_or(0, |index| index as usize + 1)] = count;
    let ends = (0..seconds).map(|second| Ends {
        ns: books.start.ns + second * 1_000 * MS + 500 * MS,
        count: each_second,
        sum_ns: each_second * ms * MS,
    });
    let took = Some(ms * MS);
    books.requests = Some(Requests {
        count,
        p50_ns: took,
        p90_ns: took,
        p99_ns: took,
        max_ns: took,
        sum_ns: count * ms * MS,
        buckets,
        ends: ends.collect(),
        ..Requests::default()
    });
    for bin in &mut books.bins {
        bin.requests[Class::Disk.index()] = each_second * ms * MS / 10;
    }
    books
}

fn compared(before: &Books, after: &Books) -> Comparison {
    let verdicts = [before, after].map(judge);
    let charged = [before, after].map(Charged::new);
    let before = Window::new(&charged[0], &verdicts[0]);
    let after = Window::new(&charged[1], &verdicts[1]);
    compare(&before, &after)
}

fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a Blamed {
    let mut rows = comparison.blame.iter();
    rows.find(|row| row.holder.name() == name).unwrap()
}

/// Is any change claimed?
fn claims(comparison: &Comparison) -> bool {
    let requests = comparison.per_request.iter().flatten();
    let budgets = requests.chain(&comparison.per_second);
    let budgets = budgets.map(|(_, figure)| figure.differs);
    let rows = comparison.blame.iter().map(|row| row.figure.differs);
    let quantiles = comparison.quantiles.iter().map(|quantile| quantile.differs);
    let mut all = budgets.chain(rows).chain(quantiles);
    all.any(|differs| differs == Some(true))
}

const SAME: &str = "after: no difference that exceeds the noise.";

/// Each slice has another part of what the scene has in all of them.
fn uneven(scene: &Scene, seconds: u64, seed: u64) -> Books {
    let mut books = lasting(scene, seconds);
    let mut number = seed;
    for bin in &mut books.bins {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let part = (number >> 33) % 200;
        let scaled = |ns: &mut u64| *ns = *ns * part / 100;
        bin.threads.iter_mut().for_each(scaled);
        bin.charges
            .iter_mut()
            .for_each(|charge| charge.ns = charge.ns * part / 100);
    }
    books
}

#[test]
fn a_window_does_not_differ_from_itself() {
    let of_threads = uneven(&disk_behind_tar(), 10, 7);
    let of_requests = answering(&disk_behind_tar(), 10, 30, 80);
    for books in [of_threads, of_requests] {
        let same = compared(&books, &books);
        assert!(same.comparable && !claims(&same), "{same:?}");
        assert_eq!((same.sentence.as_str(), same.caveats.len()), (SAME, 0));
    }
}

#[test]
fn two_windows_of_one_uneven_load_do_not_differ() {
    // 5 % of such pairs may show a change. It would have to be one of these twenty.
    let differing = (0..20).filter(|seed| {
        let [before, after] = [1, 1000].map(|first| uneven(&disk_behind_tar(), 10, first + seed));
        claims(&compared(&before, &after))
    });
    assert!(differing.count() <= 2);
}

#[test]
fn a_backup_that_is_gone_is_what_differs() {
    let mut without = Scene::new();
    without.place("sda");
    let (before, after) = (lasting(&disk_behind_tar(), 10), lasting(&without, 30));
    let there = compared(&before, &after);
    let tar = row(&there, "tar");
    assert_eq!(
        (tar.resource, tar.place.as_deref()),
        (Resource::Disk, Some("sda"))
    );
    // 36 ms of each slice, whatever the length of the window.
    assert_eq!((tar.figure.before, tar.figure.after), (360e6, 0.0));
    assert_eq!(tar.figure.differs, Some(true));
    assert_eq!(
        there.sentence,
        "after: the disk behind tar went from 72 % to 0 % of active time (360 ms → 0 ns a second)."
    );
}

#[test]
fn the_way_back_mirrors_the_way_there() {
    let mut slow = disk_behind_tar();
    slow.books.processes[1].pid = 815;
    let slow = slow.threads(Class::Cpu, 5);
    let (before, after) = (lasting(&disk_behind_tar(), 10), lasting(&slow, 20));
    let (there, back) = (compared(&before, &after), compared(&after, &before));
    for (one, other) in there.per_second.iter().zip(&back.per_second) {
        let (low, high) = one.1.difference.unwrap();
        assert_eq!(other.1.difference, Some((-high, -low)));
        assert_eq!(
            (one.1.before, one.1.differs),
            (other.1.after, other.1.differs)
        );
    }
    assert!(claims(&there) && claims(&back));
    // Another pid is the same holder.
    assert_eq!(row(&there, "tar").figure.differs, Some(false));
    assert_eq!(there.blame.len(), back.blame.len());
}

#[test]
fn requests_are_compared_by_the_time_of_one() {
    // In the longer window as many in each second take a quarter as long.
    let before = answering(&disk_behind_tar(), 10, 30, 80);
    let after = answering(&disk_behind_tar(), 20, 30, 20);
    let faster = compared(&before, &after);
    assert!(faster.of_requests && faster.comparable);
    let per_request = faster.per_request.as_ref().unwrap();
    let (_, disk) = per_request
        .iter()
        .find(|(class, _)| *class == Class::Disk)
        .unwrap();
    assert_eq!(
        (disk.before, disk.after, disk.differs),
        (80e6, 20e6, Some(true))
    );
    assert_eq!(faster.quantiles[0].differs, Some(true));
    assert_eq!(
        faster.sentence,
        "after: requests 4.0 × faster (p50 80.0 ms → 20.0 ms); the disk behind tar went from 72.0 ms to 18.0 ms a request."
    );
    let slower = compared(&after, &before);
    assert!(
        slower
            .sentence
            .starts_with("after: requests 4.0 × slower (p50 20.0 ms → 80.0 ms)")
    );
}

#[test]
fn another_load_is_said_and_few_requests_are_not_compared() {
    let (many, few) = (
        answering(&disk_behind_tar(), 10, 30, 80),
        answering(&disk_behind_tar(), 10, 10, 80),
    );
    let other = compared(&many, &few);
    assert!(other.caveats[0].starts_with("30.0 requests ended in a second before and 10.0 after"));
    let hardly = answering(&disk_behind_tar(), 10, 1, 80);
    let found = compared(&many, &hardly);
    assert!(
        found.caveats[0].starts_with("after 10 requests ended, too few"),
        "{:?}",
        found.caveats
    );
    let per_request = found.per_request.as_ref().unwrap();
    assert!(
        per_request
            .iter()
            .all(|(_, figure)| figure.differs.is_none())
    );
    assert!(
        found
            .quantiles
            .iter()
            .all(|quantile| quantile.differs.is_none())
    );
}

#[test]
fn nothing_is_claimed_of_another_target_or_of_a_short_window() {
    let before = lasting(&disk_behind_tar(), 10);
    let mut after = lasting(&Scene::new(), 10);
    after.processes[0].comm = "redis-server".into();
    let other = compared(&before, &after);
    assert!(!other.comparable && !claims(&other));
    assert_eq!(
        other.sentence,
        "No change is claimed: the targets are different ones, nginx before and redis-server after."
    );
    // One unit has one service, whatever its program is.
    let mut before = before;
    for books in [&mut before, &mut after] {
        books.processes[0].cgroup = "/system.slice/web.service".into();
    }
    assert!(compared(&before, &after).comparable);
    let short = lasting(&disk_behind_tar(), SLICES / 10);
    let found = compared(&before, &short);
    assert!(!found.comparable && !claims(&found));
    assert!(
        found.sentence.contains("the window after lasts 2.00 s"),
        "{}",
        found.sentence
    );
}

#[test]
fn a_change_has_to_exceed_what_was_lost() {
    let before = lasting(&disk_behind_tar(), 10);
    let mut after = lasting(&Scene::new(), 10);
    let mut half = before.clone();
    for books in [&mut after, &mut half] {
        books.end.sent = 1000;
        books.end.ring_drops = vec![("waits".to_owned(), 500)];
    }
    // Nothing of nothing may have been lost, but half of what was seen.
    assert!(claims(&compared(&before, &after)));
    let mut more = before.clone();
    for bin in &mut more.bins {
        bin.threads[Class::Disk.index()] += 30 * MS;
        bin.charges[0].ns += 30 * MS;
    }
    assert!(claims(&compared(&before, &more)));
    let doubtful = compared(&half, &more);
    assert!(!claims(&doubtful));
    assert!(doubtful.caveats[0].starts_with("before 50 % of the records were lost"));
}

#[test]
fn what_one_window_could_not_see_is_not_compared() {
    let before = lasting(&disk_behind_tar(), 10);
    let after = lasting(&Scene::new().blind(Resource::Disk), 10);
    let found = compared(&before, &after);
    assert_eq!(row(&found, "tar").figure.differs, None);
    let (_, disk) = found
        .per_second
        .iter()
        .find(|(class, _)| *class == Class::Disk)
        .unwrap();
    assert_eq!(disk.differs, None);
    assert!(found.caveats[0].starts_with("disk is not compared: after it cannot be seen"));
}

#[test]
fn what_nobody_held_is_a_row_and_no_culprit() {
    let held = Scene::new().threads(Class::Disk, 40);
    let held = held.charge(Resource::Disk, None, Holder::Nobody, 40);
    let found = compared(&lasting(&held, 10), &lasting(&Scene::new(), 10));
    let nobody = row(&found, "unattributed");
    assert_eq!(nobody.holder, Identity::Plain(Holder::Nobody));
    assert_eq!(nobody.figure.differs, Some(true));
    assert!(
        found
            .sentence
            .starts_with("after: waits for the disk went from 80 % to 0 %")
    );
}

#[test]
fn the_older_recording_comes_first() {
    let older = lasting(&disk_behind_tar(), 10);
    let mut newer = older.clone();
    newer.start.wall_ns = 2_000_000 * MS;
    let mut first = older.clone();
    first.start.wall_ns = 1_000_000 * MS;
    assert!(compared(&first, &newer).caveats.is_empty());
    assert!(compared(&newer, &first).caveats[0].contains("give the older recording first"));
}
