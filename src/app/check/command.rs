//! From paths to a verdict.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};

use super::finding::{Finding, Findings, Severity, Verdict};
use super::loading::{Loading, check_library};
use crate::app::cli::{CheckArgs, PluginArgs};
use crate::app::run;
use crate::app::screen::Screen;
use crate::app::settings;
use crate::app::watch;
use crate::app::{Outcome, OwnFault};
use crate::plugin::{
    Attempt, Catalog, Found, HostSettings, Known, OnStuck, Script, SkipReason, Skipped, discover, persevere,
};

/// Checks the plugins of the paths given.
///
/// # Errors
/// When a path does not exist or holds nothing to check, a thread cannot be started, or the output cannot be written.
pub fn check(args: &CheckArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let plugins = PluginArgs { plugin: args.paths.clone(), ..PluginArgs::default() };
    let host = settings::host_settings(&plugins, None)?;
    watch::end_at_once()?;
    // Only what was named: plugins of the standard directories are somebody else's.
    let found = discover(&args.paths, &[])?;
    if found.scripts.is_empty() && found.skipped.is_empty() {
        let paths: Vec<String> = args.paths.iter().map(|path| path.display().to_string()).collect();
        bail!("{}: no plugin to check; files that end in .lua are looked at", paths.join(", "));
    }
    let verdict = verdict(args, found, host)?;
    if args.json {
        screen.json(&verdict.document())?;
    } else {
        verdict.text(screen)?;
    }
    Ok(if verdict.number(Severity::Error) > 0 { Outcome::Flawed } else { Outcome::Good })
}

/// Looks at the files that were found. One that does not come back from a C function keeps none of the others from it.
fn verdict(args: &CheckArgs, found: Found, host: HostSettings) -> anyhow::Result<Verdict> {
    let named: BTreeSet<PathBuf> = args.paths.iter().cloned().collect();
    let catalog = run::probe(found.scripts, &host)?;
    let skipped = found.skipped;
    let known = Known::default();
    let work = move |attempt: &Attempt| {
        let its = attempt.clone();
        let on_stuck: OnStuck = Arc::new(move |at| _ = its.gives_up(at.file));
        let host = HostSettings { on_stuck, ..host.clone() };
        examine(&catalog, &skipped, &named, &host, (attempt, &known))
    };
    Ok(persevere("check", work).context("starting a thread")?.map_err(|_| OwnFault)?)
}

/// Looks at every file; runs on a thread with a stack for Lua.
fn examine(
    catalog: &Catalog,
    skipped: &[Skipped],
    named: &BTreeSet<PathBuf>,
    host: &HostSettings,
    (attempt, known): (&Attempt, &Known<Vec<Finding>>),
) -> Verdict {
    let mut findings = Vec::new();
    let mut files = catalog.entries.len();
    let loading = Loading::new(catalog, host);
    for entry in &catalog.entries {
        // Somebody else goes on with the rest.
        if attempt.is_over() {
            break;
        }
        let path = &entry.script.path;
        findings.extend(if attempt.leaves_out(path) {
            loading.given_up(entry).sorted()
        } else {
            known.of(path).unwrap_or_else(|| {
                let found = loading.check(entry).sorted();
                known.keep(attempt, path, &found);
                found
            })
        });
    }
    for skipped in skipped {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::{CheckArgs, PluginArgs, Severity, settings, verdict};
    use crate::plugin::{Found, Script};

    #[test]
    fn a_file_that_hangs_in_onload_is_a_finding_and_the_others_are_checked() {
        let mut host = settings::host_settings(&PluginArgs::default(), None).unwrap();
        host.load_budget.limit = Some(Duration::from_millis(100));
        let script = |name: &str, onload: &str| {
            let block =
                "simplecounter = { protocol_guid = '{0A2C724B-5B9F-4BA6-9C97-B05080558574}', onpacket = print }";
            let text = format!(
                "TrisulPlugin = {{ id = {{ name = 'x', description = 'y' }},\n onload = function() {onload} end, {block} }}"
            );
            Script { path: PathBuf::from(name), source: text.into_bytes() }
        };
        let hang = "local _ = ('a'):rep(40):find(('a*'):rep(40) .. 'b')";
        let scripts = vec![script("good.lua", ""), script("hangs.lua", hang), script("bad.lua", "error('here')")];
        let args = CheckArgs { paths: Vec::new(), json: false };
        let verdict = verdict(&args, Found { scripts, ..Found::default() }, host).unwrap();
        let text = verdict.document().to_string();
        assert_eq!((verdict.files, verdict.number(Severity::Error)), (3, 2), "{text}");
        assert!(
            text.contains("does not return from a C function while it is loaded") && text.contains("here"),
            "{text}"
        );
    }
}
