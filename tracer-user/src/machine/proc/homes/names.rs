//! What people call a container: by the folders and files in which runtimes and the kubelet keep that, and by the monitors of podman and
//! CRI-O, which `/proc` shows.
//!
//! The files are opened by paths of root's alone, with an identity of nothing but hexadecimal digits in them. Whoever starts a container
//! chooses part of what they hold. So they are bounded, and taken for what they are only if nobody but root could have written them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
};

use serde::Deserialize;

use super::super::{
    SmallFiles,
    process::{cgroup, stats},
};
use crate::standing::{
    Called,
    home::{self, Container},
};

/// Most containers that are looked up, and most entries read of a folder.
const MOST: usize = 1024;
const MOST_ENTRIES: usize = 8192;

/// The longest state file, bytes. Those of docker and containerd have some ten thousand.
const LONGEST: u64 = 1 << 20;

/// The longest command line of a monitor, bytes.
const LONGEST_CMDLINE: u64 = 1 << 14;

/// Where the kubelet links the log of each container, with all names in that of the link.
const LOGS: &str = "/var/log/containers";

/// Where docker keeps a container's configuration, `ID/config.v2.json`.
const DOCKER: [&str; 2] = [
    "/var/lib/docker/containers",
    "/var/snap/docker/common/var-lib-docker/containers",
];

/// Where a container's OCI configuration lies: containerd (itself, of k3s and RKE2, of k0s, of MicroK8s) by its namespaces of the kubelet
/// and of nerdctl, and CRI-O. What follows is behind the identity.
const BUNDLES: [(&str, &str); 6] = [
    (
        "/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
    ),
    (
        "/run/containerd/io.containerd.runtime.v2.task/default",
        "config.json",
    ),
    (
        "/run/k3s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
    ),
    (
        "/run/k0s/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
    ),
    (
        "/var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task/k8s.io",
        "config.json",
    ),
    (
        "/run/containers/storage/overlay-containers",
        "userdata/config.json",
    ),
];

/// The annotations with the names of a container, its pod and its namespace: containerd's, and CRI-O's.
const IN_POD: [[&str; 3]; 2] = [
    [
        "io.kubernetes.cri.container-name",
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.sandbox-namespace",
    ],
    [
        "io.kubernetes.container.name",
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.namespace",
    ],
];

/// The annotation with the name of a container of nerdctl.
const ALONE: &str = "nerdctl/name";

/// What the containers with these groups are called, as far as that can be read. One without a name is left out.
///
/// The files say what root's containers are called, by their identities. A group of that name that somebody else could have made is none
/// of those.
#[must_use]
pub(crate) fn called(groups: &BTreeSet<String>) -> Vec<Called> {
    let containers = groups.iter().filter_map(|group| home::container(group));
    let mut left: Vec<Container<'_>> = containers.filter(|found| home::is_id(found.id)).collect();
    let mut found = Vec::new();
    for search in [by_logs, by_files] {
        let of_root = left.iter().filter(|container| container.is_roots());
        let of_root: HashMap<&str, &str> = of_root.map(|found| (found.id, found.path)).collect();
        found.extend(search(&of_root));
        left.retain(|container| found.iter().all(|called| called.group != container.path));
    }
    if !left.is_empty() {
        found.extend(by_monitors(&left));
    }
    found
}

/// By the logs of these groups' containers, by their identities. One that was started anew has a log for each start, under other ones.
fn by_logs(groups: &HashMap<&str, &str>) -> Vec<Called> {
    if groups.is_empty() {
        return Vec::new();
    }
    let entries = fs::read_dir(LOGS).into_iter().flatten().flatten();
    let called = entries.take(MOST_ENTRIES).filter_map(|entry| {
        let file = entry.file_name();
        let (id, names) = Called::in_log(file.to_str()?)?;
        Called::in_pod(groups.get(id)?, names)
    });
    called.collect()
}

fn by_files(groups: &HashMap<&str, &str>) -> Vec<Called> {
    let all = groups.iter().take(MOST);
    all.filter_map(|(id, group)| by_docker(id, group).or_else(|| by_bundle(id, group)))
        .collect()
}

fn by_docker(id: &str, group: &str) -> Option<Called> {
    let files = DOCKER
        .iter()
        .map(|folder| format!("{folder}/{id}/config.v2.json"));
    files
        .filter_map(|file| state_file(&file))
        .find_map(|text| in_docker(group, &text))
}

fn by_bundle(id: &str, group: &str) -> Option<Called> {
    let files = BUNDLES
        .iter()
        .map(|(folder, file)| format!("{folder}/{id}/{file}"));
    files
        .filter_map(|file| state_file(&file))
        .find_map(|text| in_bundle(group, &text))
}

/// The name in docker's configuration, behind a slash.
fn in_docker(group: &str, text: &[u8]) -> Option<Called> {
    #[derive(Deserialize)]
    struct Configuration {
        #[serde(rename = "Name")]
        name: String,
    }
    let configuration: Configuration = serde_json::from_slice(text).ok()?;
    let name = configuration.name.as_str();
    Called::by_name(group, name.strip_prefix('/').unwrap_or(name))
}

/// The names in an OCI configuration. That of the container which holds a pod's namespaces names no container.
fn in_bundle(group: &str, text: &[u8]) -> Option<Called> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let Bundle { annotations } = serde_json::from_slice(text).ok()?;
    let of = |key: &str| annotations.get(key).map(String::as_str);
    let in_pod = IN_POD.iter().find_map(|[name, pod, namespace]| {
        Called::in_pod(group, [of(name)?, of(pod)?, of(namespace)?])
    });
    in_pod.or_else(|| Called::alone(group, of(ALONE)?))
}

/// A file that only root can have written. No link is followed to it, and it is neither a pipe nor a device, which might not answer.
fn state_file(path: &str) -> Option<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = File::options();
    let file = options.read(true).custom_flags(flags).open(path).ok()?;
    let found = file.metadata().ok()?;
    let is_others = found.uid() != 0 || found.mode() & 0o022 != 0;
    if is_others || !found.is_file() || found.len() > LONGEST {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    Some(text)
}

/// The names in the command lines of `conmon`, which podman and CRI-O start for each container. Anybody may start a program with such a
/// command line. But only a monitor has a child in the group of the container.
fn by_monitors(containers: &[Container<'_>]) -> Vec<Called> {
    let mut monitors: BTreeSet<u32> = BTreeSet::new();
    let mut parents: HashMap<u32, u32> = HashMap::new();
    for (pid, stat) in stats() {
        if stat.comm == "conmon" {
            monitors.insert(pid);
        }
        parents.insert(pid, stat.parent_pid);
    }
    let children = parents
        .iter()
        .filter(|(_, parent)| monitors.contains(*parent));
    let mut files = SmallFiles::default();
    let mut found: BTreeMap<String, Called> = BTreeMap::new();
    for (pid, monitor) in children.take(MOST) {
        let path = cgroup(*pid).unwrap_or_default();
        let Some(container) = home::container(&path).filter(|found| containers.contains(found))
        else {
            continue;
        };
        let cmdline = files.read_up_to(format_args!("/proc/{monitor}/cmdline"), LONGEST_CMDLINE);
        let called = cmdline.and_then(|cmdline| in_monitor(container, cmdline));
        found.extend(called.map(|called| (called.group.clone(), called)));
    }
    found.into_values().collect()
}

/// The name in a monitor's command line, if it is that of this container.
fn in_monitor(container: Container<'_>, cmdline: &[u8]) -> Option<Called> {
    let words: Vec<&str> = cmdline
        .split(|byte| *byte == 0)
        .map(|word| str::from_utf8(word).unwrap_or_default())
        .collect();
    let behind = |names: [&str; 2]| {
        let at = words.iter().position(|word| names.contains(word))?;
        words.get(at + 1).copied()
    };
    let is_its = behind(["-c", "--cid"]) == Some(container.id);
    let name = behind(["-n", "--name"]).filter(|_| is_its)?;
    Called::by_name(container.path, name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::standing::called::tests::{ID, names, three};

    #[test]
    fn docker_has_the_name_behind_a_slash() {
        let text = br#"{"StreamConfig":{},"State":{"Pid":7},"ID":"3f","Name":"/web","Config":{"Hostname":"h"}}"#;
        assert_eq!(names(in_docker(ID, text)), three(["web", "", ""]));
        let text = br#"{"Name":"/k8s_nginx_api-0_shop_0a1b_2"}"#;
        assert_eq!(
            names(in_docker(ID, text)),
            three(["nginx", "api-0", "shop"])
        );
        for wrong in [
            "",
            "{",
            "[]",
            r#"{"Name":7}"#,
            r#"{"Name":"/a b"}"#,
            r#"{"Name":"/../x"}"#,
        ] {
            assert_eq!(in_docker(ID, wrong.as_bytes()), None, "{wrong}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(in_docker(ID, deep.as_bytes()), None);
    }

    #[test]
    fn annotations_name_the_pod_and_that_which_holds_it_has_no_name() {
        let containerd = br#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"nginx",
            "io.kubernetes.cri.sandbox-name":"api-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
        assert_eq!(
            names(in_bundle(ID, containerd)),
            three(["nginx", "api-0", "shop"])
        );
        let crio = br#"{"annotations":{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"api-0",
            "io.kubernetes.pod.namespace":"shop"},"process":{"args":[]}}"#;
        assert_eq!(
            names(in_bundle(ID, crio)),
            three(["nginx", "api-0", "shop"])
        );
        let nerdctl = br#"{"annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}"#;
        assert_eq!(names(in_bundle(ID, nerdctl)), three(["web", "", ""]));
        let holder = br#"{"annotations":{"io.kubernetes.cri.sandbox-name":"api-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
        for none in [
            &holder[..],
            b"{}",
            b"",
            br#"{"annotations":{"nerdctl/name":{}}}"#,
        ] {
            assert_eq!(in_bundle(ID, none), None);
        }
    }

    #[test]
    fn a_monitor_names_its_own_container_and_no_other() {
        let container = Container {
            path: "/machine.slice/libpod-x.scope",
            id: ID,
        };
        let of = |cmdline: &str| in_monitor(container, cmdline.replace(' ', "\0").as_bytes());
        let podman = format!(
            "/usr/bin/conmon --api-version 1 -c {ID} -u {ID} -r /usr/bin/crun -n web --exit-dir /run/x"
        );
        assert_eq!(names(of(&podman)), three(["web", "", ""]));
        let crio =
            format!("/usr/bin/conmon -b /run/x -c {ID} -n k8s_nginx_api-0_shop_0a1b_0 -P /run/y");
        assert_eq!(names(of(&crio)), three(["nginx", "api-0", "shop"]));
        for none in [
            "",
            "conmon",
            "conmon -c 0123 -n web",
            "conmon -n web -c",
            "conmon -n",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of(&format!("conmon -c {ID}")), None);
    }

    #[test]
    fn a_state_file_is_a_file_of_roots_that_nobody_else_writes() {
        let dir = std::env::temp_dir().join(format!("tracer-state-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        let file = path("config.json");
        fs::write(&file, "{}").unwrap();
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        let is_roots = fs::metadata(&file).unwrap().uid() == 0;
        assert_eq!(state_file(&file), is_roots.then(|| b"{}".to_vec()));
        mode(0o666);
        assert_eq!(state_file(&file), None);
        mode(0o644);
        symlink(&file, path("link")).unwrap();
        let pipe = std::ffi::CString::new(path("pipe")).unwrap();
        // SAFETY: a text that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        File::create(path("long"))
            .unwrap()
            .set_len(LONGEST + 1)
            .unwrap();
        for refused in ["link", "pipe", "long", "none", "."] {
            assert_eq!(state_file(&path(refused)), None, "{refused}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nobody_is_called_anything_on_a_machine_without_such_a_container() {
        // A container of this identity cannot be: it is the hash of nothing that exists.
        let group = format!("/docker/{}", "0".repeat(64));
        let groups =
            ["/lxc.payload.web", "/system.slice/a.service", "../../etc"].map(str::to_owned);
        let groups = BTreeSet::from_iter(groups.into_iter().chain([group]));
        assert_eq!(called(&groups), []);
    }
}
