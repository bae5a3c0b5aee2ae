//! What queues on the interfaces of this network namespace: `/sys/class/net`, and one dump over rtnetlink(7).

use std::{
    fs, io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use crate::standing::Interface;

/// `tcmsg.tcm_parent` of what hangs at the root, `TC_H_ROOT` of `linux/pkt_sched.h`.
const ROOT: u32 = u32::MAX;
/// `TCA_KIND` of `linux/rtnetlink.h`.
const KIND: u16 = 1;
/// Length of `nlmsghdr`, and of that with a `tcmsg`, bytes.
const HEAD: usize = 16;
/// As above.
const TC_HEAD: usize = 36;

/// One queueing discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Qdisc {
    ifindex: u32,
    handle: u32,
    parent: u32,
    kind: String,
}

/// The interfaces with their root qdiscs; those of other namespaces are not seen.
#[must_use]
pub fn interfaces() -> Vec<Interface> {
    let qdiscs = dump().unwrap_or_default();
    let entries = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let interface = |entry: fs::DirEntry| {
        let ifindex = fs::read_to_string(entry.path().join("ifindex"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(interface(
            entry.file_name().to_string_lossy().into_owned(),
            ifindex,
            &qdiscs,
        ))
    };
    let mut interfaces: Vec<Interface> = entries.filter_map(interface).collect();
    interfaces.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    interfaces
}

fn interface(name: String, ifindex: u32, qdiscs: &[Qdisc]) -> Interface {
    let mut here = qdiscs.iter().filter(|qdisc| qdisc.ifindex == ifindex);
    let Some(root) = here.clone().find(|qdisc| qdisc.parent == ROOT) else {
        return Interface {
            name,
            ..Interface::default()
        };
    };
    let inner = here.find(|qdisc| root.handle != 0 && qdisc.parent == root.handle | 1);
    Interface {
        name,
        qdisc: root.kind.clone(),
        major: (root.handle >> 16) as u16,
        inner: inner.map(|qdisc| qdisc.kind.clone()).unwrap_or_default(),
    }
}

/// Asks for all qdiscs (`RTM_GETQDISC`).
fn dump() -> io::Result<Vec<Qdisc>> {
    let flags = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers; the descriptor that it returns is ours.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, flags, libc::NETLINK_ROUTE) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut request = [0_u8; TC_HEAD];
    request[..4].copy_from_slice(&(TC_HEAD as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&libc::RTM_GETQDISC.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    // SAFETY: the buffer is as long as is said.
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
    let (mut all, mut buffer) = (Vec::new(), vec![0_u8; 64 * 1024]);
    loop {
        // SAFETY: the buffer is as long as is said. The kernel has begun its answer before `send` returned: this never blocks.
        let length = unsafe {
            libc::recv(
                socket.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
            )
        };
        let Ok(length) = usize::try_from(length) else {
            return Err(io::Error::last_os_error());
        };
        if length == 0 || !read(&buffer[..length], &mut all) {
            return Ok(all);
        }
    }
}

/// Takes the messages of one answer; is there more to come?
fn read(mut messages: &[u8], all: &mut Vec<Qdisc>) -> bool {
    while let Some(length) = word(messages, 0).map(|length| length as usize)
        && (HEAD..=messages.len()).contains(&length)
    {
        let kind = half(messages, 4).map_or(0, i32::from);
        if kind == libc::NLMSG_DONE || kind == libc::NLMSG_ERROR {
            return false;
        }
        all.extend(qdisc(&messages[..length]));
        messages = &messages[length.next_multiple_of(4).min(messages.len())..];
    }
    true
}

fn qdisc(message: &[u8]) -> Option<Qdisc> {
    let mut attributes = message.get(TC_HEAD..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let value = attributes.get(4..usize::from(length))?;
        if kind == KIND {
            return Some(Qdisc {
                ifindex: word(message, HEAD + 4)?,
                handle: word(message, HEAD + 8)?,
                parent: word(message, HEAD + 12)?,
                kind: String::from_utf8_lossy(value)
                    .trim_end_matches('\0')
                    .to_owned(),
            });
        }
        attributes = attributes.get(usize::from(length).next_multiple_of(4)..)?;
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes([bytes[0], bytes[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parent: u32, handle: u32, kind: &str) -> Qdisc {
        Qdisc {
            ifindex: 3,
            handle,
            parent,
            kind: kind.to_owned(),
        }
    }

    #[test]
    fn the_root_and_what_it_holds_are_told_apart() {
        let qdiscs = [
            of(0x8001_0001, 0x000a_0000, "bfifo"),
            of(ROOT, 0x8001_0000, "tbf"),
        ];
        let found = interface("veth".to_owned(), 3, &qdiscs);
        assert_eq!(
            (found.qdisc.as_str(), found.major, found.inner.as_str()),
            ("tbf", 0x8001, "bfifo")
        );
        assert_eq!(interface("lo".to_owned(), 1, &qdiscs).qdisc, "");
    }

    #[test]
    fn a_message_is_read_at_every_length() {
        let mut message = vec![0_u8; TC_HEAD];
        message.extend([8, 0, 1, 0]);
        message.extend(b"tbf\0");
        message[..4].copy_from_slice(&44_u32.to_ne_bytes());
        message[20..24].copy_from_slice(&3_u32.to_ne_bytes());
        message[28..32].copy_from_slice(&ROOT.to_ne_bytes());
        for length in 0..message.len() {
            read(&message[..length], &mut Vec::new());
        }
        let mut all = Vec::new();
        assert!(read(&message, &mut all));
        assert_eq!(all, [of(ROOT, 0, "tbf")]);
    }

    #[test]
    fn the_loopback_is_an_interface_here() {
        assert!(interfaces().iter().any(|interface| interface.name == "lo"));
    }
}
