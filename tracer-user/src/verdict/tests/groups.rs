//! Which processes are one job. The target is always in row 0 or where its name is `server`.

use crate::{
    class::Resource,
    model::books::{Books, Process, ProcessId},
    verdict::group::Groups,
};

/// pid, parent's pid, process group, session, name, command line.
type Row = (u32, u32, u32, u32, &'static str, &'static str);

const INIT: Row = (1, 0, 1, 1, "systemd", "/sbin/init");
/// A target that has nothing to do with anybody.
const SERVER: Row = (50, 1, 50, 50, "server", "server");

struct Machine {
    books: Books,
    groups: Groups,
}

impl Machine {
    fn new(rows: &[Row]) -> Self {
        Self::with_cgroups(rows, &[])
    }

    fn with_cgroups(rows: &[Row], cgroups: &[(u32, &str)]) -> Self {
        let process = |&(pid, parent, pgid, sid, comm, cmdline): &Row| {
            let cgroup = cgroups.iter().find(|(of, _)| *of == pid);
            Process {
                pid,
                parent: rows.iter().position(|row| row.0 == parent),
                pgid,
                sid,
                start_ns: u64::from(pid),
                comm: comm.into(),
                cmdline: cmdline.into(),
                cgroup: cgroup.map_or("/", |(_, path)| path).into(),
                kernel: cmdline.is_empty(),
                target: comm == "server",
                exited: false,
                titled: false,
            }
        };
        let books = Books {
            processes: rows.iter().map(process).collect(),
            ..Books::default()
        };
        let groups = Groups::new(&books);
        Self { books, groups }
    }

    fn id(&self, pid: u32) -> ProcessId {
        let mut all = self.books.processes.iter();
        all.position(|process| process.pid == pid).unwrap()
    }

    /// Members of the group of a process.
    fn group(&self, pid: u32) -> Vec<u32> {
        let group = self.groups.of(self.id(pid));
        let all = self.books.processes.iter().enumerate();
        let members = all.filter(|(id, _)| self.groups.of(*id) == group);
        members.map(|(_, process)| process.pid).collect()
    }
}

#[test]
fn a_pipeline_of_one_shell_is_one_group_and_its_next_job_another() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (90, 1, 90, 90, "sshd", "sshd: root@pts/0"),
        (100, 90, 100, 100, "bash", "-bash"),
        (201, 100, 201, 100, "tar", "tar c /"),
        (202, 100, 201, 100, "gzip", "gzip -9"),
        (203, 100, 201, 100, "ssh", "ssh backup cat"),
        (300, 100, 300, 100, "make", "make"),
    ]);
    assert_eq!(machine.group(202), [201, 202, 203]);
    assert_eq!(machine.group(300), [300]);
    let members = [3, 1, 2].map(|n| machine.id(200 + n));
    assert_eq!(
        machine
            .groups
            .name(&machine.books, &members, Resource::Disk),
        "tar | gzip | ssh"
    );
}

#[test]
fn a_cron_job_is_one_group_with_its_short_lived_children() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (40, 1, 40, 40, "cron", "cron -f"),
        (41, 40, 40, 40, "cron", "cron -f"),
        (400, 41, 400, 400, "sh", "/bin/sh -c /usr/local/bin/backup"),
        (
            401,
            400,
            400,
            400,
            "backup",
            "/bin/sh /usr/local/bin/backup",
        ),
        (402, 401, 400, 400, "gzip", "gzip a"),
        (403, 401, 400, 400, "gzip", "gzip b"),
        (42, 40, 40, 40, "cron", "cron -f"),
        (500, 42, 500, 500, "sh", "/bin/sh -c other"),
    ]);
    assert_eq!(machine.group(403), [400, 401, 402, 403]);
    assert_eq!(machine.group(500), [500]);
    let members = [machine.id(402), machine.id(403)];
    assert_eq!(
        machine
            .groups
            .name(&machine.books, &members, Resource::Disk),
        "gzip"
    );
}

#[test]
fn a_systemd_unit_is_one_group_with_what_it_left_behind() {
    let backup = "/system.slice/backup.service";
    let machine = Machine::with_cgroups(
        &[
            INIT,
            SERVER,
            (600, 1, 600, 600, "restic", "restic backup"),
            // Forked twice, with a session of its own.
            (610, 1, 610, 610, "rclone", "rclone serve"),
            (700, 1, 700, 700, "dbus-daemon", "dbus-daemon"),
        ],
        &[
            (600, backup),
            (610, backup),
            (50, "/system.slice/server.service"),
            (700, "/system.slice/dbus.service"),
        ],
    );
    assert_eq!(machine.group(600), [600, 610]);
    assert_eq!(machine.group(700), [700]);
}

#[test]
fn a_unit_with_a_broker_or_with_units_below_it_is_no_job() {
    let machine = Machine::with_cgroups(
        &[
            INIT,
            SERVER,
            (40, 1, 40, 40, "cron", "cron -f"),
            (400, 40, 400, 400, "tar", "tar c /a"),
            (500, 40, 500, 500, "rsync", "rsync /b"),
            (600, 1, 600, 600, "agent", "agent"),
            (601, 1, 601, 601, "plugin", "plugin"),
            (602, 1, 602, 602, "watcher", "watcher"),
        ],
        &[
            (40, "/system.slice/cron.service"),
            (400, "/system.slice/cron.service"),
            (500, "/system.slice/cron.service"),
            (600, "/system.slice/agent.service"),
            (601, "/system.slice/agent.service/inner.scope"),
            (602, "/system.slice/agent.service"),
        ],
    );
    assert_eq!(machine.group(400), [400]);
    assert_eq!(machine.group(500), [500]);
    assert_eq!(machine.group(600), [600]);
}

#[test]
fn a_container_is_one_group_unless_the_target_is_in_it() {
    let id = "0123456789abcdef".repeat(4);
    let (other, mine) = (format!("/docker/{id}"), format!("/docker/f{}", &id[1..]));
    let shim = "containerd-shim-runc-v2 -namespace moby";
    let machine = Machine::with_cgroups(
        &[
            INIT,
            (60, 1, 60, 60, "containerd-shim", shim),
            (70, 60, 70, 70, "tini", "tini -- crond"),
            (71, 70, 71, 71, "restic", "restic backup"),
            (80, 60, 80, 80, "entry.sh", "sh /entry.sh"),
            (81, 80, 80, 80, "server", "server"),
            (82, 80, 80, 80, "tar", "tar c /"),
            (83, 80, 80, 80, "find", "find /"),
        ],
        &[
            (70, &other),
            (71, &other),
            (80, &mine),
            (81, &mine),
            (82, &mine),
            (83, &mine),
        ],
    );
    assert_eq!(machine.group(71), [70, 71]);
    assert_eq!(machine.group(82), [82]);
    assert_eq!(machine.group(80), [80]);
}

#[test]
fn the_workers_of_xargs_are_one_group_from_a_script_and_from_a_shell() {
    for (shell, cmdline) in [("backup.sh", "sh backup.sh"), ("bash", "-bash")] {
        let machine = Machine::new(&[
            INIT,
            SERVER,
            (100, 1, 100, 100, shell, cmdline),
            (101, 100, 101, 100, "find", "find /srv"),
            (102, 100, 101, 100, "xargs", "xargs -P4 gzip"),
            (103, 102, 101, 100, "gzip", "gzip a"),
            (104, 102, 101, 100, "gzip", "gzip b"),
        ]);
        let group = machine.group(103);
        assert!(group.ends_with(&[101, 102, 103, 104]), "{shell}: {group:?}");
    }
}

#[test]
fn a_backup_that_became_a_daemon_is_its_own_group() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (600, 1, 600, 600, "restic", "restic backup"),
        (610, 1, 610, 610, "syslogd", "syslogd"),
    ]);
    assert_eq!(machine.group(600), [600]);
}

#[test]
fn a_child_with_a_session_of_its_own_is_a_job_of_its_own() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (600, 1, 600, 600, "desktop", "desktop"),
        (601, 600, 600, 600, "panel", "panel"),
        (700, 600, 700, 700, "tar", "tar c /"),
        (701, 700, 700, 700, "gzip", "gzip"),
    ]);
    assert_eq!(machine.group(700), [700, 701]);
    assert_eq!(machine.group(600), [600, 601]);
}

#[test]
fn a_pipeline_whose_shell_is_gone_is_still_one_group() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (601, 1, 600, 600, "tar", "tar c /"),
        (602, 1, 600, 600, "xz", "xz -9"),
    ]);
    assert_eq!(machine.group(601), [601, 602]);
}

#[test]
fn target_and_backup_under_one_script_stay_apart() {
    let machine = Machine::new(&[
        INIT,
        (500, 1, 500, 500, "run.sh", "sh run.sh"),
        (501, 500, 500, 500, "server", "server"),
        (502, 500, 500, 500, "backup", "backup"),
        (503, 502, 500, 500, "xz", "xz"),
        (504, 500, 500, 500, "bystander", "bystander"),
    ]);
    assert_eq!(machine.group(503), [502, 503]);
    assert_eq!(machine.group(504), [504]);
    // The script is an ancestor of the target: alone if it holds anything itself.
    assert_eq!(machine.group(500), [500]);
}

#[test]
fn children_of_one_supervisor_stay_apart_even_where_the_target_left_its_process_group() {
    let machine = Machine::new(&[
        INIT,
        (500, 1, 500, 500, "supervise", "supervise"),
        (501, 500, 501, 501, "server", "server"),
        (502, 500, 500, 500, "backup", "backup"),
        (503, 500, 500, 500, "bystander", "bystander"),
    ]);
    assert_eq!(machine.group(502), [502]);
    assert_eq!(machine.group(503), [503]);
}

#[test]
fn orphans_in_the_process_group_of_init_stay_apart() {
    let machine = Machine::new(&[
        (1, 0, 1, 1, "init", "sh /init"),
        SERVER,
        (60, 1, 1, 1, "backup", "backup"),
        (61, 1, 1, 1, "bystander", "bystander"),
    ]);
    assert_eq!(machine.group(60), [60]);
}

#[test]
fn target_and_backup_typed_in_one_shell_stay_apart() {
    let machine = Machine::new(&[
        INIT,
        (100, 1, 100, 100, "bash", "-bash"),
        (200, 100, 200, 100, "server", "server"),
        (300, 100, 300, 100, "tar", "tar c /"),
        (301, 100, 300, 100, "gzip", "gzip"),
        (400, 100, 400, 100, "vi", "vi"),
    ]);
    assert_eq!(machine.group(300), [300, 301]);
    assert_eq!(machine.group(400), [400]);
}

#[test]
fn what_the_target_started_and_is_not_traced_is_a_group_below_it() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (51, 50, 50, 50, "cgi", "cgi"),
        (52, 51, 50, 50, "convert", "convert"),
    ]);
    assert_eq!(machine.group(52), [51, 52]);
}

#[test]
fn kernel_threads_are_grouped_by_kind() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (2, 0, 0, 0, "kthreadd", ""),
        (21, 2, 0, 0, "kworker/0:1-events", ""),
        (22, 2, 0, 0, "kworker/u4:2", ""),
        (23, 2, 0, 0, "loop0", ""),
    ]);
    assert_eq!(machine.group(21), [21, 22]);
    assert_eq!(machine.group(23), [23]);
    let members = [machine.id(21), machine.id(22)];
    assert_eq!(
        machine
            .groups
            .name(&machine.books, &members, Resource::Disk),
        "kworker"
    );
}

#[test]
fn a_parent_younger_than_its_child_is_another_process_with_its_id() {
    let mut books = Machine::new(&[
        INIT,
        SERVER,
        (60, 1, 60, 60, "tar", "tar"),
        (61, 60, 61, 60, "gzip", "gzip"),
    ])
    .books;
    books.processes[2].start_ns = 1_000_000_000;
    let groups = Groups::new(&books);
    assert_ne!(groups.of(2), groups.of(3));
}

#[test]
fn a_circle_of_parents_ends() {
    let machine = Machine::new(&[
        SERVER,
        (60, 61, 60, 60, "a", "a"),
        (61, 60, 60, 60, "b", "b"),
    ]);
    assert_eq!(machine.group(60), [60, 61]);
}

#[test]
fn workers_that_lead_their_own_sessions_are_their_parents_job() {
    let fio = "fio --rw=read --numjobs=3";
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (90, 1, 90, 90, "sshd", "sshd: root@pts/0"),
        (100, 90, 100, 100, "bash", "-bash"),
        (200, 100, 200, 100, "fio", fio),
        (201, 200, 201, 201, "fio", fio),
        (202, 200, 202, 202, "fio", fio),
        (203, 200, 203, 203, "fio", fio),
        (300, 1, 300, 300, "postgres", "/usr/bin/postgres -D /data"),
        (301, 300, 301, 301, "postgres", "postgres: checkpointer"),
        (302, 300, 302, 302, "postgres", "postgres: app db SELECT"),
    ]);
    assert_eq!(machine.group(202), [200, 201, 202, 203]);
    assert_eq!(machine.group(301), [300, 301, 302]);
}

#[test]
fn what_a_job_starts_in_a_session_of_its_own_is_another_job() {
    let machine = Machine::new(&[
        INIT,
        SERVER,
        (200, 1, 200, 200, "bash", "bash /srv/agent"),
        (201, 200, 201, 201, "bash", "bash /srv/backup"),
        (202, 200, 202, 202, "gzip", "gzip -9"),
    ]);
    assert_eq!(machine.group(201), [201]);
    assert_eq!(machine.group(202), [202]);
}

#[test]
fn a_worker_of_the_targets_parent_stays_apart_from_it() {
    let machine = Machine::new(&[
        INIT,
        (200, 1, 200, 200, "fio", "fio jobs"),
        (201, 200, 201, 201, "server", "fio jobs"),
        (202, 200, 202, 202, "fio", "fio jobs"),
    ]);
    assert_eq!(machine.group(202), [202]);
}
