//! What a thread did, step by step, and what becomes of it later.

use super::*;

#[test]
fn an_interval_takes_its_share_of_the_steps_it_cuts() {
    let mut line = TimeLine::new(100);
    line.extend(Class::OnCpu, 200);
    line.extend(Class::Disk, 400);
    let spent = line.between(150, 300, false);
    assert_eq!(spent.certain[Class::OnCpu.index()], 50);
    assert_eq!(spent.certain[Class::Disk.index()], 100);
}

#[test]
fn a_running_thread_runs_beyond_its_last_step() {
    let mut line = TimeLine::new(100);
    line.extend(Class::Disk, 200);
    let on_cpu = |running| line.between(150, 260, running).certain[Class::OnCpu.index()];
    assert_eq!((on_cpu(true), on_cpu(false)), (60, 0));
}

#[test]
fn the_parts_of_a_wait_sum_to_it() {
    let mut line = TimeLine::new(0);
    let mut tentative = Budget::default();
    tentative[Class::Disk.index()] = 5;
    tentative[Class::Idle.index()] = 2;
    line.extend_waiting(&tentative, 7);
    line.skip(9);
    let parts: Vec<Spent> = (0..7).map(|ns| line.between(ns, ns + 1, false)).collect();
    for class in [Class::Disk, Class::Idle] {
        let sum: u64 = parts.iter().map(|part| part.tentative[class.index()]).sum();
        assert_eq!(sum, tentative[class.index()]);
    }
    assert_eq!(line.between(0, 9, true).total(), 7);
    assert_eq!(line.spent().total(), 7);
}

#[test]
fn a_wait_that_was_interrupted_has_no_explanation_and_keeps_its_length() {
    let mut line = TimeLine::new(0);
    let mut tentative = Budget::default();
    tentative[Class::Upstream.index()] = 5;
    tentative[Class::Idle.index()] = 2;
    line.extend_waiting(&tentative, 7);
    line.extend(Class::OnCpu, 8);
    line.was_not_answered(8);
    assert_eq!(line.spent().tentative[Class::Upstream.index()], 5);
    line.was_not_answered(7);
    assert_eq!(line.spent().tentative[Class::Upstream.index()], 0);
    assert_eq!(line.between(0, 7, false).tentative[Class::Idle.index()], 7);
    assert_eq!(line.spent().total(), 8);
}

#[test]
fn a_wait_that_is_explained_later_keeps_its_length_and_is_explained_once() {
    let mut line = TimeLine::new(0);
    let idle = |ns| {
        let mut budget = Budget::default();
        budget[Class::Idle.index()] = ns;
        budget
    };
    line.extend_waiting(&idle(5), 5);
    line.extend(Class::OnCpu, 6);
    line.extend_waiting(&idle(4), 10);
    let mut disk = idle(1);
    disk[Class::Disk.index()] = 3;
    // No wait of this length ended then.
    line.explain((7, 10), &disk);
    assert_eq!(line.between(0, 10, false).tentative, idle(9));
    line.explain((6, 10), &disk);
    line.explain((6, 10), &idle(4));
    let mut all = disk;
    all[Class::Idle.index()] += 5;
    assert_eq!(line.between(0, 10, false).tentative, all);
    assert_eq!(line.spent(), &line.between(0, 10, false));
}

#[test]
fn what_is_known_to_be_an_answer_was_waited_for_and_the_sum_stays() {
    let mut line = TimeLine::new(0);
    let mut idle = Budget::default();
    idle[Class::Idle.index()] = 10;
    line.extend_waiting(&idle, 10);
    line.extend(Class::OnCpu, 12);
    line.extend_waiting(&idle, 22);
    // It asked at 11, and had the answer at 22.
    assert_eq!(line.expect(Class::Upstream, (11, 22), 11), [(12, 22)]);
    assert_eq!(line.expect(Class::Upstream, (11, 22), 11), []);
    let upstream = |end| line.between(0, end, false).tentative[Class::Upstream.index()];
    assert_eq!((upstream(12), upstream(22)), (0, 10));
    assert_eq!(line.between(0, 22, false), *line.spent());
}

#[test]
fn who_slept_before_somebody_else_asked_has_waited_for_the_answer_too() {
    let waits = |since| {
        let mut line = TimeLine::new(0);
        let mut idle = Budget::default();
        idle[Class::Idle.index()] = 10;
        line.extend_waiting(&idle, 10);
        line.expect(Class::Upstream, (4, 10), since)
    };
    assert_eq!(waits(0), [(0, 10)]);
    assert_eq!(waits(4), []);
}

#[test]
fn only_idle_parts_are_amended_and_the_sum_stays() {
    let mut line = TimeLine::new(0);
    let idle = |ns| {
        let mut budget = Budget::default();
        budget[Class::Idle.index()] = ns;
        budget
    };
    line.extend_waiting(&idle(10), 10);
    line.extend(Class::OnCpu, 12);
    line.extend_waiting(&idle(8), 20);
    assert_eq!(line.amend(Class::Disk, 4, 16), [(4, 10), (12, 16)]);
    assert_eq!(line.amend(Class::Disk, 4, 16), []);
    let disk = |begin, end| line.between(begin, end, false).certain[Class::Disk.index()];
    assert_eq!(
        [disk(0, 4), disk(4, 10), disk(10, 16), disk(16, 20)],
        [0, 6, 4, 0]
    );
    assert_eq!(line.between(0, 20, false), *line.spent());
    assert_eq!(line.spent().total(), 20);
    assert_eq!(line.amend(Class::Disk, 17, 18), [(17, 18)]);
    assert_eq!(
        line.between(16, 20, false).tentative[Class::Idle.index()],
        3
    );
}

#[test]
fn pieces_are_without_a_gap() {
    let mut line = TimeLine::new(100);
    line.extend(Class::OnCpu, 200);
    line.extend(Class::Disk, 400);
    let ends = |begin, end| {
        let mut pieces = Vec::new();
        line.for_each_piece(begin, end, true, |from, to, spent| {
            pieces.push((from, to, spent.total()));
        });
        pieces
    };
    assert_eq!(
        ends(50, 500),
        [
            (50, 100, 0),
            (100, 200, 100),
            (200, 400, 200),
            (400, 500, 100)
        ]
    );
    assert_eq!(ends(250, 300), [(250, 300, 50)]);
    assert_eq!(ends(20, 40), [(20, 40, 0)]);
    assert_eq!(ends(200, 200), []);
}

/// A thousand steps of ten ns, of two classes in turn.
fn alternating() -> TimeLine {
    let mut line = TimeLine::new(0);
    for i in 1..=1000 {
        let class = match i % 2 {
            0 => Class::Disk,
            _ => Class::OnCpu,
        };
        line.extend(class, i * 10);
    }
    line
}

#[test]
fn what_is_forgotten_keeps_its_classes_and_its_pieces_are_without_a_gap() {
    let mut line = alternating();
    for needed_ns in [3000, 6000, u64::MAX] {
        line.forget(needed_ns);
    }
    assert!(line.remembered_ns() > 9000);
    let (mut at, mut sum) = (7, Spent::default());
    line.for_each_piece(7, 9995, false, |from, to, spent| {
        assert_eq!((from, spent.total()), (at, to - from));
        sum.add(spent);
        at = to;
    });
    assert_eq!((at, sum), (9995, line.between(7, 9995, false)));
    let disk = sum.certain[Class::Disk.index()];
    assert!(disk.abs_diff(9988 / 2) <= 10, "{disk}");
}

#[test]
fn the_past_is_forgotten_only_where_no_request_needs_it() {
    let mut line = alternating();
    line.forget(5000);
    assert_eq!(line.between(5000, 10_000, false).total(), 5000);
    line.forget(u64::MAX);
    assert_eq!(line.spent().total(), 10_000);
    assert!(!line.is_long());
}

#[test]
fn what_is_needed_is_asked_for_anew_only_after_many_more_steps() {
    let mut line = TimeLine::new(0);
    let mut tries = 0;
    for i in 1..=(40 * KEPT as u64) {
        line.extend(Class::OnCpu, i);
        if line.is_long() {
            tries += 1;
            line.forget(0);
        }
    }
    assert_eq!(tries, 13);
}

#[test]
fn a_step_becomes_what_it_was_if_it_seemed_so_and_the_sum_stays() {
    let mut line = TimeLine::new(10);
    line.extend(Class::OnCpu, 20);
    line.extend(Class::Network, 50);
    let of = |line: &TimeLine, class: Class| line.between(0, 60, false).certain[class.index()];
    let classes = (Class::Network, Class::Upstream);
    for ns in [20, 40, 60] {
        assert!(!line.becomes(classes, ns), "{ns}");
    }
    assert!(line.becomes(classes, 50) && !line.becomes(classes, 50));
    assert_eq!(
        (of(&line, Class::Network), of(&line, Class::Upstream)),
        (0, 30)
    );
    assert_eq!(line.spent().total(), 40);
}
