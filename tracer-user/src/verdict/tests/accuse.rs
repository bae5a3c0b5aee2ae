//! Somebody holds it.

use super::{near, of};
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Holder, OwnerWait},
    standing::Standing,
    verdict::fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
};

#[test]
fn one_reader_of_the_same_disk_is_accused() {
    let verdict = judge(&disk_behind_tar().books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.resource, Resource::Disk);
    assert_eq!(first.cause, Some(Cause::Contention));
    assert_eq!(first.place, Some(0));
    near(first.share, 1.0);
    near(first.self_share, 0.1);
    near(first.culprits[0].share, 0.9);
    near(verdict.finding.blocked_part, 0.8);
    near(verdict.confidence, 1.0);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 90 % of its blocked time it stood behind tar (pid 4711) on sda."
    );
}

#[test]
fn two_culprits_share_a_cpu_70_to_30() {
    let mut scene = Scene::new();
    let (gzip, xz) = (scene.process(21, "gzip"), scene.process(22, "xz"));
    let cpu = Some(scene.place("cpu1"));
    let scene = scene
        .threads(Class::Cpu, 50)
        .charge(Resource::Cpu, cpu, Holder::Process(xz), 15)
        .charge(Resource::Cpu, cpu, Holder::Process(gzip), 35);
    let verdict = judge(&scene.books);
    let culprits = &verdict.primary().unwrap().culprits;
    let shares: Vec<(usize, f64)> = culprits.iter().map(|c| (c.process, c.share)).collect();
    assert_eq!(shares, [(gzip, 0.7), (xz, 0.3)]);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 70 % of its blocked time it stood behind gzip (pid 21) and 30 % behind xz (pid 22) on cpu1."
    );
}

#[test]
fn who_runs_before_everybody_by_its_policy_is_said_to() {
    let mut scene = Scene::new();
    let (cpu, player) = (Some(scene.place("cpu1")), scene.process(21, "jackd"));
    let mut scene =
        scene
            .threads(Class::Cpu, 50)
            .charge(Resource::Cpu, cpu, Holder::Process(player), 50);
    let standing = Standing {
        pid: 21,
        policy: 1,
        ..Standing::default()
    };
    scene.books.standings.insert(player, standing);
    assert_eq!(
        judge(&scene.books).sentence,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind jackd (pid 21, real-time) on cpu1."
    );
}

#[test]
fn two_resources_at_once_are_both_named() {
    let mut scene = disk_behind_tar();
    let (rsync, eth0) = (scene.process(99, "rsync"), scene.place("eth0"));
    // 40 for the disk, 20 for the network, 2 for locks, of 72 that are not idle.
    let scene = scene
        .threads(Class::Network, 20)
        .threads(Class::Lock, 2)
        .threads(Class::Idle, 28)
        .charge(Resource::Network, Some(eth0), Holder::Process(rsync), 20)
        .charge(Resource::Lock, None, Holder::OwnLock, 2);
    let verdict = judge(&scene.books);
    near(
        of(&verdict.finding.hypotheses, Resource::Disk).share,
        40.0 / 62.0,
    );
    near(
        of(&verdict.finding.hypotheses, Resource::Network).share,
        20.0 / 62.0,
    );
    near(verdict.finding.blocked_part, 62.0 / 72.0);
    assert_eq!(verdict.healthy, [Resource::Cpu]);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 58 % of its blocked time it stood behind tar (pid 4711) on sda; \
         it also waits for the network: 32 % of its blocked time it stood behind rsync (pid 99) on eth0."
    );
}

/// nginx waits 44 ms of each slice for sda, 40 of them behind rsync, and 48 ms for a CPU: `tar` of them behind tar, the rest behind itself.
fn disk_and_cpu(tar: u64) -> Scene {
    let mut scene = Scene::new();
    let (rsync, sda) = (scene.process(99, "rsync"), scene.place("sda"));
    let other = scene.process(4711, "tar");
    scene
        .threads(Class::Disk, 44)
        .threads(Class::Cpu, 48)
        .charge(Resource::Disk, Some(sda), Holder::Process(rsync), 40)
        .charge(Resource::Disk, Some(sda), Holder::Own, 4)
        .charge(Resource::Cpu, None, Holder::Process(other), tar)
        .charge(Resource::Cpu, None, Holder::Own, 48 - tar)
}

#[test]
fn of_two_resources_with_culprits_the_one_of_which_they_cost_most_comes_first() {
    let verdict = judge(&disk_and_cpu(20).books);
    assert_eq!(verdict.primary().unwrap().resource, Resource::Disk);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 43 % of its blocked time it stood behind rsync (pid 99) on sda; \
         it also waits for the CPU: 30 % of its blocked time it stood behind its own threads and \
         22 % behind tar (pid 4711)."
    );
    near(verdict.confidence, 1.0);
    let more = judge(&disk_and_cpu(41).books);
    assert_eq!(more.primary().unwrap().resource, Resource::Cpu);
}

#[test]
fn what_it_owes_to_itself_comes_first_if_it_is_the_largest_and_nobody_is_accused_of_it() {
    let verdict = judge(&disk_and_cpu(0).books);
    let first = verdict.primary().unwrap();
    assert_eq!((first.resource, first.culprits.len()), (Resource::Cpu, 0));
}

#[test]
fn a_culprit_and_its_own_requests_are_both_named() {
    let mut scene = Scene::new();
    let (tar, sda) = (scene.process(4711, "tar"), scene.place("sda"));
    let scene = scene
        .threads(Class::Disk, 40)
        .charge(Resource::Disk, Some(sda), Holder::Process(tar), 10)
        .charge(Resource::Disk, Some(sda), Holder::Own, 30);
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().cause, Some(Cause::Own));
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 75 % of its blocked time it stood behind its own requests and 25 % behind tar (pid 4711) on sda."
    );
}

#[test]
fn a_pipeline_is_one_culprit_and_its_largest_member_stands_for_it() {
    let mut scene = Scene::new();
    let (tar, gzip, bash) = (
        scene.process(31, "tar"),
        scene.process(32, "gzip"),
        scene.process(30, "bash"),
    );
    for (member, parent) in [(tar, Some(bash)), (gzip, Some(bash)), (bash, None)] {
        let process = &mut scene.books.processes[member];
        (process.parent, process.pgid, process.sid) = (parent, 30, 30);
    }
    scene.books.processes[bash].cmdline = "bash backup.sh".into();
    let scene = scene
        .threads(Class::Cpu, 100)
        .charge(Resource::Cpu, None, Holder::Process(tar), 18)
        .charge(Resource::Cpu, None, Holder::Process(gzip), 80)
        .charge(Resource::Cpu, None, Holder::Process(bash), 2);
    let verdict = judge(&scene.books);
    let culprits = &verdict.primary().unwrap().culprits;
    assert_eq!(culprits.len(), 1);
    assert_eq!(culprits[0].name, "tar | gzip");
    assert_eq!(culprits[0].process, gzip);
    assert_eq!(culprits[0].members, [gzip, tar, bash]);
    near(culprits[0].share, 1.0);
}

#[test]
fn a_journal_that_covers_more_than_its_users_is_the_cause_and_they_the_culprits() {
    let mut scene = Scene::new();
    let (tar, sda) = (scene.process(4711, "tar"), scene.place("sda"));
    let mut scene = scene
        .threads(Class::Disk, 40)
        .charge(Resource::Disk, Some(sda), Holder::Process(tar), 30)
        .charge(Resource::Disk, Some(sda), Holder::Own, 10);
    let all = 40 * MS * SLICES;
    scene.books.causes = vec![(Resource::Disk, Cause::Journal, all)];
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().cause, Some(Cause::Journal));
    assert_eq!(verdict.primary().unwrap().culprits[0].process, tar);
    assert!(
        verdict.sentence.ends_with("on sda, in journal commits."),
        "{}",
        verdict.sentence
    );

    scene.books.causes = vec![(Resource::Disk, Cause::Journal, all / 2)];
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().cause, Some(Cause::Contention));
}

#[test]
fn own_quota_seen_as_holder_and_as_mechanism_counts_once() {
    let mut scene = Scene::new();
    let gzip = scene.process(21, "gzip");
    let mut scene = scene
        .threads(Class::Cpu, 25)
        .charge(Resource::Cpu, None, Holder::OwnQuota, 10)
        .charge(Resource::Cpu, None, Holder::Process(gzip), 15);
    scene.books.causes = vec![(Resource::Cpu, Cause::Quota, 10 * MS * SLICES)];
    let verdict = judge(&scene.books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.cause, Some(Cause::Contention));
    near(first.culprits[0].share, 0.6);
    near(first.self_share, 0.4);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 60 % of its blocked time it stood behind gzip (pid 21) and 40 % behind its own quota."
    );
}

#[test]
fn a_wait_spread_over_many_cpus_names_none_of_them() {
    let mut scene = Scene::new();
    let gzip = scene.process(21, "gzip");
    for cpu in 0..4 {
        let place = scene.place(&format!("cpu{cpu}"));
        scene = scene.charge(Resource::Cpu, Some(place), Holder::Process(gzip), 10);
    }
    let verdict = judge(&scene.threads(Class::Cpu, 40).books);
    near(verdict.primary().unwrap().place_part, 0.25);
    assert!(
        verdict.sentence.ends_with("behind gzip (pid 21)."),
        "{}",
        verdict.sentence
    );
}

#[test]
fn who_holds_a_lock_is_a_lock_holder() {
    let mut scene = Scene::new();
    let backup = scene.process(21, "backup");
    let scene =
        scene
            .threads(Class::Lock, 40)
            .charge(Resource::Lock, None, Holder::Process(backup), 40);
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().cause, Some(Cause::LockHolder));
    assert_eq!(
        verdict.sentence,
        "nginx waits for a lock: 100 % of its blocked time it stood behind backup (pid 21)."
    );
}

#[test]
fn a_job_of_forty_short_compressors_is_named_after_their_program() {
    let mut scene = Scene::new();
    let cpu = Some(scene.place("cpu1"));
    let script = scene.process(100, "sh");
    scene.books.processes[script].cmdline = "sh backup.sh".into();
    let mut compressors = Vec::new();
    for pid in 101..141 {
        let compressor = scene.process(pid, "gzip");
        let process = &mut scene.books.processes[compressor];
        (process.parent, process.pgid, process.sid) = (Some(script), 100, 100);
        compressors.push(compressor);
    }
    let mut scene = scene.threads(Class::Cpu, 40);
    for compressor in compressors {
        scene = scene.charge(Resource::Cpu, cpu, Holder::Process(compressor), 1);
    }
    let verdict = judge(&scene.books);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind gzip (pid 101) on cpu1."
    );
}

/// nginx waits for a lock that flock (pid 30) has; what flock waits for, behind tar (pid 31) or nobody.
fn behind_flock(waits: Option<(Resource, bool)>) -> String {
    let mut scene = Scene::new();
    let (flock, tar) = (scene.process(30, "flock"), scene.process(31, "tar"));
    let file = Some(scene.place("/run/lock"));
    let mut scene =
        scene
            .threads(Class::Lock, 50)
            .charge(Resource::Lock, file, Holder::Process(flock), 50);
    let wait = waits.map(|(resource, is_behind)| OwnerWait {
        owner: flock,
        resource,
        behind: is_behind.then_some(tar),
    });
    scene.books.owner_waits.extend(wait);
    judge(&scene.books).sentence
}

#[test]
fn the_owner_of_a_lock_is_named_with_its_file_and_what_it_waits_for_itself() {
    let said = "nginx waits for a lock: 100 % of its blocked time it stood behind flock (pid 30) on /run/lock";
    assert_eq!(behind_flock(None), format!("{said}."));
    assert_eq!(
        behind_flock(Some((Resource::Disk, true))),
        format!("{said}, which waits for the disk behind tar (pid 31).")
    );
    assert_eq!(
        behind_flock(Some((Resource::Cpu, false))),
        format!("{said}, which waits for the CPU.")
    );
}
