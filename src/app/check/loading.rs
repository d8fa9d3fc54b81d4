//! Loads a plugin as the pipeline would, on an engine without packets, and looks at what it left behind.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use memchr::memmem;
use mlua::{Table, Value};

use super::fields;
use super::finding::{Findings, Severity};
use super::guids::{self, KnownGuids};
use super::inspect::{GlobalName, Inspector, Left, LostVariable};
use super::locals;
use crate::api::{EngineContext, LogLevel, Peers, Record, modules};
use crate::guid::Guid;
use crate::job::{Delivery, JobIds};
use crate::lua::{PluginError, Tokens, Vm, VmOptions};
use crate::metrics::{Shard, ShardConfig};
use crate::plugin::{
    Block, Catalog, CatalogEntry, HostSettings, Instance, JobPlan, LoadFailure, PluginKind, Remark, Script, Seat, Side,
    note_of,
};

/// What the files of one check are loaded with.
pub struct Loading<'a> {
    catalog: &'a Catalog,
    settings: &'a HostSettings,
    engine: Rc<EngineContext>,
    jobs: JobPlan,
    known: KnownGuids<'a>,
}

impl<'a> Loading<'a> {
    /// An engine without packets, with pools whose threads start only if a file schedules work while it is loaded.
    #[must_use]
    pub fn new(catalog: &'a Catalog, settings: &'a HostSettings) -> Self {
        let shard = Shard::new(&catalog.groups, ShardConfig::default());
        let peers = Peers::connect(1).pop().expect("as many ends as engines");
        let (groups, protocols) = (Arc::clone(&catalog.groups), Arc::clone(&catalog.protocols));
        Self {
            catalog,
            settings,
            engine: Rc::new(EngineContext::new(0, shard, groups, protocols, peers)),
            jobs: JobPlan { pools: catalog.pools(settings), ids: JobIds::new(0), delivery: Delivery::InOrder },
            known: KnownGuids::of(catalog),
        }
    }

    /// Everything that can be said about one file.
    #[must_use]
    pub fn check(&self, entry: &CatalogEntry) -> Findings {
        let mut findings = Findings::of(entry.script.path.display().to_string());
        let tokens = Tokens::of(&entry.script.source);
        let uses = match compiled(&entry.script, self.settings) {
            Ok(uses) => uses,
            Err(error) => {
                fault("", &error, &entry.script, &mut findings);
                return findings;
            }
        };
        self.notes(entry, &tokens, &mut findings);
        let live = match (&entry.error, &entry.manifest) {
            (Some(error), _) => {
                fault("", error, &entry.script, &mut findings);
                None
            }
            (None, Some(manifest)) => {
                guids::check(&tokens, &self.known, simplecounter_protocol(&manifest.blocks), &mut findings);
                locals::lost_locals(&tokens).into_iter().for_each(|lost| left_behind(lost, &mut findings));
                self.load_blocks(entry, &manifest.blocks, &tokens, &mut findings)
            }
            (None, None) => {
                let message = "leaves no TrisulPlugin table behind, so it is not used as a plugin";
                findings.add(Severity::Warning, 1, message, "a plugin sets the global TrisulPlugin = { ... }");
                None
            }
        };
        fields::globals(&uses, live.as_ref().map(|live| &live.globals), &mut findings);
        if let Some(live) = live {
            fields::fields_of_t(&tokens, &live.t, &mut findings);
        }
        findings
    }

    /// What can be said about a file that did not come back when it was loaded.
    #[must_use]
    pub fn given_up(&self, entry: &CatalogEntry) -> Findings {
        let mut findings = Findings::of(entry.script.path.display().to_string());
        let tokens = Tokens::of(&entry.script.source);
        self.notes(entry, &tokens, &mut findings);
        let line = tokens.line_of_field(&["onload"]);
        let advice = "a pattern, a command or a file that is waited for; in a run this ends the run";
        findings.add(Severity::Error, line, "does not return from a C function while it is loaded", advice);
        findings
    }

    /// What was noticed when the file was probed.
    fn notes(&self, entry: &CatalogEntry, tokens: &Tokens, findings: &mut Findings) {
        let remarks = entry.manifest.iter().flat_map(|manifest| &manifest.remarks);
        let mut said = BTreeSet::new();
        for remark in remarks {
            let (severity, advice) = explain(remark);
            said.insert(note_of(&entry.script, tokens, remark));
            findings.add(severity, remark.line(tokens), remark.to_string(), advice);
        }
        let skipped = entry.manifest.is_none();
        for note in self.catalog.notes.iter().filter(|note| note.script == entry.id && !skipped) {
            let severity = match note.level {
                LogLevel::Warn => Severity::Warning,
                level if level < LogLevel::Warn => Severity::Error,
                _ => Severity::Note,
            };
            // A note on a block begins with its name.
            let first = note.text.split(':').next().unwrap_or_default();
            if !said.contains(&note.text) {
                findings.add(severity, tokens.line_of_field(&[first]), note.text.clone(), "");
            }
        }
    }

    /// Loads each block that has a VM in a run; a file of definitions alone is loaded once.
    fn load_blocks(
        &self,
        entry: &CatalogEntry,
        blocks: &[Block],
        tokens: &Tokens,
        findings: &mut Findings,
    ) -> Option<Live> {
        let with_callbacks = blocks.iter().filter(|block| block.kind.side() != Side::Definition);
        let mut chosen: Vec<&Block> = with_callbacks.collect();
        if chosen.is_empty() {
            chosen.extend(blocks.first());
        }
        let mut live = None;
        for (order, block) in chosen.into_iter().enumerate() {
            // What fails in one VM fails in the next, perhaps only after all the time it has.
            live = Some(self.load(entry, block, order as u32, tokens, findings)?);
        }
        live
    }

    /// Loads one block, looks at it, unloads it.
    fn load(
        &self,
        entry: &CatalogEntry,
        block: &Block,
        order: u32,
        tokens: &Tokens,
        findings: &mut Findings,
    ) -> Option<Live> {
        let file = Rc::new(entry.plugin_file(self.settings));
        let seat = Seat { group: block.monitored(&self.catalog.groups).next(), ..Seat::new(block.kind, order) };
        let loaded = Instance::load(&file, seat, &self.engine, self.settings, &self.jobs);
        let live = match loaded {
            Ok((mut instance, table)) => {
                let live = look(&instance, block, &table, self.settings, tokens, findings);
                instance.unload();
                match live {
                    Ok(live) => Some(live),
                    Err(error) => {
                        let message = format!("could not be looked at any further: {}", error.message);
                        findings.add(Severity::Note, 1, message, "");
                        None
                    }
                }
            }
            Err(LoadFailure::Declined) => {
                let line = tokens.line_of_field(&["onload"]);
                let advice = "this is fine if the plugin is not meant for this machine";
                findings.add(Severity::Note, line, "onload returned false, so nothing of it is used", advice);
                None
            }
            Err(LoadFailure::Fault("load", error)) => {
                fault("", &error, &entry.script, findings);
                None
            }
            Err(LoadFailure::Fault(stage, error)) => {
                fault(stage, &error, &entry.script, findings);
                None
            }
        };
        self.records(entry, tokens, findings);
        live
    }

    /// What the file logged and how it failed while it was loaded and unloaded.
    fn records(&self, entry: &CatalogEntry, tokens: &Tokens, findings: &mut Findings) {
        let records = std::mem::take(&mut *self.engine.records.borrow_mut());
        let mut failed = BTreeSet::new();
        for (_, record) in &records {
            if let Record::Fault { callback, message, .. } = record {
                failed.insert(callback.as_str());
                let error = PluginError::caught(message.as_bytes(), b"");
                fault(callback, &error, &entry.script, findings);
            }
        }
        for (_, record) in &records {
            let Record::Log { level, text } = record else { continue };
            let text = String::from_utf8_lossy(text);
            let of_fault = failed.iter().any(|callback| text.starts_with(&format!("{callback}: ")));
            if *level <= LogLevel::Warn && !of_fault {
                let line = tokens.line_of_field(&["onload"]);
                findings.add(Severity::Note, line, format!("logs while it is loaded: {text}"), "");
            }
        }
    }
}

/// What exists in a VM once the file is loaded.
struct Live {
    globals: BTreeSet<String>,
    t: BTreeSet<String>,
}

/// The globals a file uses, from its compiled code; nothing is executed.
fn compiled(script: &Script, settings: &HostSettings) -> Result<Vec<GlobalName>, PluginError> {
    let vm =
        Vm::new(&VmOptions { name: script.name(), memory_limit: settings.memory_limit, package_path: Vec::new() })?;
    let chunk = vm.load(&script.source, &format!("@{}", script.path.display()))?;
    Inspector::new(&vm, settings.load_budget)?.globals(&chunk)
}

/// Says what keeps a library from being compiled; nothing is executed.
pub fn check_library(script: &Script, settings: &HostSettings, findings: &mut Findings) {
    match compiled(script, settings) {
        Ok(uses) => fields::globals(&uses, None, findings),
        Err(error) => fault("", &error, script, findings),
    }
}

fn look(
    instance: &Instance,
    block: &Block,
    table: &Table,
    settings: &HostSettings,
    tokens: &Tokens,
    findings: &mut Findings,
) -> Result<Live, PluginError> {
    let inspector = Inspector::new(instance.vm(), settings.load_budget)?;
    let globals = instance.vm().lua().globals();
    let names = |table: &Table| -> Result<BTreeSet<String>, PluginError> {
        Ok(inspector.fields(table)?.into_iter().map(|(name, _)| name).collect())
    };
    let t = match globals.get::<Value>("T")? {
        Value::Table(t) => names(&t)?,
        _ => BTreeSet::new(),
    };
    let live = Live { globals: names(&globals)?, t };
    fields::block(block.kind, block.spelling, &inspector.fields(table)?, tokens, findings);
    let Value::Table(plugin) = globals.get::<Value>("TrisulPlugin")? else { return Ok(live) };
    fields::plugin(&inspector.fields(&plugin)?, tokens, findings);
    for (name, value) in inspector.fields(&plugin)? {
        if value != "table" || PluginKind::from_name(&name).is_none() {
            continue;
        }
        if let Value::Table(control) = plugin.get::<Table>(name.as_str())?.get::<Value>("control")? {
            fields::control(&name, &inspector.fields(&control)?, tokens, findings);
        }
    }
    inspector.lost_variables(&plugin)?.into_iter().for_each(|lost| left_behind(lost, findings));
    Ok(live)
}

fn left_behind(lost: LostVariable, findings: &mut Findings) {
    // In the words of a run that comes across it.
    let (left, advice) = match lost.left {
        Left::BareTable => ("the table arrives without it", "call setmetatable inside onexecute, or leave it out"),
        Left::Nil => ("it is nil there", "make it inside onexecute, or put what is needed into data"),
    };
    let message = format!("onexecute: {}, which cannot be sent to a worker; {left}", lost.reason);
    findings.add(Severity::Warning, lost.line, message, advice);
}

fn simplecounter_protocol(blocks: &[Block]) -> Option<Guid> {
    blocks.iter().find(|block| block.kind == PluginKind::SimpleCounter).and_then(|block| block.protocol)
}

/// How bad a remark is, where it belongs, and what to do.
fn explain(remark: &Remark) -> (Severity, &'static str) {
    match remark {
        Remark::NoId => (Severity::Warning, "add: id = { name = \"...\", description = \"...\" },"),
        Remark::BothSpellings(..) => (Severity::Warning, "keep one of them"),
        Remark::NotATable(_) => (Severity::Error, "write it as a table: { ... }"),
        Remark::BadField(path) if path.ends_with("guid") => (
            Severity::Error,
            "it is text such as \"{XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX}\"; for a new one: millstream guid",
        ),
        Remark::BadField(path) if path.ends_with("name") => (Severity::Error, "it is a text: name = \"...\""),
        Remark::BadField(_) => (Severity::Error, "it is a table: control = { guid = \"{...}\", name = \"...\" }"),
        Remark::BadSubscription(_) | Remark::MoreBadSubscriptions(_) => {
            (Severity::Warning, "for a new one: millstream guid")
        }
        Remark::Cut(_) => (Severity::Warning, "make it shorter: what is left out is seen nowhere"),
        Remark::TooMany { .. } | Remark::TooMuchText(_) => (Severity::Warning, "the others are left out"),
        Remark::UnknownBlock(..) => (Severity::Warning, "rename it, or leave it if it is switched off on purpose"),
    }
}

/// Adds a failure of plugin code at the line where it happened in the file.
fn fault(stage: &str, error: &PluginError, script: &Script, findings: &mut Findings) {
    let file = script.name();
    let (line, message) = match located(&error.message, &file) {
        Some((line, rest)) => (line, rest.to_owned()),
        // It happened elsewhere, as in a library: where this file called it is in the traceback.
        None => (
            error.traceback.lines().find_map(|frame| located(frame, &file)).map_or(1, |(line, _)| line),
            error.message.clone(),
        ),
    };
    // An importer that opens the file it is told of does well not to find one here.
    let without_argument = !stage.is_empty() && memmem::find(&script.source, b"T.args").is_some();
    let stage = if stage.is_empty() { String::new() } else { format!("{stage}: ") };
    let (message, advice) = match missing_module(&message) {
        Some(name) => (format!("there is no module '{name}'"), advice_on_module(name)),
        None if without_argument => {
            let advice = "T.args is empty here; in a run it is what follows --args";
            return findings.add(Severity::Warning, line, format!("{stage}{message}"), advice);
        }
        None => (message, String::new()),
    };
    findings.add(Severity::Error, line, format!("{stage}{message}"), advice);
}

/// The module that `require` did not find, from its message with all the places it looked at.
fn missing_module(message: &str) -> Option<&str> {
    message.strip_prefix("module '")?.split_once("' not found:").map(|(name, _)| name)
}

/// What to do about a module that is missing. File systems that do not tell cases apart let scripts get away with `json`.
fn advice_on_module(name: &str) -> String {
    let place =
        format!("put {name}.lua beside this file or into its folder helpers, or name its folder: MILLSTREAM_LUA_PATHS");
    match modules::MODULES.iter().find(|module| module.name.eq_ignore_ascii_case(name)) {
        Some(module) => format!("write '{}', which is built in, or {place}", module.name),
        None => format!("{place}; a rock is installed with: luarocks --lua-version 5.1 install {name}"),
    }
}

/// Line and text of `file:line: text`. The VM cuts long paths at their beginning, so only the file's name is looked for.
fn located<'a>(message: &'a str, file: &str) -> Option<(u32, &'a str)> {
    let (at, _) = message.match_indices(file).next()?;
    let head = &message[..at];
    // The name must be the end of the leading path, not something quoted in the text.
    if head.contains(": ") {
        return None;
    }
    let rest = message[at + file.len()..].strip_prefix(':')?;
    let (line, text) = rest.split_once(':')?;
    Some((line.parse().ok()?, text.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{advice_on_module, located, missing_module};

    #[test]
    fn a_missing_module_is_named_without_the_places_it_is_not_at() {
        assert_eq!(missing_module("module 'a.b' not found:\n\tno field"), Some("a.b"));
        assert_eq!(missing_module("attempt to call a nil value"), None);
    }

    #[test]
    fn the_name_of_a_built_in_module_is_told_to_who_spelt_it_otherwise() {
        assert!(advice_on_module("json").starts_with("write 'JSON', which is built in, or put json.lua beside"));
        assert!(advice_on_module("mine").starts_with("put mine.lua beside"));
    }

    #[test]
    fn the_line_is_found_behind_whole_and_cut_paths() {
        assert_eq!(located("a/p.lua:12: x: y", "p.lua"), Some((12, "x: y")));
        assert_eq!(located("...long/p.lua:3: in function 'f'", "p.lua"), Some((3, "in function 'f'")));
        assert_eq!(located("lib.lua:3: bad p.lua:9: x", "p.lua"), None);
        assert_eq!(located("not enough memory", "p.lua"), None);
    }
}
