//! Writes the captures of this folder, or of the folder given as the only argument.
//!
//! Run as `cargo run --example make-pcaps`. The bytes depend on nothing but this program: no clock, a fixed seed.

mod generator;

use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder =
        env::args_os().nth(1).map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pcaps"), PathBuf::from);
    let mut out = io::stdout().lock();
    for capture in generator::captures() {
        let path = folder.join(capture.name);
        fs::write(&path, &capture.bytes)?;
        writeln!(out, "{:>5} packets {:>7} bytes  {}", capture.packets, capture.bytes.len(), path.display())?;
    }
    Ok(())
}
