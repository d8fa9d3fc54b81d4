//! Keys of Initial packets, and taking their protection off (RFC 9001, sections 5.2 to 5.4).

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use aes_gcm::{AeadInOut as _, Aes128Gcm, Nonce, Tag};
use hkdf::Hkdf;
use sha2::Sha256;

use super::version::Version;

const TAG: usize = 16;
const SAMPLE: usize = 16;
/// Longest packet number; the sample for header protection begins this far behind its start.
const MAX_NUMBER: usize = 4;

/// Who protects packets with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The one who opened the connection.
    Client,
    /// The other one.
    Server,
}

/// Keys for the Initial packets of one sender.
pub struct Keys {
    packet: Aes128Gcm,
    vector: [u8; 12],
    header: Aes128,
    /// Highest packet number so far.
    highest: u64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("highest", &self.highest).finish_non_exhaustive()
    }
}

impl Keys {
    /// Keys of a connection, from the id that its first packet gave the server.
    pub fn derive(version: Version, destination: &[u8], sender: Sender) -> Option<Self> {
        let (_, initial) = Hkdf::<Sha256>::extract(Some(&version.salt()), destination);
        let label: &[u8] = match sender {
            Sender::Client => b"client in",
            Sender::Server => b"server in",
        };
        let secret: [u8; 32] = expand(&initial, label)?;
        let secret = Hkdf::<Sha256>::from_prk(&secret).ok()?;
        let [key, vector, header] = version.labels();
        let (key, header): ([u8; 16], [u8; 16]) = (expand(&secret, key)?, expand(&secret, header)?);
        Some(Self {
            packet: Aes128Gcm::new(&Array::from(key)),
            vector: expand(&secret, vector)?,
            header: Aes128::new(&Array::from(header)),
            highest: 0,
        })
    }

    /// Takes the protection off a packet, in a copy of it. Nothing if it was not protected with these keys.
    pub fn open<'a>(&mut self, packet: &[u8], number_at: usize, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        let sample = packet.get(number_at.checked_add(MAX_NUMBER)?..)?.first_chunk::<SAMPLE>()?;
        let mut mask = Array::from(*sample);
        self.header.encrypt_block(&mut mask);
        room.clear();
        room.extend_from_slice(packet);
        let first = room.first_mut()?;
        *first ^= mask[0] & 0x0F;
        let length = usize::from(*first & 3) + 1;
        let mut truncated: u64 = 0;
        for (byte, mask) in room.get_mut(number_at..number_at + length)?.iter_mut().zip(&mask[1..]) {
            *byte ^= mask;
            truncated = truncated << 8 | u64::from(*byte);
        }
        let number = expand_number(truncated, length, self.highest);
        let mut nonce = self.vector;
        for (byte, part) in nonce.iter_mut().skip(4).zip(number.to_be_bytes()) {
            *byte ^= part;
        }
        let (head, sealed) = room.split_at_mut(number_at + length);
        let (body, tag) = sealed.split_at_mut_checked(sealed.len().checked_sub(TAG)?)?;
        let tag = Tag::try_from(&*tag).ok()?;
        self.packet.decrypt_inout_detached(&Nonce::from(nonce), head, (&mut *body).into(), &tag).ok()?;
        self.highest = self.highest.max(number);
        Some(body)
    }
}

/// HKDF-Expand-Label of TLS 1.3 without a context.
fn expand<const LENGTH: usize>(secret: &Hkdf<Sha256>, label: &[u8]) -> Option<[u8; LENGTH]> {
    let mut out = [0; LENGTH];
    let (length, label_length) = (u16::try_from(LENGTH).ok()?, u8::try_from(label.len() + 6).ok()?);
    secret.expand_multi_info(&[&length.to_be_bytes(), &[label_length], b"tls13 ", label, &[0]], &mut out).ok()?;
    Some(out)
}

/// The packet number next to the highest so far whose last bytes are these (RFC 9000, appendix A.3).
fn expand_number(truncated: u64, length: usize, highest: u64) -> u64 {
    let window = 1u64 << (length * 8);
    let expected = highest.saturating_add(1);
    let candidate = expected & !(window - 1) | truncated;
    if candidate.saturating_add(window / 2) <= expected && candidate < (1 << 62) - window {
        candidate + window
    } else if candidate > expected.saturating_add(window / 2) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: [u8; 8] = [0x83, 0x94, 0xC8, 0xF0, 0x3E, 0x51, 0x57, 0x08];

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// The server's first packet of RFC 9001, appendix A.3.
    const ANSWER: &str = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb3
        8cc5a99f5ede4cf73c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d7
        7d06edbb7aaf2f58891850abbdca3d20398c276456cbc42158407dd074ee";
    /// The same of version 2, RFC 9369, appendix A.3.
    const ANSWER_2: &str = "dc6b3343cf0008f067a5502a4262b5004075d92faaf16f05d8a4398c47089698baeea26b91eb761d9b89237bbf872
        63017915358230035f7fd3945d88965cf17f9af6e16886c61bfc703106fbaf3cb4cfa52382dd16a393e42757507698075b2c984c707f0a0812
        d8cd5a6881eaf21ceda98f4bd23f6fe1a3e2c43edd9ce7ca84bed8521e2e140";

    fn answer(version: Version, packet: &str) {
        let packet = bytes(packet);
        let mut keys = Keys::derive(version, &ID, Sender::Server).unwrap();
        let mut room = Vec::new();
        let body = keys.open(&packet, packet.len() - 117, &mut room).unwrap();
        // An acknowledgement, then a server hello.
        assert_eq!(body[..9], [0x02, 0, 0, 0, 0, 0x06, 0, 0x40, 0x5A]);
        assert_eq!(body[9..13], [2, 0, 0, 0x56]);
        assert_eq!(body.len(), 117 - 2 - 16);
        let mut keys = Keys::derive(version, &ID, Sender::Client).unwrap();
        assert!(keys.open(&packet, packet.len() - 117, &mut room).is_none());
    }

    #[test]
    fn the_published_answers_open() {
        answer(Version::One, ANSWER);
        answer(Version::Two, ANSWER_2);
    }

    #[test]
    fn a_changed_packet_does_not_open() {
        let mut packet = bytes(ANSWER);
        packet[40] ^= 1;
        let mut keys = Keys::derive(Version::One, &ID, Sender::Server).unwrap();
        assert!(keys.open(&packet, packet.len() - 117, &mut Vec::new()).is_none());
        for length in 0..packet.len() {
            assert!(keys.open(&packet[..length], 18, &mut Vec::new()).is_none());
            assert!(keys.open(&packet, length, &mut Vec::new()).is_none());
        }
    }

    #[test]
    fn packet_numbers_are_those_next_to_the_highest() {
        assert_eq!(expand_number(0x9B32, 2, 0xA82F_30EA), 0xA82F_9B32);
        assert_eq!(expand_number(0, 1, 0), 0);
        assert_eq!(expand_number(1, 1, 255), 257);
        assert_eq!(expand_number(255, 1, 256), 255);
    }
}
