//! What engines tell each other: messages, and notes about flows of another engine's packets.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::flow_command::{FlowCommand, Note};

/// A message on its way to the VMs of a side.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Packet of the batch that led to it.
    pub packet: u32,
    /// Message id as written; empty for a broadcast.
    pub id: Arc<[u8]>,
    /// Class id of the addressed plugins, for the older form.
    pub class: Option<crate::guid::Guid>,
    /// Text.
    pub text: Arc<[u8]>,
}

/// What engines tell each other.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A message.
    Message(Mail),
    /// A note about a flow of another engine's packets.
    Note(Note),
    /// What the backend asks of a flow that may be the receiver's.
    Command(FlowCommand),
}

/// The way to the VMs of other engines.
#[derive(Debug, Default)]
pub struct Peers {
    others: RefCell<Vec<Sender<Letter>>>,
    /// Engines that are not sent to any more.
    left: Cell<u64>,
    inbox: Option<Receiver<Letter>>,
}

/// Messages from other engines that may wait.
const PEER_QUEUE: usize = 10_000;

impl Peers {
    /// One for each of `count` engines, all connected.
    #[must_use]
    pub fn connect(count: usize) -> Vec<Self> {
        if count < 2 {
            return (0..count).map(|_| Self::default()).collect();
        }
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(PEER_QUEUE)).unzip();
        let others =
            |own: usize| senders.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, s)| s.clone()).collect();
        receivers
            .into_iter()
            .enumerate()
            .map(|(own, inbox)| Self { others: RefCell::new(others(own)), left: Cell::new(0), inbox: Some(inbox) })
            .collect()
    }

    /// As [`Peers::connect`], and one more that all of them hear and that hears nothing: for the backend.
    #[must_use]
    pub fn connect_with_speaker(count: usize) -> (Vec<Self>, Self) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(PEER_QUEUE)).unzip();
        let others =
            |own: usize| senders.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, s)| s.clone()).collect();
        let peer = |(own, inbox)| Self { others: RefCell::new(others(own)), left: Cell::new(0), inbox: Some(inbox) };
        let speaker = Self { others: RefCell::new(others(usize::MAX)), left: Cell::new(0), inbox: None };
        (receivers.into_iter().enumerate().map(peer).collect(), speaker)
    }

    /// Passes a message on; returns how many engines could not take it.
    #[must_use]
    pub fn send(&self, mail: &Mail) -> u64 {
        self.post(&Letter::Message(mail.clone()))
    }

    /// Passes a letter on; returns how many engines could not take it.
    #[must_use]
    pub fn post(&self, letter: &Letter) -> u64 {
        let full = self.others.borrow().iter().filter(|other| other.try_send(letter.clone()).is_err()).count() as u64;
        full + self.left.get()
    }

    /// Sends nothing any more: tells the others that this engine has ended.
    pub fn leave(&self) {
        self.left.set(self.others.borrow_mut().drain(..).count() as u64);
    }

    /// What other engines send until each of them has left; waits for them.
    pub fn rest(&self) -> impl Iterator<Item = Letter> + '_ {
        self.inbox.iter().flat_map(Receiver::iter)
    }

    /// What other engines sent.
    pub fn inbox(&self) -> impl Iterator<Item = Letter> + '_ {
        self.inbox.iter().flat_map(Receiver::try_iter)
    }
}
