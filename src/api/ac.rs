//! `T.ac`: search for many strings at once.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use mlua::{Lua, Table};

use super::constants::{LogFn, LogLevel};
use super::modules;

/// Most bytes all patterns of one object may have together; the automaton takes some tens of bytes for each.
const MAX_PATTERN_BYTES: usize = 4 * 1024 * 1024;

/// A set of strings to search for.
pub struct PatternSet {
    automaton: Option<AhoCorasick>,
    patterns: Vec<Vec<u8>>,
}

/// Why a set of strings cannot be searched for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternSetError {
    /// Too many bytes.
    #[error("patterns of {bytes} bytes together exceed the limit of {limit}")]
    TooLarge {
        /// Bytes of all patterns.
        bytes: usize,
        /// Most accepted.
        limit: usize,
    },
    /// The automaton cannot be built.
    #[error("{0}")]
    Build(String),
}

impl PatternSet {
    /// A set that never matches.
    #[must_use]
    pub fn empty() -> Self {
        Self { automaton: None, patterns: Vec::new() }
    }

    /// Prepares the search; empty strings and repeats are skipped.
    ///
    /// # Errors
    /// When the patterns are too large.
    pub fn new(patterns: Vec<Vec<u8>>) -> Result<Self, PatternSetError> {
        let mut patterns: Vec<Vec<u8>> = patterns.into_iter().filter(|pattern| !pattern.is_empty()).collect();
        patterns.sort_unstable();
        patterns.dedup();
        let bytes = patterns.iter().map(Vec::len).sum();
        if bytes > MAX_PATTERN_BYTES {
            return Err(PatternSetError::TooLarge { bytes, limit: MAX_PATTERN_BYTES });
        }
        if patterns.is_empty() {
            return Ok(Self::empty());
        }
        // Not the DFA: it takes up to a kilobyte per byte of pattern.
        let automaton = AhoCorasickBuilder::new()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .map_err(|error| PatternSetError::Build(error.to_string()))?;
        Ok(Self { automaton: Some(automaton), patterns })
    }

    /// Every pattern that occurs, with the one-based position of the last byte of its first occurrence.
    #[must_use]
    pub fn match_all(&self, text: &[u8]) -> Vec<(&[u8], usize)> {
        let mut seen = vec![false; self.patterns.len()];
        let mut found = Vec::new();
        if let Some(automaton) = &self.automaton {
            for hit in automaton.find_overlapping_iter(text) {
                let index = hit.pattern().as_usize();
                if !std::mem::replace(&mut seen[index], true) {
                    found.push((self.patterns[index].as_slice(), hit.end()));
                    if found.len() == self.patterns.len() {
                        break;
                    }
                }
            }
        }
        found
    }

    /// The match that ends first; of several that end there, the longest.
    #[must_use]
    pub fn match_one(&self, text: &[u8]) -> Option<(&[u8], usize)> {
        let mut best: Option<(&[u8], usize)> = None;
        for hit in self.automaton.as_ref()?.find_overlapping_iter(text) {
            let pattern = self.patterns[hit.pattern().as_usize()].as_slice();
            match best {
                Some((_, end)) if hit.end() > end => break,
                Some((longest, _)) if longest.len() >= pattern.len() => {}
                _ => best = Some((pattern, hit.end())),
            }
        }
        best
    }
}

/// Installs the function `ac` into `t`, the global table `T`.
///
/// # Errors
/// When the VM runs out of memory.
pub fn install(lua: &Lua, t: &Table, log: &LogFn) -> mlua::Result<()> {
    let log = log.clone();
    // The object itself is made in Lua; what Rust hands out for it is a function that holds the automaton.
    let build = lua.create_function(move |lua, list: Table| {
        let patterns = list.sequence_values::<mlua::LuaString>();
        let patterns = patterns.map(|text| text.map(|text| text.as_bytes().to_vec())).collect::<mlua::Result<_>>()?;
        let set = PatternSet::new(patterns).unwrap_or_else(|error| {
            log(LogLevel::Error, format!("T.ac: {error}").as_bytes());
            PatternSet::empty()
        });
        lua.create_function(move |lua, (first_only, text): (bool, mlua::LuaString)| {
            let text = text.as_bytes();
            let hits = if first_only { set.match_one(&text).into_iter().collect() } else { set.match_all(&text) };
            let found = lua.create_table()?;
            for (pattern, position) in hits {
                found.raw_set(lua.create_string(pattern)?, position)?;
            }
            Ok(found)
        })
    })?;
    let text = include_str!("modules/host/ac.lua");
    modules::run_host_chunk(lua, "millstream.ac", text, (t, modules::arguments(lua)?, build)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, proptest};

    use super::{PatternSet, PatternSetError};

    fn set(patterns: &[&str]) -> PatternSet {
        PatternSet::new(patterns.iter().map(|pattern| pattern.as_bytes().to_vec()).collect()).unwrap()
    }

    #[test]
    fn nested_and_overlapping_patterns_are_all_found() {
        let set = set(&["he", "she", "hers", "", "he"]);
        let mut found = set.match_all(b"ushers she");
        found.sort_unstable();
        assert_eq!(found, [(&b"he"[..], 4), (&b"hers"[..], 6), (&b"she"[..], 4)]);
    }

    #[test]
    fn the_first_end_wins_then_the_longest() {
        assert_eq!(set(&["b", "abcd"]).match_one(b"abcd"), Some((&b"b"[..], 2)));
        assert_eq!(set(&["c", "bc", "abc", "zbc"]).match_one(b"abc"), Some((&b"abc"[..], 3)));
        assert_eq!(set(&["x"]).match_one(b"abc"), None);
        assert_eq!(PatternSet::empty().match_one(b"abc"), None);
    }

    #[test]
    fn too_many_bytes_are_refused() {
        let huge = vec![vec![b'a'; super::MAX_PATTERN_BYTES + 1]];
        assert!(matches!(PatternSet::new(huge), Err(PatternSetError::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_search(patterns in prop::collection::vec("[ab]{1,4}", 0..6), text in "[abc]{0,40}") {
            let refs: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let set = set(&refs);
            let mut expected: Vec<(&[u8], usize)> = refs
                .iter()
                .filter_map(|pattern| text.find(pattern).map(|at| (pattern.as_bytes(), at + pattern.len())))
                .collect();
            expected.sort_unstable();
            expected.dedup();
            let mut found = set.match_all(text.as_bytes());
            found.sort_unstable();
            assert_eq!(&found, &expected);
            let best = expected.iter().min_by_key(|(pattern, end)| (*end, usize::MAX - pattern.len())).copied();
            assert_eq!(set.match_one(text.as_bytes()), best);
        }
    }
}
