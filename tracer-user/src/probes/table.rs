//! The rows of the tables of what attaches.

/// What happens when a probe cannot be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Without it there is nothing to say.
    Required,
    /// Its absence costs this much.
    Optional {
        /// What the user loses.
        cost: &'static str,
        /// Resource of which nothing can be said without it.
        blinds: Option<&'static str>,
    },
}

/// How a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A BTF tracepoint of the same name as the program.
    Tracepoint,
    /// A raw tracepoint of the same name as the program, in the kernel or in this module of it. Without the module there is nothing to
    /// see, hence nothing to miss.
    InModule(&'static str),
    /// The entry of a kernel function.
    Entry(&'static str),
    /// The return of a kernel function with so many arguments: the result comes after them.
    Exit(&'static str, usize),
}

/// One program.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Name of the program.
    pub name: &'static str,
    /// How.
    pub hook: Hook,
    /// How badly it is wanted.
    pub need: Need,
    /// Fields of [`tracer_common::config::Offsets`] without which it cannot be loaded.
    pub facts: &'static [&'static str],
    /// The tracepoint that it stands in for: used only where that is missing.
    pub instead_of: Option<&'static str>,
}

/// A probe without which there is nothing to say.
pub(super) const fn required(name: &'static str, facts: &'static [&'static str]) -> Probe {
    Probe {
        name,
        hook: Hook::Tracepoint,
        need: Need::Required,
        facts,
        instead_of: None,
    }
}

/// A probe whose absence costs something.
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
    }
}

/// An optional probe on a tracepoint of what may be a module.
pub(super) const fn in_module(
    module: &'static str,
    name: &'static str,
    facts: &'static [&'static str],
    cost: &'static str,
) -> Probe {
    Probe {
        name,
        hook: Hook::InModule(module),
        need: Need::Optional { cost, blinds: None },
        facts,
        instead_of: None,
    }
}

/// A probe on a kernel function where a tracepoint is missing; what its own absence costs is said of the tracepoint.
pub(super) const fn substitute(
    name: &'static str,
    hook: Hook,
    instead_of: &'static str,
    facts: &'static [&'static str],
) -> Probe {
    Probe {
        name,
        hook,
        need: Need::Optional {
            cost: "see the tracepoint that it stands in for",
            blinds: None,
        },
        facts,
        instead_of: Some(instead_of),
    }
}
