//! A program in a terminal of its own, as if somebody had started it there. Only then does a report advise a command that starts it
//! again.

use std::{
    fs::File,
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    ptr,
};

use anyhow::{Result, ensure};

/// The other end of the terminal, which has to stay open, and unread: it is for programs that say little.
pub struct Terminal {
    _keyboard: File,
}

impl Terminal {
    /// Gives the command a terminal for its input and output, in a session of its own.
    ///
    /// # Errors
    /// If there is no terminal to be had.
    pub fn of(command: &mut Command) -> Result<Self> {
        let (mut keyboard, mut screen) = (-1, -1);
        // SAFETY: both numbers outlive the call; nothing else is asked for.
        let made = unsafe {
            libc::openpty(
                &mut keyboard,
                &mut screen,
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
            )
        };
        ensure!(made == 0, "openpty: {}", std::io::Error::last_os_error());
        // SAFETY: openpty has just opened them, and nobody else has them.
        let (keyboard, screen) =
            unsafe { (File::from_raw_fd(keyboard), OwnedFd::from_raw_fd(screen)) };
        command
            .stdin(Stdio::from(screen.try_clone()?))
            .stdout(Stdio::from(screen))
            .stderr(Stdio::null());
        // SAFETY: setsid touches no memory.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                Ok(())
            });
        }
        Ok(Self {
            _keyboard: keyboard,
        })
    }
}
