//! The looks for processes that become targets, each on a thread of its own.

use std::{collections::HashSet, path::PathBuf};

use crate::machine::proc::{self, WantedGroup};

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The sockets that listen on the port.
    pub(super) listeners: HashSet<u64>,
    /// Processes that match what the user named.
    pub(super) matching: Vec<u32>,
    /// Their children, and so on.
    pub(super) below: Vec<u32>,
    /// The folders of the group that is meant.
    pub(super) folders: Vec<PathBuf>,
}

impl Found {
    /// The same with the children of those that are no targets yet.
    pub(super) fn with_children(mut self, own: &HashSet<u32>) -> Self {
        let matching = self.matching.iter();
        let new: Vec<u32> = matching.copied().filter(|pid| !own.contains(pid)).collect();
        if !new.is_empty() {
            let edges = proc::parents();
            for pid in new {
                let below = proc::descendants(pid, edges.iter().copied());
                self.below.extend(below);
            }
        }
        self
    }
}

/// Who listens on a port: on a socket that was not there `before`, whoever it is, or on any, of the `candidates`.
pub(super) fn look_at_port(port: u16, before: &HashSet<u64>, candidates: Option<&[u32]>) -> Found {
    let listeners = proc::listeners(port);
    let is_new = listeners.iter().any(|inode| !before.contains(inode));
    let matching = match candidates {
        _ if listeners.is_empty() => Vec::new(),
        Some(pids) if !is_new => proc::who_listens(&listeners, pids.iter().copied()),
        _ => proc::who_listens(&listeners, proc::pids()),
    };
    Found {
        listeners,
        matching,
        ..Found::default()
    }
}

/// Who belongs to a group, in the folders that it had at the last look. If nobody is there any more, the group is looked for anew: a
/// container that was made again has another identity, and so other folders.
pub(super) fn look_at_group(wanted: &WantedGroup, folders: &[PathBuf]) -> Found {
    let matching = proc::members(folders);
    if !matching.is_empty() {
        return Found {
            matching,
            folders: folders.to_vec(),
            ..Found::default()
        };
    }
    let folders = proc::find_groups(wanted).unwrap_or_default();
    Found {
        matching: proc::members(&folders),
        folders,
        ..Found::default()
    }
}
