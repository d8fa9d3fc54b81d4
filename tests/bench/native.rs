//! What the measured plugins do, as plain Rust: the mark that the Lua runs are held against.
//!
//! `bench-native CASE FILE` reads the capture once and prints packets, bytes and a digest of the results, `--json` the
//! results themselves. `bench-native digest GUID REPORT` prints the same line for the JSON report of another program,
//! so that two runs can be compared. Cases: `count`, `hist`, `dstip`, `table`, `flows`, `names`, `bare`, and `http` with a
//! hash, which stands on millstream's own modules.
//!
//! The loop is meant to be as good as it gets on one thread: chunks of 64 KiB, packets decoded where they lie, nothing
//! allocated for a packet. The first three cases do what any program does that counts packets by layers: they find the
//! layers of every packet, whether the case looks at them or not, and keep all counters in one table by key and meter.
//! `bare` finds no layers and keeps two integers: what is left when a program is written for one question only. `table`
//! keeps a table of flows with four numbers each: what the memory of a machine allows.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::io::{self, Read, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use serde_json::{Value, json};

#[path = "native/flows.rs"]
mod flows;
#[path = "native/http.rs"]
mod http;
#[path = "native/names.rs"]
mod names;
#[path = "native/tuple.rs"]
mod tuple;

/// Results of a run: key and meter to total.
type Totals = BTreeMap<(String, usize), u64>;

const CHUNK: usize = 64 << 10;
const LARGEST_RECORD: usize = 16 + (256 << 10);

/// What is done with every packet.
trait Work {
    /// `time` counts the capture's own units: microseconds or nanoseconds.
    fn packet(&mut self, time: u64, wirelen: u32, bytes: &[u8]);
    /// Ends what is still under way; what there is to say besides the totals.
    fn finish(&mut self) -> String {
        String::new()
    }
    fn totals(self) -> Totals;
}

struct Run {
    packets: u64,
    bytes: u64,
    notes: String,
    totals: Totals,
}

impl Run {
    fn line(&self) -> String {
        format!("packets={} bytes={} {}{}", self.packets, self.bytes, summary(&self.totals), self.notes)
    }
}

fn read<W: Work>(path: &str, mut work: W) -> io::Result<Run> {
    let mut file = File::open(path)?;
    let mut head = [0u8; 24];
    file.read_exact(&mut head)?;
    let magic = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if !matches!(magic, 0xA1B2_C3D4 | 0xA1B2_3C4D) || head[20..24] != [1, 0, 0, 0] {
        return Err(io::Error::other(format!("{path}: not a little-endian Ethernet pcap file")));
    }
    let units = if magic == 0xA1B2_C3D4 { 1_000_000 } else { 1_000_000_000 };
    let mut buffer = vec![0u8; CHUNK + LARGEST_RECORD];
    let (mut start, mut end) = (0, 0);
    let (mut packets, mut bytes) = (0u64, 0u64);
    loop {
        // What is left of a packet that crosses chunks moves to the front; at most one packet per chunk is copied.
        buffer.copy_within(start..end, 0);
        end -= start;
        start = 0;
        let got = file.read(&mut buffer[end..end + CHUNK])?;
        if got == 0 {
            break;
        }
        end += got;
        while let Some(record) = buffer[start..end].first_chunk::<16>() {
            let word = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
            let (kept, wirelen) = (word(8) as usize, word(12));
            if kept > LARGEST_RECORD - 16 {
                return Err(io::Error::other(format!("{path}: a packet of {kept} bytes")));
            }
            let Some(packet) = buffer[start..end].get(16..16 + kept) else {
                break;
            };
            let time = u64::from(word(0)) * units + u64::from(word(4));
            work.packet(time, wirelen, packet);
            packets += 1;
            bytes += u64::from(wirelen);
            start += 16 + kept;
        }
    }
    let notes = work.finish();
    Ok(Run { packets, bytes, notes, totals: work.totals() })
}

/// Packets and bytes of everything, without a look at the packets.
#[derive(Default)]
struct Bare {
    packets: u64,
    bytes: u64,
}

impl Work for Bare {
    fn packet(&mut self, _: u64, wirelen: u32, _: &[u8]) {
        self.packets += 1;
        self.bytes += u64::from(wirelen);
    }

    fn totals(self) -> Totals {
        Totals::from([(("all".to_owned(), 0), self.packets), (("all".to_owned(), 1), self.bytes)])
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Protocol {
    #[default]
    None,
    Ethernet,
    Ipv4,
    Ipv6,
    Tcp,
    Udp,
    Icmp,
}

/// One header of a packet.
#[derive(Clone, Copy, Default)]
struct Layer {
    protocol: Protocol,
    offset: u32,
    len: u32,
}

impl Layer {
    fn bytes(self, packet: &[u8]) -> Option<&[u8]> {
        packet.get(self.offset as usize..self.offset as usize + self.len as usize)
    }
}

/// The headers of one packet, outermost first.
#[derive(Default)]
struct Layers {
    list: [Layer; 3],
    count: usize,
}

/// Extension headers of IPv6 that are followed; more are no ordinary packet.
const MAX_EXTENSIONS: usize = 8;

impl Layers {
    /// Finds Ethernet with its tags, IP with its options or extension headers, and the transport. What a header claims
    /// is checked against the bytes that are there; the layers found before a header that does not fit stay.
    fn of(packet: &[u8]) -> Self {
        let mut layers = Self::default();
        layers.find(packet);
        layers
    }

    fn push(&mut self, protocol: Protocol, from: usize, to: usize) {
        self.list[self.count] = Layer { protocol, offset: from as u32, len: (to - from) as u32 };
        self.count += 1;
    }

    fn find(&mut self, packet: &[u8]) -> Option<()> {
        let mut at = 12;
        let mut ethertype = be16(packet, at)?;
        while matches!(ethertype, 0x8100 | 0x88A8) && at < 20 {
            at += 4;
            ethertype = be16(packet, at)?;
        }
        let ip = at + 2;
        self.push(Protocol::Ethernet, 0, ip);
        let (transport, number, end) = match ethertype {
            0x0800 => {
                let header = packet.get(ip..)?.first_chunk::<20>()?;
                let len = usize::from(header[0] & 15) * 4;
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                if header[0] >> 4 != 4 || len < 20 || total < len || ip + len > packet.len() {
                    return None;
                }
                self.push(Protocol::Ipv4, ip, ip + len);
                if u16::from_be_bytes([header[6], header[7]]) & 0x1FFF != 0 {
                    return None;
                }
                (ip + len, header[9], ip + total)
            }
            0x86DD => {
                let header = packet.get(ip..)?.first_chunk::<40>()?;
                let payload = usize::from(u16::from_be_bytes([header[4], header[5]]));
                if header[0] >> 4 != 6 {
                    return None;
                }
                let (transport, number, is_first) = extensions(packet, ip + 40, header[6])?;
                self.push(Protocol::Ipv6, ip, transport);
                if !is_first {
                    return None;
                }
                (transport, number, ip + 40 + payload)
            }
            _ => return None,
        };
        let data = &packet[..end.min(packet.len())];
        match number {
            6 => {
                let header = data.get(transport..)?.first_chunk::<20>()?;
                let len = usize::from(header[12] >> 4) * 4;
                if len < 20 || transport + len > data.len() {
                    return None;
                }
                self.push(Protocol::Tcp, transport, transport + len);
            }
            17 => {
                data.get(transport..transport + 8)?;
                self.push(Protocol::Udp, transport, transport + 8);
            }
            1 | 58 => {
                data.get(transport..transport + 8)?;
                self.push(Protocol::Icmp, transport, transport + 8);
            }
            _ => {}
        }
        Some(())
    }

    fn get(&self, protocol: Protocol) -> Option<Layer> {
        self.list.iter().find(|layer| layer.protocol == protocol).copied()
    }
}

/// Passes over the extension headers at `at`: where the next header begins, its number, and whether it is there at all
/// or only in another fragment.
fn extensions(packet: &[u8], mut at: usize, mut number: u8) -> Option<(usize, u8, bool)> {
    for _ in 0..MAX_EXTENSIONS {
        if !matches!(number, 0 | 43 | 44 | 51 | 60) {
            return Some((at, number, true));
        }
        let header = packet.get(at..)?.first_chunk::<8>()?;
        let len = match number {
            44 if u16::from_be_bytes([header[2], header[3]]) & 0xFFF8 != 0 => return Some((at, number, false)),
            44 => 8,
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        if at + len > packet.len() {
            return None;
        }
        (at, number) = (at + len, header[0]);
    }
    None
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk::<2>().map(|b| u16::from_be_bytes(*b))
}

/// What a counter is found by: a name or an address of up to 16 bytes, and the meter.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    bytes: u128,
    len: u8,
    meter: u8,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Name,
    Address,
}

impl Key {
    /// The bytes are put together in a register: a copy of variable length into an array, which is hashed next, costs
    /// 15 ns more (the load waits for all the small stores before it).
    #[inline(always)]
    fn new(form: Form, key: &[u8], meter: u8) -> Self {
        let bytes = match (<[u8; 16]>::try_from(key), <[u8; 4]>::try_from(key)) {
            (Ok(all), _) => u128::from_be_bytes(all),
            (_, Ok(all)) => u128::from(u32::from_be_bytes(all)),
            _ => key.iter().fold(0, |word, &byte| word << 8 | u128::from(byte)),
        };
        Self { bytes, len: key.len() as u8, meter, form }
    }

    fn text(&self) -> String {
        match (self.form, self.len) {
            (Form::Address, 4) => key4(self.bytes as u32),
            (Form::Address, _) => key6(self.bytes),
            (Form::Name, len) => {
                String::from_utf8_lossy(&self.bytes.to_be_bytes()[16 - usize::from(len)..]).into_owned()
            }
        }
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Two writes instead of the many small ones of a derived implementation, which are slower.
        state.write_u128(self.bytes);
        state.write_u32(u32::from_ne_bytes([self.len, self.meter, self.form as u8, 0]));
    }
}

/// All counters of a run.
#[derive(Default)]
struct Counters(HashMap<Key, u64, FixedState>);

impl Counters {
    #[inline(always)]
    fn add(&mut self, form: Form, key: &[u8], meter: u8, value: u64) {
        self.add_to(Key::new(form, key, meter), value);
    }

    #[inline]
    fn add_to(&mut self, key: Key, value: u64) {
        *self.0.entry(key).or_default() += value;
    }

    fn totals(self) -> Totals {
        self.0.into_iter().map(|(key, total)| ((key.text(), usize::from(key.meter)), total)).collect()
    }
}

/// Packets and bytes of everything.
#[derive(Default)]
struct Count(Counters);

impl Work for Count {
    fn packet(&mut self, _: u64, wirelen: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        if black_box(&layers).get(Protocol::Ethernet).is_some() {
            self.0.add(Form::Name, b"all", 0, 1);
            self.0.add(Form::Name, b"all", 1, u64::from(wirelen));
        }
    }

    fn totals(self) -> Totals {
        self.0.totals()
    }
}

/// For TCP: packets by length, packets with RST, bytes by the host at the A end of the flow.
#[derive(Default)]
struct Histogram(Counters);

const fn range_of(length: u32) -> &'static [u8] {
    match length {
        0..64 => b"0000-0063",
        64..128 => b"0064-0127",
        128..256 => b"0128-0255",
        256..512 => b"0256-0511",
        512..1_024 => b"0512-1023",
        1_024..1_515 => b"1024-1514",
        _ => b"1515-more",
    }
}

/// The A end has the higher port; with equal ports it is the lower address.
fn a_end<T: Ord>(source: (u16, T), destination: (u16, T)) -> T {
    let source_first = if source.0 == destination.0 { source.1 <= destination.1 } else { source.0 > destination.0 };
    if source_first { source.1 } else { destination.1 }
}

impl Histogram {
    fn count(&mut self, wirelen: u32, bytes: &[u8], layers: &Layers) -> Option<()> {
        let tcp = layers.get(Protocol::Tcp)?;
        let header = tcp.bytes(bytes)?.first_chunk::<20>()?;
        self.0.add(Form::Name, range_of(wirelen), 0, 1);
        if header[13] & 4 != 0 {
            self.0.add(Form::Name, b"rst", 1, 1);
        }
        let ports = (u16::from_be_bytes([header[0], header[1]]), u16::from_be_bytes([header[2], header[3]]));
        let ip = layers.list[1];
        let addresses = ip.bytes(bytes)?;
        if ip.protocol == Protocol::Ipv4 {
            let [source, destination] = [addresses.get(12..16)?, addresses.get(16..20)?];
            self.0.add(Form::Address, a_end((ports.0, source), (ports.1, destination)), 2, u64::from(wirelen));
        } else {
            let [source, destination] = [addresses.get(8..24)?, addresses.get(24..40)?];
            self.0.add(Form::Address, a_end((ports.0, source), (ports.1, destination)), 2, u64::from(wirelen));
        }
        Some(())
    }
}

impl Work for Histogram {
    fn packet(&mut self, _: u64, wirelen: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        self.count(wirelen, bytes, black_box(&layers));
    }

    fn totals(self) -> Totals {
        self.0.totals()
    }
}

/// Bytes by destination address of IPv4 packets.
#[derive(Default)]
struct Destinations(Counters);

impl Work for Destinations {
    fn packet(&mut self, _: u64, wirelen: u32, bytes: &[u8]) {
        let layers = Layers::of(bytes);
        if let Some(ip) = black_box(&layers).get(Protocol::Ipv4)
            && let Some(address) = ip.bytes(bytes).and_then(|header| header.get(16..20))
        {
            self.0.add(Form::Address, address, 0, u64::from(wirelen));
        }
    }

    fn totals(self) -> Totals {
        self.0.totals()
    }
}

fn key4(host: u32) -> String {
    let [a, b, c, d] = Ipv4Addr::from(host).octets();
    format!("{a:02X}.{b:02X}.{c:02X}.{d:02X}")
}

fn key6(host: u128) -> String {
    format!("{:032X}", Ipv6Addr::from(host).to_bits())
}

/// One number for all results: FNV-1a over "key meter total" lines in key order.
fn digest(totals: &Totals) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for ((key, meter), total) in totals {
        for byte in format!("{key} {meter} {total}\n").bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    hash
}

/// `keys=… sums=… digest=…`: sums are the totals of each meter over all keys.
fn summary(totals: &Totals) -> String {
    let mut sums: BTreeMap<usize, u64> = BTreeMap::new();
    for ((_, meter), total) in totals {
        *sums.entry(*meter).or_default() += total;
    }
    let sums: Vec<String> = sums.iter().map(|(meter, sum)| format!("{meter}:{sum}")).collect();
    format!("keys={} sums={} digest={:016x}", totals.len(), sums.join(","), digest(totals))
}

/// Totals of one counter group in a JSON report: those of every key listed. A key that holds the sum over the others is
/// none of them.
fn totals_of_report(report: &Value, guid: &str) -> Option<Totals> {
    let is_group = |group: &&Value| field(group, "guid").is_some_and(|text| text.eq_ignore_ascii_case(guid));
    let group = report.get("groups")?.as_array()?.iter().find(is_group)?;
    let mut totals = Totals::new();
    for meter in group.get("meters")?.as_array()? {
        let id = meter.get("id")?.as_u64()? as usize;
        for entry in meter.get("top")?.as_array()? {
            let (key, total) = (field(entry, "key")?, entry.get("value")?.as_f64()?.round() as u64);
            if key != "SYS:GROUP_TOTALS" && total > 0 {
                totals.insert((key.to_owned(), id), total);
            }
        }
    }
    Some(totals)
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name)?.as_str()
}

fn report(totals: &Totals, guid: &str) -> Value {
    let mut meters: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    for ((key, meter), total) in totals {
        meters.entry(*meter).or_default().push(json!({"key": key, "value": total}));
    }
    let meters: Vec<Value> = meters.into_iter().map(|(id, top)| json!({"id": id, "top": top})).collect();
    json!({"groups": [{"guid": guid, "meters": meters}]})
}

const USAGE: &str = "usage: bench-native bare|count|hist|dstip|table|flows|names FILE [--json GUID]\n       \
     bench-native http|http-files sha256|md5 FILE\n       bench-native digest GUID REPORT";

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    if let ["digest", guid, path] = args[..] {
        let report: Value = serde_json::from_reader(io::BufReader::new(File::open(path)?))?;
        return match totals_of_report(&report, guid) {
            Some(totals) => writeln!(out, "{}", summary(&totals)),
            None => Err(io::Error::other(format!("{path}: no counter group {guid}"))),
        };
    }
    let (case, path, json) = match args[..] {
        ["http" | "http-files", hash, path] => {
            let keep = if args[0] == "http" { http::Keep::Nothing } else { http::Keep::File };
            let run = http::bodies(path, hash, keep)?;
            return writeln!(out, "{}", run.line());
        }
        [case, path] => (case, path, None),
        [case, path, "--json", guid] => (case, path, Some(guid)),
        _ => return Err(io::Error::other(USAGE)),
    };
    let run = match case {
        "bare" => read(path, Bare::default()),
        "count" => read(path, Count::default()),
        "hist" => read(path, Histogram::default()),
        "dstip" => read(path, Destinations::default()),
        "table" => read(path, flows::Table::default()),
        "flows" => read(path, flows::Talkers::default()),
        "names" => read(path, names::Names::default()),
        _ => Err(io::Error::other(USAGE)),
    }?;
    match json {
        Some(guid) => writeln!(out, "{}", report(&run.totals, guid)),
        None => writeln!(out, "{}", run.line()),
    }
}
