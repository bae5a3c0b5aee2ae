//! The parent of each process, read by an iterator; kernel side: `tracer-ebpf/src/probes/proc.rs`.

use std::io::Read as _;

use anyhow::{Context as _, Result};
use aya::programs::{Iter, Program};
use tracer_common::proc::Parent;

use crate::{machine::proc, probes::frame};

/// The program of the kernel half.
pub(super) const PROGRAM: &str = "parents";

/// The kind of object that the program iterates over.
const TASKS: &str = "task";
/// The kernel function that stands for it.
pub(crate) const FUNCTION: &str = "bpf_iter_task";

/// The parent of each process, still to be read.
pub(crate) struct Parents<'a> {
    /// [`PROGRAM`], if the object has it.
    pub(super) program: Option<&'a mut Program>,
    pub(super) hooks: &'a aya::Btf,
}

impl Parents<'_> {
    /// The pids of child and parent, for every process that is there now. From the kernel, or from `/proc` if the kernel has no such
    /// iterator, or refuses the program.
    #[must_use]
    pub(crate) fn read(self) -> Vec<(u32, u32)> {
        self.iterate().unwrap_or_else(|_| proc::parents())
    }

    fn iterate(self) -> Result<Vec<(u32, u32)>> {
        let program = self.program.context("the object has no program parents")?;
        let program: &mut Iter = program.try_into()?;
        program.load(TASKS, self.hooks)?;
        let link = program.attach()?;
        let mut bytes = Vec::new();
        program
            .take_link(link)?
            .into_file()?
            .read_to_end(&mut bytes)?;
        program.unload()?;
        Ok(parse(&bytes))
    }
}

fn parse(bytes: &[u8]) -> Vec<(u32, u32)> {
    let records = bytes.chunks_exact(size_of::<Parent>());
    let pair = |record| {
        let Parent { pid, parent_pid } = frame::read(record).ok()?;
        Some((pid, parent_pid))
    };
    records.filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_follow_each_other_and_a_cut_one_is_none() {
        let bytes: Vec<u8> = [1_u32, 2, 3, 4]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        assert_eq!(parse(&bytes), [(1, 2), (3, 4)]);
        assert_eq!(parse(&bytes[..15]), [(1, 2)]);
    }
}
