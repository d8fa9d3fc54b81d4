//! Where records go besides the terminal, the event stream and the store: outputs that take them as they come.

use std::sync::Arc;
use std::time::Duration;

use super::wants::OutputWants;
use crate::api::{AlertRecord, EndedFlow, Record, ScriptId, Stamp};
use crate::backend::alert_of;
use crate::flow::{Flows, Want};
use crate::guid::Guid;
use crate::metrics::{Document, FlowFacts, FlowSoFar, GroupKind, Registry, Resource};
use crate::packet::Batch;
use crate::sink::AlertSender;
use crate::sink::eve::{AlertItem, EveItem, EveSender, FlowItem, NoteItem, NoteKind, StatsItem};
use crate::sink::printed::{self, PrintKinds};
use crate::time::Timestamp;

/// What records speak of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around<'a> {
    /// The flows.
    pub flows: Option<&'a Flows>,
    /// The packets that led to them.
    pub batch: Option<&'a Batch>,
}

impl Around<'_> {
    /// What is known of the flow that a record is about, or else of the packet that it was made for.
    fn facts(self, stamp: &Stamp, flow: &[u8]) -> FlowFacts {
        let known = self.flows.and_then(|flows| Some(flows.facts(flows.of_id(flow)?)));
        known.unwrap_or_else(|| {
            let packet = self.batch.and_then(|batch| batch.packets().get(stamp.packet as usize));
            FlowFacts { origin: packet.map(|packet| packet.origin), ..FlowFacts::default() }
        })
    }

    /// What that flow had counted by then.
    fn so_far(self, stamp: &Stamp, flow: &[u8]) -> Option<FlowSoFar> {
        let flows = self.flows?;
        flows.so_far(flows.of_id(flow)?, self.batch?, stamp.packet)
    }
}

/// The outputs of one thread.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Events in the public schema.
    pub eve: Option<EveSender>,
    /// Those who are told of alerts.
    pub alerts: Vec<AlertSender>,
    /// What is printed as it happens.
    pub print: PrintKinds,
    /// Somebody writes out whatever is made, by way of the backend.
    pub in_full: Want,
    /// Names of groups.
    pub groups: Option<Arc<Registry>>,
    /// Packet time between two statistics, and when the next are due.
    stats: Option<(Duration, Option<Timestamp>)>,
}

impl Outputs {
    /// Tells of the engine this often; never, if it is no time at all.
    #[must_use]
    pub fn with_stats(mut self, every: Duration) -> Self {
        self.stats = (self.eve.is_some() && !every.is_zero()).then_some((every, None));
        self
    }

    /// Whether statistics are due.
    pub(super) fn is_stats_due(&mut self, now: Timestamp) -> bool {
        let Some((every, next)) = &mut self.stats else { return false };
        let is_due = next.is_some_and(|next| now >= next);
        if is_due || next.is_none() {
            *next = Some(now.plus(*every));
        }
        is_due
    }

    /// What has to be made for them.
    #[must_use]
    pub fn wants(&self) -> OutputWants {
        let printed = Want::from(self.print != PrintKinds::default());
        OutputWants { protocol_events: self.eve.is_some().into(), in_full: self.in_full | printed }
    }

    /// Takes a record of which others need to be told as well, with what it may speak of; what is to be printed of
    /// it is appended to `lines`, and the number of lines given back.
    pub(super) fn offer(
        &mut self,
        (stamp, script): (&Stamp, &str),
        record: &Record,
        around: Around<'_>,
        lines: &mut Vec<u8>,
    ) -> u64 {
        self.hand_on((stamp, script), record, around);
        if self.print == PrintKinds::default() || !self.print_record(stamp, script, record, lines) {
            return 0;
        }
        lines.push(b'\n');
        1
    }

    /// Takes alerts and what plugins record.
    fn hand_on(&mut self, (stamp, script): (&Stamp, &str), record: &Record, around: Around<'_>) {
        match record {
            Record::Alert(alert) if self.eve.is_some() || !self.alerts.is_empty() => {
                let item = self.alert((stamp, script), alert, around);
                if !self.alerts.is_empty() {
                    let shared = Arc::new(item.clone());
                    self.alerts.iter().for_each(|sender| sender.send(Arc::clone(&shared)));
                }
                if let Some(eve) = &mut self.eve {
                    eve.item(EveItem::Alert(Box::new(item)));
                }
            }
            Record::Resource { guid, flow, uri, label } if is_of_plugin(stamp.script) => {
                let facts = || around.facts(stamp, flow);
                self.note((stamp, script), NoteKind::Resource, *guid, (flow, &facts), (uri, label));
            }
            Record::Document { guid, flow, text } if is_of_plugin(stamp.script) => {
                let facts = || around.facts(stamp, flow);
                self.note((stamp, script), NoteKind::Document, *guid, (flow, &facts), (&[], text));
            }
            Record::Flow(flow) => {
                if let Some(eve) = &mut self.eve {
                    let EndedFlow { session, tuple, facts, .. } = flow;
                    // The id is a text that nobody needs where the tuple is known.
                    let id = if tuple.is_some() { Vec::new() } else { session.id.clone() };
                    let flow = session.named(id);
                    eve.flow(FlowItem { time: stamp.time, flow, tuple: *tuple, facts: *facts });
                }
            }
            _ => {}
        }
    }

    /// Appends a line without its end, if the record is of a kind that is printed.
    fn print_record(&self, stamp: &Stamp, script: &str, record: &Record, lines: &mut Vec<u8>) -> bool {
        let time = stamp.time;
        let some = |flow: &Vec<u8>| (!flow.is_empty()).then(|| flow.clone());
        match record {
            Record::Alert(alert) if self.print.alerts => printed::alert(lines, &alert_of(time, alert), script),
            Record::Resource { guid, flow, uri, label } if self.print.resources => {
                let (flow, uri, label) = (some(flow), uri.clone(), label.clone());
                let resource = Resource { time, group: *guid, flow, uri, label };
                printed::resource(lines, &resource, &self.name(GroupKind::Resource, *guid));
            }
            Record::Document { guid, flow, text } if self.print.documents => {
                let document = Document { time, group: *guid, flow: some(flow), text: text.clone() };
                printed::document(lines, &document, &self.name(GroupKind::Fts, *guid));
            }
            Record::Flow(flow) if self.print.flows => printed::flow(lines, &flow.session),
            _ => return false,
        }
        true
    }

    /// Takes what an engine has done so far.
    pub fn stats(&mut self, item: StatsItem) {
        if let Some(eve) = &mut self.eve {
            eve.item(EveItem::Stats(Box::new(item)));
            eve.rest();
        }
    }

    /// Nothing comes for a while, in which scripts run.
    pub(super) fn rest(&mut self) {
        if let Some(eve) = &mut self.eve {
            eve.rest();
        }
    }

    /// Hands over what has come together.
    pub(super) fn flush(&mut self) {
        if let Some(eve) = &mut self.eve {
            eve.flush();
        }
    }

    fn alert(&self, (stamp, script): (&Stamp, &str), alert: &AlertRecord, around: Around<'_>) -> AlertItem {
        let facts = around.facts(stamp, &alert.flow);
        AlertItem {
            alert: alert_of(stamp.time, alert),
            script: script.to_owned(),
            group: self.name(GroupKind::Alert, alert.guid),
            facts: FlowFacts { client: alert.client.or(facts.client), ..facts },
            so_far: around.so_far(stamp, &alert.flow),
        }
    }

    fn note(
        &mut self,
        (stamp, script): (&Stamp, &str),
        kind: NoteKind,
        group: Guid,
        (flow, facts): (&[u8], &dyn Fn() -> FlowFacts),
        (summary, text): (&[u8], &[u8]),
    ) {
        let of = if kind == NoteKind::Resource { GroupKind::Resource } else { GroupKind::Fts };
        let group_name = self.name(of, group);
        let Some(eve) = &mut self.eve else { return };
        eve.item(EveItem::Note(Box::new(NoteItem {
            time: stamp.time,
            kind,
            group,
            group_name,
            script: script.to_owned(),
            flow: flow.to_vec(),
            facts: facts(),
            summary: summary.to_vec(),
            text: text.to_vec(),
        })));
    }

    fn name(&self, kind: GroupKind, guid: Guid) -> Vec<u8> {
        let group = self.groups.as_ref().and_then(|groups| groups.find(kind, guid));
        group.map_or_else(|| guid.to_string().into_bytes(), |group| group.name.clone())
    }
}

/// Native modules have protocol events of their own.
fn is_of_plugin(script: ScriptId) -> bool {
    script < ScriptId::NATIVE_STORE
}
