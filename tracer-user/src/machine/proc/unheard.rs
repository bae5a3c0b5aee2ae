//! Connections on which a peer waits for an answer and that nobody hears.
//!
//! The last bytes on a connection need not be a question: HTTP/2 clients confirm, and idle web sockets are pinged. But a server that
//! waits for its client has a thread that would notice the client's next bytes. Where no thread of any process would, somebody owes an
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use super::{
    accepted::is_accepted_unix,
    awaited::awaited,
    descriptors::{Descriptors, Sleeper},
    hearing::{Hearing, function, has_too_many_descriptors, has_too_many_threads},
    links::inodes,
    pids, process_descriptor,
    quiet::Quiet,
    unanswered::{Copied, Traffic, ends, streams, traffic},
};
use crate::{
    event::{Deaf, Unanswered, Unheard, UnheardConnection},
    machine::clocks::now_ns,
};

/// Most connections looked at: those that wait longest. They show what a server hangs in.
const MOST: usize = 64;

/// Most sockets of a process looked through for them.
const MOST_SOCKETS: usize = 4096;

/// Most threads shown of a process.
const MOST_DEAF: usize = 64;

/// How long a look may take. Whoever may hear a connection has to be asked: what is not known by then counts as heard.
const SEARCH: Duration = Duration::from_millis(300);

/// A process of which a thread ran is looked at again so often, after such a time.
const TRIES: u32 = 4;
const AGAIN: Duration = Duration::from_millis(5);

/// Where a look takes place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The target's processes, and those that it asks. Whoever has a connection may hear it; these are likely to have one.
    pub(crate) pids: Vec<u32>,
    /// Ports on which they listen.
    pub(crate) ports: Vec<u32>,
    /// Those of which the connections are looked at.
    pub(crate) owing: Vec<u32>,
    /// Milliseconds: nothing was received for so long on a TCP connection that is looked at.
    pub(crate) least_ms: u32,
}

/// The connections there that nobody hears, by process. Those on which a process may have spoken last are among them, if that was
/// in the tick of the kernel in which it was asked, and all Unix streams: there nobody knows who spoke.
#[must_use]
pub(crate) fn unheard(place: &Place) -> Vec<Unheard> {
    Look::at(place).end()
}

/// The same, with the clients that wait on the Unix streams among them. Changes the network namespace of the calling thread.
#[must_use]
pub(crate) fn unheard_and_awaited(place: &Place) -> (Vec<Unheard>, Vec<Unanswered>) {
    let look = Look::at(place);
    let streams = look.quiet.iter().filter(|quiet| quiet.is_stream());
    let awaited = awaited(streams, look.until);
    (look.end(), awaited)
}

/// A look under way.
struct Look {
    until: Instant,
    quiet: Vec<Quiet>,
    /// Their inodes.
    inodes: HashSet<u64>,
    /// Connections, and UDP sockets with one peer, on which the target's processes ask, by inode.
    asks: HashMap<u64, (String, String)>,
    /// Sockets of other kinds.
    others: HashSet<u64>,
    /// The Unix streams that each process accepted, by the processes that connected them.
    accepted: BTreeMap<u32, BTreeMap<String, usize>>,
    /// What processes with such connections hear.
    hearing: BTreeMap<u32, Hearing>,
}

impl Look {
    fn new() -> Self {
        Self {
            until: Instant::now() + SEARCH,
            quiet: Vec::new(),
            inodes: HashSet::new(),
            asks: HashMap::new(),
            others: HashSet::new(),
            accepted: BTreeMap::new(),
            hearing: BTreeMap::new(),
        }
    }

    /// What nobody hears there.
    fn at(place: &Place) -> Self {
        let mut look = Self::new();
        for pid in &place.owing {
            look.find(*pid, place);
        }
        look.keep_oldest();
        for pid in &place.pids {
            look.ask(*pid);
        }
        look.ask_others(&place.pids);
        look
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Finds the connections of a process on which a peer may wait, and notes its other sockets. Of a process that is too large to be asked
    /// none would be left: so its connections, ten thousand perhaps, are not looked at.
    fn find(&mut self, pid: u32, place: &Place) {
        if has_too_many_descriptors(pid) || has_too_many_threads(pid) {
            return;
        }
        let Some(process) = process_descriptor(pid) else {
            return;
        };
        let mut accepted: BTreeMap<String, usize> = BTreeMap::new();
        for socket in streams(pid, &process).take(MOST_SOCKETS) {
            if self.is_over() {
                return;
            }
            if let Some(traffic) = traffic(&socket.stream) {
                self.find_connection(pid, &socket, traffic, place);
                continue;
            }
            if is_accepted_unix(&socket.stream) {
                let quiet = Quiet::of_stream(pid, &socket);
                *accepted.entry(quiet.ends.1.clone()).or_default() += 1;
                self.inodes.insert(socket.inode);
                self.quiet.push(quiet);
                continue;
            }
            self.others.insert(socket.inode);
            // Who has sent a datagram to one peer alone may wait for its answer.
            let peer = ends(&socket.stream);
            let peer = peer.map(|(local, remote)| (local.to_string(), remote.to_string()));
            self.asks.extend(peer.map(|ends| (socket.inode, ends)));
        }
        self.accepted.insert(pid, accepted);
    }

    fn find_connection(&mut self, pid: u32, socket: &Copied, traffic: Traffic, place: &Place) {
        // A listener has one end.
        let Some((local, remote)) = ends(&socket.stream) else {
            return;
        };
        let ends = || (local.to_string(), remote.to_string());
        if !place.ports.contains(&u32::from(local.port())) {
            self.asks.insert(socket.inode, ends());
            return;
        }
        let age_ms = traffic.may_be_asked_ms();
        if let Some(age_ms) = age_ms.filter(|ms| *ms >= place.least_ms)
            && self.inodes.insert(socket.inode)
        {
            let since_ns = now_ns().saturating_sub(u64::from(age_ms) * 1_000_000);
            let quiet = Quiet::of_connection(pid, socket, ends(), traffic, since_ns);
            self.quiet.push(quiet);
        }
    }

    /// Keeps the connections that wait longest, and all streams.
    fn keep_oldest(&mut self) {
        self.quiet
            .sort_by_key(|quiet| (quiet.is_stream(), quiet.since_ns));
        let mut kept = 0;
        self.quiet.retain(|quiet| {
            kept += usize::from(!quiet.is_stream());
            quiet.is_stream() || kept <= MOST
        });
        self.inodes = self.quiet.iter().map(|quiet| quiet.inode).collect();
    }

    /// Takes out the connections that a process may hear.
    fn ask(&mut self, pid: u32) {
        if self.inodes.is_empty() {
            return;
        }
        let has = inodes(pid).filter(|inode| self.inodes.contains(inode));
        let mut heard: HashSet<u64> = has.collect();
        if heard.is_empty() {
            return;
        }
        if let Some(hearing) = self.hearing_of(pid) {
            heard.retain(|inode| hearing.heard.contains(inode));
            self.hearing.insert(pid, hearing);
        }
        self.quiet.retain(|quiet| !heard.contains(&quiet.inode));
        self.inodes.retain(|inode| !heard.contains(inode));
    }

    /// `None` if a thread of the process runs whenever it is looked at, or there is too much to look at. That does not change soon.
    fn hearing_of(&self, pid: u32) -> Option<Hearing> {
        if has_too_many_threads(pid) {
            return None;
        }
        for attempt in 0..TRIES {
            if attempt > 0 {
                thread::sleep(AGAIN);
            }
            let found = Hearing::through(pid, Descriptors::of(pid)?, self.until);
            if found.is_some() || self.is_over() {
                return found;
            }
        }
        None
    }

    /// The same for all other processes of this machine: one may have got the connection from the target.
    fn ask_others(&mut self, asked: &[u32]) {
        let asked: HashSet<u32> = asked.iter().copied().collect();
        let own = std::process::id();
        for pid in pids() {
            if self.quiet.is_empty() {
                return;
            }
            if self.is_over() {
                return self.quiet.clear();
            }
            if pid != own && !asked.contains(&pid) {
                self.ask(pid);
            }
        }
    }

    /// What is left.
    fn end(mut self) -> Vec<Unheard> {
        if self.is_over() {
            return Vec::new();
        }
        self.quiet.retain(Quiet::is_still);
        self.join_streams();
        self.quiet.sort_by_key(|quiet| quiet.since_ns);
        let pids: BTreeSet<u32> = self.quiet.iter().map(|quiet| quiet.pid).collect();
        pids.into_iter()
            .filter_map(|pid| self.unheard(pid))
            .collect()
    }

    /// Which stream a request came on is not known, but who connected it. So one stands for all that a process accepted from another
    /// one, if all of them are left. Of a client that is not known, all that the process accepted must be left.
    fn join_streams(&mut self) {
        let mut left: BTreeMap<u32, BTreeMap<String, usize>> = BTreeMap::new();
        for stream in self.quiet.iter().filter(|quiet| quiet.is_stream()) {
            let of = left.entry(stream.pid).or_default();
            *of.entry(stream.ends.1.clone()).or_default() += 1;
        }
        let accepted = &self.accepted;
        let is_whole = |stream: &Quiet| {
            let client = &stream.ends.1;
            let (all, left) = (accepted.get(&stream.pid), left.get(&stream.pid));
            match client.is_empty() {
                true => all == left,
                false => {
                    all.and_then(|all| all.get(client)) == left.and_then(|left| left.get(client))
                }
            }
        };
        let mut joined = BTreeSet::new();
        self.quiet.retain(|quiet| {
            !quiet.is_stream()
                || (is_whole(quiet) && joined.insert((quiet.pid, quiet.ends.1.clone())))
        });
    }

    fn unheard(&self, pid: u32) -> Option<Unheard> {
        // A connection that could not be asked about is heard.
        let hearing = self.hearing.get(&pid)?;
        let registered = hearing.registered();
        // A set that cannot be read may have it.
        let is_registered = |inode: &u64| {
            let registered = registered.as_ref();
            registered.is_none_or(|registered| registered.contains(inode))
        };
        let connections = self.quiet.iter().filter(|quiet| quiet.pid == pid);
        let connections = connections.map(|quiet| UnheardConnection {
            local: quiet.ends.0.clone(),
            remote: quiet.ends.1.clone(),
            since_ns: quiet.since_ns,
            unread: quiet.unread,
            registered: is_registered(&quiet.inode),
        });
        Some(Unheard {
            ns: now_ns(),
            pid,
            last: false,
            connections: connections.collect(),
            threads: self.deaf(pid, &hearing.sleepers),
        })
    }

    /// The threads that hear no client. First come those that listen to whom the process asks, then those that wait for a lock.
    fn deaf(&self, pid: u32, sleepers: &[Sleeper]) -> Vec<Deaf> {
        let is_no_client =
            |inode: &u64| self.asks.contains_key(inode) || self.others.contains(inode);
        let asks = |sleeper: &Sleeper| {
            let mut asks = sleeper
                .inodes
                .iter()
                .filter_map(|inode| self.asks.get(inode));
            asks.next().cloned()
        };
        let is_deaf =
            |sleeper: &&Sleeper| !sleeper.accepts && sleeper.inodes.iter().all(is_no_client);
        let mut deaf: Vec<&Sleeper> = sleepers.iter().filter(is_deaf).collect();
        deaf.sort_by_key(|sleeper| {
            let listens = !sleeper.inodes.is_empty();
            (asks(sleeper).is_none(), !sleeper.own, listens, sleeper.tid)
        });
        deaf.truncate(MOST_DEAF);
        let deaf = deaf.into_iter().map(|sleeper| Deaf {
            tid: sleeper.tid,
            own: sleeper.own,
            function: function(pid, sleeper.tid),
            asks: asks(sleeper),
        });
        deaf.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        io::{self, BufRead as _, BufReader, Read as _, Write as _},
        net::{TcpListener, TcpStream},
        process::{Child, ChildStdout, Command, Stdio},
        sync::{Arc, Mutex},
    };

    use super::*;

    /// Tells the test below what to do, where it is a process of its own.
    const FORM: &str = "TRACER_TEST_SERVER";

    /// Far more than a look takes on a busy machine.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_server_for_the_other_tests() {
        let Ok(form) = env::var(FORM) else {
            return;
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut output = io::stdout();
        writeln!(output, "port={}", listener.local_addr().unwrap().port()).unwrap();
        let (mut connection, _) = listener.accept().unwrap();
        connection.read_exact(&mut [0]).unwrap();
        writeln!(output, "read=1").unwrap();
        let lock = Arc::new(Mutex::new(()));
        let _held = lock.lock().unwrap();
        let copy = Arc::clone(&lock);
        let worker = thread::spawn(move || match form.as_str() {
            "lock" => drop(copy.lock()),
            _ => _ = connection.read(&mut [0]),
        });
        // The first thread waits for further connections.
        let _ = listener.accept();
        drop(worker);
    }

    /// A server in a process of its own that has read a request of a client.
    struct Server {
        child: Child,
        /// It is never blocked in a write.
        _output: BufReader<ChildStdout>,
        port: u16,
        client: TcpStream,
    }

    impl Server {
        fn new(form: &str) -> Self {
            let name = "machine::proc::unheard::tests::a_server_for_the_other_tests";
            let mut child = Command::new(env::current_exe().unwrap())
                .args(["--exact", name, "--test-threads=1"])
                .env(FORM, form)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = BufReader::new(child.stdout.take().unwrap());
            let port = word(&mut output, "port=").parse().unwrap();
            let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
            client.write_all(b"x").unwrap();
            word(&mut output, "read=");
            Self {
                child,
                _output: output,
                port,
                client,
            }
        }

        /// What nobody hears.
        fn look(&self) -> Vec<Unheard> {
            let pid = self.child.id();
            unheard(&Place {
                pids: vec![pid],
                ports: vec![self.port.into()],
                owing: vec![pid],
                least_ms: 0,
            })
        }

        /// Waits until its threads hear so many sockets, the listening one among them.
        fn until_it_hears(&self, sockets: usize) {
            let begun = Instant::now();
            loop {
                let hearing = Hearing::of(self.child.id(), begun + LONG);
                if hearing.is_some_and(|hearing| hearing.heard.len() == sockets) {
                    return;
                }
                assert!(begun.elapsed() < LONG);
                thread::yield_now();
            }
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// The rest of the line that has `name`.
    fn word(output: &mut BufReader<ChildStdout>, name: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(output.read_line(&mut line).unwrap(), 0);
            if let Some((_, word)) = line.split_once(name) {
                return word.trim().to_owned();
            }
        }
    }

    #[test]
    fn a_connection_whose_thread_sleeps_for_a_lock_is_heard_by_nobody() {
        let server = Server::new("lock");
        let begun = Instant::now();
        let found = loop {
            let found = server.look();
            // The thread may not sleep yet.
            if found.iter().any(|found| !found.threads.is_empty()) {
                break found;
            }
            assert!(begun.elapsed() < LONG);
        };
        let [found] = &found[..] else {
            panic!("one process, not {found:?}");
        };
        let [connection] = &found.connections[..] else {
            panic!("one connection, not {found:?}");
        };
        assert_eq!(
            connection.remote,
            server.client.local_addr().unwrap().to_string()
        );
        assert_eq!((connection.unread, connection.registered), (false, false));
        assert!(found.threads.iter().any(|thread| thread.own));
    }

    #[test]
    fn a_connection_with_a_thread_that_reads_is_heard() {
        let server = Server::new("read");
        server.until_it_hears(2);
        assert_eq!(server.look(), []);
    }
}
