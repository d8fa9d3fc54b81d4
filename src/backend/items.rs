//! Alerts, resources and full-text documents: announced in their second, flushed with their window. Where no script looks
//! at the flush they leave at once.

use super::crew::{Crew, Member};
use super::monitor::Hook;
use super::outlet::BackendOutlet;
use crate::api::{ItemChange, ItemRef};
use crate::guid::Guid;
use crate::metrics::{Alert, Document, FlushSink, GroupKind, Resource, Session, Stored, Texts};

/// Items of one kind that may wait for the end of a window; a flow takes some 300 bytes.
const MAX_PENDING: usize = 1_000_000;
/// Bytes of texts of one kind that may wait.
const MAX_TEXT: usize = 256 << 20;

/// What is flushed item by item.
pub trait Flushed: Clone + Texts {
    /// Its group.
    fn group(&self) -> Guid;
    /// As callbacks see it.
    fn item(&self) -> ItemRef<'_>;
    /// Carries out what a callback changed.
    fn change(&mut self, change: ItemChange);
    /// Hands it to a sink.
    fn write(self: Box<Self>, sink: &mut dyn FlushSink, stored: Stored);
}

impl Flushed for Alert {
    fn group(&self) -> Guid {
        self.group
    }

    fn item(&self) -> ItemRef<'_> {
        ItemRef::Alert(self)
    }

    fn change(&mut self, change: ItemChange) {
        change.apply_to_alert(self);
    }

    fn write(self: Box<Self>, sink: &mut dyn FlushSink, stored: Stored) {
        sink.alert(self, stored);
    }
}

impl Flushed for Resource {
    fn group(&self) -> Guid {
        self.group
    }

    fn item(&self) -> ItemRef<'_> {
        ItemRef::Resource(self)
    }

    fn change(&mut self, change: ItemChange) {
        change.apply_to_resource(self);
    }

    fn write(self: Box<Self>, sink: &mut dyn FlushSink, stored: Stored) {
        sink.resource(self, stored);
    }
}

impl Flushed for Document {
    fn group(&self) -> Guid {
        self.group
    }

    fn item(&self) -> ItemRef<'_> {
        ItemRef::Document(self)
    }

    fn change(&mut self, _: ItemChange) {}

    fn write(self: Box<Self>, sink: &mut dyn FlushSink, stored: Stored) {
        sink.document(self, stored);
    }
}

/// Items of one kind that wait for the end of the window, in order of creation.
#[derive(Debug)]
pub struct Pending<T> {
    items: Vec<Box<T>>,
    text_bytes: usize,
    /// Items that found no room.
    pub dropped: u64,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { items: Vec::new(), text_bytes: 0, dropped: 0 }
    }
}

impl<T> Pending<T> {
    /// Lets an item with so many bytes of text wait.
    pub fn push(&mut self, item: Box<T>, text_bytes: usize) {
        if self.has_room(text_bytes) {
            self.text_bytes += text_bytes;
            self.items.push(item);
        } else {
            self.dropped += 1;
        }
    }

    /// Whether another item of so many bytes of text may wait.
    fn has_room(&self, text_bytes: usize) -> bool {
        self.items.len() < MAX_PENDING && self.text_bytes + text_bytes <= MAX_TEXT
    }

    /// All that wait.
    pub fn take(&mut self) -> Vec<Box<T>> {
        self.text_bytes = 0;
        std::mem::take(&mut self.items)
    }
}

impl<O: BackendOutlet> Crew<O> {
    fn monitors_of(&self, kind: GroupKind, group: Guid) -> Vec<Member> {
        let map = match kind {
            GroupKind::Alert => &self.alerts,
            GroupKind::Resource => &self.resources,
            _ => &self.documents,
        };
        map.get(&group).cloned().unwrap_or_default()
    }

    /// Announces an item that has come.
    pub fn announce<T: Flushed>(&mut self, kind: GroupKind, item: &mut T) {
        for member in self.monitors_of(kind, item.group()) {
            self.call_item(member, Hook::New, item.item());
            self.change(member, item);
        }
    }

    /// Whether what belongs to these monitors leaves when it comes, because nobody sees it in the order of the flush.
    fn leaves_at_once(&self, members: &[Member]) -> bool {
        members.is_empty() && !self.outlet.shows_each()
    }

    /// Lets an item that has been announced wait for its flush, or leave.
    pub fn keep<T: Flushed>(&mut self, kind: GroupKind, item: Box<T>, pending: &mut Pending<T>) {
        if self.leaves_at_once(&self.monitors_of(kind, item.group())) {
            item.write(&mut self.outlet, Stored::Yes);
        } else {
            let text_bytes = item.bytes();
            pending.push(item, text_bytes);
        }
    }

    /// The same for the record of a flow, which trackers rank at the flush and scripts may give tags until then.
    pub fn keep_flow(&mut self, mut flow: Box<Session>, pending: &mut Pending<Session>) {
        let text_bytes = flow.id.len() + flow.tags.len();
        let may_leave = self.leaves_at_once(&self.flows) && self.trackers.is_empty();
        if may_leave && !(self.gives_tags && pending.has_room(text_bytes)) {
            self.given.attach(&mut flow);
            self.outlet.flow(flow, Stored::Yes);
        } else {
            pending.push(flow, text_bytes);
        }
    }

    fn change<T: Flushed>(&mut self, member: Member, item: &mut T) {
        for change in self.monitors[member].take_changes() {
            item.change(change);
        }
    }

    /// Flushes the items of all groups of a kind; `start` is that of the window.
    pub fn flush_items<T: Flushed>(&mut self, kind: GroupKind, items: Vec<Box<T>>, start: i64) {
        let groups = std::sync::Arc::clone(&self.context.groups);
        let mut by_group: Vec<(usize, Box<T>)> = Vec::with_capacity(items.len());
        let place = |guid: Guid| groups.groups(kind).position(|group| group.guid == guid || group.alias == Some(guid));
        for item in items {
            by_group.push((place(item.group()).unwrap_or(usize::MAX), item));
        }
        // Stable: in order of creation within a group.
        by_group.sort_by_key(|(place, _)| *place);
        let mut rest = by_group.into_iter().peekable();
        for (place, group) in groups.groups(kind).enumerate() {
            let members = self.monitors_of(kind, group.guid);
            if members.is_empty() && rest.peek().is_none_or(|(of, _)| *of != place) {
                continue;
            }
            self.tell(&members, Hook::BeginFlush, start);
            while let Some((_, item)) = rest.next_if(|(of, _)| *of == place) {
                self.flush_item(&members, item);
            }
            self.tell(&members, Hook::EndFlush, start);
        }
        // Of groups that nobody registered; there are no monitors for these.
        for (_, item) in rest {
            item.write(&mut self.outlet, Stored::Yes);
        }
    }

    fn flush_item<T: Flushed>(&mut self, members: &[Member], mut item: Box<T>) {
        let yes = self.vote(members, Hook::FlushFilter, |crew, member| {
            let no = crew.says_no(member, Hook::FlushFilter, item.item());
            crew.change(member, &mut *item);
            no
        });
        let stored = if yes { Stored::Yes } else { Stored::No };
        if !yes || members.is_empty() {
            return item.write(&mut self.outlet, stored);
        }
        item.clone().write(&mut self.outlet, stored);
        for &member in members {
            self.call_item(member, Hook::Flush, item.item());
            self.change(member, &mut *item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_PENDING, MAX_TEXT, Pending};

    #[test]
    fn items_that_find_no_room_until_the_flush_are_counted() {
        let mut pending = Pending::default();
        for _ in 0..MAX_PENDING + 3 {
            pending.push(Box::new(()), 0);
        }
        assert_eq!(pending.dropped, 3);
        assert_eq!(pending.take().len(), MAX_PENDING);
        // Their texts have no more room than that.
        for text_bytes in [MAX_TEXT - 1, 2, 1, 1, 0] {
            pending.push(Box::new(()), text_bytes);
        }
        assert_eq!((pending.take().len(), pending.dropped), (3, 5));
        pending.push(Box::new(()), MAX_TEXT);
        assert_eq!((pending.take().len(), pending.dropped), (1, 5), "what was flushed has made room");
    }
}
