//! A program in a terminal of its own, as if somebody had started it there. Only then does a report advise a command that starts it
//! again, and only there is a live screen.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Command, Stdio},
    ptr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// How long a program may take to write what it is to write. Attaching takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The other end of the terminal, which has to stay open. It may stay unread if the program says little.
pub struct Terminal {
    keyboard: File,
    /// The program's end: its state can be asked for after the program has ended.
    _screen: OwnedFd,
    /// What was read so far.
    seen: String,
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
        let own = screen.try_clone()?;
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
            keyboard,
            _screen: own,
            seen: String::new(),
        })
    }

    /// Sets the size.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn resize(&self, columns: u16, lines: u16) -> Result<()> {
        let size = libc::winsize {
            ws_row: lines,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // SAFETY: one valid structure to be read.
        let set =
            unsafe { libc::ioctl(self.keyboard.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
        ensure!(set == 0, "TIOCSWINSZ: {}", std::io::Error::last_os_error());
        Ok(())
    }

    /// Is each key given to the program at once, and shown by nobody else? Before and after a screen it is not so.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn is_raw(&self) -> Result<bool> {
        // SAFETY: all bytes zero are a valid value of this structure of integers.
        let mut state: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: one valid structure to be written.
        let asked = unsafe { libc::tcgetattr(self.keyboard.as_raw_fd(), &raw mut state) };
        ensure!(asked == 0, "tcgetattr: {}", std::io::Error::last_os_error());
        Ok(state.c_lflag & (libc::ICANON | libc::ECHO) == 0)
    }

    /// Presses keys.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        let pressed = self.keyboard.write_all(keys.as_bytes());
        pressed.context("the terminal is gone")
    }

    /// Reads until the program has written this since the last call. Between two words it may move the cursor.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_for(&mut self, text: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            if let Some(at) = self.seen.find(text) {
                drop(self.seen.drain(..at + text.len()));
                return Ok(());
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            ensure!(!left.is_zero(), "no `{text}` in {:?}", self.seen);
            let mut asked = libc::pollfd {
                fd: self.keyboard.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one valid entry.
            let is_there = unsafe { libc::poll(&raw mut asked, 1, left.as_millis() as i32) } > 0;
            let mut bytes = [0; 4096];
            if is_there {
                match self.keyboard.read(&mut bytes) {
                    Ok(length) if length > 0 => {
                        self.seen
                            .push_str(&String::from_utf8_lossy(&bytes[..length]));
                    }
                    // Nobody has the other end any more.
                    _ => bail!("no `{text}` before the end, but {:?}", self.seen),
                }
            }
        }
    }
}
