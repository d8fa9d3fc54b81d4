//! A backend among others: what it hands over when they meet, and what it takes in.

use crossbeam_channel::Receiver;

use super::cycle::Backend;
use super::mates::{Bundle, Mates, Moment, Waits};
use super::outlet::BackendOutlet;
use super::parcel::{Item, Parcel};
use super::toppers::GroupRanks;

impl<O: BackendOutlet> Backend<O> {
    /// Items that are to be announced with the second that is over.
    pub(super) fn take_due(&mut self) -> Vec<Item> {
        // Where there are no other backends nothing had to be handed over first.
        let list = if self.mates.is_some() { &mut self.due } else { &mut self.crew.own };
        std::mem::take(list)
    }

    /// What scripts made in the last flush belongs to a window that is not flushed any more. Edges belong to none.
    pub(super) fn take_last_edges(&mut self) {
        for item in self.take_due() {
            if let Item::Edge(time, edge) = item {
                self.crew.outlet.edge(time, *edge);
            }
        }
    }

    /// Meets the other backends at a second if a bucket closes with it: what scripts counted before it belongs to that one.
    pub(super) fn meet_before(&mut self, secs: i64) {
        if self.mates.is_some() {
            let closes = self.crew.context.shard.borrow().next_boundary().secs() <= secs;
            if closes {
                self.meet(self.moment.secs());
            }
        }
    }

    /// Meets the other backends at a second. Where none has scripts there is nothing to wait for but the place of each line
    /// in the event stream, over files.
    pub(super) fn meet(&mut self, secs: i64) {
        let (speaks, shows_each) = (self.crew.speaks, self.crew.outlet.shows_each());
        self.exchange(|mates, moment, bundles| {
            *moment = moment.next(secs);
            let waits = speaks || shows_each && mates.waits() == Waits::ForAll;
            if waits { mates.meet(*moment, bundles) } else { mates.pass(*moment, bundles) }
        });
    }

    /// Hands over what there is without waiting, and takes in what has come.
    pub fn keep_in_touch(&mut self) {
        self.exchange(|mates, moment, bundles| mates.pass(*moment, bundles));
    }

    fn exchange(&mut self, way: impl FnOnce(&mut Mates, &mut Moment, Vec<Bundle>)) {
        let Some(mut mates) = self.mates.take() else { return };
        let mut bundles = self.pack();
        let mut own = std::mem::take(&mut bundles[self.share.own].items);
        way(&mut mates, &mut self.moment, bundles);
        let came = mates.take();
        self.mates = Some(mates);
        let mut mail = Vec::new();
        for (number, bundle) in came.into_iter().enumerate() {
            if number == self.share.own {
                self.due.append(&mut own);
            }
            self.crew.outlet.put_lines(bundle.lines);
            self.crew.context.shard.borrow_mut().take_in(&bundle.updates);
            self.due.extend(bundle.items);
            for (flow, tag) in bundle.tags {
                self.crew.given.add(&flow, &tag);
                self.crew.gives_tags = true;
            }
            mail.extend(bundle.mail.into_mail());
        }
        // Last: scripts that hear of it may go on talking.
        if !mail.is_empty() {
            self.crew.deliver(&mail);
            self.crew.after();
        }
    }

    /// What there is for each backend, by its number; its own items are among them.
    fn pack(&mut self) -> Vec<Bundle> {
        let (owners, own) = (self.share.owners, self.share.own);
        let crew = &mut self.crew;
        let mut bundles: Vec<Bundle> = (0..owners.count()).map(|_| Bundle::default()).collect();
        for (bundle, updates) in bundles.iter_mut().zip(crew.context.shard.borrow_mut().take_away()) {
            bundle.updates = updates;
        }
        if own != 0 {
            bundles[0].lines = crew.outlet.take_lines();
        }
        for item in crew.own.drain(..) {
            bundles[owners.place(item.share_key())].items.push(item);
        }
        for (flow, tag) in crew.given_away.drain(..) {
            bundles[owners.place(&flow)].tags.push((flow, tag));
        }
        if let Some(passed_on) = crew.passed_on.as_mut().map(std::mem::take) {
            let others = bundles.iter_mut().enumerate().filter(|(number, _)| *number != own);
            others.for_each(|(_, bundle)| bundle.mail.clone_from(&passed_on));
        }
        bundles
    }

    /// Where flow trackers of all backends have ended an interval, one of them writes it.
    pub(super) fn rank_trackers(&mut self) {
        if self.mates.is_some() && self.share.own == 0 {
            let rankings = self.rankings.clone();
            self.crew.write_rankings(&rankings);
        }
    }

    /// Says where parcels of packet threads come from.
    pub fn feed_from(&mut self, queue: Receiver<Parcel>) {
        if let Some(mates) = &mut self.mates {
            mates.feed_from(queue);
        }
    }

    /// Parcels that were taken from there while others were waited for.
    pub fn take_early(&mut self) -> Vec<Parcel> {
        self.mates.as_mut().map(Mates::take_early).unwrap_or_default()
    }
}

/// What all backends have ranked in intervals that end at `end`, by their numbers; nothing if there are no others. All of them
/// come here with each flush: those that have nothing to rank would be a meeting behind.
pub(super) fn rank_among(
    mates: &mut Option<Mates>,
    moment: &mut Moment,
    end: i64,
    ranks: &[GroupRanks],
) -> Vec<Vec<GroupRanks>> {
    let Some(mates) = mates else { return Vec::new() };
    let bundle = || Bundle { toppers: ranks.to_vec(), ..Bundle::default() };
    let bundles = (0..mates.count()).map(|_| bundle()).collect();
    *moment = moment.next(end);
    mates.meet(*moment, bundles);
    mates.take_toppers()
}
