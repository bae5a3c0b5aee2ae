//! Clients of this machine, for which the target reads its disk.

use super::*;
use crate::model::books::{Asker, ProcessId, Served};

/// Processes that ask: a backup and somebody else.
pub(crate) const DUMP: u32 = 600;
pub(crate) const SHOP: u32 = 601;
/// Threads of the target, one a connection, and its connections.
pub(crate) const LOOKUP: u32 = 110;
pub(crate) const SECOND: u32 = 111;
pub(crate) const COPY: u32 = 112;
const PORT: u32 = 80;

/// A connection that the target accepted; with the process that asks there, if that was found.
pub(crate) fn accepted(socket: u64, remote: &str, client: Option<u32>, ms: u64) -> Vec<Event> {
    let met = Event::Socket(event::Socket {
        ns: at(ms),
        socket,
        pid: SERVER,
        local: "127.0.0.1:80".to_owned(),
        local_port: PORT,
        remote: remote.to_owned(),
    });
    let found = client.map(|client_pid| {
        Event::Client(event::Client {
            ns: at(ms),
            socket,
            pid: SERVER,
            client_pid,
        })
    });
    [met].into_iter().chain(found).collect()
}

pub(crate) fn client(pid: u32, comm: &str, parent_pid: u32) -> Event {
    Event::Process(event::Process {
        pid,
        parent_pid,
        pgid: pid,
        sid: pid,
        start_ns: u64::from(pid),
        cmdline: format!("{comm} --all"),
        ..process(pid, comm)
    })
}

/// A read of a thread of the target.
pub(crate) fn own_read(tid: u32, queue: u64, end: u64, bytes: u32) -> Event {
    Event::Io(Io {
        tid,
        ..io(SERVER, queue, end, bytes)
    })
}

/// For ten seconds two connections ask for a row of 4 KiB each every 100 ms. A row takes 1 ms alone. It takes 41 ms behind the
/// megabyte that is read for the third connection at that time. The third connection's client asked once, and gets its data piece
/// by piece.
pub(crate) fn dump(clients: [Option<u32>; 3], remotes: [&str; 3]) -> Vec<Event> {
    let mut events = vec![client(DUMP, "pg_dump", 0), client(SHOP, "shop", 0)];
    let threads = [LOOKUP, SECOND, COPY];
    for (socket, tid) in (1..).zip(threads) {
        events.extend(running(tid));
        let index = socket as usize - 1;
        events.extend(accepted(socket, remotes[index], clients[index], 1));
    }
    events.extend((0..8).map(|i| own_read(LOOKUP, 10 + 2 * i, 11 + 2 * i, 4096)));
    events.push(receive(COPY, 3, 50, 50));
    for turn in 0..99 {
        let begin = 100 + 100 * turn;
        events.push(own_read(COPY, begin, begin + 40, 1 << 20));
        events.push(sleep(COPY, begin, begin + 40, PAGE));
        events.push(send(COPY, 3, begin + 42));
        for (socket, tid) in [(1, LOOKUP), (2, SECOND)] {
            events.push(receive(tid, socket, begin, begin));
            events.push(own_read(tid, begin, begin + 41, 4096));
            events.push(sleep(tid, begin, begin + 41, PAGE));
            events.push(send(tid, socket, begin + 43));
        }
    }
    events.sort_by_key(Event::ns);
    events
}

pub(crate) const HERE: [&str; 3] = ["127.0.0.1:40001", "127.0.0.1:40002", "127.0.0.1:40003"];

/// Time that requests of one client waited behind another's, ms.
fn behind(books: &Books, asker: Asker, client: ProcessId) -> u64 {
    let served = books.bins.iter().flat_map(|bin| &bin.served);
    let of = served.filter(|part: &&Served| part.asker == asker);
    let charges = of.flat_map(|part| &part.charges);
    let behind = charges.filter(|charge| charge.holder == Holder::Client(client));
    behind.map(|charge| charge.ns).sum::<u64>() / MS
}

fn id(books: &Books, pid: u32) -> ProcessId {
    let found = books
        .processes
        .iter()
        .position(|process| process.pid == pid);
    found.unwrap()
}

#[test]
fn what_was_read_for_one_client_is_that_ones_where_anothers_request_waited() {
    let books = books(dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE), 10_000);
    let (shop, dump) = (id(&books, SHOP), id(&books, DUMP));
    // 198 waits of 41 ms, of which 1 ms is their own. The other 40 ms go by demand, 16 KiB and a byte each. The dump has 1 MiB + 16
    // KiB, the other row 20 KiB. The same client asked for that row.
    let expected = 198 * 40 * (1024 + 16) / (1024 + 16 + 20);
    let found = behind(&books, Asker::Process(shop), dump);
    assert!(
        found.abs_diff(expected) < expected / 50,
        "{found} {expected}"
    );
    assert_eq!(behind(&books, Asker::Process(shop), shop), 0);
    // 99 waits of 40 ms: as long as they take alone is not known, so all that others' reads cost.
    let cost = behind(&books, Asker::Process(dump), shop);
    assert!(10 * cost < found, "{cost}");
    // To the target as a whole all of it is its own.
    assert_eq!(
        charged(&books, Resource::Disk, Holder::Own),
        198 * 41 + 99 * 40
    );
    let of_dump = books.bins.iter().flat_map(|bin| &bin.served);
    let of_dump = of_dump.filter(|part| part.asker == Asker::Process(dump));
    let asked: u64 = of_dump.map(|part| part.requests[Class::Disk.index()]).sum();
    assert_eq!(asked, 99 * 40 * MS);
    assert_eq!(books.workers[&dump], [COPY]);
    assert_closed(&books);
}

#[test]
fn who_is_greeted_over_a_unix_socket_asks_all_the_same() {
    // Without addresses, only the asking process is known of such a connection.
    let mut events = dump([Some(SHOP), Some(SHOP), None], HERE);
    events.retain(|event| !matches!(event, Event::Socket(socket) if socket.socket == 3));
    let found = event::Client {
        ns: at(1),
        socket: 3,
        pid: SERVER,
        client_pid: DUMP,
    };
    events.extend([Event::Client(found), send(COPY, 3, 45)]);
    events.sort_by_key(Event::ns);
    let books = books(events, 10_000);
    let (shop, dump) = (id(&books, SHOP), id(&books, DUMP));
    let cost = behind(&books, Asker::Process(shop), dump);
    assert!(cost > 198 * 38, "{cost}");
    assert_closed(&books);
}

#[test]
fn where_the_client_of_either_is_not_known_it_stays_the_targets_own() {
    for clients in [[Some(SHOP), Some(SHOP), None], [None, None, Some(DUMP)]] {
        let books = books(dump(clients, HERE), 10_000);
        let served = books.bins.iter().flat_map(|bin| &bin.served);
        let mut charges = served.flat_map(|part| &part.charges);
        assert!(charges.all(
            |charge| !matches!(charge.holder, Holder::Client(id) if books.processes[id].pid == DUMP)
        ));
        assert_closed(&books);
    }
}
