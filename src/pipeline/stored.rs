//! What of the records goes into the store.

use super::outlet::kept_alert;
use crate::api::{EndedFlow, Record};
use crate::metrics::{Document, Edge, MAX_RESOURCE_LABEL, Resource, flow_edges};
use crate::sink::{StoreSender, StoredFlow};
use crate::time::Timestamp;

/// Hands a record to the store, if it is of a kind that is stored.
pub(super) fn store(sender: &mut StoreSender, time: Timestamp, record: Record) {
    let some = |flow: Vec<u8>| (!flow.is_empty()).then_some(flow);
    match record {
        Record::Flow(ended) => sender.flow(stored_flow(*ended)),
        Record::Alert(alert) => sender.alert(kept_alert(time, &alert, some(alert.flow.clone())), &alert.extra),
        Record::Resource { guid, flow, uri, mut label } => {
            label.truncate(MAX_RESOURCE_LABEL);
            sender.resource(Resource { time, group: guid, flow: some(flow), uri, label });
        }
        Record::Document { guid, flow, text } => {
            sender.document(Document { time, group: guid, flow: some(flow), text });
        }
        Record::Edge { from_guid, from_key, to_guid, to_key } => {
            sender.edge(time, Edge { from_guid, from_key, to_guid, to_key });
        }
        Record::FlowEdges { flow, guid, key } => {
            flow_edges(&flow, guid, &key, None).into_iter().for_each(|edge| sender.edge(time, edge));
        }
        Record::KeyInfo { guid, key, label, description } => {
            sender.label(guid, &key, &label, description.as_deref());
        }
        Record::KeyAttribute { guid, key, name, value } => sender.attribute(guid, &key, &name, &value),
        _ => {}
    }
}

fn stored_flow(flow: EndedFlow) -> StoredFlow {
    StoredFlow {
        id: flow.id,
        start: flow.start,
        end: flow.end,
        bytes: flow.bytes,
        packets: flow.packets,
        payload: flow.payload,
        state: flow.state,
        tags: flow.tags,
        setup_rtt: flow.setup_rtt,
        retransmissions: flow.retransmissions,
        reason: flow.reason,
    }
}
