//! The `tracer` binary: parses the command line, runs the command, turns an error into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracer::cmd::main()
}
