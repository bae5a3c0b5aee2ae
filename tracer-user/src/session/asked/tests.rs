//! Whom the search finds, and whom it does not look at.

use std::{
    net::{TcpListener, TcpStream},
    os::linux::net::SocketAddrExt as _,
};

use tracer_common::tcp::QUESTION_DATAGRAM;

use super::*;
use crate::event::{Opened, Socket};

fn wait_for(asked: &mut Asked) -> Vec<Found> {
    loop {
        // A look may have sent all its results, and not be over yet.
        asked.go_and_look();
        let soon = Duration::from_millis(20);
        if let Ok(found) = asked.found.1.recv_timeout(soon) {
            asked.found.0.send(found).unwrap();
            return asked.take();
        }
    }
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
    assert_eq!(wait_for(&mut asked), [Found::new(own, own, Way::Tcp(port))]);
    asked.see_open(std::slice::from_ref(&socket));
    assert_eq!(wait_for(&mut asked), []);
}

#[test]
fn who_has_thousands_of_connections_has_few_of_them_looked_at() {
    let mut asked = Asked::new(&[std::process::id()], &[]);
    for port in 1..=1000 {
        let remote = format!("127.0.0.1:{port}");
        asked.look(u32::MAX, 1, "127.0.0.1:1", &remote);
    }
    assert_eq!(asked.looks.len(), MOST_ADDRESSES);
}

#[test]
fn who_answers_over_a_unix_socket_is_followed_once_it_wakes_the_target() {
    let name = format!("tracer-follow-{}", std::process::id());
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let listener = std::os::unix::net::UnixListener::bind_addr(&name).unwrap();
    let _asking = std::os::unix::net::UnixStream::connect_addr(&name).unwrap();
    let accepted = std::os::fd::OwnedFd::from(listener.accept().unwrap().0);
    let mut server = std::process::Command::new("sleep");
    let mut server = server.arg("60").stdin(accepted).spawn().unwrap();
    let own = std::process::id();
    let mut asked = Asked::new(&[own], &[]);
    let wait = Wait {
        pid: own,
        waker_pid: server.id(),
        ..Wait::default()
    };
    asked.see(&[Event::Wait(wait.clone()), Event::Wait(wait)], false);
    assert_eq!(asked.wakers[&server.id()], 1, "one look at a time");
    let found = wait_for(&mut asked);
    server.kill().unwrap();
    server.wait().unwrap();
    let expected = Found::new(server.id(), own, Way::Unix);
    assert_eq!(found, [expected]);
}

#[test]
fn who_wakes_the_target_over_no_unix_socket_is_not_followed() {
    let mut asked = Asked::new(&[100], &[]);
    let woken = |waker_pid, flags| {
        let (pid, waker_pid) = (100, waker_pid);
        Event::Wait(Wait {
            pid,
            waker_pid,
            flags,
            ..Wait::default()
        })
    };
    asked.see(
        &[woken(0, 0), woken(100, 0), woken(7, WAIT_NO_WAKER)],
        false,
    );
    assert!(asked.wakers.is_empty());
}

#[test]
fn who_listens_is_looked_for_where_a_connect_stays_without_an_answer() {
    let mut asked = Asked::new(&[100], &[]);
    let question = |socket, flags, remote: &str| {
        Event::Question(Question {
            socket,
            pid: u32::MAX,
            local: "127.0.0.1:0".to_owned(),
            remote: remote.to_owned(),
            flags,
            ..Question::default()
        })
    };
    let answered = [
        question(1, 0, "127.0.0.1:9"),
        question(1, QUESTION_OVER, "127.0.0.1:9"),
    ];
    asked.see(&answered, false);
    let open = [question(2, 0, "127.0.0.1:9"), question(3, 0, "10.0.0.5:9")];
    asked.see(&open, false);
    assert!(asked.looks.is_empty());
    for _ in 0..2 {
        asked.see(&[], false);
        assert_eq!(asked.looks["127.0.0.1:9"], 1);
    }
}

#[test]
fn who_answers_datagrams_is_looked_for_and_who_only_takes_them_is_not() {
    let mut asked = Asked::new(&[100], &[]);
    let datagram = |socket, flags, remote: &str| {
        Event::Question(Question {
            socket,
            pid: u32::MAX,
            local: "127.0.0.1:40000".to_owned(),
            remote: remote.to_owned(),
            flags: QUESTION_DATAGRAM | flags,
            ..Question::default()
        })
    };
    let sent = [
        datagram(1, 0, "127.0.0.1:8125"),
        datagram(2, 0, "127.0.0.53:53"),
        datagram(3, 0, "127.0.0.1:9999"),
        datagram(3, QUESTION_OVER, "127.0.0.1:9999"),
    ];
    asked.see(&sent, false);
    asked.see(&[], false);
    let mut looked_at: Vec<&str> = asked.looks.keys().map(String::as_str).collect();
    looked_at.sort_unstable();
    assert_eq!(looked_at, ["127.0.0.1:9999", "127.0.0.53:53"]);
}

#[test]
fn who_is_seen_not_to_read_is_followed_if_nobody_else_can() {
    let mut reader = std::process::Command::new("sleep");
    let mut reader = reader.arg("60").spawn().unwrap();
    let own = std::process::id();
    let seen = |readers: &[u32]| {
        Event::WriteSeen(crate::event::WriteSeen {
            ns: 1,
            known_ns: 2,
            pid: own,
            tid: own,
            readers: readers.to_vec(),
            keepers: Vec::new(),
            place: String::new(),
        })
    };
    let mut asked = Asked::new(&[own], &[]);
    asked.see_writes(&[seen(&[]), seen(&[own]), seen(&[reader.id(), 1])]);
    assert!(asked.wakers.is_empty());
    let may_be_seen = may_be_hand(reader.id(), own);
    let found = may_be_seen.then(|| {
        asked.see_writes(&[seen(&[reader.id()])]);
        wait_for(&mut asked)
    });
    reader.kill().unwrap();
    reader.wait().unwrap();
    let Some(found) = found else {
        return eprintln!("SKIP readers: it cannot be told whom a process asks");
    };
    let expected = Found::new(reader.id(), own, Way::Hand);
    assert_eq!(found, [expected]);
}

#[test]
fn clients_and_servers_elsewhere_are_not_looked_for() {
    let mut asked = Asked::new(&[100], &[80]);
    asked.look(100, 80, "127.0.0.1:80", "127.0.0.1:40000");
    asked.look(100, 40_000, "10.0.0.1:40000", "10.0.0.5:5432");
    assert!(asked.looks.is_empty());
}

#[test]
fn who_connects_to_a_port_that_is_new_since_attach_is_not_asked() {
    let opened = |origin| {
        let socket = Socket {
            pid: u32::MAX,
            local: "127.0.0.1:8080".to_owned(),
            local_port: 8080,
            remote: "127.0.0.1:40000".to_owned(),
            ..Socket::default()
        };
        Event::Opened(Opened { socket, origin })
    };
    let mut asked = Asked::new(&[100], &[80]);
    asked.see(&[opened(Origin::Accepted)], false);
    assert!(asked.looks.is_empty());
    asked.see(&[opened(Origin::Connected)], false);
    assert_eq!(asked.looks["127.0.0.1:40000"], 1);
}
