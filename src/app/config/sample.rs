//! The commented sample of a configuration file.

use std::fmt::Write;

use super::schema::{Key, Schema, Shape};

/// Widest line of a comment.
const WIDTH: usize = 96;

const HEAD: &str = "\
# Settings of millstream run, with their defaults. A line with # and no blank behind it is a setting that is not made: take the #
# away and change the value.
#
#   millstream run --config millstream.toml
#   millstream config check millstream.toml
#   millstream config show --config millstream.toml
#
# No file is read unless --config or the variable MILLSTREAM_CONFIG names one. Every setting has a variable of its own,
# MILLSTREAM_<SECTION>_<KEY>, which wins over this file, and an option of the command line, which wins over both. A list on the
# command line replaces the list here.
";

const PATHS: &str = r#"
# Values that scripts get from T.env.get_config, by path. Any path can be set; these are some of those there are.
[trisul]
#"App>DBRoot" = "/var/lib/millstream/context0"
#"App>DataDirectory" = "/var/lib/millstream/share"
#"App>RunStateDirectory" = "/run/millstream"
#"Reassembly>FileExtraction>Enabled" = false
#"Reassembly>FileExtraction>MaxMiB" = 512
#"Ring>DefaultMode" = "FULL"
#"Tuning>StreamingWindowMSecs" = 60000
#"Edges>Enabled" = true
"#;

/// What a value can look like, by the placeholder of the help, for settings without a default.
fn example(key: &Key) -> String {
    if let Some(choice) = key.choices.first() {
        return quoted(choice);
    }
    let text = match key.placeholder.as_str() {
        "BYTES" => return "96".to_owned(),
        "N" | "MIB" | "MS" | "SECS" => return "1000".to_owned(),
        "X" => return "1.0".to_owned(),
        "TIME" => "10m",
        "SIZE" => "10g",
        "BPF" => "tcp port 443",
        "IFACE" => "eth0",
        "CIDR" => "10.0.0.0/8",
        "GROUP" => "default",
        "PATH=VALUE" => "App>DBRoot=/srv/context0",
        "NAME" | "USER" => "millstream",
        "DIR" => "/var/lib/millstream/packets",
        "FILE" => "/path/to/file",
        "PATH" => "/path/to/it",
        "WHERE" => "udp:log.example.net:514",
        "URL" => "http://10.0.0.5:8080/alerts",
        "HOST" => "10.0.0.5",
        _ => "text",
    };
    quoted(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The setting's line: its default, or what a value can look like.
fn line(key: &Key) -> String {
    let value = match (&key.default, key.shape) {
        (_, Shape::Flag) => "false".to_owned(),
        (Some(default), _) if default.parse::<f64>().is_ok() => default.clone(),
        (Some(default), _) => quoted(default),
        (None, Shape::List) => format!("[{}]", example(key)),
        (None, Shape::Text) => example(key),
    };
    format!("#{} = {value}", key.name)
}

/// The text in lines of a comment, broken at blanks.
fn comment(text: &str) -> String {
    let mut out = String::new();
    for paragraph in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut line = String::from("#");
        for word in paragraph.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                let _ = writeln!(out, "{line}");
                line = String::from("#");
            }
            line.push(' ');
            line.push_str(word);
        }
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The whole sample.
#[must_use]
pub fn sample() -> String {
    let schema = Schema::new();
    let mut out = HEAD.to_owned();
    for section in schema.sections() {
        let _ = write!(out, "\n[{section}]\n");
        for key in schema.keys.iter().filter(|key| key.section == section) {
            let mut text = key.help.clone();
            if !key.choices.is_empty() && key.shape != Shape::Flag {
                let _ = write!(text, "\nOne of: {}", key.choices.join(", "));
            }
            if key.default.is_none() && key.shape != Shape::Flag {
                text.push_str("\nNot set by default; for example:");
            }
            let _ = write!(out, "\n{}{}\n", comment(&text), line(key));
        }
    }
    out.push_str(PATHS);
    out
}
