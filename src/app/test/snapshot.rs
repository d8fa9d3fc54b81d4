//! What a run gave, as text: a section for each part, a line for each fact, no counting by columns, so that a change of one
//! fact is a change of one line.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::case::{Case, Part};
use super::quoted::{quote, word};
use crate::guid::Guid;
use crate::metrics::{GroupKind, Registry};
use crate::pipeline::date_time;
use crate::time::Timestamp;

/// Fields that are told by other means.
const KNOWN: [&str; 5] = ["ev", "t", "script", "side", "bin"];

/// Texts that differ from run to run or from machine to machine, and what stands for them.
pub type Aliases = [(Vec<u8>, Vec<u8>)];

/// Makes the text of a snapshot from the lines of an event stream.
pub struct Snapshot<'a> {
    case: &'a Case,
    groups: &'a Registry,
    aliases: &'a Aliases,
    parts: BTreeMap<Part, Vec<String>>,
    counters: BTreeMap<(String, String), Vec<String>>,
    input: String,
}

impl<'a> Snapshot<'a> {
    /// The text of what a case gave.
    #[must_use]
    pub fn of(case: &'a Case, groups: &'a Registry, aliases: &'a Aliases, events: &[u8]) -> String {
        let (parts, counters) = (BTreeMap::new(), BTreeMap::new());
        let mut snapshot = Self { case, groups, aliases, parts, counters, input: String::new() };
        for line in events.split(|byte| *byte == b'\n') {
            if let Ok(Value::Object(event)) = serde_json::from_slice(line) {
                snapshot.take(&event);
            }
        }
        snapshot.text()
    }

    fn text(self) -> String {
        let mut out = String::new();
        if !self.case.about().is_empty() {
            out.push_str(&format!("# {}\n", self.case.about().replace('\n', "\n# ")));
        }
        out.push_str(&self.input);
        for part in Part::ALL {
            if part == Part::Counters {
                for ((name, guid), lines) in &self.counters {
                    out.push_str(&format!("\n== counters of {} {guid}\n", quote(name.as_bytes())));
                    lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
                }
            }
            let Some(lines) = self.parts.get(&part) else { continue };
            out.push_str(&format!("\n== {}\n", part.name()));
            lines.iter().for_each(|line| out.push_str(&format!("{line}\n")));
        }
        out
    }

    fn take(&mut self, event: &Map<String, Value>) {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let ev = text("ev");
        let is_native = text("script").starts_with("native:");
        let kept = event.get("stored").and_then(Value::as_bool).unwrap_or(true);
        let part = match ev {
            "end" => {
                let (packets, bytes) = (&event["packets"], &event["bytes"]);
                let times = ["first", "last"].map(|name| when(&event[name]));
                self.input = format!("{packets} packets, {bytes} bytes, {} to {}\n", times[0], times[1]);
                return;
            }
            "counter_total" => return self.take_total(event),
            "load" if event.get("ok") == Some(&Value::Bool(false)) => Part::Faults,
            "flow_tracker" => Part::Trackers,
            "store_policy" => Part::Policies,
            "stored" | "counter" | "topper" if !kept => Part::Vetoes,
            _ if is_native => return,
            "alert" => Part::Alerts,
            "resource" => Part::Resources,
            "fts" => Part::Documents,
            "tag" => Part::Tags,
            "print" => Part::Prints,
            "log" => Part::Logs,
            "fault" => Part::Faults,
            "keyinfo" | "key_attribute" => Part::Keys,
            "message" => Part::Messages,
            "edge" | "flow_edges" => Part::Edges,
            "flow_attribute" | "flow_counter" | "flow_update" | "terminate_flow" | "disable_reassembly" => Part::Flows,
            _ => return,
        };
        if !self.case.compares(part) {
            return;
        }
        let line = self.line(event, part);
        self.parts.entry(part).or_default().push(line);
    }

    /// `time script field=value ...`; fields that say nothing are left out.
    fn line(&self, event: &Map<String, Value>, part: Part) -> String {
        let is_said = matches!(part, Part::Prints | Part::Logs);
        let script = event["script"].as_str().unwrap_or_default();
        let mut line = format!("{} {}", when(&event["t"]), word(script.as_bytes()));
        if event["side"] != "frontend" {
            line.push_str(&format!(" ({})", event["side"].as_str().unwrap_or_default()));
        }
        // Of parts that hold several kinds.
        if matches!(part, Part::Flows | Part::Vetoes | Part::Edges | Part::Keys | Part::Faults) {
            line.push_str(&format!(" {}", event["ev"].as_str().unwrap_or_default()));
        }
        for (name, value) in event.iter().filter(|(name, _)| !KNOWN.contains(&name.as_str())) {
            let text = match value {
                Value::Null => continue,
                Value::String(text) if text.is_empty() => continue,
                Value::String(text) if name.ends_with("guid") => self.group_name(text, part),
                Value::String(text) if is_said && name == "text" => quote(&self.bytes(text, event)),
                Value::String(text) => word(&self.bytes(text, event)),
                Value::Array(list) => format!("[{}]", list.iter().map(number).collect::<Vec<_>>().join(" ")),
                other => number(other),
            };
            match (part, name.as_str()) {
                (Part::Prints | Part::Logs, "text") => line.push_str(&format!(" {text}")),
                (_, "guid") => line.push_str(&format!(" group={text}")),
                _ => line.push_str(&format!(" {name}={text}")),
            }
        }
        line
    }

    fn take_total(&mut self, event: &Map<String, Value>) {
        if !self.case.compares(Part::Counters) {
            return;
        }
        let guid = event["guid"].as_str().unwrap_or_default();
        let group = Guid::parse(guid.as_bytes()).ok().and_then(|guid| self.groups.find(GroupKind::Counter, guid));
        let name = group.map_or_else(String::new, |group| String::from_utf8_lossy(&group.name).into_owned());
        if !self.case.compares_group(&name, guid, group.map(|group| group.level)) {
            return;
        }
        let meter = event["meter"].as_u64().unwrap_or_default();
        let meter_name = group.and_then(|group| group.meters.iter().find(|m| u64::from(m.id) == meter));
        let meter_name =
            meter_name.map_or_else(|| meter.to_string(), |m| String::from_utf8_lossy(&m.name).into_owned());
        let key = word(&self.bytes(event["key"].as_str().unwrap_or_default(), event));
        let [updates, sum, min, max, last] =
            ["updates", "sum", "min", "max", "last"].map(|name| number(event.get(name).unwrap_or(&Value::Null)));
        let line =
            format!("{key} {}: sum {sum} of {updates}, from {min} to {max}, last {last}", word(meter_name.as_bytes()));
        self.counters.entry((name, guid.to_owned())).or_default().push(line);
    }

    /// A group by its name, if it has one: of the kind the part is about, if there is such a group.
    fn group_name(&self, guid: &str, part: Part) -> String {
        let parsed = Guid::parse(guid.as_bytes()).ok();
        let kind = match part {
            Part::Alerts => GroupKind::Alert,
            Part::Resources => GroupKind::Resource,
            Part::Documents => GroupKind::Fts,
            _ => GroupKind::Counter,
        };
        let kinds = std::iter::once(kind).chain(GroupKind::ALL);
        let named = kinds.into_iter().find_map(|kind| self.groups.find(kind, parsed?));
        named.map_or_else(|| guid.to_owned(), |group| word(&group.name))
    }

    /// A text field of an event as it was: in events marked as binary, characters up to U+00FF stand for bytes.
    fn bytes(&self, text: &str, event: &Map<String, Value>) -> Vec<u8> {
        let is_bin = event.contains_key("bin");
        let mut bytes = Vec::with_capacity(text.len());
        for c in text.chars() {
            match u8::try_from(u32::from(c)) {
                Ok(byte) if is_bin && byte >= 0x80 => bytes.push(byte),
                _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        for (real, alias) in self.aliases {
            bytes = replace(&bytes, real, alias);
        }
        bytes
    }
}

/// The time of an event as people read it.
fn when(value: &Value) -> String {
    let micros = (value.as_f64().unwrap_or_default() * 1e6).round() as i64;
    date_time(Timestamp::from_nanos(micros.saturating_mul(1_000)))
}

/// Whole numbers without a fraction, however the stream wrote them.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if number == number.trunc() && number.abs() < 1e15 => format!("{number:.0}"),
        _ => value.to_string(),
    }
}

fn replace(text: &[u8], real: &[u8], alias: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memmem::find(rest, real).filter(|_| !real.is_empty()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(alias);
        rest = &rest[at + real.len()..];
    }
    out.extend_from_slice(rest);
    out
}
