//! Finds the process for which a kernel thread queues I/O that the limit of a cgroup held back.

use std::collections::HashSet;

use tracer_common::block::{GroupOnDisk, HeldBack};

use crate::{machine::proc, standing::Means};

/// The work function of a kworker that queues bios held back by a limit (`blk-throttle.c`, 5.10 to 7.2). Other work, such as a loop
/// device's, queues for groups too. But there the group does not show which process made the bio.
const HANDS_ON: &str = "blk_throtl_dispatch_work_fn";

/// Groups that were looked for.
#[derive(Debug, Default)]
pub(super) struct Groups {
    looked_for: HashSet<GroupOnDisk>,
}

impl Groups {
    /// Looks for the process of each group that is new among `held`, or of which the process is gone, and returns the entries to write
    /// back. `name` gives the name of the kernel function at an address.
    pub(super) fn look(
        &mut self,
        held: Vec<(GroupOnDisk, HeldBack)>,
        means: &Means,
        name: impl Fn(u64) -> String,
    ) -> Vec<(GroupOnDisk, HeldBack)> {
        let is_gone = |held: &HeldBack| {
            held.pid != 0 && u32::try_from(held.pid).is_ok_and(|pid| !proc::exists(pid))
        };
        let (gone, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(_, held)| is_gone(held));
        let gone = gone.into_iter().map(|(key, held)| {
            self.looked_for.remove(&key);
            (key, HeldBack { pid: 0, ..held })
        });
        let gone: Vec<(GroupOnDisk, HeldBack)> = gone.collect();
        let new = held
            .into_iter()
            .filter(|(key, held)| held.pid == 0 && self.looked_for.insert(*key));
        let hands_on =
            new.filter(|(_, held)| held.function != 0 && name(held.function) == HANDS_ON);
        let found = hands_on.filter_map(|(key, held)| {
            let pid = proc::busiest_of_group(key.group, means)?.into();
            Some((key, HeldBack { pid, ..held }))
        });
        found.chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_group_is_looked_for_once_and_one_that_has_a_process_never() {
        let entry = |group, pid, function| {
            let key = GroupOnDisk {
                group,
                ..GroupOnDisk::default()
            };
            let held = HeldBack { pid, function };
            (key, held)
        };
        let asked = Cell::new(0);
        let name = |_| {
            asked.set(asked.get() + 1);
            "loop_rootcg_workfn".to_owned()
        };
        let own = u64::from(std::process::id());
        let held = vec![entry(1, 0, 7), entry(2, own, 7), entry(3, 0, 0)];
        let mut groups = Groups::default();
        let means = Means::default();
        assert!(groups.look(held.clone(), &means, name).is_empty());
        assert_eq!(asked.get(), 1, "of group 1, the only one with a function");
        groups.look(held, &means, name);
        assert_eq!(asked.get(), 1, "nobody is looked for twice");
    }

    #[test]
    fn a_group_of_which_the_process_has_ended_is_looked_for_anew() {
        let key = GroupOnDisk {
            group: 5,
            ..GroupOnDisk::default()
        };
        let held = |pid| HeldBack { pid, function: 7 };
        let (mut groups, means) = (Groups::default(), Means::default());
        let mut look = |pid| {
            let found = groups.look(vec![(key, held(pid))], &means, |_| String::new());
            let found = found.into_iter();
            found.map(|(_, held)| held.pid).collect::<Vec<_>>()
        };
        assert_eq!(look(u64::from(u32::MAX)), [0]);
        assert!(look(u64::from(std::process::id())).is_empty());
    }
}
