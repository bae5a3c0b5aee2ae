//! The system calls that this process may still make (seccomp(2)).

use std::{collections::BTreeMap, env::consts::ARCH};

use anyhow::Result;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// System calls that a process may make.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// With any arguments, by category.
    pub(crate) calls: &'static [&'static [libc::c_long]],
    /// Only with one of these values in the lower half of an argument, by category. What several allow of one call is allowed together.
    pub(crate) with: &'static [&'static [With]],
}

/// A call, the index of an argument, and its values.
pub(crate) type With = (libc::c_long, u8, &'static [u32]);

/// Allows these calls, for all threads and for good. Every other one fails with `EPERM`: a call that was forgotten costs what it was for,
/// and not the process.
///
/// # Errors
/// If the kernel has no filters, or refuses this one.
pub(crate) fn allow_only(allowed: &Allowed) -> Result<()> {
    apply_filter_all_threads(&program(allowed)?)?;
    Ok(())
}

fn program(allowed: &Allowed) -> Result<BpfProgram> {
    let calls = allowed.calls.concat().into_iter();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = calls.map(|call| (call, vec![])).collect();
    for (call, argument, values) in allowed.with.concat() {
        let any_of = rules.entry(call).or_default();
        for value in values {
            let (length, is) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
            let condition = SeccompCondition::new(argument, length, is, u64::from(*value))?;
            any_of.push(SeccompRule::new(vec![condition])?);
        }
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::{io, thread};

    use seccompiler::apply_filter;

    use super::*;

    #[test]
    fn what_is_not_allowed_fails_and_the_thread_goes_on() {
        // Ending a thread takes calls that only the C library knows: all are allowed but one.
        let most: Vec<libc::c_long> = (0..480).filter(|call| *call != libc::SYS_getppid).collect();
        let allowed = Allowed {
            calls: Box::leak(Box::new([&*most.leak()])),
            with: &[&[(libc::SYS_fcntl, 1, &[libc::F_GETFD as u32])]],
        };
        let filter = program(&allowed).unwrap();
        let confined = thread::spawn(move || {
            // Of this thread alone: the others run other tests.
            apply_filter(&filter).unwrap();
            let is_refused = |what: libc::c_int| {
                // SAFETY: takes no pointer.
                let failed = unsafe { libc::fcntl(2, what) } < 0;
                failed && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
            };
            // SAFETY: takes nothing.
            let parent = unsafe { libc::getppid() };
            (parent, is_refused(libc::F_GETFD), is_refused(libc::F_GETFL))
        });
        assert_eq!(confined.join().unwrap(), (-1, false, true));
    }
}
