//! A connection on which a peer may wait for an answer, while it is looked for who hears it.

use std::{net::TcpStream, os::fd::AsRawFd as _};

use super::{
    accepted::peer_pid,
    process_descriptor,
    unanswered::{Copied, Traffic, copied, traffic},
};

/// A connection that nobody is known to hear so far.
pub(super) struct Quiet {
    pub(super) pid: u32,
    fd: u32,
    pub(super) inode: u64,
    /// Own address and the peer's. A Unix stream has none of its own, and for the peer's the process that connected it, if that is known.
    pub(super) ends: (String, String),
    /// The kernel counts nothing on a Unix stream.
    traffic: Option<Traffic>,
    pub(super) since_ns: u64,
    pub(super) unread: bool,
}

impl Quiet {
    /// A Unix stream that a process accepted.
    pub(super) fn of_stream(pid: u32, socket: &Copied) -> Self {
        let client = peer_pid(&socket.stream).map(|pid| pid.to_string());
        Self {
            pid,
            fd: socket.fd,
            inode: socket.inode,
            ends: (String::new(), client.unwrap_or_default()),
            traffic: None,
            since_ns: 0,
            unread: unread_bytes(&socket.stream) > 0,
        }
    }

    /// A TCP connection of a process on which the peer spoke last, at `since_ns`.
    pub(super) fn of_connection(
        pid: u32,
        socket: &Copied,
        ends: (String, String),
        traffic: Traffic,
        since_ns: u64,
    ) -> Self {
        Self {
            pid,
            fd: socket.fd,
            inode: socket.inode,
            ends,
            traffic: Some(traffic),
            since_ns,
            unread: unread_bytes(&socket.stream) > 0,
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.traffic.is_none()
    }

    /// Has nothing been sent or received on it since it was found, as far as that can be seen?
    pub(super) fn is_still(&self) -> bool {
        let is_still = || {
            let process = process_descriptor(self.pid)?;
            let copy = copied(self.pid, &process, self.fd)?;
            let is_it = copy.inode == self.inode;
            let unread = unread_bytes(&copy.stream) > 0;
            let nothing = match self.traffic {
                Some(before) => before.is_still(traffic(&copy.stream)?),
                None => true,
            };
            Some(is_it && nothing && unread == self.unread)
        };
        is_still().unwrap_or(false)
    }
}

/// Bytes that were received and not read (`tcp(7)`).
fn unread_bytes(stream: &TcpStream) -> i32 {
    let mut bytes = 0;
    // SAFETY: the kernel writes one number.
    let failed = unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if failed == 0 { bytes } else { 0 }
}
