//! Every threshold, at its value and just beside it.

use super::near;
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Asker, Books, Budget, Charge, Holder, ProcessId, Served},
    verdict::{
        Verdict,
        fixture::{MS, Scene, judge},
    },
};

/// In each slice nginx runs for `ran` ms. It waits for sda `tar` ms behind tar, `own` ms behind itself and `nobody` ms behind
/// nobody.
fn disk(ran: u64, tar: u64, own: u64, nobody: u64) -> Scene {
    let mut scene = Scene::new();
    let (process, sda) = (scene.process(4711, "tar"), Some(scene.place("sda")));
    scene
        .threads(Class::OnCpu, ran - 10)
        .threads(Class::Disk, tar + own + nobody)
        .charge(Resource::Disk, sda, Holder::Process(process), tar)
        .charge(Resource::Disk, sda, Holder::Own, own)
        .charge(Resource::Disk, sda, Holder::Nobody, nobody)
}

fn culprits(verdict: &Verdict) -> usize {
    verdict.primary().map_or(0, |first| first.culprits.len())
}

/// How many are accused where another process holds the disk, too.
fn beside_rsync(mut scene: Scene, rsync: u64) -> usize {
    let second = scene.process(99, "rsync");
    let scene = scene.threads(Class::Disk, rsync).charge(
        Resource::Disk,
        None,
        Holder::Process(second),
        rsync,
    );
    culprits(&judge(&scene.books))
}

#[test]
fn a_tenth_of_active_time_blocked_holds_up() {
    assert!(judge(&disk(90, 10, 0, 0).books).finding.held_up);
    assert!(!judge(&disk(91, 10, 0, 0).books).finding.held_up);
}

#[test]
fn a_known_part_of_a_twentieth_of_active_time_holds_up() {
    let blocked = |ran, other| {
        let scene = disk(ran, 5, 0, 0).threads(Class::Other, other);
        judge(&scene.books).finding.held_up
    };
    assert!(blocked(50, 45));
    assert!(!blocked(51, 45));
}

#[test]
fn a_fifth_of_the_wait_and_a_twentieth_of_the_time_make_a_culprit() {
    assert_eq!(culprits(&judge(&disk(75, 5, 20, 0).books)), 1);
    assert_eq!(culprits(&judge(&disk(74, 5, 21, 0).books)), 0);
    assert_eq!(culprits(&judge(&disk(76, 5, 20, 0).books)), 0);
}

#[test]
fn beside_a_culprit_a_fifth_of_what_others_held_is_enough() {
    let found =
        |ran: u64, tar: u64, rsync: u64, own: u64| beside_rsync(disk(ran, tar, own, 0), rsync);
    assert_eq!(found(10, 63, 18, 19), 2);
    assert_eq!((found(10, 80, 20, 25), found(10, 81, 20, 24)), (2, 1));
    // Without one who has a fifth of all, the others are not what holds it up.
    assert_eq!((found(10, 20, 19, 61), found(10, 19, 19, 62)), (2, 0));
    // What nobody would feel stays out, however large a part of the others' it is.
    assert_eq!((found(40, 20, 7, 73), found(41, 20, 7, 73)), (2, 1));
}

#[test]
fn what_nobody_is_known_to_have_held_makes_nobody_else_a_culprit() {
    let found = |tar: u64, rsync: u64, nobody: u64| beside_rsync(disk(10, tar, 0, nobody), rsync);
    // A fifth of what is charged to processes, and 6 % of the wait.
    assert_eq!(found(24, 6, 70), 1);
    assert_eq!((found(24, 20, 56), found(24, 19, 57)), (2, 1));
}

#[test]
fn a_twentieth_of_blocked_time_or_of_active_time_is_not_healthy() {
    let disk_is_healthy = |scene: Scene| judge(&scene.books).healthy.contains(&Resource::Disk);
    let beside = |cpu| disk(10, 5, 0, 0).threads(Class::Cpu, cpu);
    assert!(!disk_is_healthy(beside(95)));
    assert!(disk_is_healthy(beside(96)));
    assert!(!disk_is_healthy(disk(91, 5, 0, 0).threads(Class::Cpu, 4)));
    assert!(disk_is_healthy(disk(91, 4, 0, 0).threads(Class::Cpu, 5)));
}

#[test]
fn what_has_half_of_the_blocked_time_is_never_healthy() {
    let disk_is_healthy = |disk_ms| {
        let scene = disk(1000, disk_ms, 0, 0).threads(Class::Cpu, 4);
        judge(&scene.books).healthy.contains(&Resource::Disk)
    };
    assert!(!disk_is_healthy(4));
    assert!(disk_is_healthy(3));
}

/// So many requests ran for a millisecond of each slice and waited behind tar for `ms` more.
fn requests(count: u64, ms: u64) -> Scene {
    let mut scene = Scene::new();
    let tar = scene.process(4711, "tar");
    let mut scene = scene
        .requests(Class::OnCpu, 1)
        .requests(Class::Disk, ms)
        .threads(Class::Disk, ms)
        .charge(Resource::Disk, None, Holder::Process(tar), ms);
    scene.books.requests.as_mut().unwrap().count = count;
    scene
}

#[test]
fn a_millisecond_a_request_is_felt_and_less_is_not() {
    // 2 ms in each of 20 slices.
    let verdict = judge(&requests(40, 2).books);
    assert!(verdict.finding.held_up);
    assert_eq!(culprits(&verdict), 1);
    let verdict = judge(&requests(41, 2).books);
    assert!(verdict.primary().is_none() && verdict.finding.hypotheses[0].culprits.is_empty());
    assert_eq!(
        verdict.sentence,
        "nginx is not held up: 67 % of request time blocked (mostly for the disk), which is 976 µs a request and hardly felt."
    );
    assert_eq!(verdict.remedies, []);
}

#[test]
fn a_tenth_of_the_window_is_felt_however_many_requests_share_it() {
    assert!(judge(&requests(1_000_000, 10).books).finding.held_up);
    assert!(!judge(&requests(1_000_000, 9).books).finding.held_up);
}

#[test]
fn a_hundredth_of_the_window_is_the_least_however_few_requests_share_it() {
    assert!(judge(&requests(20, 1).books).finding.held_up);
    let mut scene = requests(20, 1);
    scene.books.bins[0].requests[Class::Disk.index()] = 0;
    let verdict = judge(&scene.books);
    assert!(!verdict.finding.held_up);
    assert!(
        verdict.sentence.contains("which is 950 µs a request"),
        "{}",
        verdict.sentence
    );
}

#[test]
fn threads_are_held_up_by_a_tenth_of_the_window_or_by_a_hundredth_in_long_waits() {
    let held_up = |ms, long_waits_ms| {
        let mut scene = disk(10, ms, 0, 0);
        for bin in &mut scene.books.bins {
            bin.threads[Class::OnCpu.index()] = MS;
        }
        scene.books.long_waits_ns = long_waits_ms * MS;
        judge(&scene.books).finding.held_up
    };
    assert!(held_up(10, 0) && !held_up(9, 0));
    // The window has 2 s.
    assert!(held_up(1, 20) && !held_up(1, 19));
}

#[test]
fn a_quarter_of_blocked_time_is_named_too() {
    let named = |ms| {
        let scene = disk(10, ms, 0, 0).threads(Class::Network, 10);
        judge(&scene.books)
            .sentence
            .contains("it also waits for the network")
    };
    assert!(named(30));
    assert!(!named(31));
}

#[test]
fn a_place_of_half_the_wait_is_named() {
    let named = |there| {
        let mut scene = Scene::new();
        let (tar, sda) = (scene.process(4711, "tar"), Some(scene.place("sda")));
        let scene = scene
            .threads(Class::Disk, 40)
            .charge(Resource::Disk, sda, Holder::Process(tar), there)
            .charge(Resource::Disk, None, Holder::Process(tar), 40 - there);
        judge(&scene.books).sentence.ends_with(" on sda.")
    };
    assert!(named(20));
    assert!(!named(19));
}

#[test]
fn a_window_of_ten_slices_is_not_short() {
    let short = |slices| {
        let mut scene = disk(10, 40, 0, 0);
        scene.books.bins.truncate(slices);
        judge(&scene.books).sentence.contains("seen for")
    };
    assert!(short(9));
    assert!(!short(10));
}

#[test]
fn a_tenth_without_explanation_is_no_doubt_yet() {
    let verdict = judge(&disk(10, 45, 0, 5).books);
    assert_eq!(verdict.doubts, [""; 0]);
    near(verdict.confidence, 0.9);
    near(judge(&disk(10, 44, 0, 6).books).confidence, 0.5);
}

#[test]
fn half_of_a_disk_by_estimate_is_no_doubt_yet() {
    let confidence = |estimated| {
        let mut scene = Scene::new();
        let tar = Holder::Process(scene.process(4711, "tar"));
        let scene = scene.threads(Class::Disk, 40);
        let scene = scene.estimate(Resource::Disk, None, tar, 40, estimated);
        judge(&scene.books).confidence
    };
    near(confidence(20), 0.75);
    near(confidence(21), 0.5);
}

#[test]
fn a_cause_explains_a_quarter_of_the_wait() {
    let cause = |slow| {
        let scene = Scene::new()
            .threads(Class::Disk, 40)
            .charge(Resource::Disk, None, Holder::SlowDevice, slow)
            .charge(Resource::Disk, None, Holder::Nobody, 40 - slow);
        judge(&scene.books).primary().unwrap().cause
    };
    assert_eq!(cause(10), Some(Cause::DeviceSlow));
    assert_eq!(cause(9), None);
}

#[test]
fn the_process_that_answers_half_of_the_wait_is_on_the_way() {
    let via = |ms| {
        let mut scene = Scene::new();
        let back = scene.process(21, "backend");
        let scene = scene
            .threads(Class::Upstream, 40)
            .charge(Resource::Upstream, None, Holder::Process(back), ms)
            .charge(Resource::Upstream, None, Holder::Nobody, 40 - ms);
        let verdict = judge(&scene.books);
        let found = verdict.primary().unwrap();
        assert_eq!(found.culprits, []);
        found.via.len()
    };
    assert_eq!((via(20), via(19)), (1, 0));
}

#[test]
fn a_fifth_of_its_own_is_named_beside_the_culprit() {
    let named = |own| {
        let verdict = judge(&disk(10, 40 - own, own, 0).books);
        verdict.sentence.contains("behind its own requests")
    };
    assert!(named(8));
    assert!(!named(7));
}

#[test]
fn others_are_acquitted_where_nine_tenths_are_known_and_its_own() {
    let said = |own| judge(&disk(10, 0, own, 40 - own).books).sentence;
    assert!(said(36).ends_with("nobody else is to blame."));
    let unseen = "no other was seen, but the holder of 12 % of that is not known.";
    assert!(said(35).ends_with(unseen), "{}", said(35));
}

#[test]
fn its_own_is_its_quota_where_that_is_more_than_half() {
    let said = |quota| {
        let mut scene = Scene::new();
        let gzip = scene.process(21, "gzip");
        let scene = scene
            .threads(Class::Cpu, 80)
            .charge(Resource::Cpu, None, Holder::Process(gzip), 40)
            .charge(Resource::Cpu, None, Holder::OwnQuota, quota)
            .charge(Resource::Cpu, None, Holder::Own, 40 - quota);
        judge(&scene.books).sentence
    };
    assert!(said(21).contains("its own quota"), "{}", said(21));
    assert!(said(20).contains("its own threads"), "{}", said(20));
}

#[test]
fn a_member_with_a_twentieth_is_in_the_name() {
    let name = |tar_ms: u64| {
        let mut scene = Scene::new();
        let (tar, gzip) = (scene.process(31, "tar"), scene.process(32, "gzip"));
        for member in [tar, gzip] {
            (
                scene.books.processes[member].pgid,
                scene.books.processes[member].sid,
            ) = (31, 31);
        }
        let scene = scene
            .threads(Class::Cpu, 100)
            .charge(Resource::Cpu, None, Holder::Process(tar), tar_ms)
            .charge(Resource::Cpu, None, Holder::Process(gzip), 100 - tar_ms);
        judge(&scene.books).primary().unwrap().culprits[0]
            .name
            .clone()
    };
    assert_eq!(
        (name(5), name(4)),
        ("tar | gzip".to_owned(), "gzip".to_owned())
    );
}

/// In each slice the requests of a client waited `ms` behind the target's work for the other one.
fn behind(books: &mut Books, asker: ProcessId, client: ProcessId, ms: u64) {
    let charge = Charge {
        resource: Resource::Disk,
        place: None,
        holder: Holder::Client(client),
        ns: ms * MS,
        estimated_ns: 0,
    };
    for bin in &mut books.bins {
        bin.served.push(Served {
            asker: Asker::Process(asker),
            requests: Budget::default(),
            charges: vec![charge],
        });
    }
}

#[test]
fn a_client_that_costs_twice_what_it_suffers_is_charged() {
    let accused = |suffers| {
        let mut scene = Scene::new();
        let (shop, dump) = (scene.process(21, "shop"), scene.process(22, "dump"));
        let mut scene = scene.threads(Class::Disk, 40 + suffers).charge(
            Resource::Disk,
            None,
            Holder::Own,
            40 + suffers,
        );
        behind(&mut scene.books, shop, dump, 40);
        behind(&mut scene.books, dump, shop, suffers);
        culprits(&judge(&scene.books))
    };
    assert_eq!((accused(20), accused(21)), (1, 0));
}
