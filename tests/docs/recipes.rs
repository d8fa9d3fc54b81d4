//! Every recipe is run by the command in its header and finds exactly what is written down in `docs/cookbook/expected`.
//!
//! After a change that is meant, `BLESS=1` writes the expectations anew; the difference is to be read before it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use super::program::{Workplace, is_blessing, root};

/// Keys written down of each meter.
const KEYS: usize = 6;

fn recipes() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join("docs/cookbook"))
        .expect("the folder of the recipes")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "lua"))
        .collect();
    files.sort();
    files
}

fn stem(path: &std::path::Path) -> String {
    path.file_stem().expect("a file").to_string_lossy().into_owned()
}

/// A field of the header: `-- Question: ...`.
fn header(text: &str, field: &str) -> Option<String> {
    let start = format!("-- {field}:");
    text.lines().find_map(|line| line.strip_prefix(&start)).map(|rest| rest.trim().to_owned())
}

fn text(event: &Value, field: &str) -> String {
    event[field].as_str().unwrap_or_default().trim_end().replace('\n', "\\n")
}

/// What a run of a recipe found, line by line.
fn found(script: &str, events: &str, report: &Value) -> String {
    let mut out = String::new();
    let mut sums: BTreeMap<String, usize> = BTreeMap::new();
    let mut edges = BTreeSet::new();
    let mut groups: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for line in events.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{script}: {line}: {e}"));
        let field = |name: &str| text(&event, name);
        let own = event["script"].as_str().is_some_and(|name| name == script);
        let told = match event["ev"].as_str().unwrap_or_default() {
            "print" if own => format!("print {}", field("text")),
            "alert" if own => {
                let (sigid, status, message) = (field("sigid"), field("status"), field("message"));
                format!("alert {sigid} priority {} {status}: {message}", event["priority"])
            }
            "resource" if own => format!("resource {}  {}", field("uri"), field("label")),
            "keyinfo" if own => format!("label {}  {}", field("key"), field("label")),
            "flow_update" if own => format!("flow {}  {} {}", field("flow"), field("field"), event["value"]),
            "flow_tracker" => format!("tracked {}  {}", field("flow"), event["metric"]),
            "fault" => panic!("{script}: {line}"),
            "tag" if own => {
                *sums.entry(format!("tag {}", field("tag"))).or_default() += 1;
                continue;
            }
            "stored" if event["stored"] == false => {
                let what = if event["uri"].is_null() { field("flow") } else { field("uri") };
                *sums.entry(format!("not stored: {} {what}", field("what"))).or_default() += 1;
                continue;
            }
            "edge" if own => {
                edges.insert(format!("edge {} -> {}", field("from_key"), field("to_key")));
                continue;
            }
            // Groups of scripts are announced by the host; built-in ones are not announced.
            "group" if event["kind"] == "counter" => {
                let meters =
                    event["meters"].as_array().into_iter().flatten().map(|meter| text(meter, "name")).collect();
                groups.insert(field("guid"), (field("name"), meters));
                continue;
            }
            _ => continue,
        };
        let _ = writeln!(out, "{told}");
    }
    for (what, times) in sums {
        let _ = writeln!(out, "{what} ({times} times)");
    }
    for edge in edges {
        let _ = writeln!(out, "{edge}");
    }
    for group in report["groups"].as_array().into_iter().flatten() {
        let Some((name, _)) = groups.get(&text(group, "guid")) else { continue };
        for meter in group["meters"].as_array().into_iter().flatten() {
            let _ = writeln!(out, "{name} / {} ({}):", text(meter, "name"), text(meter, "vartype"));
            for key in meter["top"].as_array().into_iter().flatten().take(KEYS) {
                let value = key["value"].as_f64().unwrap_or_default();
                let _ = writeln!(out, "  {}  {}", text(key, "key"), (value * 100.0).round() / 100.0);
            }
        }
    }
    out
}

#[test]
fn every_recipe_finds_what_it_is_there_for() {
    let files = recipes();
    assert!(files.len() >= 20, "{} recipes", files.len());
    let mut wrong = Vec::new();
    for path in &files {
        let name = stem(path);
        let source = fs::read_to_string(path).expect("a readable recipe");
        let command = header(&source, "Run").unwrap_or_else(|| panic!("{name}: the header has no line '-- Run:'"));
        assert!(command.starts_with("millstream run "), "{name}: {command}");
        let place = Workplace::new();
        let output = place.shell(&format!("{command} --json --events /tmp/events"));
        let problem = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {command}: {}\n{problem}", output.status);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}"));
        let events = fs::read_to_string(place.path("tmp/events")).expect("the events of the run");
        let mut got = found(&format!("{name}.lua"), &events, &report);
        for word in command.split_whitespace().filter_map(|word| word.strip_prefix("/tmp/")) {
            if let Ok(written) = fs::read_to_string(place.path("tmp").join(word)) {
                let _ = writeln!(got, "file {word}:");
                written.lines().for_each(|line| got.push_str(&format!("  {line}\n")));
            }
        }
        assert!(!got.is_empty(), "{name} finds nothing");
        let expected = root().join("docs/cookbook/expected").join(format!("{name}.txt"));
        if is_blessing() {
            fs::write(&expected, &got).expect("a writable folder");
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(got.as_str()) {
            wrong.push(format!("{}:\n{got}", expected.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "recipes that find something else than is written down; if that is right, run BLESS=1 cargo test --test docs\n{}",
        wrong.join("\n")
    );
}

#[test]
fn recipes_and_their_list_belong_together() {
    let list = fs::read_to_string(root().join("docs/cookbook/README.md")).expect("the list of recipes");
    let files = recipes();
    for path in &files {
        let name = stem(path);
        let source = fs::read_to_string(path).expect("a readable recipe");
        assert!(source.starts_with("-- Question: "), "{name}: a recipe begins with the question it answers");
        let question = header(&source, "Question").expect("it begins with it");
        assert!(header(&source, "Shows").is_some(), "{name}: the header has no line '-- Shows:'");
        assert!(list.contains(&format!("]({name}.lua)")), "docs/cookbook/README.md has no link to {name}.lua");
        assert!(list.contains(&question), "docs/cookbook/README.md does not ask: {question}");
        assert!(list.contains(&format!("](expected/{name}.txt)")), "docs/cookbook/README.md has no link to its result");
    }
    let expected = fs::read_dir(root().join("docs/cookbook/expected")).expect("the folder of the results").count();
    assert_eq!(expected, files.len(), "results of recipes that are gone");
}

#[test]
fn the_checker_has_nothing_against_the_recipes() {
    let output = Workplace::new().shell("millstream check docs/cookbook");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
