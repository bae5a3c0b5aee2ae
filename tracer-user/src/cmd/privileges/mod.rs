//! What the tracer may still do once it traces or reads a recording. From then on it reads what others wrote: the names, arguments and
//! memory of processes, a file from anywhere.

mod calls;

use super::output::Files;
use crate::{
    machine::{
        capability::{Capability, keep_only},
        confine::{self, Allowed},
    },
    new_file::{FOREIGN_FOLDERS, needed_here},
    render::flame,
};

/// What a trace under way needs.
const TRACING: [Capability; 5] = [
    // The maps are read. Up to 5.18 every call of bpf(2) asks for it where `kernel.unprivileged_bpf_disabled` is set.
    Capability::Bpf,
    // In `/proc`, of other users: descriptors, system calls, memory. Copies of their sockets (pidfd_getfd(2)).
    Capability::SysPtrace,
    Capability::DacReadSearch,
    // Kernel stacks in `/proc`, the network namespaces of containers, who writes to a freezer's file, the run time of the tracer's own
    // programs.
    Capability::SysAdmin,
    // The window begins with locking memory, and what is allocated later is locked, too.
    Capability::IpcLock,
];

/// Leaves what a trace under way needs. To be called once everything is attached, and before the trace starts a thread of its own. The
/// thread that writes the recording was there before, and gives up itself what it does not need for the next file.
pub(super) fn to_trace(files: &Files) {
    keep(&TRACING, files);
    filter(&calls::TRACING);
}

/// The same for a trace of all processes, which writes no file but its recording, and what somebody asks for at a screen.
pub(super) fn to_watch(on_screen: bool) {
    keep_at(&TRACING, on_screen);
    filter(match on_screen {
        true => &calls::WATCHING,
        false => &calls::TRACING,
    });
}

/// Leaves what it takes to judge the recordings that are open, and to write these files: they are open, too. Nothing can be opened after
/// this, nor sent anywhere.
pub(super) fn to_report(files: &Files) {
    keep(&[], files);
    if !files.are_open() {
        // A pipe that nobody reads yet is opened by a thread, which must still be allowed to.
        return;
    }
    if files.have_picture()
        && let Err(error) = flame::prepare()
    {
        log::info!("a flame graph may fail: {error:#}");
    }
    filter(&calls::REPORTING);
}

/// The same for a recording that is shown on stdout, or at a screen.
pub(super) fn to_play(on_screen: bool) {
    keep_at(&[], on_screen);
    filter(match on_screen {
        true => &calls::WATCHING,
        false => &calls::REPORTING,
    });
}

fn filter(allowed: &Allowed) {
    if let Err(error) = confine::allow_only(allowed) {
        log::info!("system calls are not confined: {error:#}");
    }
}

fn keep(needed: &[Capability], files: &Files) {
    let mut kept = needed.to_vec();
    // In folders of others files take more.
    if files.are_in_foreign_folders() {
        kept.extend(FOREIGN_FOLDERS);
    }
    keep_these(&kept);
}

/// The same where the only file is the one that somebody may ask for at a screen: it is created in the working directory.
fn keep_at(needed: &[Capability], on_screen: bool) {
    let mut kept = needed.to_vec();
    if on_screen {
        kept.extend(needed_here());
    }
    keep_these(&kept);
}

fn keep_these(kept: &[Capability]) {
    if let Err(error) = keep_only(kept) {
        log::warn!("the tracer keeps all its capabilities: {error}");
    }
}
