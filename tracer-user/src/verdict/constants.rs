//! Every threshold of a verdict, with its reason. Shares are parts of one.
//!
//! "Blocked" time is that of the classes in which something is waited for (`Class::is_blocked`). "Active" time is all time of requests,
//! or the threads' time that is not idle.

/// From this number of requests on, their ledger is always used instead of the threads'. Fewer say nothing about a quantile; they are
/// judged only where they spent more time than the threads did. Requests open at the end count, because a server that hangs answers none.
pub(super) const ENOUGH_REQUESTS: u64 = 20;

/// Blocked time below this part of active time makes nobody slow.
pub const NOT_HELD_UP: f64 = 0.10;

/// A person feels a delay from about this length on, ns. Up to 0.1 s a system seems to answer at once (Miller, "Response time in
/// man-computer conversational transactions", 1968; Nielsen, "Usability Engineering", 1993, chapter 5).
pub(super) const FELT_NS: f64 = 100e6;

/// A person who waits for so many requests one after the other feels their sum: a page, or a transaction of many queries. If one
/// request in so many is late, that one is felt. Either way [`FELT_NS`] is spread over so many requests.
pub(super) const REQUESTS_FELT_TOGETHER: f64 = 100.0;

/// One delay of [`FELT_NS`] in this time, ns, is felt. With fewer a person does not see a connection. It is the length of a trace
/// for which nobody named one.
pub(super) const ONE_FELT_IN_NS: f64 = 10e9;

/// The first culprit holds at least this part of the waits for the resource. Beside it, whoever holds this part of what the target does not
/// owe to itself is a culprit too. With less it is one among many.
pub const CULPRIT_PART: f64 = 0.20;

/// A culprit costs at least this part of active time. With less nobody would feel that it went away.
pub const CULPRIT_COST: f64 = 0.05;

/// A client that is charged with the target's work costs others at least this many times what they cost it. Clients that ask for
/// the same in the same way cost each other the same, however many each are.
pub(super) const LOPSIDED: f64 = 2.0;

/// The sentence also names every other hypothesis of at least this share. Without the first resource, that much would remain.
pub(super) const ALSO_NAMED: f64 = 0.25;

/// All others are acquitted only where at least this part of the waits has a known holder, and that is the target itself. What is
/// left is then too little for one of them to be felt ([`CULPRIT_COST`]).
pub(super) const ACQUITTED: f64 = 0.90;

/// A watched resource with less than this part of blocked time is healthy. Where the target is not held up, it is this part of
/// active time. The value is that of [`CULPRIT_COST`]: nobody could be accused of less.
pub(super) const HEALTHY_BELOW: f64 = 0.05;

/// A cause explains at least this part of the waits for the resource. Where none does, the verdict names none.
pub(super) const CAUSE_PART: f64 = 0.25;

/// The sentence names a place with at least this part of the waits for the resource. A wait that is spread over eight CPUs is not a
/// wait on the third.
pub(super) const PLACE_PART: f64 = 0.5;

/// The sentence names processes on the way if at least this part of the resource's waits went through them.
pub(super) const VIA_PART: f64 = 0.5;

/// A member gives the group its name with at least this part of the group's charge. The shell that started a backup does not make the
/// server slow.
pub(super) const NAMED_MEMBER: f64 = 0.05;

/// A part of the target with less than this part of the waits for the resource is not listed.
pub(super) const LEAST_PART: f64 = 0.01;

/// Most parts of the target that are listed for one resource.
pub(super) const MOST_PARTS: usize = 10;

/// A part of the target is worth a word with at least this part of the waits for the resource.
pub(super) const NOTABLE_PART: f64 = 0.05;

/// The sentence says "mostly" of what has at least this part: of what the target owes to itself, or of waits that are hardly felt.
pub(super) const MOSTLY: f64 = 0.5;

/// Most names in the name of a group: more do not fit into a sentence.
pub(super) const MOST_NAMES: usize = 4;

/// Resamples of the window. The standard error of a part of 200 is at most 3.5 points, `sqrt(0.25 / 200)`.
pub(super) const RESAMPLES: usize = 200;

/// Where more than this part of blocked time has no explanation, confidence stays at most [`LOW_CONFIDENCE`].
pub(super) const UNEXPLAINED: f64 = 0.10;

/// If more than this part of the disk's attributed time is estimated, confidence stays at most [`LOW_CONFIDENCE`].
pub(super) const MOSTLY_ESTIMATED: f64 = 0.5;

/// Confidence of an answer that is as likely wrong as right.
pub(super) const LOW_CONFIDENCE: f64 = 0.5;

/// A window with fewer slices than this is called short, because resampling says little about it. A slice is at least 100 ms.
pub(super) const SHORT_WINDOW_BINS: usize = 10;

/// The sentence says how long the target waited behind the tracer itself from this part of its blocked time on. The value is that of
/// [`CULPRIT_COST`]: of less nobody could be accused.
pub(super) const TRACER_SAID: f64 = 0.05;

/// A client that opens a connection spends at most about this much of a CPU on it, ns: it may have to be started (`curl`, `psql`), to
/// look up a name and to shake hands. `curl` takes 6 to 9 ms of a CPU for one request (user and system time on a 2 GHz x86).
pub(super) const ASKING_CONNECTION_NS: f64 = 10e6;

/// The same for a request on an open connection. A Python client with an HTTP library takes 1 to 2 ms, a compiled one 0.05 ms.
pub(super) const ASKING_REQUEST_NS: f64 = 2e6;

/// The same for each byte of an answer: 200 MB/s. To receive, decrypt and copy is faster. `gzip -6` takes 25 to 40 ns for a byte.
pub(super) const ASKING_BYTE_NS: f64 = 5.0;

/// A client does work of its own if it spends this many times what asking costs: such costs are known to no more than a factor.
pub(super) const MUCH_MORE: f64 = 2.0;

/// The CPU is not healthy if others used the sibling hyperthread for this part of the target's CPU time or more. For most of its
/// work the target then had a part of a core, and that shows in no queue.
pub(super) const SHARED_CORE: f64 = 0.5;
