//! The capabilities of this process (capabilities(7)).

use std::{fs, io};

/// A capability, with its number in `linux/capability.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To give files to others.
    Chown = 0,
    /// To write in folders and to files of others.
    DacOverride = 1,
    /// To read files and folders of others.
    DacReadSearch = 2,
    /// To do to files of others what their owner may.
    Fowner = 3,
    /// To lock any amount of memory.
    IpcLock = 14,
    /// To look into processes of others.
    SysPtrace = 19,
    /// Nearly everything; it includes the last three.
    SysAdmin = 21,
    /// To go before others.
    SysNice = 23,
    /// To see addresses in the kernel, and its log.
    Syslog = 34,
    /// To read the kernel's memory in a program, and to attach one to a tracepoint.
    Perfmon = 38,
    /// To load programs and to create maps.
    Bpf = 39,
}

/// What the tracer uses a capability for.
pub(crate) struct Use {
    pub(crate) capability: Capability,
    /// Its name in capabilities(7).
    pub(crate) name: &'static str,
    /// Does nothing work without it?
    pub(crate) required: bool,
    /// What is lost without it.
    pub(crate) cost: &'static str,
}

/// The capabilities that the tracer uses, the most important first. Root has them all.
pub(crate) const USES: [Use; 8] = [
    Use {
        capability: Capability::Bpf,
        name: "CAP_BPF",
        required: true,
        cost: "no probe can be loaded",
    },
    Use {
        capability: Capability::Perfmon,
        name: "CAP_PERFMON",
        required: true,
        cost: "no probe can be attached",
    },
    Use {
        capability: Capability::SysPtrace,
        name: "CAP_SYS_PTRACE",
        required: false,
        cost: "of processes of other users nobody sees which sockets, files and locks they have and wait for: \
               who has to answer or to let go is often unknown",
    },
    Use {
        capability: Capability::DacReadSearch,
        name: "CAP_DAC_READ_SEARCH",
        required: false,
        cost: "the open files of other users' processes are unknown, as without CAP_SYS_PTRACE, and containers of docker have no names",
    },
    Use {
        capability: Capability::SysAdmin,
        name: "CAP_SYS_ADMIN",
        required: false,
        cost: "waits that began before the trace have no class, Unix sockets of containers have no other end, \
               and who froze a cgroup and the time that the tracer itself takes in the kernel are unknown",
    },
    Use {
        capability: Capability::Syslog,
        name: "CAP_SYSLOG",
        required: false,
        cost: "where kernel.kptr_restrict hides addresses, kernel functions have no names: waits for locks and memory are unknown; \
               where kernel.dmesg_restrict is set, errors that the kernel logged are not shown",
    },
    Use {
        capability: Capability::IpcLock,
        name: "CAP_IPC_LOCK",
        required: false,
        cost: "memory is not locked: where memory is short, the tracer waits like everybody",
    },
    Use {
        capability: Capability::SysNice,
        name: "CAP_SYS_NICE",
        required: false,
        cost: "it cannot go first: on busy CPUs the tracer waits like everybody",
    },
];

impl Use {
    /// Does this process have the capability?
    #[must_use]
    pub(crate) fn is_there(&self) -> bool {
        self.is_in(&status())
    }

    /// Who may do nearly everything may do this, too: the kernel asks for either.
    fn is_in(&self, status: &str) -> bool {
        use Capability::{Bpf, Perfmon, SysAdmin, Syslog};
        let includes = matches!(self.capability, Bpf | Perfmon | Syslog);
        self.capability.is_in(status) || includes && SysAdmin.is_in(status)
    }
}

/// The names of those without which nothing works, if this process lacks them.
#[must_use]
pub(crate) fn lacking() -> Vec<&'static str> {
    let uses = USES.iter().filter(|wanted| wanted.required);
    let lacking = uses.filter(|wanted| !wanted.is_there());
    lacking.map(|wanted| wanted.name).collect()
}

/// Gives up every capability but these, for the calling thread and the threads that it starts later. None comes back.
///
/// # Errors
/// If the kernel refuses.
pub(crate) fn keep_only(kept: &[Capability]) -> io::Result<()> {
    let bits = kept.iter().map(|capability| 1_u64 << *capability as u32);
    let kept = bits.fold(0_u64, |all, bit| all | bit);
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both have the layout that this version of the call wants.
    if unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for (sets, kept) in sets.iter_mut().zip([kept as u32, (kept >> 32) as u32]) {
        sets.effective &= kept;
        sets.permitted &= kept;
        sets.inheritable &= kept;
    }
    // SAFETY: as above; the kernel only reads.
    match unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// From now on no program that this process executes can give it more than it has; the tracer executes none. To be called while there
/// is one thread: those that it starts inherit it.
pub(crate) fn gain_nothing() {
    let (yes, none): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: no pointers. The kernel knows this since 3.5, and never refuses.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, yes, none, none, none) };
}

/// `_LINUX_CAPABILITY_VERSION_3` of `linux/capability.h`: two words for each set.
const VERSION: u32 = 0x2008_0522;

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    /// The thread; 0: the calling one.
    pid: libc::c_int,
}

/// `struct __user_cap_data_struct`: one word of each set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// The `status` file of the calling thread: capabilities are a thread's own.
fn status() -> String {
    fs::read_to_string("/proc/thread-self/status").unwrap_or_default()
}

impl Capability {
    /// Is it among the effective ones of this thread?
    #[must_use]
    pub(crate) fn is_effective(self) -> bool {
        self.is_in(&status())
    }

    /// Is it among the effective ones that a `status` file lists?
    fn is_in(self, status: &str) -> bool {
        let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        effective.unwrap_or(0) >> self as u32 & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_capability_is_a_bit_of_the_effective_set() {
        let status = "Name:\ttracer\nCapPrm:\tffffffffffffffff\nCapEff:\t000000c000200000\n";
        assert!(Capability::SysAdmin.is_in(status));
        assert!(Capability::Perfmon.is_in(status) && Capability::Bpf.is_in(status));
        assert!(!Capability::IpcLock.is_in(status));
        assert!(!Capability::Bpf.is_in(""));
    }

    #[test]
    fn who_may_do_nearly_everything_needs_no_finer_capability_where_the_kernel_asks_for_either() {
        let admin = "CapEff:\t0000000000200000\n";
        let there: Vec<&str> = USES
            .iter()
            .filter(|wanted| wanted.is_in(admin))
            .map(|wanted| wanted.name)
            .collect();
        assert_eq!(
            there,
            ["CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_SYSLOG"]
        );
    }

    #[test]
    fn what_a_thread_gives_up_it_and_its_threads_lack_and_nobody_else() {
        let before = status();
        let of_thread = |status: &str| {
            let line = status.lines().find(|line| line.starts_with("CapEff:"));
            line.map(str::to_owned)
        };
        let inside = thread::spawn(|| {
            keep_only(&[Capability::Bpf]).unwrap();
            let own = status();
            (own, thread::spawn(status).join().unwrap())
        });
        let (own, child) = inside.join().unwrap();
        assert_eq!(Capability::Bpf.is_in(&own), Capability::Bpf.is_in(&before));
        for given_up in USES
            .iter()
            .filter(|wanted| wanted.capability != Capability::Bpf)
        {
            assert!(!given_up.capability.is_in(&own), "{}", given_up.name);
        }
        assert_eq!(of_thread(&own), of_thread(&child));
        assert_eq!(of_thread(&status()), of_thread(&before));
    }
}
