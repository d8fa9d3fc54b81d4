//! The import direction of the crate, and what its files may not be called.
//!
//! A module imports only from rows below its own; modules on one row never import each other. Changing the table is a
//! design change.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Every top-level module with its row; a higher row may import from a lower one.
const ROWS: [(&str, u8); 22] = [
    ("key", 0),
    ("guid", 0),
    ("time", 0),
    ("memory", 0),
    ("processor", 0),
    ("shell", 0),
    ("packet", 1),
    ("metrics", 1),
    ("lua", 1),
    ("capture", 2),
    ("decode", 2),
    ("gears", 2),
    ("job", 2),
    ("sink", 2),
    ("flow", 3),
    ("dissect", 4),
    ("builtin", 4),
    ("api", 5),
    ("content", 5),
    ("plugin", 6),
    ("backend", 7),
    ("pipeline", 8),
];
const APP: (&str, u8) = ("app", 9);

/// Names that say nothing about what is inside.
const FORBIDDEN_FILES: [&str; 5] = ["error.rs", "types.rs", "utils.rs", "common.rs", "prelude.rs"];
const MAX_LINES: usize = 800;

fn rows() -> BTreeMap<&'static str, u8> {
    ROWS.into_iter().chain([APP]).collect()
}

/// Everything wrong with the tree under `src`, one line each, in path order.
fn violations(src: &Path) -> Vec<String> {
    let mut files = Vec::new();
    collect(src, &mut files);
    files.sort();
    let mut found = Vec::new();
    for path in files {
        let name = path.strip_prefix(src).expect("collected below src").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        check_name(src, &name, &mut found);
        let lines = text.lines().count();
        if lines > MAX_LINES {
            found.push(format!("{name}: {lines} lines, more than {MAX_LINES}"));
        }
        check_imports(&name, &text, &mut found);
    }
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
}

fn check_name(src: &Path, name: &str, found: &mut Vec<String>) {
    let file = name.rsplit('/').next().unwrap_or(name);
    if FORBIDDEN_FILES.contains(&file) {
        found.push(format!("{name}: a file of this name is a drawer for anything; name what it holds"));
    }
    if src.join(name.trim_end_matches(".rs")).is_dir() {
        found.push(format!("{name}: a module with children is a folder with mod.rs"));
    }
    let top = top_module(name);
    if !matches!(top, "lib" | "main") && !rows().contains_key(top) {
        found.push(format!("{name}: module {top} is not in the row table"));
    }
}

/// The module a file belongs to: the first folder, or the file itself at the top.
fn top_module(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

fn check_imports(name: &str, text: &str, found: &mut Vec<String>) {
    let rows = rows();
    let importer = top_module(name);
    // The crate roots stand above every row.
    let own_row = rows.get(importer).copied().unwrap_or(u8::MAX);
    for (number, line) in text.lines().enumerate() {
        let code = without_comment(line);
        let at = |what: &str| format!("{name}:{}: {what}", number + 1);
        if code.contains("super::super") {
            found.push(at("super::super; start from crate:: instead"));
        }
        if code.contains("crate::{") {
            found.push(at("grouped import; one line for each module"));
        }
        for target in crate_names(code) {
            match rows.get(target) {
                _ if target == importer => {}
                None => {
                    // Macros and root items of the crate do not exist; anything else is a module someone forgot.
                    found.push(at(&format!("crate::{target} is not in the row table")));
                }
                Some(&row) if row >= own_row => {
                    let way = if row == own_row { "sideways" } else { "upward" };
                    found.push(at(&format!("{importer} (row {own_row}) imports {target} (row {row}): {way}")));
                }
                Some(_) => {}
            }
        }
    }
}

/// The line up to a comment; a `//` inside a string hides at most what follows it on that line.
fn without_comment(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

/// Names that directly follow `crate::`, as in `use crate::packet::Batch` or `crate::time::wall()`.
fn crate_names(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("crate::").filter_map(|(at, prefix)| {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            return None;
        }
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    })
}

#[test]
fn imports_point_downwards_and_files_have_telling_names() {
    let found = violations(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The violations of a made-up tree.
fn of_tree(files: &[(&str, &str)]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a file in a folder")).expect("a writable folder");
        fs::write(path, text).expect("a writable file");
    }
    violations(folder.path())
}

#[test]
fn downward_own_and_root_imports_are_fine() {
    let found = of_tree(&[
        ("main.rs", "fn main() { millstream::app::run() }\n"),
        ("lib.rs", "pub mod app;\npub use crate::app::run;\n"),
        ("app/mod.rs", "use crate::pipeline::Engine;\nuse super::cli;\n"),
        ("flow/table.rs", "use crate::packet::Batch;\nuse crate::flow::key;\nlet t = crate::time::wall();\n"),
        ("key/mod.rs", "// crate::app is where this is used; so is super::super\n"),
    ]);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn upward_and_sideways_imports_are_named_with_their_line() {
    let found = of_tree(&[
        ("packet/batch.rs", "\nuse crate::decode::Decoder;\n"),
        ("decode/link.rs", "fn f(s: &crate::capture::Source) {}\n"),
    ]);
    assert_eq!(
        found,
        [
            "decode/link.rs:1: decode (row 2) imports capture (row 2): sideways",
            "packet/batch.rs:2: packet (row 1) imports decode (row 2): upward",
        ]
    );
}

#[test]
fn unlisted_modules_are_refused_as_files_and_as_imports() {
    let found = of_tree(&[("misc/mod.rs", ""), ("app/run.rs", "use crate::helpers::help;\n")]);
    assert_eq!(
        found,
        ["app/run.rs:1: crate::helpers is not in the row table", "misc/mod.rs: module misc is not in the row table",]
    );
}

#[test]
fn grouped_imports_and_grandparents_are_refused() {
    let found = of_tree(&[("app/run.rs", "use crate::{packet, time};\nuse super::super::packet;\n")]);
    assert_eq!(
        found,
        [
            "app/run.rs:1: grouped import; one line for each module",
            "app/run.rs:2: super::super; start from crate:: instead",
        ]
    );
}

#[test]
fn forbidden_names_long_files_and_self_named_modules_are_refused() {
    let long = "\n".repeat(MAX_LINES + 1);
    let found = of_tree(&[("lua/error.rs", ""), ("lua/vm.rs", ""), ("lua/vm/stack.rs", ""), ("job/pool.rs", &long)]);
    assert_eq!(
        found,
        [
            "job/pool.rs: 801 lines, more than 800",
            "lua/error.rs: a file of this name is a drawer for anything; name what it holds",
            "lua/vm.rs: a module with children is a folder with mod.rs",
        ]
    );
}
