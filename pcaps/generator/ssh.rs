//! An SSH session: banners, key exchange, then encrypted packets of the sizes that typing makes.

use std::net::SocketAddr;

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};
use super::random::Random;

use Direction::{ToClient, ToServer};

fn string(bytes: &[u8]) -> Vec<u8> {
    [&super::container::word(bytes.len()).to_be_bytes()[..], bytes].concat()
}

/// An unencrypted packet: length, padding length, payload, padding.
fn packet(payload: &[u8], random: &mut Random) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8;
    let padding = if padding < 4 { padding + 8 } else { padding };
    let length = super::container::word(1 + payload.len() + padding);
    [&length.to_be_bytes()[..], &[padding as u8], payload, &random.bytes(padding)].concat()
}

fn key_exchange_init(random: &mut Random) -> Vec<u8> {
    let lists = [
        "curve25519-sha256,ecdh-sha2-nistp256",
        "ssh-ed25519,rsa-sha2-512",
        "aes128-ctr,aes256-ctr",
        "aes128-ctr,aes256-ctr",
        "hmac-sha2-256,hmac-sha2-512",
        "hmac-sha2-256,hmac-sha2-512",
        "none",
        "none",
        "",
        "",
    ];
    let lists: Vec<u8> = lists.iter().flat_map(|list| string(list.as_bytes())).collect();
    [&[20][..], &random.bytes(16), &lists, &[0, 0, 0, 0, 0]].concat()
}

/// Connects, exchanges keys and logs in with a password; ends at the shell prompt.
pub fn log_in(talk: &mut Conversation, random: &mut Random) {
    talk.open();
    talk.send(ToServer, b"SSH-2.0-OpenSSH_9.6\r\n");
    talk.send(ToClient, b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n");
    let init = key_exchange_init(random);
    talk.send(ToServer, &packet(&init, random));
    let init = key_exchange_init(random);
    talk.send(ToClient, &packet(&init, random));
    let init = [&[30][..], &string(&random.bytes(32))].concat();
    talk.send(ToServer, &packet(&init, random));
    let host_key = [string(b"ssh-ed25519"), string(&random.bytes(32))].concat();
    let signature = [string(b"ssh-ed25519"), string(&random.bytes(64))].concat();
    let reply = [&[31][..], &string(&host_key), &string(&random.bytes(32)), &string(&signature)].concat();
    let reply = [packet(&reply, random), packet(&[21], random)].concat();
    talk.send(ToClient, &reply);
    let new_keys = packet(&[21], random);
    talk.send(ToServer, &new_keys);
    // Service request, authentication by password, channel and terminal; sizes as they are on a real link.
    for (there, back) in [(64, 64), (80, 96), (160, 48), (128, 64), (416, 112)] {
        talk.send(ToServer, &random.bytes(there));
        talk.send(ToClient, &random.bytes(back));
        talk.wait(30 * MILLISECOND);
    }
    talk.send(ToClient, &random.bytes(560));
}

/// One key after another, each echoed; every `line` keys a line of output comes back.
pub fn keys(talk: &mut Conversation, count: usize, line: usize, random: &mut Random) {
    for i in 1..=count {
        talk.wait(random.between(70, 260) as i64 * MILLISECOND);
        talk.send(ToServer, &random.bytes(76));
        talk.send(ToClient, &random.bytes(76));
        if i % line == 0 {
            let output = random.between(4, 24) as usize * 16 + 12;
            talk.send(ToClient, &random.bytes(output));
        }
    }
}

pub fn capture() -> Trace {
    let mut random = Random::new(22);
    let client: SocketAddr = "10.20.0.12:52022".parse().expect("a literal address");
    let server: SocketAddr = "10.20.0.5:22".parse().expect("a literal address");
    let mut talk = Conversation::new(client, server, START).round_trip(MILLISECOND);
    log_in(&mut talk, &mut random);
    keys(&mut talk, 30, 10, &mut random);
    talk.close();
    let mut trace = Trace::default();
    trace.datagrams(&talk.datagrams);
    trace
}
