//! One file for each subcommand: it turns arguments into settings, and runs the command.

mod attach;
mod diagnostics;
mod diff;
mod doctor;
mod fold;
mod man;
mod output;
mod privileges;
mod recorder;
mod report;
mod screen;
mod target;
mod top;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};

use crate::{
    cli::{Cli, Command},
    kernel::load::Unsupported,
    machine::{capability, priority},
};

/// Exit codes, which `tracer man` lists.
mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const UNSUPPORTED: u8 = 3;
    pub(crate) const NO_TARGET: u8 = 4;
}

/// A usage error that clap cannot see, such as the pid of a kernel thread.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

/// There is no such process.
#[derive(Debug)]
pub(crate) struct NoTarget(pub(crate) String);

macro_rules! plain_error {
    ($($name:ident),+) => {$(
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::error::Error for $name {}
    )+};
}
plain_error!(Usage, NoTarget);

/// Runs the command line.
#[must_use]
pub fn main() -> ExitCode {
    capability::gain_nothing();
    // Before the command line is parsed: parsing reads much of the program from a disk that may be busy.
    if std::env::args_os().any(|word| word == "attach" || word == "top") {
        priority::first();
    }
    let cli = Cli::parse();
    diagnostics::begin(cli.verbose);
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            diagnostics::say(&format!("{error:#}"));
            ExitCode::from(code_of(&error))
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        code::USAGE
    } else if error.is::<Unsupported>() {
        code::UNSUPPORTED
    } else if error.is::<NoTarget>() {
        code::NO_TARGET
    } else {
        code::FAILED
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Attach(args) => attach::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Top(args) => top::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions { shell } => {
            // Written to a pipe that nobody reads any more, it would panic.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tracer", &mut script);
            output::stdout(&script)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut page = Vec::new();
            man::write(&mut page)?;
            output::stdout(&page)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
