//! The groups that exist before any script is loaded, in order of registration.

use super::builtin_labels as labels;
use super::builtin_meters::{self as meters, Def};
use super::group::{DEFAULT_BUCKETSIZE, DEFAULT_TOPPER_BUCKETSIZE, Group, GroupKind, Level, Meter};
use crate::guid::Guid;

/// Level, GUID, name, bucket size, what the keys are, meters.
type Counters = (Level, &'static str, &'static str, u32, &'static str, &'static [Def]);

const fn counters(
    level: Level,
    guid: &'static str,
    name: &'static str,
    bucketsize: u32,
    keys: &'static str,
    meters: &'static [Def],
) -> Counters {
    (level, guid, name, bucketsize, keys, meters)
}

/// Groups without meters: kind, GUID, name, what they hold.
const OTHERS: &[(GroupKind, &str, &str, &str)] = &[
    (GroupKind::Session, "{99A78737-4B41-4387-8F31-8077DB917336}", "IP Flows", "flows"),
    (GroupKind::Alert, "{5E97C3A3-41DB-4E34-92C3-87C904FAB83E}", "Blacklist activity", "threat intelligence hits"),
    (GroupKind::Alert, "{9AFD8C08-07EB-47E0-BF05-28B4A7AE8DC9}", "External IDS", "alerts of an external IDS"),
    (GroupKind::Alert, "{BE7F367F-8533-45F7-9AE8-A33E5E1AA783}", "Flow Tracker", "flow tracker alerts"),
    (GroupKind::Alert, "{F69C2462-ECEA-45B8-B1CB-F90342D37A4F}", "System Alerts", "the system itself"),
    (GroupKind::Alert, "{0E7E367D-4455-4680-BC73-699D81B7CBE0}", "Threshold Band Alerts", "anomalies"),
    (GroupKind::Alert, "{03AC6B72-FDB7-44C0-9B8C-7A1975C1C5BA}", "Threshold Crossing", "thresholds"),
    (GroupKind::Alert, "{B5F1DECB-51D5-4395-B71B-6FA730B772D9}", "User Alerts", "general purpose"),
    (GroupKind::Resource, "{D1E27FF0-6D66-4E57-BB91-99F76BB2143E}", "DNS Resources", "questions and answers"),
    (GroupKind::Resource, "{4EF9DEB9-4332-4867-A667-6A30C5900E9E}", "HTTP URIs", "requests"),
    (GroupKind::Resource, "{5AEE3F0B-9304-44BE-BBD0-0467052CF468}", "SSL Certs", "certificates"),
    (GroupKind::Resource, "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}", "File Hashes", "hashes of files seen"),
    (GroupKind::Fts, "{9FEB8ADE-ADBB-49AD-BC68-C6A02F389C71}", "SSL Certs", "certificates"),
    (GroupKind::Fts, "{28217924-E7A5-4523-993C-44B52758D5A8}", "HTTP Headers", "headers"),
    (GroupKind::Fts, "{09B305DF-078C-4B9E-8E2F-EA64B7326880}", "DNS Records", "answers"),
];

/// Second GUIDs of a group: kind, GUID, second GUID.
const GUID_ALIASES: &[(GroupKind, &str, &str)] = &[
    (GroupKind::Counter, "{9807E97A-6CD2-442F-BB18-8C104C8EB204}", "{6CD742B1-C1CA-4708-BE78-0FCA2EB01A86}"),
    (GroupKind::Alert, "{BE7F367F-8533-45F7-9AE8-A33E5E1AA783}", "{18CE5961-38FF-4AEA-BAF8-2019F3A09063}"),
];

/// Second names of a group: GUID, second name.
const NAME_ALIASES: &[(&str, &str)] = &[("{432D7552-0363-4640-9CC5-23E4CA8410EA}", "TLS Organizations")];

#[rustfmt::skip]
const COUNTERS: &[Counters] = &[
    counters(Level::Native, "{393B5EBC-AB41-4387-8F31-8077DB917336}", "Aggregates", 60, "special keys", meters::AGGREGATES),
    counters(Level::Native, "{4CD742B1-C1CA-4708-BE78-0FCA2EB01A86}", "Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Native, "{9807E97A-6CD2-442F-BB18-8C104C8EB204}", "HostsIPv6", 60, "IPv6 host", meters::HOSTS),
    counters(Level::Native, "{889900CC-0063-11A5-8380-FEBDBABBDBEA}", "Internal Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Native, "{00AA77BB-0063-11A5-8380-FEBDBABBDBEA}", "External Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Optional, "{EEF95297-0C8D-4673-AD6B-F4BD2345FD69}", "Web Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Optional, "{22D4082E-B8BA-40D0-A287-1F524DF8DA7B}", "Email Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Optional, "{439002E4-3758-4E88-9438-8034FE1616AF}", "SSH Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Optional, "{AE3A1449-5663-41A5-A028-FDE61DBB7EFA}", "Unusual Traffic Hosts", 60, "IPv4 host", meters::HOSTS),
    counters(Level::Native, "{C51B48D4-7876-479E-B0D9-BD9EFF03CE2E}", "Apps", 300, "application", meters::APPS),
    counters(Level::Native, "{E89BCD56-30AD-40F5-B1C8-8B7683F440BD}", "NetworkLayerStats", 60, "IP protocol", meters::NETWORKLAYERSTATS),
    counters(Level::Native, "{9F5AD3A9-C74D-46D8-A8A8-DCDD773730BA}", "LinkLayerStats", 60, "EtherType", meters::LINKLAYERSTATS),
    counters(Level::Native, "{4B09BD22-3B99-40FC-8215-94A430EA0A35}", "Mac", 60, "MAC", meters::MAC),
    counters(Level::Native, "{79F60A94-44BD-4C55-891A-77823D59161B}", "Dir Mac", 60, "MAC pair", meters::DIR_MAC),
    counters(Level::Native, "{0EC72E9E-3AD2-43FD-8173-74693EEA08D0}", "VLANStats", 60, "VLAN id", meters::VLANSTATS),
    counters(Level::Native, "{FA6466E2-EA6A-4E75-8F39-ADE7708C6F46}", "ICMP Types", 60, "ICMP type/code", meters::ICMP_TYPES),
    counters(Level::Native, "{D2AAD7C6-E129-4366-A2AD-A8CB9AA4C2F4}", "HTTP Hosts", 60, "host name", meters::HTTP_HOSTS),
    counters(Level::Native, "{C0C9757F-2005-4CC5-BB96-D72F607E6188}", "HTTP Content Types", 60, "media type without parameters", meters::HTTP_CONTENT_TYPES),
    counters(Level::Native, "{2A6957EB-4992-46CD-8E49-BE32318669D3}", "HTTP Methods", 60, "method", meters::HTTP_METHODS),
    counters(Level::Native, "{25E80A84-C175-4C01-977C-1411F5D10B56}", "HTTP Status Codes", 60, "three digits", meters::HTTP_STATUS_CODES),
    counters(Level::Native, "{432D7552-0363-4640-9CC5-23E4CA8410EA}", "TLS Orgs", 60, "organisation", meters::TLS_ORGS),
    counters(Level::Native, "{5B64A573-623F-4F5B-8865-78C62BF466A7}", "TLS Ciphers", 60, "four hex digits", meters::TLS_CIPHERS),
    counters(Level::Native, "{15856A98-7F87-46D7-84D2-18DD549F8A6F}", "TLS CAs", 60, "organisation", meters::TLS_CAS),
    counters(Level::Native, "{A0FA9464-B496-4A20-A9AB-4D2D09AFF902}", "Alert Signatures", 300, "signature id", meters::ALERT_SIGNATURES),
    counters(Level::Native, "{20BC4345-37F0-44D0-ABFF-3BED97363CB1}", "Alert Classes", 300, "classification", meters::ALERT_SIGNATURES),
    counters(Level::Native, "{9EFAFDD0-6CBB-4C04-8B13-2C8E0A9D3F85}", "Alert Priorities", 300, "decimal priority", meters::ALERT_SIGNATURES),
    counters(Level::Native, "{4D88CC23-2883-4DEA-A313-A23B60FE8BDA}", "Meta Counter Group", 60, "guid of a counter group", meters::META_COUNTER_GROUP),
    counters(Level::Native, "{594606BD-EEB2-4E0B-BAC4-84B7057088C8}", "Meta Session Group", 60, "guid of the session group", meters::META_SESSION_GROUP),
    counters(Level::Registered, "{2314BB8E-2BCC-4B86-8AA2-677E5554C0FE}", "FlowGens", 60, "IPv4 host (exporter)", meters::FLOWGENS),
    counters(Level::Registered, "{C0B04CA7-95FA-44EF-8475-3835F3314761}", "FlowIntfs", 60, "interface", meters::FLOWINTFS),
    counters(Level::Optional, "{429B65AD-CDA4-452E-A852-24D8A3D0FBB3}", "Subnets", 60, "network name", meters::SUBNETS),
    counters(Level::Optional, "{8AC478BC-8891-0009-5F31-80774B010086}", "Interfaces", 60, "capture interface name", meters::INTERFACES),
    counters(Level::Registered, "{A8776788-B8E3-4108-AD24-0E3927D9364B}", "VSAT", 60, "text", meters::VSAT),
    counters(Level::Registered, "{FF889910-9293-AAA5-0028-883991889884}", "Unleash Apps", 60, "text", meters::UNLEASH_APPS),
    counters(Level::Registered, "{3A597F63-29C0-44AF-A7EF-641897D68693}", "Organization", 60, "text", meters::UNLEASH_APPS),
    counters(Level::Optional, "{0D39F2A7-2627-49D5-9DCF-707E6F1C0571}", "System Performance", 60, "probe id", meters::SYSTEM_PERFORMANCE),
    counters(Level::Registered, "{9021F5D3-FEFB-401B-99EC-EF2ACD088578}", "App-ID", 60, "application name", meters::APP_ID),
    counters(Level::Registered, "{03BB12BC-1437-F908-8797-EB4BB0BEDE4A}", "Application Group", 60, "group name", meters::APPS),
    counters(Level::Registered, "{86A8880D-F4B2-4E49-A4FA-718880CAA976}", "User ID", 60, "user name", meters::APP_ID),
    counters(Level::Registered, "{74FE9532-EDEB-421E-BD92-B5C62E7F2346}", "Base Domains", 60, "domain", meters::BASE_DOMAINS),
    counters(Level::Registered, "{0F3D2DC3-107C-4348-8561-757734AF4666}", "HTTP URL Category", 60, "category", meters::HTTP_URL_CATEGORY),
    counters(Level::Registered, "{6255BD85-2DCB-49E7-AF1F-1267AAF4DCA1}", "Blacklist", 60, "indicator", meters::BLACKLIST),
    counters(Level::Registered, "{664D68BF-5544-43CE-A895-50F2E179EA5A}", "Remote Office", 60, "office name", meters::REMOTE_OFFICE),
    counters(Level::Registered, "{27870892-5B20-4555-8BA2-2742F3DD0F04}", "Long Fat Tail Hosts", 60, "host name", meters::LONG_FAT_TAIL_HOSTS),
    counters(Level::Registered, "{6C312435-80C1-401F-AEDD-090FF4F46212}", "MPLSStats", 60, "label", meters::MPLSSTATS),
    counters(Level::Registered, "{00990011-44BD-4C55-891A-77823D59161B}", "Country", 60, "country code, lower case", meters::COUNTRY),
    counters(Level::Registered, "{6D201FA3-6F8B-4F83-73F7-CB0B8A66EA2E}", "City", 60, "text", meters::CITY),
    counters(Level::Registered, "{03E016FC-46AA-4340-90FC-0E278B93C677}", "ASNumber", 60, "decimal AS number", meters::CITY),
    counters(Level::Registered, "{2838D2E8-EABC-4050-90C4-8AE2589AAB25}", "Prefix", 60, "CIDR", meters::CITY),
    counters(Level::Registered, "{47F48ED1-C3E1-4CEE-E3FA-E768558BC07E}", "BGP-ASPATH", 60, "AS path", meters::BGP_ASPATH),
    counters(Level::Registered, "{3950AB76-3C3A-40EE-5C94-80A87EE28D53}", "BGP-Origin AS", 60, "AS number", meters::BGP_ORIGIN_AS),
    counters(Level::Registered, "{A643654F-2BA3-4832-4FF1-43EBDDE6E655}", "BGP-Peer AS", 60, "AS number", meters::BGP_ORIGIN_AS),
    counters(Level::Registered, "{C26520C4-DB9D-49EC-5D8B-35AD39951E36}", "BGP-Prefix External", 60, "CIDR", meters::BGP_PREFIX_EXTERNAL),
    counters(Level::Registered, "{4FBCE884-6B69-40F3-F00F-559A82A58825}", "BGP-Prefix Home", 60, "CIDR", meters::BGP_PREFIX_EXTERNAL),
    counters(Level::Registered, "{FC61EC07-BED0-4734-C64C-F5932FD8B943}", "Flow-BGP-NextHop", 60, "IPv4 host", meters::FLOW_BGP_NEXTHOP),
    counters(Level::Registered, "{79693CA3-ED3C-43B3-E12A-A3F64B125E4F}", "Flow-IP-NextHop", 60, "IPv4 host", meters::FLOW_BGP_NEXTHOP),
    counters(Level::Registered, "{1D86CAB7-B4C4-433E-BCB9-C779A4244D70}", "Flow-Link-ASN", 60, "text", meters::FLOW_LINK_ASN),
    counters(Level::Registered, "{C6D9D91D-7020-404D-C99E-7032455E6244}", "Flow-Prefix-Home", 60, "CIDR", meters::FLOW_PREFIX_HOME),
    counters(Level::Registered, "{2BE2A3B6-613D-4216-0737-3684E824EA33}", "Flow-Prefix", 60, "CIDR", meters::FLOW_PREFIX),
    counters(Level::Registered, "{467AE21F-F2B7-4509-EA69-514CF2352D36}", "Flow-Prefix-v6", 60, "CIDR", meters::FLOW_PREFIX),
    counters(Level::Registered, "{7FAB8F84-C580-424B-2BA4-B2546D2DB15A}", "Flow-VRF", 60, "VRF id", meters::FLOW_BGP_NEXTHOP),
    counters(Level::Registered, "{120A3124-E2BB-47BD-6C64-71BBB861C428}", "Flow-ASN", 60, "AS number", meters::FLOW_ASN),
    counters(Level::Registered, "{9781DB2C-F78A-4F7F-A7E8-2B1A9A7BE71A}", "SNMP-Interface", 60, "interface", meters::SNMP_INTERFACE),
];

/// All built-in groups.
pub(super) fn groups() -> impl Iterator<Item = Group> {
    let others = OTHERS.iter().map(|&(kind, guid, name, description)| plain(kind, guid, name, description));
    others.chain(COUNTERS.iter().map(counter_group))
}

fn plain(kind: GroupKind, guid: &str, name: &str, description: &str) -> Group {
    let guid = Guid::literal(guid);
    let is = |text: &str| Guid::literal(text) == guid;
    Group {
        kind,
        guid,
        alias: GUID_ALIASES.iter().find(|a| a.0 == kind && is(a.1)).map(|a| Guid::literal(a.2)),
        name: name.into(),
        name_alias: NAME_ALIASES.iter().find(|a| kind == GroupKind::Counter && is(a.0)).map(|a| a.1.into()),
        description: description.into(),
        level: Level::Native,
        bucketsize: DEFAULT_BUCKETSIZE,
        topper_bucketsize: DEFAULT_TOPPER_BUCKETSIZE,
        resolver: None,
        meters: Vec::new(),
        keyinfo: Vec::new(),
        known_keys: &[],
    }
}

fn counter_group(&(level, guid, name, bucketsize, keys, meters): &Counters) -> Group {
    let meter = |(id, &(vartype, name, top, bottom, units)): (u8, &Def)| Meter {
        id,
        vartype,
        top,
        bottom,
        name: name.into(),
        description: Vec::new(),
        units: units.into(),
    };
    let meters = (0..).zip(meters).map(meter).collect();
    let known_keys = labels::of(name);
    Group { level, bucketsize, meters, known_keys, ..plain(GroupKind::Counter, guid, name, &format!("by {keys}")) }
}
