//! Finds the processes of this machine that the target asks, so that their waits are recorded, too.
//!
//! Nothing is looked up until the target uses a connection of its own making whose other end is on this machine; then one look into
//! `/proc`, beside the loop that reads.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc::{Receiver, Sender, channel},
};

use super::proc;
use crate::event::{Event, OpenSocket};

/// Processes followed at most: each costs as much as a target of its size.
const MOST_FOLLOWED: usize = 8;

/// Connections to one address that are looked up: workers that do not share a listening socket are found by different ones.
const MOST_LOOKS: u32 = 4;

/// A process to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub pid: u32,
    /// Who asks it.
    pub by_pid: u32,
    /// The port on which it is asked.
    pub port: u32,
}

/// Whom the target asks.
pub struct Asked {
    /// Targets, and who is followed already.
    known: HashSet<u32>,
    followed: usize,
    /// Ports at which they are asked themselves: connections there are not of their making.
    serving: HashSet<u32>,
    /// Looks at each address.
    looks: HashMap<String, u32>,
    found: (Sender<Found>, Receiver<Found>),
}

impl Asked {
    /// Nobody yet; `targets` listen on `ports`.
    #[must_use]
    pub fn new(targets: &[u32], ports: &[u32]) -> Self {
        let own = [std::process::id()];
        Self {
            known: targets.iter().copied().chain(own).collect(),
            followed: 0,
            serving: ports.iter().copied().collect(),
            looks: HashMap::new(),
            found: channel(),
        }
    }

    /// Connections that were open at attach.
    pub fn see_open(&mut self, sockets: &[OpenSocket]) {
        for socket in sockets {
            self.look(socket.pid, socket.local_port, &socket.local, &socket.remote);
        }
    }

    /// Connections used since, and children of targets.
    pub fn see(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::Socket(e) => self.look(e.pid, e.local_port, &e.local, &e.remote),
                Event::Fork(fork) if fork.target => _ = self.known.insert(fork.pid),
                _ => {}
            }
        }
    }

    /// Begins to look for the other end, unless that is known well enough.
    fn look(&mut self, by_pid: u32, local_port: u32, local: &str, remote: &str) {
        if self.followed >= MOST_FOLLOWED
            || self.serving.contains(&local_port)
            || !proc::is_local(local, remote)
        {
            return;
        }
        let looks = self.looks.entry(remote.to_owned()).or_default();
        if *looks >= MOST_LOOKS {
            return;
        }
        *looks += 1;
        let (sender, local, remote) = (self.found.0.clone(), local.to_owned(), remote.to_owned());
        std::thread::spawn(move || {
            let port = remote.rsplit(':').next().and_then(|port| port.parse().ok());
            let peers = proc::peers_of(by_pid, &local, &remote).unwrap_or_default();
            let Some(port) = port else { return };
            for pid in peers.into_iter().take(MOST_FOLLOWED) {
                // Nobody listens any more once the trace is over.
                let _ = sender.send(Found { pid, by_pid, port });
            }
        });
    }

    /// Who was found since, and is to be followed from now on.
    pub fn take(&mut self) -> Vec<Found> {
        let mut new = Vec::new();
        while let Ok(found) = self.found.1.try_recv() {
            if self.followed < MOST_FOLLOWED && self.known.insert(found.pid) {
                self.followed += 1;
                self.serving.insert(found.port);
                new.push(found);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn wait_for(asked: &mut Asked) -> Vec<Found> {
        let found = asked.found.1.recv().unwrap();
        asked.found.0.send(found).unwrap();
        asked.take()
    }

    #[test]
    fn who_answers_on_a_connection_of_the_targets_making_is_followed_once() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = u32::from(client.peer_addr().unwrap().port());
        let own = std::process::id();
        let socket = OpenSocket {
            pid: own,
            local: client.local_addr().unwrap().to_string(),
            local_port: client.local_addr().unwrap().port().into(),
            remote: client.peer_addr().unwrap().to_string(),
            unread_bytes: 0,
        };
        // As if this process were not the tracer itself.
        let mut asked = Asked::new(&[], &[]);
        asked.known.clear();
        asked.see_open(std::slice::from_ref(&socket));
        assert_eq!(
            wait_for(&mut asked),
            [Found {
                pid: own,
                by_pid: own,
                port
            }]
        );
        asked.see_open(std::slice::from_ref(&socket));
        assert_eq!(wait_for(&mut asked), []);
    }

    #[test]
    fn clients_and_servers_elsewhere_are_not_looked_for() {
        let mut asked = Asked::new(&[100], &[80]);
        asked.look(100, 80, "127.0.0.1:80", "127.0.0.1:40000");
        asked.look(100, 40_000, "10.0.0.1:40000", "10.0.0.5:5432");
        assert!(asked.looks.is_empty());
    }
}
