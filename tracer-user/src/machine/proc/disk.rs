//! Disks: `/sys/block`, and which of them lie under a process's mounts.

use std::{
    cell::LazyCell,
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::system_call::SystemCall;
use crate::{event::Disk, file_system::Kind};

/// The mounts of the tracer by their points. Of several at one point the last one is on top.
type Points = HashMap<PathBuf, Mount>;
/// The same, read when they are needed first.
type OwnMounts = LazyCell<Points>;

/// Every whole disk, and every device stacked on one, in order of name.
#[must_use]
pub(crate) fn disks() -> Vec<Disk> {
    let mounts: OwnMounts = LazyCell::new(own_mounts);
    let disks = folders().filter_map(|folder| disk(&folder, &mounts));
    let mut disks: Vec<Disk> = disks.collect();
    disks.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    disks
}

/// The names of all of these, as `/proc/diskstats` has them.
pub(super) fn names() -> HashSet<String> {
    folders().filter_map(|folder| name(&folder)).collect()
}

/// Their folders, `/sys/block/NAME`.
fn folders() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

/// sysfs writes the `/` of names like `cciss/c0d0` as `!`.
fn name(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_string_lossy().replace('!', "/"))
}

/// One disk; `folder` is `/sys/block/NAME`.
fn disk(folder: &Path, mounts: &OwnMounts) -> Option<Disk> {
    let scheduler = fs::read_to_string(folder.join("queue/scheduler")).unwrap_or_default();
    Some(Disk {
        dev: device_in(folder)?,
        name: name(folder)?,
        below: below(folder, mounts),
        scheduler: chosen(&scheduler).to_owned(),
        rotational: fs::read_to_string(folder.join("queue/rotational"))
            .is_ok_and(|text| text.trim() == "1"),
    })
}

/// Whole disks directly under a device: those it is made of, or the one with the file behind a loop device.
fn below(folder: &Path, mounts: &OwnMounts) -> Vec<u32> {
    let slaves = fs::read_dir(folder.join("slaves"))
        .into_iter()
        .flatten()
        .flatten();
    let slaves = slaves.filter_map(|slave| device_in(&whole_disk(&slave.path())?));
    let backing = fs::read_to_string(folder.join("loop/backing_file")).ok();
    let backing = backing.and_then(|file| {
        let file = Path::new(file.trim_end_matches('\n'));
        device_in(&disk_of_file(file, mounts)?)
    });
    let devices: BTreeSet<u32> = slaves.chain(backing).collect();
    devices.into_iter().collect()
}

/// The scheduler in brackets in `none [mq-deadline] kyber`; a device without a choice names just one.
fn chosen(schedulers: &str) -> &str {
    let bracketed = schedulers
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    bracketed.map_or(schedulers.trim(), |(name, _)| name)
}

/// The number of the device that a folder in `/sys` describes.
fn device_in(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("dev")).ok()?;
    packed(parse_device(text.trim())?)
}

/// `8:1` → (8, 1).
pub(super) fn parse_device(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A device number as the kernel packs it in `dev_t`: 12 bits of major, 20 of minor (`include/linux/kdev_t.h`).
pub(super) fn packed((major, minor): (u32, u32)) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some(major << 20 | minor)
}

/// The folder in `/sys` of the whole disk for a device's folder. A partition's folder lies in that of its disk.
fn whole_disk(folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder).ok()?;
    match folder.join("partition").exists() {
        true => folder.parent().map(Path::to_owned),
        false => Some(folder),
    }
}

/// The folder in `/sys` of the whole disk of a device.
fn folder_of((major, minor): (u32, u32)) -> Option<PathBuf> {
    whole_disk(Path::new(&format!("/sys/dev/block/{major}:{minor}")))
}

/// The folder in `/sys` of the whole disk that holds a file, which the tracer sees among its own `mounts`.
fn disk_of_file(file: &Path, mounts: &Points) -> Option<PathBuf> {
    // By the folders above it: a machine may have tens of thousands of mounts, and a container's root a hundred layers.
    let mut folders = file.ancestors();
    let mount = folders.find_map(|folder| mounts.get(folder));
    // Who asks a server that is gone for its file may wait for ever.
    if let Some(mount) = mount.filter(|mount| mount.is_served) {
        return mount.disk();
    }
    let device = numbers(fs::metadata(file).ok()?.dev());
    // btrfs and others number their files with devices that do not exist: ask the mount that holds the file.
    match device.0 {
        0 => mount?.disk(),
        _ => folder_of(device),
    }
}

/// The mounts that the tracer sees.
fn own_mounts() -> Points {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    points(&String::from_utf8_lossy(&mounts))
}

fn points(mounts: &str) -> Points {
    let mounts = mounts.lines().filter_map(Mount::parse);
    let by_point = mounts.map(|mount| (PathBuf::from(&mount.point), mount));
    by_point.collect()
}

/// The whole disk of the file for which a thread sleeps in a system call. Its mount is asked, not the file: that might have to be
/// waited for, too.
#[must_use]
pub(crate) fn disk_of_call(pid: u32, tid: u32) -> Option<u32> {
    let file = SystemCall::of(pid, tid)?.file()?;
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{file}")).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let id: u32 = id.trim().parse().ok()?;
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mut mounts = mounts.lines().filter_map(Mount::parse);
    device_in(&mounts.find(|mount| mount.id == id)?.disk()?)
}

/// Major and minor of a device number as system calls give it.
fn numbers(device: u64) -> (u32, u32) {
    (libc::major(device), libc::minor(device))
}

/// One line of `/proc/PID/mountinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    id: u32,
    device: (u32, u32),
    point: String,
    source: String,
    /// Does another process or machine serve its files?
    is_served: bool,
    /// The folders of an overlay (a container's root), as the tracer sees them.
    layers: Vec<String>,
}

impl Mount {
    /// Parses `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAG]… - TYPE SOURCE OPTIONS`.
    fn parse(line: &str) -> Option<Self> {
        let (head, tail) = line.split_once(" - ")?;
        let mut fields = head.split(' ');
        let id = fields.next()?.parse().ok()?;
        let device = parse_device(fields.nth(1)?)?;
        let point = unescape(fields.nth(1)?);
        let mut tail = tail.split(' ');
        let kind = tail.next()?;
        let source = unescape(tail.next()?);
        let options = tail.next().filter(|_| kind == "overlay");
        Some(Self {
            id,
            device,
            point,
            source,
            is_served: Kind::of_type(kind).is_some(),
            layers: layers(options.unwrap_or_default()),
        })
    }

    /// The folder in `/sys` of the whole disk under it. `None` for a file system in memory or on another machine.
    fn disk(&self) -> Option<PathBuf> {
        if self.device.0 != 0 {
            return folder_of(self.device);
        }
        if !self.source.starts_with("/dev/") {
            return None;
        }
        let metadata = fs::metadata(&self.source).ok()?;
        let is_block = metadata.file_type().is_block_device();
        folder_of(is_block.then(|| numbers(metadata.rdev()))?)
    }
}

/// `rw,lowerdir=/a:/b,upperdir=/c,workdir=/d` → `/a`, `/b`, `/c`.
fn layers(options: &str) -> Vec<String> {
    let folders = options.split(',').filter_map(|option| {
        let (name, folders) = option.split_once('=')?;
        (name.starts_with("lowerdir") || name == "upperdir").then_some(folders)
    });
    folders.flat_map(|f| f.split(':')).map(unescape).collect()
}

/// mountinfo writes space, tab, newline and backslash as `\040`, `\011`, `\012`, `\134`.
pub(super) fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let codes = [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", r"\"),
    ];
    codes.iter().fold(text.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

/// Whole disks under the mounts of a process, with everything that those are stacked on; ascending. Empty if it is gone.
#[must_use]
pub(crate) fn disks_of(pid: u32) -> Vec<u32> {
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let mounts = String::from_utf8_lossy(&mounts);
    let mounts: Vec<Mount> = mounts.lines().filter_map(Mount::parse).collect();
    let folders = folders_of(&mounts, &LazyCell::new(own_mounts));
    let tops: Vec<u32> = folders
        .iter()
        .filter_map(|folder| device_in(folder))
        .collect();
    with_all_below(tops, &disks())
}

/// The folders in `/sys` of the whole disks under these mounts. Each device and each layer is looked at once: there may be tens of
/// thousands of mounts, nearly all of them of a few.
fn folders_of(mounts: &[Mount], of_tracer: &OwnMounts) -> BTreeSet<PathBuf> {
    let mut seen = HashSet::new();
    let tops = mounts
        .iter()
        .filter(|mount| seen.insert((mount.device, &mount.source)));
    let layers: BTreeSet<&String> = mounts.iter().flat_map(|mount| &mount.layers).collect();
    let of_layers = layers
        .into_iter()
        .filter_map(|folder| disk_of_file(Path::new(folder), of_tracer));
    tops.filter_map(Mount::disk).chain(of_layers).collect()
}

/// Devices and everything under them, ascending.
fn with_all_below(mut open: Vec<u32>, disks: &[Disk]) -> Vec<u32> {
    let mut found = BTreeSet::new();
    while let Some(dev) = open.pop() {
        if found.insert(dev) {
            open.extend(
                disks
                    .iter()
                    .filter(|disk| disk.dev == dev)
                    .flat_map(|disk| &disk.below),
            );
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_is_the_one_in_brackets() {
        assert_eq!(chosen("none [mq-deadline] kyber bfq \n"), "mq-deadline");
        assert_eq!(chosen("[none] mq-deadline \n"), "none");
        assert_eq!(chosen("none\n"), "none");
        assert_eq!(chosen(""), "");
        assert_eq!(chosen("broken ["), "broken [");
    }

    #[test]
    fn device_numbers_pack_as_in_the_kernel() {
        assert_eq!(
            parse_device("254:16").and_then(packed),
            Some(254 << 20 | 16)
        );
        assert_eq!(parse_device("8").and_then(packed), None);
        assert_eq!(packed((4096, 0)), None);
        assert_eq!(packed((8, 1 << 20)), None);
    }

    #[test]
    fn a_mount_has_device_point_and_source() {
        let mount = Mount::parse(
            r"27 1 254:0 / /a\040b rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard",
        )
        .unwrap();
        assert_eq!(
            mount,
            Mount {
                id: 27,
                device: (254, 0),
                point: "/a b".into(),
                source: "/dev/vda".into(),
                is_served: false,
                layers: Vec::new(),
            }
        );
        assert_eq!(Mount::parse("27 1 254:0 / / rw"), None);
        assert_eq!(Mount::parse("27 1 254 / / rw - ext4 /dev/vda rw"), None);
        assert_eq!(Mount::parse(""), None);
    }

    #[test]
    fn a_containers_root_lies_on_the_disks_of_its_layers() {
        let mount = Mount::parse(
            "90 1 0:50 / / rw - overlay overlay rw,lowerdir=/var/a:/b\\040c,upperdir=/var/d,workdir=/var/e,nouserxattr",
        )
        .unwrap();
        assert_eq!(mount.layers, ["/var/a", "/b c", "/var/d"]);
        let of_process = Mount::parse("27 1 254:0 / / rw - ext4 /dev/vda rw,upperdir=/x").unwrap();
        assert_eq!(of_process.layers, [""; 0]);
    }

    #[test]
    fn a_stack_of_devices_is_followed_to_the_bottom_and_a_circle_ends() {
        let disk = |dev, below: &[u32]| Disk {
            dev,
            below: below.to_vec(),
            ..Disk::default()
        };
        let disks = [
            disk(9, &[7, 8]),
            disk(8, &[1]),
            disk(7, &[2]),
            disk(1, &[9]),
            disk(3, &[]),
        ];
        assert_eq!(with_all_below(vec![9], &disks), [1, 2, 7, 8, 9]);
        assert_eq!(with_all_below(vec![3], &disks), [3]);
        assert_eq!(with_all_below(vec![], &disks), [0; 0]);
    }

    #[test]
    fn memory_and_remote_mounts_have_no_disk() {
        let mount = |source: &str| Mount {
            id: 1,
            device: (0, 41),
            point: "/".into(),
            source: source.into(),
            is_served: false,
            layers: Vec::new(),
        };
        assert_eq!(mount("tmpfs").disk(), None);
        assert_eq!(mount("server:/export").disk(), None);
        assert_eq!(mount("/dev/null").disk(), None);
    }

    #[test]
    fn a_file_of_a_server_is_not_touched_and_one_of_a_disk_is() {
        let Some(disk) = disks().into_iter().next() else {
            eprintln!("SKIP this machine has no disk");
            return;
        };
        let (major, minor) = (disk.dev >> 20, disk.dev & 0xf_ffff);
        // No such file: who finds its disk has asked only the mount.
        let found = |kind| {
            let lines = [
                format!("1 0 {major}:{minor} / / rw - ext4 /dev/root rw"),
                format!("2 1 {major}:{minor} / /tracer/srv rw - {kind} server:/ rw"),
            ];
            let folder = disk_of_file(Path::new("/tracer/srv/file"), &points(&lines.join("\n")));
            folder.and_then(|folder| device_in(&folder))
        };
        assert_eq!(found("fuse.sshfs"), Some(disk.dev));
        assert_eq!(found("ext4"), None);
    }

    #[test]
    fn a_file_lies_on_the_nearest_mount_above_it_and_there_on_the_last_one() {
        let line = |id: u32, point: &str| format!("{id} 0 8:0 / {point} rw - ext4 /dev/sda rw");
        let lines = [
            line(1, "/"),
            line(2, "/srv"),
            line(3, "/srv"),
            line(4, "/sr"),
        ];
        let points = points(&lines.join("\n"));
        let of = |file: &str| {
            let mut folders = Path::new(file).ancestors();
            folders.find_map(|folder| points.get(folder)).unwrap().id
        };
        assert_eq!(
            (of("/srv/a/b"), of("/srv"), of("/srvice"), of("/sr/v")),
            (3, 3, 1, 4)
        );
    }

    #[test]
    fn as_many_mounts_as_a_machine_may_have_are_looked_at_in_a_moment() {
        let mount = |id: u32| {
            let layers = format!("lowerdir=/l/{}:/l/base,upperdir=/u/{}", id % 97, id % 89);
            Mount::parse(&format!(
                "{id} 1 0:{} / /run/{id} rw - overlay overlay rw,{layers}",
                id % 4096
            ))
        };
        // `fs.mount-max` is 100,000 by default.
        let mounts: Vec<Mount> = (0..100_000).filter_map(mount).collect();
        let begun = std::time::Instant::now();
        assert!(folders_of(&mounts, &LazyCell::new(own_mounts)).len() < 100);
        let took = begun.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
    }

    #[test]
    fn the_disks_of_a_process_are_disks_of_this_machine() {
        let all = disks();
        let known: Vec<u32> = all.iter().map(|disk| disk.dev).collect();
        assert!(
            disks_of(std::process::id())
                .iter()
                .all(|dev| known.contains(dev))
        );
        assert_eq!(disks_of(u32::MAX), [0; 0]);
    }
}
