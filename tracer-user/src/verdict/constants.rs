//! Every threshold of a verdict, with its reason. Shares are parts of one; "blocked" is the sum of the classes in which something is
//! waited for (`Class::is_blocked`), and "active" is all time of requests, or the threads' time that is not idle.

/// Requests from which their ledger is always used instead of the threads': fewer say nothing about a quantile. Those open at the end
/// count: a server that hangs answers none. Fewer are judged where they spent more time than the threads did.
pub(super) const ENOUGH_REQUESTS: u64 = 20;

/// Blocked time below this part of active time is not what makes anybody slow.
pub(super) const NOT_HELD_UP: f64 = 0.10;

/// A culprit holds at least this part of the resource's wait: less is one among many.
pub(super) const CULPRIT_PART: f64 = 0.20;

/// A culprit costs at least this part of active time: less would not be felt if it went away.
pub(super) const CULPRIT_COST: f64 = 0.05;

/// A client of the target is charged with what the target does for it if it costs others at least so many times what they cost it. Clients
/// that ask for the same in the same way cost each other the same, however many each are.
pub(super) const LOPSIDED: f64 = 2.0;

/// Another hypothesis of at least this share is named in the sentence too: removing the first would leave that much.
pub(super) const ALSO_NAMED: f64 = 0.25;

/// A resource that was watched and makes up less than this part of blocked time is healthy; where the target is not held up at all,
/// less than this part of active time. It is what a culprit must cost to be one.
pub(super) const HEALTHY_BELOW: f64 = 0.05;

/// A cause explains at least this part of the resource's wait; where none does, none is given.
pub(super) const CAUSE_PART: f64 = 0.25;

/// A place is named in the sentence when at least this part of the resource's wait was there: a wait over eight CPUs is not one on
/// the third.
pub(super) const PLACE_PART: f64 = 0.5;

/// Processes on the way are named when at least this part of the resource's wait went through them: most of it, as for a place.
pub(super) const VIA_PART: f64 = 0.5;

/// A member of a group is part of the group's name when it has at least this part of the group's charge: the shell that started a
/// backup is not what makes the server slow.
pub(super) const NAMED_MEMBER: f64 = 0.05;

/// Names joined in the name of a group: more do not fit into a sentence.
pub(super) const MOST_NAMES: usize = 4;

/// Resamples of the window: the error of a part of 200 is at most ±3.5 points (one standard deviation, `sqrt(0.25 / 200)`).
pub(super) const RESAMPLES: usize = 200;

/// Where more than this part of blocked time has no explanation, confidence stays at most [`LOW_CONFIDENCE`].
pub(super) const UNEXPLAINED: f64 = 0.10;

/// Where more than this part of the disk's attributed time rests on an estimated service time, likewise.
pub(super) const MOSTLY_ESTIMATED: f64 = 0.5;

/// As likely wrong as right.
pub(super) const LOW_CONFIDENCE: f64 = 0.5;

/// A window with fewer slices than this is called short: resampling says little about it. Slices are at least 100 ms.
pub(super) const SHORT_WINDOW_BINS: usize = 10;

/// Where another process used the sibling hyperthread for at least this part of the target's time on a CPU, the CPU is not called
/// healthy: for most of its work the target had a part of a core, and that shows in no queue. The value is the design's.
pub(super) const SHARED_CORE: f64 = 0.5;
