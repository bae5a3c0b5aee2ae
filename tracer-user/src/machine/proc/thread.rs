//! Threads: the kernel functions in which each one sleeps.

use super::{SmallFiles, numbers_in, process::Stat};
use crate::event::Thread;

/// The threads of a process with the kernel functions in which they sleep; empty if it is gone.
#[must_use]
pub(crate) fn threads(pid: u32) -> Vec<Thread> {
    let mut files = SmallFiles::default();
    let tids = numbers_in(&format!("/proc/{pid}/task"));
    tids.filter_map(|tid| thread(&mut files, pid, tid))
        .collect()
}

/// The threads of a process with their names; empty if it is gone.
#[must_use]
pub(crate) fn thread_names(pid: u32) -> Vec<(u32, String)> {
    let mut files = SmallFiles::default();
    let tids = numbers_in(&format!("/proc/{pid}/task"));
    tids.filter_map(|tid| {
        let comm = files.read(format_args!("/proc/{pid}/task/{tid}/comm"))?;
        let comm = String::from_utf8_lossy(comm);
        Some((tid, comm.trim_end_matches('\n').to_owned()))
    })
    .collect()
}

/// One thread; `None` if it is gone.
fn thread(files: &mut SmallFiles, pid: u32, tid: u32) -> Option<Thread> {
    let state = Stat::parse(files.read(format_args!("/proc/{pid}/task/{tid}/stat"))?)?.state;
    // The stack of a running thread is a guess of the unwinder, or already another.
    let stack = match state {
        'R' => None,
        _ => files.read(format_args!("/proc/{pid}/task/{tid}/stack")),
    };
    Some(Thread {
        pid,
        tid,
        state,
        stack: stack.map(function_names).unwrap_or_default(),
    })
}

/// The process that debugs a thread, if one does.
#[must_use]
pub(crate) fn tracer_of(pid: u32, tid: u32) -> Option<u32> {
    let mut files = SmallFiles::default();
    tracer_pid(files.read(format_args!("/proc/{pid}/task/{tid}/status"))?)
}

/// `TracerPid` of `/proc/PID/status`; it is 0 for nobody.
fn tracer_pid(status: &[u8]) -> Option<u32> {
    let status = String::from_utf8_lossy(status);
    let mut lines = status.lines();
    let pid = lines.find_map(|line| line.strip_prefix("TracerPid:"))?;
    pid.trim().parse().ok().filter(|pid| *pid != 0)
}

/// The names in lines `[<0>] name+0x1d/0x60 [module]`, innermost first. Old kernels end with an address that has no name.
fn function_names(stack: &[u8]) -> Vec<String> {
    let stack = String::from_utf8_lossy(stack);
    let symbols = stack
        .lines()
        .filter_map(|line| line.split_once("] "))
        .map(|(_, symbol)| symbol);
    let names = symbols.map(|symbol| symbol.split(['+', ' ']).next().unwrap_or(symbol));
    names
        .filter(|name| !name.is_empty() && !name.starts_with("0x"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_stack_gives_function_names_innermost_first() {
        let stack = "[<0>] do_wait+0x55/0xb0\n[<ffffffffc0a1>] nfs_wait+0x1/0x2 [nfs]\n[<ffffffffffffffff>] 0xffffffffffffffff\n\n";
        assert_eq!(function_names(stack.as_bytes()), ["do_wait", "nfs_wait"]);
        assert_eq!(function_names(b"").len(), 0);
        assert_eq!(function_names(b"[<0>] ").len(), 0);
    }

    #[test]
    fn a_debugger_is_a_process_and_nobody_is_none() {
        let status = |pid: &str| format!("Name:\ta\nPid:\t7\nTracerPid:\t{pid}\nUid:\t0\n");
        assert_eq!(tracer_pid(status("812").as_bytes()), Some(812));
        assert_eq!(tracer_pid(status("0").as_bytes()), None);
        assert_eq!(tracer_pid(b""), None);
    }

    #[test]
    fn this_process_has_its_own_thread() {
        let pid = std::process::id();
        assert!(
            threads(pid)
                .iter()
                .any(|thread| thread.tid == pid && thread.pid == pid)
        );
        assert_eq!(threads(u32::MAX), []);
    }
}
