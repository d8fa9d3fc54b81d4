//! What the captures of this project show of flows is on the page about it.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::program::{Workplace, root};

#[test]
fn every_attribute_resource_and_document_of_the_captures_is_on_the_page() {
    let page = fs::read_to_string(root().join("docs/attributes.md")).expect("the page");
    let place = Workplace::new();
    let documents = "--set 'Reassembly>TCPReassembly>Applications>EnableDNSFTS=true'";
    let records = "--set 'Reassembly>TCPReassembly>Applications>EnableSSLRecordExtraction=true'";
    let output =
        place.shell(&format!("millstream run -r pcaps/*.pcap --flows -q {documents} {records} --events /tmp/events"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut wanted = BTreeSet::new();
    let guids = fs::read_to_string(root().join("docs/guids.md")).expect("the page of GUIDs");
    for line in fs::read_to_string(place.path("tmp/events")).expect("the events").lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        match event["ev"].as_str() {
            Some("flow_attribute") if text("name").is_empty() => {
                wanted.insert("`\"\"`".to_owned());
            }
            Some("flow_attribute") => {
                wanted.insert(format!("`{}`", text("name")));
            }
            Some("resource" | "fts") => {
                let group = guids.lines().find(|line| line.contains(&text("guid"))).expect("a built-in group");
                wanted
                    .insert(format!("| {} |", group.split(" | ").next().unwrap_or_default().trim_start_matches("| ")));
            }
            _ => {}
        }
    }
    assert!(wanted.len() > 20, "{wanted:?}");
    let missing: Vec<_> = wanted.iter().filter(|name| !page.contains(*name)).collect();
    assert!(missing.is_empty(), "docs/attributes.md does not name {missing:?}");
}
