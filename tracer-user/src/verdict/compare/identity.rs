//! Who held what, by names that are the same in the next trace. A pid is not, nor is the number of a CPU or of a kernel worker.

use std::collections::{BTreeMap, BTreeSet};

use super::batches::Batches;
use crate::{
    class::Resource,
    model::books::{Bin, Books, Budget, Holder, PlaceId, ProcessId},
    standing::home,
    verdict::{
        group::kernel_name, observer::observers, operator::holder_in_words, shares::each_part,
    },
};

/// A holder without its pid: all processes of one name, and of one unit if that has a name that lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// Processes outside the target.
    Process {
        /// Their name.
        comm: String,
        /// Their unit or container.
        unit: Option<String>,
    },
    /// Processes of this name that the target asked, at work for it.
    Asked(String),
    /// Processes of this name that had the target work for them.
    Client(String),
    /// The tracer itself.
    Tracer,
    /// The target, or what is no process.
    Plain(Holder),
}

impl Identity {
    /// Its name. Text from outside is not escaped in it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Process { comm, .. } => comm.clone(),
            Self::Asked(comm) => format!("{comm} itself"),
            Self::Client(comm) => format!("{comm} through the target"),
            Self::Tracer => "the tracer itself".to_owned(),
            Self::Plain(holder) => holder_in_words(*holder),
        }
    }

    /// Its unit or container, if that is known and has a name that lasts.
    #[must_use]
    pub fn unit(&self) -> Option<&str> {
        match self {
            Self::Process { unit, .. } => unit.as_deref(),
            _ => None,
        }
    }
}

/// The holders of one window, with their identities.
#[derive(Clone, Debug)]
pub struct Identities<'a> {
    books: &'a Books,
    observers: BTreeSet<ProcessId>,
}

impl<'a> Identities<'a> {
    /// Of these books.
    #[must_use]
    pub fn new(books: &'a Books) -> Self {
        Self {
            books,
            observers: observers(books),
        }
    }

    /// Of a holder.
    #[must_use]
    pub fn of(&self, holder: Holder) -> Identity {
        match holder {
            Holder::Process(id) if self.books.processes[id].target => Identity::Plain(Holder::Own),
            Holder::Process(id) if self.observers.contains(&id) => Identity::Tracer,
            Holder::Process(id) => Identity::Process {
                comm: self.comm(id),
                unit: home::lasting_name(&self.books.processes[id].cgroup).map(str::to_owned),
            },
            Holder::Asked(id) => Identity::Asked(self.comm(id)),
            Holder::Client(id) => Identity::Client(self.comm(id)),
            other => Identity::Plain(other.plain()),
        }
    }

    /// The name of a place, if it is the same in the next trace: a thread may run on another CPU then.
    #[must_use]
    pub fn place(&self, resource: Option<Resource>, place: Option<PlaceId>) -> Option<String> {
        let place = place.filter(|_| resource != Some(Resource::Cpu))?;
        Some(self.books.places[place].clone())
    }

    fn comm(&self, id: ProcessId) -> String {
        let process = &self.books.processes[id];
        match process.kernel {
            true => kernel_name(&process.comm).to_owned(),
            false => process.comm.to_string(),
        }
    }
}

/// A row of blame.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) resource: Resource,
    pub(super) place: Option<String>,
    pub(super) holder: Identity,
}

/// What is charged in one row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// By batch, ns.
    pub(super) amounts: Vec<f64>,
    /// Part of their sum that rests on an estimate, ns.
    pub(super) estimated: f64,
}

impl Row {
    /// By batch, also where it is in the other window only.
    pub(super) fn padded(&self, batches: &Batches) -> Vec<f64> {
        match self.amounts.is_empty() {
            true => batches.nothing(),
            false => self.amounts.clone(),
        }
    }

    /// Does more than half of it rest on an estimate?
    pub(super) fn is_estimated(&self) -> bool {
        2.0 * self.estimated > self.amounts.iter().sum::<f64>()
    }
}

/// The time of a ledger, by who held what was waited for.
pub(super) fn rows(
    books: &Books,
    ledger: impl Fn(&Bin) -> &Budget,
    batches: &Batches,
) -> BTreeMap<Key, Row> {
    let identities = Identities::new(books);
    let mut rows: BTreeMap<Key, Row> = BTreeMap::new();
    each_part(books, ledger, |slice, charge, ns, estimated_ns| {
        let key = Key {
            resource: charge.resource,
            place: identities.place(Some(charge.resource), charge.place),
            holder: identities.of(charge.holder),
        };
        let row = rows.entry(key).or_default();
        if row.amounts.is_empty() {
            row.amounts = batches.nothing();
        }
        row.amounts[batches.of(slice)] += ns;
        row.estimated += estimated_ns;
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::fixture::Scene;

    #[test]
    fn a_holder_is_the_same_whatever_its_pid() {
        let of = |pid: u32, comm: &str, cgroup: &str, kernel: bool| {
            let mut scene = Scene::new();
            let id = scene.process(pid, comm);
            let process = &mut scene.books.processes[id];
            process.cgroup = cgroup.into();
            process.kernel = kernel;
            Identities::new(&scene.books).of(Holder::Process(id))
        };
        let unit = "/system.slice/backup.service";
        let tar = of(20, "tar", unit, false);
        assert_eq!(tar, of(4711, "tar", unit, false));
        assert_eq!(
            (tar.name().as_str(), tar.unit()),
            ("tar", Some("backup.service"))
        );
        assert_ne!(tar, of(20, "tar", "/system.slice/other.service", false));
        // The kernel numbers its workers, and systemd what it runs once.
        assert_eq!(
            of(30, "kworker/0:1-events", "", true),
            of(31, "kworker/u4:2", "", true)
        );
        assert_eq!(
            of(40, "tar", "/system.slice/run-u7.service", false),
            of(41, "tar", "/system.slice/run-u8.service", false)
        );
    }

    #[test]
    fn a_process_of_the_target_is_the_target_itself_and_a_cpu_is_no_place() {
        let mut scene = Scene::new();
        let (sda, cpu) = (scene.place("sda"), scene.place("cpu1"));
        let identities = Identities::new(&scene.books);
        assert_eq!(identities.of(Holder::Process(0)).name(), "itself");
        let place = |resource, place| identities.place(Some(resource), Some(place));
        assert_eq!(place(Resource::Disk, sda).as_deref(), Some("sda"));
        assert_eq!(place(Resource::Cpu, cpu), None);
    }
}
