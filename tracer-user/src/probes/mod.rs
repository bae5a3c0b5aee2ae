//! The probe families: their probes, the cost of a missing one, and the decoding of records into events.
//!
//! A family is one stem in four places: the kernel half's `probes/`, `tracer-common`, here, and the tests. This file is the register in
//! which the families meet.

pub(crate) mod block;
pub(crate) mod frame;
mod histogram;
mod irq;
mod lock;
mod maps;
pub(crate) mod packets;
mod proc;
pub(crate) mod sched;
mod signal;
mod table;
mod tcp;

use anyhow::Result;
use tracer_common::{
    Kind,
    record::{Header, MapLoss},
};

pub(crate) use self::maps::Maps;
pub use self::{
    frame::Malformed,
    table::{Hook, Need, Probe},
};
use crate::event::Event;

/// Every probe, family by family.
pub fn all() -> impl Iterator<Item = &'static Probe> {
    [
        sched::PROBES,
        irq::PROBES,
        block::PROBES,
        tcp::PROBES,
        packets::PROBES,
        lock::PROBES,
        proc::PROBES,
        signal::PROBES,
    ]
    .into_iter()
    .flatten()
}

/// Decodes one record; `symbol` names the function at a kernel address.
///
/// # Errors
/// [`Malformed`] if the record is shorter than its kind or the kind is unknown.
pub fn decode(bytes: &[u8], symbol: impl Fn(u64) -> String) -> Result<Event, Malformed> {
    let header: Header = frame::read(bytes)?;
    let kind = Kind::from_u32(header.kind).ok_or(Malformed::Kind(header.kind))?;
    Ok(match kind {
        Kind::Wait => Event::Wait(sched::wait(&frame::read(bytes)?)),
        Kind::Slice => Event::Slice(sched::slice(&frame::read(bytes)?)),
        Kind::Migrate => Event::Migrate(sched::migrate(&frame::read(bytes)?)),
        Kind::Stack => Event::Stack(sched::stack(&frame::read(bytes)?, symbol)),
        Kind::ThreadEnd => Event::ThreadEnd(sched::thread_end(&frame::read(bytes)?)),
        Kind::Work => Event::Work(sched::work(&frame::read(bytes)?, symbol)),
        Kind::Stolen => Event::Stolen(sched::stolen(&frame::read(bytes)?)),
        Kind::Interrupts => Event::Interrupts(irq::interrupts(&frame::read(bytes)?)),
        Kind::Io => Event::Io(block::io(&frame::read(bytes)?)),
        Kind::Call => Event::Call(tcp::call(&frame::read(bytes)?)),
        Kind::Socket => tcp::socket(&frame::read(bytes)?),
        Kind::Ack => tcp::acknowledgement(&frame::read(bytes)?),
        Kind::Client => Event::Client(tcp::client(&frame::read(bytes)?)),
        Kind::Question => Event::Question(tcp::question(&frame::read(bytes)?)),
        Kind::Link => Event::Queue(tcp::link(&frame::read(bytes)?)),
        Kind::Flow => tcp::flow(&frame::read(bytes)?),
        Kind::Packets => Event::Packets(packets::packets(&frame::read(bytes)?)),
        Kind::LockTried => lock::tried(&frame::read(bytes)?),
        Kind::LockReleased => Event::LockReleased(lock::released(&frame::read(bytes)?)),
        Kind::Sync => Event::Sync(block::sync(&frame::read(bytes)?)),
        Kind::Fork => Event::Fork(proc::fork(&frame::read(bytes)?)),
        Kind::Exec => Event::Exec(proc::exec(&frame::read(bytes)?)),
        Kind::Exit => Event::Exit(proc::exit(&frame::read(bytes)?)),
        Kind::Signal => Event::Signal(signal::signal(&frame::read(bytes)?)),
        Kind::Snapshot => Event::Histogram(Box::new(histogram::snapshot(&frame::read(bytes)?))),
    })
}

/// What a record brings besides: the slice that a wait ends with, and the thread that forks. Either comes before the record itself: the
/// wait is charged to the holder of the slice, and the child is that thread's.
///
/// # Errors
/// [`Malformed`] if the record is shorter than its kind.
pub(crate) fn brought(bytes: &[u8]) -> Result<Option<Event>, Malformed> {
    let header: Header = frame::read(bytes)?;
    Ok(match Kind::from_u32(header.kind) {
        Some(Kind::Wait) => sched::slice_of(&frame::read(bytes)?).map(Event::Slice),
        Some(Kind::Fork) => proc::borne(&frame::read(bytes)?).map(Event::Borne),
        _ => None,
    })
}

/// All that is open at `ns`: requests in flight, holders of CPUs with waiting target threads, and target threads off the CPU. A map
/// that cannot be read has nothing open.
///
/// Waits come last: the model charges them to holders that it has seen by then.
pub(crate) fn open(maps: &impl Maps, ns: u64) -> Vec<Event> {
    let cpus = sched::cpus(maps);
    let mut events = block::open(maps, ns);
    events.extend(sched::open_slices(&cpus, ns));
    events.extend(irq::open(maps, &cpus, ns));
    events.extend(sched::open_waits(maps, ns));
    events
}

/// The content of the maps at the end: the last slices of links and packets, histograms, totals.
///
/// # Errors
/// If a map cannot be read and the books would not close without it.
pub(crate) fn totals(maps: &impl Maps, ns: u64) -> Result<Vec<Event>> {
    let mut events = tcp::links(maps)?;
    events.extend(packets::cells(maps));
    events.extend(histogram::totals(maps, &sched::cpus(maps), ns)?);
    events.extend(block::totals(maps, ns)?);
    events.extend(block::earlier(maps));
    events.extend(irq::totals(maps));
    events.extend(tcp::unread(maps, ns));
    Ok(events)
}

/// The number of entries in the maps that evict the least recently used entry. The kernel half counts the entries that it adds.
/// Missing entries were evicted.
///
/// # Errors
/// If such a map cannot be read.
pub(crate) fn kept(maps: &impl Maps) -> Result<Vec<(MapLoss, u64)>> {
    Ok([histogram::kept(maps)?, block::kept(maps)?].concat())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use aya::Pod;
    use tracer_common::{
        block::{EARLIER_MAP, EarlierFile, FileOnDisk, RequestState},
        sched::{CPUS_MAP, CpuState, TASK_ASLEEP, TASKS_MAP, ThreadState},
    };

    use super::*;

    /// Maps by name: the bytes of their entries.
    #[derive(Default)]
    struct Written(Vec<(&'static str, Vec<u8>)>);

    impl Written {
        fn add<T: Pod>(&mut self, map: &'static str, value: T) {
            // SAFETY: a `Pod` has no padding.
            let bytes = unsafe {
                std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>())
            };
            match self.0.iter_mut().find(|(name, _)| *name == map) {
                Some((_, entries)) => entries.extend(bytes),
                None => self.0.push((map, bytes.to_vec())),
            }
        }

        fn bytes(&self, map: &str) -> Result<&[u8]> {
            let found = self.0.iter().find(|(name, _)| *name == map);
            Ok(&found.context("no such map")?.1)
        }
    }

    impl Maps for Written {
        fn each<K: Pod, V: Pod>(&self, map: &str, mut see: impl FnMut(K, V)) -> Result<()> {
            for entry in self.bytes(map)?.chunks(size_of::<K>() + size_of::<V>()) {
                let (key, value) = entry.split_at(size_of::<K>());
                see(
                    frame::read(key).expect("a key"),
                    frame::read(value).expect("a value"),
                );
            }
            Ok(())
        }

        fn count<K: Pod, V: Pod>(&self, map: &str) -> Result<u64> {
            Ok((self.bytes(map)?.len() / (size_of::<K>() + size_of::<V>())) as u64)
        }

        fn array<V: Pod>(&self, map: &str) -> Result<Vec<V>> {
            let values = self.bytes(map)?.chunks(size_of::<V>());
            Ok(values
                .map(|value| frame::read(value).expect("a value"))
                .collect())
        }

        fn issued(&self) -> Vec<RequestState> {
            Vec::new()
        }
    }

    #[test]
    fn an_open_wait_comes_after_the_slice_of_the_cpu_and_a_cpu_that_nobody_waits_for_has_none() {
        let mut maps = Written::default();
        let waited_for = CpuState {
            since_ns: 20,
            queued: 1,
            pid: 9,
            ..CpuState::default()
        };
        maps.add(CPUS_MAP, CpuState::default());
        maps.add(CPUS_MAP, waited_for);
        maps.add(TASKS_MAP, 7_u32);
        let asleep = ThreadState {
            off_ns: 10,
            pid: 6,
            state: TASK_ASLEEP,
            ..ThreadState::default()
        };
        maps.add(TASKS_MAP, asleep);
        match &open(&maps, 50)[..] {
            [Event::Slice(slice), Event::Wait(wait)] => {
                assert_eq!((slice.cpu, slice.begin_ns, slice.pid), (1, 20, 9));
                assert_eq!((wait.pid, wait.tid, wait.off_ns), (6, 7, 10));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_with_old_dirty_pages_come_with_their_names_the_largest_first() {
        let mut maps = Written::default();
        for (inode, bytes, name) in [(11, 4096, &b"small"[..]), (12, 300 << 20, &b"big"[..])] {
            let key = FileOnDisk {
                inode,
                fs_dev: 7 << 20,
                dev: 7 << 20 | 1,
            };
            let mut file = EarlierFile {
                bytes,
                open: u32::from(inode == 12),
                ..EarlierFile::NONE
            };
            file.name[..name.len()].copy_from_slice(name);
            maps.add(EARLIER_MAP, key);
            maps.add(EARLIER_MAP, file);
        }
        match &block::earlier(&maps)[..] {
            [Event::EarlierFile(big), Event::EarlierFile(small)] => {
                let expected = crate::event::EarlierFile {
                    dev: 7 << 20 | 1,
                    fs_dev: 7 << 20,
                    inode: 12,
                    name: "big".to_owned(),
                    bytes: 300 << 20,
                    open: true,
                    is_disk: false,
                    writer: None,
                };
                assert_eq!(**big, expected);
                assert_eq!((small.name.as_str(), small.open), ("small", false));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(block::earlier(&Written::default()), []);
    }

    #[test]
    fn a_wait_brings_the_slice_with_which_it_ends() {
        let slice = |slice_begin_ns| {
            let wait = tracer_common::sched::Wait {
                header: Header {
                    kind: Kind::Wait as u32,
                    cpu: 1,
                    ns: 50,
                },
                slice_begin_ns,
                slice_pid: 9,
                ..Default::default()
            };
            let mut record = Written::default();
            record.add("wait", wait);
            brought(record.bytes("wait").unwrap()).unwrap()
        };
        assert_eq!(slice(0), None);
        match slice(20) {
            Some(Event::Slice(slice)) => {
                let found = (slice.cpu, slice.begin_ns, slice.ns, slice.pid);
                assert_eq!(found, (1, 20, 50, 9));
            }
            other => panic!("{other:?}"),
        }
        let mut other = [0; 40];
        other[0] = Kind::Slice as u8;
        assert_eq!(brought(&other), Ok(None));
    }

    #[test]
    fn a_fork_by_another_thread_than_the_first_brings_that_thread() {
        let borne = |target, parent_tid| {
            let fork = tracer_common::proc::Fork {
                header: Header {
                    kind: Kind::Fork as u32,
                    cpu: 1,
                    ns: 50,
                },
                pid: 12,
                tid: 12,
                parent_pid: 7,
                parent_tid,
                target,
                ..Default::default()
            };
            let mut record = Written::default();
            record.add("fork", fork);
            brought(record.bytes("fork").unwrap()).unwrap()
        };
        let expected = crate::event::Borne {
            ns: 50,
            pid: 7,
            tid: 9,
            child_tid: 12,
        };
        assert_eq!(borne(1, 9), Some(Event::Borne(expected)));
        assert_eq!((borne(1, 7), borne(0, 9)), (None, None));
    }

    #[test]
    fn a_map_that_cannot_be_read_has_nothing_open_but_fails_the_totals() {
        let none = Written::default();
        assert_eq!(open(&none, 50), []);
        assert!(totals(&none, 50).is_err());
        assert!(kept(&none).is_err());
    }

    #[test]
    fn a_short_record_is_refused_with_its_length() {
        assert_eq!(
            decode(&[0; 8], |_| String::new()),
            Err(Malformed::Short { length: 8 })
        );
        assert_eq!(
            decode(&[0; 40], |_| String::new()),
            Err(Malformed::Short { length: 40 })
        );
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut bytes = [0; 400];
        bytes[0] = 99;
        assert_eq!(decode(&bytes, |_| String::new()), Err(Malformed::Kind(99)));
    }
}
