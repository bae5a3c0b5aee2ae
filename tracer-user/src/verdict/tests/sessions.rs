//! Who may have a lock in a database: named where only one comes into question, and never accused.

use super::near;
use crate::{
    class::{Cause, Class, Resource},
    model::{
        books::{Books, Client, Holder, OwnPart, Part, Process},
        scenes::MS,
    },
    verdict::{
        fixture::{Scene, judge},
        waiting_sessions,
    },
};

const WAITS: &str = "postgres: al shop [local] INSERT waiting";
const HOLDS: &str = "postgres: 15/main: al shop [local] idle in transaction";

/// A target (pid 10) that waits 40 ms of each slice for locks of its own. It has sessions with these titles, from pid 20 on, and that
/// of pid 20 works for psql (pid 700).
fn database(titles: &[&str]) -> Books {
    let scene = Scene::new().threads(Class::Lock, 40);
    let mut scene = scene.charge(Resource::Lock, None, Holder::OwnLock, 40);
    let psql = scene.process(700, "psql");
    let mut books = scene.books;
    books.processes[0].titled = true;
    let session = |(pid, title): (u32, &&str)| Process {
        pid,
        comm: "postgres".into(),
        cmdline: (*title).into(),
        target: true,
        titled: true,
        ..Process::default()
    };
    books.processes.extend((20..).zip(titles).map(session));
    books.workers.insert(psql, vec![20]);
    books
}

const ALONE: &str = "nginx waits for a lock: 100 % of its blocked time it stood behind its own locks; nobody else is to blame.";

#[test]
fn the_only_session_in_a_transaction_may_have_the_lock_that_others_of_its_database_wait_for() {
    let elsewhere = "postgres: al blog [local] idle in transaction";
    let idle = "postgres: al shop [local] idle";
    let books = database(&[
        HOLDS,
        WAITS,
        WAITS,
        elsewhere,
        idle,
        "postgres: checkpointer",
    ]);
    assert_eq!(
        judge(&books).sentence,
        "nginx waits for a lock: 100 % of its blocked time it stood behind its own locks, which its own process 20 (idle in transaction) \
         may hold for the client psql (pid 700); nobody else is to blame."
    );
    assert_eq!(
        waiting_sessions(&books),
        [
            "at the end, 2 sessions of the database shop waited for a lock; process 20 (idle in transaction) for the client psql (pid 700) \
             may have it: no other is in a transaction"
        ]
    );
}

#[test]
fn of_several_sessions_in_transactions_none_is_chosen() {
    let vacuum = "postgres: al shop 10.9.0.2(40001) VACUUM";
    let books = database(&[HOLDS, WAITS, vacuum]);
    assert_eq!(judge(&books).sentence, ALONE);
    assert_eq!(
        waiting_sessions(&books),
        [
            "at the end, 1 session of the database shop waited for a lock; 2 others in a transaction may have it: 20 (idle in transaction) \
             for the client psql (pid 700), 22 (VACUUM)"
        ]
    );
    let books = database(&["postgres: al shop [local] idle", WAITS]);
    assert_eq!(judge(&books).sentence, ALONE);
    assert!(
        waiting_sessions(&books)[0].ends_with("none of the others is known to be in a transaction")
    );
}

#[test]
fn where_a_process_was_not_looked_at_it_may_have_the_lock_too() {
    let mut books = database(&[HOLDS, WAITS, "postgres: al shop [local] idle"]);
    books.processes.last_mut().unwrap().titled = false;
    assert_eq!(judge(&books).sentence, ALONE);
    // One that ended has no lock any more.
    books.processes.last_mut().unwrap().exited = true;
    assert_ne!(judge(&books).sentence, ALONE);
}

#[test]
fn a_session_in_a_transaction_for_which_nobody_waits_is_worth_no_word() {
    let books = database(&[HOLDS, "postgres: al shop [local] SELECT"]);
    assert_eq!(judge(&books).sentence, ALONE);
    assert_eq!(waiting_sessions(&books), [""; 0]);
}

#[test]
fn the_one_part_that_had_the_lock_is_named_with_its_client() {
    let mut books = database(&[HOLDS, WAITS]);
    let process = |pid: u32| {
        let mut all = books.processes.iter();
        all.position(|process| process.pid == pid).unwrap()
    };
    let part = |client| OwnPart {
        resource: Resource::Lock,
        part: Part {
            process: process(20),
            tid: 20,
            client,
        },
        ns: 800 * MS,
        serving_ns: 800 * MS,
    };
    let parts = [part(Some(Client::Process(process(700)))), part(None)];
    let said = [
        "its own locks, mostly for the client psql (pid 700) (20 `postgres: 15/main: al shop [local] idle in transaction`); nobody",
        "its own locks, mostly those of its own process 20 `postgres: 15/main: al shop [local] idle in transaction`; nobody",
    ];
    for (part, said) in parts.into_iter().zip(said) {
        books.own = vec![part];
        let verdict = judge(&books);
        assert!(verdict.sentence.contains(said), "{}", verdict.sentence);
        let first = verdict.primary().unwrap();
        assert_eq!((first.cause, first.culprits.len()), (Some(Cause::Own), 0));
        near(first.self_parts[0].share, 1.0);
    }
}
