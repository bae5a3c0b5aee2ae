//! Whose request a thread works for.

use super::*;

fn spans(of: &[(u64, u64, Caller)]) -> Vec<(u64, u64, Caller)> {
    let mut spans = VecDeque::new();
    for &(begin_ns, end_ns, caller) in of {
        let span = Span {
            begin_ns,
            end_ns,
            caller,
        };
        add(&mut spans, span);
    }
    let figures = |span: &Span| (span.begin_ns, span.end_ns, span.caller);
    spans.iter().map(figures).collect()
}

#[test]
fn the_clients_that_are_told_apart_are_bounded() {
    let (mut requests, mut names) = (Requests::default(), Names::default());
    let first = 1000;
    for client_pid in first..first + 2 * MOST_CLIENTS as u32 {
        let client = event::Client {
            ns: 1,
            socket: client_pid.into(),
            pid: 1,
            client_pid,
        };
        requests.client(&mut names, &client);
    }
    let last = u64::from(first) + MOST_CLIENTS as u64 - 1;
    assert!(requests.local_asker(last).is_some());
    assert_eq!(requests.local_asker(last + 1), None);
}

#[test]
fn until_its_first_call_a_process_with_one_client_works_for_that_client() {
    let (mut requests, mut names) = (Requests::default(), Names::default());
    let (pid, client_pid) = (7, 1000);
    let found = event::SoleClient {
        ns: 1,
        pid,
        client_pid,
    };
    requests.sole_client(&mut names, &found);
    let client = Some(Asker::Process(names.processes.id(client_pid)));
    let threads = Threads::default();
    assert_eq!(requests.asker_at(&threads, pid, 5), client);
    requests.clients.called(pid, Caller::Unknown, 10);
    let asker = |ns| requests.asker_at(&threads, pid, ns);
    assert_eq!((asker(9), asker(11)), (client, None));
    requests.clients.ended(pid);
    assert_eq!(requests.asker_at(&threads, pid, 5), None);
}

#[test]
fn calls_on_one_connection_are_one_span_and_another_begins_the_next() {
    let (a, b) = (Caller::Here(1), Caller::Here(2));
    let found = spans(&[
        (0, 0, a),
        (10, 20, a),
        (30, 30, b),
        (35, 40, b),
        (50, 50, a),
    ]);
    assert_eq!(found, [(0, 20, a), (30, 40, b), (50, 50, a)]);
}

#[test]
fn of_what_is_done_while_requests_of_two_are_open_nobody_knows_whose_it_is() {
    let (a, b) = (Caller::Here(1), Caller::Here(2));
    // The first asks at 5, the second at 10; answered are the second at 20 and the first at 30.
    let found = spans(&[(0, 5, a), (10, 20, b), (5, 30, a)]);
    assert_eq!(found, [(0, 5, a), (5, 30, Caller::Unknown)]);
    let found = spans(&[(0, 10, a), (8, 9, b)]);
    assert_eq!(found, [(0, 8, a), (8, 10, Caller::Unknown)]);
}
