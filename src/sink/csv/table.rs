//! The tables: their columns, and how rows become lines.

use super::row::{CounterRow, Row};
use crate::guid::Guid;
use crate::key::FlowText;
use crate::metrics::{Alert, Document, Group, GroupKind, Meter, Registry, Resource, Session};
use crate::sink::iso_time::{push_seconds, push_time};
use crate::time::Timestamp;

/// Which of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Counters,
    Flows,
    Alerts,
    Resources,
    Documents,
}

impl Table {
    pub const ALL: [Self; 5] = [Self::Counters, Self::Flows, Self::Alerts, Self::Resources, Self::Documents];

    pub const fn file(self) -> &'static str {
        match self {
            Self::Counters => "counters.csv",
            Self::Flows => "flows.csv",
            Self::Alerts => "alerts.csv",
            Self::Resources => "resources.csv",
            Self::Documents => "documents.csv",
        }
    }

    pub const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Counters => &["time", "seconds", "guid", "group", "key", "meter", "meter_name", "value"],
            Self::Flows => &[
                "start",
                "end",
                "flow",
                "protocol",
                "a_ip",
                "a_port",
                "z_ip",
                "z_port",
                "a_packets",
                "z_packets",
                "a_bytes",
                "z_bytes",
                "a_payload",
                "z_payload",
                "setup_rtt_us",
                "retransmissions",
                "state",
                "reason",
                "tags",
            ],
            Self::Alerts => &[
                "time",
                "guid",
                "group",
                "flow",
                "a_ip",
                "a_port",
                "z_ip",
                "z_port",
                "kind",
                "sigid",
                "priority",
                "message",
                "classification",
                "status",
                "extra",
            ],
            Self::Resources => &["time", "guid", "group", "flow", "a_ip", "a_port", "z_ip", "z_port", "uri", "label"],
            Self::Documents => &["time", "guid", "group", "flow", "a_ip", "a_port", "z_ip", "z_port", "text"],
        }
    }

    pub const fn of(row: &Row) -> Self {
        match row {
            Row::Counter(_) => Self::Counters,
            Row::Flow(_) => Self::Flows,
            Row::Alert(_) => Self::Alerts,
            Row::Resource(_) => Self::Resources,
            Row::Document(_) => Self::Documents,
        }
    }
}

/// A line that is being written.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Line<'a> {
    pub const fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, is_empty: true }
    }

    fn comma(&mut self) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
    }

    /// A field of any bytes; those that are no UTF-8 as `\xHH`. In quotes if it holds what separates fields.
    pub fn text(&mut self, bytes: &[u8]) {
        self.comma();
        let is_special = |byte: &u8| matches!(byte, b'"' | b',' | b'\r' | b'\n') || !byte.is_ascii();
        if !bytes.iter().any(is_special) {
            self.out.extend_from_slice(bytes);
            return;
        }
        self.out.push(b'"');
        for chunk in bytes.utf8_chunks() {
            for &byte in chunk.valid().as_bytes() {
                if byte == b'"' {
                    self.out.push(b'"');
                }
                self.out.push(byte);
            }
            for byte in chunk.invalid() {
                self.out.extend_from_slice(format!("\\x{byte:02X}").as_bytes());
            }
        }
        self.out.push(b'"');
    }

    fn number(&mut self, number: f64) {
        // What is no number is left out.
        let text = if number.is_finite() { number.to_string() } else { String::new() };
        self.text(text.as_bytes());
    }

    fn count(&mut self, count: u64) {
        self.text(count.to_string().as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.comma();
        push_time(self.out, time);
        self.out.push(b'Z');
    }

    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }

    fn group(&mut self, groups: &Registry, kind: GroupKind, guid: Guid) {
        self.text(guid.to_string().as_bytes());
        self.text(groups.find(kind, guid).map_or(&b""[..], |group| &group.name));
    }

    fn flow(&mut self, id: Option<&[u8]>) {
        let id = id.unwrap_or_default();
        self.text(id);
        self.ends(&FlowText::new(id));
    }

    fn ends(&mut self, flow: &FlowText<'_>) {
        for field in [flow.ipa_readable(), flow.porta_readable(), flow.ipz_readable(), flow.portz_readable()] {
            self.text(field.as_bytes());
        }
    }
}

/// Appends the lines of a row; tells how many.
pub(super) fn push(out: &mut Vec<u8>, row: &Row, groups: &Registry) -> u64 {
    match row {
        Row::Counter(row) => return counter(out, row, groups),
        Row::Flow(row) => flow(Line::new(out), row),
        Row::Alert(row) => alert(Line::new(out), row, groups),
        Row::Resource(row) => resource(Line::new(out), row, groups),
        Row::Document(row) => document(Line::new(out), row, groups),
    }
    1
}

/// How many lines [`push`] would append.
pub(super) fn lines_of(row: &Row, groups: &Registry) -> u64 {
    match row {
        Row::Counter(row) => groups.counter_group(row.group).map_or(0, |group| values(row, group).count() as u64),
        Row::Flow(_) | Row::Alert(_) | Row::Resource(_) | Row::Document(_) => 1,
    }
}

/// The meters that a row has values of.
fn values<'a>(row: &'a CounterRow, group: &'a Group) -> impl Iterator<Item = (&'a Meter, f64)> {
    group.meters.iter().filter_map(|meter| Some((meter, *row.values.get(meter.id as usize)?)))
}

fn counter(out: &mut Vec<u8>, row: &CounterRow, groups: &Registry) -> u64 {
    let Some(group) = groups.counter_group(row.group) else { return 0 };
    let mut lines = 0;
    for (meter, value) in values(row, group) {
        let mut line = Line::new(out);
        line.comma();
        push_seconds(line.out, Timestamp::new(row.bucket, 0));
        line.out.push(b'Z');
        line.count(row.size.unsigned_abs());
        line.text(group.guid.to_string().as_bytes());
        line.text(&group.name);
        line.text(&row.key);
        line.count(u64::from(meter.id));
        line.text(&meter.name);
        line.number(value);
        line.end();
        lines += 1;
    }
    lines
}

fn flow(mut line: Line<'_>, flow: &Session) {
    line.time(flow.start);
    line.time(flow.end);
    line.text(&flow.id);
    let text = FlowText::new(&flow.id);
    line.text(text.protocol_number().map_or_else(String::new, |number| number.to_string()).as_bytes());
    line.ends(&text);
    for pair in [flow.packets, flow.bytes, flow.payload] {
        pair.into_iter().for_each(|count| line.count(count));
    }
    line.count(u64::from(flow.setup_rtt));
    line.count(u64::from(flow.retransmissions));
    line.count(u64::from(flow.state));
    line.text(flow.reason.as_bytes());
    line.text(&flow.tags);
    line.end();
}

fn alert(mut line: Line<'_>, alert: &Alert, groups: &Registry) {
    line.time(alert.time);
    line.group(groups, GroupKind::Alert, alert.group);
    line.flow(alert.flow.as_deref());
    line.text(alert.kind.name().as_bytes());
    line.text(&alert.sigid);
    line.number(alert.priority);
    for text in [&alert.message, &alert.classification, &alert.status, &alert.extra] {
        line.text(text);
    }
    line.end();
}

fn resource(mut line: Line<'_>, resource: &Resource, groups: &Registry) {
    line.time(resource.time);
    line.group(groups, GroupKind::Resource, resource.group);
    line.flow(resource.flow.as_deref());
    line.text(&resource.uri);
    line.text(&resource.label);
    line.end();
}

fn document(mut line: Line<'_>, document: &Document, groups: &Registry) {
    line.time(document.time);
    line.group(groups, GroupKind::Fts, document.group);
    line.flow(document.flow.as_deref());
    line.text(&document.text);
    line.end();
}

#[cfg(test)]
mod tests {
    use super::{Line, Table};
    use proptest::prelude::*;

    fn line(fields: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let mut line = Line::new(&mut out);
        fields.iter().for_each(|field| line.text(field));
        line.end();
        String::from_utf8(out).expect("tables are UTF-8")
    }

    #[test]
    fn fields_with_separators_stand_in_quotes() {
        assert_eq!(line(&[b"a", b"b,c", b"d\"e", b"", b"f\r\ng"]), "a,\"b,c\",\"d\"\"e\",,\"f\r\ng\"\r\n");
        assert_eq!(line(&[b"\xFFx", "ü".as_bytes()]), "\"\\xFFx\",\"ü\"\r\n");
    }

    #[test]
    fn every_table_has_a_file_of_its_own() {
        let mut names: Vec<&str> = Table::ALL.iter().map(|table| table.file()).collect();
        names.dedup();
        assert_eq!(names.len(), 5);
    }

    /// A reader of the format, character by character.
    fn read(text: &str) -> Vec<Vec<String>> {
        let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
        let mut chars = text.chars().peekable();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
                '"' => quoted = !quoted,
                ',' if !quoted => row.push(std::mem::take(&mut field)),
                '\r' if !quoted && chars.peek() == Some(&'\n') => {
                    chars.next();
                    row.push(std::mem::take(&mut field));
                    rows.push(std::mem::take(&mut row));
                }
                c => field.push(c),
            }
        }
        rows
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(fields in proptest::collection::vec(".*", 1..6)) {
            let bytes: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
            prop_assert_eq!(read(&line(&bytes)), vec![fields]);
        }
    }
}
