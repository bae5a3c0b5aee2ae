//! Sleeps for something that has no class.

use super::*;
use crate::model::books::EndedBy;

const CLIENT: u64 = 9;
/// A stack of which nothing is known.
const USB: u64 = 77;

/// What the books keep of such sleeps: function, who ended them, ms.
fn unknown(books: &Books) -> Vec<(&str, EndedBy, u64)> {
    let sleeps = books.unknown.iter();
    let shown = sleeps.map(|sleep| (sleep.function.as_str(), sleep.ended_by, sleep.ns / MS));
    shown.collect()
}

#[test]
fn a_sleep_without_a_class_is_kept_with_its_function_and_who_ended_it() {
    let slept = |flags, off, on| {
        Event::Wait(Wait {
            state: 2,
            flags,
            waker_pid: TAR,
            waker_tid: TAR,
            ..asleep(SERVER, off, on, 0, USB)
        })
    };
    let frames = ["__schedule", "schedule_timeout", "usb_sg_wait", "sg_read"];
    let events = [
        stack(USB, &frames),
        slept(WAIT_NO_WAKER, 10, 30),
        slept(WAIT_TASK_WAKER, 40, 50),
        slept(WAIT_NO_WAKER | WAIT_OPEN, 60, 100),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    let Holder::Process(tar) = holder(&books, TAR) else {
        panic!("tar is a process")
    };
    let expected = [
        ("usb_sg_wait", EndedBy::Nothing, 40),
        ("usb_sg_wait", EndedBy::NoTask, 20),
        ("usb_sg_wait", EndedBy::Process(tar), 10),
    ];
    assert_eq!(unknown(&books), expected);
    assert_eq!(threads(&books, Class::Other), 70);
}

#[test]
fn what_a_request_waited_for_without_a_known_reason_is_kept_too() {
    let events = [
        receive(SERVER, CLIENT, 10, 10),
        sleep(SERVER, 12, 40, EPOLL),
        send(SERVER, CLIENT, 41),
        // It waits for work then.
        sleep(SERVER, 42, 90, EPOLL),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(requests(&books, Class::Other), 28);
    assert_eq!(unknown(&books), [("ep_poll", EndedBy::NoTask, 28)]);
}
