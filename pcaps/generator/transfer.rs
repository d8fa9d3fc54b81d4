//! FTP: a listing, a file fetched in passive mode, one stored in active mode, one fetched in extended passive mode.

use std::net::SocketAddr;

use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};
use super::http::page;

use Direction::{ToClient, ToServer};

/// A data connection: opened by the first address, and its sender says all there is.
fn data(trace: &mut Trace, ends: (SocketAddr, SocketAddr), at: i64, sender: Direction, bytes: &[u8]) -> i64 {
    let mut talk = Conversation::new(ends.0, ends.1, at).round_trip(6 * MILLISECOND);
    talk.open();
    talk.send(sender, bytes);
    talk.close();
    trace.datagrams(&talk.datagrams);
    talk.now
}

pub fn capture() -> Trace {
    let address = |text: &str| -> SocketAddr { text.parse().expect("a literal address") };
    let (client, server) = (address("10.20.0.15:51021"), address("192.0.2.21:21"));
    let mut trace = Trace::default();
    let mut control = Conversation::new(client, server, START).round_trip(6 * MILLISECOND);
    let say = |control: &mut Conversation, command: &str, answer: &str| {
        control.send(ToServer, format!("{command}\r\n").as_bytes());
        control.send(ToClient, format!("{answer}\r\n").as_bytes());
    };
    control.open();
    control.send(ToClient, b"220 files.example.net FTP server ready\r\n");
    say(&mut control, "USER anonymous", "331 any password will do");
    say(&mut control, "PASS guest@example.com", "230-welcome\r\n230 logged in");
    say(&mut control, "TYPE I", "200 binary");

    say(&mut control, "PASV", "227 Entering Passive Mode (192,0,2,21,195,80)");
    say(&mut control, "LIST", "150 listing");
    let listing = b"-rw-r--r-- 1 ftp ftp 3500 Jan 15 09:00 page.html\r\n";
    let (from, to) = (address("10.20.0.15:51022"), address("192.0.2.21:50000"));
    control.now = data(&mut trace, (from, to), control.now, ToClient, listing);
    control.send(ToClient, b"226 done\r\n");

    say(&mut control, "PASV", "227 Entering Passive Mode (192,0,2,21,195,81)");
    say(&mut control, "RETR pub/page.html", "150 here it comes");
    let (from, to) = (address("10.20.0.15:51023"), address("192.0.2.21:50001"));
    control.now = data(&mut trace, (from, to), control.now, ToClient, &page("Transfers", 22));
    control.send(ToClient, b"226 done\r\n");

    say(&mut control, "PORT 10,20,0,15,199,81", "200 fine");
    say(&mut control, "STOR notes.txt", "150 go on");
    let (from, to) = (address("192.0.2.21:20"), address("10.20.0.15:51025"));
    control.now = data(&mut trace, (from, to), control.now, ToClient, &b"Measure first.\n".repeat(120));
    control.send(ToClient, b"226 done\r\n");

    say(&mut control, "EPSV", "229 Entering Extended Passive Mode (|||50002|)");
    say(&mut control, "RETR readme", "150 here it comes");
    let (from, to) = (address("10.20.0.15:51026"), address("192.0.2.21:50002"));
    control.now = data(&mut trace, (from, to), control.now, ToClient, b"Read this first.\n");
    control.send(ToClient, b"226 done\r\n");

    say(&mut control, "QUIT", "221 bye");
    control.close();
    trace.datagrams(&control.datagrams);
    trace.sort();
    trace
}
