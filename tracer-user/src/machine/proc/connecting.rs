//! The threads that wait until somebody answers their connects: in the call itself, or for a descriptor to write to.

use std::collections::HashMap;

use super::{descriptors::Descriptors, system_call::each_call};

/// The thread of a process that waits for the connect of each of these sockets, by their inodes; 0 where it is not known, or not one
/// alone.
pub(super) fn askers(pid: u32, inodes: &[u64]) -> Vec<u32> {
    let mut waiting = vec![Vec::new(); inodes.len()];
    let Some(descriptors) = Descriptors::of(pid) else {
        return vec![0; inodes.len()];
    };
    let places: HashMap<u64, usize> = inodes.iter().copied().zip(0..).collect();
    each_call(pid, |tid, line| {
        let connects = descriptors.connects(line);
        let known = connects.iter();
        let mut its: Vec<usize> = known
            .filter_map(|inode| places.get(inode).copied())
            .collect();
        // A set may have a socket twice, by two descriptors.
        its.sort_unstable();
        its.dedup();
        its.into_iter().for_each(|place| waiting[place].push(tid));
    });
    let alone = |tids: &Vec<u32>| match tids[..] {
        [tid] => tid,
        _ => 0,
    };
    waiting.iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
        sync::mpsc::channel,
        thread,
        time::{Duration, Instant},
    };

    use crate::machine::{clocks::now_ns, proc::sockets};

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn a_connect_that_nobody_answers_is_found_with_the_thread_that_waits_for_it() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        // SAFETY: the call takes no pointers; a second call changes how many connections may wait.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let address = listener.local_addr().unwrap();
        // It is never accepted: there is no room for another one.
        let _waits = TcpStream::connect(address).unwrap();
        let (sender, receiver) = channel();
        let begun = now_ns();
        thread::spawn(move || {
            // SAFETY: no arguments.
            sender.send(unsafe { libc::gettid() } as u32).unwrap();
            let _ = TcpStream::connect_timeout(&address, LONG);
        });
        let tid = receiver.recv().unwrap();
        let until = Instant::now() + LONG;
        let found = loop {
            assert!(Instant::now() < until, "no thread was seen to connect");
            let own = [std::process::id()];
            let all = sockets(&own, &own).questions.into_iter();
            let mut to_it = all.filter(|found| found.remote == address.to_string());
            if let Some(found) = to_it.find(|found| found.tid != 0) {
                break found;
            }
            thread::yield_now();
        };
        assert_eq!((found.pid, found.tid), (std::process::id(), tid));
        // Ticks are no better.
        assert!(found.ns + 100_000_000 >= begun, "{} {begun}", found.ns);
    }
}
