//! Scripts that look at something which nothing provides in this run, because it has to be switched on, and input filters that
//! are not the input.

use crate::api::LogLevel;
use crate::api::t_env::ConfigPaths;
use crate::app::cli::RunArgs;
use crate::builtin::Selection;
use crate::guid::Guid;
use crate::metrics::{GroupKind, Level};
use crate::pipeline::DNS_DOCUMENTS;
use crate::plugin::{Block, Catalog, CatalogEntry, CatalogNote, PluginKind};

/// The documents that are made only when they are switched on.
const DNS_RECORDS: &[u8] = b"DNS Records";

/// What authors should know before they wonder why nothing comes.
pub fn notes(catalog: &Catalog, args: &RunArgs, counted: &Selection, config: &ConfigPaths) -> Vec<CatalogNote> {
    let mut notes = Vec::new();
    for entry in &catalog.entries {
        for block in entry.manifest.iter().flat_map(|manifest| &manifest.blocks) {
            let text = match block.kind {
                PluginKind::CgMonitor => uncounted(catalog, entry, block, counted),
                PluginKind::FtsMonitor => unmade(catalog, block, config),
                PluginKind::InputFilter => idle(catalog, entry, args),
                _ => None,
            };
            notes.extend(text.map(|text| CatalogNote { script: entry.id, level: LogLevel::Notice, text }));
        }
    }
    notes
}

/// Packets come from somewhere else, which is nothing to speak of where nobody named the script.
fn idle(catalog: &Catalog, entry: &CatalogEntry, args: &RunArgs) -> Option<String> {
    if !args.input.read.is_empty() || !args.input.interface.is_empty() {
        let named = args.plugins.plugin.contains(&entry.script.path);
        return named.then(|| "inputfilter: not used, the packets are those of -r or -i".to_owned());
    }
    let first = catalog.input_filter()?;
    (first.id != entry.id).then(|| format!("inputfilter: not used, {} is the input; there can be one", first.name))
}

/// All groups of a block could be counted natively, and neither that is asked for nor does another script speak of one.
fn uncounted(catalog: &Catalog, entry: &CatalogEntry, block: &Block, counted: &Selection) -> Option<String> {
    let groups = &catalog.groups;
    let (mut first, mut all) = (None, " or --builtin all");
    for group in block.monitored(groups) {
        let index = groups.counter_index(group.guid)?;
        let level = groups.find(GroupKind::Counter, group.guid)?.level;
        let others = catalog.entries.iter().filter(|other| other.id != entry.id);
        if !matches!(level, Level::Native | Level::Optional)
            || counted.groups().contains(&index)
            || entry.mentions("update_counter")
            || others.into_iter().any(|other| speaks_of(other, group.guid))
        {
            return None;
        }
        if level == Level::Optional {
            all = "";
        }
        first.get_or_insert(group.name);
    }
    let name = String::from_utf8_lossy(&first?).into_owned();
    Some(format!("cg_monitor: nothing counts the group {name} in this run unless asked to: --builtin '{name}'{all}"))
}

/// Documents of DNS are asked for and not made.
fn unmade(catalog: &Catalog, block: &Block, config: &ConfigPaths) -> Option<String> {
    let dns = catalog.groups.find_name(GroupKind::Fts, DNS_RECORDS)?.guid;
    let wants = block.monitored(&catalog.groups).any(|group| group.guid == dns);
    let off = !config.get(DNS_DOCUMENTS).eq_ignore_ascii_case("true");
    (wants && off)
        .then(|| format!("fts_monitor: documents of DNS are not made unless asked for: --set '{DNS_DOCUMENTS}=true'"))
}

fn speaks_of(entry: &CatalogEntry, guid: Guid) -> bool {
    let wanted = guid.to_string();
    entry.script.source.windows(wanted.len()).any(|text| text.eq_ignore_ascii_case(wanted.as_bytes()))
}
