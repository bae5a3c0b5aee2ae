//! Temporary.
/// t
pub mod text {
    /// o
    pub struct TextOptions { /// t
     pub top: usize, /// c
     pub colour: bool }
    /// t
    pub fn text(r: &crate::report::Report, _: &TextOptions) -> String { format!("{}\n", r.verdict.sentence) }
}
/// j
pub mod json {
    /// j
    pub fn json(r: &crate::report::Report) -> anyhow::Result<String> { Ok(serde_json::to_string_pretty(r)? + "\n") }
}
/// f
pub mod flame {
    /// s
    pub fn svg(_: &crate::report::Flame) -> anyhow::Result<Vec<u8>> { Ok(vec![]) }
    /// f
    pub fn folded(f: &crate::report::Flame) -> String { f.stacks.iter().map(|s| format!("{} {}\n", s.frames.join(";"), s.ns)).collect() }
}
