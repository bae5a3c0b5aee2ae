//! Nobody outside the target is to blame.

use super::near;
use crate::{
    class::{Cause, Class, Resource},
    model::books::{Held, Holder, Source},
    verdict::{
        Verdict,
        fixture::{MS, SLICES, Scene, disk_behind_tar, judge},
    },
};

/// All of 40 ms per slice in one class is charged to one holder.
fn all_on(class: Class, holder: Holder) -> Verdict {
    let resource = class.resource().unwrap();
    let scene = Scene::new()
        .threads(class, 40)
        .charge(resource, None, holder, 40);
    judge(&scene.books)
}

#[track_caller]
fn spared(verdict: &Verdict, cause: Option<Cause>, self_share: f64, sentence: &str) {
    let first = verdict.primary().unwrap();
    assert_eq!(first.culprits, []);
    assert_eq!(first.cause, cause);
    near(first.self_share, self_share);
    assert_eq!(verdict.sentence, sentence);
    assert_eq!(verdict.remedies, []);
}

#[test]
fn own_quota_accuses_nobody() {
    spared(
        &all_on(Class::Cpu, Holder::OwnQuota),
        Some(Cause::Quota),
        1.0,
        "nginx waits for the CPU: its own CPU quota (cpu.max) stops it for 100 % of its blocked time; nobody else is to blame.",
    );
}

#[test]
fn own_busy_threads_accuse_nobody() {
    spared(
        &all_on(Class::Cpu, Holder::Own),
        Some(Cause::Own),
        1.0,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind its own threads; nobody else is to blame.",
    );
}

#[test]
fn own_lock_accuses_nobody() {
    spared(
        &all_on(Class::Lock, Holder::OwnLock),
        Some(Cause::Own),
        1.0,
        "nginx waits for a lock: 100 % of its blocked time it stood behind its own locks; nobody else is to blame.",
    );
}

#[test]
fn a_slow_client_accuses_nobody() {
    spared(
        &all_on(Class::Network, Holder::Peer),
        Some(Cause::PeerSlow),
        0.0,
        "nginx waits for the network: 100 % of its blocked time the other end or the path to it was slow; no other was seen.",
    );
}

#[test]
fn a_slow_device_accuses_nobody() {
    spared(
        &all_on(Class::Disk, Holder::SlowDevice),
        Some(Cause::DeviceSlow),
        0.0,
        "nginx waits for the disk: 100 % of its blocked time the device itself was slow.",
    );
}

#[test]
fn pages_dirtied_before_the_trace_accuse_nobody() {
    spared(
        &all_on(Class::Disk, Holder::Earlier),
        Some(Cause::Writeback),
        0.0,
        "nginx waits for the disk: 100 % of its blocked time dirty pages were written back; \
         100 % behind the write-back of pages dirtied before the trace, by nobody who was seen.",
    );
}

#[test]
fn what_was_dirtied_before_the_trace_is_said_beside_the_targets_own_part() {
    let scene = Scene::new()
        .threads(Class::Disk, 40)
        .charge(Resource::Disk, None, Holder::Own, 24)
        .charge(Resource::Disk, None, Holder::Earlier, 16);
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().culprits, []);
    assert_eq!(
        verdict.sentence,
        "nginx waits for the disk: 60 % of its blocked time it stood behind its own requests; \
         40 % behind the write-back of pages dirtied before the trace, by nobody who was seen; no other was seen."
    );
}

#[test]
fn a_failing_device_accuses_nobody() {
    spared(
        &all_on(Class::Disk, Holder::FailedDevice),
        Some(Cause::DeviceError),
        0.0,
        "nginx waits for the disk: 100 % of its blocked time the device answered with errors.",
    );
}

#[test]
fn an_idle_cpu_accuses_nobody() {
    spared(
        &all_on(Class::Cpu, Holder::IdleCpu),
        Some(Cause::WakeupLatency),
        0.0,
        "nginx waits for the CPU: 100 % of its blocked time it was late although a CPU was idle.",
    );
}

#[test]
fn stolen_time_accuses_nobody() {
    spared(
        &all_on(Class::Cpu, Holder::Hypervisor),
        Some(Cause::Steal),
        0.0,
        "nginx waits for the CPU: 100 % of its blocked time the hypervisor ran somebody else.",
    );
}

#[test]
fn an_interrupt_accuses_nobody_and_is_named() {
    spared(
        &all_on(Class::Cpu, Holder::Interrupt(Source::Softirq(3))),
        Some(Cause::Irq),
        0.0,
        "nginx waits for the CPU: 100 % of its blocked time interrupts ran instead, mostly softirq:NET_RX.",
    );
}

#[test]
fn a_wait_that_nobody_was_seen_holding_accuses_nobody() {
    let verdict = all_on(Class::Disk, Holder::Nobody);
    let sentence =
        "nginx waits for the disk: 100 % of its blocked time; no process was seen holding it.";
    spared(&verdict, None, 0.0, sentence);
    near(verdict.confidence, 0.0);
}

#[test]
fn an_upstream_is_named_without_a_culprit() {
    let mut scene = Scene::new();
    let postgres = scene.process(5432, "postgres");
    let holder = Holder::Process(postgres);
    let scene = scene
        .threads(Class::Upstream, 40)
        .charge(Resource::Upstream, None, holder, 40);
    spared(
        &judge(&scene.books),
        None,
        0.0,
        "nginx waits for another process's answer from postgres (pid 5432): 100 % of its blocked time.",
    );
}

#[test]
fn memory_stalls_are_named_after_their_mechanism() {
    let mut scene = Scene::new().threads(Class::Memory, 40);
    let reclaimed = 30 * MS * SLICES;
    scene.books.causes = vec![(Resource::Memory, Cause::DirectReclaim, reclaimed)];
    spared(
        &judge(&scene.books),
        Some(Cause::DirectReclaim),
        0.0,
        "nginx waits for memory: 75 % of its blocked time it had to reclaim pages itself.",
    );
}

#[test]
fn a_bystander_on_another_disk_is_not_accused() {
    let mut scene = disk_behind_tar();
    let (dd, sdb) = (scene.process(77, "dd"), scene.place("sdb"));
    let much = Held {
        ns: 2000 * MS,
        ios: 100_000,
        bytes: 1 << 33,
    };
    let key = (Resource::Disk, Some(sdb), Holder::Process(dd));
    scene.books.held.insert(key, much);
    let verdict = judge(&scene.books);
    assert_eq!(verdict.primary().unwrap().culprits.len(), 1);
    assert!(!verdict.sentence.contains("dd"));
}

#[test]
fn one_of_many_is_not_accused() {
    let mut scene = Scene::new().threads(Class::Cpu, 60);
    for pid in 20..26 {
        let one = scene.process(pid, "worker");
        scene = scene.charge(Resource::Cpu, None, Holder::Process(one), 10);
    }
    spared(
        &judge(&scene.books),
        Some(Cause::Contention),
        0.0,
        "nginx waits for the CPU: 100 % of its blocked time it stood behind many; no single process stands out.",
    );
}

#[test]
fn who_costs_less_than_a_twentieth_of_the_time_is_not_accused() {
    // Blocked 12 of 100 ms. Of the network's 5 ms, rsync holds all. Of the disk's 7 ms, tar holds 4: less than 5 of 100.
    let mut scene = Scene::new();
    let (tar, rsync) = (scene.process(21, "tar"), scene.process(22, "rsync"));
    let scene = scene
        .threads(Class::OnCpu, 78)
        .threads(Class::Disk, 7)
        .threads(Class::Network, 5)
        .charge(Resource::Disk, None, Holder::Process(tar), 4)
        .charge(Resource::Disk, None, Holder::Own, 3)
        .charge(Resource::Network, None, Holder::Process(rsync), 5);
    let verdict = judge(&scene.books);
    assert!(verdict.finding.held_up);
    assert_eq!(verdict.finding.hypotheses[0].culprits, []);
    assert_eq!(verdict.finding.hypotheses[1].culprits.len(), 1);
}

#[test]
fn who_is_hardly_blocked_is_not_held_up() {
    let mut scene = Scene::new();
    let tar = scene.process(21, "tar");
    let scene = scene
        .threads(Class::OnCpu, 86)
        .threads(Class::Disk, 4)
        .threads(Class::Idle, 300)
        .charge(Resource::Disk, None, Holder::Process(tar), 4);
    let verdict = judge(&scene.books);
    assert!(verdict.primary().is_none());
    assert_eq!(verdict.finding.hypotheses[0].culprits, []);
    assert_eq!(
        verdict.sentence,
        "nginx is not held up: 4 % of its active time blocked."
    );
    // The disk has all of the little that is blocked.
    assert_eq!(verdict.healthy, [Resource::Network, Resource::Cpu]);
    near(verdict.confidence, 1.0);
}

#[test]
fn an_idle_target_tells_nothing_about_its_resources() {
    let mut scene = Scene::new().threads(Class::Idle, 100);
    for bin in &mut scene.books.bins {
        bin.threads[Class::OnCpu.index()] = 0;
    }
    let verdict = judge(&scene.books);
    assert_eq!(verdict.healthy, []);
    assert_eq!(
        verdict.sentence,
        "nginx was idle: no requests, and no thread ran."
    );
}

#[test]
fn a_short_window_and_an_exit_are_said() {
    let mut scene = disk_behind_tar();
    scene.books.bins.truncate(3);
    scene.books.end.ns = 300 * MS;
    scene.books.end.target_exited = true;
    let sentence = judge(&scene.books).sentence;
    assert!(
        sentence.ends_with("on sda (seen for 300 ms only), and it exited."),
        "{sentence}"
    );
}

#[test]
fn empty_books_are_no_reason_to_panic() {
    let verdict = judge(&Default::default());
    assert_eq!(
        verdict.sentence,
        "the target was idle: no requests, and no thread ran."
    );
}

#[test]
fn the_own_thread_that_has_the_lock_is_named_where_it_was_seen() {
    let mut scene =
        Scene::new()
            .threads(Class::Lock, 40)
            .charge(Resource::Lock, None, Holder::OwnLock, 40);
    scene.books.lock_owner = Some(13);
    assert_eq!(
        judge(&scene.books).sentence,
        "nginx waits for a lock: 100 % of its blocked time it stood behind its own locks, mostly of thread 13; nobody else is to blame."
    );
}
