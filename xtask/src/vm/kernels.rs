//! Debian's kernel packages, of this machine's suite or another one, unpacked into the target directory.
//!
//! An apt configuration of our own fetches the packages. Nothing is installed, and root is not needed. The archive's address is the
//! one that this machine's own package sources name.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{find, output, run, say},
    paths,
};

/// How qemu runs the guest's CPUs: in turn on one thread of this machine. With a thread for each, a CPU may keep a translation of
/// code that the other has patched since. After a tracepoint was switched, one in about fifty guests met the old breakpoint for
/// ever. Its console showed "soft lockup" in `text_poke_bp_batch`, the other CPU in `asm_exc_int3` (qemu 7.2).
pub(super) const ACCELERATOR: &str = "tcg,thread=single";

/// A series of kernels and the suites of Debian that have it.
pub(crate) struct Series {
    /// "6.12".
    pub(crate) name: &'static str,
    suites: &'static [&'static str],
}

/// The kernels that can be had.
pub(crate) const SERIES: [Series; 4] = [
    Series {
        name: "5.10",
        suites: &["bullseye"],
    },
    Series {
        name: "6.1",
        suites: &["bookworm", "bookworm-security"],
    },
    Series {
        name: "6.12",
        suites: &["bookworm-security"],
    },
    Series {
        name: "7.2",
        suites: &["sid"],
    },
];

/// An unpacked kernel.
pub(crate) struct Kernel {
    /// The image to boot.
    pub(crate) image: PathBuf,
}

/// The kernel of this series; fetched when it is not there.
pub(crate) fn kernel(name: &str) -> Result<Kernel> {
    let series = SERIES.iter().find(|series| series.name == name);
    let series = series.with_context(|| {
        format!("could not find kernel {name}: it is not in the table of kernels")
    })?;
    let folder = paths::target().join("vm").join(name);
    if !folder.exists() {
        fetch(series, &folder).with_context(|| format!("could not fetch kernel {name}"))?;
    }
    let image = image(&folder)?;
    Ok(Kernel { image })
}

/// The one `boot/vmlinuz-*` of an unpacked kernel.
fn image(folder: &Path) -> Result<PathBuf> {
    let boot = folder.join("boot");
    let entries =
        fs::read_dir(&boot).with_context(|| format!("could not read {}", boot.display()))?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let image = files.find(|file| {
        file.file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"vmlinuz-"))
    });
    image.with_context(|| {
        format!(
            "could not find a kernel in {}: delete the folder and try again",
            boot.display()
        )
    })
}

/// Downloads, unpacks, lists the modules, and only then puts the folder in its place.
fn fetch(series: &Series, folder: &Path) -> Result<()> {
    let apt = Apt::new(series)?;
    run(
        apt.command("apt-get").args(["update", "--quiet=2"]),
        "fetch the lists of packages",
    )?;
    let names = output(
        apt.command("apt-cache").args(["pkgnames", "linux-"]),
        "list kernel packages",
    )?;
    let (release, packages) =
        newest(series.name, names.lines()).context("the archive has no such kernel")?;
    say(&format!(
        "downloading kernel {release}: {}",
        packages.join(" ")
    ));
    let (debs, unpacked) = (
        apt.dir.join("debs"),
        folder.with_file_name(format!("{}.new", series.name)),
    );
    for dir in [&debs, &unpacked] {
        let _absent = fs::remove_dir_all(dir);
        fs::create_dir_all(dir)?;
    }
    run(
        apt.command("apt-get")
            .args(["download", "--quiet=2"])
            .args(packages)
            .current_dir(&debs),
        "download the kernel",
    )?;
    for deb in fs::read_dir(&debs)? {
        run(
            Command::new("dpkg")
                .arg("--extract")
                .arg(deb?.path())
                .arg(&unpacked),
            "unpack the kernel",
        )?;
    }
    lay_out(&unpacked, release).context("the packages do not look as expected")?;
    let depmod = find("depmod").context("could not find depmod: install kmod")?;
    run(
        Command::new(depmod).arg("-b").arg(&unpacked).arg(release),
        "list the kernel's modules",
    )?;
    let _done_with = fs::remove_dir_all(&apt.dir);
    fs::rename(&unpacked, folder).context("could not put the kernel in its place")
}

/// Newer packages keep everything below `usr/lib/modules`; its readers here look below `lib` and `boot`.
fn lay_out(unpacked: &Path, release: &str) -> Result<()> {
    if !unpacked.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", unpacked.join("lib"))?;
    }
    let boot = unpacked.join("boot");
    fs::create_dir_all(&boot)?;
    if image(unpacked).is_err() {
        let inside = unpacked.join("lib/modules").join(release).join("vmlinuz");
        fs::rename(inside, boot.join(format!("vmlinuz-{release}")))?;
    }
    Ok(())
}

/// The newest release of a series, "6.12.117+deb12-amd64", and the packages that hold its image and its modules.
fn newest<'a>(
    series: &str,
    names: impl Iterator<Item = &'a str>,
) -> Option<(&'a str, Vec<&'a str>)> {
    let parts: Vec<_> = names
        .filter_map(|name| Some((release(series, name)?, name)))
        .collect();
    let (newest, _) = parts.iter().max_by_key(|(release, _)| numbers(release))?;
    let packages = parts
        .iter()
        .filter(|(release, _)| release == newest)
        .map(|(_, name)| *name)
        .collect();
    Some((newest, packages))
}

/// The release that a package belongs to; `None` for other series and for flavours without 9p or with debug files.
fn release<'a>(series: &str, package: &'a str) -> Option<&'a str> {
    let kinds = [
        "linux-image-",
        "linux-base-",
        "linux-binary-",
        "linux-modules-",
    ];
    let release = kinds.iter().find_map(|kind| package.strip_prefix(kind))?;
    let patch = release
        .strip_prefix(series)?
        .strip_prefix('.')?
        .strip_suffix("-amd64")?;
    let plain = patch.starts_with(|first: char| first.is_ascii_digit());
    (plain && !patch.ends_with("-rt") && !patch.ends_with("-cloud")).then_some(release)
}

/// The numbers in a release, which compare as people read them.
fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// An apt that knows only some suites, and keeps all it fetches in a folder of its own.
struct Apt {
    dir: PathBuf,
}

impl Apt {
    fn new(series: &Series) -> Result<Self> {
        let dir = paths::target().join("vm/apt").join(series.name);
        for sub in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(sub))
                .with_context(|| format!("could not make {}", dir.display()))?;
        }
        let machine = machine_sources();
        let lines: Result<Vec<_>> = series
            .suites
            .iter()
            .map(|suite| source_line(&machine, suite))
            .collect();
        fs::write(dir.join("sources.list"), lines?.concat())
            .context("could not write the list of sources")?;
        Ok(Self { dir })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            ("Dir::Etc::sourcelist", self.dir.join("sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("Dir::State::Lists", self.dir.join("lists")),
            ("Dir::Cache", self.dir.join("cache")),
            ("APT::Sandbox::User", "root".into()),
            ("Acquire::Languages", "none".into()),
        ];
        for (name, value) in options {
            command.arg("-o").arg(format!("{name}={}", value.display()));
        }
        command
    }
}

/// Where this machine gets packages of one or more suites from.
#[derive(Debug, Default, PartialEq)]
struct Source {
    uri: String,
    suites: Vec<String>,
    signed_by: Option<String>,
}

/// The line for a suite: from where the machine gets that suite, or else one like it. Suites of security updates are alike, and so
/// are all others.
fn source_line(machine: &[Source], suite: &str) -> Result<String> {
    let security = |suite: &str| suite.ends_with("-security");
    let exact = machine
        .iter()
        .find(|source| source.suites.iter().any(|has| has == suite));
    let alike = || {
        machine.iter().find(|source| {
            source
                .suites
                .iter()
                .any(|has| security(has) == security(suite))
        })
    };
    let Some(Source { uri, signed_by, .. }) = exact.or_else(alike) else {
        bail!(
            "this machine's package sources name no archive that would have {suite}: add Debian's to them"
        );
    };
    let key = signed_by
        .as_ref()
        .map(|key| format!("[signed-by={key}] "))
        .unwrap_or_default();
    Ok(format!("deb {key}{uri} {suite} main\n"))
}

/// All package sources of this machine, in both formats that apt reads.
fn machine_sources() -> Vec<Source> {
    let parts = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> = parts.collect();
    files.sort();
    files.insert(0, "/etc/apt/sources.list".into());
    let read =
        |file: &PathBuf| Some((file.extension()?.to_owned(), fs::read_to_string(file).ok()?));
    let texts = files.iter().filter_map(read);
    texts
        .flat_map(|(kind, text)| match kind.to_str() {
            Some("sources") => text.split("\n\n").filter_map(stanza).collect(),
            Some("list") => text.lines().filter_map(one_line).collect(),
            _ => Vec::new(),
        })
        .collect()
}

/// A paragraph of a `.sources` file.
fn stanza(text: &str) -> Option<Source> {
    let fields: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .collect();
    let field = |wanted: &str| {
        let found = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let binary = field("Types")?.split_whitespace().any(|kind| kind == "deb");
    (binary && field("Enabled") != Some("no")).then_some(())?;
    Some(Source {
        uri: field("URIs")?.split_whitespace().next()?.to_owned(),
        suites: field("Suites")?
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        signed_by: field("Signed-By")
            .filter(|key| key.starts_with('/'))
            .map(str::to_owned),
    })
}

/// A line of a `.list` file.
fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb ")?.trim();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let (uri, suite) = (words.next()?.to_owned(), words.next()?.to_owned());
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="))
        .map(str::to_owned);
    Some(Source {
        uri,
        suites: vec![suite],
        signed_by,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_release_is_chosen_by_number_with_all_its_packages() {
        let names = [
            "linux-image-6.1.0-9-amd64",
            "linux-image-6.1.0-47-amd64",
            "linux-image-6.1.0-47-rt-amd64",
        ];
        assert_eq!(
            newest("6.1", names.into_iter()),
            Some(("6.1.0-47-amd64", vec![names[1]]))
        );
        let split = [
            "linux-modules-7.2.13+deb14-amd64",
            "linux-binary-7.2.13+deb14-amd64",
            "linux-binary-unsigned-7.2.13+deb14-amd64",
        ];
        assert_eq!(
            newest("7.2", split.into_iter()),
            Some(("7.2.13+deb14-amd64", split[..2].to_vec()))
        );
    }

    #[test]
    fn another_series_and_other_flavours_are_no_candidates() {
        assert_eq!(release("6.1", "linux-image-6.12.9-amd64"), None);
        assert_eq!(release("6.12", "linux-image-6.12-amd64"), None);
        assert_eq!(
            release("6.12", "linux-image-6.12.9+deb12-cloud-amd64"),
            None
        );
        assert_eq!(release("6.12", "linux-image-6.12.9+deb12-amd64-dbg"), None);
    }

    #[test]
    fn both_formats_of_package_sources_are_read() {
        let stanza =
            stanza("Types: deb\nURIs: mirror:/a\nSuites: x x-updates\nSigned-By: /k.gpg\n");
        let line = one_line("deb [arch=amd64 signed-by=/k.gpg] mirror:/a x main");
        let source = |suites: &[&str]| Source {
            uri: "mirror:/a".to_owned(),
            suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
            signed_by: Some("/k.gpg".to_owned()),
        };
        assert_eq!(stanza, Some(source(&["x", "x-updates"])));
        assert_eq!(line, Some(source(&["x"])));
        assert_eq!(one_line("# deb mirror:/a x main"), None);
    }

    #[test]
    fn a_suite_comes_from_its_own_archive_or_one_of_its_kind() {
        let source = |uri: &str, suite: &str| Source {
            uri: uri.to_owned(),
            suites: vec![suite.to_owned()],
            signed_by: None,
        };
        let machine = [
            source("mirror:/main", "x"),
            source("mirror:/security", "x-security"),
        ];
        assert_eq!(
            source_line(&machine, "sid").ok().as_deref(),
            Some("deb mirror:/main sid main\n")
        );
        assert_eq!(
            source_line(&machine, "y-security").ok().as_deref(),
            Some("deb mirror:/security y-security main\n")
        );
        assert!(source_line(&[], "sid").is_err());
    }
}
