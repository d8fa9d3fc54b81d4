//! `millstream guid`: new identifiers for groups, protocols and messages.

use std::fs::File;
use std::io::{BufReader, Read, Write};

use anyhow::Context;

use super::Outcome;
use super::cli::GuidArgs;
use super::screen::Screen;
use crate::guid::Guid;

/// Where the kernel hands out random bytes.
const RANDOM: &str = "/dev/urandom";

/// A source of random identifiers.
pub struct FreshGuids(BufReader<File>);

impl FreshGuids {
    /// Opens the kernel's source of random bytes.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open() -> anyhow::Result<Self> {
        let file = File::open(RANDOM).with_context(|| format!("{RANDOM}: cannot be opened"))?;
        Ok(Self(BufReader::with_capacity(4096, file)))
    }

    /// A version 4 GUID nobody has had before.
    ///
    /// # Errors
    /// When the kernel's source cannot be read.
    pub fn next(&mut self) -> anyhow::Result<Guid> {
        let mut bits = [0; 16];
        self.0.read_exact(&mut bits).with_context(|| format!("{RANDOM}: cannot be read"))?;
        Ok(Guid::from_random(u128::from_ne_bytes(bits)))
    }
}

/// Prints as many identifiers as asked for, a line each.
///
/// # Errors
/// When there are no random bytes or the output cannot be written.
pub fn print(args: &GuidArgs, screen: &mut Screen<'_>) -> anyhow::Result<Outcome> {
    let mut fresh = FreshGuids::open()?;
    for _ in 0..args.count {
        writeln!(screen, "{}", fresh.next()?)?;
    }
    Ok(Outcome::Good)
}

#[cfg(test)]
mod tests {
    use super::FreshGuids;

    #[test]
    fn no_two_are_alike_and_all_are_version_4() {
        let mut fresh = FreshGuids::open().unwrap();
        let (a, b) = (fresh.next().unwrap(), fresh.next().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.to_string().as_bytes()[15], b'4');
    }
}
