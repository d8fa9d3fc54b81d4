//! `millstream config`: check a file, show what holds, print the sample.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, bail};
use clap::CommandFactory;
use serde_json::{Value, json};

use super::fault::{Fault, Place};
use super::layers::{FILE_VARIABLE, Layered, Origin, layer};
use super::schema::Shape;
use super::{Effective, Schema, file, sample};
use crate::app::Outcome;
use crate::app::cli::{Cli, ConfigArgs, ConfigCommand};
use crate::app::screen::{Paint, Screen, columns, count};

/// Runs the command.
///
/// # Errors
/// When settings that are to be shown cannot be read, or the output not be written.
pub fn command(args: &ConfigArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    match &args.command {
        ConfigCommand::Check { file } => {
            std::fs::metadata(file).with_context(|| format!("{}: cannot be read", file.display()))?;
            Ok(check(file, screen)?)
        }
        ConfigCommand::Sample => {
            screen.write_all(sample().as_bytes())?;
            Ok(Outcome::Good)
        }
        ConfigCommand::Show { config, json, options } => {
            let layered = effective(config.as_deref(), options)?;
            if *json {
                screen.json(&document(&layered))?;
            } else {
                text(&layered, screen)?;
            }
            Ok(Outcome::Good)
        }
    }
}

/// All faults, a line each.
#[must_use]
pub fn listed(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn check(path: &Path, screen: &mut Screen<'_>) -> io::Result<Outcome> {
    let schema = Schema::new();
    let arguments = ["millstream".into(), "run".into(), "--config".into(), path.as_os_str().to_owned()];
    // Variables are left out: the file is what is to be checked.
    let checked = file::read(path, &schema).and_then(|document| layer(&arguments, &[]).map(|_| document));
    match checked {
        Ok(document) => {
            let settings = count(document.given.len() + document.paths.len(), "setting");
            writeln!(screen, "{}: {settings}, {}", path.display(), screen.paint(Paint::Good, "all well"))?;
            Ok(Outcome::Good)
        }
        Err(faults) => {
            for fault in &faults {
                let place = screen.paint(Paint::Strong, &fault.place.to_string());
                writeln!(screen, "{place}: {}", fault.message)?;
            }
            Ok(Outcome::Unusable)
        }
    }
}

/// The settings that would hold for `run` with these options.
fn effective(config: Option<&Path>, options: &[OsString]) -> anyhow::Result<Layered> {
    let mut arguments: Vec<OsString> = vec!["millstream".into(), "run".into()];
    if let Some(config) = config {
        arguments.extend(["--config".into(), config.as_os_str().to_owned()]);
    }
    arguments.extend(options.iter().cloned());
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let layered = layer(&arguments, &variables).map_err(|faults| anyhow::anyhow!(listed(&faults)))?;
    let Some(layered) = layered else { bail!("these are no options of run; see millstream run --help") };
    // What the layers left standing must be a command line that run takes.
    if let Err(error) = Cli::command().try_get_matches_from(&layered.arguments) {
        bail!("{}", error.to_string().trim_start_matches("error: ").trim_end());
    }
    Ok(layered)
}

fn shown(setting: &Effective) -> String {
    match (setting.key.shape, &setting.values[..]) {
        (Shape::Flag, values) => values.first().map_or("false", String::as_str).to_owned(),
        (_, []) => "-".to_owned(),
        (_, values) => values.iter().map(|v| if v.is_empty() { "\"\"" } else { v }).collect::<Vec<_>>().join(", "),
    }
}

fn origin(setting: &Effective) -> String {
    let origin = match &setting.origin {
        Origin::Default => "default".to_owned(),
        Origin::Given(place) => place.to_string(),
        Origin::Variable(name) => name.clone(),
        Origin::Typed => "command line".to_owned(),
    };
    match &setting.remark {
        Some(remark) => format!("{origin} ({remark})"),
        None => origin,
    }
}

fn text(layered: &Layered, screen: &mut Screen<'_>) -> io::Result<()> {
    match layered.file() {
        Some(file) => writeln!(screen, "file: {}", file.display())?,
        None => writeln!(screen, "file: none (--config FILE or {FILE_VARIABLE} names one)")?,
    }
    let row = |setting: &Effective| vec![format!("  {}", setting.key.name), shown(setting), origin(setting)];
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut heads = Vec::new();
    for setting in &layered.settings {
        if heads.last().is_none_or(|(_, section): &(usize, String)| *section != setting.key.section) {
            heads.push((rows.len(), setting.key.section.clone()));
        }
        rows.push(row(setting));
    }
    if !layered.paths.is_empty() {
        heads.push((rows.len(), super::schema::PATHS.to_owned()));
        let place = |place: &Option<Place>| place.as_ref().map(ToString::to_string).unwrap_or_default();
        rows.extend(layered.paths.iter().map(|(path, value, at)| vec![format!("  {path}"), value.clone(), place(at)]));
    }
    for (index, line) in columns(&rows).iter().enumerate() {
        if let Some((_, section)) = heads.iter().find(|(at, _)| *at == index) {
            writeln!(screen, "\n{}", screen.paint(Paint::Strong, &format!("[{section}]")))?;
        }
        writeln!(screen, "{line}")?;
    }
    Ok(())
}

fn document(layered: &Layered) -> Value {
    let from = |place: &Place| match place {
        Place::File { path, line, column } => {
            json!({ "layer": "file", "file": path.display().to_string(), "line": line, "column": column })
        }
        Place::Variable(name) => json!({ "layer": "environment", "name": name }),
        Place::Argument(name) => json!({ "layer": "command line", "name": name }),
    };
    let settings: Vec<Value> = layered
        .settings
        .iter()
        .map(|setting| {
            let value = match (setting.key.shape, &setting.values[..]) {
                (Shape::Flag, values) => json!(values.first().is_some_and(|value| value == "true")),
                (Shape::List, values) => json!(values),
                (Shape::Text, values) => json!(values.first()),
            };
            let origin = match &setting.origin {
                Origin::Default => json!({ "layer": "default" }),
                Origin::Given(place) => from(place),
                Origin::Variable(name) => json!({ "layer": "environment", "name": name }),
                Origin::Typed => json!({ "layer": "command line", "name": format!("--{}", setting.key.option) }),
            };
            json!({ "section": setting.key.section, "key": setting.key.name, "value": value, "origin": origin,
                "remark": setting.remark })
        })
        .collect();
    let paths: Vec<Value> = layered
        .paths
        .iter()
        .map(|(path, value, place)| json!({ "path": path, "value": value, "origin": place.as_ref().map(from) }))
        .collect();
    json!({ "file": layered.file().map(|file| file.display().to_string()), "settings": settings, "paths": paths })
}
