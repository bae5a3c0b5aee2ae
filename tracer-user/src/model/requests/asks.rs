//! How much each process of this machine asks the target: what asking may cost it.
//!
//! The process at the other end of a connection is looked for while the connection lives. Short ones (`curl` in a loop) are over by
//! then. But a packet over the loopback is received in its sender's own time: the receiver's waker is an interrupt, and `current`
//! there is the sender. So the process that ran when a request of this machine woke the target is taken for its client.

use std::collections::BTreeMap;

use super::{
    Requests,
    connection::{Caller, Connection},
};
use crate::{
    event::Call,
    model::{
        alike::Forgotten,
        books::{Asker, Asks, ProcessId},
        names::Names,
        threads::Threads,
    },
};

/// Processes that are counted; further ones are not.
const MOST_ASKERS: usize = 4096;

impl Requests {
    /// A request of a connection begins with this call.
    pub(super) fn asked(&mut self, names: &mut Names, threads: &mut Threads, call: &Call) {
        let thread = threads.get_mut(call.tid);
        let bystander = thread.and_then(|thread| thread.bystander.take());
        let known = self
            .connections
            .get(&call.socket)
            .and_then(Connection::here);
        let Some((caller, known)) = known else {
            return;
        };
        let found = match (self.clients.asker(caller), known) {
            (Some(Asker::Process(found)), _) => Some(found),
            (_, Some(known)) => Some(known),
            _ => bystander.and_then(|pid| names.bystander(pid)),
        };
        let Some(found) = found else { return };
        let is_new = known != Some(found);
        if let Some(connection) = self.connections.get_mut(call.socket) {
            connection.asks = Some(found);
        }
        if let Some(asks) = self.asks_of(found) {
            asks.connections += u64::from(is_new);
            asks.requests += 1;
        }
    }

    /// The target sent bytes of an answer.
    pub(super) fn answered(&mut self, call: &Call) {
        let connection = self.connections.get(&call.socket);
        let client = connection.and_then(|connection| connection.asks);
        if let Some(asks) = client.and_then(|client| self.asks_of(client)) {
            asks.bytes += u64::try_from(call.result).unwrap_or(0);
        }
    }

    fn asks_of(&mut self, process: ProcessId) -> Option<&mut Asks> {
        if self.asks.len() >= MOST_ASKERS && !self.asks.contains_key(&process) {
            return None;
        }
        Some(self.asks.entry(process).or_default())
    }

    /// The index will be another process's. What one asked that shares an entry is added to that.
    pub(in crate::model) fn forget_asker(&mut self, forgotten: Forgotten) {
        let Some(asks) = self.asks.remove(&forgotten.process) else {
            return;
        };
        if let Some(sum) = forgotten.shares.and_then(|entry| self.asks_of(entry)) {
            sum.connections = sum.connections.saturating_add(asks.connections);
            sum.requests = sum.requests.saturating_add(asks.requests);
            sum.bytes = sum.bytes.saturating_add(asks.bytes);
        }
    }

    /// By process.
    pub(in crate::model) fn take_asks(&mut self) -> BTreeMap<ProcessId, Asks> {
        std::mem::take(&mut self.asks)
    }
}

impl Connection {
    /// The caller of this machine, with the process that was taken for it.
    fn here(&self) -> Option<(Caller, Option<ProcessId>)> {
        matches!(self.caller, Caller::Here(_)).then_some((self.caller, self.asks))
    }
}
