//! The settings of a trace, and the processes that they mean.

use std::{collections::HashSet, time::Instant};

use crate::machine::proc::{self, WantedGroup};

/// What the user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// These processes, and no others.
    Processes,
    /// Whoever has this name, or gets it.
    Comm(String),
    /// Whoever listens on this TCP port, or comes to.
    Port(u16),
    /// Whoever belongs to this control group, or comes to.
    Group(WantedGroup),
}

/// The settings of a trace.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Processes that the user named, or that match what was named as the trace begins; the first gives the report its name.
    pub(crate) pids: Vec<u32>,
    /// How the user named them.
    pub(crate) named: Named,
    /// Trace their children too?
    pub(crate) follow_children: bool,
    /// When the tracer started.
    pub(crate) begun: Instant,
}

impl Settings {
    /// The first process that the user named.
    #[must_use]
    pub(super) fn first(&self) -> u32 {
        self.pids.first().copied().unwrap_or_default()
    }

    /// The processes that the user named, then their children if those are followed; never the tracer itself. Of a group all members are
    /// named: a child that is not among them was moved elsewhere, as a manager of containers does. `parents` returns the pids of child
    /// and parent for every process. It is called only if children are looked for.
    #[must_use]
    pub(super) fn with_children(&self, parents: impl FnOnce() -> Vec<(u32, u32)>) -> Vec<u32> {
        let mut pids = self.pids.clone();
        if self.follow_children && !matches!(self.named, Named::Group(_)) {
            let parents = parents();
            let below = |pid: &u32| proc::descendants(*pid, parents.iter().copied());
            pids.extend(self.pids.iter().flat_map(below));
        }
        let mut seen = HashSet::new();
        pids.retain(|pid| *pid != std::process::id() && seen.insert(*pid));
        pids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_asked_for_come_first_and_nobody_twice() {
        let settings = |follow_children| Settings {
            pids: vec![20, 10],
            named: Named::Processes,
            follow_children,
            begun: Instant::now(),
        };
        let parents = || vec![(11, 10), (20, 10), (12, 11), (std::process::id(), 10)];
        let all = settings(true).with_children(parents);
        assert_eq!(all[..2], [20, 10]);
        let mut children = all[2..].to_vec();
        children.sort_unstable();
        assert_eq!(children, [11, 12]);
        let asked_for =
            settings(false).with_children(|| unreachable!("nobody's children are followed"));
        assert_eq!(asked_for, [20, 10]);
        let of_group = Settings {
            named: Named::Group(WantedGroup::Unit("nginx".to_owned())),
            ..settings(true)
        };
        let members = of_group.with_children(|| unreachable!("all members are named"));
        assert_eq!(members, [20, 10]);
    }
}
