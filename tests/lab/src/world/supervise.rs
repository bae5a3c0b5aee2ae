//! Plays the scenes in a process of their own, and cleans up after it however it ends.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use xtask::command::say;

use super::{ledger::Lock, process::ends_with_us};

/// The player's pid while it runs, else 0.
static PLAYER: AtomicU32 = AtomicU32::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// A shell's exit status for a program that Ctrl-C ended.
const INTERRUPTED_STATUS: i32 = 130;

/// Starts this program anew with `--supervised` and waits; returns the status to exit with.
pub(crate) fn supervise(scratch: &Path) -> Result<i32> {
    // Before the lock is taken: Ctrl-C must not leave an earlier demo's things half removed.
    ctrlc::set_handler(interrupt).context("could not watch for Ctrl-C")?;
    let lock = Lock::take()?;
    let status = super::sweep(scratch).and_then(|()| play());
    if INTERRUPTED.load(Ordering::SeqCst) {
        say("interrupted: cleaning up");
    }
    if !matches!(status, Ok(Some(_))) {
        // Programs that the player had just started die with it, but not in the same instant.
        thread::sleep(Duration::from_millis(200));
    }
    lock.release()?;
    let status = if INTERRUPTED.load(Ordering::SeqCst) {
        Some(INTERRUPTED_STATUS)
    } else {
        status?
    };
    Ok(status.unwrap_or(1))
}

/// The player's exit status; `None` where a signal ended it.
fn play() -> Result<Option<i32>> {
    let this = std::env::current_exe().context("could not find this program")?;
    let mut player = Command::new(this);
    player.args(std::env::args_os().skip(1)).arg("--supervised");
    let mut player = ends_with_us(player, libc::SIGKILL)
        .spawn()
        .context("could not start the demo's player")?;
    PLAYER.store(player.id(), Ordering::SeqCst);
    if INTERRUPTED.load(Ordering::SeqCst) {
        // The signal came before its handler knew the player.
        player.kill().context("could not end the demo's player")?;
    }
    let ended = wait(&player);
    // The handler must not use the number any more: `player.wait` gives it back, and it may become another process's.
    PLAYER.store(0, Ordering::SeqCst);
    let status = player
        .wait()
        .context("could not wait for the demo's player")?;
    ended.map(|()| status.code())
}

/// Waits for the end of a child without giving its number back to the kernel.
fn wait(child: &std::process::Child) -> Result<()> {
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the kernel writes one siginfo_t, for which there is room.
        let result = unsafe {
            libc::waitid(
                libc::P_PID,
                child.id(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::WNOWAIT,
            )
        };
        let error = std::io::Error::last_os_error();
        match (result, error.kind()) {
            (0, _) => return Ok(()),
            (_, std::io::ErrorKind::Interrupted) => {}
            _ => return Err(error).context("could not wait for the demo's player"),
        }
    }
}

/// SIGINT, SIGTERM and SIGHUP: ends the player. The process that waits for it removes the player's things.
fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
    if let Ok(player @ 1..) = libc::pid_t::try_from(PLAYER.load(Ordering::SeqCst)) {
        // SAFETY: kill touches no memory; the number is our child's until it is reaped, which is after it was cleared.
        unsafe { libc::kill(player, libc::SIGKILL) };
    }
}
