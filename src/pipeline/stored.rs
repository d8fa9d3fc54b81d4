//! What of the records goes into the store as it comes. The rest goes there by way of the backend, after the votes.

use crate::api::Record;
use crate::sink::{FlowOf, StoreSender, StoredJobEnd};
use crate::time::Timestamp;

/// Attributes of flows that are not stored: where a stream begins and ends, and all headers of HTTP at once. The flow's row
/// says the former, documents the latter.
const NOT_STORED: [&[u8]; 3] = [b"", b"^D", b"HTTP-Header"];

/// Whether an attribute of a flow is stored.
pub(super) fn is_stored(name: &[u8]) -> bool {
    !NOT_STORED.contains(&name)
}

/// Hands a label, an attribute, a meter of a flow or the end of a job to the store; `script` is the name of the script.
pub(super) fn store(sender: &mut StoreSender, time: Timestamp, script: &str, record: &mut Record) {
    match record {
        Record::KeyInfo { guid, key, label, description } => {
            sender.label(*guid, key, label, description.as_deref());
        }
        Record::KeyAttribute { guid, key, name, value } => sender.attribute(*guid, key, name, value),
        Record::FlowAttribute(attribute) if is_stored(attribute.name()) => {
            sender.flow_attribute(time, (&*attribute).into(), attribute.name(), attribute.value());
        }
        Record::FlowMeter { flow, meter, value } => {
            let (name, value) = (format!("meter {meter}"), value.to_string());
            sender.flow_attribute(time, FlowOf::Id(flow), name.as_bytes(), value.as_bytes());
        }
        Record::Job { id, state, kind, function, attempt } => {
            let (job, function) = (std::mem::take(id), std::mem::take(function));
            let (plugin, kind, state, attempt) = (script.to_owned(), *kind, *state, *attempt);
            sender.job_end(time, StoredJobEnd { plugin, job, kind, function, state, attempt });
        }
        _ => {}
    }
}
