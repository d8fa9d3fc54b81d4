//! What leaves an engine when a second of stream time is over.

use super::wants::BackendWants;
use crate::api::{AlertKind, AlertRecord, EndedFlow, Mail, Record};
use crate::metrics::{
    Alert, AlertKind as MetricAlertKind, Document, Edge, IdsFields, Owners, Resource, SecondKeys, Session, Snapshot,
    flow_edges,
};
use crate::sink::EventLines;
use crate::time::Timestamp;

/// How far an engine has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There will be more seconds.
    #[default]
    Running,
    /// The input has ended; results of jobs may still come.
    PacketsOver,
    /// This is the last parcel.
    Over,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// An alert was raised.
    Alert(Box<Alert>),
    /// A resource was recorded.
    Resource(Box<Resource>),
    /// A document was recorded.
    Document(Box<Document>),
    /// A flow appeared.
    NewFlow(Box<Session>),
    /// A flow had packets in this second.
    ActiveFlow(Box<Session>),
    /// A flow goes on and is due for an interim record.
    Interim(Box<Session>),
    /// A flow ended.
    EndedFlow(Box<Session>),
    /// A flow that nobody was told of has ended.
    Reported(Box<Session>),
    /// A flow that has ended gets a tag: id and tag.
    LateTag(Box<(Vec<u8>, Vec<u8>)>),
    /// A link between two vertices that is new where it was made.
    Edge(Timestamp, Box<Edge>),
}

/// The second of a parcel that only tells how far an engine has come that never had a packet.
pub const NO_TIME: i64 = i64::MIN;

/// Everything of one engine and second.
#[derive(Debug, Default)]
pub struct Parcel {
    /// Number of the engine.
    pub engine: usize,
    /// The second that is over.
    pub second: i64,
    /// The second that begins; nothing earlier comes any more.
    pub now: i64,
    /// How far the engine has come.
    pub phase: Phase,
    /// Messages to backend scripts.
    pub mail: Vec<Mail>,
    /// What happened, in that order.
    pub items: Vec<Item>,
    /// Keys touched, by group.
    pub keys: Vec<SecondKeys>,
    /// Buckets that closed.
    pub snapshots: Vec<Snapshot>,
    /// Lines of the event stream, if the first backend puts those of all threads in order.
    pub lines: EventLines,
}

impl Item {
    /// What it is shared out by: the flow it belongs to, or what it says where there is none; of an edge, where it begins.
    #[must_use]
    pub fn share_key(&self) -> &[u8] {
        match self {
            Self::Alert(alert) => alert.flow.as_deref().unwrap_or(&alert.message),
            Self::Resource(resource) => resource.flow.as_deref().unwrap_or(&resource.uri),
            Self::Document(document) => document.flow.as_deref().unwrap_or(&document.text),
            Self::NewFlow(flow)
            | Self::ActiveFlow(flow)
            | Self::Interim(flow)
            | Self::EndedFlow(flow)
            | Self::Reported(flow) => &flow.id,
            Self::LateTag(tag) => &tag.0,
            Self::Edge(_, edge) => &edge.from_key,
        }
    }
}

impl Parcel {
    /// How much it is: itself and its items.
    #[must_use]
    pub fn weight(&self) -> usize {
        1 + self.items.len()
    }

    /// Shares a parcel out among backends: each flow and each key of a group has one that is told of it, messages go to all.
    #[must_use]
    pub fn split(self, backends: usize) -> Vec<Self> {
        if backends < 2 {
            return vec![self];
        }
        let owners = Owners::new(backends);
        let place = |key: &[u8]| owners.place(key);
        let Self { engine, second, now, phase, mail, items, keys, snapshots, lines } = self;
        let part = |_| Self { engine, second, now, phase, mail: mail.clone(), ..Self::default() };
        let mut parts: Vec<Self> = (0..backends).map(part).collect();
        parts[0].lines = lines;
        for item in items {
            let at = place(item.share_key());
            parts[at].items.push(item);
        }
        for keys in keys {
            for (part, keys) in parts.iter_mut().zip(keys.split(backends, place)) {
                part.keys.extend(Some(keys).filter(|keys| !keys.is_empty()));
            }
        }
        for snapshot in snapshots {
            for (at, (part, snapshot)) in parts.iter_mut().zip(snapshot.split(backends, place)).enumerate() {
                // What is left of the totals where there are no keys is with the first.
                part.snapshots.extend(Some(snapshot).filter(|snapshot| at == 0 || !snapshot.is_empty()));
            }
        }
        parts
    }
}

/// Appends the edges of a record, which has them no longer.
pub fn edges_of(record: &mut Record, edges: &mut Vec<Edge>) {
    match record {
        Record::Edge { from_guid, from_key, to_guid, to_key } => {
            let (from_guid, to_guid) = (*from_guid, *to_guid);
            let (from_key, to_key) = (std::mem::take(from_key), std::mem::take(to_key));
            edges.push(Edge { from_guid, from_key, to_guid, to_key });
        }
        Record::FlowEdges { flow, guid, key } => edges.extend(flow_edges(flow, *guid, key, None)),
        _ => {}
    }
}

/// What the backend is told of a record, if it wants to know.
#[must_use]
pub fn item_of(time: Timestamp, record: &Record, wants: &BackendWants) -> Option<Item> {
    if is_wanted(record, wants) { into_item(time, record.clone(), wants).ok() } else { None }
}

/// Whether the backend wants such a record.
#[must_use]
pub fn is_wanted(record: &Record, wants: &BackendWants) -> bool {
    match record {
        Record::Alert(_) => wants.alerts,
        Record::Resource { .. } => wants.resources,
        Record::Document { .. } => wants.documents,
        Record::Flow(_) => wants.any_flows(),
        Record::LateTag { .. } => wants.asks_flows,
        _ => false,
    }
}

/// The same for a record that nobody else reads; it comes back where the backend does not want it.
///
/// # Errors
/// The record.
pub fn into_item(time: Timestamp, record: Record, wants: &BackendWants) -> Result<Item, Record> {
    if !is_wanted(&record, wants) {
        return Err(record);
    }
    let flow_of = |flow: Vec<u8>| (!flow.is_empty()).then_some(flow);
    Ok(match record {
        Record::Alert(alert) => Item::Alert(Box::new(alert_of(time, &alert))),
        Record::Resource { guid: group, flow, uri, label } => {
            Item::Resource(Box::new(Resource { time, group, flow: flow_of(flow), uri, label }))
        }
        Record::Document { guid: group, flow, text } => {
            Item::Document(Box::new(Document { time, group, flow: flow_of(flow), text }))
        }
        Record::Flow(flow) => {
            let EndedFlow { session, is_news, .. } = flow;
            if is_news { Item::Reported(session) } else { Item::EndedFlow(session) }
        }
        Record::LateTag { flow, tag } => Item::LateTag(Box::new((flow, tag))),
        other => return Err(other),
    })
}

/// An alert as it was recorded. One of another system happened when that system says, whenever it came here.
#[must_use]
pub fn alert_of(time: Timestamp, alert: &AlertRecord) -> Alert {
    let ids = alert.ends.as_ref().map(|ends| {
        Box::new(IdsFields {
            source_ip: ends.source_ip.clone().into_bytes(),
            source_port: ends.source_port.clone().into_bytes(),
            destination_ip: ends.destination_ip.clone().into_bytes(),
            destination_port: ends.destination_port.clone().into_bytes(),
            protocol: ends.protocol.to_string().into_bytes(),
            sig_rev: ends.sig_rev.to_string().into_bytes(),
        })
    });
    Alert {
        time: alert.ends.as_ref().map_or(time, |ends| ends.time),
        group: alert.guid,
        flow: (!alert.flow.is_empty()).then(|| alert.flow.clone()),
        sigid: alert.sigid.clone(),
        priority: alert.priority,
        message: alert.message.clone(),
        classification: alert.classification.clone(),
        status: alert.status.clone(),
        extra: alert.extra.clone(),
        ack: alert.ack,
        kind: match alert.kind {
            AlertKind::Simple => MetricAlertKind::Simple,
            AlertKind::Full => MetricAlertKind::Full,
            AlertKind::Tca => MetricAlertKind::Threshold,
            AlertKind::Ids => MetricAlertKind::Ids,
        },
        ids,
    }
}
