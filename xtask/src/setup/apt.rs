//! Installs Debian packages, as root: only the missing ones, named before.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{as_root, find, output, run, say, succeeds},
    paths,
};

/// A program and the package it comes from.
pub(crate) struct Need {
    /// Looked for on PATH.
    pub(crate) program: &'static str,
    /// Installed when the program is not found.
    pub(crate) package: &'static str,
}

impl Need {
    /// This program of this package.
    pub(crate) const fn of(program: &'static str, package: &'static str) -> Self {
        Self { program, package }
    }
}

/// Debian's packages run it before they start a service; exit status 101 forbids the start.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages of the programs that are not there. `what` names their purpose.
pub(crate) fn need(needs: &[Need], what: &str) -> Result<()> {
    install(&missing(needs), what)
}

/// The same, but `service` does not run afterwards unless it was there before.
pub(crate) fn need_without_starting(needs: &[Need], what: &str, service: &str) -> Result<()> {
    let packages = missing(needs);
    if packages.is_empty() || find(service).is_some() {
        return install(&packages, what);
    }
    let _forbidden = NoServices::forbid()?;
    install(&packages, what)?;
    if Path::new("/run/systemd/system").exists() {
        run(
            as_root("systemctl")?.args(["--quiet", "disable", "--now", service]),
            &format!("stop {service}"),
        )?;
    }
    Ok(())
}

/// Installs packages that are not installed yet; nothing happens when all are.
pub(crate) fn install(packages: &[&str], what: &str) -> Result<()> {
    let packages: Vec<_> = packages
        .iter()
        .filter(|package| !is_installed(package))
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages
        .iter()
        .map(|package| **package)
        .collect::<Vec<_>>()
        .join(" ");
    if find("apt-get").is_none() {
        bail!(
            "could not install what is missing for {what}: there is no apt-get; install what Debian calls {list}"
        );
    }
    say(&format!("installing Debian packages for {what}: {list}"));
    refresh()?;
    let mut command = apt_get()?;
    command
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(packages);
    run(&mut command, &format!("install {list}"))
}

/// Whether the archive has this package, or it is installed.
pub(crate) fn is_known(package: &str) -> bool {
    let policy = output(
        Command::new("apt-cache").args(["policy", package]),
        "look for a package",
    );
    policy.is_ok_and(|text| {
        text.lines()
            .any(|line| line.trim().starts_with("Candidate:") && !line.contains("(none)"))
    })
}

/// Fetches the archive's lists, once in a run.
pub(crate) fn refresh() -> Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    run(
        apt_get()?.args(["update", "--quiet"]),
        "fetch the lists of Debian packages",
    )
}

/// `apt-get` as root, asking nothing, and waiting while another one runs.
fn apt_get() -> Result<Command> {
    let mut command = as_root("env")?;
    command.args([
        "DEBIAN_FRONTEND=noninteractive",
        "apt-get",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]);
    // Without a terminal of its own dpkg draws no progress bars into logs.
    command.args(["-o", "Dpkg::Use-Pty=0"]);
    Ok(command)
}

fn missing(needs: &[Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = needs
        .iter()
        .filter(|need| find(need.program).is_none())
        .map(|need| need.package)
        .collect();
    packages.dedup();
    packages
}

fn is_installed(package: &str) -> bool {
    let query = output(
        Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]),
        "ask dpkg",
    );
    query.is_ok_and(|status| status == "installed")
}

/// While this lives, packages that are installed start no services.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn forbid() -> Result<Self> {
        let ours = !Path::new(POLICY).exists();
        if ours {
            let script = paths::tools().join("policy-rc.d");
            fs::create_dir_all(paths::tools()).context("could not make the folder for tools")?;
            fs::write(&script, "#!/bin/sh\nexit 101\n")
                .context("could not write the policy for services")?;
            let mut place = as_root("install")?;
            run(
                place.args(["--mode=755"]).arg(&script).arg(POLICY),
                "forbid packages to start services",
            )?;
        }
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        let removed = || as_root("rm").is_ok_and(|mut rm| succeeds(rm.arg(POLICY)));
        if self.ours && !removed() {
            say(&format!(
                "could not remove {POLICY}: remove it, or Debian's packages start no services"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_missing_and_each_package_once() {
        let needs = [
            Need::of("sh", "dash"),
            Need::of("no-such-program-a", "absent"),
            Need::of("no-such-program-b", "absent"),
        ];
        assert_eq!(missing(&needs), ["absent"]);
    }
}
