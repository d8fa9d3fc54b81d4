//! What engines tell each other: messages, and notes about flows of another engine's packets.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::flow_command::{FlowCommand, Note};
use crate::decode;
use crate::key::FlowTuple;

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
    /// What another engine asks of a flow of the receiver's packets.
    Wish(FlowCommand),
}

/// The way to the VMs of other engines.
#[derive(Debug, Default)]
pub struct Peers {
    others: RefCell<Vec<Sender<Letter>>>,
    /// Engines that are not sent to any more.
    left: Cell<u64>,
    inbox: Option<Receiver<Letter>>,
    /// Number of this engine, and of those that share the packets out by their flows' hash; none if something else does.
    sharing: Option<(u32, u32)>,
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
            .map(|(own, inbox)| Self {
                others: RefCell::new(others(own)),
                left: Cell::new(0),
                inbox: Some(inbox),
                sharing: None,
            })
            .collect()
    }

    /// As [`Peers::connect`], and `speakers` more that all of them hear and that hear nothing: for the backends.
    #[must_use]
    pub fn connect_with_speakers(count: usize, speakers: usize) -> (Vec<Self>, Vec<Self>) {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| bounded(PEER_QUEUE)).unzip();
        let others =
            |own: usize| senders.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, s)| s.clone()).collect();
        let peer =
            |own: usize, inbox| Self { others: RefCell::new(others(own)), left: Cell::new(0), inbox, sharing: None };
        let speakers = (0..speakers).map(|_| peer(usize::MAX, None)).collect();
        (receivers.into_iter().enumerate().map(|(own, inbox)| peer(own, Some(inbox))).collect(), speakers)
    }

    /// Tells the end of engine `own` that it is one of `engines` that share the packets out by their flows' hash.
    #[must_use]
    pub fn sharing(self, own: u32, engines: u32) -> Self {
        Self { sharing: Some((own, engines)), ..self }
    }

    /// Whether engines share the packets out by their flows' hash.
    #[must_use]
    pub fn is_sharing(&self) -> bool {
        self.sharing.is_some()
    }

    /// The engine that has the packets of a flow, if that is another one.
    #[must_use]
    pub fn owner(&self, flow: &FlowTuple) -> Option<u32> {
        let (own, engines) = self.sharing?;
        let owner = (u64::from(decode::tuple_hash(flow)) * u64::from(engines)) >> 32;
        Some(owner as u32).filter(|owner| *owner != own)
    }

    /// Passes something on to the engine that has its flow; gives it back if that could not take it.
    #[must_use]
    pub fn hand_over(&self, owner: u32, letter: Letter) -> Option<Letter> {
        let Some((own, _)) = self.sharing else { return Some(letter) };
        // The own one is not in the list.
        let place = if owner > own { owner - 1 } else { owner };
        match self.others.borrow().get(place as usize) {
            Some(other) => other.try_send(letter).err().map(TrySendError::into_inner),
            None => Some(letter),
        }
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
