//! Programs that start other people's jobs, and cgroups that hold one job: the tables behind the groups.

use crate::{
    model::books::{Books, Process, ProcessId},
    standing::home,
};

/// Programs that start jobs which have nothing else in common. The kernel cuts a name to 15 bytes.
const BROKERS: &[&str] = &[
    // Logins.
    "sshd",
    "sshd-session",
    "dropbear",
    "login",
    "su",
    "sudo",
    "doas",
    "runuser",
    "tmux",
    "tmux: server",
    "screen",
    "SCREEN",
    "mosh-server",
    // Services; `systemd` is also each user's own.
    "systemd",
    "init",
    "inetd",
    "xinetd",
    "runsv",
    "runsvdir",
    "s6-supervise",
    "s6-svscan",
    "supervisord",
    // Containers.
    "containerd",
    "containerd-shim",
    "dockerd",
    "conmon",
    "lxc-start",
    "systemd-nspawn",
];

/// The same of those that start jobs at their time.
const SCHEDULES: &[&str] = &["cron", "crond", "CRON", "anacron", "atd", "run-parts"];

const SHELLS: &[&str] = &[
    "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh",
];

/// Names of other programs that run scripts; a version may follow (`python3.13`).
const INTERPRETERS: &[&str] = &["python", "perl", "ruby", "node", "php", "lua"];

/// Options of these that take the next word; PHP also has `-d`.
const WITH_WORD: &[&str] = &["-I", "-W", "-X", "-r", "--import", "--require"];

/// Options of shells that take the next word.
const WITH_VALUE: &[&str] = &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"];

/// A parent may seem younger than its child by this, ns. `/proc` gives a start in ticks of 10 ms, a fork event in ns.
const TICK_NS: u64 = 10_000_000;

/// Does the process start other people's jobs?
#[must_use]
pub(super) fn is_broker(process: &Process) -> bool {
    BROKERS.contains(&process.comm.as_str())
        || is_schedule(process)
        || process.comm.starts_with("containerd-shim")
        || is_typed_in(process)
}

/// Does it start jobs at their time?
fn is_schedule(process: &Process) -> bool {
    SCHEDULES.contains(&process.comm.as_str())
}

/// The parent, unless it is a later process that was given the parent's id.
#[must_use]
pub(super) fn parent(processes: &[Process], id: ProcessId) -> Option<ProcessId> {
    let process = &processes[id];
    let is_older = |parent: &ProcessId| {
        let parent = &processes[*parent];
        process.start_ns == 0 || parent.start_ns <= process.start_ns + TICK_NS
    };
    process.parent.filter(is_older)
}

/// The command of the cron job that a process belongs to: the program just below the scheduler, or what that has its shell run.
#[must_use]
pub(super) fn cron_job(books: &Books, id: ProcessId) -> Option<String> {
    let processes = &books.processes;
    let mut top = id;
    // A chain of parents cannot be longer than there are processes, unless it is a circle of reused ids.
    for _ in 0..processes.len() {
        let above = parent(processes, top)?;
        if is_schedule(&processes[above]) {
            // A scheduler forks itself first.
            let job = &processes[top];
            return (!is_schedule(job)).then(|| command(job));
        }
        top = above;
    }
    None
}

/// What a process runs, in few words: the command string of a shell, its script, or its name.
fn command(process: &Process) -> String {
    let string = process
        .cmdline
        .split_once(" -c ")
        .map(|(_, string)| string.trim());
    let is_shell = SHELLS.contains(&process.comm.as_str());
    let string = string.filter(|string| is_shell && !string.is_empty());
    let named = string.or_else(|| script(process));
    named.unwrap_or(process.comm.as_str()).to_owned()
}

/// A shell in which somebody types: a login shell (`-bash`), or one without a script or a command string. It gives each of its jobs
/// a process group of its own.
fn is_typed_in(process: &Process) -> bool {
    if process.cmdline.starts_with('-') {
        return true;
    }
    SHELLS.contains(&process.comm.as_str())
        && !process.cmdline.is_empty()
        && !runs_script(&process.cmdline)
}

/// Does the command line of a shell name a script (`sh backup.sh`) or hold a command (`sh -c 'tar …'`)?
fn runs_script(cmdline: &str) -> bool {
    let mut words = cmdline.split_whitespace().skip(1);
    while let Some(word) = words.next() {
        if WITH_VALUE.contains(&word) {
            words.next();
        } else if word.starts_with("--") {
            if word.starts_with("--command") {
                return true;
            }
        } else if let Some(letters) = word.strip_prefix(['-', '+']) {
            if letters.contains('c') {
                return true;
            }
        } else {
            return true;
        }
    }
    false
}

/// The script that a process runs, if its program is one that runs scripts, and is not named after it: `backup.py`, or the module of
/// `python3 -m`. A command string has no name.
#[must_use]
pub(super) fn script(process: &Process) -> Option<&str> {
    let comm = process.comm.as_str();
    let is_shell = SHELLS.contains(&comm);
    let is_version = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || c == '.');
    let mut versions = INTERPRETERS.iter().map(|name| comm.strip_prefix(*name));
    let runs_scripts = versions.any(|rest| rest.is_some_and(is_version));
    if !is_shell && !runs_scripts {
        return None;
    }
    // `sh -ec`, `perl -ne`: what follows is the program itself.
    let inline: &[char] = if is_shell { &['c'] } else { &['c', 'e'] };
    let mut words = process.cmdline.split_whitespace().skip(1);
    let named = loop {
        let word = words.next()?;
        match word.strip_prefix(['-', '+']) {
            None => break word,
            Some("m") if !is_shell => break words.next()?,
            Some(letters) if !letters.starts_with('-') && letters.contains(inline) => return None,
            Some(_) if is_shell && WITH_VALUE.contains(&word) => _ = words.next(),
            Some(_) if !is_shell && WITH_WORD.contains(&word) => _ = words.next(),
            Some("d") if comm.starts_with("php") => _ = words.next(),
            Some(_) => {}
        }
    };
    let name = named.rsplit('/').next()?;
    Some(name).filter(|name| *name != comm && !name.is_empty())
}

/// The cgroup that may hold exactly one job: a unit, or the whole container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum JobCgroup<'a> {
    /// A systemd service, or a scope that is no login session: one job if nothing lies below it.
    Unit(&'a str),
    /// A container with all below it.
    Container(&'a str),
}

/// The units and containers that a cgroup path lies in.
#[must_use]
pub(super) fn job_cgroups(path: &str) -> Vec<JobCgroup<'_>> {
    let container = home::container(path).map(|found| JobCgroup::Container(found.path));
    let is_unit = path.rsplit('/').next().is_some_and(home::is_unit);
    let unit = is_unit.then_some(JobCgroup::Unit(path));
    container.into_iter().chain(unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(cmdline: &str) -> Process {
        Process {
            comm: "bash".into(),
            cmdline: cmdline.into(),
            ..Process::default()
        }
    }

    #[test]
    fn a_script_is_the_name_of_what_runs_it() {
        let of = |comm: &str, cmdline: &str| {
            let process = Process {
                comm: comm.into(),
                ..shell(cmdline)
            };
            script(&process).map(str::to_owned)
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            of("python3", "/usr/bin/python3 -u /srv/backup.py --all"),
            named("backup.py")
        );
        assert_eq!(of("python3.13", "python3 -m duplicity"), named("duplicity"));
        assert_eq!(
            of("php8.2", "php -d memory_limit=1G /srv/cron.php"),
            named("cron.php")
        );
        assert_eq!(
            of("bash", "bash -e -o pipefail /srv/backup.sh"),
            named("backup.sh")
        );
        for (comm, cmdline) in [
            ("bash", "bash -ec tar"),
            ("perl", "perl -ne print"),
            ("bash", "-bash"),
            ("python3", "python3"),
            ("php-fpm8.2", "php-fpm: pool www"),
            ("node_exporter", "node_exporter --path.rootfs /host"),
            // It has taken the name of its script.
            ("borg", "/usr/bin/python3 /usr/bin/borg create"),
            ("tar", "tar -cf - /srv"),
        ] {
            assert_eq!(of(comm, cmdline), None, "{cmdline}");
        }
    }

    /// A chain of processes, each the child of the one before: name and command line.
    fn chain(of: &[(&str, &str)]) -> Books {
        let process = |(id, (comm, cmdline)): (usize, &(&str, &str))| Process {
            pid: 100 + id as u32,
            parent: id.checked_sub(1),
            start_ns: 1 + id as u64,
            comm: (*comm).into(),
            cmdline: (*cmdline).into(),
            ..Process::default()
        };
        Books {
            processes: of.iter().enumerate().map(process).collect(),
            ..Books::default()
        }
    }

    #[test]
    fn a_cron_job_is_the_command_that_its_scheduler_runs() {
        let cron = [
            ("systemd", "/sbin/init"),
            ("cron", "/usr/sbin/cron -f"),
            ("cron", "/usr/sbin/CRON -f"),
        ];
        let of = |below: &[(&str, &str)]| {
            let books = chain(&[&cron[..], below].concat());
            cron_job(&books, books.processes.len() - 1)
        };
        let job = |name: &str| Some(name.to_owned());
        let shell = ("sh", "/bin/sh -c /root/backup.sh --all");
        let tar = ("tar", "tar -cf - /srv");
        assert_eq!(
            of(&[shell, ("backup.sh", "/bin/sh /root/backup.sh --all"), tar]),
            job("/root/backup.sh --all")
        );
        // A shell that became its last command.
        assert_eq!(
            of(&[("bash", "/bin/bash /root/backup.sh"), tar]),
            job("backup.sh")
        );
        assert_eq!(of(&[tar]), job("tar"));
        let daily = ("run-parts", "run-parts --report /etc/cron.daily");
        let parts = (
            "sh",
            "/bin/sh -c cd / && run-parts --report /etc/cron.daily",
        );
        assert_eq!(
            of(&[
                parts,
                daily,
                ("restic", "/bin/sh /etc/cron.daily/restic"),
                tar
            ]),
            job("restic")
        );
        assert_eq!(of(&[]), None);
        let books = chain(&[("systemd", "/sbin/init"), tar]);
        assert_eq!(cron_job(&books, 1), None);
    }

    #[test]
    fn a_scheduler_that_is_younger_than_its_child_is_another_process() {
        let mut books = chain(&[("cron", "cron -f"), ("tar", "tar -cf - /srv")]);
        assert!(cron_job(&books, 1).is_some());
        books.processes[0].start_ns = 3 * TICK_NS;
        assert_eq!(cron_job(&books, 1), None);
    }

    #[test]
    fn a_shell_is_typed_in_unless_it_runs_a_script_or_a_command() {
        for typed in [
            "bash",
            "-bash",
            "/bin/bash -l",
            "bash --norc -i",
            "bash --rcfile /x",
        ] {
            assert!(is_broker(&shell(typed)), "{typed}");
        }
        for script in [
            "bash -c tar",
            "bash -ec tar",
            "bash -x run.sh",
            "bash -o pipefail run.sh",
            "",
        ] {
            assert!(!is_broker(&shell(script)), "{script}");
        }
    }

    #[test]
    fn services_and_containers_hold_one_job_and_sessions_do_not() {
        let id = "0123456789abcdef".repeat(4);
        let docker = format!("/system.slice/docker-{id}.scope");
        let nested = format!("/docker/{id}/inner.slice");
        assert_eq!(
            job_cgroups("/system.slice/backup.service"),
            [JobCgroup::Unit("/system.slice/backup.service")]
        );
        assert!(job_cgroups(&docker).contains(&JobCgroup::Container(&docker)));
        assert_eq!(
            job_cgroups(&nested),
            [JobCgroup::Container(
                nested.trim_end_matches("/inner.slice")
            )]
        );
        for none in [
            "/",
            "",
            "/user.slice/user-0.slice/session-3.scope",
            "/user.slice/user-0.slice/user@0.service",
            "/init.scope",
        ] {
            assert!(job_cgroups(none).is_empty(), "{none}");
        }
    }
}
