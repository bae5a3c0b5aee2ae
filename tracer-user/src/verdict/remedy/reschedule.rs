//! Another time. Where a schedule starts the culprit, that schedule is changed. Else the culprit is stopped now and goes on later,
//! without losing its work.

use super::{
    Advice,
    case::Case,
    shell::{line, quote, words},
};
use crate::model::books::{Process, ProcessId};

/// When it goes on: hours.
const LATER_HOURS: u32 = 8;

/// The starter of the culprit.
enum Starter<'a> {
    /// A line of a user's crontab, or of the system's; the user's number if it is known.
    Cron(&'a Process, Option<u32>),
    /// The jobs that cron and anacron run daily, weekly, monthly.
    Parts(&'a Process),
    At(&'a Process),
    /// A service of systemd.
    Unit(&'a str),
    /// A shell, a login, or somebody unknown.
    Somebody(Option<&'a Process>),
}

pub(super) fn reschedule(case: &Case<'_>) -> Option<Advice> {
    let (command, effect) = match starter(case) {
        Starter::Cron(cron, uid) => {
            let user = uid.filter(|uid| *uid != 0);
            let user = user.map_or(String::new(), |uid| format!(" -u \"$(id -nu {uid})\""));
            let note = format!(
                "started by {} (pid {}): move it to an hour in which the target is idle; from its next run on; \
                it may also stand in /etc/crontab or /etc/cron.d (crontab(5))",
                cron.comm, cron.pid
            );
            (format!("crontab{user} -e"), Ok(note))
        }
        Starter::Parts(cron) => {
            let file = if cron.comm == "anacron" {
                "/etc/anacrontab"
            } else {
                "/etc/crontab"
            };
            let note = format!(
                "started by {} (pid {}) with all that runs then: move that hour; from its next run on (crontab(5), anacrontab(5))",
                cron.comm, cron.pid
            );
            (format!("${{EDITOR:-vi}} {file}"), Ok(note))
        }
        Starter::Unit(unit) => {
            let note = format!(
                "{unit} is a service: move its timer to an hour in which the target is idle; from its next run on \
                (systemd.timer(5))"
            );
            (
                format!(
                    "systemctl edit --full \"$(systemctl show -P TriggeredBy {})\"",
                    quote(unit)
                ),
                Ok(note),
            )
        }
        Starter::At(_) | Starter::Somebody(_) if case.is_client() => anew(case),
        Starter::At(at) => {
            let note = format!("started by {} (pid {}): {}", at.comm, at.pid, cost());
            (later(case), case.gone().map(|()| note))
        }
        Starter::Somebody(who) => {
            let who = who.map_or(String::new(), |who| {
                format!("started from {} (pid {}): ", who.comm, who.pid)
            });
            (
                later(case),
                case.gone().map(|()| format!("{who}{}", cost())),
            )
        }
    };
    Some(Advice {
        command,
        why: "the target does not need it at that hour",
        effect,
    })
}

/// A client is not stopped: it is to end, and to be started anew later.
fn anew(case: &Case<'_>) -> (String, Result<String, String>) {
    let target = case.books.targets.first();
    let target = target.map_or("the target", |id| case.process(*id).comm.as_str());
    let again = line(&words(case, case.culprit.process));
    let effect = match case.books.means.has("at") {
        true => Ok(format!(
            "starts it anew then: end it first, as its own manual says. Do not stop it (kill -STOP): it asks {target}, and would keep \
             its locks and its transaction there (at(1))"
        )),
        false => Err("at(1) is not installed here".to_owned()),
    };
    let command = format!("echo {} | at now + {LATER_HOURS} hours", quote(&again));
    (command, case.means_known().and(effect))
}

fn cost() -> String {
    format!(
        "it stands still for {LATER_HOURS} hours and then goes on; its connections may time out meanwhile (kill(1))"
    )
}

/// Stops it, and lets it go on later with what is installed.
fn later(case: &Case<'_>) -> String {
    let pids = case.pid_words();
    let means = &case.books.means;
    let on = match () {
        () if means.systemd && means.has("systemd-run") => {
            format!("systemd-run --on-active={LATER_HOURS}h kill -CONT {pids}")
        }
        () if means.has("at") => format!("echo 'kill -CONT {pids}' | at now + {LATER_HOURS} hours"),
        () => format!(
            "{{ nohup sh -c 'sleep {}; kill -CONT {pids}' > /dev/null 2>&1 & }}",
            LATER_HOURS * 3600
        ),
    };
    // Also where one of several has ended meanwhile: nobody is to stand still for ever.
    let then = if pids.contains(' ') { ";" } else { " &&" };
    format!("kill -STOP {pids}{then} {on}")
}

/// The nearest of the culprit's ancestors that starts jobs.
fn starter<'a>(case: &Case<'a>) -> Starter<'a> {
    let first = case.culprit.process;
    let uid = case.standing(first).map(|standing| standing.uid);
    let mut above: Option<ProcessId> = case.process(first).parent;
    let mut nearest = None;
    let mut parts = false;
    for _ in 0..case.books.processes.len() {
        let Some(process) = above
            .map(|id| case.process(id))
            .filter(|process| process.pid > 1)
        else {
            break;
        };
        match process.comm.as_str() {
            "run-parts" => parts = true,
            "cron" | "crond" | "CRON" | "CROND" if parts => return Starter::Parts(process),
            "anacron" => return Starter::Parts(process),
            "cron" | "crond" | "CRON" | "CROND" => return Starter::Cron(process, uid),
            "atd" => return Starter::At(process),
            _ if case
                .parent_in_job(first)
                .is_some_and(|_| case.groups.of(above.unwrap_or(first)) == case.culprit.group) => {}
            _ => nearest = nearest.or(Some(process)),
        }
        above = process.parent;
    }
    let unit = case
        .process(first)
        .cgroup
        .rsplit('/')
        .find(|part| part.ends_with(".service"));
    match unit.filter(|unit| case.books.means.systemd && !unit.starts_with("user@")) {
        Some(unit) if nearest.is_none() => Starter::Unit(unit),
        _ => Starter::Somebody(nearest),
    }
}
