//! Signals that stop a process: the sender.

use crate::{plain, record::Header};

/// The first signal that stops: `SIGSTOP`. The numbers are those of x86 and ARM.
pub const FIRST_STOP: u32 = 19;
/// `SIGTSTP`: Ctrl-Z, or a process that sends it.
pub const TERMINAL_STOP: u32 = 20;
/// The last signal that stops: `SIGTTOU`, after `SIGTTIN`. A process in the background used its terminal.
pub const LAST_STOP: u32 = 22;

/// The kernel sent the signal, and no process: `current` used the terminal, or handed on what was typed.
pub const SIGNAL_BY_KERNEL: u32 = 1;

/// A signal that stops was sent to a target.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Signal {
    /// `ns` is the time of the event.
    pub header: Header,
    /// Process that gets it.
    pub pid: u32,
    /// Its thread that was chosen to be woken.
    pub tid: u32,
    /// Process of `current`.
    pub sender_pid: u32,
    /// Thread of `current`.
    pub sender_tid: u32,
    /// Number of the signal.
    pub number: u32,
    /// `SIGNAL_*` bits.
    pub flags: u32,
}

plain!(Signal = 40);
