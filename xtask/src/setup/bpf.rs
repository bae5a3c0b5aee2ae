//! The tools for the kernel half: a compiler with the source of its `core`, and a bpf-linker.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use super::apt;
use crate::{
    command::{cargo, find, run, say, succeeds},
    toolchain::{Compiler, LINKER_VERSION, Toolchain, find_linker, linker_root},
};

/// The majors of LLVM that this release of bpf-linker can be built with.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;
/// Longest that rustup may take for one component, in seconds: without a network it can hang.
const RUSTUP_LIMIT: &str = "300";

/// The toolchain of the kernel half; installs it when it is not there.
pub fn build_tools() -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::find() {
        return Ok(toolchain);
    }
    say(
        "the tools for the kernel half are not all there: installing them usually takes two to four minutes, once",
    );
    let by_rustup = rustup_compiler().filter(|compiler| llvm_for(compiler).is_some());
    let compiler = by_rustup.map_or_else(debian_compiler, Ok)?;
    say(&format!(
        "rustc {} with LLVM {} will build the kernel half",
        compiler.version, compiler.llvm
    ));
    let linker = find_linker(&compiler).map_or_else(|| install_linker(&compiler), Ok)?;
    Ok(Toolchain { compiler, linker })
}

/// Route A: the compiler that cargo uses anyway, with the source added by rustup.
fn rustup_compiler() -> Option<Compiler> {
    let active = Compiler::active().ok()?;
    if active.has_core_source() {
        return Some(active);
    }
    find("rustup")?;
    say(&format!(
        "installing the source of the core library for rustc {} by rustup",
        active.version
    ));
    let mut rustup = Command::new("timeout");
    if !succeeds(rustup.args([RUSTUP_LIMIT, "rustup", "component", "add", "rust-src"])) {
        say("rustup cannot add it here: Debian's compiler will build the kernel half");
    }
    active.has_core_source().then_some(active)
}

/// Route B: Debian's compiler and the source that matches it.
fn debian_compiler() -> Result<Compiler> {
    // `rustc-web` is the newer compiler that Debian carries for browsers; plain `rustc` is years older.
    apt::install(
        &["rustc-web", "rust-web-src"],
        "a compiler with the source of its core library",
    )?;
    Compiler::debian().filter(Compiler::has_core_source).context(
        "could not find a compiler with the source of its core library: run `rustup component add rust-src`, \
         or install Debian's rustc-web and rust-web-src",
    )
}

/// The major of LLVM to build bpf-linker with: the compiler's own, or the next one that Debian has.
fn llvm_for(compiler: &Compiler) -> Option<u32> {
    let known = || {
        LINKER_LLVM
            .filter(|llvm| *llvm >= compiler.llvm)
            .find(|llvm| apt::is_known(&dev_package(*llvm)))
    };
    known().or_else(|| apt::refresh().ok().and_then(|()| known()))
}

fn dev_package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// Builds bpf-linker into the target directory.
fn install_linker(compiler: &Compiler) -> Result<PathBuf> {
    let llvm = llvm_for(compiler).with_context(|| {
        format!("could not find LLVM {} or newer for bpf-linker: install a bpf-linker that is linked to it", compiler.llvm)
    })?;
    let (dev, polly) = (dev_package(llvm), format!("libpolly-{llvm}-dev"));
    let mut packages = vec![dev.as_str(), polly.as_str(), "libzstd-dev", "zlib1g-dev"];
    if find("c++").is_none() {
        packages.push("g++");
    }
    apt::install(&packages, "building bpf-linker")?;
    let root = linker_root(llvm);
    say(&format!(
        "building bpf-linker {LINKER_VERSION} into {}: about a minute",
        root.display()
    ));
    let mut install = cargo();
    install
        .args([
            "install",
            "bpf-linker",
            "--locked",
            "--version",
            LINKER_VERSION,
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(&root)
        .env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"))
        // Its build would otherwise lie beside ours, and be kept.
        .env_remove("CARGO_TARGET_DIR");
    run(&mut install, "install bpf-linker")?;
    Ok(root.join("bin/bpf-linker"))
}
