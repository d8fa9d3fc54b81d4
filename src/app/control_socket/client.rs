//! The side of the command line: finding a run and asking it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::place::{directories, running};
use crate::shell::typed;

/// How long an answer may take that is not waited for on purpose.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MOST_BYTES: u64 = 64 << 20;

/// The socket of the only run there is.
///
/// # Errors
/// When there is none or there are several.
pub fn only_run() -> anyhow::Result<PathBuf> {
    let directories = directories();
    let mut found = running(&directories);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => {
            let places: Vec<String> = directories.iter().map(|path| path.display().to_string()).collect();
            bail!(
                "no run is found in {}; runs over interfaces are found there, those of another user only by that user, those \
                 over files when started with --control PATH and asked with the same",
                places.join(" or ")
            )
        }
        _ => {
            let paths: Vec<String> = found.iter().map(|path| format!("  --control {}", typed(path))).collect();
            bail!("several runs are there; add one of:\n{}", paths.join("\n"))
        }
    }
}

/// Sends a request and waits for its answer.
///
/// # Errors
/// When nobody answers, or the answer is an error.
pub fn request(socket: &Path, request: &Value, limit: Duration) -> anyhow::Result<Value> {
    let named = || format!("--control {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(named)?;
    stream.set_read_timeout(Some(limit)).and_then(|()| stream.set_write_timeout(Some(LIMIT))).with_context(named)?;
    stream.write_all(format!("{request}\n").as_bytes()).with_context(named)?;
    let mut line = Vec::new();
    BufReader::new(stream.take(MOST_BYTES)).read_until(b'\n', &mut line).with_context(named)?;
    if line.is_empty() {
        bail!("{}: the run ended before it answered", named());
    }
    let answer: Value =
        serde_json::from_slice(&line).with_context(|| format!("{}: no answer of millstream", named()))?;
    if answer["ok"] != true {
        bail!("{}: {}", named(), answer["error"].as_str().unwrap_or("refused"));
    }
    Ok(answer)
}
