//! What a flame graph is drawn from.

use crate::class::Class;

/// A flame graph: width is blocked time of the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flame {
    /// For the headline.
    pub title: String,
    /// [`super::Verdict::sentence`]
    pub sentence: String,
    /// Stacks with their time.
    pub stacks: Vec<FlameStack>,
}

/// One stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameStack {
    /// Target, wait class, place if it is known, holder, then the functions that waited, outermost first.
    pub frames: Vec<String>,
    /// The wait class.
    pub class: Class,
    /// Position of the holder in `frames`.
    pub holder: usize,
    /// Does the verdict or another hypothesis accuse the holder?
    pub accused: bool,
    /// Blocked time of the target, ns.
    pub ns: u64,
}
