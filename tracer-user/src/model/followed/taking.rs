//! Followed processes that have to take what the target sends: over a connection, a pipe, or a queue. While one does something else, the
//! target waits for what that one waits for. However many wait for it, each waits all the time.

use super::{Asked, Followed, Why};
use crate::model::{
    Model,
    threads::{ReadBy, Untaken},
};

/// What a followed process has not taken of what the target sends.
#[derive(Clone, Debug, Default)]
pub(in crate::model) struct NotTaken {
    /// The thread of it that last took something.
    pub(super) before: Option<u32>,
    /// Waits of the target that are open at the end.
    open: Vec<Untaken>,
}

impl NotTaken {
    /// Counts the open waits in the process's own fold: what it does is known up to the end now.
    pub(in crate::model) fn count(&self, model: &mut Model) {
        for untaken in &self.open {
            model.had_to_take(self.before, untaken);
        }
    }
}

impl Followed {
    /// The target waited for somebody to take what it had sent. If that one is followed, it is known what he did meanwhile; in a wait that
    /// is open, only at the end.
    pub(in crate::model) fn not_taken(&mut self, untaken: Untaken, is_open: bool) {
        let Some(asked) = self.reads(&untaken.read_by) else {
            return;
        };
        if let ReadBy::Process(process, _) = untaken.read_by {
            asked.who.family.insert(process);
        }
        match is_open {
            true => asked.untaken.open.push(untaken),
            false => asked.model.had_to_take(asked.untaken.before, &untaken),
        }
    }

    /// The one that has to read, if it is followed.
    fn reads(&mut self, read_by: &ReadBy) -> Option<&mut Asked> {
        let at = match read_by {
            ReadBy::Process(_, pid) => {
                let is_it = |asked: &Asked| asked.is_asked() && asked.pids.contains(pid);
                self.asked.iter().position(is_it)
            }
            ReadBy::Ends(ends) => {
                let (own, there) = &**ends;
                let has =
                    |asked: &Asked| asked.is_asked() && asked.model.requests.has_ends(there, own);
                let known = self.asked.iter().position(has);
                known.or_else(|| self.only_one_at(there))
            }
        };
        self.asked.get_mut(at?)
    }

    /// The position of the one that is asked at an address; `None` if there are several.
    fn only_one_at(&self, address: &str) -> Option<usize> {
        let all = self.asked.iter().enumerate();
        let mut there = all.filter(|(_, asked)| asked.is_asked() && asked.who.is_at(address));
        let (at, _) = there.next()?;
        there.next().is_none().then_some(at)
    }
}

impl Asked {
    /// Does the target wait for what it does, and not for a lock that it has?
    fn is_asked(&self) -> bool {
        self.why != Why::Owner
    }
}
