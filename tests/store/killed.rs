//! The program itself, killed while it stores.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{DEMO, good, json, millstream, number, wait_until};

#[test]
fn a_run_that_is_killed_leaves_a_store_that_answers_and_is_written_on() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    let store = file.to_str().unwrap();
    // Far longer than it lives.
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(["run", "-q", "-r", DEMO, "--loop", "100000", "--store", store])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let flows =
        || json(&["query", "flows", "--limit", "1000000", "--json", "--store", store]).as_array().unwrap().len();
    wait_until("flows are stored", || {
        let asked = millstream(&["query", "flows", "--limit", "1", "--json", "--store", store]);
        serde_json::from_slice::<Value>(&asked.stdout)
            .is_ok_and(|rows| rows.as_array().is_some_and(|rows| rows.len() == 1))
    });
    assert!(child.try_wait().unwrap().is_none(), "it is in the middle of it");
    child.kill().unwrap();
    child.wait().unwrap();
    // What was flushed is there, and says so.
    let killed = json(&["query", "runs", "--json", "--store", store]);
    assert_eq!((killed.as_array().unwrap().len(), &killed[0]["state"]), (1, &Value::from("open")));
    let flushed = number(&file, "SELECT sum(rows) FROM windows WHERE state = 'flushed'");
    let of_killed = flows();
    assert!(of_killed > 0 && flushed >= of_killed as i64);
    assert_eq!(killed[0]["rows"].as_i64(), Some(flushed));
    assert!(good(&["query", "runs", "--store", store]).contains("open"));
    // The next run says what became of it, and has lost nothing itself.
    let output = millstream(&["run", "-r", DEMO, "--json", "--store", store]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("run 1 ended early; what ended by "), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["store"]["dropped"], serde_json::json!([]));
    assert_eq!(flows() - of_killed, report["flows"]["created"].as_u64().unwrap() as usize);
    let runs = json(&["query", "runs", "--json", "--store", store]);
    assert_eq!((&runs[0]["state"], &runs[1]["state"]), (&Value::from("done"), &Value::from("lost")));
    assert_eq!((&runs[0]["lost"], runs[0]["rows"].as_u64()), (&Value::from(0), report["store"]["rows"].as_u64()));
    // Nothing of the killed run was counted as lost: what it had not written it did not count.
    assert_eq!((&runs[1]["lost"], runs[1]["rows"].as_i64()), (&Value::from(0), Some(flushed)));
    assert_eq!(number(&file, "SELECT count(*) FROM losses"), 0);
}
