//! The features of the running kernel, found once in its BTF. Its version is never checked: back-ports make it misleading.

use std::path::Path;

use tracer_common::config::{Config, MISSING, Offsets};

use super::btf::{Btf, Member};
use crate::{
    event::MissingProbe,
    probes::{self, Hook, Need, Probe},
};

/// The features found.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// Offsets and argument numbers, to be frozen into the programs.
    pub(crate) config: Config,
    /// Probes that can be loaded, in the order of attachment.
    pub(crate) usable: Vec<&'static Probe>,
    /// Probes that cannot, with the reason.
    pub(crate) missing: Vec<(&'static Probe, String)>,
}

impl Features {
    /// Finds the features in the kernel's types.
    #[must_use]
    pub(crate) fn detect(btf: &Btf) -> Self {
        let mut features = Self {
            config: config(btf),
            usable: Vec::new(),
            missing: Vec::new(),
        };
        for probe in probes::all() {
            let stood_in_for = probe
                .instead_of
                .is_some_and(|tracepoint| btf.tracepoint(tracepoint).is_some());
            if stood_in_for || is_absent(btf, probe) {
                continue;
            }
            match obstacle(btf, &features.config, probe) {
                None => features.usable.push(probe),
                Some(reason) => features.missing.push((probe, reason)),
            }
        }
        features
    }

    /// Can the queueing discipline of each transmit queue be read?
    #[must_use]
    pub(crate) fn reads_queues(&self) -> bool {
        let offsets = &self.config.offsets;
        let known = [offsets.dev_tx_queues, offsets.dev_tx, offsets.queue_qdisc];
        self.config.tx_queue_bytes != 0 && known.iter().all(|offset| *offset != MISSING)
    }

    /// The first required probe that is missing, with the reason.
    #[must_use]
    pub(crate) fn missing_required(&self) -> Option<&(&'static Probe, String)> {
        self.missing
            .iter()
            .find(|(probe, _)| probe.need == Need::Required)
    }

    /// Optional probes that are missing, as reports show them.
    #[must_use]
    pub(crate) fn costs(&self) -> Vec<MissingProbe> {
        self.missing
            .iter()
            .filter(|(probe, _)| probe.instead_of.is_none())
            .filter_map(|(probe, reason)| cost(probe, reason))
            .collect()
    }
}

/// The cost of a missing optional probe, for the report.
#[must_use]
pub(crate) fn cost(probe: &Probe, reason: &str) -> Option<MissingProbe> {
    let Need::Optional { cost, blinds } = probe.need else {
        return None;
    };
    Some(MissingProbe {
        probe: format!("{} ({reason})", probe.name),
        cost: cost.to_owned(),
        blinds: blinds.map(str::to_owned),
    })
}

/// Is the probe in a module that is not loaded? Then there is nothing for it to see.
fn is_absent(btf: &Btf, probe: &Probe) -> bool {
    match probe.hook {
        Hook::InModule(module) => {
            btf.tracepoint(probe.name).is_none() && !Path::new("/sys/module").join(module).exists()
        }
        _ => false,
    }
}

/// Why a probe cannot be used here.
fn obstacle(btf: &Btf, config: &Config, probe: &Probe) -> Option<String> {
    match probe.hook {
        Hook::Tracepoint if btf.tracepoint(probe.name).is_none() => {
            return Some("this kernel has no such tracepoint".to_owned());
        }
        Hook::Tracepoint if probe.name.starts_with("softirq_") && runs_softirqs_in_tasks(btf) => {
            return Some("this kernel runs softirqs in tasks".to_owned());
        }
        Hook::Entry(function) if btf.arguments(function).is_none() => {
            return Some(format!("this kernel has no function {function}"));
        }
        Hook::Exit(function, arguments) if btf.arguments(function) != Some(arguments) => {
            return Some(format!(
                "this kernel has no {function} with {arguments} arguments"
            ));
        }
        _ => {}
    }
    let missing = probe.facts.iter().find(|fact| {
        config
            .offsets
            .get(fact)
            .is_none_or(|offset| offset == MISSING)
    })?;
    // One that needs none of its module's own types attaches without them, by its name.
    if let Hook::InModule(module) = probe.hook
        && btf.tracepoint(probe.name).is_none()
    {
        return Some(format!("the types of the module {module} are unknown"));
    }
    Some(format!("this kernel has no {}", source(missing)))
}

/// The kernel's members that a fact could come from, for people.
fn source(fact: &str) -> String {
    let found = Offsets::FACTS.iter().find(|known| known.name == fact);
    found.map_or_else(
        || fact.to_owned(),
        |known| {
            known
                .sources
                .iter()
                .map(|(s, m)| format!("{s}.{m}"))
                .collect::<Vec<_>>()
                .join(" or ")
        },
    )
}

fn config(btf: &Btf) -> Config {
    let mut config = Config::NONE;
    for (index, fact) in Offsets::FACTS.iter().enumerate() {
        let found = fact
            .sources
            .iter()
            .find_map(|(structure, path)| btf.member(structure, path));
        config
            .offsets
            .set(index, found.map_or(MISSING, |member| member.byte_offset));
    }
    let bit = |member: Member| {
        let byte = member.byte_offset + u32::from(member.bit_offset) / 8;
        (byte, 1 << (member.bit_offset % 8))
    };
    if let Some(member) = btf.member("task_struct", "in_iowait") {
        config.has_iowait = 1;
        (config.iowait_byte, config.iowait_mask) = bit(member);
    }
    if let Some(member) = btf.member("task_struct", "in_memstall") {
        (config.memstall_byte, config.memstall_mask) = bit(member);
    }
    config.state_is_long = u32::from(btf.member("task_struct", "__state").is_none());
    config.preempt_count = preempt_count(btf).unwrap_or(MISSING);
    config.tx_queue_bytes = btf.size("netdev_queue").unwrap_or(0);
    config.tuple_bytes = btf.size("nf_conntrack_tuple_hash").unwrap_or(0);
    config.arg_bio_queue = argument(btf, "block_bio_queue", "bio");
    config.arg_bio_complete = argument(btf, "block_bio_complete", "bio");
    config.arg_split = argument(btf, "block_split", "bio");
    config.arg_rq_issue = argument(btf, "block_rq_issue", "request");
    config
}

/// Offset of a CPU's preemption count from its run queue, bytes. `None` if softirqs run in tasks ([`runs_softirqs_in_tasks`]):
/// there the count does not include them.
fn preempt_count(btf: &Btf) -> Option<u32> {
    if runs_softirqs_in_tasks(btf) {
        return None;
    }
    let in_hot = || {
        // 6.2 to 6.14.
        let member = btf.member("pcpu_hot", "preempt_count")?;
        Some(btf.per_cpu("pcpu_hot")? + member.byte_offset)
    };
    let count = btf.per_cpu("__preempt_count").or_else(in_hot)?;
    Some(count.wrapping_sub(btf.per_cpu("runqueues")?))
}

/// With `CONFIG_PREEMPT_RT` softirqs run in tasks and are preempted like them. Only there a task has this count.
fn runs_softirqs_in_tasks(btf: &Btf) -> bool {
    btf.member("task_struct", "softirq_disable_cnt").is_some()
}

/// Position of the argument that points to `structure`. 0 if there is none: the verifier then refuses the program.
fn argument(btf: &Btf, tracepoint: &str, structure: &str) -> u32 {
    let arguments = btf.tracepoint(tracepoint).unwrap_or_default();
    arguments
        .iter()
        .position(|argument| argument.pointee.as_deref() == Some(structure))
        .unwrap_or(0) as u32
}
