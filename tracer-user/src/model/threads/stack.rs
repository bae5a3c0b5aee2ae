//! Kernel stacks: what is known of each, judged when it is first recorded.

use std::sync::Arc;

use rustc_hash::FxHashMap as HashMap;

use super::{
    signs::{self, Completions, Lock},
    sleep::{self, Sleep},
};
use crate::{
    class::{Cause, Class},
    event,
    file_system::Kind,
    functions::{is_meant, plain},
};

/// Frames that belong to the tracer itself: its programs, by name or (where they have none) by address.
const OWN_FRAMES: [&str; 3] = ["bpf_prog_", "bpf_trace_run", "0x"];

/// Functions by which any sleep leaves the CPU, 5.10 to 7.2: the one that called them says more.
const SCHEDULING: [&str; 5] = [
    "__traceiter_*",
    "__bpf_trace_*",
    "__schedule*",
    "schedule*",
    "io_schedule*",
];

/// A stack, judged once.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Functions, innermost first, without the tracer's own.
    pub(crate) frames: Vec<String>,
    /// As an interruptible sleep.
    pub(crate) interruptible: Sleep,
    /// As any other.
    pub(crate) uninterruptible: Sleep,
    /// As a wait for completions.
    pub(crate) completions: Completions,
    /// Of a waker that completes block I/O.
    pub(crate) completes: bool,
    /// Of an interrupt: `current` was a bystander.
    pub(crate) interrupt: bool,
    /// Of a wait for a page that a file or swap has.
    pub(crate) reads_page: bool,
    /// Of a wait for a page that was swapped out.
    pub(crate) swaps_in: bool,
    /// In the reclaim of pages of a group that is full.
    pub(crate) reclaims_group: bool,
    /// In a call that takes what others bring.
    pub(crate) takes: bool,
    /// Of a sleep for something that another task brings: bytes, or its own end.
    pub(crate) brought: bool,
    /// Of a sleep until a child ends.
    pub(crate) reaps: bool,
    /// Of a sleep for the next connection.
    pub(crate) accepts: bool,
    /// Of a wait for whatever comes first of many things.
    pub(crate) loops: bool,
    /// Of a sleep for the answer to a connect.
    pub(crate) connects: bool,
    /// Of a sleep in a receive on a UDP socket.
    pub(crate) receives_datagram: bool,
    /// Of a sleep in which the thread notices that a datagram comes.
    pub(crate) notices_datagram: bool,
    /// Of a sleep until somebody reads what the thread writes to a pipe, a queue of messages or a Unix socket.
    pub(crate) gives: bool,
    /// Of a sleep until a scanner permits what the thread does to a file.
    pub(crate) permitted: bool,
    /// Of a sleep on a futex.
    pub(crate) is_futex: bool,
    /// The kind of lock that it sleeps for.
    pub(crate) lock: Option<Lock>,
    /// A sleep for a time that the thread itself chose.
    pub(crate) nap: bool,
    /// Within a call that writes a file or a file system out, after the event that shows its disk.
    pub(crate) syncs: bool,
    /// In a send on a TCP socket.
    pub(crate) sends_stream: bool,
    /// Of a sleep for room in the queue of the audit daemon.
    pub(crate) audits: bool,
    /// In a file system that keeps its data on another machine.
    pub(crate) remote: Option<Kind>,
}

/// Stacks kept, some 2 kB each: a target sleeps in some hundreds. Waits in further ones count as such with a lost stack.
const MOST_STACKS: usize = 1 << 13;

/// All stacks that were recorded, by identity.
#[derive(Clone, Debug, Default)]
pub(super) struct Stacks {
    /// Shared with the copies of a model. They are made for a look at the books, and for processes that the target asks.
    stacks: HashMap<u64, Arc<Stack>>,
    /// The one of the last wait, which asks for it ten times.
    near: Option<(u64, Arc<Stack>)>,
}

impl Stack {
    /// Is it of a sleep that may be for whoever has to read what the thread writes?
    pub(super) fn is_for_reader(&self) -> bool {
        self.gives || self.sends_stream
    }

    /// What is known of a stack with these functions, innermost first.
    pub(super) fn new(frames: Vec<String>) -> Self {
        let row = sleep::row(&frames);
        Self {
            interruptible: sleep::judge(row, 1, false),
            uninterruptible: sleep::judge(row, 2, false),
            completions: signs::completions(&frames),
            completes: signs::completes(&frames),
            interrupt: signs::is_interrupt(&frames),
            reads_page: signs::reads_page(&frames),
            swaps_in: signs::swaps_in(&frames),
            reclaims_group: signs::reclaims_group(&frames),
            takes: signs::takes(&frames),
            brought: signs::is_brought(&frames),
            reaps: signs::reaps_child(&frames),
            accepts: signs::accepts(&frames),
            loops: signs::loops(&frames),
            connects: signs::connects(&frames),
            receives_datagram: signs::receives_datagram(&frames),
            notices_datagram: signs::notices_datagram(&frames),
            gives: signs::gives(&frames),
            permitted: signs::permitted(&frames),
            is_futex: signs::is_futex(&frames),
            lock: signs::lock_of(row, &frames),
            nap: signs::is_nap(&frames),
            syncs: signs::syncs(&frames),
            sends_stream: signs::sends_stream(&frames),
            audits: signs::audits(&frames),
            remote: Kind::of_stack(&frames),
            frames,
        }
    }

    /// A stack of which no function has a name, because the kernel hides its addresses. Whoever sleeps so that a signal wakes him may wait
    /// for work. As with a futex it is for the waker to show whether he was blocked: idle never counts as blocked.
    fn nameless() -> Self {
        Self {
            interruptible: Sleep::Work,
            // Nobody may be said to wait for the end of a wait that is not known.
            notices_datagram: true,
            ..Self::new(Vec::new())
        }
    }

    /// The function that sleeps: the innermost one that is not the scheduler's. Empty if there is none.
    pub(super) fn sleeps_in(&self) -> &str {
        let is_scheduling = |frame: &&str| SCHEDULING.iter().any(|of| is_meant(of, frame));
        let mut frames = self.frames.iter().map(|frame| plain(frame));
        let telling = frames.find(|frame| !is_scheduling(frame));
        telling.unwrap_or_default()
    }

    /// The reason of a sleep in it. `iowait`: the kernel took it for one of I/O. `again`: it stalled for a page that had been in use.
    /// Reading such a page again is the cost of its eviction.
    pub(super) fn sleep(&self, interruptible: bool, iowait: bool, again: bool) -> Sleep {
        let found = match interruptible {
            true => self.interruptible,
            false => self.uninterruptible,
        };
        let found = match found {
            Sleep::Blocked(Class::Other, None) if iowait => Sleep::Blocked(Class::Disk, None),
            _ => found,
        };
        match found {
            _ if self.remote.is_some() => sleep::elsewhere(found),
            Sleep::Blocked(Class::Disk, None) if again => {
                Sleep::Blocked(Class::Disk, Some(Cause::CacheEviction))
            }
            _ => found,
        }
    }
}

impl Stacks {
    /// A stack was recorded for the first time.
    pub(super) fn learn(&mut self, stack: &event::Stack) {
        if self.stacks.len() >= MOST_STACKS && !self.stacks.contains_key(&stack.id) {
            return;
        }
        let is_own = |frame: &&String| !OWN_FRAMES.iter().any(|own| frame.starts_with(own));
        let frames: Vec<String> = stack.frames.iter().filter(is_own).cloned().collect();
        let known = match frames.is_empty() && !stack.frames.is_empty() {
            true => Stack::nameless(),
            false => Stack::new(frames),
        };
        self.stacks.insert(stack.id, Arc::new(known));
        self.near = None;
    }

    /// A wait in this stack is looked at next. A server sleeps in the same one most of the time.
    #[inline]
    pub(super) fn comes(&mut self, id: u64) {
        let is_near = self.near.as_ref().is_some_and(|(near, _)| *near == id);
        // A thread that was runnable slept nowhere.
        if id != 0 && !is_near {
            let known = self.stacks.get(&id);
            self.near = known.map(|known| (id, Arc::clone(known)));
        }
    }

    /// A stack; `None` if it was lost.
    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<&Stack> {
        match &self.near {
            Some((near, stack)) if *near == id => Some(Arc::as_ref(stack)),
            _ => self.stacks.get(&id).map(Arc::as_ref),
        }
    }
}
