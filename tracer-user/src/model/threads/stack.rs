//! Kernel stacks: what is known of each, judged when it is first recorded.

use std::sync::Arc;

use rustc_hash::FxHashMap as HashMap;

use super::sleep::{self, Lock, Sleep};
use crate::{event, file_system::Kind};

/// Frames that belong to the tracer itself: its programs, by name or (where they have none) by address.
const OWN_FRAMES: [&str; 3] = ["bpf_prog_", "bpf_trace_run", "0x"];

/// A stack, judged once.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Functions, innermost first, without the tracer's own.
    pub(crate) frames: Vec<String>,
    /// As an interruptible sleep.
    pub(crate) interruptible: Sleep,
    /// As any other.
    pub(crate) uninterruptible: Sleep,
    /// Of an interrupt: `current` was a bystander.
    pub(crate) interrupt: bool,
    /// The kind of lock that it sleeps for.
    pub(crate) lock: Option<Lock>,
    /// A sleep for a time that the thread itself chose.
    pub(crate) nap: bool,
    /// In a file system that keeps its data on another machine.
    pub(crate) remote: Option<Kind>,
}

/// All stacks that were recorded, by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    /// Shared with the copies of a model. They are made for a look at the books, and for processes that the target asks.
    stacks: HashMap<u64, Arc<Stack>>,
}

impl Stacks {
    /// A stack was recorded for the first time.
    pub(super) fn learn(&mut self, stack: &event::Stack) {
        let is_own = |frame: &&String| !OWN_FRAMES.iter().any(|own| frame.starts_with(own));
        let frames: Vec<String> = stack.frames.iter().filter(is_own).cloned().collect();
        let row = sleep::row(&frames);
        let known = Stack {
            interruptible: sleep::judge(row, 1, false),
            uninterruptible: sleep::judge(row, 2, false),
            interrupt: sleep::is_interrupt(&frames),
            lock: sleep::lock_of(&frames),
            nap: sleep::is_nap(&frames),
            remote: Kind::of_stack(&frames),
            frames,
        };
        self.stacks.insert(stack.id, Arc::new(known));
    }

    /// A stack; `None` if it was lost.
    pub(super) fn get(&self, id: u64) -> Option<&Stack> {
        self.stacks.get(&id).map(Arc::as_ref)
    }
}
