//! Stops: signals, debuggers, frozen groups.

use tracer_common::{
    sched::{STATE_FROZEN, STATE_STOPPED, STATE_TRACED},
    signal::{FIRST_STOP, TERMINAL_STOP},
};

use super::*;
use crate::class::Cause;

const FILE: &str = "/c/freezer/jobs/freezer.state";

/// The target is sent a signal.
fn signal(sender_pid: u32, number: u32, ms: u64, by_kernel: bool) -> Event {
    Event::Signal(event::Signal {
        ns: at(ms),
        pid: SERVER,
        tid: SERVER,
        sender_pid,
        sender_tid: sender_pid,
        number,
        by_kernel,
    })
}

/// The target's group is frozen by a process; let go by nobody.
fn freeze(ns: u64, by_pid: Option<u32>) -> Event {
    Event::Freeze(event::Freeze {
        ns,
        pid: SERVER,
        file: by_pid.map_or_else(String::new, |_| FILE.to_owned()),
        by_pid: by_pid.unwrap_or(0),
    })
}

/// A thread is stopped from `off` to `on`.
fn stopped(off: u64, on: u64, state: u32) -> Wait {
    Wait {
        state,
        ..asleep(SERVER, off, on, 0, 0)
    }
}

/// A process was seen born by another of its session.
fn forked(pid: u32, parent_pid: u32, ms: u64) -> Event {
    Event::Fork(event::Fork {
        ns: at(ms),
        pid,
        tid: pid,
        parent_pid,
        comm: "kill".to_owned(),
        ..event::Fork::default()
    })
}

fn by(books: &Books, holder: Holder) -> u64 {
    charged(books, Resource::Stopped, holder)
}

fn causes(books: &Books) -> Vec<(Resource, Cause, u64)> {
    let causes = books.causes.iter();
    causes
        .map(|(of, cause, ns)| (*of, *cause, ns / MS))
        .collect()
}

#[test]
fn a_stop_is_charged_to_the_sender_of_the_signal_and_not_to_who_lets_it_go_on() {
    let let_go = Wait {
        waker_pid: RSYNC,
        waker_tid: RSYNC,
        flags: WAIT_TASK_WAKER,
        ..stopped(20, 60, STATE_STOPPED | 0x100)
    };
    let events = [signal(TAR, FIRST_STOP, 20, false), Event::Wait(let_go)];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Stopped), 40);
    assert_eq!(by(&books, holder(&books, TAR)), 40);
    assert_eq!(causes(&books), [(Resource::Stopped, Cause::StopSignal, 40)]);
    assert_closed(&books);
}

#[test]
fn a_signal_that_the_target_does_not_obey_stops_nothing() {
    let events = [
        signal(TAR, TERMINAL_STOP, 20, false),
        sleep(SERVER, 20, 60, EPOLL),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Stopped), 0);
    assert_eq!(threads(&books, Class::Idle), 40);
    assert_eq!(causes(&books), []);
}

#[test]
fn a_stop_from_before_the_trace_lasts_until_the_thread_runs_and_accuses_nobody() {
    let open = books([seed(SERVER, 'T', "do_signal_stop")], 100);
    assert_eq!(by(&open, Holder::StopSignal), 100);
    assert_closed(&open);
    let let_go = Event::Wait(first(SERVER, 40, 5));
    let until = books([seed(SERVER, 'T', "do_signal_stop"), let_go], 100);
    assert_eq!(by(&until, Holder::StopSignal), 35);
    assert_eq!(until.most_stopped_ns, 35 * MS);
    assert_eq!(threads(&until, Class::OnCpu), 60);
    assert_closed(&until);
}

#[test]
fn the_terminal_is_no_process_though_one_hands_on_what_was_typed() {
    let events = [
        signal(KWORKER, TERMINAL_STOP, 20, true),
        Event::Wait(stopped(20, 60, STATE_STOPPED)),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(by(&books, Holder::StopSignal), 40);
    assert_eq!(causes(&books), [(Resource::Stopped, Cause::JobControl, 40)]);
}

#[test]
fn who_stops_itself_owes_it_to_itself() {
    let events = [
        signal(SERVER, FIRST_STOP, 20, false),
        Event::Wait(stopped(20, 60, STATE_STOPPED)),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(by(&books, Holder::Own), 40);
}

#[test]
fn a_script_is_charged_with_what_its_kill_does() {
    const KILL: u32 = 999;
    let events = [
        forked(KILL, TAR, 19),
        signal(KILL, FIRST_STOP, 20, false),
        Event::Exit(event::Exit {
            ns: at(21),
            pid: KILL,
        }),
        Event::Wait(stopped(20, 60, STATE_STOPPED)),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(by(&books, holder(&books, TAR)), 40);
}

#[test]
fn a_debugger_is_who_lets_the_thread_go_on_or_who_is_seen_debugging_it_at_the_end() {
    let let_go = Wait {
        waker_pid: TAR,
        waker_tid: TAR,
        flags: WAIT_TASK_WAKER,
        ..stopped(20, 60, STATE_TRACED | 0x100)
    };
    let wait = stopped(80, 100, STATE_TRACED);
    let open = Wait {
        ran_since_ns: at(60),
        flags: wait.flags | WAIT_OPEN,
        ..wait
    };
    let traced = event::Traced {
        pid: SERVER,
        tid: SERVER,
        tracer_pid: RSYNC,
    };
    let events = [
        Event::Wait(let_go),
        Event::Traced(traced.clone()),
        Event::Wait(open),
    ];
    let seen = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(by(&seen, holder(&seen, TAR)), 40);
    assert_eq!(by(&seen, holder(&seen, RSYNC)), 20);
    assert_eq!(causes(&seen), [(Resource::Stopped, Cause::Traced, 60)]);
    assert_closed(&seen);
    let all_the_time = [seed(SERVER, 't', "ptrace_stop"), Event::Traced(traced)];
    let all_the_time = books(all_the_time, 100);
    assert_eq!(by(&all_the_time, holder(&all_the_time, RSYNC)), 100);
}

#[test]
fn a_sleep_is_cut_by_the_times_in_which_the_group_was_frozen() {
    let events = [
        freeze(at(30), Some(TAR)),
        freeze(at(70), None),
        sleep(SERVER, 10, 90, EPOLL),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Stopped), 40);
    assert_eq!(threads(&books, Class::Idle), 20 + 20);
    assert_eq!(by(&books, holder(&books, TAR)), 40);
    assert_eq!(books.places, [FILE]);
    assert_eq!(causes(&books), [(Resource::Stopped, Cause::Frozen, 40)]);
    assert_closed(&books);
}

#[test]
fn a_wait_for_the_disk_that_is_frozen_over_waits_for_the_disk_before_and_after() {
    let events = [
        freeze(at(30), Some(0)),
        freeze(at(70), None),
        sleep(SERVER, 10, 90, PAGE),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Disk), 20 + 20);
    assert_eq!(by(&books, Holder::Freezer), 40);
    assert_closed(&books);
}

#[test]
fn a_group_that_was_frozen_at_attach_is_not_a_disk_though_the_state_looks_like_one() {
    let asleep = || seed(SERVER, 'D', "hrtimer_nanosleep");
    let open = books([asleep(), freeze(0, Some(0))], 100);
    assert_eq!(by(&open, Holder::Freezer), 100);
    assert_eq!(threads(&open, Class::Disk), 0);
    assert_closed(&open);
    let events = [asleep(), freeze(0, Some(0)), freeze(at(60), None)];
    let let_go = books(events, 100);
    assert_eq!(threads(&let_go, Class::Stopped), 60);
    assert_eq!(threads(&let_go, Class::Idle), 40);
    assert_closed(&let_go);
}

#[test]
fn a_thread_that_goes_to_the_freezer_is_stopped_also_before_the_tracer_sees_the_group() {
    let events = [
        freeze(at(50), Some(TAR)),
        freeze(at(90), None),
        Event::Wait(stopped(20, 95, STATE_FROZEN)),
    ];
    let books = books(running(SERVER).into_iter().chain(events), 100);
    assert_eq!(threads(&books, Class::Stopped), 75);
    assert_eq!(by(&books, holder(&books, TAR)), 75);
    assert_closed(&books);
}

#[test]
fn who_wakes_a_thread_to_stop_it_has_not_answered_it() {
    let woken = |waker_pid| Wait {
        waker_pid,
        waker_tid: waker_pid,
        waking_ns: at(60),
        flags: WAIT_TASK_WAKER,
        ..asleep(SERVER, 20, 60, 0, EPOLL)
    };
    let upstream = |stopped_by| {
        let stop = Wait {
            ran_since_ns: at(60),
            ..stopped(61, 80, STATE_STOPPED)
        };
        let events = [
            receive(SERVER, 7, 10, 10),
            Event::Wait(woken(TAR)),
            signal(stopped_by, FIRST_STOP, 60, false),
            Event::Wait(stop),
            send(SERVER, 7, 90),
            receive(SERVER, 7, 95, 95),
        ];
        let books = books(running(SERVER).into_iter().chain(events), 100);
        assert_eq!(requests(&books, Class::Stopped), 19);
        assert_closed(&books);
        charged(&books, Resource::Upstream, holder(&books, TAR))
    };
    assert_eq!(upstream(TAR), 0);
    assert_eq!(upstream(RSYNC), 40, "tar answered, and rsync stopped it");
}
