//! The meters of the built-in counter groups. Ids are positions.

use super::vartype::Vartype;

/// Vartype, name, top count, bottom count, units.
pub(super) type Def = (Vartype, &'static str, u32, u32, &'static str);

const fn rate(name: &'static str, top: u32, bottom: u32, units: &'static str) -> Def {
    (Vartype::RateCounter, name, top, bottom, units)
}

const fn count(name: &'static str, top: u32, bottom: u32, units: &'static str) -> Def {
    (Vartype::Counter, name, top, bottom, units)
}

const fn running(name: &'static str, top: u32, bottom: u32, units: &'static str) -> Def {
    (Vartype::RunningCounter, name, top, bottom, units)
}

const fn gauge(name: &'static str, top: u32, bottom: u32, units: &'static str) -> Def {
    (Vartype::Gauge, name, top, bottom, units)
}

const fn delta(name: &'static str, top: u32, bottom: u32, units: &'static str) -> Def {
    (Vartype::DeltaRateCounter, name, top, bottom, units)
}

pub(super) const AGGREGATES: &[Def] = &[
    rate("Total", 0, 0, "Bps"),
    rate("Packets", 0, 0, "pps"),
    count("Active Sessions", 0, 0, "sess"),
    rate("Layer 2 Broadcast", 0, 0, "Bps"),
    rate("Layer 2 Multicast", 0, 0, "Bps"),
    rate("Layer 2 Unicast", 0, 0, "Bps"),
    rate("Layer 3 Broadcast", 0, 0, "Bps"),
    rate("Layer 3 Multicast", 0, 0, "Bps"),
    rate("Layer 3 Unicast", 0, 0, "Bps"),
    rate("Fragments", 0, 0, "pps"),
];
pub(super) const HOSTS: &[Def] = &[
    rate("Total", 50, 0, "Bps"),
    rate("Received", 10, 0, "Bps"),
    rate("Transmit", 10, 0, "Bps"),
    rate("Total Packets", 0, 0, "pps"),
    running("Active conns", 50, 0, "conns"),
    count("Attacker alerts", 20, 0, "alerts"),
    rate("Homenet", 20, 0, "Bps"),
    rate("External", 20, 0, "Bps"),
    count("TCP SYN sent", 10, 0, "packets"),
    count("TCP SYN recv", 10, 0, "packets"),
    count("TCP SYNACK sent", 10, 0, "packets"),
    count("Blacklist alerts", 20, 0, "alerts"),
    count("Victim alerts", 20, 0, "alerts"),
    count("New conns", 20, 0, "conns"),
    rate("Into Interface", 20, 0, "Bps"),
    rate("Outof Interface", 20, 0, "Bps"),
    count("Flow Records", 100, 0, "Frecs"),
];
pub(super) const APPS: &[Def] = &[
    rate("Total", 50, 0, "Bps"),
    count("Security Alerts", 10, 0, "Alerts"),
    rate("Into Homenet", 50, 0, "Bps"),
    rate("Outof Homenet", 50, 0, "Bps"),
    count("Connections", 50, 0, "Conns"),
    rate("Internal Homenet", 50, 0, "Bps"),
    rate("Transit Homenet", 50, 0, "Bps"),
    running("Active Conns", 50, 0, "Conns"),
    rate("Into Interface", 50, 0, "Bps"),
    rate("Outof Interface", 50, 0, "Bps"),
];
pub(super) const NETWORKLAYERSTATS: &[Def] = &[
    rate("Total", 10, 0, "Bps"),
    count("Packets", 10, 0, "pkts"),
    running("Active Flows", 10, 0, "flows"),
    count("Total Flows", 10, 0, "flows"),
    rate("Into Interface", 10, 0, "Bps"),
    rate("Outof Interface", 10, 0, "Bps"),
];
pub(super) const LINKLAYERSTATS: &[Def] = &[rate("Total", 10, 0, "Bps"), rate("Packets", 10, 0, "pps")];
pub(super) const MAC: &[Def] = &[rate("Transmit", 20, 0, "Bps"), rate("Receive", 20, 0, "Bps")];
pub(super) const DIR_MAC: &[Def] = &[rate("Total", 10, 0, "Bps"), rate("A->Z", 0, 0, "Bps"), rate("Z->A", 0, 0, "Bps")];
pub(super) const VLANSTATS: &[Def] =
    &[rate("Total bytes/sec", 20, 0, "Bps"), rate("Recv-Into-VLAN", 20, 0, "Bps"), rate("Xmit-To-VLAN", 20, 0, "Bps")];
pub(super) const ICMP_TYPES: &[Def] = &[rate("Bytes", 50, 0, "Bps"), rate("Packets", 50, 0, "Pps")];
pub(super) const HTTP_HOSTS: &[Def] = &[rate("Total Traffic", 50, 20, "Bps")];
pub(super) const HTTP_CONTENT_TYPES: &[Def] = &[rate("Total Traffic", 30, 30, "Bps"), count("Hits", 30, 30, "hits")];
pub(super) const HTTP_METHODS: &[Def] = &[count("Total", 20, 10, "hits")];
pub(super) const HTTP_STATUS_CODES: &[Def] = &[count("Total", 10, 10, "hits")];
pub(super) const TLS_ORGS: &[Def] = &[rate("Total Traffic", 50, 20, "Bps"), count("Hits", 50, 20, "hits")];
pub(super) const TLS_CIPHERS: &[Def] = &[rate("Total Traffic", 20, 20, "Bps"), count("Hits", 20, 20, "hits")];
pub(super) const TLS_CAS: &[Def] = &[count("Inter CA", 50, 20, "hits"), count("Root CA", 50, 20, "hits")];
pub(super) const ALERT_SIGNATURES: &[Def] = &[count("Total Alerts", 20, 0, "Count")];
pub(super) const META_COUNTER_GROUP: &[Def] = &[
    count("Master Size", 0, 0, "keys"),
    count("MRU Size", 0, 0, "keys"),
    count("Pending KU Size", 0, 0, "keys"),
    gauge("Flush US", 0, 0, "usec"),
    count("Flush Keys", 0, 0, "keys"),
    count("New Keys", 0, 0, "hits"),
    count("Key Hits", 0, 0, "hits"),
    count("Unique Keys", 0, 0, "keys"),
    count("Heap mem", 0, 0, "B"),
    count("Tail Prunes", 0, 0, "hits"),
    count("Hi Water Rej", 0, 0, "hits"),
];
pub(super) const META_SESSION_GROUP: &[Def] = &[
    count("Master Size", 0, 0, "i"),
    count("MRU Size", 0, 0, "i"),
    count("New", 0, 0, "i"),
    count("Closed", 0, 0, "i"),
    count("Expired", 0, 0, "i"),
    count("Terminated", 0, 0, "i"),
    count("Flushed", 0, 0, "i"),
    count("FlushedActive", 0, 0, "i"),
    count("Key Hits", 0, 0, "i"),
    count("Heap mem", 0, 0, "i"),
    count("Tail Prunes", 0, 0, "i"),
    count("Hi Water Rej", 0, 0, "i"),
    count("After Term", 0, 0, "i"),
    count("Flush USecs", 0, 0, "i"),
];
pub(super) const FLOWGENS: &[Def] = &[
    rate("Total", 50, 0, "Bps"),
    rate("Flow Volume", 50, 0, "Bps"),
    rate("Flow Records", 50, 0, "Rps"),
    rate("Post Filter Bandwidth", 50, 0, "Bps"),
    rate("Post Filter Flow Records", 50, 0, "Rps"),
];
pub(super) const FLOWINTFS: &[Def] = &[
    rate("Total", 1000, 0, "Bps"),
    rate("Recv", 1000, 0, "Bps"),
    rate("Xmit", 1000, 0, "Bps"),
    count("Flows", 100, 0, "Flw"),
    gauge("Recv-Util", 100, 0, "Pct"),
    gauge("Xmit-Util", 100, 0, "Pct"),
];
pub(super) const SUBNETS: &[Def] = &[
    rate("Total", 10, 0, "Bps"),
    rate("Received", 0, 0, "Bps"),
    rate("Transmit", 0, 0, "Bps"),
    rate("Packets", 0, 0, "pps"),
];
pub(super) const INTERFACES: &[Def] = &[rate("Total", 10, 0, "Bps"), rate("Packets", 0, 0, "pps")];
pub(super) const VSAT: &[Def] = &[
    rate("Total", 20, 0, "Bps"),
    rate("Out-Route", 20, 0, "Bps"),
    rate("In-Route", 20, 0, "Bps"),
    rate("UDP down", 15, 0, "Bps"),
    rate("UDP up", 15, 0, "Bps"),
    rate("TCP down", 15, 0, "Bps"),
    rate("TCP up", 15, 0, "Bps"),
    rate("Mcast down", 15, 0, "Bps"),
    rate("Mcast up", 15, 0, "Bps"),
    rate("Others down", 15, 0, "Bps"),
    rate("Others up", 15, 0, "Bps"),
];
pub(super) const UNLEASH_APPS: &[Def] = &[rate("Total", 20, 0, "Bps")];
pub(super) const SYSTEM_PERFORMANCE: &[Def] = &[
    gauge("GlobalFlush-1 Time", 0, 0, "usecs"),
    gauge("CPU Total", 0, 0, "percent"),
    gauge("CPU Trisul", 0, 0, "percent"),
    gauge("Mem Total", 0, 0, "bytes"),
    gauge("Mem System", 0, 0, "bytes"),
    gauge("Mem Trisul", 0, 0, "bytes"),
    gauge("Disk Total", 0, 0, "bytes"),
    gauge("Disk Used", 0, 0, "bytes"),
    gauge("GlobalFlush-0 Time", 0, 0, "usecs"),
    count("Dropped Pkts", 0, 0, "packets"),
    count("Processed Pkts", 0, 0, "packets"),
    gauge("Dropped Percent", 0, 0, "percent"),
    delta("Reads IO", 0, 0, "ios"),
    delta("Writes IO", 0, 0, "ios"),
    rate("PCAP disk bw", 0, 0, "Bps"),
];
pub(super) const APP_ID: &[Def] = &[
    rate("Total", 50, 0, "Bps"),
    rate("Download", 50, 0, "Bps"),
    rate("Upload", 50, 0, "Bps"),
    rate("Transit", 50, 0, "Bps"),
    rate("Internal", 50, 0, "Bps"),
    count("Flows", 50, 0, "flws"),
];
pub(super) const BASE_DOMAINS: &[Def] = &[rate("Total", 100, 0, "Bps")];
pub(super) const HTTP_URL_CATEGORY: &[Def] = &[rate("Total Traffic", 50, 0, "Bps"), count("Hits", 50, 0, "hits")];
pub(super) const BLACKLIST: &[Def] = &[count("Hits", 50, 0, "Hits"), count("Blacklist connections", 0, 0, "Conns")];
pub(super) const REMOTE_OFFICE: &[Def] = &[
    rate("Total", 100, 0, "Bps"),
    rate("Into Branch", 100, 0, "Bps"),
    rate("Out of Branch", 100, 0, "Bps"),
    count("Alerts", 100, 0, "Alerts"),
];
pub(super) const LONG_FAT_TAIL_HOSTS: &[Def] = &[rate("Total Traffic", 50, 0, "Bps"), count("Hits", 50, 40, "Hits")];
pub(super) const MPLSSTATS: &[Def] = &[rate("Total bytes/sec", 50, 0, "Bps")];
pub(super) const COUNTRY: &[Def] = &[rate("Upload Bytes", 30, 20, "Bps"), rate("Download Bytes", 30, 20, "Bps")];
pub(super) const CITY: &[Def] = &[rate("Upload Bytes", 20, 20, "Bps"), rate("Download Bytes", 20, 20, "Bps")];
pub(super) const BGP_ASPATH: &[Def] =
    &[rate("Upload to ASPATH", 100, 10, "Bps"), rate("Download from ASPATH", 100, 10, "Bps")];
pub(super) const BGP_ORIGIN_AS: &[Def] =
    &[rate("Upload to AS", 100, 10, "Bps"), rate("Download from AS", 100, 10, "Bps")];
pub(super) const BGP_PREFIX_EXTERNAL: &[Def] =
    &[rate("Upload - Xmit", 100, 10, "Bps"), rate("Download - Recv", 100, 10, "Bps")];
pub(super) const FLOW_BGP_NEXTHOP: &[Def] = &[rate("Total", 10, 0, "Bps")];
pub(super) const FLOW_LINK_ASN: &[Def] =
    &[rate("Recv from AS on Link", 10, 0, "Bps"), rate("Transmit to AS on Link", 10, 0, "Bps")];
pub(super) const FLOW_PREFIX_HOME: &[Def] = &[
    rate("Prefixes Total", 50, 0, "Bps"),
    rate("Prefixes Recv", 50, 0, "Bps"),
    rate("Prefixes Xmit", 50, 0, "Bps"),
    rate("Prefixes Flows", 50, 0, "Flws"),
];
pub(super) const FLOW_PREFIX: &[Def] = &[
    rate("Total", 50, 0, "Bps"),
    rate("Recv from Upstream AS", 50, 0, "Bps"),
    rate("Transmit to Upstream AS", 50, 0, "Bps"),
    count("Prefixes Flows", 50, 0, "Flws"),
    rate("Recv from Downstream AS", 50, 0, "Bps"),
    rate("Transmit to Downstream AS", 50, 0, "Bps"),
];
pub(super) const FLOW_ASN: &[Def] = &[
    rate("Total", 10, 0, "Bps"),
    rate("Recv from Upstream AS", 10, 0, "Bps"),
    rate("Transmit to Upstream AS", 10, 0, "Bps"),
    rate("Recv from Downstream AS", 10, 0, "Bps"),
    rate("Transmit to Downstream AS", 10, 0, "Bps"),
];
pub(super) const SNMP_INTERFACE: &[Def] = &[
    delta("Total BW", 100, 0, "Bps"),
    delta("In Octets", 100, 0, "Bps"),
    delta("Out Octets", 100, 0, "Bps"),
    gauge("Recv-Util", 100, 0, "Pct"),
    gauge("Xmit-Util", 100, 0, "Pct"),
];
