//! Hand-made books: 20 slices of 100 ms in which nginx (pid 10) runs 10 ms each. Figures are ms per slice.

use crate::{
    class::{Class, Resource},
    model::books::{Bin, Books, Charge, Holder, PlaceId, Process, ProcessId, Requests},
    verdict::{Charged, Verdict},
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const SLICES: u64 = 20;

/// The verdict on closed books.
pub(super) fn judge(books: &Books) -> Verdict {
    crate::verdict::judge(&Charged::new(books))
}

pub(super) struct Scene {
    pub books: Books,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut books = Books {
            bins: vec![Bin::default(); SLICES as usize],
            bin_ns: 100 * MS,
            ..Books::default()
        };
        books.end.ns = SLICES * books.bin_ns;
        let mut scene = Self { books };
        let nginx = scene.process(10, "nginx");
        scene.books.processes[nginx].target = true;
        scene.books.targets.push(nginx);
        scene.threads(Class::OnCpu, 10)
    }

    /// A process in a session of its own.
    pub(super) fn process(&mut self, pid: u32, comm: &str) -> ProcessId {
        self.books.processes.push(Process {
            pid,
            pgid: pid,
            sid: pid,
            start_ns: u64::from(pid),
            comm: comm.into(),
            cmdline: arcstr::format!("{comm} --some-option"),
            ..Process::default()
        });
        self.books.processes.len() - 1
    }

    pub(super) fn place(&mut self, name: &str) -> PlaceId {
        self.books.places.push(name.to_owned());
        self.books.places.len() - 1
    }

    /// Threads spend time in a class.
    pub(super) fn threads(mut self, class: Class, ms: u64) -> Self {
        for bin in &mut self.books.bins {
            bin.threads[class.index()] += ms * MS;
        }
        self
    }

    /// 100 requests were answered, and they spend time in a class.
    pub(super) fn requests(mut self, class: Class, ms: u64) -> Self {
        self.books.requests = Some(Requests {
            count: 100,
            ..Requests::default()
        });
        for bin in &mut self.books.bins {
            bin.requests[class.index()] += ms * MS;
        }
        self
    }

    /// Waiting time is charged to a holder, and `estimated` of it by an estimate.
    pub(super) fn estimate(
        mut self,
        resource: Resource,
        place: Option<PlaceId>,
        holder: Holder,
        ms: u64,
        estimated: u64,
    ) -> Self {
        for bin in &mut self.books.bins {
            bin.charges.push(Charge {
                resource,
                place,
                holder,
                ns: ms * MS,
                estimated_ns: estimated * MS,
            });
        }
        self
    }

    /// Waiting time is charged to a holder.
    pub(super) fn charge(
        self,
        resource: Resource,
        place: Option<PlaceId>,
        holder: Holder,
        ms: u64,
    ) -> Self {
        self.estimate(resource, place, holder, ms, 0)
    }

    /// No probe sees anything of this resource.
    pub(super) fn blind(mut self, resource: Resource) -> Self {
        let missing = &mut self.books.start.missing;
        missing.push(Default::default());
        if let Some(missing) = missing.last_mut() {
            missing.probe = "block_rq_complete".to_owned();
            missing.cost = "waits for disks have no holder".to_owned();
            missing.blinds = Some(resource.name().to_owned());
        }
        self
    }
}

/// nginx waits 40 ms of each slice for sda: 36 behind tar (pid 4711), 4 behind itself.
pub(super) fn disk_behind_tar() -> Scene {
    let mut scene = Scene::new();
    let (tar, sda) = (scene.process(4711, "tar"), scene.place("sda"));
    scene
        .threads(Class::Disk, 40)
        .charge(Resource::Disk, Some(sda), Holder::Process(tar), 36)
        .charge(Resource::Disk, Some(sda), Holder::Own, 4)
}

/// nginx waits so long in each slice for sda, all of it behind itself.
pub(super) fn own_disk(ms: u64) -> Books {
    let mut scene = Scene::new();
    let sda = scene.place("sda");
    let scene = scene.threads(Class::Disk, ms);
    scene
        .charge(Resource::Disk, Some(sda), Holder::Own, ms)
        .books
}
