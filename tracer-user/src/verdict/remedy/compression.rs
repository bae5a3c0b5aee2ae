//! A lower compression level or fewer threads, from what the command line says now. Fixed at start.

use super::{
    Advice,
    case::Case,
    options::{Compressor, Told},
    shell,
};
use crate::model::books::ProcessId;

const WHY: &str = "compresses less, and leaves CPU time to others";
/// Options of tar that choose a compressor.
const TAR: [&str; 10] = [
    "--gzip",
    "--gunzip",
    "--ungzip",
    "--xz",
    "--lzma",
    "--zstd",
    "--bzip2",
    "--lzip",
    "--auto-compress",
    "--compress",
];
/// The same as letters, also in the bundle without a hyphen (`tar czf`).
const TAR_LETTERS: [char; 5] = ['z', 'J', 'j', 'a', 'Z'];
/// Between tar and its compressor.
const SHELLS: [&str; 3] = ["sh", "bash", "dash"];

pub(super) fn compression(case: &Case<'_>) -> Option<Advice> {
    case.culprit.members.iter().find_map(|id| {
        let process = case.process(*id);
        let words = shell::words(case, *id);
        match process.comm.as_str() {
            "7z" | "7za" | "7zr" | "7zz" => seven(case, *id, &words),
            "restic" => Some(restic(case, *id, &words)),
            "borg" => borg(case, *id, &words),
            comm => one(case, *id, Compressor::of(comm)?, &words),
        }
    })
}

/// A compressor of the usual kind, alone or started by tar.
fn one(
    case: &Case<'_>,
    id: ProcessId,
    compressor: &Compressor,
    words: &[String],
) -> Option<Advice> {
    let told = compressor.told(words);
    if told.decompresses || words.is_empty() {
        return None;
    }
    let mut quick = vec![format!("-{}", compressor.least)];
    if let Some((flag, _)) = compressor.threads {
        quick.push(if flag == "-p" {
            "-p1".to_owned()
        } else {
            format!("{flag}1")
        });
    }
    let (command, restart) = match tar(case, id) {
        Some(tar) => shell::again(
            case,
            tar,
            &without_compressor(&shell::words(case, tar), compressor.name, &quick),
        ),
        None => {
            let mut again = told.rest.clone();
            let forced = |word: &String| word == "-f" || word == "--force";
            if compressor.leaves && !again.iter().any(forced) {
                quick.push("-f".to_owned());
            }
            again.splice(1..1, quick);
            shell::again(case, id, &again)
        }
    };
    let effect = lowers(case, id, compressor, &told).map(|now| {
        format!(
            "{restart}; {now}: what it writes gets larger ({})",
            compressor.manual
        )
    });
    Some(Advice {
        command,
        why: WHY,
        effect,
    })
}

/// Its level and threads now, if less is possible.
fn lowers(
    case: &Case<'_>,
    id: ProcessId,
    compressor: &Compressor,
    told: &Told,
) -> Result<String, String> {
    let name = compressor.name;
    let defaults = case
        .standing(id)
        .map(|standing| standing.defaults.as_slice());
    let threads = match (told.threads, compressor.threads) {
        (Some(1), _) | (None, None | Some((_, false))) => 1,
        (Some(threads), _) => threads,
        // Before 5.6 xz used one thread.
        (None, Some((_, true))) => case.standing(id).map_or(0, |standing| standing.threads),
    };
    match (told.level, defaults) {
        (None, None) => Ok(format!(
            "no level is named, and the environment of {name} could not be read"
        )),
        (None, Some([first, ..])) => Ok(format!("{first} in its environment is overridden")),
        (level, _) => {
            let level = level.unwrap_or(compressor.usual);
            if level <= compressor.least && threads == 1 {
                return Err(format!(
                    "{name} has its lowest level and one thread already ({})",
                    compressor.manual
                ));
            }
            Ok(format!("its level is {level} now"))
        }
    }
}

/// The tar that started a compressor, in person or through a shell.
fn tar(case: &Case<'_>, id: ProcessId) -> Option<ProcessId> {
    let parent = case.parent_in_job(id)?;
    let comm = case.process(parent).comm.as_str();
    let above = match SHELLS.contains(&comm) {
        true => case.parent_in_job(parent)?,
        false => parent,
    };
    let words = shell::words(case, above);
    let asked = words.iter().skip(1).enumerate().any(|(at, word)| {
        TAR.contains(&word.as_str())
            || letters(at, word).is_some_and(|letters| letters.contains(TAR_LETTERS))
            || word.starts_with("-I")
            || word.starts_with("--use-compress-program")
    });
    (case.process(above).comm == "tar" && asked).then_some(above)
}

/// The letters of a bundle of tar's options: with a hyphen, or the first word.
fn letters(at: usize, word: &str) -> Option<&str> {
    match word.strip_prefix('-') {
        Some(rest) => (!rest.starts_with('-') && !rest.starts_with('I')).then_some(rest),
        None => (at == 0).then_some(word),
    }
}

/// tar's command line with the compressor named in full (tar(1), `--use-compress-program`).
fn without_compressor(words: &[String], name: &str, quick: &[String]) -> Vec<String> {
    let mut again: Vec<String> = words.first().cloned().into_iter().collect();
    let mut rest = words.iter().skip(1).enumerate();
    while let Some((at, word)) = rest.next() {
        if word == "-I" || word == "--use-compress-program" {
            rest.next();
        } else if TAR.contains(&word.as_str())
            || word.starts_with("-I")
            || word.starts_with("--use-compress-program=")
        {
        } else if let Some(bundle) = letters(at, word) {
            // In a bundle with a hyphen, a file's name follows `f`: nothing after it is an option.
            let end = bundle
                .find('f')
                .filter(|_| word.starts_with('-'))
                .unwrap_or(bundle.len());
            let kept: String = bundle[..end]
                .chars()
                .filter(|c| !TAR_LETTERS.contains(c))
                .collect();
            let hyphen = if word.starts_with('-') { "-" } else { "" };
            let bundle = format!("{hyphen}{kept}{}", &bundle[end..]);
            again.extend((bundle.len() > hyphen.len()).then_some(bundle));
        } else {
            again.push(word.clone());
        }
    }
    let option = format!("--use-compress-program={name} {}", quick.join(" "));
    // The words behind a bundle are its values, in order. Without a hyphen it must stay the first.
    let at = match again.get(1).is_some_and(|word| !word.starts_with('-')) {
        true => again
            .iter()
            .position(|word| word == "--")
            .unwrap_or(again.len()),
        false => 1.min(again.len()),
    };
    again.insert(at, option);
    again
}

/// 7z: `-mx=LEVEL`, `-mmt=THREADS`, behind the command `a` or `u`.
fn seven(case: &Case<'_>, id: ProcessId, words: &[String]) -> Option<Advice> {
    if !matches!(words.get(1).map(String::as_str), Some("a" | "u")) {
        return None;
    }
    let is_ours = |word: &&String| word.starts_with("-mx") || word.starts_with("-mmt");
    let least = words.iter().any(|word| word == "-mx=1" || word == "-mx1")
        && words.iter().any(|word| word == "-mmt=1" || word == "-mmt1");
    let mut again: Vec<String> = words
        .iter()
        .filter(|word| !is_ours(word))
        .cloned()
        .collect();
    again.splice(2..2, ["-mx=1", "-mmt=1"].map(str::to_owned));
    let (command, restart) = shell::again(case, id, &again);
    let effect = match least {
        true => Err("it has its lowest level and one thread already (7z(1))".to_owned()),
        false => Ok(format!("{restart}: what it writes gets larger (7z(1))")),
    };
    Some(Advice {
        command,
        why: WHY,
        effect,
    })
}

/// restic: `--compression off`; as a Go program it takes its threads from `GOMAXPROCS`.
fn restic(case: &Case<'_>, id: ProcessId, words: &[String]) -> Advice {
    let (given, mut again) = without_option(words, "--compression", None);
    again.splice(
        1.min(again.len())..1.min(again.len()),
        ["--compression", "off"].map(str::to_owned),
    );
    again.splice(0..0, ["env", "GOMAXPROCS=1"].map(str::to_owned));
    let (command, restart) = shell::again(case, id, &again);
    let now = given.map_or(String::new(), |given| {
        format!("; its compression is {given} now")
    });
    Advice {
        command,
        why: WHY,
        effect: Ok(format!(
            "{restart}{now}: the repository gets larger (restic's manual, \"Tuning Backup Parameters\")"
        )),
    }
}

/// borg: its default, lz4, is its fastest.
fn borg(case: &Case<'_>, id: ProcessId, words: &[String]) -> Option<Advice> {
    let create = words.iter().position(|word| word == "create")?;
    let (given, mut again) = without_option(words, "--compression", Some("-C"));
    let create = again
        .iter()
        .position(|word| word == "create")
        .unwrap_or(create.min(again.len()));
    again.splice(
        create + 1..create + 1,
        ["--compression", "lz4"].map(str::to_owned),
    );
    let (command, restart) = shell::again(case, id, &again);
    let effect = match given.as_deref() {
        None | Some("lz4" | "none") => Err(
            "it compresses with lz4 or not at all, and less is not to be had (borg-compression(1))"
                .to_owned(),
        ),
        Some(given) => Ok(format!(
            "{restart}; its compression is {given} now: the repository gets larger (borg-compression(1))"
        )),
    };
    Some(Advice {
        command,
        why: WHY,
        effect,
    })
}

/// The value of an option (`--name VALUE` or `--name=VALUE`), and the words without it.
fn without_option(
    words: &[String],
    name: &str,
    short: Option<&str>,
) -> (Option<String>, Vec<String>) {
    let (mut value, mut rest) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == name || Some(word.as_str()) == short {
            value = words.next().cloned();
        } else if let Some(given) = word
            .strip_prefix(name)
            .and_then(|given| given.strip_prefix('='))
        {
            value = Some(given.to_owned());
        } else {
            rest.push(word.clone());
        }
    }
    (value, rest)
}
