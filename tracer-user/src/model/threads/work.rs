//! The request that a thread works on. Others that it owns, or has not yet picked up, stand behind it (head-of-line).

use std::collections::VecDeque;

use crate::model::recent;

/// Spans kept of a thread, at least and at most: as many as check points.
const KEPT: usize = 64;
const MOST: usize = 1 << 13;

/// A span of work for the request of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    begin_ns: u64,
    end_ns: u64,
    socket: u64,
}

impl Span {
    /// How long of it lies in `[begin, end]`, ns.
    fn within(self, begin: u64, end: u64) -> u64 {
        self.end_ns
            .min(end)
            .saturating_sub(self.begin_ns.max(begin))
    }
}

/// A thread works for a connection from a call on it until a call on another or a wait for work. After a wait for work, it works
/// for the connection of its next call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    spans: VecDeque<Span>,
    /// Connection of the last call since it last waited for work.
    socket: Option<u64>,
    since_ns: u64,
    /// The end of its last wait for work, ns.
    awake_ns: u64,
    /// Connection of the last call, unless it has waited for any of several at once since then.
    last: Option<u64>,
}

impl Work {
    /// A call on a client's connection.
    pub(crate) fn call(&mut self, socket: u64, ns: u64) {
        let until_now = self.socket.replace(socket).unwrap_or(socket);
        self.add(until_now, ns);
        self.since_ns = ns;
        self.last = Some(socket);
    }

    /// It waits for whatever comes next of several things: then it may work for another connection.
    pub(crate) fn turns_round(&mut self) {
        self.last = None;
    }

    /// The connection for which it asks somebody something now. While it sleeps for one thing after the other, it serves the same request.
    #[must_use]
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// A wait for work.
    #[inline]
    pub(crate) fn pause(&mut self, begin_ns: u64, end_ns: u64) {
        if let Some(socket) = self.socket.take() {
            self.add(socket, begin_ns);
        }
        (self.since_ns, self.awake_ns) = (end_ns, end_ns);
    }

    /// Since when it has not waited for work, ns.
    #[must_use]
    pub(crate) fn awake_ns(&self) -> u64 {
        self.awake_ns
    }

    fn add(&mut self, socket: u64, end_ns: u64) {
        let begin_ns = self.since_ns;
        if end_ns <= begin_ns {
            return;
        }
        let last = self.spans.back_mut();
        match last.filter(|last| last.socket == socket && last.end_ns == begin_ns) {
            Some(same) => same.end_ns = end_ns,
            None => self.spans.push_back(Span {
                begin_ns,
                end_ns,
                socket,
            }),
        }
    }

    /// The connection for which it worked at a time; `None` if that is not known.
    #[must_use]
    pub(crate) fn at(&self, ns: u64) -> Option<u64> {
        if self.since_ns <= ns {
            return self.socket;
        }
        let first = recent::partition_point(&self.spans, |span| span.end_ns < ns);
        let span = self.spans.get(first)?;
        (span.begin_ns <= ns).then_some(span.socket)
    }

    /// How long of `[begin, end]` it worked for other connections than `socket`, ns.
    #[must_use]
    #[inline]
    pub(crate) fn for_others(&self, socket: u64, begin: u64, end: u64) -> u64 {
        let others = self.of_others(socket, begin, end);
        others.map(|span| span.within(begin, end)).sum()
    }

    /// The same for each of the others for which it worked for at least `least_ns` without a pause, with its connection.
    pub(crate) fn long_for_others(
        &self,
        socket: u64,
        (begin, end): (u64, u64),
        least_ns: u64,
    ) -> impl Iterator<Item = (u64, u64)> {
        let others = self.of_others(socket, begin, end);
        let long = others.filter(move |span| span.end_ns.saturating_sub(span.begin_ns) >= least_ns);
        long.map(move |span| (span.socket, span.within(begin, end)))
    }

    /// The spans of `[begin, end]` in which it worked for other connections.
    pub(crate) fn spans_for_others(
        &self,
        socket: u64,
        (begin, end): (u64, u64),
    ) -> impl Iterator<Item = (u64, u64)> {
        let others = self.of_others(socket, begin, end);
        let cut = others.map(move |span| (span.begin_ns.max(begin), span.end_ns.min(end)));
        cut.filter(|(from, to)| from < to)
    }

    /// Its spans of work for other connections that touch `[begin, end]`.
    #[inline]
    fn of_others(&self, socket: u64, begin: u64, end: u64) -> impl Iterator<Item = Span> {
        let first = recent::partition_point(&self.spans, |span| span.end_ns <= begin);
        let spans = self
            .spans
            .range(first..)
            .take_while(move |span| span.begin_ns < end);
        let now = self.socket.map(|socket| Span {
            begin_ns: self.since_ns,
            end_ns: end,
            socket,
        });
        let all = spans.copied().chain(now);
        all.filter(move |span| span.socket != socket)
    }

    /// Forgets spans before `needed_ns`, but for the most recent.
    pub(crate) fn forget(&mut self, needed_ns: u64) {
        while self.spans.len() > KEPT
            && (self.spans[0].end_ns <= needed_ns || self.spans.len() > MOST)
        {
            self.spans.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_after_a_wait_is_for_the_next_call_and_work_after_a_call_for_that() {
        let mut work = Work::default();
        work.pause(0, 10);
        work.call(1, 12);
        work.call(2, 20);
        work.pause(23, 50);
        assert_eq!(work.for_others(2, 0, 60), 10);
        assert_eq!(work.for_others(1, 0, 60), 3);
        assert_eq!(work.for_others(3, 11, 21), 10);
        let long = |least_ns| Vec::from_iter(work.long_for_others(2, (0, 60), least_ns));
        assert_eq!((long(10), long(11)), (vec![(1, 10)], vec![]));
        let spans = Vec::from_iter(work.spans_for_others(3, (15, 21)));
        assert_eq!(spans, [(15, 20), (20, 21)]);
        let at = [11, 15, 21, 30].map(|ns| work.at(ns));
        assert_eq!(at, [Some(1), Some(1), Some(2), None]);
        work.call(1, 52);
        // Its work now.
        assert_eq!(work.for_others(2, 50, 60), 10);
        assert_eq!(work.at(55), Some(1));
    }

    #[test]
    fn a_sleep_leaves_a_thread_with_its_connection_and_an_event_loop_does_not() {
        let mut work = Work::default();
        work.call(1, 10);
        work.pause(12, 20);
        assert_eq!((work.at(25), work.last()), (None, Some(1)));
        work.turns_round();
        assert_eq!(work.last(), None);
    }
}
