//! What a plugin file contains: read once from its table in a probing VM.

use std::sync::Arc;

use mlua::{Table, Value};

use super::binding;
use super::kind::{PluginKind, Side};
use crate::api::{MonitoredGroup, Record};
use crate::guid::Guid;
use crate::job::FunctionInfo;
use crate::metrics::{Column, CounterGroupDefinition, GroupKind, Registry};

/// Most async workers a script may ask for.
const MAX_WORKERS: f64 = 64.0;

/// `TrisulPlugin.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Short name.
    pub name: String,
    /// One line on it.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// Version.
    pub version: (u32, u32),
    /// Class id for broadcasts.
    pub clsid: Option<Guid>,
}

/// What messages a plugin wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    /// No list: broadcasts and all addressed messages.
    All,
    /// Broadcasts and these ids.
    Listed(Vec<Guid>),
}

/// A protocol that a script defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtocolDefinition {
    /// Identity.
    pub guid: Guid,
    /// Short name.
    pub name: String,
    /// Lower layer to attach to.
    pub host: Option<Guid>,
    /// Ports, EtherTypes or IP protocol numbers of the lower layer.
    pub numbers: Vec<u32>,
}

/// A definition found in a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Definition {
    /// `countergroup`.
    Counter(CounterGroupDefinition),
    /// `resourcegroup` or `alertgroup`.
    Group {
        /// Which of the two.
        kind: GroupKind,
        /// Identity.
        guid: Guid,
        /// Title.
        name: Vec<u8>,
        /// One line on it.
        description: Vec<u8>,
    },
    /// `protocol_handler`.
    Protocol(ProtocolDefinition),
}

/// `flowtracker.control`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerControl {
    /// Identity.
    pub name: String,
    /// One line on it.
    pub description: String,
    /// Seconds between two snapshots.
    pub bucketsize: u32,
    /// Flows kept per snapshot.
    pub count: u32,
}

/// One block of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Which type.
    pub kind: PluginKind,
    /// The spelling used.
    pub spelling: &'static str,
    /// `simplecounter.protocol_guid`.
    pub protocol: Option<Guid>,
    /// `simplecounter.flow_counter`.
    pub flow_counter: bool,
    /// The groups a monitor is bound to; filled when the groups of all files are known.
    pub bound: Vec<Guid>,
    /// Of a `flowtracker`.
    pub tracker: Option<TrackerControl>,
}

impl Block {
    /// Whether it has VMs on the backend; a monitor that is bound to nothing has none.
    #[must_use]
    pub fn runs_on_backend(&self) -> bool {
        self.kind.side() == Side::Backend && (binding::group_kind(self.kind).is_none() || !self.bound.is_empty())
    }

    /// The groups it is bound to, as its VMs know them.
    pub fn monitored<'a>(&'a self, groups: &'a Registry) -> impl Iterator<Item = MonitoredGroup> + 'a {
        let kind = binding::group_kind(self.kind);
        let found = move |guid: &Guid| kind.and_then(|kind| groups.find(kind, *guid));
        self.bound.iter().filter_map(found).map(binding::monitored)
    }
}

/// Something to tell the author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// `id` is missing.
    #[error("TrisulPlugin.id is missing or not a table; the defaults apply")]
    NoId,
    /// Both spellings of a block.
    #[error("both '{0}' and '{1}' are present; '{0}' is used")]
    BothSpellings(&'static str, &'static str),
    /// A block is not a table.
    #[error("'{0}' is not a table; the block is ignored")]
    NotATable(&'static str),
    /// A required field is missing or of the wrong form.
    #[error("{0} is missing or malformed; the block is ignored")]
    BadField(&'static str),
    /// A subscription is no GUID.
    #[error("message_subscriptions[{0}] is not a GUID and never matches")]
    BadSubscription(usize),
    /// A field that looks like a mistyped block.
    #[error("'{0}' is not a block this version knows{1}; it is ignored")]
    UnknownBlock(String, String),
}

/// What a plugin file contains.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// `id`.
    pub id: Identity,
    /// Its blocks, in the order of the contract's table.
    pub blocks: Vec<Block>,
    /// Definitions of groups and protocols.
    pub definitions: Vec<Definition>,
    /// Wanted messages.
    pub subscriptions: Subscriptions,
    /// Async worker threads wanted.
    pub workers: usize,
    /// Functions that can be called from outside.
    pub functions: Vec<FunctionInfo>,
    /// There is an `onmessage` or a channel listener.
    pub listens: bool,
    /// What to tell the author.
    pub remarks: Vec<Remark>,
    /// Texts of the libraries that the file loaded when it was executed, one after the other.
    pub required_text: Arc<[u8]>,
    /// What the functions that name groups for its monitors printed and logged.
    pub said: Vec<Record>,
}

/// Reads a plugin's table. `file_name` supplies the default name.
///
/// # Errors
/// When reading a field fails, as an erring metamethod can make it.
pub fn read(plugin: &Table, file_name: &str) -> mlua::Result<Manifest> {
    let mut remarks = Vec::new();
    let id = read_id(plugin, file_name, &mut remarks)?;
    let subscriptions = read_subscriptions(plugin, &mut remarks)?;
    let workers = match plugin.get::<Value>("request_async_workers")? {
        Value::Nil => 1,
        value => number(&value).unwrap_or(1.0).clamp(1.0, MAX_WORKERS) as usize,
    };
    let mut manifest = Manifest {
        id,
        blocks: Vec::new(),
        definitions: Vec::new(),
        subscriptions,
        workers,
        functions: Vec::new(),
        listens: plugin.get::<Value>("onmessage")?.is_function(),
        remarks,
        required_text: Arc::default(),
        said: Vec::new(),
    };
    for kind in PluginKind::all().filter(|kind| *kind != PluginKind::Functions) {
        if let Some((table, spelling)) = block_table(plugin, kind, &mut manifest.remarks)? {
            read_block(kind, spelling, &table, &mut manifest)?;
        }
    }
    look_for_mistyped(plugin, &mut manifest)?;
    Ok(manifest)
}

/// The table of a block in the spelling used.
///
/// # Errors
/// When reading a field fails.
pub fn block_table(
    plugin: &Table,
    kind: PluginKind,
    remarks: &mut Vec<Remark>,
) -> mlua::Result<Option<(Table, &'static str)>> {
    let (first, other): (Value, Value) = (plugin.get(kind.name())?, plugin.get(kind.other_spelling())?);
    if !first.is_nil() && !other.is_nil() {
        remarks.push(Remark::BothSpellings(kind.name(), kind.other_spelling()));
    }
    let (value, spelling) = if first.is_nil() { (other, kind.other_spelling()) } else { (first, kind.name()) };
    match value {
        Value::Nil => Ok(None),
        Value::Table(table) => Ok(Some((table, spelling))),
        _ => {
            remarks.push(Remark::NotATable(spelling));
            Ok(None)
        }
    }
}

fn read_id(plugin: &Table, file_name: &str, remarks: &mut Vec<Remark>) -> mlua::Result<Identity> {
    let default_name = file_name.strip_suffix(".lua").unwrap_or(file_name).to_owned();
    let Value::Table(id) = plugin.get::<Value>("id")? else {
        remarks.push(Remark::NoId);
        return Ok(Identity {
            name: default_name,
            description: String::new(),
            author: "Unleash".to_owned(),
            version: (1, 0),
            clsid: None,
        });
    };
    let field = |name: &str, default: &str| -> mlua::Result<String> {
        Ok(text(&id.get(name)?).map_or_else(|| default.to_owned(), |t| String::from_utf8_lossy(&t).into_owned()))
    };
    let version =
        |name: &str, default: u32| -> mlua::Result<u32> { Ok(number(&id.get(name)?).map_or(default, |n| n as u32)) };
    Ok(Identity {
        name: field("name", &default_name)?,
        description: field("description", "")?,
        author: field("author", "Unleash")?,
        version: (version("version_major", 1)?, version("version_minor", 0)?),
        clsid: guid(&id.get("clsid")?),
    })
}

fn read_subscriptions(plugin: &Table, remarks: &mut Vec<Remark>) -> mlua::Result<Subscriptions> {
    let Value::Table(list) = plugin.get::<Value>("message_subscriptions")? else { return Ok(Subscriptions::All) };
    let mut ids = Vec::new();
    for index in 1..=list.raw_len() {
        match guid(&list.get(index)?) {
            Some(id) => ids.push(id),
            None => remarks.push(Remark::BadSubscription(index)),
        }
    }
    Ok(Subscriptions::Listed(ids))
}

/// Reads one block; a block with something missing is remarked on and left out.
fn read_block(kind: PluginKind, spelling: &'static str, table: &Table, manifest: &mut Manifest) -> mlua::Result<()> {
    let mut block = Block { kind, spelling, protocol: None, flow_counter: false, bound: Vec::new(), tracker: None };
    let definition = match kind {
        PluginKind::CounterGroup => read_counter_group(table)?.map(|group| Some(Definition::Counter(group))),
        PluginKind::ResourceGroup => read_group(table, GroupKind::Resource)?.map(Some),
        PluginKind::AlertGroup => read_group(table, GroupKind::Alert)?.map(Some),
        PluginKind::ProtocolHandler => read_protocol(table)?.map(|protocol| {
            block.protocol = Some(protocol.guid);
            Some(Definition::Protocol(protocol))
        }),
        PluginKind::SimpleCounter => {
            block.protocol = guid(&table.get("protocol_guid")?);
            block.flow_counter = matches!(table.get::<Value>("flow_counter")?, Value::Boolean(true));
            block.protocol.map(|_| None).ok_or(Remark::BadField("simplecounter.protocol_guid"))
        }
        PluginKind::FlowTracker => read_tracker(table)?.map(|tracker| {
            block.tracker = Some(tracker);
            None
        }),
        _ => Ok(None),
    };
    match definition {
        Ok(definition) => {
            manifest.listens |= kind == PluginKind::ChannelListener;
            manifest.definitions.extend(definition);
            manifest.blocks.push(block);
        }
        Err(remark) => manifest.remarks.push(remark),
    }
    Ok(())
}

impl Manifest {
    /// Takes note of functions that can be called from outside. Where no block has a VM that could answer they get one.
    pub fn add_functions(&mut self, functions: Vec<FunctionInfo>) {
        let has_vm = |block: &Block| !matches!(block.kind.side(), Side::Definition | Side::Shared);
        if !functions.is_empty() && !self.blocks.iter().any(has_vm) {
            let kind = PluginKind::Functions;
            let (protocol, bound, tracker) = (None, Vec::new(), None);
            self.blocks.push(Block { kind, spelling: kind.name(), protocol, flow_counter: false, bound, tracker });
        }
        self.functions = functions;
    }
}

type Read<T> = mlua::Result<Result<T, Remark>>;

fn control(table: &Table, missing: &'static str) -> Read<Table> {
    Ok(match table.get::<Value>("control")? {
        Value::Table(control) => Ok(control),
        _ => Err(Remark::BadField(missing)),
    })
}

fn read_group(table: &Table, kind: GroupKind) -> Read<Definition> {
    let (missing_control, missing_guid, missing_name) = match kind {
        GroupKind::Alert => ("alertgroup.control", "alertgroup.control.guid", "alertgroup.control.name"),
        _ => ("resourcegroup.control", "resourcegroup.control.guid", "resourcegroup.control.name"),
    };
    let control = match control(table, missing_control)? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(guid) = guid(&control.get("guid")?) else { return Ok(Err(Remark::BadField(missing_guid))) };
    let Some(name) = text(&control.get("name")?) else { return Ok(Err(Remark::BadField(missing_name))) };
    let description = text(&control.get("description")?).unwrap_or_default();
    Ok(Ok(Definition::Group { kind, guid, name, description }))
}

fn read_counter_group(table: &Table) -> Read<CounterGroupDefinition> {
    let control = match control(table, "countergroup.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(identity) = guid(&control.get("guid")?) else {
        return Ok(Err(Remark::BadField("countergroup.control.guid")));
    };
    let Some(name) = text(&control.get("name")?) else {
        return Ok(Err(Remark::BadField("countergroup.control.name")));
    };
    let mut meters = Vec::new();
    if let Value::Table(rows) = table.get::<Value>("meters")? {
        for row in rows.sequence_values::<Value>() {
            let Value::Table(row) = row? else { continue };
            meters.push((1..=7).map(|i| Ok(column(&row.get(i)?))).collect::<mlua::Result<_>>()?);
        }
    }
    let mut keyinfo = Vec::new();
    if let Value::Table(rows) = table.get::<Value>("keyinfo")? {
        for row in rows.sequence_values::<Value>() {
            let Value::Table(row) = row? else { continue };
            if let (Some(key), Some(label)) = (text(&row.get(1)?), text(&row.get(2)?)) {
                keyinfo.push((key, label));
            }
        }
    }
    Ok(Ok(CounterGroupDefinition {
        guid: identity,
        name,
        description: text(&control.get("description")?).unwrap_or_default(),
        bucketsize: number(&control.get("bucketsize")?),
        topper_bucketsize: number(&control.get("topper_bucketsize")?),
        resolver: guid(&control.get("resolver_guid")?),
        meters,
        keyinfo,
    }))
}

fn read_protocol(table: &Table) -> Read<ProtocolDefinition> {
    let control = match control(table, "protocol_handler.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(identity) = guid(&control.get("guid")?) else {
        return Ok(Err(Remark::BadField("protocol_handler.control.guid")));
    };
    let Some(name) = text(&control.get("name")?) else {
        return Ok(Err(Remark::BadField("protocol_handler.control.name")));
    };
    let mut numbers = Vec::new();
    if let Value::Table(list) = control.get::<Value>("host_protocol_ports")? {
        for value in list.sequence_values::<Value>() {
            if let Some(n) = number(&value?).filter(|n| (0.0..=65535.0).contains(n)) {
                numbers.push(n as u32);
            }
        }
    }
    Ok(Ok(ProtocolDefinition {
        guid: identity,
        name: String::from_utf8_lossy(&name).into_owned(),
        host: guid(&control.get("host_protocol_guid")?),
        numbers,
    }))
}

fn read_tracker(table: &Table) -> Read<TrackerControl> {
    let control = match control(table, "flowtracker.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(name) = text(&control.get("name")?) else { return Ok(Err(Remark::BadField("flowtracker.control.name"))) };
    let whole = |field: &str, default: f64| -> mlua::Result<u32> {
        let value = number(&control.get(field)?).filter(|value| *value >= 1.0).unwrap_or(default);
        Ok(value.round() as u32)
    };
    Ok(Ok(TrackerControl {
        name: String::from_utf8_lossy(&name).into_owned(),
        description: String::from_utf8_lossy(&text(&control.get("description")?).unwrap_or_default()).into_owned(),
        bucketsize: whole("bucketsize", 300.0)?,
        count: whole("count", 100.0)?,
    }))
}

/// Fields that hold a table with callbacks but are no block: probably a slip of the keyboard, which only `check` tells.
fn look_for_mistyped(plugin: &Table, manifest: &mut Manifest) -> mlua::Result<()> {
    let mut unknown = Vec::new();
    for pair in plugin.pairs::<Value, Value>() {
        let (Value::String(name), Value::Table(_)) = pair? else { continue };
        let name = name.to_string_lossy();
        if PluginKind::from_name(&name).is_some() || ["id", "message_subscriptions"].contains(&name.as_str()) {
            continue;
        }
        let near = PluginKind::all().map(PluginKind::name).find(|known| distance(&name, known) <= 2);
        if let Some(near) = near {
            unknown.push(Remark::UnknownBlock(name.clone(), format!(" (did you mean '{near}'?)")));
        }
    }
    unknown.sort_unstable_by_key(ToString::to_string);
    manifest.remarks.append(&mut unknown);
    Ok(())
}

/// Edits that turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn text(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(number.to_string().into_bytes()),
        Value::Number(number) => Some(number.to_string().into_bytes()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(text) => text.to_string_lossy().trim().parse().ok(),
        _ => None,
    }
}

fn guid(value: &Value) -> Option<Guid> {
    match value {
        Value::String(text) => Guid::parse(&text.as_bytes()).ok(),
        _ => None,
    }
}

fn column(value: &Value) -> Column {
    match value {
        Value::Integer(number) => Column::Number(*number as f64),
        Value::Number(number) => Column::Number(*number),
        Value::String(text) => Column::Text(text.as_bytes().to_vec()),
        _ => Column::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::{Definition, Remark, Subscriptions, read};
    use crate::plugin::PluginKind;
    use mlua::{Lua, Table};

    fn table(text: &str) -> (Lua, Table) {
        let lua = Lua::new();
        let table = lua.load(text).eval().unwrap();
        (lua, table)
    }

    #[test]
    fn everything_a_file_may_hold_is_read() {
        let (_lua, t) = table(
            r#"{
            id = { name = "Syn", version_major = 2 }, request_async_workers = 200,
            message_subscriptions = { "{11111111-2222-3333-4444-555555555555}", "x" },
            onmessage = function() end,
            countergroup = { control = { guid = "{0B1C2D3E-0000-4000-8000-00000000ABCD}", name = "G", bucketsize = "30" },
                             meters = { { 0, 2, 20, 0, "a", "b", "c" }, { 1, 4, 20, "n" } }, keyinfo = { { "A", "x" } } },
            simple_counter = { protocol_guid = "{77e462ab-2e42-42ec-9a58-c1a6821d6b31}" },
            alertgroup = { control = { guid = "{0B1C2D3E-0000-4000-8000-00000000ABCE}", name = "N" } },
            protocol_handler = { control = { guid = "{AAAAAAAA-0000-0000-0000-000000000001}", name = "PP",
              host_protocol_guid = "{14D7AB53-CC51-47e9-8814-9C06AAE60189}", host_protocol_ports = { 4711, 99999 } } },
            ifts_monitor = {}, fts_monitr = { }, helper_table = { 1 },
            }"#,
        );
        let manifest = read(&t, "syn.lua").unwrap();
        assert_eq!((manifest.id.name.as_str(), manifest.id.version), ("Syn", (2, 0)));
        assert_eq!(manifest.workers, 64);
        assert!(manifest.listens);
        assert!(matches!(&manifest.subscriptions, Subscriptions::Listed(ids) if ids.len() == 1));
        let kinds: Vec<_> = manifest.blocks.iter().map(|b| b.kind).collect();
        use PluginKind as K;
        assert_eq!(kinds, [K::CounterGroup, K::AlertGroup, K::ProtocolHandler, K::SimpleCounter]);
        assert_eq!(manifest.blocks[3].spelling, "simple_counter");
        let Definition::Counter(group) = &manifest.definitions[0] else { panic!("counter group first") };
        assert_eq!((group.meters.len(), group.keyinfo.len(), group.bucketsize), (2, 1, Some(30.0)));
        let Definition::Protocol(protocol) = &manifest.definitions[2] else { panic!("protocol last") };
        assert_eq!(protocol.numbers, [4711]);
        assert_eq!(manifest.remarks.len(), 3, "{:?}", manifest.remarks);
    }

    #[test]
    fn a_missing_id_and_a_bad_block_are_remarks() {
        let (_lua, t) = table("{ simplecounter = { onpacket = function() end }, countergroup = 5 }");
        let manifest = read(&t, "x.lua").unwrap();
        assert_eq!(manifest.id.name, "x");
        assert!(manifest.blocks.is_empty());
        assert!(manifest.remarks.contains(&Remark::NoId));
        assert!(manifest.remarks.contains(&Remark::NotATable("countergroup")));
    }
}
