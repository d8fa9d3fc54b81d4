//! The names of the plugin API: what `T` has, what the engine has, what each block may hold.

use crate::api::LogLevel;
use crate::api::constants::VARTYPES;
use crate::plugin::PluginKind;

/// Fields of `T` itself, those included that only some VMs have.
pub const T: [&str; 29] = [
    "K",
    "util",
    "env",
    "host",
    "async",
    "block",
    "re2",
    "ac",
    "log",
    "logerror",
    "logwarning",
    "loginfo",
    "logdebug",
    "contextid",
    "execution_contextid",
    "probeid",
    "probeversion",
    "context_name",
    "contextname",
    "args",
    "enginetype",
    "backend_engineid",
    "countergroups",
    "alertgroups",
    "resourcegroups",
    "ftsgroups",
    "sessiongroups",
    "monitor_group_name",
    "monitor_group_guid",
];

/// Fields of the tables in `T`, by the name of the table.
const TABLES: [(&str, &[&str]); 5] = [
    ("K", &["loglevel", "vartype", "vartypes"]),
    (
        "util",
        &[
            "ntop",
            "pton",
            "bor",
            "band",
            "testbit32",
            "bitval32",
            "split",
            "splitm",
            "hash",
            "bin2hex",
            "hex2bin",
            "sha256",
            "sha256_file",
            "md5",
            "md5_file",
        ],
    ),
    ("env", &["configfile", "domain_configfile", "get_config", "get_domain_config"]),
    (
        "host",
        &[
            "get_homenets",
            "is_homenet",
            "is_homenet_key",
            "get_configpath",
            "get_datapath",
            "createkey",
            "prepare_config",
            "broadcast",
            "log",
            "id",
        ],
    ),
    (
        "async",
        &[
            "cat",
            "copy",
            "cp",
            "rm",
            "copybuffer",
            "schedule",
            "pending_items",
            "cancel",
            "status",
            "stats",
            "configure",
            "letters",
            "retry",
            "defer",
            "resolve",
            "reject",
            "abort",
            "spawn",
            "await",
            "sleep",
            "all",
            "race",
        ],
    ),
];

/// The fields of a table in `T`, by its path below `T`; `None` for tables with names of their own (groups).
#[must_use]
pub fn fields_of(path: &str) -> Option<Vec<&'static str>> {
    match path {
        "K.vartype" | "K.vartypes" => Some(VARTYPES.iter().map(|(name, _)| *name).collect()),
        "K.loglevel" => Some(LogLevel::ALL.iter().map(|(name, _)| *name).collect()),
        _ => TABLES.iter().find(|(name, _)| *name == path).map(|(_, fields)| fields.to_vec()),
    }
}

/// Fields of `TrisulPlugin` that are no blocks.
pub const PLUGIN_FIELDS: [&str; 6] =
    ["id", "onload", "onunload", "onmessage", "message_subscriptions", "request_async_workers"];

/// Fields of every `control` table.
pub const CONTROL: [&str; 9] = [
    "guid",
    "name",
    "description",
    "bucketsize",
    "topper_bucketsize",
    "resolver_guid",
    "host_protocol_guid",
    "host_protocol_ports",
    "count",
];

/// Callbacks of a block.
#[must_use]
pub fn callbacks(kind: PluginKind) -> &'static [&'static str] {
    use PluginKind as K;
    match kind {
        K::CounterGroup | K::ResourceGroup | K::AlertGroup => &[],
        K::ProtocolHandler => &["parselayer"],
        K::SimpleCounter => &["onpacket"],
        K::ReassemblyHandler => &["filter", "onnewflow", "onpayload", "onattribute", "onterminateflow", "onterminate"],
        K::FilexMonitor => {
            &["filter_flow", "filter", "onpayload_raw", "onpayload_http", "onfile_http", "onterminateflow"]
        }
        K::PacketStorage => &["filter", "filter_payload"],
        K::InputFilter => &["step", "step_alert"],
        K::MessageMonitor => &["onnewflowrecord", "onflowmetric"],
        K::FlowMonitor => &["onflowattribute"],
        K::ChannelListener => &["onchannelmessage"],
        K::EngineMonitor => &["onbeginflush", "onendflush", "onmetronome"],
        K::CgMonitor => &[
            "onbeginflush",
            "onflushfilter",
            "onflush",
            "onendflush",
            "onbegintopperflush",
            "ontopperflushfilter",
            "ontopperflush",
            "onendtopperflush",
            "onupdate",
            "onnewkey",
            "onmetronome",
        ],
        K::SgMonitor => &[
            "onnewflow",
            "onupdate",
            "onterminate",
            "onbeginflush",
            "flushfilter",
            "onflush",
            "onendflush",
            "onmetronome",
        ],
        K::AlertMonitor => &["onnewalert", "onbeginflush", "flushfilter", "onflush", "onendflush", "onmetronome"],
        K::ResourceMonitor => &["onnewresource", "onbeginflush", "flushfilter", "onflush", "onendflush", "onmetronome"],
        K::FtsMonitor => &["onnewfts", "onbeginflush", "flushfilter", "onflush", "onendflush", "onmetronome"],
        K::FlowTracker => &["getmetric", "onbeginflush", "onendflush", "onmetronome"],
    }
}

/// Fields of a block that are no callbacks.
#[must_use]
pub fn block_fields(kind: PluginKind) -> &'static [&'static str] {
    use PluginKind as K;
    match kind {
        K::CounterGroup => &["control", "meters", "keyinfo"],
        K::ResourceGroup | K::AlertGroup | K::ProtocolHandler | K::FlowTracker => &["control"],
        K::SimpleCounter => &["protocol_guid", "flow_counter"],
        K::CgMonitor => &["counter_guid", "counter_name_match", "counter_name_regex"],
        K::SgMonitor => &["session_guid"],
        K::AlertMonitor => &["alert_guid", "alert_name_match", "alert_name_regex"],
        K::ResourceMonitor => &["resource_guid"],
        K::FtsMonitor => &["fts_guid"],
        _ => &[],
    }
}

/// Names further apart have nothing to do with each other.
const MOST_EDITS: usize = 2;

/// The name that was probably meant: few edits away, fewer for short names.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = if name.len() < 5 { 1 } else { MOST_EDITS };
    candidates
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(edits, candidate)| (1..=allowed).contains(edits) && candidate.len() > *edits + 1)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
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
    use super::{T, callbacks, distance, fields_of, nearest};
    use crate::plugin::PluginKind;

    #[test]
    fn the_name_that_was_meant_is_the_nearest() {
        assert_eq!(nearest("onpackt", callbacks(PluginKind::SimpleCounter).iter().copied()), Some("onpacket"));
        assert_eq!(nearest("onPacket", ["onpacket"]), Some("onpacket"));
        assert_eq!(nearest("onpacket", ["onpacket"]), None);
        assert_eq!(nearest("x", ["id"]), None);
        assert_eq!(nearest("lgo", T), Some("log"));
        assert_eq!(distance("ab", "ba"), 1);
    }

    #[test]
    fn tables_of_t_have_their_fields_by_path() {
        assert!(fields_of("K.vartype").unwrap().contains(&"GAUGE"));
        assert!(fields_of("util").unwrap().contains(&"ntop"));
        assert_eq!(fields_of("countergroups"), None);
    }
}
