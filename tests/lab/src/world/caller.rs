//! Between the calling user and root. The user builds the programs, root makes and plays the scenes, and the user gets the kept
//! files back.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use xtask::{
    command::{as_root, say},
    paths,
};

/// The longest window: the size of slow disks grows with it.
const LONGEST: Duration = Duration::from_secs(60);

/// Replaces this process by one of root's, with the same arguments; prints `why` before.
pub(crate) fn again_as_root(why: &str) -> Result<()> {
    let this = std::env::current_exe().context("could not find this program")?;
    say(&format!("{why}: it needs root"));
    let mut command = as_root("env")?;
    command
        .arg("--")
        .arg(format!("CARGO_TARGET_DIR={}", paths::target().display()));
    command
        .arg(this)
        .args(std::env::args_os().skip(1))
        .arg("--built");
    Err(command.exec()).context("could not start sudo")
}

/// Gives the kept files to the user of `sudo`.
pub(crate) fn give_back(keep: &Path) {
    let id = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let Some(user) = id("SUDO_UID") else { return };
    let files = fs::read_dir(keep)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for path in files.chain([keep.to_owned()]) {
        // Files that stay root's can still be read.
        let _kept = chown(path, Some(user), id("SUDO_GID"));
    }
}

/// A length of time such as `10s`, `1500ms` or `1m`.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number
        .parse()
        .with_context(|| format!("{text:?} is not a length of time such as 10s"))?;
    let length = match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        _ => bail!("{unit:?} is not a unit of time: use ms, s or m"),
    };
    if length.is_zero() || length > LONGEST {
        bail!("{text} is not between 1ms and {}s", LONGEST.as_secs());
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units() {
        assert_eq!(duration("10s").unwrap(), Duration::from_secs(10));
        assert_eq!(duration("1500ms").unwrap(), Duration::from_millis(1500));
        assert_eq!(duration("1m").unwrap(), Duration::from_secs(60));
        for wrong in ["", "s", "10h", "0s", "2m", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
