//! One guest: boots it, and brings out its script's output and exit status.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{
    kernels::{ACCELERATOR, Kernel, kernel},
    own_root,
};
use crate::{paths, setup};

/// Stands before the first line of the script's output.
const BEGIN: &str = "GUEST-BEGIN";
/// Stands before the script's exit status. No other way to report it works on all kernels.
const STATUS: &str = "GUEST-STATUS=";
/// How much of the console is shown when the script did not even begin, in lines.
const TAIL: usize = 60;
/// Exit status of `timeout` when the time was up.
const TIMED_OUT: i32 = 124;
/// The speed of a slow drive: 25 requests and 2 MiB a second. A guest's CPUs are many times slower than this machine's, and its disk
/// must be slower still. A faster one is idle most of the time, while its programs wait for their CPU.
const SLOW: &str = ",throttling.iops-total=25,throttling.bps-total=2097152";
/// 50 requests and 32 MiB a second: what is swapped out a few hundred KiB at a time leaves requests for what is swapped in.
const SEEKING: &str = ",throttling.iops-total=50,throttling.bps-total=33554432";
/// 32 MiB a second in any number of requests.
const STEADY: &str = ",throttling.bps-total=33554432";

/// The memory of a guest for which nothing else is said, as qemu takes it.
pub const MEMORY: &str = "2G";

/// A guest to be booted.
pub struct Guest<'a> {
    /// The kernel series.
    pub name: &'a str,
    /// Whether it has a root file system of its own, or this machine's.
    pub own_root: bool,
    /// Whether its two CPUs are one core's hyperthreads.
    pub siblings: bool,
    /// How many CPUs it has.
    pub cpus: u32,
    /// Its memory, as qemu takes it. One with a root file system of its own has 1 GiB in any case.
    pub memory: &'static str,
    /// Longest that it may take, in seconds.
    pub limit_s: u32,
    /// Its disks; none with a root file system of its own.
    pub drives: &'a [Drive],
    /// A directory of this machine that it may write to; none with a root file system of its own.
    pub shared: Option<&'a Path>,
}

/// A disk of a guest (virtio).
pub struct Drive {
    /// Its serial number, by which the guest finds it.
    pub name: &'static str,
    /// What is on it: a file, as long as the disk.
    pub file: PathBuf,
    /// How fast it is.
    pub speed: Speed,
}

/// The speed of a guest's disk.
#[derive(Clone, Copy)]
pub enum Speed {
    /// As fast as this machine makes it.
    Full,
    /// Few requests a second, and few bytes.
    Slow,
    /// Few requests a second, which may be long, as on a hard disk: a file is soon read whole, but slowly page by page.
    Seeking,
    /// So many bytes a second that a reader fills a small memory in ten seconds and leaves most of a guest's CPUs to others.
    Steady,
}

impl Speed {
    /// The options of qemu.
    fn options(self) -> &'static str {
        match self {
            Self::Full => "",
            Self::Slow => SLOW,
            Self::Seeking => SEEKING,
            Self::Steady => STEADY,
        }
    }
}

impl Drive {
    /// The options of qemu.
    fn options(&self) -> String {
        let Self { name, file, speed } = self;
        let speed = speed.options();
        // Nothing on it outlives the guest, so this machine's own disk is not waited for.
        format!(
            " -drive if=none,id={name},file={},format=raw,cache=unsafe{speed} -device virtio-blk-pci,drive={name},serial={name}",
            file.display()
        )
    }
}

impl Guest<'_> {
    /// Runs a shell script in the guest and shows its output.
    pub fn run(&self, script: &str) -> Result<()> {
        let (said, status, log) = self.outcome(script)?;
        for line in said {
            println!("[{}] {line}", self.name);
        }
        succeeded(status, &log)
    }

    /// Runs a shell script in the guest, and returns its lines of output if it succeeded.
    pub fn said(&self, script: &str) -> Result<Vec<String>> {
        let (said, status, log) = self.outcome(script)?;
        succeeded(status, &log).with_context(|| said.join("\n"))?;
        Ok(said)
    }

    /// Runs a shell script in the guest: its output, its exit status, and the path of the console's log.
    fn outcome(&self, script: &str) -> Result<(Vec<String>, i32, PathBuf)> {
        let vng = setup::vng()?;
        let kernel = kernel(self.name)?;
        let dir = paths::target().join("vm/run");
        fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
        let mut boot = if self.own_root {
            own_root::qemu(&kernel, &wrapped(script), self.cpus, &dir)?
        } else {
            self.virtme(&vng, &kernel, &self.write(script, &dir)?)?
        };
        let log = dir.join(format!("{}.log", self.name));
        let code = self.boot(&mut boot, &log)?;
        let console =
            fs::read(&log).with_context(|| format!("could not read {}", log.display()))?;
        let (said, status) = self.judge(&String::from_utf8_lossy(&console), code, &log)?;
        Ok((said, status, log))
    }

    /// Runs the command with its output in the log, for no longer than the limit.
    fn boot(&self, command: &mut Command, log: &Path) -> Result<Option<i32>> {
        let file =
            fs::File::create(log).with_context(|| format!("could not write {}", log.display()))?;
        let mut limited = Command::new("timeout");
        limited
            .args(["--kill-after=5", &self.limit_s.to_string()])
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            limited.env(name, value.unwrap_or_default());
        }
        let errors = file.try_clone().context("could not write the log")?;
        let status = limited
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .status();
        Ok(status.context("could not start the guest")?.code())
    }

    /// The script's output and exit status. Shows the end of the console if the script did not come to its end.
    fn judge(&self, console: &str, code: Option<i32>, log: &Path) -> Result<(Vec<String>, i32)> {
        let Some((said, status)) = outcome(console) else {
            let lines: Vec<_> = console.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(TAIL)..].join("\n"));
            if code == Some(TIMED_OUT) {
                bail!(
                    "it was not done after {} s; its console is in {}",
                    self.limit_s,
                    log.display()
                );
            }
            bail!(
                "it ended before its script did; its console is in {}",
                log.display()
            );
        };
        Ok((said.into_iter().map(str::to_owned).collect(), status))
    }

    /// Boots the kernel on this machine's own root file system.
    fn virtme(&self, vng: &Path, kernel: &Kernel, script: &Path) -> Result<Command> {
        let mut command = Command::new(vng);
        // Without `--force-9p` it waits five seconds for a virtiofsd that is not there.
        command
            .args(["--disable-kvm", "--force-9p", "--verbose"])
            .args(["--cpus", &self.cpus.to_string()])
            .args(["--memory", self.memory, "--run"])
            .arg(&kernel.image)
            .arg("--exec")
            .arg(script)
            .env("PATH", path_with(vng)?);
        let mut options = format!("-accel {ACCELERATOR}");
        if self.siblings {
            // Of an option given twice, qemu takes the last.
            options += " -smp 2,sockets=1,cores=1,threads=2";
        }
        options.extend(self.drives.iter().map(Drive::options));
        if let Some(dir) = self.shared {
            command.arg(format!("--rwdir={}", dir.display()));
        }
        command.arg(format!("--qemu-opts={options}"));
        Ok(command)
    }

    /// The script as an executable file, which the guest finds at the same path. (Longer shell text gets lost on the
    /// kernel's command line.)
    fn write(&self, script: &str, dir: &Path) -> Result<PathBuf> {
        let file = dir.join(format!("{}.sh", self.name));
        let text = format!("#!/bin/sh\n{}", wrapped(script));
        fs::write(&file, text).with_context(|| format!("could not write {}", file.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .context("could not make the script executable")?;
        Ok(file)
    }
}

fn succeeded(status: i32, log: &Path) -> Result<()> {
    if status != 0 {
        bail!(
            "the script ended with status {status}; the guest's console is in {}",
            log.display()
        );
    }
    Ok(())
}

/// The script between its marks; the guest's kernel keeps quiet meanwhile.
fn wrapped(script: &str) -> String {
    format!(
        "dmesg -n 1\n\
         for type in tracefs debugfs bpf cgroup2; do\n\
         \tcase $type in tracefs) at=/sys/kernel/tracing;; debugfs) at=/sys/kernel/debug;;\n\
         \tbpf) at=/sys/fs/bpf;; cgroup2) at=/sys/fs/cgroup;; esac\n\
         \tgrep -q \" $at \" /proc/mounts || mount -t $type $type $at 2>/dev/null\n\
         done\n\
         ip link set lo up\n\
         echo {BEGIN}\n\
         (\n{script})\n\
         echo \"{STATUS}$?\"\n"
    )
}

/// The script's output, line by line, and its exit status; `None` when it did not come to its end.
fn outcome(console: &str) -> Option<(Vec<&str>, i32)> {
    // The console ends lines with \r\n, and other output may stand before a mark on the same line.
    let lines = console.lines().map(|line| line.trim_end_matches('\r'));
    let mut after = lines.skip_while(|line| !line.ends_with(BEGIN)).skip(1);
    let mut said = Vec::new();
    loop {
        let line = after.next()?;
        let Some((before, status)) = line.split_once(STATUS) else {
            said.push(line);
            continue;
        };
        said.extend((!before.is_empty()).then_some(before));
        return Some((said, status.trim().parse().ok()?));
    }
}

/// `vng` starts its own other programs by name, and they lie beside it.
fn path_with(vng: &Path) -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = vng.parent().map(Path::to_path_buf);
    env::join_paths(beside.into_iter().chain(env::split_paths(&path)))
        .context("could not add virtme-ng to PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_said_is_told_from_the_rest_of_the_console() {
        let console =
            "boot\r\n[ 1.2] GUEST-BEGIN\r\nhello\r\nno newlineGUEST-STATUS=3\r\nreboot\r\n";
        assert_eq!(outcome(console), Some((vec!["hello", "no newline"], 3)));
    }

    #[test]
    fn all_drives_but_the_fast_ones_have_a_limit() {
        let drive = |speed| Drive {
            name: "d",
            file: "/tmp/d".into(),
            speed,
        };
        let options = drive(Speed::Full).options();
        assert_eq!(
            options,
            " -drive if=none,id=d,file=/tmp/d,format=raw,cache=unsafe -device virtio-blk-pci,drive=d,serial=d"
        );
        for speed in [Speed::Slow, Speed::Seeking, Speed::Steady] {
            let limited = drive(speed).options();
            assert_ne!(limited, options);
            assert_eq!(limited.replace(speed.options(), ""), options);
        }
    }

    #[test]
    fn a_guest_that_died_early_has_no_outcome() {
        assert_eq!(outcome("GUEST-BEGIN\r\nhello\r\nKernel panic"), None);
        assert_eq!(
            outcome("GUEST-STATUS=0\r\n"),
            None,
            "an echo of the script is not its end"
        );
    }
}
