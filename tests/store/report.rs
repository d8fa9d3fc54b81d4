//! The page of `millstream report`: what it says of the range and of units.

use std::path::Path;

use tempfile::TempDir;

use crate::harness::{good, json, run_into};

fn page(store: &Path, more: &[&str]) -> String {
    good(&[&["report", "-o", "-", "--store", store.to_str().unwrap()], more].concat())
}

#[test]
fn a_range_without_data_is_said_with_the_range_there_is() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let there = "this store has 2026-01-15T09:00:01.001000Z to 2026-01-15T09:01:24.439404Z";
    for (range, asked) in [
        (&["--from", "2030-01-01"][..], "from 2030-01-01T00:00:00.000000Z"),
        (&["--to", "2020-01-01"], "to 2020-01-01T00:00:00.000000Z"),
        (
            &["--from", "2026-01-15T10:00:00Z", "--to", "2026-01-16"],
            "from 2026-01-15T10:00:00.000000Z to 2026-01-16T00:00:00.000000Z",
        ),
    ] {
        let page = page(&file, range);
        assert!(page.contains(&format!("<p>Nothing is stored {asked}; {there}<br>")), "{page}");
        assert!(!page.contains("<svg") && !page.contains("<h2>"), "{page}");
    }
    let page = page(&file, &["--from", "2026-01-15T09:01:00Z", "--to", "2030-01-01"]);
    assert!(page.contains("<p>2026-01-15T09:01:00.000000Z to 2026-01-15T09:01:24.439404Z<br>"));
}

#[test]
fn bars_of_rates_are_means_with_the_unit_of_the_rate() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("store.db");
    run_into(&file, &[]);
    let store = file.to_str().unwrap();
    let page = page(&file, &[]);
    let section = |title: &str| -> String {
        let from = page.find(&format!("<h2>{title}</h2>")).unwrap();
        page[from..].split("<h2>").nth(1).unwrap().to_owned()
    };
    let hosts = section("Hosts: Total Bps");
    assert!(hosts.contains("<p class=\"faint\">mean Bps</p>"), "{hosts}");
    let series = json(&["query", "series", "Hosts", "10.20.0.5", "--json", "--store", store]);
    let points = series.as_array().unwrap();
    let rates: Vec<f64> = points.iter().map(|point| point["value"].as_f64().unwrap()).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    assert!(mean > 1_000.0 && hosts.contains(&format!(">{}</text>", millstream::sink::human_count(mean))), "{mean}");
    // What adds up to something of its own unit is added up.
    let flows = section("Meta Session Group: Master Size i");
    assert!(flows.contains("<p class=\"faint\">sum i</p>"), "{flows}");
}
