//! What of the records goes into the store.

use super::outlet::kept_alert;
use crate::api::{EndedFlow, Record};
use crate::metrics::{Document, Edge, Resource, flow_edges};
use crate::sink::{StoreSender, StoredFlow};
use crate::time::Timestamp;

/// Hands a record to the store, if it is of a kind that is stored.
pub(super) fn store(sender: &mut StoreSender, time: Timestamp, record: &Record) {
    let flow = |flow: &Vec<u8>| (!flow.is_empty()).then(|| flow.clone());
    match record {
        Record::Flow(ended) => sender.flow(stored_flow(ended)),
        Record::Alert(alert) => sender.alert(kept_alert(time, alert, flow(&alert.flow)), &alert.extra),
        Record::Resource { guid, flow: id, uri, label } => {
            let (uri, label) = (uri.clone(), Resource::cut_label(label).to_vec());
            sender.resource(Resource { time, group: *guid, flow: flow(id), uri, label });
        }
        Record::Document { guid, flow: id, text } => {
            sender.document(Document { time, group: *guid, flow: flow(id), text: text.clone() });
        }
        Record::Edge { from_guid, from_key, to_guid, to_key } => {
            let (from_guid, to_guid) = (*from_guid, *to_guid);
            sender.edge(time, Edge { from_guid, from_key: from_key.clone(), to_guid, to_key: to_key.clone() });
        }
        Record::FlowEdges { flow, guid, key } => {
            flow_edges(flow, *guid, key, None).into_iter().for_each(|edge| sender.edge(time, edge));
        }
        Record::KeyInfo { guid, key, label, description } => {
            sender.label(*guid, key, label, description.as_deref());
        }
        Record::KeyAttribute { guid, key, name, value } => sender.attribute(*guid, key, name, value),
        _ => {}
    }
}

fn stored_flow(flow: &EndedFlow) -> StoredFlow {
    StoredFlow {
        id: flow.id.clone(),
        start: flow.start,
        end: flow.end,
        bytes: flow.bytes,
        packets: flow.packets,
        payload: flow.payload,
        state: flow.state,
        tags: flow.tags.clone(),
        setup_rtt: flow.setup_rtt,
        retransmissions: flow.retransmissions,
        reason: flow.reason,
    }
}
