//! The types of modules, behind the kernel's own.

use anyhow::Result;

use super::{Btf, kind, sections};

/// A module's place. It numbers its types and names as if no other module were between them and the kernel's.
#[derive(Clone, Copy)]
pub(super) struct Module {
    /// Offset of its first byte.
    begin: usize,
    /// How many types the modules before it have.
    types: u32,
    /// How many bytes of names they have.
    names: u32,
}

impl Btf {
    /// Adds the types of one module. Their numbers and the offsets of their names continue where the kernel's end.
    ///
    /// # Errors
    /// If the blob is cut or corrupt, as for the kernel's own. The types before the error stay.
    pub(crate) fn extend(&mut self, module: &[u8]) -> Result<()> {
        let (types, strings) = sections(module)?;
        let begin = self.kernel.len() + self.module_bytes.len();
        let names: usize = self.strings.iter().skip(1).map(|names| names.len()).sum();
        self.modules.push(Module {
            begin,
            types: (self.types.len() - self.own) as u32,
            names: names as u32,
        });
        self.module_bytes.extend_from_slice(module);
        self.strings
            .push(strings.start + begin..strings.end + begin);
        self.index(types.start + begin..types.end + begin)
    }

    /// The module in which a place lies; `None` for the kernel itself.
    fn module(&self, at: usize) -> Option<Module> {
        if at < self.kernel.len() {
            return None;
        }
        let mut modules = self.modules.iter().rev();
        modules.find(|module| module.begin <= at).copied()
    }

    /// The number of a type that stands at a place.
    pub(super) fn id(&self, at: usize) -> Result<u32> {
        let id = self.word(at)?;
        let of = self.module(at).filter(|_| id as usize >= self.own);
        Ok(id.saturating_add(of.map_or(0, |module| module.types)))
    }

    /// The offset of a name that stands at a place.
    pub(super) fn name(&self, at: usize) -> Result<u32> {
        let name = self.word(at)?;
        let own = self.strings[0].len();
        let of = self.module(at).filter(|_| name as usize >= own);
        Ok(name.saturating_add(of.map_or(0, |module| module.names)))
    }
}

/// Has a type of this kind a type for its value, and not a size?
pub(super) fn refers(kind: u32) -> bool {
    matches!(
        kind,
        kind::PTR
            | kind::TYPEDEF
            | kind::VOLATILE
            | kind::CONST
            | kind::RESTRICT
            | kind::TYPE_TAG
            | kind::FUNC
            | kind::VAR
    )
}
