//! The target's own parts in the verdict: named where they say more, and accused never.

use super::near;
use crate::{
    class::{Cause, Class, Resource},
    model::{
        books::{Books, Client, Holder, OwnPart, Part, Process},
        scenes::{MS, clients::*, own_locks},
    },
    verdict::{
        Verdict,
        fixture::{Scene, judge, own_disk},
    },
};

/// Books of a server (pid 10) that waits 40 ms of each of 20 slices for sda, all behind itself, and of a second process of its own
/// (pid 11) with this title.
fn behind_itself(title: &str, parts: &[(usize, u32, Option<Client>, u64)]) -> Books {
    let mut books = own_disk(40);
    books.processes.push(Process {
        pid: 11,
        comm: "nginx".into(),
        cmdline: title.into(),
        target: true,
        ..Process::default()
    });
    let child = books.processes.len() - 1;
    let own = parts.iter().map(|&(process, tid, client, ms)| OwnPart {
        resource: Resource::Disk,
        part: Part {
            process: if process == 0 {
                books.targets[0]
            } else {
                child
            },
            tid,
            client,
        },
        ns: ms * MS,
        serving_ns: 0,
    });
    books.own = own.collect();
    books.addresses = vec!["10.9.0.1".to_owned(), "10.9.0.2".to_owned()];
    books
}

fn sentence(verdict: &Verdict) -> &str {
    let first = verdict.primary().unwrap();
    assert_eq!(first.cause, Some(Cause::Own));
    assert_eq!(first.culprits, []);
    &verdict.sentence
}

#[test]
fn the_process_of_the_target_that_has_most_is_named_by_its_title() {
    let books = behind_itself(
        "nginx: cache loader",
        &[(0, 10, None, 200), (1, 11, None, 600)],
    );
    let verdict = judge(&books);
    assert_eq!(
        sentence(&verdict),
        "nginx waits for the disk: 100 % of its blocked time it stood behind its own requests on sda, mostly those of its own process \
         11 `nginx: cache loader`; nobody else is to blame."
    );
    let parts = &verdict.primary().unwrap().self_parts;
    near(parts[0].share, 0.75);
    near(parts[1].share, 0.25);
}

#[test]
fn several_processes_with_one_title_are_named_together() {
    let parts = [(1, 11, None, 300), (2, 12, None, 300), (0, 10, None, 200)];
    let mut books = behind_itself("nginx: cache loader", &parts);
    let other = Process {
        pid: 12,
        ..books.processes[1].clone()
    };
    books.processes.push(other);
    books.own[1].part.process = 2;
    let said = "mostly those of its own processes `nginx: cache loader`; nobody";
    let verdict = judge(&books);
    assert!(sentence(&verdict).contains(said), "{}", verdict.sentence);
}

#[test]
fn the_client_for_whom_most_is_done_is_named_by_its_address() {
    let (shop, dump) = (Some(Client::Address(0)), Some(Client::Address(1)));
    let parts = [(0, 10, shop, 100), (1, 11, dump, 300), (0, 12, dump, 400)];
    let verdict = judge(&behind_itself("nginx", &parts));
    assert_eq!(
        sentence(&verdict),
        "nginx waits for the disk: 100 % of its blocked time it stood behind its own requests on sda, mostly for the client 10.9.0.2; \
         nobody else is to blame."
    );
}

#[test]
fn a_target_of_one_process_with_one_client_says_nothing_more() {
    let only = Some(Client::Address(0));
    let alone = "nginx waits for the disk: 100 % of its blocked time it stood behind its own requests on sda; nobody else is to blame.";
    for parts in [
        vec![(0, 10, only, 800)],
        // The threads have no names, and work between two requests has no client.
        vec![(0, 12, only, 600), (0, 13, None, 200)],
        // Two that have the same: none stands out.
        vec![(0, 10, None, 390), (1, 11, None, 380)],
        vec![],
    ] {
        assert_eq!(sentence(&judge(&behind_itself("nginx", &parts))), alone);
    }
}

#[test]
fn a_thread_with_a_name_of_its_own_is_named() {
    let mut books = behind_itself("nginx", &[(0, 12, None, 600), (0, 13, None, 200)]);
    books.thread_names = [(12, "flusher".into()), (13, "nginx-io".into())].into();
    let verdict = judge(&books);
    let said = "on sda, mostly those of its thread flusher; nobody";
    assert!(sentence(&verdict).contains(said), "{}", verdict.sentence);
    let first = &verdict.primary().unwrap().self_parts[0];
    assert_eq!(first.thread.as_deref(), Some("flusher"));
}

#[test]
fn the_process_of_the_target_that_has_a_lock_is_named_beside_its_file() {
    let books = own_locks::held_by_a_child();
    let verdict = judge(&books);
    let said = "its own locks on /run/lock, mostly those of its own process 130 `server`; nobody else is to blame";
    assert!(sentence(&verdict).contains(said), "{}", verdict.sentence);
    let first = verdict.primary().unwrap();
    assert_eq!(first.self_parts.len(), 1);
    assert_eq!(books.processes[first.self_parts[0].process].pid, 130);
    near(first.self_parts[0].share, first.self_share);
}

#[test]
fn the_thread_that_has_most_of_its_processs_locks_is_named_with_it() {
    let lock = Scene::new().threads(Class::Lock, 40);
    let mut scene = lock.charge(Resource::Lock, None, Holder::OwnLock, 40);
    let worker = scene.process(20, "nginx");
    scene.books.processes[worker].target = true;
    scene.books.lock_owner = Some(23);
    let said = |ms: [u64; 2]| {
        let mut books = scene.books.clone();
        let parts = [23, 24].into_iter().zip(ms);
        let part = |(tid, ms)| OwnPart {
            resource: Resource::Lock,
            part: Part {
                process: worker,
                tid,
                client: None,
            },
            ns: ms * MS,
            serving_ns: 0,
        };
        books.own = parts.map(part).collect();
        judge(&books).sentence
    };
    let [thread, process] = [[700, 100], [300, 500]].map(said);
    assert!(
        thread.contains("locks, mostly those of thread 23 of its own process 20 `nginx`;"),
        "{thread}"
    );
    assert!(
        process.contains("locks, mostly those of its own process 20 `nginx`;"),
        "{process}"
    );
}

#[test]
fn parts_never_sum_to_more_than_the_own_share() {
    // The parts know of more time than the ledger charges: 1600 ms of 800.
    let mut books = behind_itself("nginx", &[(0, 10, None, 400), (1, 11, None, 1200)]);
    for bin in &mut books.bins {
        bin.charges[0].ns /= 2;
        bin.charges.push(crate::model::books::Charge {
            holder: Holder::SlowDevice,
            ..bin.charges[0]
        });
    }
    let found = judge(&books);
    let first = found.primary().unwrap();
    let sum: f64 = first.self_parts.iter().map(|part| part.share).sum();
    near(first.self_share, 0.5);
    near(sum, 0.5);
}

#[test]
fn what_is_charged_to_a_client_is_no_part_of_the_target() {
    let books =
        crate::model::scenes::books(dump([Some(SHOP), Some(SHOP), Some(DUMP)], HERE), 10_000);
    let verdict = judge(&books);
    let first = verdict.primary().unwrap();
    assert_eq!(first.culprits[0].name, "pg_dump");
    let dump = first.culprits[0].process;
    let mut parts = first.self_parts.iter();
    assert!(parts.all(|part| part.client != Some(Client::Process(dump))));
    let sum: f64 = first.self_parts.iter().map(|part| part.share).sum();
    assert!(sum <= first.self_share + 1e-9, "{sum} {}", first.self_share);
}

#[test]
fn what_requests_stood_behind_is_what_threads_with_a_request_stood_behind() {
    // The worker waits most of all, behind itself: that is no answer to who holds the requests up.
    let mut books = behind_itself(
        "nginx: cache loader",
        &[(0, 10, None, 700), (1, 11, None, 100)],
    );
    for own in &mut books.own {
        own.serving_ns = 50 * MS;
    }
    let shares = |books: &Books| -> Vec<f64> {
        let found = judge(books);
        let parts = found.primary().unwrap().self_parts.iter();
        parts.map(|part| part.share).collect()
    };
    near(shares(&books)[0], 0.875);
    for bin in &mut books.bins {
        bin.requests = bin.threads;
    }
    books.requests = Some(crate::model::books::Requests {
        count: 100,
        ..Default::default()
    });
    near(shares(&books)[0], 0.5);
}
