//! BPF filters: compiled by libpcap once per link type, run here on the bytes in place.

use super::record::platform_linktype;
use crate::packet::LinkType;

/// A filter that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("filter '{expression}' does not compile for link type {linktype}: {message}; the syntax is in man pcap-filter")]
pub struct FilterError {
    /// The filter.
    pub expression: String,
    /// The link type it was compiled for.
    pub linktype: LinkType,
    /// libpcap's words.
    pub message: String,
    /// What it means for other link types.
    pub kind: FilterFault,
}

/// Why a filter does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterFault {
    /// The expression itself is wrong, for every link type.
    Expression,
    /// It may have a meaning for another link type.
    LinkType,
}

impl FilterError {
    pub(super) fn new(expression: &str, linktype: LinkType, message: String) -> Self {
        // libpcap tells them apart by its words alone. A name that is not known was asked of the system, which may take long.
        let is_expression = ["syntax error", "unknown "].iter().any(|words| message.contains(words));
        let kind = if is_expression { FilterFault::Expression } else { FilterFault::LinkType };
        Self { expression: expression.to_owned(), linktype, message, kind }
    }
}

/// A filter expression with its programs.
#[derive(Debug)]
pub struct Filter {
    expression: String,
    /// One entry per link type met; `None` where the expression has no meaning for it.
    programs: Vec<(LinkType, Option<Program>)>,
    failure: Option<FilterError>,
}

/// The answer of a filter about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Pass,
    Reject,
    /// The expression does not compile for the packet's link type.
    NoMeaning,
}

impl Filter {
    /// A filter without programs yet; the expression is checked when the first link type is known.
    #[must_use]
    pub fn new(expression: &str) -> Self {
        Self { expression: expression.to_owned(), programs: Vec::new(), failure: None }
    }

    /// Compiles for a link type, if that has not been tried yet.
    ///
    /// An expression may have a meaning for some link types only (`wlan type mgt`), so a failure counts as an error
    /// only while the expression has compiled for no other.
    pub(super) fn prepare(&mut self, linktype: LinkType) {
        if self.programs.iter().any(|(known, _)| *known == linktype) {
            return;
        }
        let program = match Program::compile(&self.expression, linktype) {
            Ok(program) => Some(program),
            Err(error) => {
                self.failure.get_or_insert(error);
                None
            }
        };
        self.programs.push((linktype, program));
    }

    /// The first failure, if the expression has compiled for no link type at all.
    pub(super) fn failure(&self) -> Option<FilterError> {
        if self.programs.iter().any(|(_, program)| program.is_some()) { None } else { self.failure.clone() }
    }

    /// True if a packet matches. A link type for which the expression has no meaning matches nothing.
    ///
    /// # Errors
    /// While the expression has compiled for no link type at all.
    pub fn passes(&mut self, linktype: LinkType, bytes: &[u8], wirelen: u32) -> Result<bool, FilterError> {
        match self.matches(linktype, bytes, wirelen) {
            Match::Pass => Ok(true),
            Match::Reject => Ok(false),
            Match::NoMeaning => self.failure().map_or(Ok(false), Err),
        }
    }

    /// Runs the filter on one packet.
    #[inline]
    pub(super) fn matches(&mut self, linktype: LinkType, bytes: &[u8], wirelen: u32) -> Match {
        let index = match self.programs.iter().position(|(known, _)| *known == linktype) {
            Some(index) => index,
            None => {
                self.prepare(linktype);
                self.programs.len() - 1
            }
        };
        match &self.programs[index].1 {
            Some(program) if program.matches(bytes, wirelen) => Match::Pass,
            Some(_) => Match::Reject,
            None => Match::NoMeaning,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Instruction {
    code: u16,
    jt: u8,
    jf: u8,
    k: u32,
}

/// A classic BPF program.
///
/// Run here instead of through libpcap's own interpreter because the binding passes the captured length for the length
/// on the wire, which makes `less` and `greater` wrong for packets cut by a snaplen.
#[derive(Debug)]
struct Program {
    instructions: Vec<Instruction>,
}

const SCRATCH_LEN: usize = 16;

impl Program {
    fn compile(expression: &str, linktype: LinkType) -> Result<Self, FilterError> {
        let failed = |message: String| FilterError::new(expression, linktype, message);
        let handle = pcap::Capture::dead(pcap::Linktype(platform_linktype(linktype)))
            .map_err(|error| failed(error.to_string()))?;
        let program = handle.compile(expression, true).map_err(|error| failed(error.to_string()))?;
        // The binding shows an instruction's fields only as text.
        let instructions: Option<Vec<Instruction>> =
            program.get_instructions().iter().map(|instruction| parse(&instruction.to_string())).collect();
        instructions
            .map(|instructions| Self { instructions })
            .ok_or_else(|| failed("libpcap returned a program that cannot be read".to_owned()))
    }

    /// Runs the program; anything out of bounds rejects the packet, as in libpcap.
    fn matches(&self, bytes: &[u8], wirelen: u32) -> bool {
        self.run(bytes, wirelen).is_some_and(|accepted| accepted != 0)
    }

    fn run(&self, bytes: &[u8], wirelen: u32) -> Option<u32> {
        let (mut a, mut x) = (0u32, 0u32);
        let mut scratch = [0u32; SCRATCH_LEN];
        let mut rest = self.instructions.as_slice();
        // Every jump is forward and the slice only shrinks, so this ends.
        loop {
            let (&Instruction { code, jt, jf, k }, next) = rest.split_first()?;
            rest = next;
            match code {
                0x00 => a = k,
                0x20 => a = word(bytes, k)?,
                0x28 => a = half(bytes, k)?,
                0x30 => a = byte(bytes, k)?,
                0x40 => a = word(bytes, x.checked_add(k)?)?,
                0x48 => a = half(bytes, x.checked_add(k)?)?,
                0x50 => a = byte(bytes, x.checked_add(k)?)?,
                0x60 => a = *scratch.get(k as usize)?,
                0x80 => a = wirelen,
                0x01 => x = k,
                0x61 => x = *scratch.get(k as usize)?,
                0x81 => x = wirelen,
                0xb1 => x = (byte(bytes, k)? & 0xF) << 2,
                0x02 => *scratch.get_mut(k as usize)? = a,
                0x03 => *scratch.get_mut(k as usize)? = x,
                0x04..0x100 if code & 7 == 4 => {
                    a = alu(code & 0xF0, a, if code & 0x08 == 0 { k } else { x })?;
                }
                0x05 => rest = rest.get(k as usize..)?,
                0x06 => return Some(k),
                0x16 => return Some(a),
                0x07 => x = a,
                0x87 => a = x,
                _ if code & 7 == 5 => {
                    let operand = if code & 0x08 == 0 { k } else { x };
                    let holds = match code & 0xF0 {
                        0x10 => a == operand,
                        0x20 => a > operand,
                        0x30 => a >= operand,
                        0x40 => a & operand != 0,
                        _ => return None,
                    };
                    rest = rest.get(usize::from(if holds { jt } else { jf })..)?;
                }
                _ => return None,
            }
        }
    }
}

fn alu(operation: u16, a: u32, operand: u32) -> Option<u32> {
    Some(match operation {
        0x00 => a.wrapping_add(operand),
        0x10 => a.wrapping_sub(operand),
        0x20 => a.wrapping_mul(operand),
        0x30 => a.checked_div(operand)?,
        0x40 => a | operand,
        0x50 => a & operand,
        0x60 => a.checked_shl(operand).unwrap_or(0),
        0x70 => a.checked_shr(operand).unwrap_or(0),
        0x80 => a.wrapping_neg(),
        0x90 => a.checked_rem(operand)?,
        0xa0 => a ^ operand,
        _ => return None,
    })
}

#[inline]
fn word(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize..)?.first_chunk().map(|&chunk| u32::from_be_bytes(chunk))
}

#[inline]
fn half(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize..)?.first_chunk().map(|&chunk| u32::from(u16::from_be_bytes(chunk)))
}

#[inline]
fn byte(bytes: &[u8], at: u32) -> Option<u32> {
    bytes.get(at as usize).copied().map(u32::from)
}

/// Reads `code jt jf k`.
fn parse(text: &str) -> Option<Instruction> {
    let mut fields = text.split(' ');
    let instruction = Instruction {
        code: fields.next()?.parse().ok()?,
        jt: fields.next()?.parse().ok()?,
        jf: fields.next()?.parse().ok()?,
        k: fields.next()?.parse().ok()?,
    };
    fields.next().is_none().then_some(instruction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, proptest};

    use super::{Filter, FilterFault, Match, Program};
    use crate::packet::LinkType;

    const EXPRESSIONS: [&str; 14] = [
        "tcp",
        "udp port 53",
        "ip host 10.0.0.2",
        "ip6",
        "not arp and greater 60",
        "less 70",
        "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0",
        "vlan 5 and tcp port 80",
        "mpls and ip",
        "ip[0] & 0xf > 5 or ip[6:2] & 0x1fff != 0",
        "ether[12:2] * 3 / 2 - 1 > 4000 and len % 3 = 1",
        "src net 192.168.0.0/16 and dst portrange 1-1024",
        "icmp6 or (icmp and icmp[icmptype] = icmp-echo)",
        "ip proto \\tcp and tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    ];

    #[test]
    fn what_is_wrong_for_every_link_type_is_told_from_what_may_fit_another() {
        for (expression, kind) in [
            ("tcp prt 80", FilterFault::Expression),
            ("port nosuchport", FilterFault::Expression),
            ("wlan type mgt", FilterFault::LinkType),
            ("vpi 3", FilterFault::LinkType),
        ] {
            let error = Filter::new(expression).passes(LinkType::ETHERNET, &[], 0).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn answers_as_libpcap_does(
            start in prop::sample::select(vec![
                vec![0u8; 0],
                b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0\0\x2c\0\0\0\0\x40\x06".to_vec(),
                b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x08\0\x45\0\0\x2c\0\0\0\0\x40\x11\0\0\x0a\0\0\x02".to_vec(),
                b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x86\xdd\x60\0\0\0\0\0\x06\x40".to_vec(),
                b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01\x81\0\0\x05\x08\0\x45\0".to_vec(),
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let bytes: Vec<u8> = start.into_iter().chain(rest).collect();
            for expression in EXPRESSIONS {
                let program = Program::compile(expression, LinkType::ETHERNET).unwrap();
                let theirs = pcap::Capture::dead(pcap::Linktype(1)).unwrap().compile(expression, true).unwrap();
                assert_eq!(program.matches(&bytes, bytes.len() as u32), theirs.filter(&bytes), "{expression}");
            }
        }
    }

    #[test]
    fn length_is_that_on_the_wire() {
        let mut filter = Filter::new("greater 1000");
        assert_eq!(filter.matches(LinkType::ETHERNET, &[0; 60], 1500), Match::Pass);
        assert_eq!(filter.matches(LinkType::ETHERNET, &[0; 60], 60), Match::Reject);
    }

    #[test]
    fn an_expression_without_meaning_for_one_link_type_is_no_failure() {
        let mut filter = Filter::new("wlan type mgt");
        filter.prepare(LinkType::ETHERNET);
        assert!(filter.failure().is_some_and(|error| error.linktype == LinkType::ETHERNET));
        filter.prepare(LinkType::IEEE802_11);
        assert_eq!(filter.failure(), None);
        assert_eq!(filter.matches(LinkType::ETHERNET, &[0; 60], 60), Match::NoMeaning);
        assert_eq!(filter.matches(LinkType::IEEE802_11, &[0; 60], 60), Match::Pass);
    }

    #[test]
    fn syntax_errors_carry_the_words_of_libpcap() {
        let mut filter = Filter::new("tcp prt 80");
        filter.prepare(LinkType::ETHERNET);
        let text = filter.failure().unwrap().to_string();
        assert!(text.starts_with("filter 'tcp prt 80' does not compile for link type 1: "), "{text}");
    }
}
