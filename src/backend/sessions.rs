//! Flows: announced when they appear, are active and end; flushed when they ended or have gone on for long.

use super::crew::{Crew, Member};
use super::items::Pending;
use super::monitor::Hook;
use super::outlet::BackendOutlet;
use crate::api::{ItemChange, ItemRef};
use crate::metrics::{Session, Stored, add_tag};

impl<O: BackendOutlet> Crew<O> {
    /// Announces something about a flow.
    pub fn announce_flow(&mut self, hook: Hook, flow: &mut Session) {
        let members = self.flows.clone();
        for member in members {
            self.call_item(member, hook, ItemRef::Session(flow));
            self.tag(member, flow);
        }
    }

    /// Attaches the tags a callback gave to a flow: to what is flushed of it, and to the flow itself while it goes on.
    fn tag(&mut self, member: Member, flow: &mut Session) {
        for change in self.monitors[member].take_changes() {
            let ItemChange::Tag(tag) = change else { continue };
            add_tag(&mut flow.tags, &tag);
            if flow.reason.is_empty() {
                self.tag_flow(member, &flow.id, &tag);
            }
            self.record_tag(member, &flow.id, &tag);
        }
        self.given.attach(flow);
    }

    /// Flushes the flows that wait, by start and id; gives copies back where there are trackers to rank them.
    pub fn flush_flows(&mut self, pending: &mut Pending<Session>, start: i64) -> Vec<Session> {
        let members = self.flows.clone();
        let mut flows = pending.take();
        flows.sort_by(|a, b| a.start.cmp(&b.start).then_with(|| a.id.cmp(&b.id)));
        self.tell(&members, Hook::BeginFlush, start);
        let mut flushed = Vec::new();
        for mut flow in flows {
            self.given.attach(&mut flow);
            let yes = self.vote(&members, Hook::FlushFilter, |crew, member| {
                let no = crew.says_no(member, Hook::FlushFilter, ItemRef::Session(&flow));
                crew.tag(member, &mut flow);
                no
            });
            if yes {
                for &member in &members {
                    self.call_item(member, Hook::Flush, ItemRef::Session(&flow));
                    self.tag(member, &mut flow);
                }
            }
            if !self.trackers.is_empty() {
                flushed.push(Session::clone(&flow));
            }
            self.outlet.flow(flow, if yes { Stored::Yes } else { Stored::No });
        }
        self.given.clear();
        self.tell(&members, Hook::EndFlush, start);
        flushed
    }
}
