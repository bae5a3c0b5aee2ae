//! Unix sockets (`unix(7)`): streams that a process accepted, and the names of both ends.

use std::{
    mem,
    os::fd::{AsRawFd, RawFd},
};

use super::exists;

/// Is it a connected Unix stream with a name? A socket that was accepted has that of its listener. The end that connected seldom has one.
pub(super) fn is_accepted_unix(socket: &impl AsRawFd) -> bool {
    let fd = socket.as_raw_fd();
    let is = |name, value| option(fd, name) == Some(value);
    is_unix(socket)
        && is(libc::SO_TYPE, libc::SOCK_STREAM)
        && is(libc::SO_ACCEPTCONN, 0)
        && address(fd, libc::getsockname).is_some_and(|name| !name.is_empty())
}

/// Is it a Unix socket?
pub(super) fn is_unix(socket: &impl AsRawFd) -> bool {
    option(socket.as_raw_fd(), libc::SO_DOMAIN) == Some(libc::AF_UNIX)
}

/// The name of a Unix socket that has a peer: that of the peer, or its own, whichever listened. `None` if neither has one.
pub(super) fn name(socket: &impl AsRawFd) -> Option<String> {
    let get = |of: GetAddress| as_text(&address(socket.as_raw_fd(), of)?);
    get(libc::getpeername).or_else(|| get(libc::getsockname))
}

/// A path, or `@` and an abstract name, from the bytes behind the family of an address.
pub(super) fn as_text(name: &[u8]) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match name {
        [] => None,
        [0, name @ ..] => Some(format!("@{}", text(name))),
        // The kernel appends a zero.
        path => path.split(|byte| *byte == 0).next().map(text),
    }
}

/// The process that connected such a stream, as it was then; `None` if it is no more.
pub(super) fn peer_pid(socket: &impl AsRawFd) -> Option<u32> {
    // SAFETY: three numbers, for which zeros are valid.
    let mut peer: libc::ucred = unsafe { mem::zeroed() };
    let mut length = size_of_val(&peer) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `peer`, and their number into `length`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    let pid = u32::try_from(peer.pid).ok().filter(|_| failed == 0)?;
    (pid != 0 && exists(pid)).then_some(pid)
}

/// An option of a socket that is one number.
fn option(fd: RawFd, name: libc::c_int) -> Option<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, and their number into `length`.
    let failed = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    (failed == 0).then_some(value)
}

/// `getsockname(2)` or `getpeername(2)`.
type GetAddress =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

/// The address of a Unix socket, or of its peer, behind the family; empty for one without a name. `None` if there is no peer.
fn address(fd: RawFd, get: GetAddress) -> Option<Vec<u8>> {
    // SAFETY: a number and bytes, for which zeros are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `address`, and their number into `length`.
    let failed = unsafe { get(fd, (&raw mut address).cast(), &raw mut length) };
    let named = (length as usize).min(size_of_val(&address));
    let named = named.checked_sub(size_of::<libc::sa_family_t>())?;
    let path = address.sun_path.get(..named)?;
    (failed == 0).then(|| path.iter().map(|byte| *byte as u8).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        net::TcpListener,
        os::{
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener, UnixStream},
        },
    };

    use super::*;

    #[test]
    fn only_the_end_that_a_listener_accepted_is_accepted() {
        let place = format!("tracer-accepted-{}", std::process::id());
        let place = SocketAddr::from_abstract_name(place).unwrap();
        let listener = UnixListener::bind_addr(&place).unwrap();
        let asking = UnixStream::connect_addr(&place).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(is_accepted_unix(&accepted));
        let text = format!("@tracer-accepted-{}", std::process::id());
        assert_eq!(name(&asking), Some(text.clone()));
        assert_eq!(name(&accepted), Some(text));
        assert_eq!(peer_pid(&accepted), Some(std::process::id()));
        assert!(!is_accepted_unix(&listener) && !is_accepted_unix(&asking));
        let pair = UnixStream::pair().unwrap();
        assert!(!is_accepted_unix(&pair.0) && is_unix(&pair.0));
        assert_eq!(name(&pair.0), None);
        assert!(!is_accepted_unix(
            &TcpListener::bind(("127.0.0.1", 0)).unwrap()
        ));
    }

    #[test]
    fn a_name_ends_with_a_zero_or_begins_with_one() {
        assert_eq!(as_text(b""), None);
        assert_eq!(as_text(b"/run/log\0"), Some("/run/log".to_owned()));
        assert_eq!(as_text(b"\0log"), Some("@log".to_owned()));
    }
}
