//! What of the records goes into the store as it comes. The rest goes there by way of the backend, after the votes.

use crate::api::Record;
use crate::metrics::{Edge, flow_edges};
use crate::sink::StoreSender;
use crate::time::Timestamp;

/// Hands an edge, a label or an attribute to the store.
pub(super) fn store(sender: &mut StoreSender, time: Timestamp, record: Record) {
    match record {
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
