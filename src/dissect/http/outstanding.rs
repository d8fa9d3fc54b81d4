//! Requests that have no response yet, in order.

use std::collections::VecDeque;

use super::framing::Asked;
use crate::dissect::Transaction;
use crate::flow::Want;
use crate::time::Timestamp;

/// Most requests of a flow that wait for their responses.
const MAX_REQUESTS: usize = 4_096;

/// Most bytes that they hold together.
const MAX_TEXT: usize = 1 << 20;

/// Text of answered requests that may lie around before it is cleared away.
const MAX_STALE: usize = 32 << 10;

/// A request without its response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// Its number.
    pub transaction: Transaction,
    /// What the response depends on.
    pub asked: Asked,
    /// When its header was complete.
    pub time: Timestamp,
    /// Whether the body of the response is of interest.
    pub body: Want,
    uri: usize,
    agent: usize,
}

/// What a resource needs of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wording<'a> {
    /// `METHOD host target version`; empty if nobody wants resources.
    pub uri: &'a [u8],
    /// User agent.
    pub agent: &'a [u8],
}

/// The requests of a flow that have no response yet.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    // Most connections have one at a time, which lies at hand.
    front: Option<Request>,
    others: VecDeque<Request>,
    text: Vec<u8>,
    stale: usize,
    /// Requests that were dropped before their response came: so many responses belong to none.
    dropped: u64,
}

impl Outstanding {
    /// Adds a request; `uri` is written piece by piece.
    pub fn push(&mut self, transaction: Transaction, asked: Asked, time: Timestamp, uri: &[&[u8]], agent: &[u8]) {
        let uri_len = uri.iter().map(|piece| piece.len()).sum();
        self.text.reserve(uri_len + agent.len());
        for piece in uri {
            self.text.extend_from_slice(piece);
        }
        self.text.extend_from_slice(agent);
        let uri = uri_len;
        let request = Request { transaction, asked, time, body: Want::Yes, uri, agent: agent.len() };
        match &mut self.front {
            Some(_) => self.others.push_back(request),
            front @ None => *front = Some(request),
        }
    }

    /// True if there are more than a flow may have: [`Outstanding::drop_first`] is due.
    pub fn is_full(&self) -> bool {
        self.len() > MAX_REQUESTS || self.text.len() - self.stale > MAX_TEXT
    }

    fn len(&self) -> usize {
        usize::from(self.front.is_some()) + self.others.len()
    }

    /// True without requests, dropped ones included.
    pub fn is_empty(&self) -> bool {
        self.front.is_none() && self.dropped == 0
    }

    /// The last request, if it has no response yet.
    pub fn last(&self) -> Option<&Request> {
        self.others.back().or(self.front.as_ref())
    }

    /// The request that the next response belongs to, if that is known.
    pub fn first(&self) -> Option<(Request, Wording<'_>)> {
        if self.dropped > 0 {
            return None;
        }
        let request = self.front?;
        Some((request, self.wording(&request)))
    }

    fn wording(&self, request: &Request) -> Wording<'_> {
        let (uri, rest) = self.text[self.stale..].split_at(request.uri);
        Wording { uri, agent: &rest[..request.agent] }
    }

    /// The first request has its response.
    pub fn answered(&mut self) {
        if self.dropped > 0 {
            self.dropped -= 1;
        } else {
            self.remove();
        }
    }

    /// Gives the first request up, for room; tells its wording first.
    pub fn drop_first(&mut self, tell: impl FnOnce(Wording<'_>)) {
        if let Some(request) = self.front {
            tell(self.wording(&request));
            self.remove();
            self.dropped += 1;
        }
    }

    /// Removes all, telling the wording of each.
    pub fn drain(&mut self, mut tell: impl FnMut(Wording<'_>)) {
        while let Some(request) = self.front {
            tell(self.wording(&request));
            self.remove();
        }
        self.dropped = 0;
    }

    fn remove(&mut self) {
        let Some(request) = self.front.take() else { return };
        self.front = self.others.pop_front();
        self.stale += request.uri + request.agent;
        if self.front.is_none() {
            self.text.clear();
            self.stale = 0;
        } else if self.stale > MAX_STALE {
            self.text.drain(..self.stale);
            self.stale = 0;
        }
    }

    /// Nobody wants the body of the response to a request.
    pub fn decline(&mut self, transaction: Transaction) {
        if let Some(front) = self.front.as_mut().filter(|front| front.transaction == transaction) {
            front.body = Want::No;
        } else if let Ok(index) = self.others.binary_search_by_key(&transaction, |request| request.transaction) {
            self.others[index].body = Want::No;
        }
    }

    /// Bytes it holds.
    pub fn held(&self) -> usize {
        self.text.capacity() + self.others.capacity() * size_of::<Request>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(list: &mut Outstanding, number: u64, uri: &[&[u8]], agent: &[u8]) {
        list.push(Transaction(number), Asked::Plain, Timestamp::EPOCH, uri, agent);
    }

    #[test]
    fn requests_leave_in_order_with_their_words() {
        let mut list = Outstanding::default();
        push(&mut list, 1, &[b"GET", b" /a"], b"one");
        push(&mut list, 2, &[b"GET", b" /b"], b"two");
        let (first, wording) = list.first().expect("two wait");
        assert_eq!((first.transaction, wording.uri, wording.agent), (Transaction(1), &b"GET /a"[..], &b"one"[..]));
        list.answered();
        let (second, wording) = list.first().expect("one waits");
        assert_eq!((second.transaction, wording.uri, wording.agent), (Transaction(2), &b"GET /b"[..], &b"two"[..]));
        list.answered();
        assert!(list.is_empty() && list.first().is_none() && list.text.is_empty());
    }

    #[test]
    fn the_number_and_size_of_those_that_wait_are_bounded() {
        let mut list = Outstanding::default();
        let mut told = 0;
        for number in 0..10_000 {
            push(&mut list, number, &[&[b'x'; 400]], b"");
            while list.is_full() {
                list.drop_first(|wording| told += usize::from(wording.uri.len() == 400));
            }
            assert!(list.len() <= MAX_REQUESTS && list.text.len() <= MAX_TEXT + MAX_STALE + 400);
        }
        assert_eq!(told + list.len(), 10_000);
        assert!(list.first().is_none(), "the next responses are those of the dropped ones");
        for _ in 0..told {
            list.answered();
        }
        assert_eq!(list.first().map(|(request, _)| request.transaction), Some(Transaction(told as u64)));
    }

    #[test]
    fn a_declined_response_is_remembered() {
        let mut list = Outstanding::default();
        push(&mut list, 4, &[], b"");
        push(&mut list, 9, &[], b"");
        list.decline(Transaction(9));
        list.decline(Transaction(5));
        assert_eq!(list.first().map(|(request, _)| request.body), Some(Want::Yes));
        list.answered();
        assert_eq!(list.first().map(|(request, _)| request.body), Some(Want::No));
    }
}
