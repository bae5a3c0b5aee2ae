//! Commands for a shell: words quoted, and a program started again with other options.

use super::case::Case;
use crate::model::books::ProcessId;

/// A word as `sh` takes it.
pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A command line as `sh` takes it.
pub(super) fn line(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    words.join(" ")
}

/// The words of a process's command line. Where they were not read one by one, words with spaces are torn.
pub(super) fn words(case: &Case<'_>, id: ProcessId) -> Vec<String> {
    match case
        .standing(id)
        .filter(|standing| !standing.arguments.is_empty())
    {
        Some(standing) => standing.arguments.clone(),
        None => case
            .process(id)
            .cmdline
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
    }
}

/// The command that starts a process's program again with other words, and what that takes.
///
/// A process that is a job of its own is ended first. One that a script or a pipeline started cannot be started again alone.
pub(super) fn again(case: &Case<'_>, id: ProcessId, words: &[String]) -> (String, String) {
    let process = case.process(id);
    let Some(standing) = case.standing(id).filter(|_| !process.exited) else {
        let torn = "start it so next time (its arguments are known only without their quotes)";
        return (line(words), torn.to_owned());
    };
    let starter = case.parent_in_job(id).map(|parent| case.process(parent));
    if let Some(starter) = starter {
        let note = format!(
            "needs a restart: change it where {} (pid {}) starts it",
            starter.comm, starter.pid
        );
        return (line(words), note);
    }
    if standing.redirected {
        return (
            line(words),
            "needs a restart: its input or output leads elsewhere, so change it where it is started".to_owned(),
        );
    }
    if case.is_client() {
        let note = "needs a restart: it asks the target, so let it end its connection itself";
        return (line(words), note.to_owned());
    }
    // The old process needs a moment to remove its output. xz and rsync do so when they are ended. The new process must not find
    // it.
    let mut command = format!("kill {} && sleep 1", process.pid);
    if standing.cwd.starts_with('/') && standing.cwd != "/" {
        command.push_str(&format!(" && cd {}", quote(&standing.cwd)));
    }
    let user = match standing.uid {
        0 => String::new(),
        uid => format!("runuser -u \"$(id -nu {uid})\" -- "),
    };
    command.push_str(&format!(" && {user}{}", line(words)));
    (command, "starts it again from the beginning".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gives_every_word_back() {
        for word in [
            "a b",
            "",
            "'",
            "it's",
            "$(id)`id`",
            "a\nb",
            "-n",
            "*",
            "~",
            "x;y|z&",
            "!!",
            "\u{1b}[31m",
        ] {
            let script = format!("printf '%s' {}", quote(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word, "{script}");
        }
    }
}
