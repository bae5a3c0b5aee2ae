//! `cargo xtask build`: one statically linked file with the kernel half inside.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    command::{build as run_build, cargo, say},
    paths, setup,
    toolchain::{Compiler, Toolchain},
};

/// The parts to build.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Build the kernel half only
    #[arg(long)]
    ebpf_only: bool,
}

/// Builds what was asked for.
pub fn run(args: &Args) -> Result<()> {
    let toolchain = setup::build_tools()?;
    kernel_half(&toolchain)?;
    if !args.ebpf_only {
        user_half()?;
        say(&format!("built {}", paths::tracer().display()));
    }
    Ok(())
}

/// Builds the eBPF object.
pub fn kernel_half(toolchain: &Toolchain) -> Result<()> {
    run_build(&mut toolchain.cargo("build"), "the kernel half")
}

/// Builds the lab, for this machine and guests that see its root file system, and returns where it is.
///
/// # Errors
/// If it does not compile.
pub fn lab() -> Result<PathBuf> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--package", "tracer-lab"]);
    run_build(&mut build, "the lab")?;
    Ok(paths::target().join("debug/tracer-lab"))
}

/// Builds the programs that scenes are played with.
///
/// # Errors
/// If they do not compile.
pub fn scene_programs() -> Result<()> {
    let programs = ["--package", "tracer-tests", "--bins"];
    release(&programs, "the programs of the scenes")
}

/// Builds the program that plays a day for the bench.
///
/// # Errors
/// If it does not compile.
pub fn day() -> Result<()> {
    let program = ["--package", "tracer-lab", "--bin", "bench-day"];
    release(&program, "the day of the bench")
}

/// Builds programs as fast as a release is.
fn release(programs: &[&str], what: &str) -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--quiet", "--release"]).args(programs);
    run_build(&mut build, what)
}

/// Builds the binary around the eBPF object and puts it where people look for it.
fn user_half() -> Result<()> {
    place(&static_binary("tracer", "tracer")?, &paths::tracer())
}

/// Builds the program that shows in a guest whether the tracer sees known workloads; `None` when the tree has none.
pub fn guest_smoke() -> Result<Option<PathBuf>> {
    let source = paths::workspace().join("tests/src/bin/guest_smoke.rs");
    source
        .exists()
        .then(|| static_binary("tracer-tests", "tracer-guest-smoke"))
        .transpose()
}

/// Builds a binary that runs on any machine of this architecture, and returns where it is.
fn static_binary(package: &str, binary: &str) -> Result<PathBuf> {
    let triple = Compiler::active()?.host;
    // With a target named, the flags are for the binary alone: procedural macros cannot be linked statically.
    let mut build = cargo();
    build
        .args([
            "build",
            "--release",
            "--package",
            package,
            "--bin",
            binary,
            "--target",
            &triple,
        ])
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run_build(&mut build, binary)?;
    let built = paths::target().join(triple).join("release").join(binary);
    let bytes = fs::read(&built).with_context(|| format!("could not read {}", built.display()))?;
    ensure!(
        is_static(&bytes),
        "{} asks for a dynamic loader: it was meant to be one static file",
        built.display()
    );
    Ok(built)
}

/// Puts `from` at `to` in one step: nobody ever sees half a file. Cargo's own file stays as it is.
fn place(from: &Path, to: &Path) -> Result<()> {
    let beside = to.with_extension("new");
    let placing = || -> std::io::Result<()> {
        fs::create_dir_all(to.parent().unwrap_or(Path::new(".")))?;
        let _absent = fs::remove_file(&beside);
        fs::hard_link(from, &beside).or_else(|_| fs::copy(from, &beside).map(drop))?;
        fs::rename(&beside, to)?;
        // Renaming one name of a file over another name of the same file does nothing at all.
        let _gone = fs::remove_file(&beside);
        Ok(())
    };
    placing().with_context(|| format!("could not put the binary at {}", to.display()))
}

/// Whether a 64-bit little-endian ELF file names no dynamic loader.
///
/// Layout: ELF-64 object file format, version 1.5: `e_phoff` at byte 32, `e_phentsize` at 54, `e_phnum` at 56. A program header
/// begins with its type, and PT_INTERP is 3.
pub fn is_static(elf: &[u8]) -> bool {
    let number = |at: usize, len: usize| {
        let bytes = elf.get(at..at + len)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let read = || Some((number(32, 8)?, number(54, 2)?, number(56, 2)?));
    let Some((table, size, count)) = read().filter(|_| elf.starts_with(b"\x7fELF\x02\x01")) else {
        return false;
    };
    (0..count).all(|i| number(table + i * size, 4).is_some_and(|kind| kind != 3))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header and one program header of this type.
    fn elf(kind: u8) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (bytes[32], bytes[54], bytes[56], bytes[64]) = (64, 56, 1, kind);
        bytes
    }

    #[test]
    fn a_file_with_an_interpreter_is_not_static() {
        assert!(is_static(&elf(1)));
        assert!(!is_static(&elf(3)));
        assert!(!is_static(&elf(1)[..64]), "cut short");
        assert!(!is_static(b"#!/bin/sh"));
    }
}
