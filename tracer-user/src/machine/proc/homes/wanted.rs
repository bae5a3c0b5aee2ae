//! The groups that the user named.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
};

use super::{
    super::{SmallFiles, numbers_in, process::paths_in},
    called,
    folders::{mount_points, of_path},
};
use crate::{
    standing::{Called, home},
    units::plural,
};

/// Most groups that an error lists.
const MOST_LISTED: usize = 5;

/// Groups, as the user names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WantedGroup {
    /// A path, below the root of a hierarchy or of the file system.
    Cgroup(String),
    /// A systemd unit.
    Unit(String),
    /// A container by its name or by the begin of its identity, or a pod (`NAMESPACE/POD`).
    Container(String),
}

impl fmt::Display for WantedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(f, "cgroup {path}"),
            Self::Unit(name) => f.write_str(&home::unit_name(name)),
            Self::Container(pod) if pod.contains('/') => write!(f, "pod {pod}"),
            Self::Container(name) => write!(f, "container {name}"),
        }
    }
}

/// Why no group is meant, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GroupsNotFound {
    /// There is none.
    None(String),
    /// It cannot be told which.
    Unclear(String),
}

/// The folders of the groups that are meant, in all hierarchies. It looks at every process, and may hang.
///
/// # Errors
/// [`GroupsNotFound`] if there is none, or if it is not clear which.
pub(crate) fn find_groups(wanted: &WantedGroup) -> Result<Vec<PathBuf>, GroupsNotFound> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounts = mount_points(&mounts);
    let paths = match wanted {
        WantedGroup::Cgroup(path) => return by_path(path, &mounts),
        WantedGroup::Unit(name) => by_unit(name, &paths())?,
        WantedGroup::Container(name) => {
            let containers = containers(&paths());
            by_container(name, &containers, called(&containers))?
        }
    };
    let folders: BTreeSet<PathBuf> = paths
        .iter()
        .flat_map(|path| of_path(path, &mounts))
        .collect();
    Ok(folders.into_iter().collect())
}

/// The paths of the groups of all processes, in all hierarchies.
fn paths() -> BTreeSet<String> {
    let (mut files, mut paths) = (SmallFiles::default(), BTreeSet::new());
    for pid in numbers_in("/proc") {
        let Some(lines) = files.read(format_args!("/proc/{pid}/cgroup")) else {
            continue;
        };
        for path in paths_in(&String::from_utf8_lossy(lines)) {
            if !paths.contains(path) {
                paths.insert(path.to_owned());
            }
        }
    }
    paths
}

/// A group by its path: that of a folder below a mount, or that which `/proc/PID/cgroup` shows.
fn by_path(path: &str, mounts: &[&str]) -> Result<Vec<PathBuf>, GroupsNotFound> {
    let none = |why: &str| {
        let text = format!(
            "{why}: `systemd-cgls` lists the groups, and /proc/PID/cgroup shows that of a process"
        );
        Err(GroupsNotFound::None(text))
    };
    // With v1 a controller's usual name is a link: `/sys/fs/cgroup/cpu`.
    let folder = fs::canonicalize(path).ok();
    let is_in = |folder: &Path| mounts.iter().any(|mount| folder.starts_with(mount));
    let folders = match folder.filter(|folder| is_in(folder)) {
        Some(folder) => vec![folder],
        None if path.split('/').any(|part| part == "..") => Vec::new(),
        None => of_path(&format!("/{}", path.trim_matches('/')), mounts),
    };
    let is_root = |folder: &PathBuf| mounts.iter().any(|mount| folder == Path::new(mount));
    if folders.iter().any(is_root) || path.trim_matches('/').is_empty() {
        return none("the root of all groups has every process: name one below it");
    }
    match folders.is_empty() {
        true => none(&format!("there is no cgroup {path}")),
        false => Ok(folders),
    }
}

/// The paths of a unit. One of the system comes before one of a user, and that before one within a container.
fn by_unit(name: &str, paths: &BTreeSet<String>) -> Result<Vec<String>, GroupsNotFound> {
    let unit = home::unit_name(name);
    let mut found: BTreeMap<u8, BTreeSet<&str>> = BTreeMap::new();
    for path in paths {
        if let Some(path) = home::up_to(path, &unit) {
            let rank = match home::container(path) {
                Some(_) if !unit.ends_with(".scope") => 2,
                _ => u8::from(path.contains("/user@")),
            };
            found.entry(rank).or_default().insert(path);
        }
    }
    let Some((_, first)) = found.pop_first() else {
        return Err(GroupsNotFound::None(format!(
            "no process belongs to the unit {unit}: is it active? see `systemctl status {unit}`, and `systemctl --user` for a user's"
        )));
    };
    if first.len() > 1 {
        let listed = listed(first.iter().map(|path| (*path).to_owned()));
        return Err(GroupsNotFound::Unclear(format!(
            "{} have the name {unit}: name one by --cgroup: {listed}",
            plural(first.len() as u64, "unit")
        )));
    }
    Ok(first.into_iter().map(str::to_owned).collect())
}

/// The groups of all containers.
fn containers(paths: &BTreeSet<String>) -> BTreeSet<String> {
    let containers = paths.iter().filter_map(|path| home::container(path));
    containers.map(|found| found.path.to_owned()).collect()
}

/// The groups that a name, a pod, or the begin of an identity means.
fn by_container(
    name: &str,
    groups: &BTreeSet<String>,
    called: Vec<Called>,
) -> Result<Vec<String>, GroupsNotFound> {
    let called: BTreeMap<String, Called> = called
        .into_iter()
        .map(|called| (called.group.clone(), called))
        .collect();
    let those = |is_meant: &dyn Fn(&str, Option<&Called>) -> bool| {
        let meant = groups.iter().filter(|group| {
            let id = home::container(group).map_or("", |found| found.id);
            is_meant(id, called.get(*group))
        });
        meant.cloned().collect::<Vec<String>>()
    };
    let in_pod = those(&|_, called| {
        let pod = called.and_then(Called::full_pod);
        pod.is_some_and(|pod| pod == name)
    });
    let named = those(&|id, called| id == name || called.is_some_and(|called| called.name == name));
    let begins = those(&|id, _| home::is_id(id) && id.starts_with(name));
    if !in_pod.is_empty() {
        return Ok(in_pod);
    }
    let found = if named.is_empty() { begins } else { named };
    match found.len() {
        0 => Err(GroupsNotFound::None(format!(
            "no running container has the name `{name}`, nor an identity that begins so: see `docker ps`, `podman ps`, `crictl ps` \
             or `lxc-ls --running`"
        ))),
        1 => Ok(found),
        several => Err(GroupsNotFound::Unclear(format!(
            "{} are called `{name}`, or begin so: name one by more of its identity, by --cgroup, or a pod as NAMESPACE/POD: {}",
            plural(several as u64, "container"),
            listed(found.iter().map(|group| words(group, called.get(group))))
        ))),
    }
}

/// A container in an error: `3f2a9c8d1e4b (web)`, `3f2a9c8d1e4b (nginx of pod shop/api-0)`.
fn words(group: &str, called: Option<&Called>) -> String {
    let short = home::container(group).map_or(group, |found| found.short());
    let Some(called) = called else {
        return format!("{short} ({group})");
    };
    match called.full_pod() {
        Some(pod) => format!("{short} ({} of pod {pod})", called.name),
        None => format!("{short} ({})", called.name),
    }
}

/// The first of these, and how many there are beside them.
fn listed(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(MOST_LISTED);
    if more > 0 {
        all.truncate(MOST_LISTED);
        all.push(format!("and {more} more"));
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "/user.slice/user-1000.slice/user@1000.service/app.slice";

    fn set(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    #[test]
    fn a_unit_of_the_system_comes_before_that_of_a_user_or_of_a_container() {
        let id = "a".repeat(64);
        let of_user = format!("{USER}/nginx.service");
        let within = format!("/docker/{id}/system.slice/nginx.service");
        let mut paths = set(&[
            "/system.slice/nginx.service/x",
            &of_user,
            &within,
            "/system.slice/ngin.service",
        ]);
        let find = |paths: &BTreeSet<String>| by_unit("nginx", paths).unwrap();
        assert_eq!(find(&paths), ["/system.slice/nginx.service"]);
        paths.remove("/system.slice/nginx.service/x");
        assert_eq!(find(&paths), [of_user.as_str()]);
        paths.remove(&of_user);
        assert_eq!(find(&paths), [within]);
        let docker = format!("docker-{id}.scope");
        let path = format!("/system.slice/{docker}");
        assert_eq!(by_unit(&docker, &set(&[&path])).unwrap(), [path]);
        let slice = by_unit("user-1000.slice", &set(&[&of_user]));
        assert_eq!(slice.unwrap(), ["/user.slice/user-1000.slice"]);
    }

    #[test]
    fn a_unit_that_is_not_there_and_one_that_several_users_have_are_said_with_what_to_do() {
        let Err(GroupsNotFound::None(text)) =
            by_unit("restic.timer", &set(&["/", "/system.slice"]))
        else {
            panic!("it is not there");
        };
        assert!(
            text.contains("restic.service") && text.contains("systemctl status"),
            "{text}"
        );
        let users: Vec<String> = (0..7)
            .map(|uid| {
                format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/restic.service")
            })
            .collect();
        let Err(GroupsNotFound::Unclear(text)) = by_unit("restic", &users.into_iter().collect())
        else {
            panic!("it is not clear");
        };
        assert!(
            text.starts_with(
                "7 units have the name restic.service: name one by --cgroup: /user.slice/"
            ),
            "{text}"
        );
        assert!(text.ends_with("and 2 more"), "{text}");
    }

    /// Containers `ab…` (web), `ac…` (db), and `cd…` and `ce…` (nginx of two pods); `web-1` of LXC.
    fn some() -> (BTreeSet<String>, Vec<Called>) {
        let id = |begin: &str| format!("{begin}{}", "0".repeat(62));
        let [web, db] = ["ab", "ac"].map(|begin| format!("/docker/{}", id(begin)));
        let [first, second] =
            ["cd", "ce"].map(|begin| format!("/kubepods/burstable/podx/{}", id(begin)));
        let called = vec![
            Called::alone(&web, "web").unwrap(),
            Called::alone(&db, "db").unwrap(),
            Called::in_pod(&first, ["nginx", "api-0", "shop"]).unwrap(),
            Called::in_pod(&second, ["nginx", "api-1", "shop"]).unwrap(),
        ];
        let within = format!("{second}/within");
        let paths = set(&[
            &web,
            &db,
            &first,
            &within,
            "/lxc.payload.web-1/init.scope",
            "/",
        ]);
        (containers(&paths), called)
    }

    fn begins(name: &str) -> Vec<String> {
        let (containers, called) = some();
        let found = by_container(name, &containers, called).unwrap();
        found
            .iter()
            .map(|path| path.chars().take(10).collect())
            .collect()
    }

    #[test]
    fn a_container_is_known_by_its_name_by_its_identity_and_by_its_pod() {
        assert_eq!(begins("web"), ["/docker/ab"]);
        assert_eq!(begins("ac0"), ["/docker/ac"]);
        assert_eq!(begins(&format!("ab{}", "0".repeat(62))), ["/docker/ab"]);
        assert_eq!(begins("web-1"), ["/lxc.paylo"]);
        let (containers, called) = some();
        let found = by_container("shop/api-1", &containers, called).unwrap();
        assert_eq!(
            found,
            [format!("/kubepods/burstable/podx/ce{}", "0".repeat(62))]
        );
    }

    #[test]
    fn several_containers_and_none_are_said_with_what_to_do() {
        let error = |name| {
            let (containers, called) = some();
            by_container(name, &containers, called).unwrap_err()
        };
        for name in ["a", "nginx"] {
            let GroupsNotFound::Unclear(text) = error(name) else {
                panic!("it is not clear");
            };
            assert!(text.starts_with("2 containers are called"), "{text}");
            let listed = [
                "ab0000000000 (web), ac0000000000 (db)",
                "ce0000000000 (nginx of pod shop/api-1)",
            ];
            assert!(listed.iter().any(|listed| text.ends_with(listed)), "{text}");
        }
        for name in ["w", "lxc", "shop/api", "0"] {
            assert!(
                matches!(error(name), GroupsNotFound::None(text) if text.contains("docker ps")),
                "{name}"
            );
        }
    }

    #[test]
    fn a_path_is_one_of_a_mount_or_one_in_each_hierarchy() {
        let dir = std::env::temp_dir().join(format!("tracer-wanted-{}", std::process::id()));
        for folder in ["cpu/jobs/a", "unified/jobs/a", "unified/jobs/b"] {
            fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let dir = fs::canonicalize(dir).unwrap();
        let [cpu, unified] = ["cpu", "unified"].map(|name| dir.join(name));
        let mounts = [cpu.to_str().unwrap(), unified.to_str().unwrap()];
        let of = |path: &str| by_path(path, &mounts);
        let both = vec![cpu.join("jobs/a"), unified.join("jobs/a")];
        let found = ["/jobs/a", "jobs/a", "/jobs/a/"].map(of);
        let one = of(unified.join("jobs/a").to_str().unwrap());
        let wrong = ["/", "", "/jobs/c", "/jobs/../jobs/a", mounts[0]].map(of);
        fs::remove_dir_all(&dir).unwrap();
        assert!(
            found.iter().all(|found| *found == Ok(both.clone())),
            "{found:?}"
        );
        assert_eq!(one, Ok(both[1..].to_vec()));
        for wrong in wrong {
            assert!(
                matches!(&wrong, Err(GroupsNotFound::None(text)) if text.contains("/proc/PID/cgroup")),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn each_kind_has_the_words_of_people() {
        let said = [
            (WantedGroup::Unit("nginx".to_owned()), "nginx.service"),
            (WantedGroup::Container("web".to_owned()), "container web"),
            (
                WantedGroup::Container("shop/api-0".to_owned()),
                "pod shop/api-0",
            ),
            (WantedGroup::Cgroup("/jobs/a".to_owned()), "cgroup /jobs/a"),
        ];
        for (wanted, words) in said {
            assert_eq!(wanted.to_string(), words);
        }
    }
}
