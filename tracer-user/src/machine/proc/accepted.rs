//! Unix streams that a process accepted (`unix(7)`).

use std::{
    mem,
    os::fd::{AsRawFd, RawFd},
};

use super::exists;

/// Is it a connected Unix stream with a name? A socket that was accepted has that of its listener. The end that connected seldom has one.
pub(super) fn is_accepted_unix(socket: &impl AsRawFd) -> bool {
    let fd = socket.as_raw_fd();
    let is = |name, value| option(fd, name) == Some(value);
    is(libc::SO_DOMAIN, libc::AF_UNIX)
        && is(libc::SO_TYPE, libc::SOCK_STREAM)
        && is(libc::SO_ACCEPTCONN, 0)
        && has_name(fd)
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

fn has_name(fd: RawFd) -> bool {
    // SAFETY: a number and bytes, for which zeros are valid.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    let mut length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `address`, and their number into `length`.
    let failed = unsafe { libc::getsockname(fd, (&raw mut address).cast(), &raw mut length) };
    // A socket without a name has a family alone.
    failed == 0 && length as usize > size_of::<libc::sa_family_t>()
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
        let name = format!("tracer-accepted-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let asking = UnixStream::connect_addr(&name).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(is_accepted_unix(&accepted));
        assert_eq!(peer_pid(&accepted), Some(std::process::id()));
        assert!(!is_accepted_unix(&listener) && !is_accepted_unix(&asking));
        assert!(!is_accepted_unix(&UnixStream::pair().unwrap().0));
        assert!(!is_accepted_unix(
            &TcpListener::bind(("127.0.0.1", 0)).unwrap()
        ));
    }
}
