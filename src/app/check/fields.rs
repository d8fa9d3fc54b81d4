//! Names in a plugin that are not the API's: fields of `T`, callbacks, globals.

use std::collections::{BTreeMap, BTreeSet};

use super::api_names::{self, nearest};
use super::finding::{Findings, Severity};
use super::inspect::{GlobalName, GlobalUse};
use crate::lua::Tokens;
use crate::plugin::PluginKind;

/// A field of `T` as the text uses it.
struct Access {
    /// Names behind `T`.
    path: Vec<String>,
    line: u32,
    is_called: bool,
    is_set: bool,
}

/// Looks for fields of `T` that nobody sets. `live` are the fields it has once the file is loaded.
pub fn fields_of_t(tokens: &Tokens, live: &BTreeSet<String>, findings: &mut Findings) {
    if is_replaced(tokens) {
        return;
    }
    let accesses = accesses(tokens);
    let known = api_names::fields_of_t();
    let set: BTreeSet<&str> = accesses.iter().filter(|a| a.is_set).map(|a| a.path[0].as_str()).collect();
    let set_below: BTreeSet<String> = accesses.iter().filter(|a| a.is_set).map(|a| a.path.join(".")).collect();
    // A field that is also looked at without being called is asked for before it is used.
    let asked: BTreeSet<String> =
        accesses.iter().filter(|a| !a.is_called && !a.is_set).map(|a| a.path.join(".")).collect();
    for access in accesses.iter().filter(|access| !access.is_set) {
        let first = access.path[0].as_str();
        let is_known = known.contains(&first) || live.contains(first) || set.contains(first);
        let missing = if is_known {
            missing_below(&access.path, &set_below)
        } else {
            Some((format!("T.{first}"), nearest(first, known.iter().chain(&set).copied())))
        };
        let Some((name, meant)) = missing else { continue };
        let severity = if access.is_called && !asked.contains(&access.path.join(".")) {
            Severity::Error
        } else {
            Severity::Warning
        };
        let meant = meant.map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
        let end = if severity == Severity::Error { "the call fails" } else { "it is nil" };
        findings.add(severity, access.line, format!("there is no {name}, so {end}{meant}"), "");
    }
}

/// The part of a path that does not exist in a table of `T` with fixed fields, and what was probably meant.
fn missing_below(path: &[String], set: &BTreeSet<String>) -> Option<(String, Option<&'static str>)> {
    for depth in 1..path.len() {
        let fields = api_names::fields_of(&path[..depth].join("."))?;
        let name = path[depth].as_str();
        if !fields.contains(&name) {
            let full = path[..=depth].join(".");
            return (!set.contains(&full)).then(|| (format!("T.{full}"), nearest(name, fields)));
        }
    }
    None
}

/// True if `T` is something else in this file, as after `T = {}` or `local T = 5`.
fn is_replaced(tokens: &Tokens) -> bool {
    (0..tokens.len()).any(|at| {
        tokens.name(at) == Some("T")
            && tokens.is(at + 1, "=")
            && tokens.name(at + 2) != Some("T")
            && !(at > 0 && (tokens.is_access(at - 1) || tokens.is(at - 1, "{") || tokens.is(at - 1, ",")))
    })
}

fn accesses(tokens: &Tokens) -> Vec<Access> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let starts = tokens.name(at) == Some("T") && !(at > 0 && tokens.is_access(at - 1));
        if !starts || !tokens.is_access(at + 1) {
            continue;
        }
        let (mut path, mut next) = (Vec::new(), at + 1);
        while let Some(name) = tokens.name(next + 1).filter(|_| tokens.is_access(next)) {
            path.push(name.to_owned());
            next += 2;
        }
        if path.is_empty() {
            continue;
        }
        let is_called = tokens.is(next, "(") || tokens.is(next, "{") || tokens.text(next).is_some();
        found.push(Access { path, line: tokens.line(at), is_called, is_set: is_set(tokens, at, next) });
    }
    found
}

/// Whether what stands between two places is assigned to: `T.a =`, `T.a, T.b =`, `function T.a(`.
fn is_set(tokens: &Tokens, from: usize, mut next: usize) -> bool {
    if from > 0 && tokens.name(from - 1) == Some("function") {
        return true;
    }
    while tokens.is(next, ",") {
        next += 1;
        while tokens.name(next).is_some() || tokens.is_access(next) {
            next += 1;
        }
    }
    tokens.is(next, "=")
}

/// Looks for callbacks and fields of a block that are spelled almost right.
pub fn block(kind: PluginKind, spelling: &str, fields: &[(String, String)], tokens: &Tokens, findings: &mut Findings) {
    let (callbacks, data) = (api_names::callbacks(kind), api_names::block_fields(kind));
    let present: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let slips = misspelled(&[spelling], &present, callbacks.iter().chain(&data).copied(), tokens, findings);
    let has_callback = fields.iter().any(|(name, value)| value == "function" && callbacks.contains(&name.as_str()));
    if !callbacks.is_empty() && !has_callback && slips == 0 {
        let message = format!("{spelling} has none of its callbacks, so it is never called");
        let line = tokens.line_of_field(&[spelling]);
        findings.add(Severity::Warning, line, message, format!("it may have: {}", callbacks.join(", ")));
    }
}

/// Looks for fields of `TrisulPlugin` itself that are spelled almost right; blocks were looked at before.
pub fn plugin(fields: &[(String, String)], tokens: &Tokens, findings: &mut Findings) {
    let present: BTreeSet<&str> =
        fields.iter().filter(|(_, value)| value != "table").map(|(name, _)| name.as_str()).collect();
    misspelled(&[], &present, api_names::plugin_fields().into_iter(), tokens, findings);
}

/// Looks for fields of a `control` table that are spelled almost right.
pub fn control(spelling: &str, fields: &[(String, String)], tokens: &Tokens, findings: &mut Findings) {
    let present: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    misspelled(&[spelling, "control"], &present, api_names::control().into_iter(), tokens, findings);
}

/// Says which names are no known ones but nearly so; returns how many.
fn misspelled<'a>(
    path: &[&str],
    present: &BTreeSet<&str>,
    known: impl Iterator<Item = &'a str> + Clone,
    tokens: &Tokens,
    findings: &mut Findings,
) -> usize {
    let mut slips = 0;
    for name in present.iter().filter(|name| !known.clone().any(|known| known == **name)) {
        // Beside the right one, a similar name is a name of its own.
        let absent = known.clone().filter(|known| !present.contains(known));
        let Some(meant) = nearest(name, absent) else { continue };
        let whole: Vec<&str> = path.iter().copied().chain([*name]).collect();
        let message = format!("{} is not used by anything; did you mean '{meant}'?", whole.join("."));
        findings.add(Severity::Warning, tokens.line_of_field(&whole), message, "");
        slips += 1;
    }
    slips
}

/// Looks for globals that are set inside functions, and for such that are read but never set. `live` are the globals that
/// exist once the file is loaded; `None` if it does not load.
pub fn globals(uses: &[GlobalName], live: Option<&BTreeSet<String>>, findings: &mut Findings) {
    let set_by = |usage| -> BTreeSet<&str> {
        uses.iter().filter(|global| global.usage == usage).map(|global| global.name.as_str()).collect()
    };
    let (top, inside) = (set_by(GlobalUse::SetAtTop), set_by(GlobalUse::SetInside));
    let mut told = BTreeMap::new();
    for global in uses {
        let name = global.name.as_str();
        match global.usage {
            GlobalUse::SetInside if name == "T" => {
                let advice =
                    "the pipeline keeps its own; other code of this file does not see the functions of T again";
                findings.add(Severity::Warning, global.line, "replaces the global T", advice);
            }
            GlobalUse::SetInside if name != "TrisulPlugin" && !top.contains(name) => {
                if told.insert(name, ()).is_none() {
                    let message = format!("'{name}' is set as a global inside a function");
                    let advice = format!("write: local {name}; or set it at the top of the file if it is meant");
                    findings.add(Severity::Warning, global.line, message, advice);
                }
            }
            GlobalUse::Read => {
                let Some(live) = live else { continue };
                let is_known = live.contains(name) || top.contains(name) || inside.contains(name);
                if !is_known && told.insert(name, ()).is_none() {
                    let candidates = live.iter().map(String::as_str).chain(top.iter().copied());
                    let meant = nearest(name, candidates)
                        .map_or_else(String::new, |meant| format!("; did you mean '{meant}'?"));
                    let message = format!("nothing sets the global '{name}', so it is nil{meant}");
                    findings.add(Severity::Warning, global.line, message, "");
                }
            }
            GlobalUse::SetAtTop | GlobalUse::SetInside => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{fields_of_t, globals};
    use crate::app::check::finding::{Finding, Findings, Severity};
    use crate::app::check::inspect::{GlobalName, GlobalUse};
    use crate::lua::Tokens;
    use std::collections::BTreeSet;

    fn of_t(text: &str) -> Vec<Finding> {
        let mut findings = Findings::of("p.lua".to_owned());
        fields_of_t(&Tokens::of(text.as_bytes()), &BTreeSet::from(["mine".to_owned()]), &mut findings);
        findings.sorted()
    }

    #[test]
    fn fields_of_t_that_nobody_sets_are_found_with_what_was_meant() {
        let found = of_t("T.lgo('x')\nlocal a = T.K.vartype.COUNTR\nT.util.nope(1)\nif T.host.x then T.host.x() end");
        let texts: Vec<_> = found.iter().map(|f| (f.line, f.severity, f.message.as_str())).collect();
        assert_eq!(
            texts,
            [
                (1, Severity::Error, "there is no T.lgo, so the call fails; did you mean 'log'?"),
                (2, Severity::Warning, "there is no T.K.vartype.COUNTR, so it is nil; did you mean 'COUNTER'?"),
                (3, Severity::Error, "there is no T.util.nope, so the call fails"),
                (4, Severity::Warning, "there is no T.host.x, so it is nil"),
            ]
        );
    }

    #[test]
    fn fields_that_the_file_sets_are_its_own() {
        for text in [
            "T.seen = {}; T.seen.x = T.seen.y",
            "T.a, T.b = 1, 2 print(T.a, T.b)",
            "function T.go() end T.go()",
            "print(T.mine.deep.er)",
            "local T = {} print(T.x)",
            "x.T.y() T.async:schedule { data = T.args } T.re2('x'):partial_match('y')",
            "f { T = 1 } T.util.own = 1 T.util.own()",
        ] {
            assert_eq!(of_t(text), [], "{text}");
        }
        assert_eq!(of_t("f { T = 1 } T.nope()").len(), 1);
    }

    #[test]
    fn globals_set_inside_functions_and_never_set_are_told_once() {
        let global = |name: &str, line, usage| GlobalName { name: name.to_owned(), line, usage };
        let uses = [
            global("TrisulPlugin", 1, GlobalUse::SetInside),
            global("count", 2, GlobalUse::SetInside),
            global("count", 3, GlobalUse::SetInside),
            global("state", 4, GlobalUse::SetAtTop),
            global("state", 5, GlobalUse::SetInside),
            global("strng", 6, GlobalUse::Read),
            global("count", 7, GlobalUse::Read),
        ];
        let told = |live: Option<&BTreeSet<String>>| {
            let mut findings = Findings::of("p.lua".to_owned());
            globals(&uses, live, &mut findings);
            findings.sorted().into_iter().map(|f| (f.line, f.message)).collect::<Vec<_>>()
        };
        let live = BTreeSet::from(["string".to_owned()]);
        assert_eq!(
            told(Some(&live)),
            [
                (2, "'count' is set as a global inside a function".to_owned()),
                (6, "nothing sets the global 'strng', so it is nil; did you mean 'string'?".to_owned()),
            ]
        );
        assert_eq!(told(None).len(), 1);
    }
}
