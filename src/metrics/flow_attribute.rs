//! Named values of flows.

use super::ledger::Texts;
use crate::key::FlowTuple;

/// A named value of a flow, all its texts in one piece: there are more of these than of any other record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowAttribute {
    /// The flow, unless its id is the beginning of the texts.
    flow: Option<FlowTuple>,
    flow_len: u32,
    name_len: u32,
    texts: Box<[u8]>,
}

impl FlowAttribute {
    /// Of a flow that is known by its id.
    #[must_use]
    pub fn of_id(flow: &[u8], name: &[u8], value: &[u8]) -> Self {
        let (flow_len, name_len) = (flow.len() as u32, name.len() as u32);
        Self { flow: None, flow_len, name_len, texts: [flow, name, value].concat().into() }
    }

    /// Of a flow that was found in packets: its id is made when somebody asks for it.
    #[must_use]
    pub fn of_flow(flow: FlowTuple, name: &[u8], value: &[u8]) -> Self {
        let name_len = name.len() as u32;
        Self { flow: Some(flow), flow_len: 0, name_len, texts: [name, value].concat().into() }
    }

    /// The flow, if it was found in packets; else its id is a text.
    #[must_use]
    pub const fn flow(&self) -> Option<&FlowTuple> {
        self.flow.as_ref()
    }

    /// The id of a flow that is known by it; empty if [`FlowAttribute::flow`] tells the flow.
    #[must_use]
    pub fn flow_text(&self) -> &[u8] {
        &self.texts[..self.flow_len as usize]
    }

    /// The id of the flow.
    #[must_use]
    pub fn flow_id(&self) -> Vec<u8> {
        self.flow.as_ref().map_or_else(|| self.flow_text().to_vec(), |flow| flow.id().as_bytes().to_vec())
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.texts[self.flow_len as usize..][..self.name_len as usize]
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.texts[self.flow_len as usize + self.name_len as usize..]
    }
}

impl Texts for FlowAttribute {
    fn bytes(&self) -> usize {
        self.texts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::FlowAttribute;
    use crate::key::FlowTuple;

    #[test]
    fn texts_are_the_same_whether_the_flow_is_given_by_id_or_by_tuple() {
        let tuple = FlowTuple::v4(6, [10, 0, 0, 1], [10, 0, 0, 2], 40_000, 80).0;
        let (by_flow, by_id) = (
            FlowAttribute::of_flow(tuple, b"Host", b"example.com"),
            FlowAttribute::of_id(tuple.id().as_bytes(), b"Host", b"example.com"),
        );
        for attribute in [&by_flow, &by_id] {
            assert_eq!(attribute.flow_id(), tuple.id().as_bytes());
            assert_eq!((attribute.name(), attribute.value()), (&b"Host"[..], &b"example.com"[..]));
        }
        let empty = FlowAttribute::default();
        assert!(empty.flow_id().is_empty() && empty.name().is_empty() && empty.value().is_empty());
    }
}
