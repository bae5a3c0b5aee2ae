//! A cgroup's part of a disk: a weight where BFQ or iocost divides it, else a limit.
//!
//! Documentation/admin-guide/cgroup-v2.rst, "IO" and "Writeback"; cgroup-v1/blkio-controller.rst.

use super::{
    Advice,
    case::Case,
    seat::{Seat, Setting},
};
use crate::standing::{Hierarchy, Standing};

/// A tenth of every group's default, 100.
const WEIGHT: u64 = 10;
const V1: &str = "Documentation/admin-guide/cgroup-v1/blkio-controller.rst";
pub(super) const V2: &str = "Documentation/admin-guide/cgroup-v2.rst";

/// The disk, as it is named in cgroup files.
struct Disk<'a> {
    name: &'a str,
    scheduler: &'a str,
    /// `8:0`
    device: String,
}

pub(super) fn io_share(case: &Case<'_>) -> Option<Advice> {
    let place = case.place()?;
    let disk = case.books.disks.iter().find(|disk| disk.name == *place)?;
    let disk = Disk {
        name: place,
        scheduler: &disk.scheduler,
        device: format!("{}:{}", disk.dev >> 20, disk.dev & 0xf_ffff),
    };
    let Some(hierarchy) = &case.books.means.io else {
        return Some(Advice {
            command: format!("systemd-run --scope -p IOWeight={WEIGHT} COMMAND"),
            why: "leaves most of the disk to others",
            effect: case.means_known().and_then(|()| {
                Err("no cgroup hierarchy with the io controller is mounted (cgroups(7))".to_owned())
            }),
        });
    };
    let cost = case.books.means.io_cost.contains(&disk.device);
    match disk.scheduler == "bfq" || (hierarchy.unified && cost) {
        true => Some(weight(case, hierarchy, &disk)),
        false => Some(limit(case, hierarchy, &disk)),
    }
}

fn weight(case: &Case<'_>, hierarchy: &Hierarchy, disk: &Disk<'_>) -> Advice {
    let controllers = if case.writes_back() {
        "+io +memory"
    } else {
        "+io"
    };
    let seat = Seat::of(case, hierarchy, io, Setting::Weight, controllers);
    let file = match (hierarchy.unified, disk.scheduler) {
        (false, _) => "blkio.bfq.weight",
        (true, "bfq") => "io.bfq.weight",
        (true, _) => "io.weight",
    };
    let by = if disk.scheduler == "bfq" {
        "BFQ"
    } else {
        "iocost"
    };
    Advice {
        command: seat.command(&[format!("IOWeight={WEIGHT}")], &[(file, WEIGHT.to_string())]),
        why: "leaves most of the disk to others while they use it",
        effect: reaches(case, hierarchy).map(|writeback| {
            format!(
                "{by} gives it a tenth of the others' part while they use the disk, and all of it else{writeback}{} ({})",
                seat.cost(),
                document(hierarchy)
            )
        }),
    }
}

fn limit(case: &Case<'_>, hierarchy: &Hierarchy, disk: &Disk<'_>) -> Advice {
    let (moved, written) = (case.moved(), case.written());
    let rate = case.half_rate();
    let number = rate.map_or("RATE".to_owned(), |rate| rate.to_string());
    let device = &disk.device;
    // A tenth of what it moves is noise: the direction is then not limited.
    let (reads, writes) = (
        written * 10 <= moved * 9 || moved == 0,
        written * 10 >= moved && written > 0,
    );
    let directions = [
        (
            reads,
            "rbps",
            "blkio.throttle.read_bps_device",
            "IOReadBandwidthMax",
        ),
        (
            writes,
            "wbps",
            "blkio.throttle.write_bps_device",
            "IOWriteBandwidthMax",
        ),
    ];
    let chosen = directions.into_iter().filter(|direction| direction.0);
    let properties: Vec<String> = chosen
        .clone()
        .map(|(.., property)| format!("{property}=/dev/{} {number}", disk.name))
        .collect();
    let files: Vec<(&str, String)> = match hierarchy.unified {
        true => {
            let limits: Vec<String> = chosen
                .map(|(_, key, ..)| format!("{key}={number}"))
                .collect();
            vec![("io.max", format!("{device} {}", limits.join(" ")))]
        }
        false => chosen
            .map(|(_, _, file, _)| (file, format!("{device} {number}")))
            .collect(),
    };
    let controllers = if writes { "+io +memory" } else { "+io" };
    let seat = Seat::of(case, hierarchy, io, Setting::Limit, controllers);
    let known = rate
        .map(|_| ())
        .ok_or_else(|| "what it moves there was too little to halve".to_owned());
    Advice {
        command: seat.command(&properties, &files),
        why: "leaves time of the disk to others",
        effect: known.and_then(|()| reaches(case, hierarchy)).map(|writeback| {
            format!(
                "it takes about twice as long, also while nobody else uses the disk{writeback}{} ({})",
                seat.cost(),
                document(hierarchy)
            )
        }),
    }
}

/// Does the controller see the culprit's requests? Returns a note on its writeback, or the reason why not.
fn reaches(case: &Case<'_>, hierarchy: &Hierarchy) -> Result<&'static str, String> {
    case.gone()?;
    match (case.writes_back(), hierarchy.unified) {
        (false, _) => Ok(""),
        (true, true) => Ok(
            "; its writeback counts only where the memory controller is on too and the file system knows cgroups (ext4, btrfs, xfs, f2fs)",
        ),
        (true, false) => Err(format!(
            "most of what it moved there it wrote through the page cache, and cgroup v1 leaves writeback to the root group ({V1})"
        )),
    }
}

pub(super) fn io(standing: &Standing) -> Option<&crate::standing::Group> {
    standing.io.as_ref()
}

fn document(hierarchy: &Hierarchy) -> &'static str {
    if hierarchy.unified { V2 } else { V1 }
}
