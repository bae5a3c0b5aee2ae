//! What a recording has: its events, through the gate, in the books.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Error, Result, anyhow, bail};

use crate::{
    event::Event,
    gate::{Gated, is_follow},
    machine::proc::Resident,
    model::books::Books,
    recording::Reader,
    units,
};

/// A recording may fill this much memory, bytes. What grows with the length of a trace has bounds, which sum to 200 MiB where a hundred
/// CPUs, ten thousands of connections and a link are all busy; the rest is for the processes and threads that live at once, and for the
/// books of those that the target asks. Only a recording that was made to harm opens more than fit. Closing the books takes as much again.
pub(super) const MOST_MEMORY: u64 = 512 << 20;

/// Memory is looked at each time after so many events. One event can fill a megabyte.
pub(super) const LOOK_EACH: u64 = 128;

/// Opens a recording.
///
/// # Errors
/// If the file is no recording.
pub(super) fn open(file: &Path) -> Result<Reader<Event>> {
    Reader::open(file).with_context(|| format!("cannot read {}", file.display()))
}

/// What could be read of a recording.
pub(super) struct Recording {
    pub(super) books: Books,
    /// The events that were refused, by the name of the reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// Why it ends before its end.
    pub(super) cut: Option<Error>,
}

/// Reads a recording, beside what fills memory already, up to where it can be read.
///
/// # Errors
/// If no part of it can be read.
pub(super) fn read(
    file: &Path,
    reader: impl Iterator<Item = Result<Event>>,
    resident: &Resident,
    beside: u64,
) -> Result<Recording> {
    let Folded {
        gated,
        admitted,
        is_of_all,
        cut,
    } = fold(reader, resident, beside.saturating_add(MOST_MEMORY));
    let (books, refused) = gated.close();
    match &cut {
        _ if is_of_all => bail!(
            "{}: it is of all processes, and has no target: `tracer top --from` plays it",
            file.display()
        ),
        Some(error) if admitted == 0 => bail!("{}: {error:#}", file.display()),
        None if admitted == 0 && !refused.is_empty() => {
            bail!("{}: it has no event that a kernel sends", file.display())
        }
        _ => {}
    }
    Ok(Recording {
        books,
        refused,
        cut,
    })
}

/// The events of a recording.
#[derive(Default)]
struct Folded {
    gated: Gated,
    /// Events that came through the gate.
    admitted: u64,
    /// Was it made by `tracer top`?
    is_of_all: bool,
    /// Why it ends before its end.
    cut: Option<Error>,
}

fn fold(reader: impl Iterator<Item = Result<Event>>, resident: &Resident, most: u64) -> Folded {
    let mut folded = Folded::default();
    for (number, event) in (1_u64..).zip(reader) {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                folded.cut = Some(error);
                break;
            }
        };
        folded.admitted += u64::from(folded.gated.apply(&event));
        folded.is_of_all |= matches!(event, Event::Counted(_));
        let is_due = number % LOOK_EACH == 0 || is_follow(&event);
        if is_due && resident.bytes() > most {
            folded.cut = Some(too_large(number));
            break;
        }
    }
    folded
}

/// A recording is read up to this event and no further.
pub(super) fn too_large(number: u64) -> Error {
    let most = units::bytes(MOST_MEMORY);
    anyhow!("it opens more than fits into {most} of memory: it is read up to event {number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Exit, Start};

    #[test]
    fn what_no_kernel_sends_is_left_out_and_what_follows_is_read() {
        let start = Start {
            ns: 1000,
            ..Start::default()
        };
        let exit = |ns| Event::Exit(Exit { ns, pid: 7 });
        let events = [Event::Start(Box::new(start)), exit(u64::MAX), exit(2000)];
        let folded = fold(events.into_iter().map(Ok), &Resident::open(), MOST_MEMORY);
        assert_eq!(folded.admitted, 2);
        assert!(folded.cut.is_none());
        let (_, refused) = folded.gated.close();
        assert_eq!(refused["time"], 1);
    }
}
