//! Reports to look at. The text must show each well; each is an answer of its own kind.

use std::collections::BTreeMap;

use crate::{
    class::{Cause, Class, Resource},
    report::{
        Basis, Blame, Budget, Culprit, Histogram, Host, Hypothesis, Losses, MissingProbe, Remedy,
        Report, Requests, SCHEMA, SelfCost, SelfPart, Target, Threads, Unknown, Verdict, Window,
        top::{Disk, Flow, Link, Machine, Top},
    },
};

const MS: u64 = 1_000_000;

fn budget(parts: &[(Class, u64)]) -> Budget {
    parts.iter().map(|(class, ms)| (*class, ms * MS)).collect()
}

fn histogram(pid: u32, comm: &str, family: &str, counts: &[u64]) -> Histogram {
    Histogram {
        pid,
        comm: comm.to_owned(),
        family: family.to_owned(),
        schema: 3,
        offset: -80,
        counts: counts.to_vec(),
        count: counts.iter().sum(),
        sum_ns: 812 * MS,
        p50_ns: Some(1_130_000),
        p90_ns: Some(8_340_000),
        p99_ns: Some(61_400_000),
        max_ns: Some(118_000_000),
        ..Histogram::default()
    }
}

fn blame(resource: Resource, place: &str, pid: Option<u32>, comm: &str, ms: u64) -> Blame {
    Blame {
        resource,
        place: Some(place.to_owned()),
        pid,
        comm: comm.to_owned(),
        ns: ms * MS,
        ios: None,
        bytes: None,
        estimated: false,
    }
}

fn own_part(pid: u32, share: f64) -> SelfPart {
    SelfPart {
        pid,
        comm: "nginx".to_owned(),
        cmdline: "nginx: worker process".to_owned(),
        thread: None,
        client: Some("10.9.0.2".to_owned()),
        share,
    }
}

/// A web server on a healthy machine.
pub(super) fn healthy() -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        host: Host {
            kernel: "6.12.0".to_owned(),
            cpus: 4,
            hostname: "web1".to_owned(),
        },
        target: Target {
            pid: 812,
            pids: vec![812, 813],
            comm: "nginx".to_owned(),
            cmdline: "nginx: master process /usr/sbin/nginx".to_owned(),
            threads: 2,
            cgroup: Some("/system.slice/nginx.service".to_owned()),
            unit: Some("nginx.service".to_owned()),
            ..Target::default()
        },
        window: Window {
            start: "2026-11-23T07:00:00.000Z".to_owned(),
            duration_ns: 10_000 * MS,
        },
        verdict: Verdict {
            resource: None,
            cause: None,
            place: None,
            basis: Basis::Requests,
            via: Vec::new(),
            culprits: Vec::new(),
            self_share: 0.0,
            self_parts: Vec::new(),
            share: 0.0,
            confidence: 0.97,
            sentence: "nginx is not held up: 2 % of request time blocked; 8412 requests: p50 180 µs, p99 950 µs.".to_owned(),
            remedies: Vec::new(),
        },
        hypotheses: Vec::new(),
        healthy: Resource::ALL.to_vec(),
        unknown: Vec::new(),
        evidence: Vec::new(),
        evidence_sources: Vec::new(),
        requests: Some(Requests {
            count: 8412,
            p50_ns: Some(180_000),
            p99_ns: Some(950_000),
            max_ns: Some(4_200_000),
            sum_ns: 1_520 * MS,
            budget_ns: budget(&[(Class::OnCpu, 1490), (Class::Disk, 24), (Class::Cpu, 6)]),
            ..Requests::default()
        }),
        threads: Threads {
            wall_ns: 20_000 * MS,
            budget_ns: budget(&[(Class::OnCpu, 1530), (Class::Idle, 18_440), (Class::Disk, 24), (Class::Cpu, 6)]),
            ..Threads::default()
        },
        blame: Vec::new(),
        unattributed_ns: BTreeMap::new(),
        histograms: vec![histogram(813, "nginx", "run_queue", &[3, 9, 40, 210, 900, 400, 80, 12, 3, 0, 0, 1])],
        losses: Losses::default(),
        tracer: SelfCost {
            version: "0.1.0".to_owned(),
            attach_ns: 210 * MS,
            cpu_ns: 94 * MS,
            rss_bytes: 21 << 20,
            maps_bytes: 18 << 20,
            kernel_ns: Some(31 * MS),
            machine_share: 0.006,
            waited_for_ns: None,
        },
    }
}

/// A backup that reads the web server's disk.
pub(super) fn disk() -> Report {
    let mut report = healthy();
    let tar = Culprit {
        pid: 4711,
        comm: "tar | gzip | ssh".to_owned(),
        cmdline: "tar -cf - /srv".to_owned(),
        share: 0.88,
        pids: vec![4711, 4712],
        ..Culprit::default()
    };
    report.verdict = Verdict {
        resource: Some(Resource::Disk),
        cause: Some(Cause::Contention),
        place: Some("sda".to_owned()),
        culprits: vec![tar.clone()],
        self_share: 0.09,
        self_parts: vec![own_part(813, 0.06), own_part(812, 0.03)],
        share: 0.93,
        confidence: 0.91,
        sentence: "nginx waits for the disk, since 07:00:04 UTC: 93 % of its requests' blocked time it stood behind \
                   tar | gzip | ssh (pid 4711, backup.sh) on sda; 412 requests: p50 41.0 ms, p99 812 ms; 3 are open, \
                   the oldest for 1.84 s."
            .to_owned(),
        remedies: vec![
            Remedy {
                command: "ionice -c3 -p 4711".to_owned(),
                why: "the disk's scheduler (bfq) serves idle-class reads last".to_owned(),
                applies: true,
                note: "the backup takes longer while the server reads".to_owned(),
            },
            Remedy {
                command: "systemctl set-property --runtime backup.service IOWeight=10".to_owned(),
                why: "weights divide the disk by cgroup".to_owned(),
                applies: false,
                note: "does nothing here, because the process is in no unit of its own (session-3.scope)".to_owned(),
            },
        ],
        ..report.verdict
    };
    report.hypotheses = vec![Hypothesis {
        resource: Resource::Disk,
        cause: Some(Cause::Contention),
        place: Some("sda".to_owned()),
        culprits: vec![tar],
        self_share: 0.09,
        self_parts: vec![own_part(813, 0.06), own_part(812, 0.03)],
        share: 0.93,
    }];
    report.healthy = vec![Resource::Network, Resource::Memory, Resource::Lock];
    report.requests = Some(Requests {
        count: 412,
        open: 3,
        oldest_open_ns: Some(1_840 * MS),
        p50_ns: Some(41 * MS),
        p99_ns: Some(812 * MS),
        max_ns: Some(1_840 * MS),
        sum_ns: 13_900 * MS,
        before_ns: 0,
        histogram: Some(Histogram {
            sum_ns: 13_900 * MS,
            ..histogram(812, "nginx", "request", &[201, 150, 40, 17])
        }),
        sent_p50_ns: Some(40 * MS),
        sent_p99_ns: Some(690 * MS),
        drain_p99_ns: Some(3 * MS),
        clipped: 4,
        clipped_ns: 260 * MS,
        open_ns: 800 * MS,
        uncounted_ns: 0,
        unaccounted_ns: 0,
        budget_ns: budget(&[
            (Class::OnCpu, 310),
            (Class::Disk, 14_200),
            (Class::Cpu, 420),
            (Class::Other, 30),
        ]),
        behind_own_ns: budget(&[]),
    });
    report.threads.budget_ns = budget(&[
        (Class::OnCpu, 350),
        (Class::Idle, 4_830),
        (Class::Disk, 14_360),
        (Class::Cpu, 430),
        (Class::Other, 30),
    ]);
    let io = |row: Blame, ios, bytes| Blame {
        ios: Some(ios),
        bytes: Some(bytes),
        ..row
    };
    report.blame = vec![
        Blame {
            estimated: true,
            ..io(
                blame(Resource::Disk, "sda", Some(4711), "tar", 12_640),
                31_200,
                3_900 << 20,
            )
        },
        io(
            blame(Resource::Disk, "sda", Some(812), "itself", 1_290),
            1_830,
            114 << 20,
        ),
        blame(Resource::Cpu, "cpu 1", Some(4712), "gzip", 390),
    ];
    report.unattributed_ns = BTreeMap::from([(Resource::Disk, 430 * MS)]);
    report.evidence = vec!["diskstats of sda: 33030 I/Os in the window, 33041 seen".to_owned()];
    report.histograms.insert(
        0,
        histogram(
            813,
            "nginx",
            "block_io_device",
            &[
                1, 4, 9, 31, 80, 122, 190, 410, 366, 200, 98, 40, 22, 9, 0, 1,
            ],
        ),
    );
    report
}

/// Two senders that fill the link.
pub(super) fn network() -> Report {
    let mut report = disk();
    let culprit = |pid, comm: &str, share| Culprit {
        pid,
        comm: comm.to_owned(),
        share,
        pids: vec![pid],
        ..Culprit::default()
    };
    report.verdict = Verdict {
        resource: Some(Resource::Network),
        place: Some("eth0".to_owned()),
        culprits: vec![culprit(990, "rsync", 0.52), culprit(1201, "restic", 0.31)],
        share: 0.81,
        sentence: "nginx waits for the network, since before 07:00:00 UTC: 42 % of its requests' blocked time it stood behind \
                   rsync (pid 990, backup.service) and 25 % behind restic (pid 1201, container 3f2a9c8d1e4b) on eth0; \
                   412 requests: p50 41.0 ms, p99 812 ms; 3 are open, the oldest for 1.84 s."
            .to_owned(),
        self_parts: Vec::new(),
        remedies: Vec::new(),
        ..report.verdict
    };
    report.healthy = vec![Resource::Disk];
    report.blame = vec![
        Blame {
            bytes: Some(61 << 20),
            ..blame(Resource::Network, "eth0", Some(990), "rsync", 6_100)
        },
        Blame {
            bytes: Some(36 << 20),
            ..blame(Resource::Network, "eth0", Some(1201), "restic", 3_640)
        },
    ];
    report.unattributed_ns = BTreeMap::new();
    report
}

/// A kernel that lacks a probe, and rings that were full.
pub(super) fn unknown_and_losses() -> Report {
    let mut report = healthy();
    report.verdict.basis = Basis::Threads;
    report.verdict.confidence = 0.31;
    report.verdict.sentence =
        "nginx is not held up: < 1 % of its active time blocked, but waits for the disk \
                               cannot be seen here."
            .to_owned();
    report.requests = None;
    report.healthy = vec![Resource::Network];
    report.unknown = vec![Unknown {
        resource: Resource::Disk,
        reason: "block_rq_issue cannot be attached: this kernel hides its arguments".to_owned(),
    }];
    report.threads.unaccounted_ns = 3_100 * MS;
    report.tracer.machine_share = 0.034;
    report.losses = Losses {
        sent: 4_012_041,
        received: 4_000_000,
        ring: BTreeMap::from([("waits".to_owned(), 12_034), ("slices".to_owned(), 7)]),
        maps: BTreeMap::from([("run_queue".to_owned(), 81)]),
        unreadable_stacks: 390,
        missing_probes: vec![MissingProbe {
            probe: "block_rq_issue".to_owned(),
            cost: "waits for the disk cannot be told from other uninterruptible sleeps".to_owned(),
        }],
        truncated: true,
        refused: BTreeMap::from([("cpu".to_owned(), 2), ("time".to_owned(), 12_034)]),
        shed: Vec::new(),
    };
    report
}

/// Names that were chosen to harm.
pub(super) fn hostile() -> Report {
    let mut report = named("\x1b[2J\u{9b}31m\u{202e}<script>;x\n9");
    report.host.hostname = "h\x1b]0;owned\x07".to_owned();
    report.window.start = "2026\x1b[31m".to_owned();
    report
}

/// Everything that a machine names has this name.
pub(super) fn named(name: &str) -> Report {
    let mut report = disk();
    let comm = name.to_owned();
    report.target.comm.clone_from(&comm);
    report.target.cmdline.clone_from(&comm);
    report.target.unit = Some(comm.clone());
    report.target.cgroup = Some(comm.clone());
    report.host.hostname.clone_from(&comm);
    report.verdict.sentence = format!("{comm} waits for the disk {comm}");
    for remedy in &mut report.verdict.remedies {
        remedy.command = format!("renice 10 {comm}");
        remedy.note = comm.clone();
        remedy.why = comm.clone();
    }
    for part in &mut report.verdict.self_parts {
        part.cmdline.clone_from(&comm);
        part.client = Some(comm.clone());
        part.thread = Some(comm.clone());
    }
    for row in &mut report.blame {
        row.comm.clone_from(&comm);
        row.place = Some(comm.clone());
    }
    for histogram in &mut report.histograms {
        histogram.comm.clone_from(&comm);
        histogram.family.clone_from(&comm);
    }
    report.unknown = vec![Unknown {
        resource: Resource::Memory,
        reason: comm.clone(),
    }];
    report.evidence = vec![comm.clone()];
    report.losses.ring = BTreeMap::from([(comm.clone(), 1)]);
    report.losses.missing_probes = vec![MissingProbe {
        probe: comm.clone(),
        cost: comm,
    }];
    report
}

/// Names that are longer than any column, and wide ones.
pub(super) fn long_names() -> Report {
    let mut report = disk();
    report.target.comm = "a-web-server-whose-name-has-forty-letter".to_owned();
    for row in &mut report.blame {
        row.comm = "a-backup-of-which-the-name-has-forty-let".to_owned();
        row.place = Some("mapper/volume-group-of-the-backup-servers".to_owned());
        row.pid = Some(4_194_303);
        row.ns = 7_261_000 * MS;
    }
    report.blame[1].comm = "日本語の名前が長いバックアップのプロセス".to_owned();
    for histogram in &mut report.histograms {
        histogram.pid = 4_194_303;
        histogram.count = 9_999_999;
        histogram.max_ns = Some(7_261_000 * MS);
    }
    report.target.pids.push(4_194_303);
    report.unknown = vec![Unknown {
        resource: Resource::Cpu,
        reason: "x".repeat(200),
    }];
    report.losses.missing_probes = vec![MissingProbe {
        probe: "p".repeat(120),
        cost: "c".to_owned(),
    }];
    report
}

/// What the kernel counts in an interval of a machine.
pub(super) fn interval() -> Top {
    Top {
        disks: vec![Disk {
            name: "sda".to_owned(),
            reads_per_s: 385.0,
            read_kib_per_s: 49_152.0,
            read_await_ms: Some(12.34),
            queue: 4.7,
            used: 0.99,
            ..Disk::default()
        }],
        machine: Some(Machine {
            running: 2,
            blocked: 5,
            free_kib: 1_048_576,
            user: 0.25,
            idle: 0.7,
            ..Machine::default()
        }),
        links: vec![Link {
            name: "eth0".to_owned(),
            sent_per_s: 2048.0,
            ..Link::default()
        }],
        flows: Some(vec![Flow {
            pid: Some(4711),
            comm: Some("nginx".to_owned()),
            local: "10.0.0.1:80".to_owned(),
            remote: "10.0.0.2:40001".to_owned(),
            sent_bytes: 4096,
            ..Flow::default()
        }]),
        ..Top::default()
    }
}
