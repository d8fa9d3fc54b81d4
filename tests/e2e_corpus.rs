//! Inputs that broke something once, and samples of each kind, through the functions that are fuzzed.

#[path = "fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    for (name, target) in targets::ALL {
        let folder = corpus.join(name);
        let mut files: Vec<_> = fs::read_dir(&folder)
            .unwrap_or_else(|e| panic!("{name}: {e}"))
            .map(|entry| entry.expect("a readable folder").path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "{name} has no inputs");
        for file in files {
            let bytes = fs::read(&file).expect("a readable file");
            // The name of the input comes before a panic in the captured output of the test.
            std::io::Write::write_all(&mut std::io::stderr(), format!("{}\n", file.display()).as_bytes())
                .expect("a place to write to");
            target(&bytes);
        }
    }
}
