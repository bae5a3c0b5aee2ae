//! The facts that stand: what a later file of a recording must begin with, so that it can be read without those before.
//!
//! Each is an event like those at attach. A thread is not among them: each wait names its process, and whoever sleeps until the end is
//! reported there.

use std::collections::BTreeMap;

use tracer_common::tcp::CALL_CLOSE;

use crate::{
    event::{Client, Event, Exec, Fork, MissingProbe, ProbeGroup, Process, Stack, Start, Watch},
    units::time,
};

/// Sockets that are kept; further ones are known by their ports alone.
const MOST_SOCKETS: usize = 1 << 14;
/// Stacks that are kept. Waits in further ones have no stack in a later file.
const MOST_STACKS: usize = 1 << 13;
/// Facts about disks, mounts, the tracer, containers, and whom the target asks. There are some dozens, on a host of containers hundreds.
const MOST_OTHERS: usize = 1 << 11;

/// The facts so far.
#[derive(Debug, Default)]
pub struct Standing {
    start: Start,
    now_ns: u64,
    /// Those that live, and the named targets.
    processes: BTreeMap<u32, Process>,
    stacks: BTreeMap<u64, Stack>,
    sockets: BTreeMap<u64, Event>,
    clients: BTreeMap<u64, Client>,
    /// The probes that are shed.
    shed: BTreeMap<ProbeGroup, Watch>,
    others: Vec<Event>,
}

impl Standing {
    /// Takes note of an event.
    pub fn see(&mut self, event: &Event) {
        self.now_ns = self.now_ns.max(event.ns());
        match event {
            Event::Start(start) => self.start = (**start).clone(),
            Event::Process(process) => _ = self.processes.insert(process.pid, process.clone()),
            Event::Fork(fork) if fork.pid == fork.tid => self.forked(fork),
            Event::Exec(exec) => self.executed(exec),
            Event::Exit(exit) if !self.start.targets.contains(&exit.pid) => {
                self.processes.remove(&exit.pid);
            }
            Event::Moved(moved) => {
                if let Some(process) = self.processes.get_mut(&moved.pid) {
                    process.cgroup.clone_from(&moved.cgroup);
                }
            }
            Event::Joined(joined) => {
                if let Some(process) = self.processes.get_mut(&joined.pid) {
                    process.target = true;
                }
            }
            Event::Stack(stack) if self.stacks.len() < MOST_STACKS => {
                self.stacks.insert(stack.id, stack.clone());
            }
            Event::Client(client) if self.clients.len() < MOST_SOCKETS => {
                self.clients.insert(client.socket, client.clone());
            }
            Event::Call(call) if call.flags & CALL_CLOSE != 0 => {
                self.sockets.remove(&call.socket);
                self.clients.remove(&call.socket);
            }
            Event::Watch(watch) if watch.is_shed => _ = self.shed.insert(watch.group, *watch),
            Event::Watch(watch) => _ = self.shed.remove(&watch.group),
            Event::Socket(socket) => self.socket(socket.socket, event),
            Event::Opened(opened) => self.socket(opened.socket.socket, event),
            Event::Disk(_)
            | Event::RemoteMount(_)
            | Event::Tracer(_)
            | Event::Called(_)
            | Event::Follow(_)
            | Event::FollowHand(_)
            | Event::FollowOwner(_)
                if self.others.len() < MOST_OTHERS =>
            {
                self.others.push(event.clone());
            }
            _ => {}
        }
    }

    /// The address of a socket may have been another one's.
    fn socket(&mut self, address: u64, event: &Event) {
        self.clients.remove(&address);
        self.sockets.remove(&address);
        if self.sockets.len() < MOST_SOCKETS {
            self.sockets.insert(address, event.clone());
        }
    }

    fn forked(&mut self, fork: &Fork) {
        let image = self.processes.get(&fork.parent_pid);
        let process = Process {
            pid: fork.pid,
            parent_pid: fork.parent_pid,
            pgid: fork.pgid,
            sid: fork.sid,
            start_ns: fork.start_ns,
            comm: fork.comm.clone(),
            target: fork.target,
            ..image.cloned().unwrap_or_default()
        };
        self.processes.insert(fork.pid, process);
    }

    fn executed(&mut self, exec: &Exec) {
        let process = self.processes.entry(exec.pid).or_default();
        process.pid = exec.pid;
        process.pgid = exec.pgid;
        process.sid = exec.sid;
        process.comm.clone_from(&exec.comm);
        process.cmdline.clone_from(&exec.cmdline);
        process.kernel = false;
    }

    /// The begin of the trace.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// The process that has this id now.
    #[must_use]
    pub fn process(&self, pid: u32) -> Option<&Process> {
        self.processes.get(&pid)
    }

    /// All that live, and the named targets, in order of their ids.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.values()
    }

    /// The frames of a stack.
    #[must_use]
    pub fn stack(&self, id: u64) -> Option<&Stack> {
        self.stacks.get(&id)
    }

    /// Facts about the machine, and the sockets of targets.
    pub fn others(&self) -> impl Iterator<Item = &Event> {
        self.others.iter().chain(self.sockets.values())
    }

    /// The probes that are shed.
    pub fn shed(&self) -> impl Iterator<Item = &Watch> {
        self.shed.values()
    }

    /// All of them, in the order of those at attach. The window begins where the events before end, and says so.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let left_out_ns = self.now_ns.saturating_sub(self.start.ns);
        let mut start = self.start.clone();
        start.ns = self.now_ns;
        start.wall_ns += left_out_ns;
        start.missing.push(MissingProbe {
            probe: "recording".to_owned(),
            cost: format!(
                "the first {} are not in it: --max-size kept what is newer",
                time(left_out_ns)
            ),
            blinds: None,
        });
        let mut events = vec![Event::Start(Box::new(start))];
        events.extend(self.processes.values().cloned().map(Event::Process));
        events.extend(self.stacks.values().cloned().map(Event::Stack));
        events.extend(self.shed.values().copied().map(Event::Watch));
        events.extend(self.others.iter().cloned());
        events.extend(self.sockets.values().cloned());
        events.extend(self.clients.values().cloned().map(Event::Client));
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        event::{Call, Exit, Moved, Socket},
        standing::Called,
    };

    fn standing(events: &[Event]) -> Vec<Event> {
        let mut standing = Standing::default();
        events.iter().for_each(|event| standing.see(event));
        standing.events()
    }

    #[test]
    fn probes_that_are_shed_are_shed_in_the_next_file_too_and_those_watched_again_are_not() {
        let watch = |ns, is_shed| {
            Event::Watch(Watch {
                ns,
                group: ProbeGroup::Interrupts,
                is_shed,
            })
        };
        let shed = watch(1_000, true);
        let again = standing(std::slice::from_ref(&shed));
        assert_eq!(again.last(), Some(&shed));
        assert_eq!(again.len(), 2);
        assert_eq!(standing(&[shed, watch(2_000, false)])[1..], []);
    }

    #[test]
    fn what_ended_stands_no_longer_and_what_became_of_the_rest_does() {
        let start = Start {
            ns: 1_000,
            wall_ns: 5_000,
            targets: vec![7],
            ..Start::default()
        };
        let process = |pid, comm: &str| Process {
            pid,
            comm: comm.to_owned(),
            cgroup: "/a".to_owned(),
            ..Process::default()
        };
        let fork = |pid| {
            Event::Fork(Fork {
                ns: 2_000,
                pid,
                tid: pid,
                parent_pid: 7,
                comm: "server".to_owned(),
                ..Fork::default()
            })
        };
        let socket = |socket| {
            Event::Socket(Socket {
                socket,
                ..Socket::default()
            })
        };
        let exit = |pid| Event::Exit(Exit { ns: 3_000, pid });
        let called = Called::alone("/docker/3f2a", "web").unwrap();
        let events = standing(&[
            Event::Start(Box::new(start)),
            Event::Process(process(7, "server")),
            fork(8),
            fork(9),
            Event::Exec(Exec {
                pid: 9,
                comm: "gzip".to_owned(),
                ..Exec::default()
            }),
            Event::Moved(Moved {
                ns: 2_500,
                pid: 9,
                cgroup: "/b".to_owned(),
            }),
            Event::Called(Box::new(called.clone())),
            socket(1),
            socket(2),
            Event::Call(Call {
                socket: 1,
                flags: CALL_CLOSE,
                ..Call::default()
            }),
            exit(7),
            exit(8),
        ]);
        let Event::Start(start) = &events[0] else {
            unreachable!("the begin comes first");
        };
        assert_eq!((start.ns, start.wall_ns), (3_000, 7_000));
        assert!(start.missing[0].cost.contains("--max-size"));
        let gzip = Process {
            parent_pid: 7,
            cgroup: "/b".to_owned(),
            ..process(9, "gzip")
        };
        let expected = [
            Event::Process(process(7, "server")),
            Event::Process(gzip),
            Event::Called(Box::new(called)),
            socket(2),
        ];
        assert_eq!(events[1..], expected);
    }
}
