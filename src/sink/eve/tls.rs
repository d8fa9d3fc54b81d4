//! TLS and QUIC events: what the hellos and the certificate of the server say.

use std::borrow::Cow;

use sha1::{Digest, Sha1};

use super::json::{Object, Truth, push_pairs};

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it is for.
    pub subject: String,
    /// Who made it.
    pub issuer: String,
    /// Its number, big end first.
    pub serial: Vec<u8>,
    /// Begin and end of its validity, `2026-01-02T03:04:05`.
    pub validity: Option<(String, String)>,
}

/// Who said hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

/// A handshake that is not over.
#[derive(Debug, Default)]
pub(super) struct TlsFlow {
    sni: Vec<u8>,
    alpn: Vec<u8>,
    version: Vec<u8>,
    quic_version: Vec<u8>,
    ja3: Vec<u8>,
    ja3s: Vec<u8>,
    /// What `ja3` and `ja3s` are the hashes of.
    texts: [Vec<u8>; 2],
    ja4: Vec<u8>,
    certificate: Option<(Vec<u8>, CertificateFacts)>,
}

impl TlsFlow {
    /// Takes an attribute in; true once nothing more is to come in the clear.
    pub fn attribute(&mut self, name: &[u8], value: &[u8]) -> bool {
        let value = value.to_vec();
        match name {
            b"TLS:SNI" => self.sni = value,
            b"TLS:ALPN" => self.alpn = value,
            b"TLS:VERSION" => self.version = value,
            b"QUIC:VERSION" => self.quic_version = value,
            b"TLS:JA3" => self.ja3 = value,
            b"TLS:JA4" => self.ja4 = value,
            b"TLS:JA3S" => {
                self.ja3s = value;
                return self.version.starts_with(b"TLS 1.3");
            }
            _ => {}
        }
        false
    }

    /// Takes in what a fingerprint is the hash of: that of the server, or the client's.
    pub fn fingerprint_text(&mut self, of: Role, text: &[u8]) {
        self.texts[of as usize] = text.to_vec();
    }

    /// Takes the certificate of the server in.
    pub fn certificate(&mut self, der: &[u8], facts: Option<CertificateFacts>) {
        self.certificate = Some((Sha1::digest(der).to_vec(), facts.unwrap_or_default()));
    }

    /// The object of a `tls` event.
    pub fn write(&self, object: &mut Object<'_>) {
        if let Some((fingerprint, facts)) = &self.certificate {
            object.some_text("subject", facts.subject.as_bytes());
            object.some_text("issuerdn", facts.issuer.as_bytes());
            if !facts.serial.is_empty() {
                pairs(object, "serial", &facts.serial, b"0123456789ABCDEF");
            }
            pairs(object, "fingerprint", fingerprint, b"0123456789abcdef");
        } else if !self.ja3s.is_empty() && !self.version.starts_with(b"TLS 1.3") {
            // A server that shows no certificate goes on with an earlier session.
            object.flag("session_resumed", Truth::Yes);
        }
        object.some_text("sni", &self.sni);
        object.text("version", version(&self.version));
        if let Some((_, CertificateFacts { validity: Some((from, until)), .. })) = &self.certificate {
            object.text("notbefore", from.as_bytes());
            object.text("notafter", until.as_bytes());
        }
        if !self.alpn.is_empty() {
            object.texts("client_alpns", self.alpn.split(|&byte| byte == b','));
        }
        self.fingerprints(object);
    }

    /// The object of a `quic` event.
    pub fn write_quic(&self, object: &mut Object<'_>) {
        object.some_text("version", &quic_version(&self.quic_version));
        object.some_text("sni", &self.sni);
        self.fingerprints(object);
    }

    fn fingerprints(&self, object: &mut Object<'_>) {
        for (name, hash, text) in [("ja3", &self.ja3, &self.texts[0]), ("ja3s", &self.ja3s, &self.texts[1])] {
            if !hash.is_empty() {
                object.object(name, |object| {
                    object.text("hash", hash);
                    object.some_text("string", text);
                });
            }
        }
        object.some_text("ja4", &self.ja4);
    }
}

/// Versions as the schema writes them.
fn version(name: &[u8]) -> &[u8] {
    match name {
        b"" => b"UNDETERMINED",
        b"SSL 3.0" => b"SSLv3",
        b"TLS 1.0" => b"TLSv1",
        other => other,
    }
}

/// Versions of QUIC as the schema writes them: the number on the wire in hexadecimal digits (RFC 9000, 15; RFC 9369, 3.1).
fn quic_version(name: &[u8]) -> Cow<'_, [u8]> {
    if name == b"2" {
        return b"6b3343cf"[..].into();
    }
    let draft = name.strip_prefix(b"draft-").and_then(|number| str::from_utf8(number).ok()?.parse::<u8>().ok());
    match draft {
        Some(number) => format!("ff0000{number:02x}").into_bytes().into(),
        None => name.into(),
    }
}

fn pairs(object: &mut Object<'_>, name: &str, bytes: &[u8], digits: &[u8; 16]) {
    object.raw(name, |out| {
        out.push(b'"');
        push_pairs(out, bytes, digits);
        out.push(b'"');
    });
}

#[cfg(test)]
mod tests {
    use super::quic_version;

    #[test]
    fn versions_of_quic_are_numbers_on_the_wire() {
        for (name, number) in [("1", "1"), ("2", "6b3343cf"), ("draft-29", "ff00001d"), ("", "")] {
            assert_eq!(*quic_version(name.as_bytes()), *number.as_bytes());
        }
    }
}
