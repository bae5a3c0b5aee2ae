//! Running other programs: errors name what was being done, and root is asked for only where it is needed.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// A build that takes no longer has nothing to do.
const MOMENT: Duration = Duration::from_secs(1);
/// Time between two lines on a build that goes on.
const STILL: Duration = Duration::from_secs(10);

/// Says what is going on, on stderr; stdout belongs to the programs that are run.
pub fn say(text: &str) {
    eprintln!("xtask: {text}");
}

/// Runs to the end with our own stdout and stderr. `doing` completes the sentence "could not …".
pub fn run(command: &mut Command, doing: &str) -> Result<()> {
    let status = command
        .status()
        .with_context(|| could_not_start(command, doing))?;
    if !status.success() {
        bail!(
            "could not {doing}: `{}` ended with {status}",
            shown(command)
        );
    }
    Ok(())
}

/// Runs a build to the end. One that takes longer than a moment is named, and again every few seconds. Cargo's own lines may be
/// minutes apart.
///
/// # Errors
/// If it does not start, or fails.
pub fn build(command: &mut Command, what: &str) -> Result<()> {
    let (stop, stopped) = mpsc::channel::<()>();
    let progress = move || {
        let began = Instant::now();
        let mut next = MOMENT;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(next) {
            let elapsed = began.elapsed().as_secs();
            say(&match next {
                MOMENT => format!("building {what} …"),
                _ => format!("building {what}, {elapsed} s so far …"),
            });
            next = STILL;
        }
    };
    thread::scope(|scope| {
        scope.spawn(progress);
        let built = run(command, &format!("build {what}"));
        drop(stop);
        built
    })
}

/// Runs to the end and returns what it wrote to stdout.
pub fn output(command: &mut Command, doing: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| could_not_start(command, doing))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "could not {doing}: `{}` ended with {}: {}",
            shown(command),
            output.status,
            said.trim()
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("could not {doing}: the output is not text"))
}

/// Whether it runs and succeeds; shows nothing.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The cargo that runs us, in the workspace, with the same target directory.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(paths::workspace())
        .env("CARGO_TARGET_DIR", paths::target());
    // Variables that cargo and rustup set for this package would mark a nested cargo's own packages as changed.
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// A command that runs as root: as it is when we are root, else through sudo.
pub fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let sudo = find("sudo").context("could not become root: install sudo, or run this as root")?;
    let mut command = Command::new(sudo);
    command.arg(program);
    Ok(command)
}

/// Whether we are root.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// The program of this name on PATH, or where only root's PATH would find it.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The message for a command that did not start. `doing` completes the sentence "could not …".
pub fn could_not_start(command: &Command, doing: &str) -> String {
    format!(
        "could not {doing}: `{}` did not start",
        command.get_program().display()
    )
}

fn shown(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
