//! Dumps over netlink(7).

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// Length of `struct nlmsghdr`, bytes.
const HEAD: usize = 16;
/// At least as much as the kernel puts into one answer of a dump.
const ANSWER_BYTES: usize = 64 * 1024;

/// Asks a protocol (`NETLINK_ROUTE`, …) for all objects of a kind; the request has this body behind its header. The bodies of the
/// answers go to `each`.
///
/// # Errors
/// If the kernel refuses, or its answer is no netlink message.
pub(crate) fn dump(
    protocol: i32,
    kind: u16,
    body: &[u8],
    each: impl FnMut(&[u8]),
) -> io::Result<()> {
    dump_through(&open(protocol)?, kind, body, each)
}

/// A socket through which to ask a protocol. It stays in the network namespace of the thread that calls.
///
/// # Errors
/// If the kernel does not know the protocol.
pub(super) fn open(protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers; the descriptor that it returns is ours.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            protocol,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Asks through such a socket; see [`dump`].
///
/// # Errors
/// If the kernel refuses, or its answer is no netlink message.
pub(super) fn dump_through(
    socket: &OwnedFd,
    kind: u16,
    body: &[u8],
    mut each: impl FnMut(&[u8]),
) -> io::Result<()> {
    let request = request(kind, body);
    // SAFETY: the buffer has the length that is passed.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        )
    };
    if sent < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut answer = vec![0_u8; ANSWER_BYTES];
    loop {
        // SAFETY: the buffer has the length that is passed. The kernel began its answer before `send` returned, so this never
        // blocks.
        let length = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                answer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
        if length == 0 || !read(&answer[..length], &mut each)? {
            return Ok(());
        }
    }
}

fn request(kind: u16, body: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend(((HEAD + body.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // Sequence number and port.
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Takes the messages of one answer; is there more to come?
fn read(mut messages: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (word(messages, 0), half(messages, 4)) {
        let length = length as usize;
        let body = messages
            .get(HEAD..length)
            .ok_or(io::ErrorKind::InvalidData)?;
        match i32::from(kind) {
            libc::NLMSG_DONE => return refusal(body).map_or(Ok(false), Err),
            libc::NLMSG_ERROR => {
                return Err(refusal(body).unwrap_or_else(|| io::ErrorKind::InvalidData.into()));
            }
            _ => each(body),
        }
        messages = messages
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(true)
}

/// The error that a message begins with; `None` if it is none. The end of a dump has one, too: a protocol that is there, but cannot list
/// what was asked for (`inet_diag` without `tcp_diag`), begins a dump and ends it so.
fn refusal(body: &[u8]) -> Option<io::Error> {
    let error = word(body, 0)?.cast_signed();
    (error < 0).then(|| io::Error::from_raw_os_error(error.saturating_neg()))
}

/// Kinds and values of the attributes (`struct nlattr`) in these bytes, up to one that is cut.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(half(bytes, 0)?), half(bytes, 2)?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The number in four bytes from `at` on.
pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_at_every_length() {
        let mut answer = request(7, &[1, 2, 3, 4]);
        answer.extend(request(libc::NLMSG_DONE as u16, &[]));
        let mut bodies = Vec::new();
        assert!(!read(&answer, &mut |body: &[u8]| bodies.push(body.to_vec())).unwrap());
        assert_eq!(bodies, [[1, 2, 3, 4]]);
        for length in 0..answer.len() {
            let _ = read(&answer[..length], &mut |_: &[u8]| {});
        }
        assert!(read(&answer[..18], &mut |_: &[u8]| {}).is_err(), "cut");
    }

    #[test]
    fn a_refusal_is_an_error() {
        let refusal = request(libc::NLMSG_ERROR as u16, &(-libc::EPERM).to_ne_bytes());
        let error = read(&refusal, &mut |_: &[u8]| {}).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_dump_that_ends_with_an_error_lists_nothing_and_is_no_empty_list() {
        let end = |error: i32| {
            let end = request(libc::NLMSG_DONE as u16, &error.to_ne_bytes());
            read(&end, &mut |_: &[u8]| {})
        };
        let error = end(-libc::ENOENT).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        assert!(!end(0).unwrap());
    }

    #[test]
    fn attributes_are_read_at_every_length() {
        let bytes = [7, 0, 1, 0, b't', b'b', b'f', 0, 4, 0, 2, 0];
        let all: Vec<(u16, &[u8])> = attributes(&bytes).collect();
        assert_eq!(all, [(1, &b"tbf"[..]), (2, &[])]);
        for length in 0..bytes.len() {
            assert!(attributes(&bytes[..length]).count() <= 1);
        }
        assert_eq!(attributes(&[0; 8]).count(), 0, "shorter than its head");
    }
}
