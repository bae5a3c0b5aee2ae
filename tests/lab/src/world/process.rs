//! The programs of a scene: where they run, and their certain end.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpStream},
    os::{
        fd::AsRawFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
    ptr, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::tools::tool;

/// How long a server may take to listen. In a guest some fill memory first.
const STARTED: Duration = Duration::from_secs(90);

/// A program to start, and where.
#[derive(Clone)]
pub(crate) struct Program {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// `cgroup.procs` of each group it joins.
    pub(crate) groups: Vec<PathBuf>,
    /// The network namespace it runs in, if not ours.
    pub(crate) netns: Option<String>,
    /// The only CPUs it may use, if not all.
    pub(crate) cpus: Option<Vec<usize>>,
    /// Its nice value, if not ours.
    pub(crate) nice: Option<i32>,
    /// Whether it leads a session of its own, as cron's jobs do.
    pub(crate) session: bool,
    /// Whether it has a `/dev/shm` of its own, which ends with its last process.
    pub(crate) own_shared_memory: bool,
}

impl Program {
    /// A program that joins a group.
    pub(crate) fn new<W: Into<OsString>>(
        group: PathBuf,
        words: impl IntoIterator<Item = W>,
    ) -> Self {
        Self::outside(words).also_in(group)
    }

    /// A program in no group of a scene's.
    pub(crate) fn outside<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        Self {
            words: words.into_iter().map(Into::into).collect(),
            groups: Vec::new(),
            netns: None,
            cpus: None,
            nice: None,
            session: false,
            own_shared_memory: false,
        }
    }

    /// Keeps it on some CPUs.
    pub(crate) fn on_cpus(self, cpus: Vec<usize>) -> Self {
        Self {
            cpus: Some(cpus),
            ..self
        }
    }

    /// Has it join one more group.
    pub(crate) fn also_in(mut self, group: PathBuf) -> Self {
        self.groups.push(group);
        self
    }

    /// Gives it a nice value.
    pub(crate) fn nice(self, nice: i32) -> Self {
        Self {
            nice: Some(nice),
            ..self
        }
    }

    /// Gives it a session of its own.
    pub(crate) fn in_a_session(self) -> Self {
        Self {
            session: true,
            ..self
        }
    }

    /// Gives it a `/dev/shm` of its own: nobody removes the segments of a server that is killed.
    pub(crate) fn with_own_shared_memory(self) -> Self {
        Self {
            own_shared_memory: true,
            ..self
        }
    }

    /// Puts it into a network namespace.
    pub(crate) fn in_netns(self, name: &str) -> Self {
        Self {
            netns: Some(name.to_owned()),
            ..self
        }
    }

    /// With more arguments.
    pub(crate) fn with<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Starts it; its stdout goes to `stdout`.
    pub(crate) fn start(&self, stdout: Stdio) -> Result<Running> {
        let name = self.name()?;
        let child = self
            .command()?
            .stdout(stdout)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Running { child, name })
    }

    /// How it is started, without its stdout.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = tool(&self.name()?);
        command
            .args(&self.words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if !self.session {
            // A session's leader leads a process group anyway.
            command.process_group(0);
        }
        let place = self.place()?;
        // SAFETY: between fork and exec only system calls are made, on descriptors and memory that `place` owns.
        unsafe { command.pre_exec(move || place.enter()) };
        Ok(command)
    }

    fn name(&self) -> Result<String> {
        let name = self.words.first().context("a program without a name")?;
        Ok(name.to_string_lossy().into_owned())
    }

    fn place(&self) -> Result<Place> {
        let join = |path: &PathBuf| {
            File::options()
                .write(true)
                .open(path)
                .with_context(|| reading(path))
        };
        let groups = self.groups.iter().map(join).collect::<Result<_>>()?;
        let netns = self
            .netns
            .as_ref()
            .map(|name| PathBuf::from("/run/netns").join(name));
        let netns = netns
            .map(|path| File::open(&path).with_context(|| reading(&path)))
            .transpose()?;
        Ok(Place {
            groups,
            netns,
            cpus: self.cpus.as_deref().map(cpu_set),
            nice: self.nice,
            session: self.session,
            own_shared_memory: self.own_shared_memory,
        })
    }
}

fn reading(path: &std::path::Path) -> String {
    format!("could not open {}", path.display())
}

/// The place that a program enters between fork and exec.
struct Place {
    groups: Vec<File>,
    netns: Option<File>,
    cpus: Option<libc::cpu_set_t>,
    nice: Option<i32>,
    session: bool,
    own_shared_memory: bool,
}

impl Place {
    fn enter(&self) -> io::Result<()> {
        die_with_parent(libc::SIGKILL)?;
        for group in &self.groups {
            io::Write::write_all(&mut &*group, b"0")?;
        }
        if self.session {
            // SAFETY: the call touches no memory.
            check(unsafe { libc::setsid() })?;
        }
        if let Some(nice) = self.nice {
            // SAFETY: the call touches no memory.
            check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) })?;
        }
        if let Some(netns) = &self.netns {
            // SAFETY: the descriptor is open; the call touches no memory.
            check(unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) })?;
        }
        if self.own_shared_memory {
            own_shared_memory()?;
        }
        if let Some(cpus) = &self.cpus {
            // SAFETY: the pointer and the size are those of a set that outlives the call.
            check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cpus) })?;
        }
        Ok(())
    }
}

/// Moves the calling process to mounts of its own, with an empty file system in memory at `/dev/shm`.
fn own_shared_memory() -> io::Result<()> {
    // SAFETY: the call touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    // Unmounts outside must reach this namespace, and mounts made here must not be seen outside.
    let flags = libc::MS_REC | libc::MS_SLAVE;
    // SAFETY: the path is a C string; null stands for what these flags do not use.
    check(unsafe { libc::mount(ptr::null(), c"/".as_ptr(), ptr::null(), flags, ptr::null()) })?;
    let (kind, point) = (c"tmpfs".as_ptr(), c"/dev/shm".as_ptr());
    // SAFETY: kind and point are C strings; null stands for no options.
    check(unsafe { libc::mount(kind, point, kind, 0, ptr::null()) })
}

/// Asks the kernel to send the calling process a signal when the thread that started it is gone.
fn die_with_parent(signal: libc::c_int) -> io::Result<()> {
    // SAFETY: this option takes a number and touches no memory.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn cpu_set(cpus: &[usize]) -> libc::cpu_set_t {
    // SAFETY: all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { MaybeUninit::zeroed().assume_init() };
    for &cpu in cpus {
        // SAFETY: the set is ours; numbers beyond its size are ignored by the macro's bounds check.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    set
}

/// The CPUs that this process may use, in ascending order.
pub(crate) fn usable_cpus() -> Result<Vec<usize>> {
    let mut set = cpu_set(&[]);
    // SAFETY: the pointer and the size are those of a set that outlives the call.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })
        .context("could not ask which CPUs are usable")?;
    // SAFETY: the numbers stay below the size of the set.
    Ok((0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

/// Keeps the calling thread on some CPUs. Processes and threads that it starts from then on stay there as well.
pub(crate) fn keep_this_thread_on(cpus: &[usize]) -> Result<()> {
    let set = cpu_set(cpus);
    // SAFETY: the pointer and the size are those of a set that outlives the call.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })
        .context("could not choose the CPUs to run on")
}

/// A started program; it is ended, with its process group, when this is dropped.
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails where it has ended on its own.
    pub(crate) fn expect_alive(&mut self) -> Result<()> {
        match self
            .child
            .try_wait()
            .with_context(|| format!("could not look after {}", self.name))?
        {
            None => Ok(()),
            Some(status) => bail!("{} ended too early, with {status}", self.name),
        }
    }

    /// Waits until it takes connections at an address.
    pub(crate) fn expect_listening(&mut self, address: SocketAddr) -> Result<()> {
        let end = Instant::now() + STARTED;
        while TcpStream::connect(address).is_err() {
            self.expect_alive()?;
            ensure!(
                Instant::now() < end,
                "{} does not listen on {address}",
                self.name
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The next line of its stdout, which must be a pipe: some programs print one when they are ready.
    pub(crate) fn line(&mut self) -> Result<String> {
        let stdout = self.child.stdout.as_mut().context("stdout is not a pipe")?;
        let mut line = Vec::new();
        let mut byte = [0];
        // Byte by byte: a buffer would keep what comes after the line.
        while byte != *b"\n" {
            let hearing = || format!("{} ended too early, or cannot be heard", self.name);
            io::Read::read_exact(stdout, &mut byte).with_context(hearing)?;
            line.extend(byte);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits for its end and returns what it wrote to stdout, which must be a pipe.
    pub(crate) fn output(mut self) -> Result<String> {
        let mut stdout = self.child.stdout.take().context("stdout is not a pipe")?;
        let mut text = String::new();
        io::Read::read_to_string(&mut stdout, &mut text)
            .with_context(|| format!("could not hear {}", self.name))?;
        let status = self
            .child
            .wait()
            .with_context(|| format!("could not wait for {}", self.name))?;
        if let Some(signal) = status.signal() {
            bail!("{} was ended by signal {signal}", self.name);
        }
        if !status.success() {
            bail!("{} ended with {status}", self.name);
        }
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None))
            && let Ok(group) = libc::pid_t::try_from(self.child.id())
        {
            // The leader has not been waited for, so the number is still its group's.
            // SAFETY: kill touches no memory.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _reaped = self.child.wait();
    }
}

/// The processes of the group that `leader` leads, and all their descendants. These count also where they lead a group of their
/// own.
pub(crate) fn family(leader: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = all
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let all: Vec<Kin> = pids.filter_map(kin).collect();
    let mut found: Vec<u32> = all
        .iter()
        .filter(|kin| kin.group == leader)
        .map(|kin| kin.pid)
        .collect();
    let mut seen = 0;
    while seen < found.len() {
        let parent = found[seen];
        seen += 1;
        for child in all.iter().filter(|kin| kin.parent == parent) {
            if !found.contains(&child.pid) {
                found.push(child.pid);
            }
        }
    }
    found
}

struct Kin {
    pid: u32,
    parent: u32,
    group: u32,
}

fn kin(pid: u32) -> Option<Kin> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it come the state, the parent and the group.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
    Some(Kin {
        pid,
        parent: fields.next()?.parse().ok()?,
        group: fields.next()?.parse().ok()?,
    })
}

/// A command that gets a signal when we are gone.
pub(crate) fn ends_with_us(mut command: Command, signal: libc::c_int) -> Command {
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(move || die_with_parent(signal)) };
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_includes_what_a_program_started() {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "sh -c 'read line; :' ; :"])
            .stdin(Stdio::piped())
            .process_group(0);
        let mut shell = shell.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(10);
        while family(shell.id()).len() < 2 && Instant::now() < end {
            thread::yield_now();
        }
        assert_eq!(family(shell.id()).len(), 2);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(family(shell.id()).is_empty());
    }

    #[test]
    fn a_family_includes_members_with_a_group_of_their_own() {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "setsid sh -c 'read line; :' ; :"])
            .stdin(Stdio::piped())
            .process_group(0);
        let mut shell = shell.spawn().unwrap();
        let leads = |pid: &u32| kin(*pid).is_some_and(|kin| kin.group == kin.pid);
        let end = Instant::now() + Duration::from_secs(10);
        while family(shell.id()).iter().filter(|pid| leads(pid)).count() < 2 && Instant::now() < end
        {
            thread::yield_now();
        }
        assert_eq!(
            family(shell.id()).iter().filter(|pid| leads(pid)).count(),
            2
        );
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    #[test]
    fn this_process_may_use_a_cpu() {
        assert!(!usable_cpus().unwrap().is_empty());
    }
}
