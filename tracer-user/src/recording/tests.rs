//! Recordings written, cut, damaged and read back.

use std::{
    fs,
    io::{self, Cursor, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use super::{writer::chunk, *};
use crate::event::{Event, Exit, Process};

/// A file in memory that can be looked at while it is written.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with room for this many bytes.
struct FullAfter(usize);

impl Write for FullAfter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = bytes.len().min(self.0);
        self.0 -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk that reports each write behind the header, and waits until it may go on.
struct Stuck {
    asked: Sender<()>,
    let_go: Receiver<()>,
    memory: Memory,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.starts_with(MAGIC) {
            _ = self.asked.send(());
            // Once its sender is gone, it runs freely.
            _ = self.let_go.recv();
        }
        self.memory.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> anyhow::Result<(Vec<T>, Option<String>)> {
    let mut reader = Reader::new(Box::new(Cursor::new(bytes.to_vec())))?;
    let (mut events, mut error) = (Vec::new(), None);
    for item in reader.by_ref() {
        assert!(error.is_none(), "nothing comes after an error");
        match item {
            Ok(event) => events.push(event),
            Err(e) => error = Some(format!("{e:#}")),
        }
    }
    assert!(reader.next().is_none());
    Ok((events, error))
}

/// The error with which a file is refused.
fn refusal(bytes: &[u8]) -> String {
    format!("{:#}", read::<u64>(bytes).unwrap_err())
}

/// Three chunks of events and an end.
fn small() -> (Vec<String>, Vec<u8>) {
    let memory = Memory::default();
    let mut writer = Writer::to(Box::new(memory.clone())).unwrap();
    let events: Vec<String> = (0..7).map(|index| format!("event {index}")).collect();
    for events in events.chunks(3) {
        events.iter().for_each(|event| writer.push(event));
        writer.flush();
    }
    assert_eq!(
        writer.finish().unwrap(),
        Written {
            events: 7,
            dropped: 0
        }
    );
    (events, memory.bytes())
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("tracer-recording-{}-{name}", std::process::id()))
}

#[test]
fn what_is_pushed_comes_back_in_order_from_a_file() {
    let path = file("round-trip");
    let mut writer = Writer::create(&path, None).unwrap();
    let process = |pid| {
        Event::Process(Process {
            pid,
            comm: "nginx: w".repeat(7),
            ..Process::default()
        })
    };
    let events: Vec<Event> = (0..10_007)
        .map(process)
        .chain([Event::Exit(Exit {
            ns: u64::MAX,
            pid: 1,
        })])
        .collect();
    events.iter().for_each(|event| writer.push(event));
    assert_eq!(
        writer.finish().unwrap(),
        Written {
            events: 10_008,
            dropped: 0
        }
    );
    let size = fs::metadata(&path).unwrap().len();
    let read: anyhow::Result<Vec<Event>> = Reader::open(&path).unwrap().collect();
    fs::remove_file(&path).unwrap();
    assert!(size < 4 * 65536, "several chunks of 64 KiB, compressed");
    assert!(read.unwrap() == events);
}

#[test]
fn a_recording_without_events_is_whole() {
    let memory = Memory::default();
    let writer = Writer::<u64>::to(Box::new(memory.clone())).unwrap();
    assert_eq!(writer.finish().unwrap(), Written::default());
    assert_eq!(read::<u64>(&memory.bytes()).unwrap(), (vec![], None));
}

#[test]
fn a_file_cut_at_any_byte_gives_all_events_before_and_one_error() {
    let (events, whole) = small();
    assert_eq!(read(&whole).unwrap(), (events.clone(), None));
    let mut seen = 0;
    for length in 0..whole.len() {
        let Ok((before, error)) = read::<String>(&whole[..length]) else {
            assert!(length < HEADER, "{length}");
            continue;
        };
        assert!(events.starts_with(&before) && before.len() >= seen);
        seen = before.len();
        let error = error.unwrap();
        assert!(
            error.starts_with(&format!("recording is cut off at byte {length}: ")),
            "{error}"
        );
    }
    assert_eq!(seen, events.len());
    assert_eq!(refusal(&[]), "not a recording of tracer");
    assert_eq!(
        refusal(&whole[..9]),
        "recording is cut off at byte 9: its header is incomplete"
    );
}

#[test]
fn any_changed_byte_is_noticed_and_events_before_it_are_kept() {
    let (events, whole) = small();
    let second_chunk = HEADER + CHUNK_HEADER + 1 + 3 * "_event 0".len();
    for position in 0..whole.len() {
        for mask in [1, 2, 3, 0x80, 0xff] {
            if (position, mask) == (MAGIC.len(), VERSION as u8 ^ OLDEST as u8) {
                // Version 1 has the same chunks.
                continue;
            }
            let mut damaged = whole.clone();
            damaged[position] ^= mask;
            let Ok((before, error)) = read::<String>(&damaged) else {
                assert!(position < HEADER);
                continue;
            };
            assert!(error.is_some() && position >= HEADER, "byte {position}");
            assert!(events.starts_with(&before));
            assert_eq!(before.len() >= 3, position >= second_chunk);
        }
    }
}

#[test]
fn random_bytes_behind_a_header_are_an_error() {
    let (_, whole) = small();
    let mut random = 4711_u64;
    for _ in 0..1009 {
        let mut bytes = whole[..HEADER].to_vec();
        bytes.extend((0..97).map(|_| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 56) as u8 & 3
        }));
        assert!(read::<Event>(&bytes).unwrap().1.is_some());
    }
}

#[test]
fn a_huge_length_is_not_believed() {
    let (_, whole) = small();
    for length in [LONGEST_PAYLOAD as u32 + 1, u32::MAX] {
        let mut huge = whole.clone();
        huge[HEADER + 1..HEADER + 5].copy_from_slice(&length.to_le_bytes());
        let expected =
            format!("recording is corrupt at byte 12: a chunk claims to have {length} bytes");
        assert_eq!(read::<String>(&huge).unwrap(), (vec![], Some(expected)));
    }
}

#[test]
fn a_list_that_lies_about_its_count_is_an_error() {
    let (_, whole) = small();
    let with = |payload: &[u8]| {
        let bytes = [&whole[..HEADER], &chunk(EVENTS, payload), &chunk(END, &[])].concat();
        read::<String>(&bytes).unwrap().1.unwrap()
    };
    assert!(with(&[0xff, 0xff, 0xff, 0xff, 0x0f]).contains("cannot be decoded"));
    assert!(with(&[]).contains("cannot be decoded"));
    assert!(with(&[1, 1, b'a', b'b']).contains("more than its events"));
}

#[test]
fn bytes_behind_the_end_are_an_error() {
    let (events, mut whole) = small();
    whole.push(0);
    let (before, error) = read::<String>(&whole).unwrap();
    assert_eq!(before, events);
    assert!(error.unwrap().ends_with("something follows the end"));
}

#[test]
fn another_file_is_no_recording() {
    assert_eq!(refusal(b"\x7fELF and so on"), "not a recording of tracer");
    assert_eq!(
        refusal(b"TRACE"),
        "recording is cut off at byte 5: its header is incomplete"
    );
}

#[test]
fn another_version_is_named() {
    let mut bytes = small().1;
    bytes[8..10].copy_from_slice(&258_u16.to_le_bytes());
    assert!(
        refusal(&bytes).starts_with("the recording has version 258, this tracer reads version 2:")
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Reader::<u64>::open("no such folder/x".as_ref())
        .err()
        .unwrap();
    assert!(format!("{error:#}").contains("no such folder/x"));
    assert!(Writer::<u64>::create("no such folder/x".as_ref(), None).is_err());
}

#[test]
fn an_older_recording_stays_until_the_new_one_takes_its_name() {
    let path = file("older");
    fs::write(&path, "yesterday").unwrap();
    let mut writer = Writer::<u64>::create(&path, None).unwrap();
    writer.push(&1);
    writer.give_up();
    assert_eq!(fs::read(&path).unwrap(), b"yesterday");
    let mut writer = Writer::create(&path, None).unwrap();
    writer.take_name();
    writer.push(&7_u64);
    writer.flush();
    // Of a tracer that is killed, this is what is left.
    let begun = std::time::Instant::now();
    let left = loop {
        let bytes = fs::read(&path).unwrap();
        let read = (bytes != b"yesterday").then(|| read::<u64>(&bytes).unwrap());
        if let Some((events, error)) = read.filter(|(events, _)| !events.is_empty()) {
            break (events, error.is_some());
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing comes");
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(left, (vec![7], true));
    writer.finish().unwrap();
    let whole: anyhow::Result<Vec<u64>> = Reader::open(&path).unwrap().collect();
    fs::remove_file(&path).unwrap();
    assert_eq!(whole.unwrap(), [7]);
}

#[test]
fn a_full_disk_is_told_at_the_end_with_what_is_left_out() {
    let mut writer = Writer::to(Box::new(FullAfter(HEADER + CHUNK_HEADER + 1 + 3 + 5))).unwrap();
    for value in 0..3_u64 {
        writer.push(&value);
    }
    writer.flush();
    for value in 0..4_u64 {
        writer.push(&value);
    }
    let error = format!("{:#}", writer.finish().unwrap_err());
    assert!(
        error.starts_with("write the recording: it has 3 events, 4 are left out: "),
        "{error}"
    );
    if fs::exists("/dev/full").unwrap() {
        assert!(Writer::<u64>::create("/dev/full".as_ref(), None).is_err());
    }
}

#[test]
fn a_disk_that_is_stuck_costs_events_but_no_time() {
    let ((asked, is_asked), (let_go, going)) = (channel(), channel());
    let memory = Memory::default();
    let stuck = Stuck {
        asked,
        let_go: going,
        memory: memory.clone(),
    };
    let mut writer = Writer::to(Box::new(stuck)).unwrap();
    writer.push(&0);
    writer.flush();
    is_asked.recv().unwrap();
    // The disk holds one batch and the queue is empty: so many more fit, and 17 do not.
    for value in 1..=writer::WAITING as u64 + 17 {
        writer.push(&value);
        writer.flush();
    }
    assert_eq!(writer.dropped(), 17);
    writer.push(&u64::MAX);
    drop(let_go);
    let kept = writer::WAITING as u64 + 2;
    assert_eq!(
        writer.finish().unwrap(),
        Written {
            events: kept,
            dropped: 17
        }
    );
    let expected: Vec<u64> = (0..kept - 1).chain([u64::MAX]).collect();
    assert_eq!(read::<u64>(&memory.bytes()).unwrap(), (expected, None));
}

#[test]
fn an_event_too_long_for_any_reader_is_dropped_alone() {
    let memory = Memory::default();
    let mut writer = Writer::to(Box::new(memory.clone())).unwrap();
    let (short, long) = (vec![7_u8; 3], vec![7_u8; LONGEST_PAYLOAD]);
    for event in [&short, &long, &short] {
        writer.push(event);
    }
    assert_eq!(
        writer.finish().unwrap(),
        Written {
            events: 2,
            dropped: 1
        }
    );
    assert_eq!(
        read(&memory.bytes()).unwrap(),
        (vec![short.clone(), short], None)
    );
}

#[test]
fn a_recording_that_is_not_finished_reads_as_cut_off() {
    let (asked, is_asked) = channel();
    let memory = Memory::default();
    let (let_go, going) = channel();
    let mut writer = Writer::to(Box::new(Stuck {
        asked,
        let_go: going,
        memory: memory.clone(),
    }))
    .unwrap();
    writer.push(&7_u64);
    writer.flush();
    drop((writer, let_go));
    // The disk thread is gone when its sender is.
    while is_asked.recv().is_ok() {}
    let (events, error) = read::<u64>(&memory.bytes()).unwrap();
    assert_eq!((events, error.is_some()), (vec![7], true));
}

#[test]
fn a_disk_that_stays_stuck_does_not_hold_up_the_end() {
    let ((asked, is_asked), (let_go, going)) = (channel(), channel());
    let mut writer = Writer::to(Box::new(Stuck {
        asked,
        let_go: going,
        memory: Memory::default(),
    }))
    .unwrap();
    writer.push(&7_u64);
    writer.flush();
    is_asked.recv().unwrap();
    let error = writer.finish_within(Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
    drop(let_go);
}

#[test]
fn a_disk_that_stalls_while_the_file_is_made_does_not_hold_up_the_beginning() {
    let path = file("fifo");
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // A pipe without a reader: opening it waits as for a disk.
    // SAFETY: a valid string.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let begun = std::time::Instant::now();
    let mut writer = Writer::create(&path, None).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    writer.push(&7_u64);
    let error = writer.finish_within(Duration::from_millis(20)).unwrap_err();
    assert!(error.to_string().contains("cut off"), "{error}");
    // The reader comes late, and finds the events pushed before.
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(read::<u64>(&bytes).unwrap(), (vec![7], None));
}

#[test]
fn a_recording_of_version_1_is_read() {
    let (events, mut bytes) = small();
    bytes[8] = 1;
    assert_eq!(read(&bytes).unwrap(), (events, None));
    bytes[10] = 1;
    assert!(refusal(&bytes).contains("unknown flags"));
}

#[test]
fn a_recording_that_is_cut_off_between_compressed_chunks_keeps_those_before() {
    let memory = Memory::default();
    let mut writer = Writer::to(Box::new(memory.clone())).unwrap();
    let events: Vec<Vec<u64>> = (0..20_000).map(|number| vec![number; 20]).collect();
    events.iter().for_each(|event| writer.push(event));
    writer.finish().unwrap();
    let whole = memory.bytes();
    assert!(whole.len() < 400_000, "{}", whole.len());
    let (half, error) = read::<Vec<u64>>(&whole[..whole.len() / 2]).unwrap();
    assert!(half.len() > 5_000 && events.starts_with(&half));
    assert!(error.unwrap().contains("cut off"));
}
