//! SSH events: banners and fingerprints of both sides.

use super::json::Object;
use super::tls::Role;

/// What both sides of a connection have said.
#[derive(Debug, Default)]
pub(super) struct SshFlow {
    client: Side,
    server: Side,
}

#[derive(Debug, Default)]
struct Side {
    banner: Vec<u8>,
    hassh: Vec<u8>,
    /// What that is the hash of.
    text: Vec<u8>,
}

impl SshFlow {
    /// Takes an attribute in; true once nothing more is to come.
    pub fn attribute(&mut self, name: &[u8], value: &[u8]) -> bool {
        let value = value.to_vec();
        match name {
            b"SSH:BANNER:CLIENT" => self.client.banner = value,
            b"SSH:BANNER:SERVER" => self.server.banner = value,
            b"SSH:HASSH" => self.client.hassh = value,
            b"SSH:HASSH:SERVER" => self.server.hassh = value,
            _ => {}
        }
        [&self.client, &self.server].iter().all(|side| !side.banner.is_empty() && !side.hassh.is_empty())
    }

    /// Takes the text in of which the hash follows.
    pub fn fingerprint_text(&mut self, role: Role, text: &[u8]) {
        let side = match role {
            Role::Client => &mut self.client,
            Role::Server => &mut self.server,
        };
        side.text = text.to_vec();
    }

    /// The object of the event.
    pub fn write(&self, object: &mut Object<'_>) {
        for (name, side) in [("client", &self.client), ("server", &self.server)] {
            if side.banner.is_empty() && side.hassh.is_empty() {
                continue;
            }
            object.object(name, |object| {
                let (protocol, software) = parts(&side.banner);
                object.some_text("proto_version", protocol);
                object.some_text("software_version", software);
                if !side.hassh.is_empty() {
                    object.object("hassh", |object| {
                        object.text("hash", &side.hassh);
                        object.some_text("string", &side.text);
                    });
                }
            });
        }
    }
}

/// Versions of protocol and software: `SSH-2.0-OpenSSH_9.2 comment`.
fn parts(banner: &[u8]) -> (&[u8], &[u8]) {
    let Some(rest) = banner.strip_prefix(b"SSH-") else { return (b"", b"") };
    let Some(dash) = rest.iter().position(|&byte| byte == b'-') else { return (rest, b"") };
    let software = &rest[dash + 1..];
    let end = software.iter().position(|&byte| byte == b' ').unwrap_or(software.len());
    (&rest[..dash], &software[..end])
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn banners_are_cut_into_versions() {
        assert_eq!(parts(b"SSH-2.0-OpenSSH_9.2p1 Debian-2"), (&b"2.0"[..], &b"OpenSSH_9.2p1"[..]));
        assert_eq!(parts(b"SSH-1.99"), (&b"1.99"[..], &b""[..]));
        assert_eq!(parts(b"nothing"), (&b""[..], &b""[..]));
    }
}
