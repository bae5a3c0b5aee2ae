//! Looks as a trace begins. Each may hang: it runs aside, for so long and no longer. Meanwhile the rings are read, so that no
//! record is lost, and Ctrl-C is heard.

use std::time::Duration;

use super::stop::is_asked;
use crate::{
    class::Resource,
    event::{Event, MissingProbe},
    kernel::Kernel,
    machine::looks::{Found, Looks},
};

/// How long the begin of a trace waits for each list of looks. Ten thousand processes are read in a fraction of that.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The looks while the probes fire already.
pub(super) struct Aside<'a> {
    /// The kernel half, attached.
    pub(super) kernel: &'a mut Kernel,
    records: Vec<Event>,
    missing: Vec<MissingProbe>,
}

impl<'a> Aside<'a> {
    /// Nothing is looked for yet.
    #[must_use]
    pub(super) fn new(kernel: &'a mut Kernel) -> Self {
        Self {
            kernel,
            records: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// Looks at each of these items.
    pub(super) fn look<I, T>(
        &mut self,
        items: Vec<I>,
        look: impl FnMut(I) -> T + Clone + Send + 'static,
    ) -> Found<I, T>
    where
        I: Copy + PartialEq + Send + 'static,
        T: Send + 'static,
    {
        let Self {
            kernel, records, ..
        } = self;
        Looks::begin(items, look).end_within(PATIENCE, || {
            kernel.poll(records);
            is_asked()
        })
    }

    /// Looks once. If that takes too long, `what` is missing, with its cost.
    pub(super) fn look_once<T: Default + Send + 'static>(
        &mut self,
        (what, cost): (&str, &str),
        mut look: impl FnMut() -> T + Clone + Send + 'static,
    ) -> T {
        let found = self.look(vec![()], move |()| look()).found.pop();
        found.unwrap_or_else(|| {
            self.miss(unread(what, cost, None));
            T::default()
        })
    }

    /// Takes note of what could not be read.
    pub(super) fn miss(&mut self, missing: MissingProbe) {
        self.missing.push(missing);
    }

    /// The records read meanwhile, and what could not be read.
    #[must_use]
    pub(super) fn end(self) -> (Vec<Event>, Vec<MissingProbe>) {
        (self.records, self.missing)
    }
}

/// What could not be read in time, with its cost, and the resource that is unknown for it.
#[must_use]
pub(super) fn unread(what: &str, cost: &str, blinds: Option<Resource>) -> MissingProbe {
    MissingProbe {
        probe: format!("{what} could not be read in time"),
        cost: cost.to_owned(),
        blinds: blinds.map(|resource| resource.name().to_owned()),
    }
}
