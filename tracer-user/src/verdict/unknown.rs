//! What is known of a wait that has no class: where the kernel slept, who ended that, and how to find out more.

use crate::{
    model::books::{Books, EndedBy, UnknownSleep},
    units::shorten,
};

/// A function that has this part of such waits has most of them.
const MOSTLY: f64 = 0.5;

/// Columns of a function's name.
const FUNCTION: usize = 32;

/// The words after the target's unknown waits: ", mostly in pipe_read until cron (pid 7) woke it; to find out more: tracer attach --pid 7".
pub(super) fn unknown(books: &Books) -> String {
    let most = books.unknown.first();
    let known = most.map_or_else(String::new, |most| slept(books, most));
    format!("{known}; to find out more: {}", next_step(books, most))
}

/// The largest of these waits.
fn slept(books: &Books, most: &UnknownSleep) -> String {
    let all: u64 = books.unknown.iter().map(|sleep| sleep.ns).sum();
    let mostly = match most.ns as f64 >= MOSTLY * all as f64 {
        true => "mostly",
        false => "partly",
    };
    let function = match most.function.as_str() {
        "" => "a function that was not recorded".to_owned(),
        function => shorten(function, FUNCTION),
    };
    let end = match most.ended_by {
        EndedBy::Process(id) if books.processes[id].target => {
            " until a thread of its own woke it".to_owned()
        }
        EndedBy::Process(id) => {
            let waker = &books.processes[id];
            format!(" until {} (pid {}) woke it", waker.comm, waker.pid)
        }
        EndedBy::NoTask => " until a timer, a device or a packet woke it".to_owned(),
        EndedBy::Nothing => ", which nothing has ended yet".to_owned(),
    };
    format!(", {mostly} in {function}{end}")
}

/// A command that tells more and changes nothing: the waker's own waits, else what the target's threads sleep in.
fn next_step(books: &Books, most: Option<&UnknownSleep>) -> String {
    let waker = match most.map(|most| most.ended_by) {
        Some(EndedBy::Process(id)) => Some(&books.processes[id]),
        _ => None,
    };
    let target = books.targets.first();
    let target = target.map_or(0, |id| books.processes[*id].pid);
    match waker.filter(|waker| !waker.target) {
        Some(waker) if waker.kernel => format!("cat /proc/{}/stack", waker.pid),
        Some(waker) if !waker.exited => format!("tracer attach --pid {}", waker.pid),
        _ => format!("cat /proc/{target}/task/*/stack"),
    }
}
