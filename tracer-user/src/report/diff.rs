//! Two reports side by side: plain data, exactly `tracer.diff/1`. Its rules are those of a report.

use serde::{Deserialize, Serialize};

use super::{Basis, Host, Losses, Target, Window};
use crate::class::{Class, Resource};

/// Value of [`Diff::schema`].
pub const SCHEMA: &str = "tracer.diff/1";

/// How figures of windows of different lengths are compared: for those who read the text, and for those who read the figures.
pub const METHOD: &str = "Times are for each request that ended in the window, or for each second of it, whatever its length. A \
     change is claimed if it exceeds 1 % of the time that is not idle and what noise alone does: for times, what batches of a second or \
     more scatter (Student's t); for quantiles, intervals that touch (order statistics). One in twenty such tables may err.";

/// All that two windows say about what changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: String,
    /// What differs most, in one sentence.
    pub sentence: String,
    /// Is it the same target, and are both windows long enough? If not, no change is claimed.
    pub comparable: bool,
    /// The first window.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// How long requests took. Empty if a window has none.
    pub quantiles: Vec<Quantile>,
    /// Time of requests by class, for each that ended; `null` if a window has none.
    pub per_request: Option<Vec<Budget>>,
    /// Time of threads by class, for each second of the window.
    pub per_second: Vec<Budget>,
    /// Is blame for each request, or for each second of the threads' time?
    pub blame_basis: Basis,
    /// Who held what was waited for, matched by name and unit, the largest first.
    pub blame: Vec<Blame>,
    /// What cannot be compared, and what else may explain a change.
    pub caveats: Vec<String>,
    /// [`METHOD`].
    pub method: String,
}

/// One of the two windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The recording.
    pub file: String,
    /// The machine.
    pub host: Host,
    /// The processes traced.
    pub target: Target,
    /// Begin and length of the window.
    pub window: Window,
    /// The verdict on it alone.
    pub sentence: String,
    /// Confidence in that, 0..1.
    pub confidence: f64,
    /// Requests that ended in it; `null` if none can be seen.
    pub requests: Option<u64>,
    /// Requests that ended in a second; `null` if none did.
    pub requests_per_second: Option<f64>,
    /// Losses of its trace.
    pub losses: Losses,
}

/// A quantile of the requests' durations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// Part of the requests that took at most as long, 0..1.
    pub part: f64,
    /// How long before, ns.
    pub before_ns: u64,
    /// How long after, ns.
    pub after_ns: u64,
    /// `after / before - 1`
    pub change: Option<f64>,
    /// The least change that fits both windows; `null` if it is not compared.
    pub least_change: Option<f64>,
    /// The largest one; `null` if it is not compared, or there were too few requests to bound it.
    pub most_change: Option<f64>,
    /// Does it differ by more than noise? `null` if that cannot be said.
    pub differs: Option<bool>,
}

/// Time before and after, for each request or each second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Before, ns.
    pub before_ns: u64,
    /// After, ns.
    pub after_ns: u64,
    /// Part of the time that is not idle before, 0..1.
    pub before_share: f64,
    /// The same after.
    pub after_share: f64,
    /// `after / before - 1`; `null` if there was nothing before.
    pub change: Option<f64>,
    /// The least and the largest `after - before` that fits both windows, ns; `null` if it is not compared.
    pub difference_ns: Option<[i64; 2]>,
    /// Does it differ by more than noise, and does that matter? `null` if it is not compared.
    pub differs: Option<bool>,
}

/// Time in one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// The class.
    pub class: Class,
    /// How long.
    #[serde(flatten)]
    pub time: Change,
}

/// Time that was waited behind one holder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blame {
    /// The resource.
    pub resource: Resource,
    /// The place, if it has a name that lasts: a CPU has none.
    pub place: Option<String>,
    /// Name of the processes, or a word for the holder.
    pub comm: String,
    /// Their systemd unit or container, if it has a name that lasts.
    pub unit: Option<String>,
    /// Does more than half of it rest on an estimate, in one of the windows?
    pub estimated: bool,
    /// How long.
    #[serde(flatten)]
    pub time: Change,
}

/// Two flame graphs in one: blocked time of the target for each second of the window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiffFlame {
    /// For the headline.
    pub title: String,
    /// [`Diff::sentence`]
    pub sentence: String,
    /// Stacks with their times.
    pub stacks: Vec<DiffStack>,
}

/// One stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffStack {
    /// Target, wait class, place if its name lasts, holder without its pid, then the functions that waited, outermost first.
    pub frames: Vec<String>,
    /// Blocked time before, ns for each second.
    pub before_ns: u64,
    /// The same after.
    pub after_ns: u64,
}
