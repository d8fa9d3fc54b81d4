//! SMTP: a message with two attachments after DATA, and one more in two chunks of BDAT.

use std::net::SocketAddr;

use super::compress::png;
use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};

use Direction::{ToClient, ToServer};

/// RFC 4648 base64 in lines of 76.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for (i, group) in bytes.chunks(3).enumerate() {
        if i > 0 && i % 19 == 0 {
            out.push_str("\r\n");
        }
        let at = |n: usize| u32::from(group.get(n).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for n in 0..4 {
            let sign = char::from(SIGNS[(word >> (18 - 6 * n) & 63) as usize]);
            out.push(if n <= group.len() { sign } else { '=' });
        }
    }
    out + "\r\n"
}

fn with_attachments(boundary: &str) -> String {
    let image = png(24, |x, y| [(x * 9) as u8, (y * 9) as u8, (x ^ y) as u8]);
    format!(
        "From: Ada <ada@example.com>\r\nTo: Ben <ben@example.net>\r\nSubject: the picture\r\n\
         Date: Thu, 15 Jan 2026 09:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\nparts follow\r\n--{boundary}\r\n\
         Content-Type: text/plain\r\n\r\nHere it is.\r\n..and a line that begins with a dot.\r\n--{boundary}\r\n\
         Content-Type: image/png; name=\"wrong.png\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment;\r\n filename=\"picture.png\"\r\n\r\n{}\r\n--{boundary}\r\n\
         Content-Type: text/csv\r\nContent-Transfer-Encoding: quoted-printable\r\n\
         Content-Disposition: attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe.csv\r\n\r\n\
         name;gr=C3=B6=C3=9Fe\r\nbridge;=\r\n1280\r\n\r\n--{boundary}--\r\n",
        base64(&image).trim_end()
    )
}

fn plain_file() -> String {
    "From: <ada@example.com>\r\nContent-Type: text/plain; name=notes.txt\r\n\r\nfirst line\r\nsecond line\r\n"
        .to_owned()
}

pub fn capture() -> Trace {
    let client: SocketAddr = "10.20.0.14:51025".parse().expect("a literal address");
    let server: SocketAddr = "192.0.2.25:25".parse().expect("a literal address");
    let mut talk = Conversation::new(client, server, START).round_trip(9 * MILLISECOND);
    talk.open();
    talk.send(ToClient, b"220 mail.example.net ESMTP\r\n");
    let message = with_attachments("=_part");
    let chunks = plain_file();
    let (first, last) = chunks.as_bytes().split_at(61);
    for (command, answer) in [
        (b"EHLO desk.example.com\r\n".to_vec(), "250-mail.example.net\r\n250-PIPELINING\r\n250 CHUNKING\r\n"),
        (b"MAIL FROM:<ada@example.com>\r\nRCPT TO:<ben@example.net>\r\n".to_vec(), "250 fine\r\n250 fine\r\n"),
        (b"DATA\r\n".to_vec(), "354 go on\r\n"),
        (format!("{message}.\r\n").into_bytes(), "250 taken\r\n"),
        (b"MAIL FROM:<ada@example.com>\r\nRCPT TO:<ben@example.net>\r\n".to_vec(), "250 fine\r\n250 fine\r\n"),
        ([format!("BDAT {}\r\n", first.len()).as_bytes(), first].concat(), "250 taken\r\n"),
        ([format!("BDAT {} LAST\r\n", last.len()).as_bytes(), last].concat(), "250 taken\r\n"),
        (b"QUIT\r\n".to_vec(), "221 bye\r\n"),
    ] {
        talk.send(ToServer, &command);
        talk.send(ToClient, answer.as_bytes());
        talk.wait(5 * MILLISECOND);
    }
    talk.close();
    let mut trace = Trace::default();
    trace.datagrams(&talk.datagrams);
    trace
}
