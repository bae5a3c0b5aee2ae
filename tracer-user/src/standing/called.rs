//! What people call a container, and the pod and the workload that it is of.
//!
//! These names come from the files of container runtimes and of the kubelet, some of which whoever starts a container chooses. What has
//! other letters than such names may have is none.

use serde::{Deserialize, Serialize};

use super::home::is_id;

/// Longest name: that of a pod (a subdomain of DNS).
const LONGEST: usize = 253;

/// The letters of the random parts of names that Kubernetes makes up (`k8s.io/apimachinery/pkg/util/rand`): no vowel, no digit like one.
const RANDOM: &str = "bcdfghjklmnpqrstvwxz2456789";

/// Letters of the random end of a pod's name.
const ENDING: usize = 5;

/// Letters of the hash of a pod's template, which a ReplicaSet has in its name.
const HASH: std::ops::RangeInclusive<usize> = 6..=10;

/// Digits of the time of a job, minutes since 1970, which a CronJob puts into the name.
const MINUTES: usize = 8;

/// What a container is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Called {
    /// The path of its control group. Another group may have the same identity in its name: whoever may make groups chooses that.
    pub group: String,
    /// Its name; in a pod it is unique there alone.
    pub name: String,
    /// Its pod; empty if it is in none.
    pub pod: String,
    /// The namespace of the pod.
    pub namespace: String,
}

impl Called {
    /// One that is in no pod. `None` if that is no name.
    #[must_use]
    pub fn alone(group: &str, name: &str) -> Option<Self> {
        let called = Self {
            group: group.to_owned(),
            name: name.to_owned(),
            ..Self::default()
        };
        is_name(name).then_some(called)
    }

    /// One that is in a pod. `None` if one of them is no name.
    #[must_use]
    pub fn in_pod(group: &str, [name, pod, namespace]: [&str; 3]) -> Option<Self> {
        let called = Self {
            group: group.to_owned(),
            name: name.to_owned(),
            pod: pod.to_owned(),
            namespace: namespace.to_owned(),
        };
        [name, pod, namespace]
            .into_iter()
            .all(is_name)
            .then_some(called)
    }

    /// By the name that a runtime has for it. The kubelet has one of its own: `k8s_NAME_POD_NAMESPACE_UID_ATTEMPT`.
    #[must_use]
    pub fn by_name(group: &str, name: &str) -> Option<Self> {
        let Some(of_kubelet) = name.strip_prefix("k8s_") else {
            return Self::alone(group, name);
        };
        let parts: Vec<&str> = of_kubelet.split('_').collect();
        match parts[..] {
            [name, pod, namespace, _, _] => Self::in_pod(group, [name, pod, namespace]),
            _ => Self::alone(group, name),
        }
    }

    /// The identity, and the names of container, pod and namespace, in the name of a log that the kubelet keeps:
    /// `POD_NAMESPACE_NAME-ID.log`.
    #[must_use]
    pub fn in_log(file: &str) -> Option<(&str, [&str; 3])> {
        let (rest, id) = file.strip_suffix(".log")?.rsplit_once('-')?;
        let parts: Vec<&str> = rest.split('_').collect();
        match parts[..] {
            [pod, namespace, name] if is_id(id) => Some((id, [name, pod, namespace])),
            _ => None,
        }
    }

    /// Its pod with the namespace: `shop/api-7f9c4d5b6-x2x4z`.
    #[must_use]
    pub fn full_pod(&self) -> Option<String> {
        self.in_namespace(&self.pod)
    }

    /// The workload that its pod is of: `shop/api`. `None` if the pod is in none, as far as its name shows.
    #[must_use]
    pub fn workload(&self) -> Option<String> {
        self.in_namespace(workload(&self.pod)?)
    }

    fn in_namespace(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| format!("{}/{name}", self.namespace))
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_letter)
}

/// The name of the workload in the name of a pod. Controllers add to their own names: a Deployment the hash of its ReplicaSet and five
/// letters, a CronJob the minute and five letters, a DaemonSet or a Job five letters, a StatefulSet a number.
fn workload(pod: &str) -> Option<&str> {
    let is_random = |part: &str| part.chars().all(|letter| RANDOM.contains(letter));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (above, last) = pod.rsplit_once('-')?;
    let name = match last.len() == ENDING && is_random(last) {
        false => return is_number(last).then_some(above),
        true => above,
    };
    let is_made_up = |part: &str| {
        HASH.contains(&part.len()) && is_random(part) || part.len() >= MINUTES && is_number(part)
    };
    let controller = name.rsplit_once('-').filter(|(_, part)| is_made_up(part));
    Some(controller.map_or(name, |(name, _)| name))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const ID: &str = "3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a9c8d1e4b3f2a";

    pub(crate) fn names(called: Option<Called>) -> Option<[String; 3]> {
        called.map(|called| [called.name, called.pod, called.namespace])
    }

    pub(crate) fn three(of: [&str; 3]) -> Option<[String; 3]> {
        Some(of.map(str::to_owned))
    }

    #[test]
    fn the_names_that_the_kubelet_makes_up_are_taken_apart() {
        let name = "k8s_nginx_api-7f9c4d5b6-x2x4z_shop_0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9_0";
        let of_api = three(["nginx", "api-7f9c4d5b6-x2x4z", "shop"]);
        assert_eq!(names(Called::by_name(ID, name)), of_api.clone());
        let log = format!("api-7f9c4d5b6-x2x4z_shop_nginx-{ID}.log");
        let (id, in_log) = Called::in_log(&log).unwrap();
        assert_eq!((id, names(Called::in_pod("/x", in_log))), (ID, of_api));
        assert_eq!(
            names(Called::by_name(ID, "web-1")),
            three(["web-1", "", ""])
        );
        // Whoever names a container so has no pod for it.
        assert_eq!(
            names(Called::by_name(ID, "k8s_web")),
            three(["k8s_web", "", ""])
        );
    }

    #[test]
    fn what_no_runtime_calls_a_container_is_no_name() {
        let long = "x".repeat(LONGEST + 1);
        for wrong in ["", "a b", "a/b", "\x1b[2J", "größe", "a\n", long.as_str()] {
            assert_eq!(Called::by_name(ID, wrong), None, "{wrong:?}");
        }
        for wrong in ["", ".log", "-.log", "a_b_c-12.log", "a_b-ID.log", "a_b_c"] {
            assert_eq!(Called::in_log(&wrong.replace("ID", ID)), None, "{wrong}");
        }
        assert_eq!(Called::in_pod(ID, ["a", "", "c"]), None);
    }

    #[test]
    fn the_workload_is_what_its_controller_is_called() {
        for (pod, expected) in [
            ("api-7f9c4d5b6-x2x4z", Some("api")),
            ("my-shop-api-56bcdf49dd-zs8h4", Some("my-shop-api")),
            ("node-exporter-kq2lw", Some("node-exporter")),
            ("backup-28392810-q4r5t", Some("backup")),
            ("postgres-0", Some("postgres")),
            ("kube-proxy", None),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(workload(pod), expected, "{pod}");
        }
        let called = Called::in_pod(ID, ["nginx", "api-7f9c4d5b6-x2x4z", "shop"]).unwrap();
        assert_eq!(
            called.full_pod().as_deref(),
            Some("shop/api-7f9c4d5b6-x2x4z")
        );
        assert_eq!(called.workload().as_deref(), Some("shop/api"));
        let alone = Called::alone(ID, "web").unwrap();
        assert_eq!((alone.full_pod(), alone.workload()), (None, None));
    }
}
