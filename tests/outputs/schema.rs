//! The names and types of the fields of events, and a check of events against them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Types of fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Integer,
    Flag,
    Object,
    List,
    /// A time with six digits and a zone.
    Time,
    /// Anything: what is our own, below a name of our own.
    Own,
}

use Kind::{Flag, Integer, List, Object, Own, Text, Time};

/// Fields by path; `[]` is every item of a list.
const FIELDS: &[(&str, Kind)] = &[
    ("timestamp", Time),
    ("flow_id", Integer),
    ("in_iface", Text),
    ("pcap_filename", Text),
    ("event_type", Text),
    ("src_ip", Text),
    ("src_port", Integer),
    ("dest_ip", Text),
    ("dest_port", Integer),
    ("proto", Text),
    ("icmp_type", Integer),
    ("icmp_code", Integer),
    ("direction", Text),
    ("app_proto", Text),
    ("community_id", Text),
    ("tx_id", Integer),
    ("plugin", Own),
    ("alert", Object),
    ("alert.action", Text),
    ("alert.gid", Integer),
    ("alert.signature_id", Integer),
    ("alert.rev", Integer),
    ("alert.signature", Text),
    ("alert.category", Text),
    ("alert.severity", Integer),
    ("flow", Object),
    ("flow.pkts_toserver", Integer),
    ("flow.pkts_toclient", Integer),
    ("flow.bytes_toserver", Integer),
    ("flow.bytes_toclient", Integer),
    ("flow.start", Time),
    ("flow.end", Time),
    ("flow.src_ip", Text),
    ("flow.src_port", Integer),
    ("flow.dest_ip", Text),
    ("flow.dest_port", Integer),
    ("flow.age", Integer),
    ("flow.state", Text),
    ("flow.reason", Text),
    ("flow.alerted", Flag),
    ("tcp", Object),
    ("tcp.syn", Flag),
    ("tcp.fin", Flag),
    ("tcp.rst", Flag),
    ("tcp.ack", Flag),
    ("tcp.state", Text),
    ("dns", Object),
    ("dns.version", Integer),
    ("dns.type", Text),
    ("dns.id", Integer),
    ("dns.opcode", Integer),
    ("dns.tx_id", Integer),
    ("dns.flags", Text),
    ("dns.qr", Flag),
    ("dns.aa", Flag),
    ("dns.tc", Flag),
    ("dns.rd", Flag),
    ("dns.ra", Flag),
    ("dns.z", Flag),
    ("dns.rrname", Text),
    ("dns.rrtype", Text),
    ("dns.rcode", Text),
    ("dns.answers", List),
    ("dns.answers[]", Object),
    ("dns.answers[].rrname", Text),
    ("dns.answers[].rrtype", Text),
    ("dns.answers[].ttl", Integer),
    ("dns.answers[].rdata", Text),
    ("dns.answers[].srv", Object),
    ("dns.answers[].srv.priority", Integer),
    ("dns.answers[].srv.weight", Integer),
    ("dns.answers[].srv.port", Integer),
    ("dns.answers[].srv.name", Text),
    ("dns.answers[].soa", Object),
    ("dns.answers[].soa.mname", Text),
    ("dns.answers[].soa.rname", Text),
    ("dns.answers[].soa.serial", Integer),
    ("dns.answers[].soa.refresh", Integer),
    ("dns.answers[].soa.retry", Integer),
    ("dns.answers[].soa.expire", Integer),
    ("dns.answers[].soa.minimum", Integer),
    ("dns.authorities", List),
    ("dns.authorities[]", Object),
    ("dns.authorities[].rrname", Text),
    ("dns.authorities[].rrtype", Text),
    ("dns.authorities[].ttl", Integer),
    ("dns.authorities[].rdata", Text),
    ("dns.authorities[].soa", Object),
    ("dns.authorities[].soa.mname", Text),
    ("dns.authorities[].soa.rname", Text),
    ("dns.authorities[].soa.serial", Integer),
    ("dns.authorities[].soa.refresh", Integer),
    ("dns.authorities[].soa.retry", Integer),
    ("dns.authorities[].soa.expire", Integer),
    ("dns.authorities[].soa.minimum", Integer),
    ("dns.grouped", Object),
    ("dns.grouped.A", List),
    ("dns.grouped.A[]", Text),
    ("dns.grouped.AAAA", List),
    ("dns.grouped.AAAA[]", Text),
    ("dns.grouped.CNAME", List),
    ("dns.grouped.CNAME[]", Text),
    ("dns.grouped.MX", List),
    ("dns.grouped.MX[]", Text),
    ("dns.grouped.NULL", List),
    ("dns.grouped.NULL[]", Text),
    ("dns.grouped.PTR", List),
    ("dns.grouped.PTR[]", Text),
    ("dns.grouped.TXT", List),
    ("dns.grouped.TXT[]", Text),
    ("dns.grouped.SRV", List),
    ("dns.grouped.SRV[]", Object),
    ("dns.grouped.SRV[].priority", Integer),
    ("dns.grouped.SRV[].weight", Integer),
    ("dns.grouped.SRV[].port", Integer),
    ("dns.grouped.SRV[].name", Text),
    ("http", Object),
    ("http.hostname", Text),
    ("http.http_port", Integer),
    ("http.url", Text),
    ("http.http_user_agent", Text),
    ("http.xff", Text),
    ("http.http_content_type", Text),
    ("http.http_refer", Text),
    ("http.http_method", Text),
    ("http.protocol", Text),
    ("http.status", Integer),
    ("http.redirect", Text),
    ("http.length", Integer),
    ("tls", Object),
    ("tls.subject", Text),
    ("tls.issuerdn", Text),
    ("tls.serial", Text),
    ("tls.fingerprint", Text),
    ("tls.session_resumed", Flag),
    ("tls.sni", Text),
    ("tls.version", Text),
    ("tls.notbefore", Text),
    ("tls.notafter", Text),
    ("tls.client_alpns", List),
    ("tls.client_alpns[]", Text),
    ("tls.ja3", Object),
    ("tls.ja3.hash", Text),
    ("tls.ja3.string", Text),
    ("tls.ja3s", Object),
    ("tls.ja3s.hash", Text),
    ("tls.ja3s.string", Text),
    ("tls.ja4", Text),
    ("quic", Object),
    ("quic.version", Text),
    ("quic.sni", Text),
    ("quic.ja3", Object),
    ("quic.ja3.hash", Text),
    ("quic.ja3.string", Text),
    ("quic.ja3s", Object),
    ("quic.ja3s.hash", Text),
    ("quic.ja3s.string", Text),
    ("quic.ja4", Text),
    ("ssh", Object),
    ("ssh.client", Object),
    ("ssh.client.proto_version", Text),
    ("ssh.client.software_version", Text),
    ("ssh.client.hassh", Object),
    ("ssh.client.hassh.hash", Text),
    ("ssh.client.hassh.string", Text),
    ("ssh.server", Object),
    ("ssh.server.proto_version", Text),
    ("ssh.server.software_version", Text),
    ("ssh.server.hassh", Object),
    ("ssh.server.hassh.hash", Text),
    ("ssh.server.hassh.string", Text),
    ("fileinfo", Object),
    ("fileinfo.filename", Text),
    ("fileinfo.gaps", Flag),
    ("fileinfo.state", Text),
    ("fileinfo.stored", Flag),
    ("fileinfo.md5", Text),
    ("fileinfo.size", Integer),
    ("fileinfo.tx_id", Integer),
    ("stats", Object),
    ("stats.uptime", Integer),
    ("stats.capture", Object),
    ("stats.capture.kernel_packets", Integer),
    ("stats.capture.kernel_drops", Integer),
    ("stats.capture.kernel_ifdrops", Integer),
    ("stats.decoder", Object),
    ("stats.decoder.pkts", Integer),
    ("stats.decoder.bytes", Integer),
    ("stats.decoder.avg_pkt_size", Integer),
    ("stats.flow", Object),
    ("stats.flow.total", Integer),
    ("stats.flow.active", Integer),
    ("stats.flow.tcp", Integer),
    ("stats.flow.udp", Integer),
    ("stats.flow.icmpv4", Integer),
    ("stats.flow.icmpv6", Integer),
    ("stats.flow.memuse", Integer),
    ("stats.tcp", Object),
    ("stats.tcp.reassembly_gap", Integer),
    ("stats.tcp.overlap", Integer),
    ("stats.detect", Object),
    ("stats.detect.alert", Integer),
    ("stats.app_layer", Object),
    ("stats.app_layer.flow", Object),
    ("stats.app_layer.flow.http", Integer),
    ("stats.app_layer.flow.tls", Integer),
    ("stats.app_layer.flow.quic", Integer),
    ("stats.app_layer.flow.dns_udp", Integer),
    ("stats.app_layer.flow.dns_tcp", Integer),
    ("stats.app_layer.flow.ssh", Integer),
    ("stats.app_layer.flow.smtp", Integer),
    ("stats.app_layer.flow.ftp", Integer),
    ("stats.app_layer.flow.ftp-data", Integer),
    ("stats.app_layer.flow.dhcp", Integer),
    ("stats.dropped", Own),
];

/// Fields that no capture of the project leads to, and why.
const UNSEEN: &[(&str, &str)] = &[
    ("in_iface", "captures are files; a test of the formatter has it"),
    ("dns.z", "a flag that no resolver sets"),
    ("dns.authorities[].rdata", "what is in their authority sections is SOA"),
    ("dns.grouped.NULL", "a type that nobody asks for but tunnels"),
    ("dns.grouped.NULL[]", "the same"),
    ("http.http_port", "no host is named with its port; a test of the object has it"),
    ("http.xff", "no proxy is in them"),
    ("http.http_refer", "no page says where it was found; a test of the object has it"),
    ("http.redirect", "no response redirects; a test of the object has it"),
    ("tls.session_resumed", "every session is a new one"),
    ("quic", "no QUIC is in them; captures from elsewhere have it"),
    ("stats.app_layer.flow.quic", "the same"),
];

/// Fields of the schema that none of these events has but for those with a reason, and those with one that some have.
pub fn unaccounted(events: &BTreeSet<String>) -> Vec<String> {
    let has_reason =
        |name: &str| UNSEEN.iter().any(|(unseen, _)| name == *unseen || name.starts_with(&format!("{unseen}.")));
    let names = FIELDS.iter().map(|(name, _)| *name);
    names.filter(|name| events.contains(*name) == has_reason(name)).map(str::to_owned).collect()
}

/// Adds the paths of all fields of an event.
pub fn add_fields(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        add_fields(&path, value, found);
        let items = value.as_array();
        for item in items.into_iter().flatten() {
            found.insert(format!("{path}[]"));
            add_fields(&format!("{path}[]"), item, found);
        }
        found.insert(path);
    }
}

/// Everything wrong with an event, one line each.
pub fn violations(event: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["timestamp", "event_type"] {
        if event.get(name).is_none() {
            found.push(format!("{name} is missing"));
        }
    }
    let kind = event["event_type"].as_str().unwrap_or_default();
    if event.get(kind).is_none() {
        found.push(format!("an event of type {kind} has no object of that name"));
    }
    object("", event, &mut found);
    found
}

fn object(path: &str, value: &Value, found: &mut Vec<String>) {
    let Some(map) = value.as_object() else { return found.push(format!("{path}: no object")) };
    for (name, value) in map {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        check(&path, value, found);
    }
}

fn check(path: &str, value: &Value, found: &mut Vec<String>) {
    let Some((_, kind)) = FIELDS.iter().find(|(known, _)| *known == path) else {
        return found.push(format!("{path}: not in the schema"));
    };
    let fits = match kind {
        Text => value.is_string(),
        Integer => value.is_u64(),
        Flag => value.is_boolean(),
        Object => value.is_object(),
        List => value.is_array(),
        Time => value.as_str().is_some_and(is_time),
        Own => true,
    };
    if !fits {
        return found.push(format!("{path}: {value} is no {kind:?}"));
    }
    match kind {
        Object => object(path, value, found),
        List => {
            for item in value.as_array().into_iter().flatten() {
                check(&format!("{path}[]"), item, found);
            }
        }
        _ => {}
    }
}

/// `2026-01-15T09:00:30.123456+0000`.
fn is_time(text: &str) -> bool {
    let pattern = "dddd-dd-ddTdd:dd:dd.dddddd+dddd";
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(c, p)| if p == b'd' { c.is_ascii_digit() } else { c == p })
}
