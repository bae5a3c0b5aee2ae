//! Memory of another process, read without stopping it.

/// Fills `into` from the memory of a process at `address`; `None` unless all of it can be read.
pub(super) fn peek(pid: u32, address: u64, into: &mut [u8]) -> Option<()> {
    let length = into.len();
    let here = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: length,
    };
    let there = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: length,
    };
    // SAFETY: `here` is ours and as long as it says; the kernel checks `there`.
    let read = unsafe { libc::process_vm_readv(pid as libc::pid_t, &here, 1, &there, 1, 0) };
    (read == length as isize).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_memory_is_read_and_an_address_of_nothing_is_none() {
        let (pid, text) = (std::process::id(), *b"memory");
        let mut copy = [0; 6];
        assert_eq!(peek(pid, text.as_ptr() as u64, &mut copy), Some(()));
        assert_eq!(copy, text);
        assert_eq!(peek(pid, 8, &mut copy), None);
    }
}
