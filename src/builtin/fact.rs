//! What other stages find, as plain values.

use super::sight::lower_port;
use crate::flow::{Direction, FlowHandle, Want};
use crate::guid::Guid;
use crate::key::{FlowText, Host, parse_port};

/// Something found in a flow, at a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact<'a> {
    /// Index in the batch of the packet that completed it.
    pub packet: u32,
    /// The flow.
    pub flow: FlowHandle,
    /// What.
    pub kind: FactKind<'a>,
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactKind<'a> {
    /// `Host` of an HTTP request.
    HttpHost(&'a [u8]),
    /// `Content-Type` of an HTTP response, parameters included.
    ContentType(&'a [u8]),
    /// An HTTP request with this method.
    HttpMethod(&'a [u8]),
    /// An HTTP response with this status code.
    HttpStatus(&'a [u8]),
    /// Organisation of a server's certificate.
    TlsOrganisation(&'a [u8]),
    /// Negotiated cipher suite, four hexadecimal digits.
    TlsCipher(&'a [u8]),
    /// Organisation of a root certificate.
    TlsRoot(&'a [u8]),
    /// Organisation of an intermediate certificate.
    TlsIntermediate(&'a [u8]),
    /// The name a host gives itself.
    HostName {
        /// Hardware address.
        mac: [u8; 6],
        /// The address it has, if known.
        ip: Option<[u8; 4]>,
        /// The name.
        name: &'a [u8],
    },
}

impl<'a> FactKind<'a> {
    /// Of a flow attribute, if groups are counted by it.
    #[must_use]
    pub fn of_attribute(name: &[u8], value: &'a [u8]) -> Option<Self> {
        Some(match name {
            b"Host" => Self::HttpHost(value),
            b"Content-Type" => Self::ContentType(value),
            b"TLS:O" => Self::TlsOrganisation(value),
            b"TLS:CIPHER" => Self::TlsCipher(value),
            b"TLS:CA:ROOT" => Self::TlsRoot(value),
            b"TLS:CA:INTER" => Self::TlsIntermediate(value),
            _ => return None,
        })
    }

    /// Of the header of an HTTP message: the method of a request, the status code of a response.
    #[must_use]
    pub fn of_http_header(direction: Direction, block: &'a [u8]) -> Option<Self> {
        let (first, rest) = word(block)?;
        match direction {
            Direction::ToServer => Some(Self::HttpMethod(first)),
            Direction::ToClient => {
                let (code, _) = word(rest)?;
                (code.len() == 3 && code.iter().all(u8::is_ascii_digit)).then_some(Self::HttpStatus(code))
            }
        }
    }
}

/// The next word of the first line, and what is behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = text.iter().position(|&byte| byte != b' ')?;
    let text = &text[start..];
    let end = text.iter().position(|byte| matches!(byte, b' ' | b'\r' | b'\n')).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Which facts are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FactWants {
    /// Flow attributes: see [`FactKind::of_attribute`].
    pub attributes: Want,
    /// Headers of HTTP messages: see [`FactKind::of_http_header`].
    pub http_headers: Want,
    /// [`FactKind::HostName`].
    pub host_names: Want,
}

/// An alert as far as it is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RaisedAlert<'a> {
    /// Alert group.
    pub group: Guid,
    /// Id of the flow concerned; empty if none.
    pub flow: &'a [u8],
    /// Source and destination, where the alert names them itself.
    pub ends: Option<(Host, Host)>,
    /// Signature id.
    pub sigid: &'a [u8],
    /// Classification; empty if none.
    pub classification: &'a [u8],
    /// Priority.
    pub priority: f64,
}

impl RaisedAlert<'_> {
    /// Source and destination: those it names, or else A and Z end of the flow.
    pub(super) fn ends(&self) -> Option<(Host, Host)> {
        if self.ends.is_some() {
            return self.ends;
        }
        let flow = FlowText::new(self.flow);
        Some((Host::from_key(flow.ipa().as_bytes())?, Host::from_key(flow.ipz().as_bytes())?))
    }

    /// Ports of both ends.
    pub(super) fn ports(&self) -> (u16, u16) {
        let flow = FlowText::new(self.flow);
        let port = |text: &str| parse_port(text.as_bytes()).unwrap_or(0);
        (port(flow.porta()), port(flow.portz()))
    }

    /// The application of the flow.
    pub(super) fn app(&self) -> Option<u16> {
        lower_port(FlowText::new(self.flow).protocol_number()?, self.ports())
    }
}

#[cfg(test)]
mod tests {
    use super::FactKind;
    use crate::flow::Direction::{ToClient, ToServer};

    #[test]
    fn the_first_line_of_a_header_tells_method_or_status() {
        let of = FactKind::of_http_header;
        assert_eq!(of(ToServer, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), Some(FactKind::HttpMethod(b"GET")));
        assert_eq!(of(ToClient, b"HTTP/1.1 404 Not Found\r\n\r\n"), Some(FactKind::HttpStatus(b"404")));
        for odd in [&b""[..], b"\r\n", b"  ", b"HTTP/1.1", b"HTTP/1.1 \r\n200 ", b"HTTP/1.1 abc x", b"HTTP/1.1 2000 x"]
        {
            assert_eq!(of(ToClient, odd), None);
        }
        assert_eq!(of(ToServer, b"\r\n\r\n"), None);
    }

    #[test]
    fn attributes_that_nothing_is_counted_by_are_no_facts() {
        assert_eq!(FactKind::of_attribute(b"Host", b"a.example"), Some(FactKind::HttpHost(b"a.example")));
        assert_eq!(FactKind::of_attribute(b"User-Agent", b"x"), None);
        assert_eq!(FactKind::of_attribute(b"", b""), None);
    }
}
