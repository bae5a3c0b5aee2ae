//! The rows of a family's table: the programs that attach, and the cost of their absence.

use tracer_common::shed::Group;

/// The consequence when a probe cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it the tracer can report nothing.
    Required,
    /// Its absence costs something.
    Optional {
        /// The loss to the user.
        cost: &'static str,
        /// Resource that the tracer cannot see without it.
        blinds: Option<&'static str>,
    },
}

/// The place where a program attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF tracepoint of the same name as the program.
    Tracepoint,
    /// A raw tracepoint of the same name as the program, in the kernel or in this module of it. Without the module there is nothing
    /// to see, so nothing is missing.
    InModule(&'static str),
    /// The entry of a kernel function.
    Entry(&'static str),
    /// The return of a kernel function with this number of arguments. The result comes after them.
    Exit(&'static str, usize),
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name of the program.
    pub name: &'static str,
    /// Where it attaches.
    pub hook: Hook,
    /// Does the tracer work without it?
    pub need: Need,
    /// Fields of [`tracer_common::config::Offsets`] without which it cannot be loaded.
    pub facts: &'static [&'static str],
    /// The tracepoint that it stands in for. It attaches only if that one is missing.
    pub instead_of: Option<&'static str>,
    /// The group with which it is shed while its facts cannot change the answer; `None` if they always may.
    pub shed_with: Option<Group>,
}

impl Probe {
    /// The same probe, shed with a group.
    pub(super) const fn shed_with(self, group: Group) -> Self {
        Self {
            shed_with: Some(group),
            ..self
        }
    }
}

/// A required probe.
pub(super) const fn required(name: &'static str, facts: &'static [&'static str]) -> Probe {
    Probe {
        name,
        hook: Hook::Tracepoint,
        need: Need::Required,
        facts,
        instead_of: None,
        shed_with: None,
    }
}

/// A probe that the tracer can do without, at a cost.
pub(super) const fn optional(
    name: &'static str,
    facts: &'static [&'static str],
    cost: &'static str,
    blinds: Option<&'static str>,
) -> Probe {
    Probe {
        name,
        hook: Hook::Tracepoint,
        need: Need::Optional { cost, blinds },
        facts,
        instead_of: None,
        shed_with: None,
    }
}

/// An optional probe at the entry of the kernel function of the same name.
pub(super) const fn at_entry(
    name: &'static str,
    facts: &'static [&'static str],
    cost: &'static str,
) -> Probe {
    Probe {
        hook: Hook::Entry(name),
        ..optional(name, facts, cost, None)
    }
}

/// An optional probe on a tracepoint that may be in a module.
pub(super) const fn in_module(
    module: &'static str,
    name: &'static str,
    facts: &'static [&'static str],
    cost: &'static str,
) -> Probe {
    Probe {
        hook: Hook::InModule(module),
        ..optional(name, facts, cost, None)
    }
}

/// A probe on a kernel function that stands in for a missing tracepoint. The row of the tracepoint has the cost.
pub(super) const fn substitute(
    name: &'static str,
    hook: Hook,
    instead_of: &'static str,
    facts: &'static [&'static str],
) -> Probe {
    let cost = "see the tracepoint that it stands in for";
    Probe {
        hook,
        instead_of: Some(instead_of),
        ..optional(name, facts, cost, None)
    }
}
