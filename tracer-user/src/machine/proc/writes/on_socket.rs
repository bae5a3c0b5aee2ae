//! Threads that sleep in a send or connect on a Unix socket, and whose socket that goes to.

use std::{
    cell::OnceCell,
    ffi::CString,
    fs::File,
    mem,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
};

use super::Place;
use crate::machine::proc::{
    accepted::{as_text, is_accepted_unix, is_unix, name},
    hearing::function,
    peek::peek,
    process_descriptor,
    system_call::SystemCall,
    unanswered::copied,
    unix::Listed,
};

/// Length of the family in front of an address.
const FAMILY: usize = size_of::<libc::sa_family_t>();

/// Where a thread sends, or connects to, on a socket of its process.
pub(super) fn on_socket(
    (pid, tid): (u32, u32),
    (fd, inode): (u64, u64),
    call: &SystemCall,
    sockets: &OnceCell<Option<Listed>>,
) -> Option<Place> {
    let peer = unix_socket(pid, u32::try_from(fd).ok()?, inode)?;
    let to = destination(pid, call)?;
    let known = || sockets.get_or_init(|| Listed::of(pid)).as_ref();
    if to.is_empty() {
        // Without the list the other end may be the target's own.
        return Some(Place::socket(peer.name, known()?.other_end(inode)));
    }
    // In a full buffer of its own may stand what another one does not read.
    if function(pid, tid) != "unix_wait_for_peer" {
        return None;
    }
    let connects = call.number == libc::SYS_connect;
    let bound = || known()?.bound(file(pid, &to)?, connects);
    Some(Place::socket(as_text(&to), bound()))
}

/// Its peer, as far as the socket itself knows it; `None` if it is no Unix socket, or one whose peer is a client: who does not take an
/// answer is not asked for one. The copy of the socket is closed at once. What comes next may hang in the memory of the process, and as
/// long as there is a copy, nobody notices that the process closes its own.
fn unix_socket(pid: u32, fd: u32, inode: u64) -> Option<Place> {
    let copy = copied(pid, &process_descriptor(pid)?, fd)?;
    let asks = copy.inode == inode && is_unix(&copy.stream) && !is_accepted_unix(&copy.stream);
    asks.then(|| Place::socket(name(&copy.stream), None))
}

/// The name to which a call sends or connects, as it lies behind the family of an address; empty if it is the peer's. `None` if it cannot
/// be read.
fn destination(pid: u32, call: &SystemCall) -> Option<Vec<u8>> {
    let [_, second, third, _, fifth, sixth] = call.arguments;
    let (address, length) = match call.number {
        libc::SYS_connect => (second, third),
        libc::SYS_sendto => (fifth, sixth),
        libc::SYS_sendmsg => {
            // `struct msghdr` begins with the address, and has its length behind it.
            let (mut address, mut length) = ([0; 8], [0; 4]);
            peek(pid, second, &mut address)?;
            peek(pid, second + 8, &mut length)?;
            let length = u32::from_ne_bytes(length);
            (u64::from_ne_bytes(address), length.into())
        }
        _ => (0, 0),
    };
    let length = (length & 0xffff_ffff) as usize;
    let mut bytes = vec![0; length.min(size_of::<libc::sockaddr_un>())];
    if address == 0 || bytes.len() <= FAMILY {
        return Some(Vec::new());
    }
    peek(pid, address, &mut bytes)?;
    Some(bytes.split_off(FAMILY))
}

/// Device and inode of the file that a socket is bound to, where the process finds it by this path: links on the way lead from its own
/// root (`openat2(2)`, 5.6 and later).
fn file(pid: u32, name: &[u8]) -> Option<(u64, u64)> {
    let path = as_text(name).filter(|path| path.starts_with('/'))?;
    let text = CString::new(path).ok()?;
    let mut options = File::options();
    let root = options.read(true).custom_flags(libc::O_PATH);
    let root = root.open(format!("/proc/{pid}/root")).ok()?;
    // SAFETY: numbers, for which zeros are valid.
    let mut how: libc::open_how = unsafe { mem::zeroed() };
    how.flags = (libc::O_PATH | libc::O_CLOEXEC) as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    let (path, length) = (text.as_ptr(), size_of_val(&how));
    let how = &raw const how;
    // SAFETY: a text that ends with a zero, and numbers of this length; the descriptor that it returns is ours.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, root.as_raw_fd(), path, how, length) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the descriptor is open, and nothing else owns it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let file = file.metadata().ok()?;
    Some((file.dev(), file.ino()))
}
