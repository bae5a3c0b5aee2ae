//! `cargo xtask check`: format, lints, documentation and the rules of the house, all with warnings denied.

use std::process::Command;

use anyhow::{Result, ensure};
use xtask::{
    build,
    command::{cargo, run as run_command, say},
    setup,
    toolchain::Toolchain,
};

use crate::tidy;

/// The checks to run.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  cargo xtask check\n  cargo xtask check --tidy    only the rules of the house, in a moment"
)]
pub(crate) struct Args {
    /// Only the rules of the house
    #[arg(long)]
    tidy: bool,
}

/// The crates that run on this machine, in cargo's words.
const HOST_CRATES: [&str; 3] = ["--workspace", "--exclude", "tracer-ebpf"];

/// Runs every check even when an earlier one failed, and fails when one did.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.tidy {
        return tidy::run();
    }
    let toolchain = setup::build_tools()?;
    setup::lint_tools(&toolchain)?;
    // The user half does not compile without the object of the kernel half.
    build::kernel_half(&toolchain)?;
    let checks = [
        ("rules of the house", tidy::run()),
        ("format", format()),
        ("lints of the host crates", clippy()),
        ("lints of the kernel half", kernel_half(&toolchain)),
        ("documentation", documentation()),
    ];
    let mut failed = Vec::new();
    for (name, outcome) in checks {
        if let Err(error) = outcome {
            say(&format!("{name}: {error:#}"));
            failed.push(name);
        }
    }
    ensure!(failed.is_empty(), "checks failed: {}", failed.join(", "));
    say("all checks passed");
    Ok(())
}

fn format() -> Result<()> {
    run_command(
        cargo().args(["fmt", "--all", "--check"]),
        "find the format in order: run `cargo fmt`",
    )
}

fn clippy() -> Result<()> {
    let mut clippy = cargo();
    clippy.arg("clippy").args(HOST_CRATES).args([
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]);
    run_command(&mut clippy, "find the host crates free of warnings")
}

/// Clippy must be of exactly the compiler that builds `core`; without one, the compiler's own warnings are denied.
fn kernel_half(toolchain: &Toolchain) -> Result<()> {
    let mut command: Command;
    if let Some(driver) = toolchain.compiler.clippy() {
        command = toolchain.cargo("check");
        // This is how cargo-clippy itself passes arguments on; it would look for the driver beside the wrong compiler.
        command.env("RUSTC_WORKSPACE_WRAPPER", driver);
        command.env(
            "CLIPPY_ARGS",
            "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__",
        );
    } else {
        say(&format!(
            "no clippy for rustc {}: only its own warnings are checked in the kernel half",
            toolchain.compiler.version
        ));
        command = toolchain.cargo("rustc");
        command.args(["--", "-D", "warnings"]);
    }
    run_command(&mut command, "find the kernel half free of warnings")
}

fn documentation() -> Result<()> {
    let mut doc = cargo();
    doc.arg("doc")
        .args(HOST_CRATES)
        .args(["--no-deps", "--document-private-items", "--quiet"]);
    run_command(
        doc.env("RUSTDOCFLAGS", "-D warnings"),
        "find the documentation in order",
    )
}
