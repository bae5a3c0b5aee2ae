//! Processes of one thread that serve one client of this machine, as those of a database do. What such a process does is for that client.

use std::time::{Duration, Instant};

use super::{
    SmallFiles,
    accepted::{is_accepted_unix, peer_pid},
    hearing::is_small,
    peer::{Connection, clients_of},
    process::stat,
    process_descriptor,
    unanswered::{ends, streams},
};

/// How long they are looked for.
const SEARCH: Duration = Duration::from_millis(300);

/// What is known of the other end.
enum Other {
    Process(u32),
    Ends(Connection),
}

/// Those of these processes that have accepted one connection and no other, and the process at its other end. Those that do something
/// right now come first. `ports` are those on which they listen.
#[must_use]
pub(crate) fn sole_clients(pids: &[u32], ports: &[u32]) -> Vec<(u32, u32)> {
    let until = Instant::now() + SEARCH;
    let (mut found, mut connections) = (Vec::new(), Vec::new());
    for &pid in pids.iter().take_while(|_| Instant::now() < until) {
        match other_end(pid, ports) {
            Some(Other::Process(client)) => found.push((pid, client)),
            Some(Other::Ends(connection)) => connections.push(connection),
            None => {}
        }
    }
    if !connections.is_empty() {
        let clients = connections.iter().zip(clients_of(&connections));
        found.extend(clients.filter_map(|(connection, client)| Some((connection.pid, client?))));
    }
    let mut files = SmallFiles::default();
    found.sort_by_cached_key(|(pid, _)| (sleeps(&mut files, *pid), *pid));
    found
}

/// `None` if the process has no connection that it accepted, or several.
fn other_end(pid: u32, ports: &[u32]) -> Option<Other> {
    let process = process_descriptor(pid).filter(|_| is_small(pid))?;
    let mut found = None;
    for socket in streams(pid, &process) {
        let stream = &socket.stream;
        let other = match is_accepted_unix(stream) {
            true => Other::Process(peer_pid(stream)?),
            false => match ends(stream) {
                Some((local, remote)) if ports.contains(&u32::from(local.port())) => {
                    Other::Ends(Connection {
                        pid,
                        local,
                        remote,
                        is_datagram: false,
                    })
                }
                _ => continue,
            },
        };
        if found.replace(other).is_some() {
            return None;
        }
    }
    found
}

fn sleeps(files: &mut SmallFiles, pid: u32) -> bool {
    stat(files, pid).is_some_and(|stat| stat.state == 'S')
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::{
            fd::OwnedFd,
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener, UnixStream},
        },
        process::{Child, Command},
    };

    use super::*;
    use crate::machine::proc::comm;

    /// A process of one thread with this as its standard input, and this as its error output.
    fn server(connection: OwnedFd, other: Option<OwnedFd>) -> Child {
        let mut server = Command::new("sleep");
        server.arg("60").stdin(connection);
        if let Some(other) = other {
            server.stderr(other);
        }
        server.spawn().unwrap()
    }

    fn found(mut server: Child, ports: &[u32]) -> Vec<u32> {
        // Until it runs its program, it has copies of all that this process has open.
        let runs = || comm(server.id()).as_deref() == Some("sleep");
        while !runs() {
            std::thread::yield_now();
        }
        let found = sole_clients(&[server.id()], ports);
        server.kill().unwrap();
        server.wait().unwrap();
        found.into_iter().map(|(_, client)| client).collect()
    }

    #[test]
    fn who_has_one_connection_works_for_the_process_at_the_other_end() {
        let own = std::process::id();
        let name = SocketAddr::from_abstract_name(format!("tracer-sole-{own}")).unwrap();
        let unix = UnixListener::bind_addr(&name).unwrap();
        let connect = || {
            let asking = UnixStream::connect_addr(&name).unwrap();
            (asking, OwnedFd::from(unix.accept().unwrap().0))
        };
        let (_asking, accepted) = connect();
        assert_eq!(found(server(accepted, None), &[]), [own]);
        let ((_one, first), (_two, second)) = (connect(), connect());
        assert!(found(server(first, Some(second)), &[]).is_empty());
    }

    #[test]
    fn a_connection_on_a_port_on_which_it_listens_is_a_clients_and_another_is_its_own() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let ports = [u32::from(address.port()), 1];
        for (port, clients) in ports.into_iter().zip([vec![std::process::id()], vec![]]) {
            let _asking = TcpStream::connect(address).unwrap();
            let accepted = OwnedFd::from(listener.accept().unwrap().0);
            assert_eq!(found(server(accepted, None), &[port]), clients);
        }
    }
}
