//! The sockets among the descriptors of a process, by the links in `/proc/PID/fd`.
//!
//! A server may have ten thousand descriptors. So the folder is opened once, and each link is looked up there by its number alone: the
//! kernel need not find the process again for each.

use std::{
    fs::File,
    io::Write as _,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
};

use super::numbers_in;

/// Bytes read of a link: more than any has that leads to a socket.
const LONGEST: usize = 32;

/// Bytes of the longest number of a descriptor, and the zero behind it.
const LONGEST_NAME: usize = 11;

/// Inodes of the sockets that a process has open; one may come more than once.
pub(super) fn inodes(pid: u32) -> impl Iterator<Item = u64> + use<> {
    descriptors(pid).map(|(_, inode)| inode)
}

/// The descriptors of a process that are open for sockets, each with the inode of that.
pub(super) fn descriptors(pid: u32) -> impl Iterator<Item = (u32, u64)> + use<> {
    let folder = format!("/proc/{pid}/fd");
    let links = Links::in_folder(&folder);
    numbers_in(&folder).filter_map(move |fd| Some((fd, links.as_ref()?.inode(fd)?)))
}

/// The folder, open.
struct Links(File);

impl Links {
    /// `None` if the process is gone.
    fn in_folder(path: &str) -> Option<Self> {
        let mut options = File::options();
        let folder = options
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
        folder.open(path).ok().map(Self)
    }

    /// Inode of the socket that a descriptor is open for; `None` if that is another file, or closed by now.
    fn inode(&self, fd: u32) -> Option<u64> {
        let (name, mut link) = (name(fd), [0_u8; LONGEST]);
        // SAFETY: the name ends with a zero, and the kernel writes at most as many bytes as there is room for.
        let length = unsafe {
            libc::readlinkat(
                self.0.as_raw_fd(),
                name.as_ptr().cast(),
                link.as_mut_ptr().cast(),
                LONGEST,
            )
        };
        let length = usize::try_from(length).ok()?;
        inode(link.get(..length)?)
    }
}

/// The name of a descriptor's link, with a zero behind it.
fn name(fd: u32) -> [u8; LONGEST_NAME] {
    let mut name = [0; LONGEST_NAME];
    // There is room for every number.
    let _ = write!(&mut name[..], "{fd}");
    name
}

/// The number in `socket:[4711]`.
fn inode(link: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::{fs::MetadataExt as _, net::UnixDatagram},
    };

    use super::*;

    #[test]
    fn only_a_link_to_a_socket_has_the_inode_of_one() {
        assert_eq!(inode(b"socket:[4711]"), Some(4711));
        for other in [
            &b"pipe:[4711]"[..],
            b"/tmp/socket:[1]",
            b"socket:[1",
            b"socket:[]",
            b"",
        ] {
            assert_eq!(inode(other), None, "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn the_name_of_a_descriptor_ends_with_a_zero_however_long_it_is() {
        assert_eq!(&name(0)[..2], b"0\0");
        assert_eq!(name(u32::MAX), *b"4294967295\0");
    }

    #[test]
    fn the_sockets_of_a_process_are_found_among_its_files() {
        let socket = UnixDatagram::unbound().unwrap();
        let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
        let its = fs::metadata(path).unwrap().ino();
        assert!(inodes(std::process::id()).any(|inode| inode == its));
        drop(socket);
        assert!(inodes(std::process::id()).all(|inode| inode != its));
        assert_eq!(inodes(u32::MAX).count(), 0);
    }
}
