//! The other ends of Unix streams, from the kernel's `unix_diag` (`sock_diag(7)`). `/proc/net/unix` does not have them.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
};

use super::{
    netlink::{self, word},
    socket::inodes,
};

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_PEER` of `include/uapi/linux/unix_diag.h`.
const SHOW_NAME_AND_PEER: u32 = 1 | 4;
/// `UNIX_DIAG_NAME`: the attribute of a socket with a name.
const NAME: u16 = 0;
/// `UNIX_DIAG_PEER`: the inode of the other end.
const PEER: u16 = 2;
/// `1 << TCP_ESTABLISHED`: connected ones.
const CONNECTED: u32 = 1 << 1;
/// Length of `struct unix_diag_msg`, bytes.
const HEAD: usize = 16;

/// A connected socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stream {
    inode: u64,
    /// Inode of the other end; 0 if that is closed.
    peer: u64,
    /// Does it have a name? An accepted socket has its listener's; the end that connected usually has none.
    named: bool,
}

/// Does `asking` have a connection that it made itself to a Unix socket on which `answering` answers? The call does not see a
/// connection that was closed a moment ago. It changes the network namespace of the calling thread to that of `asking`.
///
/// # Errors
/// If the kernel does not list the sockets.
pub(crate) fn asks_over_unix(asking: u32, answering: u32) -> io::Result<bool> {
    let accepted: HashSet<u64> = inodes(answering).collect();
    if accepted.is_empty() {
        return Ok(false);
    }
    let connected: HashSet<u64> = inodes(asking).collect();
    enter_namespace(asking)?;
    let streams = streams()?;
    let named = |inode| {
        let of = |stream: &&Stream| stream.inode == inode;
        streams
            .iter()
            .find(of)
            .is_some_and(|stream: &Stream| stream.named)
    };
    Ok(streams.iter().any(|stream| {
        stream.named
            && accepted.contains(&stream.inode)
            && connected.contains(&stream.peer)
            && !named(stream.peer)
    }))
}

/// The kernel lists the sockets of the caller's network namespace only.
fn enter_namespace(pid: u32) -> io::Result<()> {
    let theirs = format!("/proc/{pid}/ns/net");
    if fs::read_link(&theirs)? == fs::read_link("/proc/thread-self/ns/net")? {
        return Ok(());
    }
    let namespace = File::open(theirs)?;
    // SAFETY: the descriptor is open, and the call changes this thread only.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// All connected Unix sockets of this network namespace.
fn streams() -> io::Result<Vec<Stream>> {
    // `struct unix_diag_req`: family, protocol, padding; states, inode (any), attributes to show, cookie (any).
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [CONNECTED, 0, SHOW_NAME_AND_PEER, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let mut all = Vec::new();
    netlink::dump(
        libc::NETLINK_SOCK_DIAG,
        SOCK_DIAG_BY_FAMILY,
        &request,
        |body| all.extend(stream(body)),
    )?;
    Ok(all)
}

/// One `struct unix_diag_msg` with its attributes.
fn stream(body: &[u8]) -> Option<Stream> {
    let mut stream = Stream {
        inode: word(body, 4)?.into(),
        peer: 0,
        named: false,
    };
    for (kind, value) in netlink::attributes(body.get(HEAD..)?) {
        match kind {
            NAME => stream.named = true,
            PEER => stream.peer = word(value, 0)?.into(),
            _ => {}
        }
    }
    Some(stream)
}

#[cfg(test)]
mod tests {
    use std::os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    };

    use super::*;

    #[test]
    fn who_accepted_on_a_name_answers_and_a_pair_has_no_server() {
        let own = std::process::id();
        let _pair = UnixStream::pair().unwrap();
        assert!(!asks_over_unix(own, own).unwrap());
        let name = SocketAddr::from_abstract_name(format!("tracer-unix-{own}")).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let _asking = UnixStream::connect_addr(&name).unwrap();
        // The other end has no inode before it is accepted.
        assert!(!asks_over_unix(own, own).unwrap());
        let accepted = listener.accept().unwrap();
        assert!(asks_over_unix(own, own).unwrap());
        drop(accepted);
        assert!(!asks_over_unix(own, own).unwrap());
    }
}
