//! The small part of the kernel's type information that loading a program needs, in its own format.

use std::collections::BTreeMap;

use super::{Btf, HEADER, MAGIC, TRACEPOINT, kind};

impl Btf {
    /// The types that aya needs to load programs for these tracepoints and functions: their names and numbers. A type's number is its
    /// place. So all other types up to the last of these are there too, without name or content.
    #[must_use]
    pub(crate) fn hooks(&self, tracepoints: &[&str], functions: &[&str]) -> Vec<u8> {
        let mut strings = vec![0];
        let mut hooks = BTreeMap::new();
        let mut add = |id: Option<&u32>, kind: u32, name: String| {
            // The kernel numbers a module's types otherwise.
            if let Some(id) = id.filter(|id| (**id as usize) < self.own) {
                hooks.insert(*id, [strings.len() as u32, kind << 24, 0]);
                strings.extend(name.into_bytes());
                strings.push(0);
            }
        };
        for name in tracepoints {
            let id = self.tracepoints.get(*name);
            add(id, kind::TYPEDEF, format!("{TRACEPOINT}{name}"));
        }
        for name in functions {
            add(self.functions.get(*name), kind::FUNC, (*name).to_owned());
        }
        let last = hooks.keys().next_back().copied().unwrap_or(0);
        let nothing = [0, kind::FWD << 24, 0];
        let types = (1..=last).flat_map(|id| hooks.get(&id).copied().unwrap_or(nothing));
        let length = 12 * last;
        let head = [HEADER, 0, length, length, strings.len() as u32];
        let words = head.into_iter().chain(types).flat_map(u32::to_le_bytes);
        let mut bytes = MAGIC.to_le_bytes().to_vec();
        // Version and flags.
        bytes.extend([1, 0]);
        bytes.extend(words);
        bytes.extend(strings);
        bytes
    }
}
