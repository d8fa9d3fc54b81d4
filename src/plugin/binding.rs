//! Which groups a monitor block is for: named by GUID, by a function of the script, or by a match on group names. `true` in the
//! place of a GUID, as pipelines have it, stands for all of the kind.
//!
//! Evaluated once per run in the probing VM, when all files have been read, so that groups of every file are known.

use mlua::{Function, Table, Value};

use super::kind::PluginKind;
use crate::api::MonitoredGroup;
use crate::api::re2;
use crate::guid::Guid;
use crate::lua::{Budget, Vm};
use crate::metrics::{Group, GroupKind, Registry};

/// Most groups one block may name.
const MAX_NAMED: usize = 4_096;

/// The fields by which a kind of monitor names its groups.
struct Fields {
    kind: GroupKind,
    guid: &'static str,
    name_match: &'static str,
    name_regex: &'static str,
    default: Option<Guid>,
}

/// The session group of all flows.
pub const ALL_FLOWS: Guid = Guid::literal("{99A78737-4B41-4387-8F31-8077DB917336}");

fn fields(kind: PluginKind) -> Option<Fields> {
    let of = |kind, guid, name_match, name_regex, default| Some(Fields { kind, guid, name_match, name_regex, default });
    match kind {
        PluginKind::CgMonitor => {
            of(GroupKind::Counter, "counter_guid", "counter_name_match", "counter_name_regex", None)
        }
        PluginKind::AlertMonitor => of(GroupKind::Alert, "alert_guid", "alert_name_match", "alert_name_regex", None),
        PluginKind::ResourceMonitor => of(GroupKind::Resource, "resource_guid", "", "", None),
        PluginKind::FtsMonitor => of(GroupKind::Fts, "fts_guid", "", "", None),
        PluginKind::SgMonitor => of(GroupKind::Session, "session_guid", "", "", Some(ALL_FLOWS)),
        _ => None,
    }
}

/// The kind of group that a kind of monitor is bound to.
#[must_use]
pub fn group_kind(kind: PluginKind) -> Option<GroupKind> {
    fields(kind).map(|fields| fields.kind)
}

/// The groups a block is bound to, without duplicates, and what there is to tell about names that led nowhere.
pub fn evaluate(
    kind: PluginKind,
    block: &Table,
    vm: &Vm,
    groups: &Registry,
    budget: Budget,
) -> (Vec<Guid>, Vec<String>) {
    let Some(fields) = fields(kind) else { return (Vec::new(), Vec::new()) };
    let mut binding = Binding { kind, fields, groups, bound: Vec::new(), told: Vec::new() };
    let value = |name: &str| match name {
        "" => Value::Nil,
        name => vm.watched(budget, |_| block.get(name)).unwrap_or(Value::Nil),
    };
    match value(binding.fields.guid) {
        Value::Nil => {}
        Value::Table(list) => {
            for at in 1..=list.raw_len().min(MAX_NAMED) {
                binding.named(&list.raw_get(at).unwrap_or(Value::Nil), vm, budget);
            }
        }
        Value::Boolean(true) => binding.matching(|_| true),
        one => binding.named(&one, vm, budget),
    }
    for text in texts(&value(binding.fields.name_match)) {
        let text = text.to_ascii_lowercase();
        binding.matching(|name| contains(&name.to_ascii_lowercase(), &text));
    }
    for pattern in texts(&value(binding.fields.name_regex)) {
        match re2::Matcher::new(&pattern, re2::Options::default()) {
            Ok(pattern) => binding.matching(|name| pattern.is_match(name)),
            Err(e) => binding.tell(&format!("{}: {e}", binding.fields.name_regex)),
        }
    }
    let says_nothing = [binding.fields.guid, binding.fields.name_match, binding.fields.name_regex]
        .iter()
        .all(|name| value(name).is_nil());
    if says_nothing && let Some(default) = binding.fields.default {
        binding.bound.push(default);
    }
    if binding.bound.is_empty() {
        binding.tell("is bound to no group; the block is not loaded");
    }
    (binding.bound, binding.told)
}

struct Binding<'a> {
    kind: PluginKind,
    fields: Fields,
    groups: &'a Registry,
    bound: Vec<Guid>,
    told: Vec<String>,
}

impl Binding<'_> {
    fn tell(&mut self, what: &str) {
        self.told.push(format!("{}: {what}", self.kind.name()));
    }

    /// A GUID, or a function that gives one.
    fn named(&mut self, value: &Value, vm: &Vm, budget: Budget) {
        let field = self.fields.guid;
        let text = match value {
            Value::Function(function) => match call(vm, function, budget) {
                Ok(Some(text)) => text,
                Ok(None) => return self.tell(&format!("{field}: the function returns no GUID")),
                Err(e) => return self.tell(&format!("{field}: {e}")),
            },
            Value::String(text) => text.as_bytes().to_vec(),
            other => return self.tell(&format!("{field}: a GUID is needed, not a {}", other.type_name())),
        };
        let Ok(guid) = Guid::parse(&text) else {
            let shown = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
            return self.tell(&format!("{field}: '{shown}' is not a GUID with braces"));
        };
        match self.groups.find(self.fields.kind, guid) {
            Some(group) => self.add(group.guid),
            None => self.tell(&format!("{field}: there is no {} group {guid}", self.fields.kind.name())),
        }
    }

    fn matching(&mut self, matches: impl Fn(&[u8]) -> bool) {
        let found = |group: &&Group| matches(&group.name) || group.name_alias.as_deref().is_some_and(&matches);
        let guids: Vec<Guid> = self.groups.groups(self.fields.kind).filter(found).map(|group| group.guid).collect();
        guids.into_iter().for_each(|guid| self.add(guid));
    }

    fn add(&mut self, guid: Guid) {
        if !self.bound.contains(&guid) {
            self.bound.push(guid);
        }
    }
}

fn call(vm: &Vm, function: &Function, budget: Budget) -> Result<Option<Vec<u8>>, String> {
    match vm.call::<Value>(function, (), budget) {
        Ok(Value::String(text)) => Ok(Some(text.as_bytes().to_vec())),
        Ok(_) => Ok(None),
        Err(e) => Err(e.message),
    }
}

/// A text or several.
fn texts(value: &Value) -> Vec<Vec<u8>> {
    match value {
        Value::String(text) => vec![text.as_bytes().to_vec()],
        Value::Table(list) => {
            let all = (1..=list.raw_len().min(MAX_NAMED)).filter_map(|at| list.raw_get::<Value>(at).ok());
            all.filter_map(|value| value.as_string().map(|text| text.as_bytes().to_vec())).collect()
        }
        _ => Vec::new(),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// A group as a VM that is bound to it knows it.
#[must_use]
pub fn monitored(group: &Group) -> MonitoredGroup {
    MonitoredGroup { name: group.name.clone(), guid: group.guid }
}
