//! Kinds of loss, and the cost of each to the reader of a report.
//!
//! Recordings and reports keep the names of kinds; here a name becomes a type, once.

use tracer_common::{Kind, record::MapLoss};

use crate::class::Resource;

/// A kind of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A record that found its ring full.
    Record(Kind),
    /// A fact for which a map had no room.
    Map(MapLoss),
    /// A run of a program that the kernel left out, because the program interrupted itself. Its record was never written.
    NestedRun,
    /// A record that this reader could not decode: a bug of the tracer.
    Malformed,
    /// An event that did not fit into the recording.
    Unrecorded,
    /// A part of a wait that reached back to slices of a link which the model no longer kept.
    Forgotten,
    /// A kind that this version does not know: another version wrote the recording.
    Unknown,
}

/// The cost of a loss to the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing: the lost values are read again at the end.
    Nothing,
    /// The holders of the resource at that time are not known. Totals stand in, so blame is an estimate.
    Holders(Resource),
    /// Figures are too low.
    Figures,
    /// Only the histograms of the processes that were idle for longest are missing.
    IdleHistograms,
}

impl Loss {
    /// Name of [`Self::NestedRun`] among the records of a report.
    pub const NESTED_RUNS: &str = "nested_runs";

    /// Name of [`Self::Malformed`] among the records of a report.
    pub const MALFORMED: &str = "malformed";

    /// Name of [`Self::Unrecorded`] among the records of a report.
    pub const UNRECORDED: &str = "recording";

    /// Name of [`Self::Forgotten`] among the facts of a report that found no room.
    pub const LINK_SLICES: &str = "link_slices";

    /// The kind of a lost record, by its name in a recording or report.
    #[must_use]
    pub fn of_record(name: &str) -> Self {
        let known = Kind::ALL.iter().find(|(_, known)| *known == name);
        match known {
            Some((kind, _)) => Self::Record(*kind),
            None if name == Self::NESTED_RUNS => Self::NestedRun,
            None if name == Self::MALFORMED => Self::Malformed,
            None if name == Self::UNRECORDED => Self::Unrecorded,
            None => Self::Unknown,
        }
    }

    /// The kind of a fact that a map lost, by its name in a recording or report.
    #[must_use]
    pub fn of_map(name: &str) -> Self {
        let known = MapLoss::ALL.iter().find(|(_, known)| *known == name);
        match known {
            Some((map, _)) => Self::Map(*map),
            None if name == Self::LINK_SLICES => Self::Forgotten,
            None => Self::Unknown,
        }
    }

    /// Its cost. An unknown kind costs something.
    #[must_use]
    pub fn cost(self) -> Cost {
        match self {
            Self::Record(kind) => of_record(kind),
            Self::Map(map) => of_map(map),
            Self::NestedRun
            | Self::Malformed
            | Self::Unrecorded
            | Self::Forgotten
            | Self::Unknown => Cost::Figures,
        }
    }
}

fn of_record(kind: Kind) -> Cost {
    match kind {
        // A histogram only grows, and its map is read at the end.
        Kind::Snapshot => Cost::Nothing,
        Kind::Slice => Cost::Holders(Resource::Cpu),
        Kind::Io => Cost::Holders(Resource::Disk),
        Kind::Link => Cost::Holders(Resource::Network),
        Kind::Wait
        | Kind::Migrate
        | Kind::Stack
        | Kind::ThreadEnd
        | Kind::Call
        | Kind::Socket
        | Kind::Ack
        | Kind::Fork
        | Kind::Exec
        | Kind::Exit
        | Kind::Flow
        | Kind::Interrupts
        | Kind::Work
        | Kind::Stolen
        | Kind::Packets
        | Kind::Client
        | Kind::Signal
        | Kind::LockTried
        | Kind::LockReleased
        | Kind::Sync
        | Kind::Question => Cost::Figures,
    }
}

fn of_map(map: MapLoss) -> Cost {
    match map {
        MapLoss::Histograms | MapLoss::BlockHistograms => Cost::IdleHistograms,
        MapLoss::Tasks
        | MapLoss::Bios
        | MapLoss::Requests
        | MapLoss::Sockets
        | MapLoss::DiskTotals
        | MapLoss::Links
        | MapLoss::Packets => Cost::Figures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_that_a_kernel_half_writes_is_known() {
        for (kind, name) in Kind::ALL {
            assert_eq!(Loss::of_record(name), Loss::Record(kind));
        }
        for (map, name) in MapLoss::ALL {
            assert_eq!(Loss::of_map(name), Loss::Map(map));
        }
        let forgotten = Loss::of_map(Loss::LINK_SLICES);
        assert_eq!(
            (forgotten, forgotten.cost()),
            (Loss::Forgotten, Cost::Figures)
        );
    }

    #[test]
    fn a_name_that_is_not_known_costs_something() {
        for loss in [Loss::of_record("futexes"), Loss::of_map("futexes")] {
            assert_eq!((loss, loss.cost()), (Loss::Unknown, Cost::Figures));
        }
    }

    #[test]
    fn a_snapshot_costs_nothing_and_only_that() {
        let free = Kind::ALL
            .into_iter()
            .filter(|(kind, _)| Loss::Record(*kind).cost() == Cost::Nothing);
        let names: Vec<&str> = free.map(|(_, name)| name).collect();
        assert_eq!(names, ["histograms"]);
        for (name, loss) in [
            ("recording", Loss::Unrecorded),
            ("nested_runs", Loss::NestedRun),
            ("malformed", Loss::Malformed),
        ] {
            assert_eq!(Loss::of_record(name), loss);
            assert_eq!(loss.cost(), Cost::Figures);
        }
    }
}
