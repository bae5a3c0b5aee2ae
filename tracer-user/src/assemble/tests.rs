//! The report of hand-made books.

use tracer_common::histogram::{Family, OFFSET, bucket};

use super::assemble;
use crate::{
    class::{Class, Resource},
    event,
    model::books::{
        Bin, Books, Charge, DatagramsBehind, FlameLine, Flights, Held, Holder, Interrupted,
        ProbeGroup, Process, Shed, Source,
    },
    report::Basis,
    standing::Called,
};

const MS: u64 = 1_000_000;

/// nginx (pid 10) waits 40 ms of one slice for sda. 30 ms are behind tar (pid 4711), 8 ms behind itself, 2 ms behind nobody.
fn books() -> Books {
    let process = |pid, comm: &str, target| Process {
        pid,
        comm: comm.into(),
        target,
        ..Process::default()
    };
    let charge = |holder, ms, estimated_ns| Charge {
        resource: Resource::Disk,
        place: Some(0),
        holder,
        ns: ms * MS,
        estimated_ns,
    };
    let mut bin = Bin {
        charges: vec![
            charge(Holder::Process(1), 30, 20 * MS),
            charge(Holder::Own, 8, 0),
            charge(Holder::Nobody, 2, 0),
        ],
        ..Bin::default()
    };
    bin.threads[Class::Disk.index()] = 40 * MS;
    let held = Held {
        ns: 55 * MS,
        ios: 11,
        bytes: 11 << 20,
    };
    let mut books = Books {
        bins: vec![bin],
        processes: vec![process(10, "nginx", true), process(4711, "tar", false)],
        targets: vec![0],
        places: vec!["sda".to_owned()],
        held: [((Resource::Disk, Some(0), Holder::Process(1)), held)].into(),
        ..Books::default()
    };
    books.end.ns = 100 * MS;
    books
}

#[test]
fn the_verdict_is_the_first_hypothesis() {
    let (report, _) = assemble(&books());
    assert_eq!(report.verdict.resource, Some(Resource::Disk));
    assert_eq!(report.verdict.basis, Basis::Threads);
    assert_eq!(report.verdict.culprits, report.hypotheses[0].culprits);
    assert_eq!(report.verdict.culprits[0].pids, [4711]);
    assert_eq!(report.verdict.culprits[0].share, 0.75);
    assert_eq!(report.verdict.self_share, 0.2);
    assert_eq!(report.threads.budget_ns[&Class::Disk], 40 * MS);
    assert_eq!(report.requests, None);
}

#[test]
fn target_and_culprit_have_all_names_of_where_they_belong() {
    let mut books = books();
    let id = "a".repeat(64);
    let slice = format!("/kubepods.slice/kubepods-pod{}.slice", "0".repeat(32));
    let group = format!("{slice}/cri-containerd-{id}.scope");
    books.processes[0].cgroup = group.as_str().into();
    books.processes[1].cgroup = "/user.slice/user-0.slice/session-3.scope".into();
    let called = Called::in_pod(&group, ["nginx", "api-7f9c4d5b6-x2x4z", "shop"]).unwrap();
    books.containers.insert(group, called);
    let (report, _) = assemble(&books);
    let (target, tar) = (&report.target, &report.verdict.culprits[0]);
    assert_eq!(target.pod.as_deref(), Some("shop/api-7f9c4d5b6-x2x4z"));
    assert_eq!(target.workload.as_deref(), Some("shop/api"));
    assert_eq!(target.container.as_deref(), Some("nginx"));
    assert_eq!((&tar.pod, &tar.container, &tar.unit), (&None, &None, &None));
    assert_eq!(tar.session.as_deref(), Some("3"));
    assert!(report.verdict.sentence.contains("(pid 4711)"));
}

#[test]
fn a_row_of_blame_has_the_waiting_time_and_what_was_held() {
    let (report, _) = assemble(&books());
    let [tar, own] = report.blame.as_slice() else {
        panic!("{:?}", report.blame);
    };
    assert_eq!(
        (tar.pid, tar.ns, tar.estimated),
        (Some(4711), 30 * MS, true)
    );
    assert_eq!((tar.ios, tar.bytes), (Some(11), Some(11 << 20)));
    assert_eq!(
        (own.comm.as_str(), own.ns, own.estimated),
        ("itself", 8 * MS, false)
    );
    assert_eq!((own.ios, own.bytes), (None, None));
    assert_eq!(report.unattributed_ns, [(Resource::Disk, 2 * MS)].into());
}

#[test]
fn blame_is_an_estimate_where_records_were_lost_but_for_histograms() {
    let all_estimated = |kind: &str| {
        let mut books = books();
        books.end.ring_drops = vec![(kind.to_owned(), 1)];
        assemble(&books).0.blame.iter().all(|row| row.estimated)
    };
    assert!(all_estimated("cpu_slices"));
    assert!(!all_estimated("histograms"));
}

#[test]
fn losses_and_doubts_are_in_the_report() {
    let mut books = books();
    books.end.sent = 100;
    books.end.received = 97;
    books.end.ring_drops = vec![("wait".to_owned(), 3)];
    books.end.recording_drops = 2;
    books.end.evidence = vec!["I/O error".to_owned()];
    books.sources = vec![Some("/dev/kmsg".to_owned()), None];
    books.failed = [(0, 3)].into();
    let (report, _) = assemble(&books);
    let expected = [("recording".to_owned(), 2), ("wait".to_owned(), 3)];
    assert_eq!(report.losses.ring, expected.into());
    assert_eq!((report.losses.sent, report.losses.received), (100, 97));
    assert_eq!(report.evidence[0], "I/O error");
    assert_eq!(
        report.evidence[1],
        "sda answered 3 of the target's requests with an error"
    );
    assert_eq!(report.evidence[2], "3 % of the records were lost");
    let sources = report.evidence_sources;
    assert_eq!(sources.len(), report.evidence.len());
    assert_eq!(sources[..3], [Some("/dev/kmsg".to_owned()), None, None]);
}

#[test]
fn own_requests_for_which_no_thread_slept_are_evidence_where_a_thread_may_have_polled_for_them() {
    let said = |ns: u64, on_cpu: u64| -> Option<String> {
        let mut books = books();
        books.bins[0].threads[Class::OnCpu.index()] = on_cpu * MS;
        books.flights = Flights {
            ns: ns * MS,
            behind: [
                ((0, Holder::Own), 25),
                ((0, Holder::Process(1)), 75),
                ((0, Holder::SlowDevice), 0),
            ]
            .into(),
        };
        let mut evidence = assemble(&books).0.evidence.into_iter();
        evidence.find(|line| line.contains("no thread slept"))
    };
    // Of the 100 ms, 40 are slept.
    assert_eq!(said(49, 60), None);
    assert_eq!(said(97, 20), None);
    assert_eq!(
        said(97, 60).unwrap(),
        "its own disk requests were in flight for 97 % of the window, and no thread slept for them in 57 %: a thread that polls for \
         completions is on a CPU; they stood behind tar on sda (75 %), itself on sda (25 %)"
    );
}

#[test]
fn datagrams_that_left_through_a_link_that_others_filled_are_evidence() {
    let said = |full: u64, tar: u64| {
        let mut books = books();
        books.datagrams_behind = vec![DatagramsBehind {
            place: 0,
            slices: 100,
            full,
            bytes: [(Holder::Process(1), tar), (Holder::Own, 100 - tar)].into(),
        }];
        let mut evidence = assemble(&books).0.evidence.into_iter();
        evidence.find(|line| line.contains("datagrams"))
    };
    assert_eq!((said(19, 80), said(80, 9)), (None, None));
    assert_eq!(
        said(80, 75).unwrap(),
        "its datagrams left through sda with others' packets before them in 80 % of the time in which they left, and 75 % of what left \
         then was from tar: no wait shows how late they were"
    );
}

#[test]
fn interrupts_of_the_target_itself_are_evidence_where_they_are_a_part_of_its_time() {
    let mut books = books();
    books.bins[0].threads[Class::OnCpu.index()] = 100 * MS;
    let took = |net_rx: u64| Interrupted {
        took: vec![(Source::Irq, MS), (Source::Softirq(3), net_rx * MS)],
    };
    let said = |books: &Books| -> Option<String> {
        let mut evidence = assemble(books).0.evidence.into_iter();
        evidence.find(|line| line.contains("interrupts"))
    };
    books.interrupted = took(3);
    assert_eq!(said(&books), None);
    books.interrupted = took(20);
    assert_eq!(
        said(&books).unwrap(),
        "interrupts ran in 21 % of its own time on a CPU, softirq:NET_RX in 20 %"
    );
}

#[test]
fn what_was_shed_is_said_and_what_was_seen_of_it_stands_for_the_rest() {
    let mut books = books();
    assert_eq!(assemble(&books).0.losses.shed, []);
    let shed = Shed {
        group: ProbeGroup::Interrupts,
        since_ns: 20 * MS,
        for_ns: 80 * MS,
    };
    books.shed = [(shed.group, shed)].into();
    books.unwatched_ns = 3 * MS;
    books.bins[0].threads[Class::OnCpu.index()] = 100 * MS;
    // 20 ms were watched.
    books.interrupted = Interrupted {
        took: vec![(Source::Irq, MS), (Source::Softirq(3), 4 * MS)],
    };
    let report = assemble(&books).0;
    let said = &report.losses.shed[0];
    assert_eq!((said.after_ns, said.for_ns), (20 * MS, 80 * MS));
    assert_eq!(said.unattributed_ns, 3 * MS);
    assert_eq!(said.probes, "interrupts and softirqs");
    let line = "interrupts ran in 25 % of its own time on a CPU, softirq:NET_RX in 20 %, as 20 % of the window shows";
    assert!(report.evidence.iter().any(|said| said == line));
}

#[test]
fn the_flame_graph_leads_from_the_target_to_the_function() {
    let mut books = books();
    let line = |holder, stack: &[&str], ns| FlameLine {
        class: Class::Disk,
        place: Some(0),
        holder,
        stack: stack.iter().map(|frame| (*frame).to_owned()).collect(),
        ns,
    };
    books.flame = vec![
        line(Holder::Process(1), &["read", "io_schedule"], 7),
        line(Holder::OwnQuota, &[], 2),
        line(Holder::Process(1), &["read", "io_schedule"], 3),
    ];
    let (report, flame) = assemble(&books);
    let shown: Vec<(String, u64)> = flame
        .stacks
        .iter()
        .map(|stack| (stack.frames.join(";"), stack.ns))
        .collect();
    assert_eq!(
        shown,
        [
            ("nginx[10];disk;sda;own quota".to_owned(), 2),
            (
                "nginx[10];disk;sda;tar[4711];read;io_schedule".to_owned(),
                10
            ),
        ]
    );
    // The verdict on the books accuses tar of the disk.
    let accused: Vec<(usize, bool)> = flame
        .stacks
        .iter()
        .map(|stack| (stack.holder, stack.accused))
        .collect();
    assert_eq!(accused, [(3, false), (3, true)]);
    assert_eq!(flame.sentence, report.verdict.sentence);
    assert_eq!(flame.title, "nginx (pid 10): 12 ns blocked in 100 ms");
}

/// A histogram of these values.
fn histogram(values: &[u64]) -> event::Histogram {
    let mut buckets = vec![0; 256];
    for value in values {
        if let Some(bucket) = bucket(*value) {
            buckets[bucket as usize] += 1;
        }
    }
    let zero_count = values.iter().filter(|value| bucket(**value).is_none());
    event::Histogram {
        ns: 0,
        pid: 10,
        family: Family::RunQueue as u32,
        count: values.len() as u64,
        zero_count: zero_count.count() as u64,
        sum_ns: values.iter().sum(),
        max_ns: values.iter().copied().max().unwrap_or(0),
        held_ns: 0,
        first: 0,
        buckets,
    }
}

#[test]
fn quantiles_are_within_4_4_percent() {
    let mut books = books();
    let values: Vec<u64> = (1..=1000).map(|i| i * 10_007).collect();
    books.histograms = vec![(0, histogram(&values))];
    let found = &assemble(&books).0.histograms[0];
    for (quantile, exact) in [
        (found.p50_ns, values[499]),
        (found.p90_ns, values[899]),
        (found.p99_ns, values[989]),
    ] {
        let ratio = quantile.unwrap() as f64 / exact as f64;
        assert!(
            (1.0 / 1.045..1.045).contains(&ratio),
            "{quantile:?} {exact}"
        );
    }
    assert_eq!(found.max_ns, Some(10_007_000));
    assert_eq!(found.offset, OFFSET);
    assert_eq!(found.family, "run_queue");
}

#[test]
fn no_quantile_exceeds_the_longest_value_and_nothing_has_none() {
    let mut books = books();
    books.histograms = vec![(0, histogram(&[5000])), (0, histogram(&[10, 20]))];
    let found = assemble(&books).0.histograms;
    assert_eq!((found[0].p99_ns, found[0].max_ns), (Some(5000), Some(5000)));
    assert_eq!((found[1].p99_ns, found[1].zero_count), (Some(20), 2));
    books.histograms = vec![(0, histogram(&[]))];
    assert_eq!(assemble(&books).0.histograms, []);
}
