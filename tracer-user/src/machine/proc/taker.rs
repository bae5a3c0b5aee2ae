//! The process that takes the packets of an interface which software made (tun), from the description of its descriptor.
//!
//! It sends them on by sockets of its own, as a VPN does. One that takes whole Ethernet frames (tap) is left out: it gives them to a
//! virtual machine.

use std::{fs, path::Path};

use super::{SmallFiles, numbers_in, socket::namespace};

/// The device of which such a process has a descriptor.
const DEVICE: &str = "/dev/net/tun";
/// `IFF_TUN` of `linux/if_tun.h`.
const TUN: u32 = 1;

/// The process that takes the packets of this interface of a network namespace. `None` if there is none, or several that cannot be told
/// apart, or the interface is not in the tracer's own namespace.
#[must_use]
pub(crate) fn taker(interface: &str, netns: u32) -> Option<u32> {
    let flags = fs::read_to_string(format!("/sys/class/net/{interface}/tun_flags")).ok()?;
    let own = namespace(std::process::id())?;
    if own != u64::from(netns) || flags_of(&flags)? & TUN == 0 {
        return None;
    }
    let mut files = SmallFiles::default();
    let mut found: Vec<u32> = numbers_in("/proc").collect();
    found.retain(|pid| takes(&mut files, *pid, interface));
    if found.len() > 1 {
        found.retain(|pid| namespace(*pid) == Some(own));
    }
    match found[..] {
        [pid] => Some(pid),
        _ => None,
    }
}

/// Has a process a descriptor of this interface?
fn takes(files: &mut SmallFiles, pid: u32, interface: &str) -> bool {
    numbers_in(&format!("/proc/{pid}/fd")).any(|descriptor| {
        let path = fs::read_link(format!("/proc/{pid}/fd/{descriptor}"));
        path.is_ok_and(|path| path == Path::new(DEVICE))
            && files
                .read(format_args!("/proc/{pid}/fdinfo/{descriptor}"))
                .is_some_and(|info| is_of(&String::from_utf8_lossy(info), interface))
    })
}

/// Does a description have the line `iff:` with this name (`tun_chr_show_fdinfo`)?
fn is_of(info: &str, interface: &str) -> bool {
    let mut names = info.lines().filter_map(|line| line.strip_prefix("iff:"));
    names.any(|name| name.trim() == interface)
}

/// `0x1001`
fn flags_of(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_of_the_interface_that_its_description_names() {
        let info = "pos:\t0\nflags:\t0104002\nmnt_id:\t26\nino:\t1\niff:\ttun0\n";
        assert!(is_of(info, "tun0"));
        assert!(!is_of(info, "tun"));
        assert!(!is_of("pos:\t0\n", "tun0"));
        assert_eq!(flags_of("0x1001\n"), Some(0x1001));
        assert_eq!(flags_of("1001"), None);
    }

    #[test]
    fn an_interface_that_no_process_made_has_no_taker() {
        let own = namespace(std::process::id()).unwrap();
        assert_eq!(taker("lo", own as u32), None);
        assert_eq!(taker("no such interface", own as u32), None);
    }
}
