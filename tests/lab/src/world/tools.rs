//! The system's own programs that the demo uses.

use std::{env, process::Command};

use xtask::command::find;

use super::process::ends_with_us;

/// A command that is looked for on root's PATH too, speaks English, and ends when we end.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    command.env("PATH", path).env("LC_ALL", "C");
    ends_with_us(command, libc::SIGKILL)
}
