//! What a plugin file contains: read once from its table in a probing VM.

use std::sync::Arc;

use mlua::{Table, Value};

use super::binding;
use super::kind::{PluginKind, Side};
use super::texts::{Cuts, number};
use crate::api::{MonitoredGroup, Record};
use crate::guid::Guid;
use crate::job::FunctionInfo;
use crate::lua::Tokens;
use crate::metrics::{CounterGroupDefinition, GroupKind, Registry};

/// Most async workers a script may ask for.
const MAX_WORKERS: f64 = 64.0;
/// Rows of meters that are read; a group has at most 32 meters.
const MAX_METER_ROWS: usize = 256;
/// Fixed labels of one group.
const MAX_LABELS: usize = 65_536;
/// Bytes of their keys and texts.
const MAX_LABEL_BYTES: usize = 16 << 20;
/// Ports or other numbers that a protocol may name.
const MAX_NUMBERS: usize = 65_536;
/// Ids of messages that a script may want.
const MAX_SUBSCRIPTIONS: usize = 4_096;
/// Ids that are none and that are told of one by one.
const BAD_ONES_TOLD: usize = 10;
/// Fields of the plugin's table that are looked at for slips of the keyboard, and how long their names may be.
const MAX_FIELDS: usize = 4_096;
const LONGEST_FIELD: usize = 32;

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
    /// So many more of them.
    #[error("{0} more entries of message_subscriptions are not GUIDs and never match")]
    MoreBadSubscriptions(usize),
    /// Texts that are longer than anybody reads.
    #[error("{0}")]
    Cut(Cuts),
    /// A list with more entries than are used.
    #[error("{field} has more than {limit} entries; the first {limit} are used")]
    TooMany {
        /// The list.
        field: &'static str,
        /// How many of its entries are used.
        limit: usize,
    },
    /// The fixed labels of a group together.
    #[error("countergroup.keyinfo has more than {MAX_LABEL_BYTES} bytes of text; its first {0} entries are used")]
    TooMuchText(usize),
    /// A field that looks like a mistyped block.
    #[error("'{0}' is not a block this version knows{1}; it is ignored")]
    UnknownBlock(String, String),
}

impl Remark {
    /// The field it is about, as a path from the plugin's table.
    #[must_use]
    pub fn field(&self) -> &str {
        match self {
            Self::NoId => "id",
            Self::BothSpellings(name, _) | Self::NotATable(name) | Self::BadField(name) => name,
            Self::BadSubscription(_) | Self::MoreBadSubscriptions(_) => "message_subscriptions",
            Self::UnknownBlock(name, _) => name,
            Self::Cut(cuts) => cuts.first().unwrap_or_default(),
            Self::TooMany { field, .. } => field,
            Self::TooMuchText(_) => "countergroup.keyinfo",
        }
    }

    /// The line of the field.
    #[must_use]
    pub fn line(&self, tokens: &Tokens) -> u32 {
        let path: Vec<&str> = self.field().split(['.', '[']).collect();
        tokens.line_of_field(&path)
    }

    /// Whether something of what the file says is left out because there is too much of it.
    #[must_use]
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Cut(_) | Self::TooMany { .. } | Self::TooMuchText(_))
    }
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
    let (mut remarks, mut cuts) = (Vec::new(), Cuts::default());
    let id = read_id(plugin, file_name, &mut remarks, &mut cuts)?;
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
            read_block(kind, spelling, &table, &mut manifest, &mut cuts)?;
        }
    }
    if cuts.first().is_some() {
        manifest.remarks.push(Remark::Cut(cuts));
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

fn read_id(plugin: &Table, file_name: &str, remarks: &mut Vec<Remark>, cuts: &mut Cuts) -> mlua::Result<Identity> {
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
    let version =
        |name: &str, default: u32| -> mlua::Result<u32> { Ok(number(&id.get(name)?).map_or(default, |n| n as u32)) };
    let (name, author) = (cuts.name("id.name", &id.get("name")?), cuts.name("id.author", &id.get("author")?));
    Ok(Identity {
        name: name.map_or(default_name, shown),
        description: cuts.description("id.description", &id.get("description")?).map(shown).unwrap_or_default(),
        author: author.map_or_else(|| "Unleash".to_owned(), shown),
        version: (version("version_major", 1)?, version("version_minor", 0)?),
        clsid: guid(&id.get("clsid")?),
    })
}

fn read_subscriptions(plugin: &Table, remarks: &mut Vec<Remark>) -> mlua::Result<Subscriptions> {
    let Value::Table(list) = plugin.get::<Value>("message_subscriptions")? else { return Ok(Subscriptions::All) };
    let (mut ids, mut bad) = (Vec::new(), 0);
    for index in 1..=list.raw_len().min(MAX_SUBSCRIPTIONS) {
        match guid(&list.get(index)?) {
            Some(id) => ids.push(id),
            None => {
                bad += 1;
                if bad <= BAD_ONES_TOLD {
                    remarks.push(Remark::BadSubscription(index));
                }
            }
        }
    }
    if bad > BAD_ONES_TOLD {
        remarks.push(Remark::MoreBadSubscriptions(bad - BAD_ONES_TOLD));
    }
    if list.raw_len() > MAX_SUBSCRIPTIONS {
        remarks.push(Remark::TooMany { field: "message_subscriptions", limit: MAX_SUBSCRIPTIONS });
    }
    Ok(Subscriptions::Listed(ids))
}

/// Reads one block; a block with something missing is remarked on and left out.
fn read_block(
    kind: PluginKind,
    spelling: &'static str,
    table: &Table,
    manifest: &mut Manifest,
    cuts: &mut Cuts,
) -> mlua::Result<()> {
    let mut block = Block { kind, spelling, protocol: None, flow_counter: false, bound: Vec::new(), tracker: None };
    let definition = match kind {
        PluginKind::CounterGroup => {
            read_counter_group(table, &mut manifest.remarks, cuts)?.map(|group| Some(Definition::Counter(group)))
        }
        PluginKind::ResourceGroup => read_group(table, GroupKind::Resource, cuts)?.map(Some),
        PluginKind::AlertGroup => read_group(table, GroupKind::Alert, cuts)?.map(Some),
        PluginKind::ProtocolHandler => read_protocol(table, &mut manifest.remarks, cuts)?.map(|protocol| {
            block.protocol = Some(protocol.guid);
            Some(Definition::Protocol(protocol))
        }),
        PluginKind::SimpleCounter => {
            block.protocol = guid(&table.get("protocol_guid")?);
            block.flow_counter = matches!(table.get::<Value>("flow_counter")?, Value::Boolean(true));
            block.protocol.map(|_| None).ok_or(Remark::BadField("simplecounter.protocol_guid"))
        }
        PluginKind::FlowTracker => read_tracker(table, cuts)?.map(|tracker| {
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

fn read_group(table: &Table, kind: GroupKind, cuts: &mut Cuts) -> Read<Definition> {
    let (missing_control, missing_guid, missing_name, described) = match kind {
        GroupKind::Alert => (
            "alertgroup.control",
            "alertgroup.control.guid",
            "alertgroup.control.name",
            "alertgroup.control.description",
        ),
        _ => (
            "resourcegroup.control",
            "resourcegroup.control.guid",
            "resourcegroup.control.name",
            "resourcegroup.control.description",
        ),
    };
    let control = match control(table, missing_control)? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(guid) = guid(&control.get("guid")?) else { return Ok(Err(Remark::BadField(missing_guid))) };
    let Some(name) = cuts.name(missing_name, &control.get("name")?) else {
        return Ok(Err(Remark::BadField(missing_name)));
    };
    let description = cuts.description(described, &control.get("description")?).unwrap_or_default();
    Ok(Ok(Definition::Group { kind, guid, name, description }))
}

fn read_counter_group(table: &Table, remarks: &mut Vec<Remark>, cuts: &mut Cuts) -> Read<CounterGroupDefinition> {
    let control = match control(table, "countergroup.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(identity) = guid(&control.get("guid")?) else {
        return Ok(Err(Remark::BadField("countergroup.control.guid")));
    };
    let named = "countergroup.control.name";
    let Some(name) = cuts.name(named, &control.get("name")?) else { return Ok(Err(Remark::BadField(named))) };
    let described = "countergroup.control.description";
    let description = cuts.description(described, &control.get("description")?).unwrap_or_default();
    let mut meters = Vec::new();
    if let Value::Table(rows) = table.get::<Value>("meters")? {
        for (index, row) in rows.sequence_values::<Value>().enumerate() {
            let Value::Table(row) = row? else { continue };
            if meters.len() == MAX_METER_ROWS {
                remarks.push(Remark::TooMany { field: "countergroup.meters", limit: MAX_METER_ROWS });
                break;
            }
            cuts.begin_row(index + 1);
            meters.push(cuts.meter("countergroup.meters", &row)?);
        }
        cuts.begin_row(0);
    }
    Ok(Ok(CounterGroupDefinition {
        guid: identity,
        name,
        description,
        bucketsize: number(&control.get("bucketsize")?),
        topper_bucketsize: number(&control.get("topper_bucketsize")?),
        resolver: guid(&control.get("resolver_guid")?),
        meters,
        keyinfo: read_labels(table, remarks, cuts)?,
    }))
}

/// The fixed labels of a group's keys.
fn read_labels(table: &Table, remarks: &mut Vec<Remark>, cuts: &mut Cuts) -> mlua::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let field = "countergroup.keyinfo";
    let (mut labels, mut bytes) = (Vec::new(), 0);
    let Value::Table(rows) = table.get::<Value>("keyinfo")? else { return Ok(labels) };
    for (index, row) in rows.sequence_values::<Value>().enumerate() {
        let Value::Table(row) = row? else { continue };
        if labels.len() == MAX_LABELS {
            remarks.push(Remark::TooMany { field, limit: MAX_LABELS });
            break;
        }
        let (key, label): (Value, Value) = (row.get(1)?, row.get(2)?);
        cuts.begin_row(index + 1);
        let (Some(key), Some(label)) = (cuts.key(field, &key), cuts.label(field, &label)) else { continue };
        bytes += key.len() + label.len();
        if bytes > MAX_LABEL_BYTES {
            remarks.push(Remark::TooMuchText(labels.len()));
            break;
        }
        labels.push((key, label));
    }
    cuts.begin_row(0);
    Ok(labels)
}

fn read_protocol(table: &Table, remarks: &mut Vec<Remark>, cuts: &mut Cuts) -> Read<ProtocolDefinition> {
    let control = match control(table, "protocol_handler.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let Some(identity) = guid(&control.get("guid")?) else {
        return Ok(Err(Remark::BadField("protocol_handler.control.guid")));
    };
    let named = "protocol_handler.control.name";
    let Some(name) = cuts.name(named, &control.get("name")?) else { return Ok(Err(Remark::BadField(named))) };
    let mut numbers = Vec::new();
    if let Value::Table(list) = control.get::<Value>("host_protocol_ports")? {
        for (index, value) in list.sequence_values::<Value>().enumerate() {
            if index == MAX_NUMBERS {
                let field = "protocol_handler.control.host_protocol_ports";
                remarks.push(Remark::TooMany { field, limit: MAX_NUMBERS });
                break;
            }
            if let Some(n) = number(&value?).filter(|n| (0.0..=65535.0).contains(n)) {
                numbers.push(n as u32);
            }
        }
    }
    Ok(Ok(ProtocolDefinition {
        guid: identity,
        name: shown(name),
        host: guid(&control.get("host_protocol_guid")?),
        numbers,
    }))
}

fn read_tracker(table: &Table, cuts: &mut Cuts) -> Read<TrackerControl> {
    let control = match control(table, "flowtracker.control")? {
        Ok(control) => control,
        Err(remark) => return Ok(Err(remark)),
    };
    let named = "flowtracker.control.name";
    let Some(name) = cuts.name(named, &control.get("name")?) else { return Ok(Err(Remark::BadField(named))) };
    let whole = |field: &str, default: f64| -> mlua::Result<u32> {
        let value = number(&control.get(field)?).filter(|value| *value >= 1.0).unwrap_or(default);
        Ok(value.round() as u32)
    };
    let described = cuts.description("flowtracker.control.description", &control.get("description")?);
    Ok(Ok(TrackerControl {
        name: shown(name),
        description: described.map(shown).unwrap_or_default(),
        bucketsize: whole("bucketsize", 300.0)?,
        count: whole("count", 100.0)?,
    }))
}

/// Fields that hold a table with callbacks but are no block: probably a slip of the keyboard, which only `check` tells.
fn look_for_mistyped(plugin: &Table, manifest: &mut Manifest) -> mlua::Result<()> {
    let mut unknown = Vec::new();
    for pair in plugin.pairs::<Value, Value>().take(MAX_FIELDS) {
        let (Value::String(name), Value::Table(_)) = pair? else { continue };
        if name.as_bytes().len() > LONGEST_FIELD {
            continue;
        }
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

/// A text for people.
fn shown(text: Vec<u8>) -> String {
    String::from_utf8(text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn guid(value: &Value) -> Option<Guid> {
    match value {
        Value::String(text) => Guid::parse(&text.as_bytes()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Definition, Remark, Subscriptions, read};
    use crate::metrics::Column;
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

    /// A file whose texts have a million bytes and whose lists have more entries than anybody reads.
    const TOO_MUCH: &str = r#"(function()
        local long = ('x'):rep(1000000)
        local function list(length, entry) local l = {} for i = 1, length do l[i] = entry end return l end
        return {
            id = { name = long, description = long, author = long, version_major = long },
            message_subscriptions = list(5000, long),
            countergroup = { control = { guid = "{0B1C2D3E-0000-4000-8000-00000000ABCD}", name = long, description = long,
                bucketsize = long }, meters = list(100000, { 0, 2, 20, 0, long, long, long }),
                keyinfo = list(100000, { long, ('y'):rep(1000) }) },
            alertgroup = { control = { guid = "{0B1C2D3E-0000-4000-8000-00000000ABCE}", name = long, description = long } },
            protocol_handler = { control = { guid = "{AAAAAAAA-0000-0000-0000-000000000001}", name = long,
                host_protocol_ports = list(100000, 53) } },
            flowtracker = { control = { name = long, description = long } },
            [long] = {},
        } end)()"#;

    #[test]
    fn of_texts_and_lists_without_end_the_beginning_is_kept() {
        let (_lua, t) = table(TOO_MUCH);
        let manifest = read(&t, "big.lua").unwrap();
        let id = &manifest.id;
        assert_eq!((id.name.len(), id.description.len(), id.author.len(), id.version), (255, 32_767, 255, (1, 0)));
        assert!(manifest.subscriptions == Subscriptions::Listed(Vec::new()));
        let [Definition::Counter(group), Definition::Group { name, description, .. }, Definition::Protocol(protocol)] =
            &manifest.definitions[..]
        else {
            panic!("three definitions: {:?}", manifest.definitions.len())
        };
        assert_eq!((group.name.len(), group.description.len(), group.bucketsize), (255, 32_767, None));
        assert_eq!(group.meters.len(), 256);
        let lengths = |row: &[Column]| -> Vec<usize> {
            row.iter().map(|column| if let Column::Text(text) = column { text.len() } else { 0 }).collect()
        };
        assert_eq!(lengths(&group.meters[0]), [0, 0, 0, 0, 255, 32_767, 255]);
        assert_eq!(group.keyinfo.len(), (16 << 20) / (255 + 1_000));
        assert_eq!((name.len(), description.len()), (255, 32_767));
        assert_eq!((protocol.name.len(), protocol.numbers.len()), (255, 65_536));
        let tracker = manifest.blocks.iter().find_map(|block| block.tracker.as_ref()).unwrap();
        assert_eq!((tracker.name.len(), tracker.description.len()), (255, 32_767));
    }

    #[test]
    fn what_is_left_out_is_said_once_for_each_list_and_once_for_all_texts() {
        let (_lua, t) = table(TOO_MUCH);
        let manifest = read(&t, "big.lua").unwrap();
        let limits: Vec<String> =
            manifest.remarks.iter().filter(|remark| remark.is_limit()).map(ToString::to_string).collect();
        assert_eq!(limits.len(), 5, "{limits:?}");
        assert_eq!(limits[0], "message_subscriptions has more than 4096 entries; the first 4096 are used");
        let texts = limits.iter().find(|text| text.starts_with("texts too long: ")).unwrap();
        assert!(texts.contains("id.name has 1000000 bytes, of which the first 255 are used"), "{texts}");
        assert!(texts.len() < 400, "{texts}");
        assert_eq!(manifest.remarks.len(), 5 + 10 + 1, "ten bad subscriptions and the number of the others");
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
