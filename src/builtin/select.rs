//! Which groups are metered.

use crate::guid::Guid;
use crate::metrics::{Group, GroupIndex, GroupKind, Level, Registry};

/// Every group that is metered unless it is optional.
const ALL: &str = "all";
/// Those of them that need no look into the contents of flows.
const DEFAULT: &str = "default";

/// Groups that are counted by what is found in flows.
const BY_CONTENTS: [&[u8]; 7] = [
    b"HTTP Hosts",
    b"HTTP Content Types",
    b"HTTP Methods",
    b"HTTP Status Codes",
    b"TLS Orgs",
    b"TLS Ciphers",
    b"TLS CAs",
];

/// Groups to meter as they were asked for: names, GUIDs, `all` or `default`. With neither, nothing is metered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuiltinSettings {
    /// To meter.
    pub on: Vec<String>,
    /// Not to meter, whatever `on` says.
    pub off: Vec<String>,
}

/// Nothing is metered under a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no counter group '{name}' is metered natively; there are: all, default, {}; and when named: {}",
    native.join(", "),
    optional.join(", ")
)]
pub struct UnknownBuiltin {
    /// As it was written.
    pub name: String,
    /// The groups that `all` stands for.
    pub native: Vec<String>,
    /// The optional ones.
    pub optional: Vec<String>,
}

/// The groups that are metered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    // INVARIANT: sorted, each once.
    groups: Vec<GroupIndex>,
}

impl BuiltinSettings {
    /// Finds the groups.
    ///
    /// # Errors
    /// [`UnknownBuiltin`] for a name or GUID that is none of a group metered natively.
    pub fn resolve(&self, registry: &Registry) -> Result<Selection, UnknownBuiltin> {
        let mut groups = Vec::new();
        for name in &self.on {
            groups.extend(named(registry, name)?);
        }
        for name in &self.off {
            let off = if name.eq_ignore_ascii_case(ALL) { groups.clone() } else { named(registry, name)? };
            groups.retain(|group| !off.contains(group));
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(Selection { groups })
    }
}

fn metered(registry: &Registry) -> impl Iterator<Item = (GroupIndex, &Group)> {
    let indices = (0..).map(GroupIndex);
    let groups = indices.zip(registry.counter_groups());
    groups.filter(|(_, group)| matches!(group.level, Level::Native | Level::Optional))
}

fn named(registry: &Registry, name: &str) -> Result<Vec<GroupIndex>, UnknownBuiltin> {
    let native = || metered(registry).filter(|(_, group)| group.level == Level::Native);
    if name.eq_ignore_ascii_case(ALL) {
        return Ok(native().map(|(index, _)| index).collect());
    }
    if name.eq_ignore_ascii_case(DEFAULT) {
        let plain = native().filter(|(_, group)| !BY_CONTENTS.contains(&&group.name[..]));
        return Ok(plain.map(|(index, _)| index).collect());
    }
    let by_guid = Guid::parse(name.as_bytes()).ok().and_then(|guid| registry.find(GroupKind::Counter, guid));
    let is_it = |group: &Group| match by_guid {
        Some(found) => found.guid == group.guid,
        None => [Some(&group.name), group.name_alias.as_ref()]
            .into_iter()
            .flatten()
            .any(|known| known.eq_ignore_ascii_case(name.as_bytes())),
    };
    match metered(registry).find(|(_, group)| is_it(group)) {
        Some((index, _)) => Ok(vec![index]),
        None => {
            let names = |level: Level| {
                let of_level = metered(registry).filter(|(_, group)| group.level == level);
                of_level.map(|(_, group)| String::from_utf8_lossy(&group.name).into_owned()).collect()
            };
            Err(UnknownBuiltin {
                name: name.to_owned(),
                native: names(Level::Native),
                optional: names(Level::Optional),
            })
        }
    }
}

impl Selection {
    /// True if nothing is metered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The groups, in the order of their indices.
    #[must_use]
    pub fn groups(&self) -> &[GroupIndex] {
        &self.groups
    }

    /// The index of a group, if it is metered.
    pub(super) fn find(&self, registry: &Registry, name: &str) -> Option<GroupIndex> {
        let group = registry.find_name(GroupKind::Counter, name.as_bytes())?;
        let index = registry.counter_index(group.guid)?;
        self.groups.contains(&index).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::BuiltinSettings;
    use crate::metrics::{Level, Registry};

    fn names(on: &[&str], off: &[&str]) -> Result<Vec<String>, String> {
        let registry = Registry::new();
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let selection = BuiltinSettings { on: list(on), off: list(off) }.resolve(&registry);
        let name = |index: &crate::metrics::GroupIndex| {
            String::from_utf8_lossy(&registry.counter_group(*index).unwrap().name).into_owned()
        };
        selection.map(|selection| selection.groups().iter().map(name).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn nothing_is_metered_unless_asked_for() {
        assert!(names(&[], &[]).unwrap().is_empty());
    }

    #[test]
    fn all_is_every_native_group_and_default_leaves_out_those_by_contents() {
        let native = Registry::new().counter_groups().filter(|group| group.level == Level::Native).count();
        let all = names(&["all"], &[]).unwrap();
        assert_eq!(all.len(), native);
        assert!(!all.contains(&"Web Hosts".to_owned()) && all.contains(&"HTTP Hosts".to_owned()));
        let default = names(&["default"], &[]).unwrap();
        assert_eq!(default.len(), native - 7);
        assert!(default.contains(&"Apps".to_owned()) && !default.contains(&"TLS Orgs".to_owned()));
    }

    #[test]
    fn groups_are_named_by_name_alias_or_guid_of_either_case() {
        let hosts = ["Hosts", "hosts", "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"];
        for name in hosts {
            assert_eq!(names(&[name], &[]).unwrap(), ["Hosts"], "{name}");
        }
        assert_eq!(names(&["{6cd742b1-c1ca-4708-be78-0fca2eb01a86}"], &[]).unwrap(), ["HostsIPv6"]);
        assert_eq!(names(&["TLS Organizations"], &[]).unwrap(), ["TLS Orgs"]);
        assert_eq!(names(&["Web Hosts", "Apps", "Apps"], &["apps"]).unwrap(), ["Web Hosts"]);
        assert!(names(&["all", "Web Hosts"], &["all"]).unwrap().is_empty());
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_there_are() {
        let error = names(&["Hots"], &[]).unwrap_err();
        assert!(error.starts_with("no counter group 'Hots' is metered natively; there are: all, default, Aggregates"));
        assert!(
            error.ends_with(
                "when named: Web Hosts, Email Hosts, SSH Hosts, Unusual Traffic Hosts, Subnets, \
                                 Interfaces, System Performance"
            ),
            "{error}"
        );
        // Registered by name only: scripts feed it.
        assert!(names(&["Country"], &[]).is_err());
        assert!(names(&[], &["nothing"]).is_err());
    }
}
