//! Whose packet it is.

use std::hash::{Hash, Hasher};

use super::{Layers, Protocol};

/// Both ends of a flow: the one with the higher port first, or with the lower address if the ports are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    hosts: [[u8; 16]; 2],
    ports: [u16; 2],
    protocol: u8,
    host_len: u8,
}

/// An end.
#[derive(Clone, Copy)]
pub enum Side {
    A,
    Z,
}

impl Side {
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// What the table of flows needs of a transport header; all zero but the payload for UDP.
#[derive(Clone, Copy)]
pub struct Segment {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: u32,
    /// Where the payload begins.
    pub at: usize,
}

impl Hash for Tuple {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, z] = self.hosts;
        let ports = u64::from(self.ports[0]) << 24 | u64::from(self.ports[1]) << 8 | u64::from(self.protocol);
        state.write_u64(ports);
        if self.host_len == 4 {
            state.write_u64(u64::from(word(&a)) << 32 | u64::from(word(&z)));
        } else {
            state.write_u128(u128::from_ne_bytes(a));
            state.write_u128(u128::from_ne_bytes(z));
        }
    }
}

fn word(host: &[u8; 16]) -> u32 {
    u32::from_ne_bytes([host[0], host[1], host[2], host[3]])
}

fn padded(host: &[u8]) -> [u8; 16] {
    match <[u8; 16]>::try_from(host) {
        Ok(all) => all,
        _ => {
            let mut all = [0; 16];
            all.iter_mut().zip(host).for_each(|(to, from)| *to = *from);
            all
        }
    }
}

impl Tuple {
    /// The flow of a packet, who sent it, and what TCP or UDP say. None without IP.
    pub fn of(packet: &[u8], layers: &Layers) -> Option<(Self, Side, Option<Segment>)> {
        let ip = layers.list[1];
        let header = ip.bytes(packet)?;
        let (source, destination, host_len, mut protocol, end) = match ip.protocol {
            Protocol::Ipv4 => {
                let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
                (header.get(12..16)?, header.get(16..20)?, 4, header[9], ip.offset as usize + total)
            }
            Protocol::Ipv6 => {
                let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
                (header.get(8..24)?, header.get(24..40)?, 16, header[6], ip.offset as usize + 40 + length)
            }
            _ => return None,
        };
        let transport = layers.list[2];
        let mut ports = [0; 2];
        let mut segment = None;
        if matches!(transport.protocol, Protocol::Tcp | Protocol::Udp) {
            let head = transport.bytes(packet)?;
            ports = [u16::from_be_bytes([head[0], head[1]]), u16::from_be_bytes([head[2], head[3]])];
            let at = (transport.offset + transport.len) as usize;
            let payload = end.saturating_sub(at) as u32;
            segment = Some(match head.first_chunk::<14>() {
                Some(tcp) if transport.protocol == Protocol::Tcp => Segment {
                    seq: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
                    ack: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
                    flags: tcp[13],
                    payload,
                    at,
                },
                _ => Segment { seq: 0, ack: 0, flags: 0, payload, at },
            });
            protocol = if transport.protocol == Protocol::Tcp { 6 } else { 17 };
        }
        let hosts = [padded(source), padded(destination)];
        let source_first = if ports[0] == ports[1] { hosts[0] <= hosts[1] } else { ports[0] > ports[1] };
        let tuple = Self { hosts, ports, protocol, host_len };
        Some(if source_first { (tuple, Side::A, segment) } else { (tuple.turned(), Side::Z, segment) })
    }

    fn turned(self) -> Self {
        let ([a, z], [b, y]) = (self.hosts, self.ports);
        Self { hosts: [z, a], ports: [y, b], ..self }
    }

    pub const fn is_tcp(&self) -> bool {
        self.protocol == 6
    }

    pub const fn is_udp(&self) -> bool {
        self.protocol == 17
    }

    pub fn has_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// The sender's address and the receiver's.
    pub fn hosts(&self, sender: Side) -> [&[u8]; 2] {
        let [a, z] = [&self.hosts[0][..usize::from(self.host_len)], &self.hosts[1][..usize::from(self.host_len)]];
        match sender {
            Side::A => [a, z],
            Side::Z => [z, a],
        }
    }
}
