//! Temporary.
/// t
pub fn time(ns: u64) -> String { format!("{:.1} ms", ns as f64 / 1e6) }
/// s
pub fn share(share: f64) -> String { format!("{:.0} %", 100.0 * share) }
/// e
pub fn escape_terminal(text: &str) -> String { text.chars().flat_map(char::escape_default).collect() }
/// u
pub fn utc(ns: u64) -> String { format!("{ns}") }
