//! The names of the plugin API as the checks want them; they stand in the reference.

use crate::api::reference::{self, EntryKind};
use crate::plugin::PluginKind;

/// Fields of `T` itself, those included that only some VMs have.
#[must_use]
pub fn fields_of_t() -> Vec<&'static str> {
    reference::names("T")
}

/// The fields of a table in `T`, by its path below `T`; `None` for tables with names of their own (groups).
#[must_use]
pub fn fields_of(path: &str) -> Option<Vec<&'static str>> {
    let path = if path == "K.vartypes" { "K.vartype" } else { path };
    let owner = format!("T.{path}");
    reference::object(&owner).map(|_| reference::names(&owner))
}

/// Fields of `TrisulPlugin` that are no blocks.
#[must_use]
pub fn plugin_fields() -> Vec<&'static str> {
    reference::object("TrisulPlugin").into_iter().flat_map(|object| &object.entries).map(|entry| entry.name).collect()
}

/// Fields of every `control` table.
#[must_use]
pub fn control() -> Vec<&'static str> {
    let controls = reference::objects().filter(|object| object.name.ends_with(".control"));
    controls.flat_map(|object| &object.entries).map(|entry| entry.name).collect()
}

/// Callbacks of a block.
#[must_use]
pub fn callbacks(kind: PluginKind) -> Vec<&'static str> {
    names_of(kind, |kind| kind == EntryKind::Callback)
}

/// Fields of a block that are no callbacks.
#[must_use]
pub fn block_fields(kind: PluginKind) -> Vec<&'static str> {
    names_of(kind, |kind| kind != EntryKind::Callback)
}

fn names_of(kind: PluginKind, wanted: impl Fn(EntryKind) -> bool) -> Vec<&'static str> {
    let entries = reference::object(kind.name()).into_iter().flat_map(|object| &object.entries);
    entries.filter(|entry| wanted(entry.kind)).map(|entry| entry.name).collect()
}

/// Names further apart have nothing to do with each other.
const MOST_EDITS: usize = 2;

/// The name that was probably meant: few edits away, fewer for short names. Of several that are equally near the one with the
/// same letters: fingers get the order of letters wrong more easily than their number.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = if name.len() < 5 { 1 } else { MOST_EDITS };
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, candidate)| (1..=allowed).contains(edits) && candidate.len() > *edits + 1)
        .min_by_key(|(edits, candidate)| (*edits, letters(candidate) != letters(name)))
        .map(|(_, candidate)| candidate)
}

/// The letters of a word, in order of the alphabet.
fn letters(word: &str) -> Vec<char> {
    let mut letters: Vec<char> = word.chars().collect();
    letters.sort_unstable();
    letters
}

/// Edits that turn one word into the other; two letters the wrong way round are one edit, and so is any difference of letter case.
fn distance(a: &str, b: &str) -> usize {
    if a.len().abs_diff(b.len()) > MOST_EDITS {
        return MOST_EDITS + 1;
    }
    if a != b && a.eq_ignore_ascii_case(b) {
        return 1;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::{callbacks, distance, fields_of, fields_of_t, nearest};
    use crate::plugin::PluginKind;

    #[test]
    fn the_name_that_was_meant_is_the_nearest() {
        assert_eq!(nearest("onpackt", callbacks(PluginKind::SimpleCounter)), Some("onpacket"));
        assert_eq!(nearest("onPacket", ["onpacket"]), Some("onpacket"));
        assert_eq!(nearest("onpacket", ["onpacket"]), None);
        assert_eq!(nearest("x", ["id"]), None);
        assert_eq!(nearest("lgo", fields_of_t()), Some("log"));
        assert_eq!(nearest("stauts", ["stats", "status"]), Some("status"));
        assert_eq!(nearest("stat", ["stats", "state"]), Some("stats"));
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn tables_of_t_have_their_fields_by_path() {
        assert!(fields_of("K.vartype").unwrap().contains(&"GAUGE"));
        assert!(fields_of("util").unwrap().contains(&"ntop"));
        assert_eq!(fields_of("countergroups"), None);
    }
}
