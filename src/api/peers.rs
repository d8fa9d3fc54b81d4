//! What engines tell each other: messages, and notes about flows of another engine's packets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::flow_command::{FlowCommand, Note};
use super::meeting::{Meeting, Seat};
use crate::decode;
use crate::key::FlowTuple;
use crate::packet;

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

/// Whether one more may wait. A queue that is made with all its room would take megabytes from every run, and few runs send
/// anything.
fn has_room(queue: &Sender<Letter>) -> bool {
    queue.len() < PEER_QUEUE
}

/// The way to the VMs of other engines.
#[derive(Debug, Default)]
pub struct Peers {
    others: RefCell<Vec<Sender<Letter>>>,
    /// Engines that are not sent to any more.
    left: Cell<u64>,
    inbox: Option<Receiver<Letter>>,
    /// What an engine had no room for: its place among the others, and the letter. Over files only.
    waiting: RefCell<VecDeque<(usize, Letter)>>,
    /// What came and is to be heard later.
    held: RefCell<Vec<Letter>>,
    /// Letters heard since it was last said that all they led to is done.
    opened: Cell<u64>,
    meeting: Arc<Meeting>,
    /// Of an engine that shares the packets with others by their flows' hash; none if something else does.
    seat: Option<Seat>,
}

/// Letters from other engines that may wait; when several send at once, one more of each.
const PEER_QUEUE: usize = 10_000;
/// Letters that may wait for room in the queues of others.
const MAX_WAITING: usize = 100_000;

impl Peers {
    fn new(others: Vec<Sender<Letter>>, inbox: Option<Receiver<Letter>>, meeting: &Arc<Meeting>) -> Self {
        Self { others: RefCell::new(others), inbox, meeting: Arc::clone(meeting), ..Self::default() }
    }

    /// One for each of `count` engines, all connected.
    #[must_use]
    pub fn connect(count: usize) -> Vec<Self> {
        if count < 2 {
            return (0..count).map(|_| Self::default()).collect();
        }
        Self::connect_with_speakers(count, 0).0
    }

    /// As [`Peers::connect`], and `speakers` more that all of them hear and that hear nothing: for the backends.
    #[must_use]
    pub fn connect_with_speakers(count: usize, speakers: usize) -> (Vec<Self>, Vec<Self>) {
        let meeting = Arc::default();
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| unbounded()).unzip();
        let others =
            |own: usize| senders.iter().enumerate().filter(|(i, _)| *i != own).map(|(_, s)| s.clone()).collect();
        let speakers = (0..speakers).map(|_| Self::new(others(usize::MAX), None, &meeting)).collect();
        let engine = |(own, inbox)| Self::new(others(own), Some(inbox), &meeting);
        (receivers.into_iter().enumerate().map(engine).collect(), speakers)
    }

    /// Tells the end of engine `own` that it is one of `engines` that share the packets out by their flows' hash.
    #[must_use]
    pub fn sharing(mut self, own: u32, engines: u32) -> Self {
        self.seat = Some(Seat::new(&self.meeting, own, engines));
        self
    }

    /// The place of an engine that shares the packets with others, where they meet at the end.
    #[must_use]
    pub const fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }

    /// Whether engines share the packets out by their flows' hash.
    #[must_use]
    pub const fn is_sharing(&self) -> bool {
        self.seat.is_some()
    }

    /// The engine that has the packets of a flow, if that is another one.
    #[must_use]
    pub fn owner(&self, flow: &FlowTuple) -> Option<u32> {
        let seat = self.seat.as_ref()?;
        let owner = packet::engine_of(decode::tuple_hash(flow), seat.engines as usize);
        Some(owner as u32).filter(|owner| *owner != seat.own)
    }

    /// Passes something on to the engine that has its flow; gives it back if that could not take it.
    #[must_use]
    pub fn hand_over(&self, owner: u32, letter: Letter) -> Option<Letter> {
        let Some(seat) = &self.seat else { return Some(letter) };
        // The own one is not in the list.
        let place = if owner > seat.own { owner - 1 } else { owner };
        self.send_to(place as usize, letter).err()
    }

    /// Sends to one of the others. Engines that share files have ends of their own time: what one has no room for waits.
    fn send_to(&self, place: usize, letter: Letter) -> Result<(), Letter> {
        let others = self.others.borrow();
        let Some(other) = others.get(place) else { return Err(letter) };
        let mut waiting = self.waiting.borrow_mut();
        self.meeting.on_its_way();
        if waiting.is_empty() && has_room(other) {
            return other.send(letter).map_err(|refused| {
                self.meeting.done(1);
                refused.into_inner()
            });
        }
        if waiting.len() >= MAX_WAITING || waiting.is_empty() && !self.is_sharing() {
            self.meeting.done(1);
            return Err(letter);
        }
        waiting.push_back((place, letter));
        Ok(())
    }

    /// Sends what waits for room, as far as there is some now.
    fn send_waiting(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let others = self.others.borrow();
        while let Some((place, letter)) = waiting.pop_front() {
            let Some(other) = others.get(place) else { continue };
            if !has_room(other) {
                return waiting.push_front((place, letter));
            }
            // That engine has ended, and so have its flows.
            if other.send(letter).is_err() {
                self.meeting.done(1);
            }
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
        let others = self.others.borrow().len();
        let full = (0..others).filter(|place| self.send_to(*place, letter.clone()).is_err()).count() as u64;
        full + self.left.get()
    }

    /// Sends nothing any more: tells the others that this engine has ended. Gives back how many letters had no room.
    pub fn leave(&self) -> u64 {
        self.send_waiting();
        self.left.set(self.others.borrow_mut().drain(..).count() as u64);
        self.waiting.borrow_mut().drain(..).count() as u64
    }

    /// What other engines send until each of them has left; waits for them. Empty when all have left.
    #[must_use]
    pub fn await_rest(&self) -> Vec<Letter> {
        let mut letters = self.held.take();
        let Some(inbox) = &self.inbox else { return letters };
        if letters.is_empty() {
            letters.extend(inbox.recv());
        }
        letters.extend(inbox.try_iter());
        letters
    }

    /// What other engines sent.
    pub fn inbox(&self) -> impl Iterator<Item = Letter> + '_ {
        self.send_waiting();
        let come = self.inbox.iter().flat_map(Receiver::try_iter);
        self.held.take().into_iter().chain(come).inspect(|_| self.opened.set(self.opened.get() + 1))
    }

    /// What other engines sent, as [`Peers::inbox`], of an engine that has nothing to do but wait so long for it.
    #[must_use]
    pub fn await_letters(&self, wait: Duration) -> Vec<Letter> {
        let mut letters: Vec<Letter> = self.inbox().collect();
        if letters.is_empty()
            && let Some(first) = self.inbox.as_ref().and_then(|inbox| inbox.recv_timeout(wait).ok())
        {
            self.opened.set(self.opened.get() + 1);
            letters.push(first);
            letters.extend(self.inbox());
        }
        letters
    }

    /// Keeps letters for the next look into the inbox.
    pub fn hold(&self, letters: Vec<Letter>) {
        self.held.borrow_mut().extend(letters);
    }

    /// Says that everything is done that the letters heard so far have led to.
    pub fn settle(&self) {
        self.meeting.done(self.opened.take());
    }
}

#[cfg(test)]
mod tests {
    use super::{Letter, MAX_WAITING, Mail, PEER_QUEUE, Peers};
    use std::time::Duration;

    fn two() -> [Peers; 2] {
        let mut ends = Peers::connect(2).into_iter();
        [0, 1].map(|own| ends.next().expect("one for each").sharing(own, 2))
    }

    fn mail(text: &str) -> Mail {
        Mail { packet: 0, id: [].into(), class: None, text: text.as_bytes().into() }
    }

    fn texts(letters: impl IntoIterator<Item = Letter>) -> Vec<String> {
        letters
            .into_iter()
            .map(|letter| match letter {
                Letter::Message(mail) => String::from_utf8_lossy(&mail.text).into_owned(),
                other => panic!("not sent: {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_meeting_is_over_when_all_have_come_and_nothing_is_on_its_way() {
        let [one, two] = two();
        let [first, second] = [&one, &two].map(|end| end.seat().expect("they share"));
        assert_eq!(one.send(&mail("early")), 0);
        first.arrive();
        assert!(!first.is_over() && !first.all_are_here());
        second.arrive();
        assert!(second.all_are_here() && !second.is_over(), "a letter is on its way");
        assert_eq!(texts(two.await_letters(Duration::ZERO)), ["early"]);
        assert!(!first.is_over(), "what it leads to is not done yet");
        assert_eq!(two.send(&mail("answer")), 0);
        two.settle();
        assert!(!second.is_over());
        assert_eq!(texts(one.await_letters(Duration::from_secs(60))), ["answer"]);
        one.settle();
        assert!(first.is_over() && second.is_over());
        // What is said afterwards changes nothing about that, and waits.
        assert_eq!(two.send(&mail("late")), 0);
        let late = one.await_letters(Duration::ZERO);
        assert!(first.is_over());
        one.hold(late);
        assert_eq!(texts(one.inbox()), ["late"]);
    }

    #[test]
    fn an_engine_that_went_away_is_not_waited_for() {
        let [one, two] = two();
        assert_eq!(one.send(&mail("unread")), 0);
        let first = one.seat().expect("they share");
        first.arrive();
        assert!(!first.is_over());
        drop(two);
        assert!(first.is_over());
        let [one, two] = self::two();
        let seats = [&one, &two].map(|end| end.seat().expect("they share"));
        seats.iter().for_each(|seat| seat.arrive());
        assert_eq!(one.send(&mail("unread")), 0);
        assert!(!seats[0].is_over());
        seats[1].leave();
        assert!(seats[0].is_over());
    }

    #[test]
    fn letters_wait_for_room_and_keep_their_order() {
        let [one, two] = two();
        let count = PEER_QUEUE + 10;
        assert!((0..count).all(|number| one.send(&mail(&number.to_string())) == 0));
        let mut heard: Vec<Letter> = two.inbox().collect();
        assert_eq!(heard.len(), PEER_QUEUE);
        assert!(one.inbox().next().is_none(), "a look into the inbox sends what waits");
        heard.extend(two.inbox());
        assert!(texts(heard).iter().eq(&(0..count).map(|number| number.to_string()).collect::<Vec<_>>()));
        assert!((0..PEER_QUEUE + MAX_WAITING).all(|_| one.send(&mail("x")) == 0));
        assert_eq!(one.send(&mail("too many")), 1);
    }
}
