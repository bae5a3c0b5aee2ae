//! Waits in sends that have not returned. A wait does not show its socket: the next call that returns to its thread does.
//!
//! So it is judged on the link of that socket, which need not be the client's: a thread may block on what it asks, or copies away. If the
//! other end is on this machine and no link queues there, or its buffer is full, it does not take what it is sent: that is no wait for the
//! network.

use std::sync::Arc;

use super::{Beside, Requests, connection::Role};
use crate::{
    class::{Class, Resource},
    event::{self, Call},
    model::{
        account::Charge,
        books::Holder,
        links::{Route, SendWait},
        threads::{ReadBy, Threads},
    },
};

/// Waits kept of one call. Each ends when a third of the socket's buffer is free, so these are tens of megabytes of one call. The
/// oldest of a longer call are judged before it returns.
const MOST_WAITS: usize = 1024;

impl Requests {
    /// A thread waited in a send on a stream.
    pub(in crate::model) fn send_waited(
        &mut self,
        beside: &mut Beside<'_>,
        tid: u32,
        wait: SendWait,
    ) {
        let waits = self.sends.entry(tid).or_default();
        waits.push_back(wait);
        let oldest = match waits.len() > MOST_WAITS {
            true => waits.pop_front(),
            false => None,
        };
        if let Some(oldest) = oldest {
            let socket = self.sends_on(beside.threads, tid);
            self.charge_send(beside, tid, socket, oldest);
        }
    }

    /// A call returned. If it is a send, its thread waited for it; else the record of the send was lost.
    pub(super) fn returned(&mut self, beside: &mut Beside<'_>, call: &Call, is_send: bool) {
        let socket = is_send.then_some(call.socket);
        self.judge_sends(beside, call.tid, socket);
        if let Some(thread) = beside.threads.get_mut(call.tid) {
            thread.sends_on = socket;
        }
    }

    /// Judges what a thread waited in a send on a socket, or on the one that is likely.
    pub(super) fn judge_sends(&mut self, beside: &mut Beside<'_>, tid: u32, socket: Option<u64>) {
        let Some(waits) = self.sends.remove(&tid) else {
            return;
        };
        let socket = socket.or_else(|| self.sends_on(beside.threads, tid));
        for wait in waits {
            self.charge_send(beside, tid, socket, wait);
        }
    }

    /// Sends that have not returned at the end of the window.
    pub(in crate::model) fn close_sends(&mut self, beside: &mut Beside<'_>) {
        let tids: Vec<u32> = self.sends.keys().copied().collect();
        for tid in tids {
            self.judge_sends(beside, tid, None);
        }
    }

    /// The socket on which a thread sends while no call shows that: the one of its last call, if that was a send, else its client's.
    fn sends_on(&self, threads: &Threads, tid: u32) -> Option<u64> {
        let thread = threads.get(tid)?;
        thread.sends_on.or_else(|| self.serving(&thread.turns))
    }

    fn charge_send(&self, beside: &mut Beside<'_>, tid: u32, socket: Option<u64>, wait: SendWait) {
        let route = socket.and_then(|socket| self.route(socket));
        let reader = socket.and_then(|socket| self.reader(socket));
        let span = (wait.begin, wait.end);
        let is_full = route.is_some_and(|route| route.is_full_there(span));
        let queues = route.is_some_and(Route::queues);
        let reader = reader.filter(|(_, is_here)| is_full || (*is_here && !queues));
        if !reader.is_some_and(|(ends, _)| not_taken(beside, tid, ends, wait)) {
            beside.links.waited(beside.account, route, wait);
        }
    }

    /// The ends of a connection on which somebody reads what the target sends, and whether that one may be on this machine. A client that
    /// reads slowly is none: nobody has asked it.
    fn reader(&self, socket: u64) -> Option<(&Arc<(String, String)>, bool)> {
        let connection = self.connections.get(&socket)?;
        let (local, remote) = &*connection.ends;
        let is_reader = connection.role == Role::Client && !remote.is_empty();
        is_reader.then(|| (&connection.ends, event::is_local(local, remote)))
    }
}

/// A thread waited for whoever is at the other end of a connection to take what it sent. Returns whether the thread's time is still known:
/// only then it can be judged anew.
fn not_taken(
    beside: &mut Beside<'_>,
    tid: u32,
    ends: &Arc<(String, String)>,
    wait: SendWait,
) -> bool {
    let (seemed, class) = (Class::Network, Class::Upstream);
    let thread = beside.threads.get_mut(tid);
    if thread.is_none_or(|thread| !thread.becomes((seemed, class), wait.end)) {
        return false;
    }
    let SendWait {
        begin,
        end,
        ns,
        stack,
    } = wait;
    beside
        .threads
        .not_taken(ReadBy::Ends(Arc::clone(ends)), (begin, end));
    let place = Some(beside.names.place(&ends.1));
    let account = &mut *beside.account;
    account.ledger.threads(seemed, begin, end, -(ns as i64));
    account.ledger.threads(class, begin, end, ns as i64);
    account.charge_only(Charge {
        resource: Resource::Upstream,
        place,
        holder: Holder::Peer,
        stack,
        span: (begin, end),
        ns,
        estimated: false,
    });
    account.burn_only((class, place, Holder::Nobody, stack), ns);
    true
}
