//! The other ends of Unix sockets, from the kernel's `unix_diag` (`sock_diag(7)`). `/proc/net/unix` does not have them.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
};

use super::{
    links::inodes,
    netlink::{self, word},
};

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER` of `include/uapi/linux/unix_diag.h`.
const SHOW: u32 = 1 | 2 | 4;
/// `UNIX_DIAG_NAME`: the attribute of a socket with a name.
const NAME: u16 = 0;
/// `UNIX_DIAG_VFS`: inode and device of the file that it is bound to.
const FILE: u16 = 1;
/// `UNIX_DIAG_PEER`: the inode of the other end.
const PEER: u16 = 2;
/// `1 << TCP_ESTABLISHED`: connected ones.
const CONNECTED: u32 = 1 << 1;
/// Those in any state.
const ANY: u32 = u32::MAX;
/// `TCP_ESTABLISHED` and `TCP_LISTEN` of `include/net/tcp_states.h`.
const IS_CONNECTED: u8 = 1;
const LISTENS: u8 = 10;
/// Length of `struct unix_diag_msg`, bytes.
const HEAD: usize = 16;

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    inode: u64,
    /// `SOCK_STREAM` and the like.
    kind: u8,
    state: u8,
    /// Inode of the other end; 0 if there is none, or nobody has accepted it.
    peer: u64,
    /// Does it have a name? An accepted socket has its listener's; the end that connected usually has none.
    named: bool,
    /// The file that it is bound to: its device, as `stat(2)` has it, and the lower half of its inode.
    file: Option<(u64, u32)>,
}

/// All Unix sockets of a network namespace.
pub(super) struct Listed(Vec<Socket>);

impl Listed {
    /// Those in the namespace of a process, which becomes the one of the calling thread; `None` if the kernel does not list them.
    pub(super) fn of(pid: u32) -> Option<Self> {
        enter_namespace(pid).ok()?;
        sockets(ANY).ok().map(Self)
    }

    /// Inode of the other end of the socket with this inode; `None` if there is none, or nobody has accepted it.
    pub(super) fn other_end(&self, inode: u64) -> Option<u64> {
        let socket = self.0.iter().find(|socket| socket.inode == inode)?;
        (socket.peer != 0).then_some(socket.peer)
    }

    /// Inodes of the streams with a name: of those that somebody accepted, for the most part.
    pub(super) fn accepted(&self) -> HashSet<u64> {
        let is_accepted = |socket: &&Socket| {
            socket.named
                && socket.state == IS_CONNECTED
                && i32::from(socket.kind) == libc::SOCK_STREAM
        };
        let accepted = self.0.iter().filter(is_accepted);
        accepted.map(|socket| socket.inode).collect()
    }

    /// Inode of the only socket that is bound to a file, given by its device and inode, and takes connections there, or datagrams.
    pub(super) fn bound(&self, (device, inode): (u64, u64), connections: bool) -> Option<u64> {
        let file = Some((device, inode as u32));
        let takes = |socket: &&Socket| match connections {
            _ if socket.file != file => false,
            true => socket.state == LISTENS,
            false => i32::from(socket.kind) == libc::SOCK_DGRAM,
        };
        let mut there = self.0.iter().filter(takes);
        match (there.next(), there.next()) {
            (Some(only), None) => Some(only.inode),
            _ => None,
        }
    }
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
    enter_namespace(asking)?;
    let streams = sockets(CONNECTED)?;
    let named = streams.iter().filter(|stream| stream.named);
    let named: HashSet<u64> = named.map(|stream| stream.inode).collect();
    let is_accepted = |stream: &&Socket| {
        stream.named && accepted.contains(&stream.inode) && !named.contains(&stream.peer)
    };
    let peers = streams.iter().filter(is_accepted);
    let peers: HashSet<u64> = peers.map(|stream| stream.peer).collect();
    // Of the one that asks, a server with ten thousand descriptors, they are read only if somebody connected.
    Ok(!peers.is_empty() && inodes(asking).any(|inode| peers.contains(&inode)))
}

/// The kernel lists the sockets of the caller's network namespace only.
///
/// # Errors
/// If the process is gone, or its namespace may not be entered.
pub(super) fn enter_namespace(pid: u32) -> io::Result<()> {
    if is_in_namespace(pid)? {
        return Ok(());
    }
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    // SAFETY: the descriptor is open, and the call changes this thread only.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Is the calling thread in the network namespace of a process?
///
/// # Errors
/// If the process is gone.
pub(super) fn is_in_namespace(pid: u32) -> io::Result<bool> {
    let theirs = fs::read_link(format!("/proc/{pid}/ns/net"))?;
    Ok(theirs == fs::read_link("/proc/thread-self/ns/net")?)
}

/// The Unix sockets of this network namespace that are in these states.
fn sockets(states: u32) -> io::Result<Vec<Socket>> {
    // `struct unix_diag_req`: family, protocol, padding; states, inode (any), attributes to show, cookie (any).
    let mut request = vec![libc::AF_UNIX as u8, 0, 0, 0];
    for word in [states, 0, SHOW, u32::MAX, u32::MAX] {
        request.extend(word.to_ne_bytes());
    }
    let mut all = Vec::new();
    netlink::dump(
        libc::NETLINK_SOCK_DIAG,
        SOCK_DIAG_BY_FAMILY,
        &request,
        |body| all.extend(socket(body)),
    )?;
    Ok(all)
}

/// One `struct unix_diag_msg` with its attributes.
fn socket(body: &[u8]) -> Option<Socket> {
    let mut socket = Socket {
        inode: word(body, 4)?.into(),
        kind: *body.get(1)?,
        state: *body.get(2)?,
        peer: 0,
        named: false,
        file: None,
    };
    for (kind, value) in netlink::attributes(body.get(HEAD..)?) {
        match kind {
            NAME => socket.named = true,
            FILE => socket.file = Some((device(word(value, 4)?), word(value, 0)?)),
            PEER => socket.peer = word(value, 0)?.into(),
            _ => {}
        }
    }
    Some(socket)
}

/// A device as `stat(2)` has it, from the number that the kernel uses inside.
fn device(dev: u32) -> u64 {
    libc::makedev(dev >> 20, dev & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use std::os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt as _,
        unix::{
            fs::MetadataExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
        },
    };

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u64 {
        let file = format!("/proc/self/fd/{}", socket.as_raw_fd());
        fs::metadata(file).unwrap().ino()
    }

    fn all() -> Listed {
        Listed::of(std::process::id()).unwrap()
    }

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

    #[test]
    fn an_end_of_a_socket_leads_to_the_other_one_once_that_is_accepted() {
        let (here, there) = UnixStream::pair().unwrap();
        assert_eq!(all().other_end(inode(&here)), Some(inode(&there)));
        let name = format!("tracer-unix-end-{}", std::process::id());
        let name = SocketAddr::from_abstract_name(name).unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        let asking = UnixStream::connect_addr(&name).unwrap();
        assert_eq!(all().other_end(inode(&asking)), None);
        let (accepted, _) = listener.accept().unwrap();
        assert_eq!(all().other_end(inode(&asking)), Some(inode(&accepted)));
        let is_accepted = [inode(&accepted), inode(&asking), inode(&listener)]
            .map(|inode| all().accepted().contains(&inode));
        assert_eq!(is_accepted, [true, false, false]);
        assert_eq!(all().other_end(inode(&listener)), None);
    }

    #[test]
    fn who_takes_datagrams_or_connections_at_a_path_is_found_by_the_file() {
        // Where a file system is in layers, its sockets have other numbers than the kernel's: then nobody is found.
        let in_memory = std::path::Path::new("/dev/shm");
        let is_in_memory = in_memory.is_dir();
        let dir = match is_in_memory {
            true => in_memory.to_owned(),
            false => std::env::temp_dir(),
        };
        let path = |kind: &str| dir.join(format!("tracer-unix-{kind}-{}", std::process::id()));
        let (log, service) = (path("log"), path("service"));
        let takes = UnixDatagram::bind(&log).unwrap();
        let listener = UnixListener::bind(&service).unwrap();
        let _asking = UnixStream::connect(&service).unwrap();
        // It has the file of its listener.
        let _accepted = listener.accept().unwrap();
        let file = |path| {
            fs::metadata(path)
                .map(|file| (file.dev(), file.ino()))
                .unwrap()
        };
        let found = [
            (&log, false),
            (&log, true),
            (&service, true),
            (&service, false),
        ]
        .map(|(path, connections)| all().bound(file(path), connections));
        let expected = [Some(inode(&takes)), None, Some(inode(&listener)), None];
        fs::remove_file(log).unwrap();
        fs::remove_file(service).unwrap();
        if is_in_memory || found != [None; 4] {
            assert_eq!(found, expected);
        }
    }
}
