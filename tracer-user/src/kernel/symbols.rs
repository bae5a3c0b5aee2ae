//! Names of kernel functions, from `/proc/kallsyms`, in little memory.

use std::{
    fs::File,
    io::{BufRead, BufReader},
};

use anyhow::{Context, Result};

use crate::{class::Resource, event::MissingProbe};

/// Names that the linker sets at the end of sections: not functions.
const END_OF_TEXT: [&str; 3] = ["_einittext", "_etext", "__end_rodata"];

/// Names that the compiler gives to the padding before a function: half of the table.
const PADDING: [&str; 2] = ["__pfx_", "__cfi_"];

/// Where the names are.
const TABLE: &str = "/proc/kallsyms";

/// What is not seen where the kernel hides its addresses. With `kernel.kptr_restrict` at 2 it does so even from root.
#[must_use]
pub(crate) fn missing() -> Vec<MissingProbe> {
    let is_shown = File::open(TABLE).is_ok_and(|table| has_addresses(BufReader::new(table)));
    let lost = |resource: Resource, cost: &str| MissingProbe {
        probe: format!("{TABLE} shows no addresses (sysctl kernel.kptr_restrict)"),
        cost: format!("kernel functions have no names: {cost}"),
        blinds: Some(resource.name().to_owned()),
    };
    match is_shown {
        true => Vec::new(),
        false => vec![
            lost(
                Resource::Lock,
                "whoever sleeps so that a signal wakes him counts as idle, unless he has a request",
            ),
            lost(
                Resource::Memory,
                "waits for memory are not told from others",
            ),
        ],
    }
}

/// Does a table show addresses? Its first function tells: what stands before are offsets in the memory of a CPU.
fn has_addresses(mut table: impl BufRead) -> bool {
    let mut line = String::new();
    while table.read_line(&mut line).is_ok_and(|read| read > 0) {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(address), Some("t" | "T")) = (fields.next(), fields.next()) {
            return u64::from_str_radix(address, 16).is_ok_and(|address| address != 0);
        }
        line.clear();
    }
    false
}

/// Functions of the kernel, by address.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    /// Begins of functions, ascending.
    addresses: Vec<u64>,
    /// The begin of each name in `names`; one more than there are addresses.
    offsets: Vec<u32>,
    names: String,
}

impl KernelSymbols {
    /// Reads the functions of the running kernel.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn read() -> Result<Self> {
        let file = File::open(TABLE).with_context(|| format!("cannot read {TABLE}"))?;
        Self::parse(BufReader::with_capacity(1 << 16, file))
            .with_context(|| format!("cannot read {TABLE}"))
    }

    /// Parses lines of `address type name [module]`; only functions are kept.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn parse(mut lines: impl BufRead) -> Result<Self> {
        let mut found: Vec<(u64, u32, u32)> = Vec::new();
        let mut names = String::new();
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            let mut fields = line.split_ascii_whitespace();
            if let (Some(address), Some("t" | "T" | "w" | "W"), Some(name)) =
                (fields.next(), fields.next(), fields.next())
                && !PADDING.iter().any(|prefix| name.starts_with(prefix))
                && let Ok(address) = u64::from_str_radix(address, 16)
            {
                found.push((address, names.len() as u32, name.len() as u32));
                names.push_str(name);
            }
            line.clear();
        }
        Ok(Self::sorted(found, &names))
    }

    fn sorted(mut found: Vec<(u64, u32, u32)>, unsorted: &str) -> Self {
        found.sort_by_key(|(address, ..)| *address);
        let mut symbols = Self::default();
        symbols.addresses.reserve_exact(found.len());
        symbols.offsets.reserve_exact(found.len() + 1);
        symbols.names.reserve_exact(unsorted.len());
        for (address, at, length) in found {
            symbols.addresses.push(address);
            symbols.offsets.push(symbols.names.len() as u32);
            symbols
                .names
                .push_str(&unsorted[at as usize..(at + length) as usize]);
        }
        symbols.offsets.push(symbols.names.len() as u32);
        symbols
    }

    /// Does the kernel hide its addresses (`kernel.kptr_restrict`)? Then there are no names.
    #[must_use]
    pub(crate) fn hidden(&self) -> bool {
        self.addresses.last().is_none_or(|last| *last == 0)
    }

    /// Name of the function that holds an address.
    #[must_use]
    pub(crate) fn name(&self, address: u64) -> Option<&str> {
        let index = self
            .addresses
            .partition_point(|begin| *begin <= address)
            .checked_sub(1)?;
        if self.hidden() {
            return None;
        }
        let name = &self.names[self.offsets[index] as usize..self.offsets[index + 1] as usize];
        // Beyond the kernel's own text lie programs that were loaded after the table was read, the tracer's among them.
        (!END_OF_TEXT.contains(&name)).then_some(name)
    }

    /// The name, or the address if there is none.
    #[must_use]
    pub(crate) fn display(&self, address: u64) -> String {
        self.name(address)
            .map_or_else(|| format!("{address:#x}"), str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "ffffffff81000100 T second\nffffffff81000000 t first [ext4]\nffffffff82000000 D data\n";

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = KernelSymbols::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(symbols.name(0xffff_ffff_8100_00ff), Some("first"));
        assert_eq!(symbols.name(0xffff_ffff_8100_0100), Some("second"));
        assert_eq!(symbols.name(1), None);
        assert_eq!(symbols.display(1), "0x1");
    }

    #[test]
    fn hidden_addresses_give_no_names() {
        let symbols = KernelSymbols::parse(
            "0000000000000000 T first\n0000000000000000 T second\n".as_bytes(),
        )
        .unwrap();
        assert!(symbols.hidden());
        assert_eq!(symbols.name(0), None);
    }

    #[test]
    fn the_first_function_tells_whether_there_are_addresses() {
        const OFFSETS: &str = "0000000000000000 A fixed_percpu_data\n0000000000001000 d gdt_page\n";
        let has = |functions: &str| has_addresses(format!("{OFFSETS}{functions}").as_bytes());
        assert!(has(TEXT));
        assert!(!has(
            "0000000000000000 T _text\n0000000000000000 t ep_poll\n"
        ));
        assert!(!has("(null) T _text\n") && !has(""));
    }
}
