//! Clients that wait on Unix streams. The kernel does not count who spoke last there. But the client shows it: it sleeps until something
//! comes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{hearing::Hearing, quiet::Quiet, unix::Listed};
use crate::event::Unanswered;

/// Most streams of which the clients are looked at.
const MOST: usize = 64;

/// Those of these streams on which the process that connected them would notice the next bytes. It has asked there, or waits for news. A
/// server that waits for the next question hears the stream, so it is none of these. Changes the network namespace of the calling thread.
pub(super) fn awaited<'a>(
    streams: impl Iterator<Item = &'a Quiet>,
    until: Instant,
) -> Vec<Unanswered> {
    let (mut listed, mut heard) = (BTreeMap::new(), BTreeMap::new());
    let mut found = Vec::new();
    for stream in streams.take(MOST) {
        let (_, client) = &stream.ends;
        let listed = listed
            .entry(stream.pid)
            .or_insert_with(|| Listed::of(stream.pid));
        let other_end = listed
            .as_ref()
            .and_then(|listed| listed.other_end(stream.inode));
        let (Ok(pid), Some(other_end)) = (client.parse::<u32>(), other_end) else {
            continue;
        };
        let heard = heard
            .entry(pid)
            .or_insert_with(|| heard_by(pid, until).unwrap_or_default());
        if heard.contains(&other_end) {
            found.push(Unanswered {
                pid: stream.pid,
                remote: client.clone(),
                ..Unanswered::default()
            });
        }
    }
    found
}

/// Inodes of the sockets on which a process would notice something; `None` if that cannot be told.
fn heard_by(pid: u32, until: Instant) -> Option<BTreeSet<u64>> {
    Hearing::of(pid, until).map(|hearing| hearing.heard)
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{Read as _, Write as _},
        os::{
            fd::AsRawFd as _,
            linux::net::SocketAddrExt as _,
            unix::net::{SocketAddr, UnixListener, UnixStream},
        },
        process::{Command, Stdio},
        thread,
        time::Duration,
    };

    use super::*;
    use crate::machine::proc::{process_descriptor, unanswered::copied};

    /// Tells the test below where to connect, where it is a process of its own.
    const PLACE: &str = "TRACER_TEST_PLACE";

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_client_for_the_other_test() {
        let Ok(place) = env::var(PLACE) else {
            return;
        };
        let place = SocketAddr::from_abstract_name(place).unwrap();
        let mut stream = UnixStream::connect_addr(&place).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        thread::sleep(LONG);
    }

    #[test]
    fn a_client_awaits_something_for_as_long_as_it_sleeps_until_it_comes() {
        let own = std::process::id();
        let name = format!("tracer-awaited-{own}");
        let place = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&place).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "machine::proc::awaited::tests::a_client_for_the_other_test",
            ])
            .arg("--test-threads=1")
            .env(PLACE, name)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        let copy = copied(
            own,
            &process_descriptor(own).unwrap(),
            accepted.as_raw_fd() as u32,
        );
        let stream = Quiet::of_stream(own, &copy.unwrap());
        let expected = Unanswered {
            pid: own,
            remote: child.id().to_string(),
            ..Unanswered::default()
        };
        let begun = Instant::now();
        let until = |wanted: &[Unanswered]| {
            while awaited([&stream].into_iter(), begun + LONG) != wanted {
                assert!(begun.elapsed() < LONG);
                thread::yield_now();
            }
        };
        until(&[expected]);
        accepted.write_all(b"x").unwrap();
        // It sleeps for a time, and hears nobody.
        until(&[]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
