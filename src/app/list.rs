//! `millstream list`: which plugins are found, what each contains, and why others are not loaded.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Outcome;
use super::cli::PluginArgs;
use super::run;
use super::screen::{Paint, Screen, columns, count};
use super::settings;
use super::watch;
use crate::api::LogLevel;
use crate::job::FunctionInfo;
use crate::plugin::{Block, Catalog, CatalogEntry, Definition, Manifest, PluginKind, Side, Skipped, discover};
use crate::shell::typed;

/// What was found.
struct Found {
    catalog: std::sync::Arc<Catalog>,
    skipped: Vec<Skipped>,
    searched: Vec<PathBuf>,
}

/// Lists the plugins of the paths given, and of the standard directories.
///
/// # Errors
/// When a path does not exist or the output cannot be written.
pub fn list(args: &PluginArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let host = settings::host_settings(args, None)?;
    watch::end_at_once()?;
    let searched = discover(&args.plugin, &host.search)?;
    let catalog = run::probe(searched.scripts, &host)?;
    let mut paths = args.plugin.clone();
    paths.extend(host.search.iter().filter(|path| !args.plugin.contains(path)).cloned());
    let found = Found { catalog, skipped: searched.skipped, searched: paths };
    if args.json {
        screen.json(&document(&found))?;
    } else {
        text(&found, screen)?;
    }
    let failed = found.catalog.entries.iter().any(|entry| entry.error.is_some());
    Ok(if failed { Outcome::Flawed } else { Outcome::Good })
}

fn text(found: &Found, screen: &mut Screen<'_>) -> io::Result<()> {
    let entries = &found.catalog.entries;
    let loaded: Vec<(usize, &CatalogEntry, &Manifest)> = entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| Some((index + 1, entry, entry.manifest.as_ref()?)))
        .collect();
    if entries.is_empty() {
        writeln!(screen, "no plugins found; looked in:")?;
        for path in &found.searched {
            let state = if path.exists() { "" } else { "  (does not exist)" };
            writeln!(screen, "  {}{state}", path.display())?;
        }
        writeln!(screen, "name a file or directory, as in: millstream list -p plugins")?;
    }
    plugins(found, &loaded, screen)?;
    not_loaded(found, screen)?;
    Ok(())
}

/// A table of the plugins that load, then what each of them defines and what was noticed.
fn plugins(found: &Found, loaded: &[(usize, &CatalogEntry, &Manifest)], screen: &mut Screen<'_>) -> io::Result<()> {
    if loaded.is_empty() {
        return Ok(());
    }
    let heading = ["", "plugin", "version", "blocks", "workers", "file"].map(str::to_owned).to_vec();
    let mut rows = vec![heading];
    for (order, entry, manifest) in loaded {
        rows.push(vec![
            format!("{order:>3}"),
            manifest.id.name.clone(),
            version(manifest),
            blocks(manifest),
            manifest.workers.to_string(),
            entry.script.path.display().to_string(),
        ]);
    }
    let lines = columns(&rows);
    let heading = screen.paint(Paint::Strong, &lines[0]);
    writeln!(screen, "{heading}")?;
    for line in &lines[1..] {
        writeln!(screen, "{line}")?;
    }
    let mut rows = Vec::new();
    for (order, _, manifest) in loaded {
        for definition in &manifest.definitions {
            let (kind, guid, name, more) = describe(definition);
            rows.push(vec![format!("{order:>3}"), kind.to_owned(), guid, format!("{name}{more}")]);
        }
    }
    if !rows.is_empty() {
        let heading = screen.paint(Paint::Strong, "definitions");
        writeln!(screen, "\n     {heading}")?;
    }
    for line in columns(&rows) {
        writeln!(screen, "{line}")?;
    }
    functions(loaded, screen)?;
    let notes: Vec<_> = found.catalog.notes.iter().filter(|note| note.level <= LogLevel::Warn).collect();
    let notes: Vec<_> = notes.into_iter().filter(|note| is_loaded(found, note.script)).collect();
    if !notes.is_empty() {
        let heading = screen.paint(Paint::Strong, "noticed");
        writeln!(screen, "\n     {heading}")?;
    }
    for note in notes {
        let paint = if note.level < LogLevel::Warn { Paint::Bad } else { Paint::Doubtful };
        let text = screen.paint(paint, &note.text);
        writeln!(screen, "{:>3}  {text}", usize::from(note.script.0) + 1)?;
    }
    Ok(())
}

/// The functions that `millstream call` can call.
fn functions(loaded: &[(usize, &CatalogEntry, &Manifest)], screen: &mut Screen<'_>) -> io::Result<()> {
    let mut rows = Vec::new();
    for (order, _, manifest) in loaded {
        for function in &manifest.functions {
            let name = format!("{}.{}", manifest.id.name, function.name);
            rows.push(vec![format!("{order:>3}"), name, function.flags().join(", ")]);
        }
    }
    if !rows.is_empty() {
        let heading = screen.paint(Paint::Strong, "functions");
        writeln!(screen, "\n     {heading}")?;
    }
    for line in columns(&rows) {
        writeln!(screen, "{}", line.trim_end())?;
    }
    Ok(())
}

fn is_loaded(found: &Found, script: crate::api::ScriptId) -> bool {
    found.catalog.entries.get(usize::from(script.0)).is_some_and(|entry| entry.manifest.is_some())
}

fn not_loaded(found: &Found, screen: &mut Screen<'_>) -> io::Result<()> {
    let mut rows = Vec::new();
    let without: Vec<&CatalogEntry> = found.catalog.entries.iter().filter(|entry| entry.manifest.is_none()).collect();
    for entry in &without {
        rows.push((entry.script.path.display().to_string(), reason(entry), entry.error.is_some()));
    }
    for skipped in &found.skipped {
        rows.push((skipped.path.display().to_string(), skipped.reason.to_string(), false));
    }
    if rows.is_empty() {
        return Ok(());
    }
    let title = screen.paint(Paint::Strong, "not loaded");
    writeln!(screen, "\n     {title}")?;
    for (path, reason, is_error) in rows {
        let reason = if is_error { screen.paint(Paint::Bad, &reason) } else { reason };
        writeln!(screen, "     {path}: {reason}")?;
    }
    let failed = without.iter().filter(|entry| entry.error.is_some()).count();
    if failed > 0 {
        let files = found.catalog.entries.iter().filter(|entry| entry.error.is_some());
        let files: Vec<String> = files.map(|entry| typed(&entry.script.path)).collect();
        writeln!(screen, "\n{} with errors; for details: millstream check {}", count(failed, "file"), files.join(" "))?;
    }
    Ok(())
}

fn reason(entry: &CatalogEntry) -> String {
    match &entry.error {
        Some(error) => error.message.clone(),
        None => "leaves no TrisulPlugin table behind".to_owned(),
    }
}

fn version(manifest: &Manifest) -> String {
    format!("{}.{}", manifest.id.version.0, manifest.id.version.1)
}

/// The blocks that do something, with the side they run on; definitions have lines of their own.
fn blocks(manifest: &Manifest) -> String {
    let texts: Vec<String> = manifest
        .blocks
        .iter()
        .filter(|block| block.kind.side() != Side::Definition)
        .map(|block| format!("{} ({})", block.kind.name(), side(block.kind)))
        .collect();
    if texts.is_empty() { "definitions only".to_owned() } else { texts.join(", ") }
}

/// What a side is called.
fn side(kind: PluginKind) -> &'static str {
    match kind.side() {
        Side::Definition => "definition",
        Side::Frontend => "frontend",
        Side::Input => "input",
        Side::Shared => "both sides",
        Side::Backend => "backend",
    }
}

/// Kind, GUID, name of a definition, and what else fits on its line.
fn describe(definition: &Definition) -> (&'static str, String, String, String) {
    match definition {
        Definition::Counter(group) => {
            let name = String::from_utf8_lossy(&group.name).into_owned();
            let meters = count(group.meters.len().max(1), "meter");
            ("counter group", group.guid.to_string(), name, format!(" ({meters})"))
        }
        Definition::Group { kind, guid, name, .. } => {
            let kind = if *kind == crate::metrics::GroupKind::Alert { "alert group" } else { "resource group" };
            (kind, guid.to_string(), String::from_utf8_lossy(name).into_owned(), String::new())
        }
        Definition::Protocol(protocol) => {
            let numbers: Vec<String> = protocol.numbers.iter().map(ToString::to_string).collect();
            let more = if numbers.is_empty() { String::new() } else { format!(" ({})", numbers.join(", ")) };
            ("protocol", protocol.guid.to_string(), protocol.name.clone(), more)
        }
    }
}

fn document(found: &Found) -> Value {
    let plugins: Vec<Value> =
        found.catalog.entries.iter().enumerate().map(|(index, entry)| plugin(found, index, entry)).collect();
    let skipped: Vec<Value> = found
        .skipped
        .iter()
        .map(|skipped| json!({ "file": skipped.path.display().to_string(), "reason": skipped.reason.to_string() }))
        .collect();
    let searched: Vec<Value> = found
        .searched
        .iter()
        .map(|path| json!({ "path": path.display().to_string(), "exists": path.exists() }))
        .collect();
    json!({ "plugins": plugins, "skipped": skipped, "searched": searched })
}

fn plugin(found: &Found, index: usize, entry: &CatalogEntry) -> Value {
    let file = entry.script.path.display().to_string();
    let notes: Vec<Value> = found
        .catalog
        .notes
        .iter()
        .filter(|note| note.script == entry.id)
        .map(|note| json!({ "level": note.level.name(), "text": note.text }))
        .collect();
    let Some(manifest) = &entry.manifest else {
        let error = reason(entry);
        return json!({ "order": index + 1, "file": file, "loaded": false, "error": error, "notes": notes });
    };
    json!({
        "order": index + 1,
        "file": file,
        "loaded": true,
        "name": manifest.id.name,
        "description": manifest.id.description,
        "author": manifest.id.author,
        "version": version(manifest),
        "blocks": manifest.blocks.iter().map(block).collect::<Vec<_>>(),
        "workers": manifest.workers,
        "functions": manifest.functions.iter().map(function).collect::<Vec<_>>(),
        "definitions": manifest.definitions.iter().map(definition).collect::<Vec<_>>(),
        "notes": notes,
    })
}

fn function(function: &FunctionInfo) -> Value {
    json!({ "name": function.name, "flags": function.flags() })
}

fn block(block: &Block) -> Value {
    json!({
        "type": block.kind.name(),
        "side": side(block.kind),
        "protocol": block.protocol.map(|guid| guid.to_string()),
    })
}

fn definition(definition: &Definition) -> Value {
    let (kind, guid, name, _) = describe(definition);
    let mut value = json!({ "kind": kind, "guid": guid, "name": name });
    match definition {
        Definition::Counter(group) => value["meters"] = json!(group.meters.len()),
        Definition::Protocol(protocol) => {
            value["host"] = json!(protocol.host.map(|guid| guid.to_string()));
            value["numbers"] = json!(protocol.numbers);
        }
        Definition::Group { .. } => {}
    }
    value
}
