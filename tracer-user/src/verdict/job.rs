//! Programs that start other people's jobs, and cgroups that hold one job: the tables behind the groups.

use crate::model::books::Process;

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
    // Schedules.
    "cron",
    "crond",
    "CRON",
    "anacron",
    "atd",
    "run-parts",
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

const SHELLS: &[&str] = &[
    "ash", "bash", "csh", "dash", "fish", "ksh", "mksh", "sh", "tcsh", "zsh",
];

/// Names of other programs that run scripts; a version may follow (`python3.13`).
const INTERPRETERS: &[&str] = &["python", "perl", "ruby", "node", "php", "lua"];

/// Options of these that take the next word; PHP also has `-d`.
const WITH_WORD: &[&str] = &["-I", "-W", "-X", "-r", "--import", "--require"];

/// Options of shells that take the next word.
const WITH_VALUE: &[&str] = &["-o", "+o", "-O", "+O", "--rcfile", "--init-file"];

/// Hexadecimal digits of a container's identity in its cgroup's name; docker, podman and containerd use 64.
const CONTAINER_DIGITS: usize = 32;

/// So many of them are printed by the programs that list containers.
const SHORT_DIGITS: usize = 12;

/// Does the process start other people's jobs?
#[must_use]
pub(super) fn is_broker(process: &Process) -> bool {
    BROKERS.contains(&process.comm.as_str())
        || process.comm.starts_with("containerd-shim")
        || is_typed_in(process)
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
    let container = container(path).map(JobCgroup::Container);
    let unit = is_unit(path).then_some(JobCgroup::Unit(path));
    container.into_iter().chain(unit).collect()
}

fn is_unit(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let service = name.ends_with(".service") && !name.starts_with("user@");
    let scope = name.ends_with(".scope") && !name.starts_with("session-") && name != "init.scope";
    service || scope
}

/// The systemd unit that a cgroup path is of: `backup.service`.
#[must_use]
pub(super) fn unit_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|_| is_unit(path))
}

/// The container that a cgroup path lies in: the first digits of its identity, or its name.
#[must_use]
pub(super) fn container_name(path: &str) -> Option<&str> {
    let name = container(path)?.rsplit('/').next()?;
    if let Some(name) = name.strip_prefix("lxc.payload.") {
        return Some(name);
    }
    let id = name.strip_suffix(".scope").unwrap_or(name);
    let id = id.rsplit('-').next()?;
    id.get(..SHORT_DIGITS)
}

/// The unit or container that a cgroup path is of, if the next run of the same job has one of the same name. An identity of a container
/// does not last, nor does what `systemd-run` or a desktop makes up.
#[must_use]
pub(super) fn lasting_name(path: &str) -> Option<&str> {
    let made_up = |unit: &&str| {
        unit.starts_with("run-") || (unit.starts_with("app-") && unit.ends_with(".scope"))
    };
    match container_name(path) {
        Some(name) => Some(name).filter(|_| path.contains("lxc.payload.")),
        None => unit_name(path).filter(|unit| !made_up(unit)),
    }
}

/// The path up to the component that names a container: `docker-ID.scope`, `docker/ID`, `lxc.payload.NAME`.
fn container(path: &str) -> Option<&str> {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        end += part.len();
        let name = part.trim_end_matches('/');
        let id = name.strip_suffix(".scope").unwrap_or(name);
        let id = id.rsplit('-').next().unwrap_or_default();
        let is_id = id.len() >= CONTAINER_DIGITS && id.bytes().all(|c| c.is_ascii_hexdigit());
        if is_id || name.starts_with("lxc.payload.") {
            return Some(path[..end].trim_end_matches('/'));
        }
    }
    None
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

    #[test]
    fn units_and_containers_have_the_names_that_their_programs_print() {
        let id = "3f2a9c8d1e4b".repeat(6);
        let docker = format!("/system.slice/docker-{}.scope", &id[..64]);
        assert_eq!(container_name(&docker), Some("3f2a9c8d1e4b"));
        assert_eq!(container_name("/lxc.payload.web/init.scope"), Some("web"));
        assert_eq!(container_name("/system.slice/backup.service"), None);
        assert_eq!(
            unit_name("/system.slice/backup.service"),
            Some("backup.service")
        );
        assert_eq!(unit_name("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(unit_name(""), None);
    }

    #[test]
    fn a_name_lasts_unless_it_was_made_up_for_one_run() {
        let docker = format!("/docker/{}", "3f2a9c8d1e4b".repeat(5) + "3f2a");
        assert_eq!(
            lasting_name("/system.slice/backup.service"),
            Some("backup.service")
        );
        assert_eq!(lasting_name("/lxc.payload.web/x.service"), Some("web"));
        for none in [
            docker.as_str(),
            "/system.slice/run-u77.service",
            "/user.slice/user-0.slice/session-3.scope",
            "/app.slice/app-gnome-files-4711.scope",
        ] {
            assert_eq!(lasting_name(none), None, "{none}");
        }
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
