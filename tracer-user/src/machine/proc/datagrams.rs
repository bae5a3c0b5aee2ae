//! Threads that sleep until the one peer of a UDP socket sends something: they wait for its answer.

use std::collections::HashMap;

use tracer_common::tcp::{QUESTION_DATAGRAM, QUESTION_LISTENS};

use super::{descriptors::Descriptors, socket::Line, system_call::each_call};
use crate::event::Question;

/// The questions for whose answers threads of a process sleep, and for nothing else. Nobody knows when they were asked. `sockets` are those
/// of its UDP sockets that have one peer, by inode.
pub(super) fn awaited(pid: u32, sockets: &HashMap<u64, Line>) -> Vec<Question> {
    let Some(descriptors) = Descriptors::of(pid) else {
        return Vec::new();
    };
    let mut asked = Vec::new();
    each_call(pid, |tid, line| {
        let sleeper = descriptors.sleeper(tid, line);
        if let Some([inode]) = sleeper.as_ref().map(|sleeper| &sleeper.inodes[..])
            && let Some(socket) = sockets.get(inode)
        {
            asked.push(question((pid, tid), socket));
        }
    });
    asked
}

fn question((pid, tid): (u32, u32), socket: &Line) -> Question {
    Question {
        pid,
        tid,
        local: socket.local.to_string(),
        remote: socket.remote.to_string(),
        flags: QUESTION_DATAGRAM | QUESTION_LISTENS,
        ..Question::default()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::UdpSocket,
        sync::mpsc::channel,
        thread,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::machine::proc::sockets;

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn who_sleeps_until_a_peer_answers_is_found_and_who_takes_datagrams_of_all_is_not() {
        let bind = || UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (server, client) = (bind(), bind());
        let address = server.local_addr().unwrap();
        client.connect(address).unwrap();
        let (sender, receiver) = channel();
        let copy = client.try_clone().unwrap();
        thread::spawn(move || {
            // SAFETY: no arguments.
            sender.send(unsafe { libc::gettid() } as u32).unwrap();
            let _ = copy.recv(&mut [0]);
        });
        let serves = server.try_clone().unwrap();
        thread::spawn(move || _ = serves.recv_from(&mut [0]));
        let tid = receiver.recv().unwrap();
        let until = Instant::now() + LONG;
        let found = loop {
            assert!(Instant::now() < until, "no thread was seen to wait");
            let own = [std::process::id()];
            let all = sockets(&own, &own).questions;
            let to_it = |found: &&Question| found.remote == address.to_string();
            if let Some(found) = all.iter().find(to_it) {
                break found.clone();
            }
            thread::yield_now();
        };
        assert_eq!(
            (found.tid, found.local),
            (tid, client.local_addr().unwrap().to_string())
        );
        server.send_to(&[0], client.local_addr().unwrap()).unwrap();
        client.send(&[0]).unwrap();
    }
}
