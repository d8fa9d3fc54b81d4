//! The page about GUIDs: built-in protocols and groups, as the registries have them.

use std::fmt::Write as _;

use crate::decode;
use crate::metrics::{Group, GroupKind, Level, Registry};

/// What stands above the page.
const HEAD: &str = "<!-- Made by `millstream api --markdown docs` from the registries of groups and protocols. -->\n\n\
# GUIDs and built-in groups\n\n\
Groups and protocols are named by GUIDs. Letter case does not matter, braces do. `millstream guid` makes a new one for a \
group of your own. The kinds have spaces of their own: one GUID may name a counter group and a resource group.\n\n\
Scripts of the backend find groups by name: `T.countergroups[\"Hosts\"]`, `T.ftsgroups[\"SSL Certs\"]`.\n";

/// The whole page.
pub(super) fn page() -> String {
    let mut text = HEAD.to_owned();
    protocols(&mut text);
    let groups = Registry::new();
    for (kind, title, about) in [
        (GroupKind::Session, "Flow groups", "For `session_guid` of an `sg_monitor`, which may leave it out."),
        (GroupKind::Alert, "Alert groups", "For `engine:add_alert` and `alert_monitor`."),
        (GroupKind::Resource, "Resource groups", "For `resource_monitor`, and `engine:add_resource`."),
        (GroupKind::Fts, "Groups of documents", "For `fts_monitor`."),
    ] {
        let _ = write!(text, "\n## {title}\n\n{about}\n\n| Name | GUID | What is in it |\n| --- | --- | --- |\n");
        for group in groups.groups(kind) {
            let _ = writeln!(text, "| {} | {} | {} |", name(group), identities(group), shown(&group.description));
        }
    }
    counters(&mut text, &groups);
    text
}

fn protocols(text: &mut String) {
    text.push_str(
        "\n## Protocols\n\nFor `protocol_guid` of a `simplecounter`, `host_protocol_guid`, `packet:find_layer`. Link is the \
         first layer of packets that are not Ethernet; Opaque is what nobody knows: all of a packet of an unknown link type, and what \
         follows a script's layer under an unknown GUID. sFlow and NetFlow are names only, unless a script handles them.\n\n| Name | GUID |\n| --- | --- |\n",
    );
    for (_, guid, name) in decode::Registry::new().iter() {
        let _ = writeln!(text, "| {name} | `{guid}` |");
    }
}

fn counters(text: &mut String, groups: &Registry) {
    text.push_str(
        "\n## Counter groups\n\n*Counted* says whether millstream fills the group: always with `--builtin all` (or the name of the \
         group), only `when named`, or never, in which case the name is there for scripts to feed. Rates are per second.\n",
    );
    text.push_str("\n| Name | GUID | Counted | Bucket | Keys |\n| --- | --- | --- | ---: | --- |\n");
    for group in groups.counter_groups() {
        let counted = match group.level {
            Level::Native => "yes",
            Level::Optional => "when named",
            Level::Registered | Level::Script => "by scripts",
        };
        let _ = writeln!(
            text,
            "| [{}](#{}) | {} | {counted} | {} s | {} |",
            name(group),
            anchor(group),
            identities(group),
            group.bucketsize,
            shown(&group.description)
        );
    }
    text.push_str("\n## Meters\n\nThe number of a meter is what `engine:update_counter` takes; in `metrics` its index is one higher.\n");
    for group in groups.counter_groups() {
        let _ = write!(
            text,
            "\n### {}\n\n| Meter | Name | Vartype | Unit |\n| ---: | --- | --- | --- |\n",
            shown(&group.name)
        );
        for meter in &group.meters {
            let (name, units) = (shown(&meter.name), shown(&meter.units));
            let _ = writeln!(text, "| {} | {name} | {} | {units} |", meter.id, meter.vartype.name());
        }
    }
}

fn anchor(group: &Group) -> String {
    let name = shown(&group.name).to_lowercase().replace(' ', "-");
    name.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

fn name(group: &Group) -> String {
    match &group.name_alias {
        Some(alias) => format!("{}, {}", shown(&group.name), shown(alias)),
        None => shown(&group.name),
    }
}

fn identities(group: &Group) -> String {
    match &group.alias {
        Some(alias) => format!("`{}` or `{alias}`", group.guid),
        None => format!("`{}`", group.guid),
    }
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::page;

    #[test]
    fn groups_and_protocols_are_all_there() {
        let page = page();
        for wanted in [
            "| TCP | `{77E462AB-",
            "[Hosts](#hosts)",
            "### HostsIPv6",
            "SSL Certs",
            "| 0 | Total | RATE_COUNTER | Bps |",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        assert!(page.lines().all(|line| line.trim_end() == line));
    }
}
