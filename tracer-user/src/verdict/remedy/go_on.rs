//! Where the target is stopped: lets it go on. The pid is that of the target, or of the process on the way to which it is.

use super::{Remedy, shell::quote};
use crate::{
    class::{Cause, Resource},
    model::books::{Books, Process},
    verdict::Hypothesis,
};

const WHY: &str = "lets it go on";

/// The remedies for a stop; none for any other resource.
pub(super) fn go_on(books: &Books, found: &Hypothesis) -> Option<Remedy> {
    if found.resource != Resource::Stopped {
        return None;
    }
    let stopped = found.via.last().or(books.targets.first())?;
    let stopped = &books.processes[*stopped];
    let (command, why, note) = match found.cause {
        Some(Cause::Traced) => debugged(books, found, stopped),
        Some(Cause::Frozen) => frozen(books, found, stopped),
        Some(Cause::JobControl) => (
            format!("kill -CONT {}", stopped.pid),
            WHY,
            "or fg in its shell; it stops again when it uses the terminal in the background: start it with </dev/null and setsid \
             (bash(1), JOB CONTROL)"
                .to_owned(),
        ),
        _ => signalled(books, found, stopped),
    };
    let debugger = found
        .culprits
        .first()
        .map(|by| &books.processes[by.process]);
    let debugger = debugger.filter(|_| found.cause == Some(Cause::Traced));
    // With a debugger its stops are over.
    let mut over = [Some(stopped), debugger].into_iter().flatten();
    let effect = match over.find(|process| process.exited) {
        Some(gone) => Err(format!("{} has ended", gone.comm)),
        None => Ok(note),
    };
    Some(Remedy {
        command,
        why,
        applies: effect.is_ok(),
        note: effect.unwrap_or_else(|because| format!("does nothing here, because {because}")),
    })
}

type Words = (String, &'static str, String);

/// Whoever stopped it, if that is a process that is still there.
fn stopper<'a>(books: &'a Books, found: &Hypothesis) -> Option<&'a Process> {
    let culprit = found.culprits.first()?;
    let process = &books.processes[culprit.process];
    (!process.exited && !process.kernel).then_some(process)
}

fn signalled(books: &Books, found: &Hypothesis, stopped: &Process) -> Words {
    let command = format!("kill -CONT {}", stopped.pid);
    let Some(by) = stopper(books, found) else {
        return (
            command,
            WHY,
            "once, if it is still stopped (kill(1))".to_owned(),
        );
    };
    if by.comm == "cpulimit" {
        let note = format!(
            "or start it with a higher limit: cpulimit -p {} -l PERCENT; a CPU weight of the cgroup disturbs less (cpulimit(1))",
            stopped.pid
        );
        return (
            format!("kill {}", by.pid),
            "ends the limiter, which lets it go on",
            note,
        );
    }
    let note = format!(
        "{} (pid {}) stopped it and may do so again: find out there why (kill(1))",
        by.comm, by.pid
    );
    (command, WHY, note)
}

fn debugged(books: &Books, found: &Hypothesis, stopped: &Process) -> Words {
    match stopper(books, found) {
        Some(by) => (
            format!("kill {}", by.pid),
            "ends the debugger, which lets it go on",
            "or detach (gdb), or Ctrl-C (strace) where it runs; a program that the debugger started may end with it (ptrace(2))"
                .to_owned(),
        ),
        None => (
            format!("grep TracerPid /proc/{}/status", stopped.pid),
            "names the debugger",
            "then detach there (ptrace(2))".to_owned(),
        ),
    }
}

fn frozen(books: &Books, found: &Hypothesis, stopped: &Process) -> Words {
    let Some(file) = found.place.map(|place| books.places[place].as_str()) else {
        return (
            format!("cat /proc/{}/cgroup", stopped.pid),
            "names its group, to be thawed there",
            "or docker unpause, or systemctl thaw (cgroup-v2.rst)".to_owned(),
        );
    };
    let is_old = file.ends_with("freezer.state");
    let (word, document) = match is_old {
        true => ("THAWED", "cgroup-v1/freezer-subsystem.rst"),
        false => ("0", "cgroup-v2.rst"),
    };
    let note = format!(
        "lets go all that is in the group; what docker pause or systemctl freeze froze: docker unpause, systemctl thaw \
         (Documentation/admin-guide/{document})"
    );
    (format!("echo {word} > {}", quote(file)), WHY, note)
}
