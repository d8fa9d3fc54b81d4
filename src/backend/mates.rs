//! What the backends of a run tell each other.
//!
//! Each has keys, flows and records of its own, and its scripts may speak of those of the others. What they say waits, and
//! is handed over where the backends meet: after each second, and before a bucket closes. A meeting has a [`Moment`], which
//! goes up from one to the next. A backend first sends every other one a [`Bundle`] with its moment, empty or not, and then
//! waits until all have come as far. What came is taken in by the numbers of the senders, so that over files it comes in the
//! same order in every run.
//!
//! Nobody waits in a circle: whoever waits has said how far it is, so the one that is the least far waits for nobody. Over
//! files a backend waits as long as another one's callbacks take. With the time of the wall it waits for a moment, and then
//! not again for the one that was late until that one has caught up; what that one sends is taken in when it comes. At the
//! end of input all are waited for.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::parcel::{Item, Parcel};
use super::toppers::GroupRanks;
use crate::api::Mail;
use crate::metrics::Updates;
use crate::sink::EventLines;
use crate::time::Stopwatch;

/// Bundles on their way from one backend to another. Those that keep pace have two at most.
const WAY: usize = 16;
/// How long is waited before something else is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long is waited before it is looked again whether there is room on a way.
const GLANCE: Duration = Duration::from_micros(200);
/// How long one that is behind is waited for when time is that of the wall.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a last bundle may take.
const LAST: Duration = Duration::from_secs(1);
/// What one bundle holds of messages, bytes of their texts, items and tags; more is left out and counted.
const MAX_MAIL: usize = 10_000;
const MAX_MAIL_BYTES: usize = 64 << 20;
const MAX_ITEMS: usize = 100_000;
const MAX_TAGS: usize = 100_000;

/// Where in the run a backend is: a second, and a step within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    secs: i64,
    step: u32,
}

impl Moment {
    /// Before everything.
    pub const START: Self = Self { secs: i64::MIN, step: 0 };

    /// The second.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// The next one, at a second that is not over.
    #[must_use]
    pub fn next(self, secs: i64) -> Self {
        if secs > self.secs { Self { secs, step: 0 } } else { Self { step: self.step + 1, ..self } }
    }
}

/// Messages on their way to another backend, as many as there is room for.
#[derive(Clone, Debug, Default)]
pub struct Post {
    mail: Vec<Mail>,
    bytes: usize,
}

impl Post {
    /// Adds messages; tells how many there was no room for.
    pub fn add(&mut self, mail: &[Mail]) -> u64 {
        let mut left_out = 0;
        for mail in mail {
            let bytes = self.bytes + mail.text.len();
            if self.mail.len() < MAX_MAIL && bytes <= MAX_MAIL_BYTES {
                self.mail.push(mail.clone());
                self.bytes = bytes;
            } else {
                left_out += 1;
            }
        }
        left_out
    }

    /// All of them, in order.
    #[must_use]
    pub fn into_mail(self) -> Vec<Mail> {
        self.mail
    }
}

/// What one backend has for another one.
#[derive(Debug, Default)]
pub struct Bundle {
    /// Updates of its keys.
    pub updates: Updates,
    /// Records that are its to announce.
    pub items: Vec<Item>,
    /// Flows of its own and tags for them.
    pub tags: Vec<(Vec<u8>, Vec<u8>)>,
    /// Messages.
    pub mail: Post,
    /// The first keys of each interval that ends; of several ends those of the last, as nobody asks for earlier ones.
    pub toppers: Vec<GroupRanks>,
    /// For the first backend: lines of the event stream.
    pub lines: EventLines,
}

/// What found no room on the way to another backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MateCounts {
    /// Updates.
    pub updates: u64,
    /// Items and tags.
    pub items: u64,
    /// Messages.
    pub mail: u64,
    /// Times a backend was not waited for any longer.
    pub late: u64,
}

impl Bundle {
    fn append(&mut self, later: Self, counts: &mut MateCounts) {
        counts.updates += self.updates.append(&later.updates);
        counts.items += super::queue::append(&mut self.items, later.items, MAX_ITEMS);
        counts.items += super::queue::append(&mut self.tags, later.tags, MAX_TAGS);
        counts.mail += self.mail.add(&later.mail.mail);
        if !later.toppers.is_empty() {
            self.toppers = later.toppers;
        }
        self.lines.append(later.lines);
    }
}

#[derive(Debug)]
struct Sent {
    moment: Moment,
    bundle: Bundle,
}

/// The way to and from one other backend.
#[derive(Debug)]
struct Mate {
    way: Sender<Sent>,
    inbox: Receiver<Sent>,
    /// What there was no room for.
    held: Option<Sent>,
    /// How far it has come.
    reached: Moment,
    /// What came and belongs to later moments.
    waiting: VecDeque<Sent>,
    /// It is not waited for until it has caught up.
    is_late: bool,
}

impl Mate {
    fn send(&mut self, moment: Moment, bundle: Bundle, counts: &mut MateCounts) {
        match &mut self.held {
            Some(held) => {
                held.moment = moment;
                held.bundle.append(bundle, counts);
            }
            None => self.held = Some(Sent { moment, bundle }),
        }
        self.send_held();
    }

    fn send_held(&mut self) {
        if let Some(sent) = self.held.take()
            && let Err(TrySendError::Full(sent)) = self.way.try_send(sent)
        {
            self.held = Some(sent);
        }
    }

    fn put(&mut self, sent: Sent) {
        self.reached = self.reached.max(sent.moment);
        self.waiting.push_back(sent);
    }

    /// Takes what has come; false when nothing more will.
    fn look(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(sent) => self.put(sent),
                Err(error) => return error.is_empty(),
            }
        }
    }
}

/// One backend's end of the ways to all others.
pub struct Mates {
    own: usize,
    /// By number; none at the own one.
    mates: Vec<Option<Mate>>,
    waits: Waits,
    /// Says that nobody is to be waited for any more.
    is_cut: Box<dyn Fn() -> bool + Send>,
    /// By sender, what came up to the last meeting and was not taken yet.
    came: Vec<Bundle>,
    /// Where parcels of packet threads come from, and those that were taken out of there while others were waited for.
    queue: Option<Receiver<Parcel>>,
    early: Vec<Parcel>,
    counts: MateCounts,
}

/// How long backends wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// As long as it takes: files.
    ForAll,
    /// For a moment: interfaces and scripts as inputs.
    Shortly,
}

impl std::fmt::Debug for Mates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mates").field("own", &self.own).field("mates", &self.mates).finish_non_exhaustive()
    }
}

impl Mates {
    /// One for each of `count` backends.
    #[must_use]
    pub fn connect(count: usize, waits: Waits) -> Vec<Self> {
        let mut all: Vec<Self> = (0..count)
            .map(|own| Self {
                own,
                mates: (0..count).map(|_| None).collect(),
                waits,
                is_cut: Box::new(|| false),
                came: (0..count).map(|_| Bundle::default()).collect(),
                queue: None,
                early: Vec::new(),
                counts: MateCounts::default(),
            })
            .collect();
        let mate = |way, inbox| Mate {
            way,
            inbox,
            held: None,
            reached: Moment::START,
            waiting: VecDeque::new(),
            is_late: false,
        };
        for one in 0..count {
            for other in one + 1..count {
                let ((there, from_here), (back, from_there)) = (bounded(WAY), bounded(WAY));
                all[one].mates[other] = Some(mate(there, from_there));
                all[other].mates[one] = Some(mate(back, from_here));
            }
        }
        all
    }

    /// Waits for nobody any more once `is_cut` says so.
    #[must_use]
    pub fn until(mut self, is_cut: impl Fn() -> bool + Send + 'static) -> Self {
        self.is_cut = Box::new(is_cut);
        self
    }

    /// The number of this backend.
    #[must_use]
    pub const fn own(&self) -> usize {
        self.own
    }

    /// How many backends there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.mates.len()
    }

    /// How long they wait for each other.
    #[must_use]
    pub const fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether there are others.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.count() > 1
    }

    /// Says where parcels of packet threads come from. A packet thread may wait for room there while another backend waits
    /// for its next parcel and this one for that backend: one that waits long makes room.
    pub fn feed_from(&mut self, queue: Receiver<Parcel>) {
        self.queue = Some(queue);
    }

    /// Parcels that were taken from there.
    pub fn take_early(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.early)
    }

    /// What found no room.
    #[must_use]
    pub const fn counts(&self) -> MateCounts {
        self.counts
    }

    /// Meets the others: sends each of them its bundle, by their numbers, and waits until all have come as far.
    pub fn meet(&mut self, moment: Moment, bundles: Vec<Bundle>) {
        self.send(moment, bundles);
        self.deliver(moment);
        for number in 0..self.mates.len() {
            self.wait_for(number, moment);
            self.collect(number, moment);
        }
    }

    /// Sends without waiting, and takes what has come already.
    pub fn pass(&mut self, moment: Moment, bundles: Vec<Bundle>) {
        self.send(moment, bundles);
        for number in 0..self.mates.len() {
            if let Some(mate) = &mut self.mates[number] {
                mate.look();
            }
            self.collect(number, moment);
        }
    }

    /// What came with the meetings so far, by sender.
    pub fn take(&mut self) -> Vec<Bundle> {
        self.came.iter_mut().map(std::mem::take).collect()
    }

    /// Of that, only what belongs to the flush that is under way, by sender.
    pub fn take_toppers(&mut self) -> Vec<Vec<GroupRanks>> {
        self.came.iter_mut().map(|bundle| std::mem::take(&mut bundle.toppers)).collect()
    }

    fn send(&mut self, moment: Moment, bundles: Vec<Bundle>) {
        for (mate, bundle) in self.mates.iter_mut().zip(bundles) {
            if let Some(mate) = mate {
                mate.send(moment, bundle, &mut self.counts);
            }
        }
    }

    /// Waits until there is room for what was sent. It would leave with what is sent next otherwise, and come too late for
    /// those who meet now.
    fn deliver(&mut self, moment: Moment) {
        let waits = self.waits_at(moment);
        let since = Stopwatch::start();
        loop {
            self.mates.iter_mut().flatten().for_each(Mate::send_held);
            let is_waited_for = |mate: &&mut Mate| mate.held.is_some() && (waits == Waits::ForAll || !mate.is_late);
            let is_over = waits == Waits::Shortly && since.elapsed() >= PATIENCE;
            let mut waited_for = self.mates.iter_mut().flatten().filter(is_waited_for).peekable();
            if waited_for.peek().is_none() || (self.is_cut)() {
                return;
            }
            if is_over {
                waited_for.for_each(|mate| {
                    mate.is_late = true;
                    self.counts.late += 1;
                });
                return;
            }
            self.make_room();
            thread::sleep(GLANCE);
        }
    }

    /// Takes in what others have sent, and a parcel of the packet threads: they may all wait for this backend.
    fn make_room(&mut self) {
        for mate in self.mates.iter_mut().flatten() {
            mate.look();
        }
        self.early.extend(self.queue.as_ref().and_then(|queue| queue.try_recv().ok()));
    }

    fn waits_at(&self, moment: Moment) -> Waits {
        if moment.secs == i64::MAX { Waits::ForAll } else { self.waits }
    }

    fn wait_for(&mut self, number: usize, moment: Moment) {
        let waits = self.waits_at(moment);
        let Some(mate) = &mut self.mates[number] else { return };
        let comes = mate.look();
        if mate.reached >= moment || !comes {
            mate.is_late = false;
            return;
        }
        if mate.is_late && waits == Waits::Shortly || (self.is_cut)() {
            return;
        }
        let since = Stopwatch::start();
        while let Some(mate) = &mut self.mates[number]
            && mate.reached < moment
        {
            match mate.inbox.recv_timeout(LOOK) {
                Ok(sent) => mate.put(sent),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if mate.reached >= moment || (self.is_cut)() {
                return;
            }
            // It may send again and again and come no further.
            if waits == Waits::Shortly && since.elapsed() >= PATIENCE {
                mate.is_late = true;
                self.counts.late += 1;
                return;
            }
            self.mates.iter_mut().flatten().for_each(Mate::send_held);
            self.make_room();
        }
    }

    /// Takes what belongs to moments that are over.
    fn collect(&mut self, number: usize, moment: Moment) {
        let Some(mate) = &mut self.mates[number] else { return };
        while let Some(sent) = mate.waiting.pop_front_if(|sent| sent.moment <= moment) {
            self.came[number].append(sent.bundle, &mut self.counts);
        }
    }

    /// Sends what still waits.
    pub fn leave(&mut self) {
        for mate in self.mates.iter_mut().flatten() {
            if let Some(sent) = mate.held.take() {
                // One that is gone has left what it had to leave.
                drop(mate.way.send_timeout(sent, LAST));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use super::{Bundle, MAX_MAIL, MAX_MAIL_BYTES, Mates, Moment, Post, WAY, Waits};
    use crate::api::Mail;

    fn mail(text: &str) -> Vec<Mail> {
        vec![Mail { packet: 0, id: Arc::default(), class: None, text: Arc::from(text.as_bytes()) }]
    }

    fn bundles(count: usize, text: &str) -> Vec<Bundle> {
        let bundle = |_| {
            let mut bundle = Bundle::default();
            assert_eq!(bundle.mail.add(&mail(text)), 0);
            bundle
        };
        (0..count).map(bundle).collect()
    }

    /// What came, by sender.
    fn texts(mates: &mut Mates) -> Vec<Vec<String>> {
        let text = |mail: &Mail| String::from_utf8_lossy(&mail.text).into_owned();
        mates.take().iter().map(|bundle| bundle.mail.mail.iter().map(text).collect()).collect()
    }

    #[test]
    fn moments_go_up_within_a_second_and_from_one_to_the_next() {
        let first = Moment::START.next(5);
        let second = first.next(5);
        assert!(first < second && second < first.next(6) && second < second.next(4));
        assert_eq!(second.next(7), first.next(7));
    }

    #[test]
    fn all_that_was_sent_before_a_meeting_has_come_by_then_and_nothing_later() {
        let runs = Mates::connect(3, Waits::ForAll).into_iter().map(|mut mates| {
            thread::spawn(move || {
                let (mut moment, mut heard) = (Moment::START, Vec::new());
                for second in 0..200 {
                    for step in 0..2 {
                        moment = moment.next(second);
                        mates.meet(moment, bundles(3, &format!("{second}.{step}")));
                        heard.push(texts(&mut mates));
                    }
                }
                (mates.own(), heard)
            })
        });
        let runs: Vec<_> = runs.collect();
        for run in runs {
            let (own, heard) = run.join().unwrap();
            for (at, by_sender) in heard.iter().enumerate() {
                for (sender, texts) in by_sender.iter().enumerate() {
                    let expected = if sender == own { vec![] } else { vec![format!("{}.{}", at / 2, at % 2)] };
                    assert_eq!(*texts, expected, "{own} from {sender} at {at}");
                }
            }
        }
    }

    #[test]
    fn a_meeting_has_what_was_sent_for_it_however_far_the_others_were_ahead() {
        for slow in [Duration::ZERO, Duration::from_millis(3)] {
            let runs = Mates::connect(2, Waits::ForAll).into_iter().map(|mut mates| {
                thread::spawn(move || {
                    let mut moment = Moment::START;
                    if mates.own() == 0 {
                        thread::sleep(slow);
                    }
                    for second in 0..10 * WAY as i64 {
                        moment = moment.next(second);
                        mates.pass(moment, bundles(2, "alone"));
                    }
                    moment = moment.next(1_000);
                    mates.meet(moment, bundles(2, "together"));
                    let heard = texts(&mut mates).swap_remove(1 - mates.own());
                    for _ in 0..WAY {
                        moment = moment.next(1_000);
                        mates.pass(moment, bundles(2, "later"));
                    }
                    mates.leave();
                    heard
                })
            });
            let runs: Vec<_> = runs.collect();
            for run in runs {
                let heard = run.join().unwrap();
                assert_eq!(heard.last().map(String::as_str), Some("together"), "{heard:?}");
                assert_eq!(heard.len(), 10 * WAY + 1);
            }
        }
    }

    #[test]
    fn one_that_skips_moments_or_is_gone_is_not_waited_for() {
        let mut all = Mates::connect(2, Waits::ForAll);
        let (mut other, mut one) = (all.pop().unwrap(), all.pop().unwrap());
        let far = Moment::START.next(9);
        other.pass(far, bundles(2, "far"));
        one.meet(Moment::START.next(3), bundles(2, "3"));
        assert_eq!(texts(&mut one), [vec![], Vec::<String>::new()], "that is for later");
        one.meet(far, bundles(2, "9"));
        assert_eq!(texts(&mut one)[1], ["far"]);
        other.pass(far, bundles(2, "last"));
        assert_eq!(texts(&mut other)[0], ["3", "9"]);
        drop(other);
        one.meet(far.next(20), bundles(2, "20"));
        assert_eq!(texts(&mut one)[1], ["last"]);
    }

    #[test]
    fn one_that_is_late_is_waited_for_once_and_what_waits_for_it_is_bounded() {
        let mut all = Mates::connect(2, Waits::Shortly);
        let (mut other, mut one) = (all.pop().unwrap(), all.pop().unwrap());
        let mut moment = Moment::START;
        let sent = WAY as i64 + MAX_MAIL as i64 + 10;
        for second in 0..sent {
            moment = moment.next(second);
            one.meet(moment, bundles(2, "x"));
        }
        assert_eq!(one.counts().late, 1);
        assert_eq!(one.counts().mail, 10);
        other.pass(moment, bundles(2, "back"));
        one.meet(moment, bundles(2, "y"));
        assert_eq!(texts(&mut one)[1], ["back"]);
        assert_eq!(texts(&mut other)[0].len(), WAY);
        one.leave();
        other.pass(moment, bundles(2, "z"));
        assert_eq!(texts(&mut other)[0].len(), MAX_MAIL);
        // It has caught up, and would be waited for again.
        assert!(!one.mates[1].as_ref().unwrap().is_late);
    }

    #[test]
    fn who_waits_long_makes_room_for_packet_threads_and_ends_when_it_is_told_to() {
        use crate::backend::parcel::Parcel;
        use std::sync::atomic::{AtomicUsize, Ordering};
        let looks = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&looks);
        let mut one = Mates::connect(2, Waits::ForAll);
        let _other = one.pop();
        let mut one = one.pop().unwrap().until(move || seen.fetch_add(1, Ordering::Relaxed) >= 2);
        let (queue, parcels) = crossbeam_channel::bounded(1);
        queue.send(Parcel { second: 7, ..Parcel::default() }).unwrap();
        one.feed_from(parcels);
        one.meet(Moment::START.next(1), bundles(2, "x"));
        let early: Vec<i64> = one.take_early().iter().map(|parcel| parcel.second).collect();
        assert_eq!(early, [7]);
        assert!(queue.try_send(Parcel::default()).is_ok());
        one.meet(Moment::START.next(2), bundles(2, "x"));
    }

    #[test]
    fn one_that_sends_again_and_again_and_comes_no_further_is_not_waited_for() {
        let mut all = Mates::connect(2, Waits::Shortly);
        let (mut other, mut one) = (all.pop().unwrap(), all.pop().unwrap());
        let stays = Moment::START.next(1);
        let sending = thread::spawn(move || {
            for _ in 0..400 {
                other.pass(stays, bundles(2, "still here"));
                thread::sleep(Duration::from_millis(10));
            }
        });
        one.meet(stays.next(5), bundles(2, "5"));
        assert_eq!(one.counts().late, 1);
        sending.join().unwrap();
    }

    #[test]
    fn messages_are_bounded_by_their_number_and_by_their_texts() {
        let mut post = Post::default();
        assert_eq!(post.add(&vec![mail("x").remove(0); MAX_MAIL + 3]), 3);
        assert_eq!(post.into_mail().len(), MAX_MAIL);
        let mut post = Post::default();
        let large = mail(&"x".repeat(MAX_MAIL_BYTES / 4)).remove(0);
        assert_eq!(post.add(&vec![large; 6]), 2);
        assert_eq!(post.add(&mail("")), 0);
        assert_eq!(post.into_mail().len(), 5);
    }

    #[test]
    fn ranks_of_intervals_that_are_over_do_not_pile_up() {
        let of = |start| {
            let ranks = crate::backend::toppers::GroupRanks::empty(start);
            Bundle { toppers: vec![ranks.clone(), ranks], ..Bundle::default() }
        };
        let mut all = Mates::connect(2, Waits::Shortly);
        let (mut other, mut one) = (all.pop().unwrap(), all.pop().unwrap());
        let mut moment = Moment::START;
        for second in 0..10 * WAY as i64 {
            moment = moment.next(second);
            one.pass(moment, vec![Bundle::default(), of(second)]);
        }
        other.pass(moment, bundles(2, ""));
        one.leave();
        other.pass(moment, bundles(2, ""));
        let last = &of(10 * WAY as i64 - 1).toppers;
        assert_eq!(other.take_toppers()[0], *last);
    }

    #[test]
    fn one_that_makes_no_room_is_not_waited_for_and_gets_everything_later() {
        let mut all = Mates::connect(2, Waits::Shortly);
        let (mut other, mut one) = (all.pop().unwrap(), all.pop().unwrap());
        let mut moment = Moment::START;
        for second in 0..=WAY as i64 {
            moment = moment.next(second);
            one.pass(moment, bundles(2, "alone"));
        }
        assert_eq!(one.counts().late, 0, "nobody was waited for");
        // The way is full. It is waited for once, not once for room and once for what it sends, and no second time.
        for _ in 0..3 {
            moment = moment.next(1_000);
            one.meet(moment, bundles(2, "together"));
            assert_eq!(one.counts().late, 1);
        }
        other.pass(moment, bundles(2, ""));
        assert_eq!(texts(&mut other)[0], vec!["alone"; WAY]);
        one.leave();
        other.pass(moment, bundles(2, ""));
        assert_eq!(texts(&mut other)[0], ["alone", "together", "together", "together"]);
        assert_eq!(one.counts().mail, 0);
    }
}
