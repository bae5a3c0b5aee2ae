//! A session of a database, by the title of its process. PostgreSQL has a process for each. Over its command line that writes whose
//! session it is, and what it does: `postgres: 15/main: alice shop [local] INSERT waiting`. (It writes the second part unless
//! `update_process_title` is off.) So it says itself whether it waits for a lock in the database, which the kernel does not know.

/// What a session does while it is in no transaction.
const OUTSIDE: [&str; 5] = ["", "idle", "authentication", "startup", "initializing"];

/// A session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    /// Its database.
    pub database: &'a str,
    /// Its command, or that it has none; empty if the server does not tell.
    pub doing: &'a str,
}

impl<'a> Session<'a> {
    /// By the title of a process; `None` if that is no session's.
    #[must_use]
    pub fn of(title: &'a str) -> Option<Self> {
        let mut words = title.strip_prefix("postgres: ")?;
        let mut before = "";
        loop {
            let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
            match word {
                // It sends the log to another server, and is in no database.
                "walsender" => return None,
                _ if is_host(word) => {
                    return (!before.is_empty()).then(|| Self {
                        database: before,
                        doing: rest.trim(),
                    });
                }
                _ if rest.is_empty() => return None,
                _ => (before, words) = (word, rest),
            }
        }
    }

    /// Does the server tell what the session does?
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.doing.is_empty()
    }

    /// Does it wait for a lock?
    #[must_use]
    pub fn waits(&self) -> bool {
        self.doing == "waiting" || self.doing.ends_with(" waiting")
    }

    /// May it have locks, and waits for none?
    #[must_use]
    pub fn may_hold(&self) -> bool {
        !self.waits() && !OUTSIDE.contains(&self.doing)
    }
}

/// The process for which a process of this title does a part of a command.
#[must_use]
pub(super) fn works_for(title: &str) -> Option<u32> {
    let words = title.strip_prefix("postgres: ")?;
    let (_, leader) = words.rsplit_once("parallel worker for PID ")?;
    leader.trim().parse().ok()
}

/// Where a client is, in a title: `[local]`, or an address with a port in parentheses.
fn is_host(word: &str) -> bool {
    let port = word.strip_suffix(')').and_then(|word| word.split_once('('));
    word == "[local]" || port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_names_the_database_and_tells_whether_its_session_waits() {
        let of = |title| {
            let session = Session::of(title)?;
            Some((session.database, session.waits(), session.may_hold()))
        };
        for (title, expected) in [
            (
                "postgres: 15/main: al shop [local] INSERT waiting",
                (true, false),
            ),
            (
                "postgres: al shop 10.9.0.2(40001) UPDATE waiting",
                (true, false),
            ),
            (
                "postgres: al shop ::1(40001) idle in transaction",
                (false, true),
            ),
            (
                "postgres: al shop [local] idle in transaction (aborted)",
                (false, true),
            ),
            ("postgres: al shop [local] VACUUM", (false, true)),
            ("postgres: al shop [local] idle", (false, false)),
            ("postgres: al shop [local] startup", (false, false)),
            ("postgres: al shop [local]", (false, false)),
        ] {
            let (waits, holds) = expected;
            assert_eq!(of(title), Some(("shop", waits, holds)), "{title}");
        }
        for title in [
            "postgres",
            "/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql",
            "postgres: 15/main: checkpointer",
            "postgres: parallel worker for PID 4711",
            "postgres: walsender rep 10.9.0.2(40001) streaming 0/3000148",
            "nginx: al shop [local] idle",
        ] {
            assert_eq!(of(title), None, "{title}");
        }
    }

    #[test]
    fn a_process_that_works_for_another_one_names_it() {
        assert_eq!(
            works_for("postgres: 15/main: parallel worker for PID 4711"),
            Some(4711)
        );
        assert_eq!(works_for("postgres: al shop [local] SELECT"), None);
    }
}
