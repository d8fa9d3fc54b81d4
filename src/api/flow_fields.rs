//! The parts of a flow id that the FlowID object has methods for.

use crate::key::FlowText;

/// Hands a part on.
type FlowField = fn(&FlowText<'_>, &mut dyn FnMut(&[u8]));

/// Methods of FlowID in the order `objects.lua` expects them, and how to get each.
const FLOW_FIELDS: [(&str, FlowField); 17] = [
    ("flow_type", |t, out| out(t.flow_type().as_bytes())),
    ("protocol", |t, out| out(t.protocol().as_bytes())),
    ("ipa", |t, out| out(t.ipa().as_bytes())),
    ("ipz", |t, out| out(t.ipz().as_bytes())),
    ("ipa_readable", |t, out| out(t.ipa_readable().as_bytes())),
    ("ipz_readable", |t, out| out(t.ipz_readable().as_bytes())),
    ("porta", |t, out| out(t.porta().as_bytes())),
    ("portz", |t, out| out(t.portz().as_bytes())),
    ("porta_readable", |t, out| out(t.porta_readable().as_bytes())),
    ("portz_readable", |t, out| out(t.portz_readable().as_bytes())),
    ("netflow_router", |t, out| out(t.netflow_router().as_bytes())),
    ("netflow_router_readable", |t, out| out(t.netflow_router_readable().as_bytes())),
    ("netflow_ifindex_in", |t, out| out(t.netflow_ifindex_in().as_bytes())),
    ("netflow_ifindex_out", |t, out| out(t.netflow_ifindex_out().as_bytes())),
    ("to_s", |t, out| out(t.to_s().as_bytes())),
    ("netflow_ifindex_in_readable", |t, out| out(t.netflow_ifindex_in_readable().as_bytes())),
    ("netflow_ifindex_out_readable", |t, out| out(t.netflow_ifindex_out_readable().as_bytes())),
];

/// The names of the methods, in order.
pub(super) fn flow_field_names() -> impl Iterator<Item = &'static str> {
    FLOW_FIELDS.iter().map(|(name, _)| *name)
}

/// Calls `out` with the part of a flow id that a method returns; not for a number that no method has.
pub(super) fn flow_field(text: &[u8], index: usize, mut out: impl FnMut(&[u8])) {
    if let Some((_, field)) = FLOW_FIELDS.get(index) {
        field(&FlowText::new(text), &mut out);
    }
}
