//! The samples of asynchronous patterns print what their headings say.

mod support;

use std::fs;
use std::path::Path;

use support::Bench;

#[test]
fn each_pattern_prints_what_its_heading_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("samples/async-patterns");
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    let table = fs::read_to_string(root.join("docs/jobs.md")).unwrap();
    for path in names {
        let file = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let heading = |word: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix(word)).map(|line| line.trim().to_owned()).collect()
        };
        let [line] = heading("-- Run it:").try_into().unwrap();
        assert!(
            line.starts_with("millstream run -q ") && line.ends_with(&format!("samples/async-patterns/{file}")),
            "{line}"
        );
        let demo = root.join("pcaps/demo.pcap");
        let mut bench = Bench::new().plugin(file, &text).without_events();
        if line.contains("--store") {
            bench = bench.args(&["--store", "s.db"]);
        }
        if line.contains("--deterministic never") {
            bench = bench.args(&["--deterministic", "never"]);
        }
        let outcome = bench.run_with(&["-r", demo.to_str().unwrap()]);
        outcome.exits(0);
        let printed: Vec<String> = outcome.lines().iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(printed, heading("-- Prints:"), "{file}\n{}", outcome.stderr);
        assert!(table.contains(&format!("async-patterns/{file}")), "docs/jobs.md does not name {file}");
    }
}
