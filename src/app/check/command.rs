//! From paths to a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};

use super::finding::{Finding, Findings, Severity, Verdict};
use super::loading::{Loading, check_library};
use crate::app::Outcome;
use crate::app::cli::{CheckArgs, PluginArgs};
use crate::app::run;
use crate::app::screen::Screen;
use crate::app::settings;
use crate::lua::spawn_lua_thread;
use crate::plugin::{Catalog, Found, HostSettings, Script, SkipReason, Skipped, discover};

/// Checks the plugins of the paths given.
///
/// # Errors
/// When a path does not exist or holds nothing to check, a thread cannot be started, or the output cannot be written.
pub fn check(args: &CheckArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let plugins = PluginArgs { plugin: args.paths.clone(), ..PluginArgs::default() };
    let host = settings::host_settings(&plugins, None)?;
    // Only what was named: plugins of the standard directories are somebody else's.
    let found = discover(&args.paths, &[])?;
    if found.scripts.is_empty() && found.skipped.is_empty() {
        let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
        bail!("{}: no plugin to check; files that end in .lua are looked at", paths.join(", "));
    }
    let named: BTreeSet<PathBuf> = args.paths.iter().cloned().collect();
    let thread = spawn_lua_thread("check", move || examine(found, &named, &host)).context("starting a thread")?;
    let verdict = run::join(thread)?;
    if args.json {
        screen.json(&verdict.document())?;
    } else {
        verdict.text(screen)?;
    }
    Ok(if verdict.number(Severity::Error) > 0 { Outcome::Flawed } else { Outcome::Good })
}

/// Looks at every file; runs on a thread with a stack for Lua.
fn examine(found: Found, named: &BTreeSet<PathBuf>, host: &HostSettings) -> Verdict {
    let mut findings = Vec::new();
    let mut files = found.scripts.len();
    let catalog = Catalog::probe(found.scripts, host);
    let loading = Loading::new(&catalog, host);
    for entry in &catalog.entries {
        findings.extend(loading.check(entry).sorted());
    }
    for skipped in &found.skipped {
        files += 1;
        findings.extend(passed_over(
            skipped,
            if named.contains(&skipped.path) { Origin::Named } else { Origin::Found },
            host,
        ));
    }
    Verdict { files, findings }
}

/// How a file came to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Somebody named it.
    Named,
    /// It lies in a directory that somebody named.
    Found,
}

/// Says why a file is no plugin. Libraries are compiled, so that at least their syntax is known to be right.
fn passed_over(skipped: &Skipped, origin: Origin, host: &HostSettings) -> Vec<Finding> {
    let mut findings = Findings::of(skipped.path.display().to_string());
    if skipped.reason != SkipReason::Library {
        findings.add(Severity::Error, 1, skipped.reason.to_string(), "");
        return findings.sorted();
    }
    match fs::read(&skipped.path) {
        Ok(source) => {
            let script = Script { path: skipped.path.clone(), source };
            check_library(&script, host, &mut findings);
            if origin == Origin::Named {
                let advice = "only its syntax was checked; a plugin sets the global TrisulPlugin = { ... }";
                findings.add(Severity::Note, 1, skipped.reason.to_string(), advice);
            }
        }
        Err(e) => findings.add(Severity::Error, 1, format!("cannot be read: {e}"), ""),
    }
    findings.sorted()
}
