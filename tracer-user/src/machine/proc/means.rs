//! The means by which this machine can restrain a process: cgroup hierarchies, commands, systemd.

use std::{env, fs, path::Path};

use crate::standing::{Hierarchy, Means};

/// Reads all means but the commands and the interfaces. Folders are searched for commands, and may not answer; interfaces are read
/// at the end.
#[must_use]
pub(crate) fn means() -> Means {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let (cpu, io) = (hierarchy(&mounts, "cpu"), hierarchy(&mounts, "io"));
    let io_cost = io.as_ref().map_or(String::new(), |io| {
        fs::read_to_string(format!("{}/io.cost.qos", io.mount)).unwrap_or_default()
    });
    Means {
        cpu,
        io,
        io_cost: enabled_devices(&io_cost),
        // sd_booted(3).
        systemd: Path::new("/run/systemd/system").is_dir(),
        autogroup: fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled")
            .is_ok_and(|text| text.trim() == "1"),
        commands: Vec::new(),
        interfaces: Vec::new(),
    }
}

/// The hierarchy with a controller, by its name in v2. In a hybrid, v1 has some controllers and v2 the others.
pub(super) fn hierarchy(mounts: &str, controller: &str) -> Option<Hierarchy> {
    let mounted = |kind: &'static str| {
        mounts.lines().filter_map(move |line| {
            let fields: Vec<&str> = line.split(' ').collect();
            (*fields.get(2)? == kind).then(|| Some((*fields.get(1)?, *fields.get(3)?)))?
        })
    };
    let unified = mounted("cgroup2").find(|(mount, _)| {
        let controllers =
            fs::read_to_string(format!("{mount}/cgroup.controllers")).unwrap_or_default();
        controllers
            .split_ascii_whitespace()
            .any(|c| c == controller)
    });
    let old = || {
        mounted("cgroup").find(|(_, options)| options.split(',').any(|o| o == old_name(controller)))
    };
    let found = |unified: bool, (mount, _): (&str, &str)| Hierarchy {
        unified,
        mount: mount.to_owned(),
    };
    match unified {
        Some(mount) => Some(found(true, mount)),
        None => old().map(|mount| found(false, mount)),
    }
}

/// Name of a v2 controller in v1.
pub(super) fn old_name(controller: &str) -> &str {
    match controller {
        "io" => "blkio",
        same => same,
    }
}

/// Devices of `8:0 enable=1 …` lines.
fn enabled_devices(qos: &str) -> Vec<String> {
    let enabled = qos.lines().filter(|line| line.contains(" enable=1"));
    let device = |line: &str| line.split(' ').next().map(str::to_owned);
    enabled.filter_map(device).collect()
}

/// Is a command in `PATH`, or in the folders that only root has there?
#[must_use]
pub(crate) fn is_installed(command: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(Into::into);
    let mut folders = env::split_paths(&path).chain(usual);
    folders.any(|folder| folder.join(command).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_a_hybrid_are_found_where_they_are() {
        let mounts = "cgroup /c/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n\
                      cgroup /c/blkio cgroup rw,relatime,blkio 0 0\n\
                      cgroup2 /no/such/folder cgroup2 rw 0 0\n";
        let of =
            |controller| hierarchy(mounts, controller).map(|found| (found.unified, found.mount));
        assert_eq!(of("cpu"), Some((false, "/c/cpu".to_owned())));
        assert_eq!(of("io"), Some((false, "/c/blkio".to_owned())));
        assert_eq!(of("memory"), None);
    }

    #[test]
    fn only_enabled_devices_have_a_cost_model() {
        let qos = "8:0 enable=1 ctrl=auto rpct=0.00\n8:16 enable=0 ctrl=auto\n";
        assert_eq!(enabled_devices(qos), ["8:0"]);
    }

    #[test]
    fn a_shell_is_installed_and_nonsense_is_not() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-command"));
    }
}
