//! Looks for the processes that take what the target sends through an interface, and send it on.

use std::{collections::HashSet, time::Duration};

use tracer_common::tcp::LINK_HANDED;

use crate::{
    event::{Event, Handed, Queue},
    machine::{clocks::now_ns, proc, rounds::Rounds},
};

/// Time between two looks at least: each asks all processes for their descriptors.
const REST: Duration = Duration::from_secs(1);

/// An interface: its namespace, number and name.
type Interface = (u32, u32, String);

/// The search for them.
pub(super) struct Takers {
    /// Interfaces that were looked for, by namespace and number.
    known: HashSet<(u32, u32)>,
    wanted: Vec<Interface>,
    looks: Rounds<Vec<Handed>>,
}

impl Takers {
    /// Nothing seen yet.
    #[must_use]
    pub(super) fn new() -> Self {
        Self {
            known: HashSet::new(),
            wanted: Vec::new(),
            looks: Rounds::new(),
        }
    }

    /// Takes note of the interfaces that hand over what is sent through them.
    pub(super) fn see<'a>(&mut self, events: impl IntoIterator<Item = &'a Event>) {
        for event in events {
            if let Event::Queue(Queue { link, flags, .. }) = event
                && flags & LINK_HANDED != 0
                && self.known.insert((link.netns, link.ifindex))
            {
                let name = link.name.clone();
                self.wanted.push((link.netns, link.ifindex, name));
            }
        }
    }

    /// What was found since the last call. Begins a look when there is something to look for.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let found = self.looks.take().into_iter().flatten();
        let found = found.map(Event::Handed).collect();
        if !self.wanted.is_empty() && self.looks.is_due(REST) {
            let wanted = std::mem::take(&mut self.wanted);
            self.looks
                .begin(move || wanted.into_iter().filter_map(look).collect());
        }
        found
    }
}

fn look((netns, ifindex, name): Interface) -> Option<Handed> {
    let pid = proc::taker(&name, netns)?;
    Some(Handed {
        ns: now_ns(),
        netns,
        ifindex,
        pid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Link;

    #[test]
    fn an_interface_that_hands_over_is_looked_for_once_and_another_never() {
        let sent = |ifindex, flags| {
            let link = Link {
                ifindex,
                ..Link::default()
            };
            let queue = Queue::from(&link);
            Event::Queue(Queue { flags, ..queue })
        };
        let mut takers = Takers::new();
        takers.see(&[sent(1, 0), sent(2, LINK_HANDED), sent(2, LINK_HANDED)]);
        assert_eq!(takers.wanted, [(0, 2, String::new())]);
        assert_eq!(takers.take(), []);
        takers.see(&[sent(2, LINK_HANDED)]);
        assert!(takers.wanted.is_empty());
    }
}
