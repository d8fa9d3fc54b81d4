//! GUIDs in the text of a plugin: well formed, defined by somebody, used for what they are.

use std::collections::{BTreeMap, BTreeSet};

use super::assignments::constants;
use super::finding::{Findings, Severity};
use crate::guid::Guid;
use crate::lua::Tokens;
use crate::metrics::GroupKind;
use crate::plugin::{Catalog, PluginKind, Subscriptions};

/// Methods whose first argument names a group.
const METHODS: [(&str, GroupKind); 10] = [
    ("update_counter", GroupKind::Counter),
    ("update_counter_raw", GroupKind::Counter),
    ("update_counter_bytes", GroupKind::Counter),
    ("update_counter_at", GroupKind::Counter),
    ("update_counter_end", GroupKind::Counter),
    ("add_alert", GroupKind::Alert),
    ("add_alert_full", GroupKind::Alert),
    ("add_alert_ids", GroupKind::Alert),
    ("add_alert_tca", GroupKind::Alert),
    ("add_resource", GroupKind::Resource),
];
/// Methods whose first argument names a kind of message, which only its receivers need to know.
const MESSAGES: [&str; 3] = ["post_message_frontend", "post_message_backend", "broadcast"];
/// What a protocol is called.
const PROTOCOL: &str = "a protocol";
/// Lengths of a text that may have been meant as a GUID.
const LENGTHS: std::ops::RangeInclusive<usize> = 30..=44;

/// What the checked files and the pipeline itself know by GUID.
pub struct KnownGuids<'a> {
    catalog: &'a Catalog,
    messages: BTreeSet<Guid>,
}

impl<'a> KnownGuids<'a> {
    /// Everything in the catalogue of the checked files.
    #[must_use]
    pub fn of(catalog: &'a Catalog) -> Self {
        let mut messages = BTreeSet::new();
        for manifest in catalog.entries.iter().filter_map(|entry| entry.manifest.as_ref()) {
            if let Subscriptions::Listed(ids) = &manifest.subscriptions {
                messages.extend(ids);
            }
            messages.extend(manifest.id.clsid);
        }
        Self { catalog, messages }
    }

    /// What a GUID stands for.
    fn kind(&self, guid: Guid) -> Option<&'static str> {
        let group = GroupKind::ALL.iter().find(|kind| self.catalog.groups.find(**kind, guid).is_some());
        match group {
            Some(kind) => Some(group_name(*kind)),
            None if self.catalog.protocols.id(guid).is_some() => Some(PROTOCOL),
            None if self.messages.contains(&guid) => Some("a message"),
            None => None,
        }
    }

    /// `; did you mean {…} (TCP)?` for a GUID that differs in a few digits from a known one of a kind; `None` is any.
    fn meant(&self, guid: Guid, kind: Option<GroupKind>) -> String {
        let kinds = GroupKind::ALL.iter().filter(|known| kind.is_none_or(|kind| kind == **known));
        let groups = kinds.flat_map(|kind| self.catalog.groups.groups(*kind));
        let groups = groups.map(|group| (group.guid, String::from_utf8_lossy(&group.name).into_owned()));
        let protocols =
            self.catalog.protocols.iter().filter(|_| kind.is_none()).map(|(_, guid, name)| (guid, name.to_owned()));
        let digits = |other: Guid| {
            let difference = guid.as_u128() ^ other.as_u128();
            (0..32).filter(|digit| (difference >> (digit * 4)) & 0xF != 0).count()
        };
        match groups.chain(protocols).find(|(other, _)| (1..=3).contains(&digits(*other))) {
            Some((other, name)) => format!("; did you mean {other} ({name})?"),
            None => String::new(),
        }
    }
}

fn group_name(kind: GroupKind) -> &'static str {
    match kind {
        GroupKind::Counter => "a counter group",
        GroupKind::Resource => "a resource group",
        GroupKind::Alert => "an alert group",
        GroupKind::Fts => "a full-text group",
        GroupKind::Session => "a session group",
    }
}

/// Looks at every GUID in the text of one file.
pub fn check(tokens: &Tokens, known: &KnownGuids<'_>, protocol: Option<Guid>, findings: &mut Findings) {
    let names = named(tokens);
    let mut explained: BTreeSet<Guid> = BTreeSet::new();
    if let Some(guid) = protocol {
        explained.insert(guid);
        simplecounter(guid, tokens, known, findings);
    }
    for at in 0..tokens.len() {
        let Some(guid) = argument(tokens, at, &names) else { continue };
        let method = tokens.name(at).unwrap_or_default();
        if MESSAGES.contains(&method) {
            explained.insert(guid);
        } else if let Some((_, kind)) = METHODS.iter().find(|(name, _)| *name == method) {
            explained.insert(guid);
            use_of(method, *kind, guid, tokens.line(at), known, findings);
        }
    }
    for at in 0..tokens.len() {
        let Some(text) = tokens.text(at) else { continue };
        let line = tokens.line(at);
        match Guid::parse(text) {
            Ok(guid) if known.kind(guid).is_none() && explained.insert(guid) => {
                let message = format!("nobody defines {guid} or subscribes to it{}", known.meant(guid, None));
                let advice = "if another file does, check both together";
                findings.add(Severity::Note, line, message, advice);
            }
            Ok(_) => {}
            Err(_) => {
                if let Some(problem) = almost(text) {
                    let shown = String::from_utf8_lossy(text);
                    let message = format!("\"{shown}\" looks like a GUID but is none: {problem}");
                    let advice = "the form is {XXXXXXXX-XXXX-XXXX-XXXX-XXXXXXXXXXXX}; for a new one: millstream guid";
                    findings.add(Severity::Warning, line, message, advice);
                }
            }
        }
    }
}

fn simplecounter(guid: Guid, tokens: &Tokens, known: &KnownGuids<'_>, findings: &mut Findings) {
    if known.kind(guid) == Some(PROTOCOL) {
        return;
    }
    let line = tokens.line_of_field(&[PluginKind::SimpleCounter.name(), "protocol_guid"]);
    let message = match known.kind(guid) {
        Some(kind) => {
            format!(
                "simplecounter.protocol_guid {guid} stands for {kind}, not for a protocol; onpacket is never called"
            )
        }
        None => {
            format!("no protocol has the GUID {guid}, so onpacket is never called{}", known.meant(guid, None))
        }
    };
    findings.add(
        Severity::Warning,
        line,
        message,
        "if a protocol_handler in another file defines it, check both together",
    );
}

fn use_of(method: &str, kind: GroupKind, guid: Guid, line: u32, known: &KnownGuids<'_>, findings: &mut Findings) {
    if known.catalog.groups.find(kind, guid).is_some() {
        return;
    }
    let wanted = group_name(kind);
    if let Some(other) = known.kind(guid) {
        let message = format!("{method}: {guid} stands for {other}, not for {wanted}; the call has no effect");
        findings.add(Severity::Error, line, message, format!("give it the GUID of {wanted}"));
        return;
    }
    let block = match kind {
        GroupKind::Alert => "alertgroup",
        GroupKind::Resource => "resourcegroup",
        _ => "countergroup",
    };
    let message = format!("{method}: nobody defines {guid} as {wanted}{}", known.meant(guid, Some(kind)));
    let advice = format!("add a {block} block with this guid, or check the file that has it together with this one");
    findings.add(Severity::Warning, line, message, advice);
}

/// Names that stand for one GUID throughout the file.
fn named(tokens: &Tokens) -> BTreeMap<&str, Guid> {
    constants(tokens, |text| Guid::parse(text).ok())
}

/// The GUID given as first argument to the method at a place: `engine:method("{…}",` or `engine:method(NAME,`.
fn argument(tokens: &Tokens, at: usize, names: &BTreeMap<&str, Guid>) -> Option<Guid> {
    let is_call = at > 0 && tokens.is_access(at - 1) && tokens.is(at + 1, "(") && tokens.is(at + 3, ",");
    if !is_call {
        return None;
    }
    match (tokens.text(at + 2), tokens.name(at + 2)) {
        (Some(text), _) => Guid::parse(text).ok(),
        (None, Some(name)) => names.get(name).copied(),
        (None, None) => None,
    }
}

/// What keeps a text that was probably meant as a GUID from being one.
fn almost(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let inner = text.trim_matches(['{', '}', ' ']);
    let parts: Vec<&str> = inner.split('-').collect();
    let looks = LENGTHS.contains(&text.len())
        && parts.len() == 5
        && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric()));
    let digits = inner.chars().filter(char::is_ascii_hexdigit).count();
    if !looks || digits < 24 {
        return None;
    }
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if let Some(wrong) = inner.chars().find(|c| *c != '-' && !c.is_ascii_hexdigit()) {
        return Some(format!("'{wrong}' is no hexadecimal digit"));
    }
    if lengths != [8, 4, 4, 4, 12] {
        let lengths: Vec<String> = lengths.iter().map(ToString::to_string).collect();
        return Some(format!("its parts have {} digits instead of 8-4-4-4-12", lengths.join("-")));
    }
    Some("it needs one brace at each end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{almost, argument, named};
    use crate::lua::Tokens;

    #[test]
    fn texts_that_were_meant_as_guids_are_told_apart_from_others() {
        for (text, problem) in [
            ("77E462AB-2E42-42EC-9A58-C1A6821D6B31", "it needs one brace at each end"),
            ("{77E462AB-2E42-42EC-9A58-C1A6821D6B3G}", "'G' is no hexadecimal digit"),
            ("{77E462AB-2E42-42EC-9A58-C1A6821D6B3}", "its parts have 8-4-4-4-11 digits instead of 8-4-4-4-12"),
        ] {
            assert_eq!(almost(text.as_bytes()).as_deref(), Some(problem), "{text}");
        }
        for text in ["", "a-b-c-d-e", "a rather long-winded text-with-some-dashes", "2026-01-15-09-00 and so on and on"]
        {
            assert_eq!(almost(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_name_that_stands_for_two_guids_stands_for_none() {
        let one = "\"{77E462AB-2E42-42EC-9A58-C1A6821D6B31}\"";
        let two = "\"{14D7AB53-CC51-47E9-8814-9C06AAE60189}\"";
        let text = format!("local A = {one} local B = {one} B = {two} x.C = {one} f:g(A, 1) f:g(B, 1) f:g({two}, 1)");
        let tokens = Tokens::of(text.as_bytes());
        let names = named(&tokens);
        assert_eq!(names.keys().copied().collect::<Vec<_>>(), ["A"]);
        let found: Vec<String> = (0..tokens.len())
            .filter_map(|at| argument(&tokens, at, &names))
            .map(|guid| format!("\"{guid}\""))
            .collect();
        assert_eq!(found, [one, two]);
    }

    #[test]
    fn the_second_name_of_an_assignment_stands_for_the_second_guid() {
        let one = "\"{77E462AB-2E42-42EC-9A58-C1A6821D6B31}\"";
        let two = "\"{14D7AB53-CC51-47E9-8814-9C06AAE60189}\"";
        for local in ["local ", ""] {
            let text = format!("{local}GROUP, ALERTS = {one}, {two} f:g(ALERTS, 1)");
            let tokens = Tokens::of(text.as_bytes());
            let names = named(&tokens);
            let found = (0..tokens.len()).find_map(|at| argument(&tokens, at, &names));
            assert_eq!(found.map(|guid| format!("\"{guid}\"")).as_deref(), Some(two), "{text}");
        }
    }
}
