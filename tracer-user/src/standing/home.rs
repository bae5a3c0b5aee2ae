//! Where a process belongs, as the path of its control group shows: a systemd unit, a container, a pod, a login session.
//!
//! Service managers and container runtimes name the groups that they make. Each rule here has the layouts that it is for. Whoever may make
//! groups chooses their names, so a path is only a text: nothing is opened by it.

/// Fewest hexadecimal digits of a container's identity: docker, podman, CRI-O and containerd use 64, a task of ECS has 32.
const ID_DIGITS: usize = 32;

/// So many of them are printed by the programs that list containers.
const SHORT_DIGITS: usize = 12;

/// Groups of the programs that watch over containers: they are named after a container, and lie beside it.
const MONITORS: [&str; 2] = ["libpod-conmon-", "crio-conmon-"];

/// Where LXC before version 4, and Proxmox, keep the group of a container: `/lxc/NAME`.
const LXC_FOLDERS: [&str; 2] = ["lxc", "lxc.payload"];

/// Kinds of units that have processes of their own, or below them.
const WITH_PROCESSES: [&str; 3] = [".service", ".scope", ".slice"];

/// Kinds of units that start a service of the same name, and have no process.
const STARTERS: [&str; 3] = [".timer", ".socket", ".path"];

/// Lengths of a pod's identity: a UUID with dashes, or the hash of a pod that the node itself defines.
const POD_ID: std::ops::RangeInclusive<usize> = 32..=36;

/// The container that a group belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Container<'a> {
    /// The path of its group. All that lies below it belongs to it, too.
    pub path: &'a str,
    /// Its identity; its name where the group has that (LXC, systemd-nspawn).
    pub id: &'a str,
}

impl<'a> Container<'a> {
    /// The identity as the programs that list containers print it.
    #[must_use]
    pub fn short(&self) -> &'a str {
        short(self.id)
    }

    /// Did root make its group, as far as the path shows? Above it lies no container, service or scope, which may make groups of any name
    /// where it has been given the right to.
    #[must_use]
    pub fn is_roots(&self) -> bool {
        let above = self.path.rsplit_once('/').map_or("", |(above, _)| above);
        container(above).is_none() && unit_or_session(above).is_none()
    }
}

/// The first digits of an identity; a name as it is.
#[must_use]
pub fn short(id: &str) -> &str {
    match is_id(id) {
        true => &id[..SHORT_DIGITS],
        false => id,
    }
}

/// Is it the identity of a container, and no name?
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() >= ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The innermost container that a path lies in. A container may run others.
#[must_use]
pub fn container(path: &str) -> Option<Container<'_>> {
    let (mut found, mut end, mut above) = (None, 0, "");
    for part in path.split_inclusive('/') {
        end += part.len();
        let name = part.trim_end_matches('/');
        if let Some(id) = container_id(name, above) {
            let path = path[..end].trim_end_matches('/');
            found = Some(Container { path, id });
        }
        above = name;
    }
    found
}

/// The identity in the name of a group below the group `above`.
fn container_id<'a>(name: &'a str, above: &str) -> Option<&'a str> {
    if MONITORS.iter().any(|monitor| name.starts_with(monitor)) {
        return None;
    }
    let nspawn = || {
        name.strip_prefix("systemd-nspawn@")?
            .strip_suffix(".service")
    };
    let by_name = match LXC_FOLDERS.contains(&above) {
        true => Some(name),
        false => name.strip_prefix("lxc.payload.").or_else(nspawn),
    };
    if let Some(name) = by_name.filter(|name| !name.is_empty()) {
        return Some(name);
    }
    // `docker-ID.scope`, `cri-containerd-ID.scope`; `ID` alone; `SLICE:cri-containerd:ID`, if kubelet and runtime disagree.
    let name = name.strip_suffix(".scope").unwrap_or(name);
    name.rsplit(['-', ':']).next().filter(|id| is_id(id))
}

/// The identity of the pod that a path lies in: `kubepods-burstable-podUID.slice` with `_` for `-`, or `kubepods/burstable/podUID`.
#[must_use]
pub fn pod(path: &str) -> Option<String> {
    let parts = path
        .split('/')
        .skip_while(|part| !part.contains("kubepods"));
    parts.filter_map(pod_id).last()
}

fn pod_id(part: &str) -> Option<String> {
    let name = part.split(':').next()?;
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let id = match name.strip_prefix("pod") {
        Some(id) => id,
        None => name.rsplit_once("-pod")?.1,
    };
    let id = id.replace('_', "-");
    let is_digit = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    let is_pod = POD_ID.contains(&id.len()) && id.bytes().all(is_digit);
    is_pod.then_some(id)
}

/// Is it the name of a service, or of a scope that is no login session? Then its processes are one job's, unless other groups lie below.
#[must_use]
pub fn is_unit(name: &str) -> bool {
    let service = name.ends_with(".service") && !name.starts_with("user@");
    let scope = name.ends_with(".scope") && !name.starts_with("session-") && name != "init.scope";
    service || scope
}

/// The systemd unit that a path lies in, of the system or of a user: `backup.service`. A service may have groups of its own below it.
#[must_use]
pub fn unit(path: &str) -> Option<&str> {
    path.rsplit('/').find(|part| is_unit(part))
}

/// The same, and a login session's scope or a user's manager where there is no other.
#[must_use]
pub fn unit_or_session(path: &str) -> Option<&str> {
    let is_one = |part: &&str| part.ends_with(".service") || part.ends_with(".scope");
    path.rsplit('/').find(is_one)
}

/// The unit or container that a path lies in, if the next run of the same job has one of the same name. An identity of a container does not
/// last, nor does what `systemd-run` or a desktop makes up.
#[must_use]
pub fn lasting_name(path: &str) -> Option<&str> {
    let is_desktops = |unit: &str| unit.starts_with("app-") && unit.ends_with(".scope");
    let is_made_up = |unit: &str| {
        let has_id = unit.split(['-', '.']).any(is_id);
        unit.starts_with("run-") || is_desktops(unit) || has_id
    };
    match container(path) {
        Some(found) => Some(found.id).filter(|id| !is_id(id)),
        None => unit(path).filter(|unit| !is_made_up(unit)),
    }
}

/// The user (uid) to whom systemd gave this part of the groups: what lies there has the names that he chose.
#[must_use]
pub fn user(path: &str) -> Option<&str> {
    path.split('/')
        .find_map(|part| part.strip_prefix("user@")?.strip_suffix(".service"))
}

/// The login session that a path lies in: `3` of `session-3.scope`, which `loginctl` lists.
#[must_use]
pub fn session(path: &str) -> Option<&str> {
    path.rsplit('/')
        .find_map(|part| part.strip_prefix("session-")?.strip_suffix(".scope"))
}

/// The full name of a unit as `systemctl` reads it: `nginx` is `nginx.service`. A timer has no process; its service has.
#[must_use]
pub fn unit_name(name: &str) -> String {
    if WITH_PROCESSES.iter().any(|kind| name.ends_with(kind)) {
        return name.to_owned();
    }
    let starts = STARTERS.iter().find_map(|kind| name.strip_suffix(kind));
    format!("{}.service", starts.unwrap_or(name))
}

/// The path up to its first component of this name.
#[must_use]
pub fn up_to<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        end += part.len();
        if part.trim_end_matches('/') == name {
            return Some(path[..end].trim_end_matches('/'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a";
    const UID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

    /// `ID`, `UID` and, as systemd's slices write it, `U_D` in a layout.
    fn layout(path: &str) -> String {
        let path = path.replace("ID_", ID);
        path.replace("UID", UID)
            .replace("U_D", &UID.replace('-', "_"))
    }

    #[test]
    fn the_containers_of_each_runtime_are_found_with_either_driver_of_cgroups() {
        for path in [
            // docker: systemd driver, cgroupfs driver, a parent of its own, rootless.
            "/system.slice/docker-ID_.scope",
            "/docker/ID_",
            "/jobs/ID_",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID_.scope",
            // docker with systemd within, and with groups within.
            "/system.slice/docker-ID_.scope/init.scope",
            "/docker/ID_/system.slice/nginx.service",
            // podman: root, cgroupfs, in a pod, rootless with and without a split, in a unit (quadlet).
            "/machine.slice/libpod-ID_.scope/container",
            "/libpod_parent/libpod-ID_",
            "/machine.slice/machine-libpod_pod_ID_.slice/libpod-ID_.scope",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID_.scope/container",
            "/system.slice/web.service/libpod-payload-ID_",
            // nerdctl, and containerd under another name.
            "/system.slice/nerdctl-ID_.scope",
            "/default/ID_",
            // Kubernetes: containerd, CRI-O, docker; both drivers; each class of service; k3s; kind.
            "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID_.scope",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID_.scope",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podU_D.slice/docker-ID_.scope",
            "/kubepods/besteffort/podUID/ID_",
            "/kubepods/podUID/ID_",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID_.scope",
            "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID_",
            // A task of ECS has an identity of its own above.
            "/ecs/0123456789abcdef0123456789abcdef/ID_",
        ] {
            let path = layout(path);
            let found = container(&path).map(|found| (found.id, found.short()));
            assert_eq!(found, Some((ID, "3f2a9c8d1e4b")), "{path}");
        }
    }

    #[test]
    fn containers_with_names_have_them_in_their_paths() {
        for (path, name) in [
            ("/lxc.payload.web/init.scope", "web"),
            ("/lxc.payload.web", "web"),
            ("/lxc/web/system.slice/nginx.service", "web"),
            ("/lxc.payload/web", "web"),
            ("/lxc/101/ns", "101"),
            ("/lxc.payload.team_web/system.slice/a.service", "team_web"),
            ("/machine.slice/systemd-nspawn@web.service/payload", "web"),
        ] {
            assert_eq!(
                container(path).map(|found| found.short()),
                Some(name),
                "{path}"
            );
        }
    }

    #[test]
    fn a_container_in_another_is_known_by_its_own_identity() {
        let outer = "f".repeat(64);
        for path in [
            format!("/docker/{outer}/docker/ID_"),
            format!("/docker/{outer}/kubelet/kubepods/burstable/podUID/ID_"),
            format!(
                "/system.slice/docker-{outer}.scope/kubelet.slice/kubelet-podU_D.slice/cri-containerd-ID_.scope"
            ),
            "/lxc.payload.web/system.slice/docker-ID_.scope".to_owned(),
        ] {
            let path = layout(&path);
            let found = container(&path).unwrap();
            assert_eq!((found.id, found.path), (ID, path.as_str()));
        }
        let within = layout("/docker/ID_/inner.slice");
        assert_eq!(container(&within).unwrap().path, layout("/docker/ID_"));
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "",
            "/",
            "/system.slice/backup.service",
            "/user.slice/user-0.slice/session-3.scope",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/run-rID_.scope",
            "/machine.slice/libpod-conmon-ID_.scope",
            "/kubepods.slice/kubepods-podU_D.slice/crio-conmon-ID_.scope",
            "/kubepods/podUID",
            "/kubepods.slice/kubepods-pod0123456789abcdef0123456789abcdef.slice",
            "/machine.slice/machine-libpod_pod_ID_.slice",
            "/lxc.monitor.web",
            "/lxc",
            "/lxc.payload.",
            "/system.slice/systemd-nspawn@.service",
            "/docker/0123456789ab",
        ] {
            assert_eq!(container(&layout(path)), None, "{path}");
        }
    }

    #[test]
    fn a_pod_is_known_by_its_identity_in_both_layouts() {
        for path in [
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID_.scope",
            "/kubepods.slice/kubepods-podU_D.slice",
            "/kubepods/besteffort/podUID/ID_",
            "/docker/ID_/kubelet/kubepods/burstable/podUID/ID_",
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID_.scope",
            "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID_",
        ] {
            assert_eq!(pod(&layout(path)).as_deref(), Some(UID), "{path}");
        }
        let fixed = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            pod(&format!("/kubepods/burstable/pod{fixed}/x")).as_deref(),
            Some(fixed)
        );
        for none in [
            "/docker/ID_",
            "/podman/podUID",
            "/kubepods",
            "/kubepods/podium",
            "/machine.slice/machine-libpod_pod_ID_.slice",
        ] {
            assert_eq!(pod(&layout(none)), None, "{none}");
        }
    }

    #[test]
    fn the_unit_is_the_innermost_that_is_one_job() {
        for (path, found) in [
            ("/system.slice/nginx.service", Some("nginx.service")),
            (
                "/system.slice/system-postgresql.slice/postgresql@15-main.service",
                Some("postgresql@15-main.service"),
            ),
            ("/system.slice/app.service/workers/3", Some("app.service")),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/restic.service",
                Some("restic.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/run-u7.scope",
                Some("run-u7.scope"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                None,
            ),
            ("/user.slice/user-1000.slice/session-3.scope", None),
            ("/init.scope", None),
            ("/docker/x", None),
            ("", None),
        ] {
            assert_eq!(unit(path), found, "{path}");
        }
        assert_eq!(
            unit_or_session("/user.slice/user-0.slice/session-3.scope"),
            Some("session-3.scope")
        );
        assert_eq!(
            unit_or_session("/user.slice/user@0.service/app.slice/a.scope/x"),
            Some("a.scope")
        );
        assert_eq!(unit_or_session("/user.slice"), None);
    }

    #[test]
    fn a_name_lasts_unless_it_was_made_up_for_one_run() {
        for (path, name) in [
            ("/system.slice/backup.service", "backup.service"),
            ("/system.slice/app.service/workers/3", "app.service"),
            ("/lxc.payload.web/x.service", "web"),
            ("/machine.slice/systemd-nspawn@web.service/payload", "web"),
        ] {
            assert_eq!(lasting_name(path), Some(name), "{path}");
        }
        for none in [
            "/docker/ID_",
            "/docker/ID_/system.slice/nginx.service",
            "/machine.slice/libpod-conmon-ID_.scope",
            "/system.slice/run-u77.service",
            "/user.slice/user-0.slice/session-3.scope",
            "/app.slice/app-gnome-files-4711.scope",
        ] {
            assert_eq!(lasting_name(&layout(none)), None, "{none}");
        }
    }

    #[test]
    fn groups_that_others_than_root_can_make_are_told_apart() {
        for (path, is_roots) in [
            ("/docker/ID_", true),
            ("/system.slice/docker-ID_.scope/init.scope", true),
            (
                "/kubepods.slice/kubepods-podU_D.slice/cri-containerd-ID_.scope",
                true,
            ),
            ("/kubepods/burstable/podUID/ID_", true),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID_.scope",
                false,
            ),
            ("/system.slice/web.service/docker-ID_.scope", false),
            ("/lxc.payload.web/docker/ID_", false),
            ("/user.slice/user-0.slice/session-3.scope/ID_", false),
        ] {
            let path = layout(path);
            assert_eq!(container(&path).unwrap().is_roots(), is_roots, "{path}");
        }
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/a.service";
        assert_eq!(user(path), Some("1000"));
        assert_eq!(user("/system.slice/a.service"), None);
    }

    #[test]
    fn a_session_has_the_number_that_its_login_manager_gave_it() {
        assert_eq!(
            session("/user.slice/user-1000.slice/session-c2.scope"),
            Some("c2")
        );
        assert_eq!(
            session("/user.slice/user-1000.slice/user@1000.service/init.scope"),
            None
        );
    }

    #[test]
    fn units_are_named_as_people_name_them() {
        for (said, meant) in [
            ("nginx", "nginx.service"),
            ("nginx.service", "nginx.service"),
            ("restic.timer", "restic.service"),
            ("user-1000.slice", "user-1000.slice"),
            ("session-3.scope", "session-3.scope"),
            ("a.b", "a.b.service"),
        ] {
            assert_eq!(unit_name(said), meant);
        }
    }

    #[test]
    fn a_path_is_cut_behind_a_component_and_not_within_one() {
        assert_eq!(
            up_to("/a.slice/b.service/c", "b.service"),
            Some("/a.slice/b.service")
        );
        assert_eq!(up_to("/a.slice/ab.service", "b.service"), None);
        assert_eq!(up_to("", "b.service"), None);
    }
}
