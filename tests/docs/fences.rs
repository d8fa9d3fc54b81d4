//! Runs the fenced blocks of the pages, from the first to the last, in one workplace for each page.
//!
//! A block ```` ```lua NAME ```` is written to a file; lines of ```` ```sh ```` are run; a block ```` ```text ```` behind them
//! is what they print, where a line `...` stands for any lines. ```` ```sh setup ```` is not run: it would build the program.

use std::fs;

use super::program::{Workplace, root};

/// A fenced block: what stands behind the fence, its line, its text.
struct Block {
    info: String,
    line: usize,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (number, line) in page.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                found.push(Block { info: info.trim().to_owned(), line: number + 1, text: String::new() });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => {
                let block = found.last_mut().expect("a block is open");
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, false) => {}
        }
    }
    assert!(!open, "a fence is not closed");
    found
}

/// Whether a text is what a pattern says; a line `...` stands for any number of lines.
fn fits(pattern: &[&str], text: &[&str]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((&"...", rest)) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        Some((line, rest)) => {
            text.split_first().is_some_and(|(first, others)| first.trim_end() == line.trim_end() && fits(rest, others))
        }
    }
}

/// Runs a page; returns how many commands were run and how many outputs compared.
fn run_page(name: &str) -> (usize, usize) {
    let page = fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let place = Workplace::new();
    let (mut commands, mut compared, mut printed) = (0, 0, None);
    for block in blocks(&page) {
        let at = format!("{name}:{}", block.line);
        match block.info.split_once(' ').unwrap_or((&block.info, "")) {
            ("lua", "") | ("sh", "setup") => printed = None,
            ("lua", file) => fs::write(place.path(file), &block.text).unwrap_or_else(|e| panic!("{at}: {file}: {e}")),
            ("sh", "") => {
                let mut all = String::new();
                // A line that ends in a backslash goes on.
                for line in block.text.replace("\\\n", " ").lines().filter(|line| !line.trim().is_empty()) {
                    let output = place.shell(line);
                    all.push_str(&String::from_utf8_lossy(&output.stdout));
                    let problem = String::from_utf8_lossy(&output.stderr);
                    all.push_str(&problem);
                    assert!(output.status.success(), "{at}: {line}: {}\n{all}", output.status);
                    commands += 1;
                }
                printed = Some(all.replace(&format!("{}/", place.path("tmp").display()), "/tmp/"));
            }
            ("text", _) => {
                let Some(printed) = &printed else { continue };
                let (expected, got): (Vec<&str>, Vec<&str>) = (block.text.lines().collect(), printed.lines().collect());
                assert!(fits(&expected, &got), "{at}: the page says\n{}\nand the program\n{printed}", block.text);
                compared += 1;
            }
            _ => {}
        }
    }
    (commands, compared)
}

#[test]
fn the_tutorial_does_what_it_says() {
    let (commands, compared) = run_page("docs/tutorial.md");
    assert!(commands >= 8 && compared >= 6, "{commands} commands, {compared} outputs");
}

#[test]
fn coming_from_trisul_does_what_it_says() {
    let (commands, compared) = run_page("docs/coming-from-trisul.md");
    assert!(commands >= 5 && compared >= 3, "{commands} commands, {compared} outputs");
}

#[test]
fn the_page_about_keys_is_true() {
    let (commands, compared) = run_page("docs/keys.md");
    assert!(commands >= 1 && compared >= 1, "{commands} commands, {compared} outputs");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for name in [
        "docs/README.md",
        "docs/tutorial.md",
        "docs/coming-from-trisul.md",
        "docs/keys.md",
        "docs/attributes.md",
        "docs/cookbook/README.md",
    ] {
        let path = root().join(name);
        let page = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        for part in page.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") {
                continue;
            }
            assert!(path.parent().expect("a file in a folder").join(file).exists(), "{name}: {target} is not there");
        }
    }
}

#[test]
fn a_line_of_dots_stands_for_any_lines() {
    assert!(fits(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(fits(&["..."], &[]));
    assert!(!fits(&["a"], &["a", "b"]));
    assert!(!fits(&["...", "x"], &["a", "b"]));
}
