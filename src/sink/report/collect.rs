//! From what the metrics hold to what the report shows.

use super::model::{
    AlertLine, EdgeLine, Edges, GroupReport, KeyReport, Lines, MeterReport, NamedCount, Records, ResourceLine, TopKey,
};
use crate::guid::Guid;
use crate::key::{Host, KeyKind, canonical};
use crate::metrics::{Group, GroupKind, GroupTotals, KeyNotes, Meter, OVERFLOW_KEY, Rank, Registry, RunTotals};
use crate::processor::side_by_side;

/// The counter groups that have keys, with the `top` largest keys of every meter that has a value.
#[must_use]
pub fn collect_groups(registry: &Registry, totals: &RunTotals, notes: &KeyNotes, top: usize) -> Vec<GroupReport> {
    let totals_of = |group: &Group| registry.counter_index(group.guid).and_then(|index| totals.group(index));
    let counted = registry.counter_groups().filter_map(|group| Some((group, totals_of(group)?)));
    let counted: Vec<_> = counted.filter(|(_, totals)| totals.counts().seen > 0).collect();
    let collect = |(group, totals): (&Group, &GroupTotals)| collect_group(group, totals, notes, top);
    let keys = counted.iter().map(|(_, totals)| totals.len()).sum();
    side_by_side(counted, keys, collect)
}

fn collect_group(group: &Group, totals: &GroupTotals, notes: &KeyNotes, top: usize) -> GroupReport {
    let counts = totals.counts();
    let meters = group.meters.iter().filter_map(|meter| collect_meter(group, meter, totals, notes, top));
    GroupReport {
        guid: group.guid.to_string(),
        name: text(&group.name),
        bucketsize: group.bucketsize,
        keys: KeyReport {
            seen: counts.seen,
            kept: counts.kept,
            pruned: counts.pruned,
            rejected: counts.rejected,
            overflowed: counts.overflowed,
            updates: counts.updates,
        },
        meters: meters.collect(),
    }
}

/// `None` if no key has a value.
fn collect_meter(
    group: &Group,
    meter: &Meter,
    totals: &GroupTotals,
    notes: &KeyNotes,
    top: usize,
) -> Option<MeterReport> {
    let total = totals.total(meter.id.into());
    let ranked = totals.ranked(meter.id.into(), top, Rank::Largest);
    if total == 0.0 && ranked.iter().all(|topper| topper.value == 0.0) {
        return None;
    }
    let shares = meter.vartype.is_additive() && total > 0.0;
    let rows = ranked.into_iter().filter(|topper| topper.value != 0.0).map(|topper| TopKey {
        readable: readable(&topper.key),
        label: label(group, notes, &topper.key),
        share: shares.then(|| topper.value / total),
        value: topper.value,
        key: text(&topper.key),
    });
    Some(MeterReport {
        id: meter.id,
        name: text(&meter.name),
        vartype: meter.vartype.name(),
        units: text(&meter.units),
        total,
        top: rows.collect(),
    })
}

/// The label a script set, or the definition fixed; for want of one, that of the group named to resolve keys.
fn label(group: &Group, notes: &KeyNotes, key: &[u8]) -> Option<String> {
    if key == OVERFLOW_KEY {
        return Some("keys beyond the limit".to_owned());
    }
    let set = |guid: Guid| notes.label(guid, key).map(|l| &l.label[..]).filter(|l| !l.is_empty());
    set(group.guid).or_else(|| group.fixed_label(key)).or_else(|| group.resolver.and_then(set)).map(text)
}

/// The address or number a key stands for; `None` if the key is as readable as it gets.
pub(in crate::sink) fn readable(key: &[u8]) -> Option<String> {
    let binary = canonical(key)?;
    let b = binary.bytes;
    match binary.kind {
        KeyKind::Host4 => Some(Host::V4([b[0], b[1], b[2], b[3]]).readable().to_string()),
        KeyKind::Host6 => Some(Host::V6(b).readable().to_string()),
        KeyKind::Port => Some(u16::from_be_bytes([b[0], b[1]]).to_string()),
        KeyKind::Mac | KeyKind::Text => None,
    }
}

/// Alerts, resources and the rest, with the first `first` of each kind.
#[must_use]
pub fn collect_records(registry: &Registry, records: &crate::metrics::Records, first: usize) -> Records {
    let name = |kind: GroupKind, guid: Guid| match registry.find(kind, guid) {
        Some(group) => text(&group.name),
        None => guid.to_string(),
    };
    let flow = |flow: &Option<Vec<u8>>| flow.as_deref().map(text);
    let alerts = records.alerts.kept().iter().take(first).map(|alert| AlertLine {
        time: alert.time.as_secs_f64(),
        group: name(GroupKind::Alert, alert.group),
        sigid: text(&alert.sigid),
        priority: alert.priority,
        message: text(&alert.message),
        status: text(&alert.status),
        flow: flow(&alert.flow),
    });
    let resources = records.resources.kept().iter().take(first).map(|resource| ResourceLine {
        time: resource.time.as_secs_f64(),
        group: name(GroupKind::Resource, resource.group),
        uri: text(&resource.uri),
        flow: flow(&resource.flow),
    });
    let edges = records.edges.kept().iter().take(first).map(|edge| EdgeLine {
        from_group: name(GroupKind::Counter, edge.from_guid),
        from_key: text(&edge.from_key),
        to_group: name(GroupKind::Counter, edge.to_guid),
        to_key: text(&edge.to_key),
    });
    let counts = records.edges.counts();
    let by_group = |kind: GroupKind| {
        let counted = records.by_group(kind).map(|(guid, count)| NamedCount { name: name(kind, guid), count });
        counted.collect::<Vec<_>>()
    };
    Records {
        alerts: Lines { count: records.alerts.count(), first: alerts.collect() },
        resources: Lines { count: records.resources.count(), first: resources.collect() },
        resource_groups: by_group(GroupKind::Resource),
        documents: records.documents.count(),
        document_groups: by_group(GroupKind::Fts),
        edges: Edges {
            added: counts.added,
            distinct: counts.distinct,
            limited: counts.limited,
            first: edges.collect(),
        },
        labels: records.notes.labels() as u64,
        attributes: records.notes.attributes() as u64,
        messages: records.messages.count(),
        flow_statements: records
            .flow_statements()
            .map(|(name, count)| NamedCount { name: name.to_owned(), count })
            .collect(),
    }
}

/// Bytes as text; one that is not UTF-8 becomes the character of its number, as in the event stream.
pub(in crate::sink) fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|&byte| char::from(byte)));
    }
    text
}
