//! HTTP/1.1 messages, and a capture of pages, images and files in every transfer form.

use std::net::SocketAddr;

use super::compress::{gzip, png};
use super::container::{MILLISECOND, START, Trace};
use super::conversation::{Conversation, Direction};

pub fn request(method: &str, path: &str, host: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) browser/1.0\r\n\
         Accept: */*\r\n{extra}\r\n"
    );
    [head.as_bytes(), body].concat()
}

pub fn response(status: &str, kind: &str, extra: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nDate: Thu, 15 Jan 2026 09:00:00 GMT\r\nServer: httpd\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n{extra}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A response in the chunked transfer coding, a chunk for every `size` bytes.
pub fn chunked(kind: &str, extra: &str, body: &[u8], size: usize) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\nDate: Thu, 15 Jan 2026 09:00:00 GMT\r\nServer: httpd\r\nContent-Type: {kind}\r\n\
         Transfer-Encoding: chunked\r\n{extra}\r\n"
    )
    .into_bytes();
    for piece in body.chunks(size) {
        out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A web page of about `paragraphs` times 150 bytes.
pub fn page(title: &str, paragraphs: usize) -> Vec<u8> {
    let mut out = format!("<!doctype html>\n<html><head><title>{title}</title></head>\n<body><h1>{title}</h1>\n");
    for i in 1..=paragraphs {
        out.push_str(&format!(
            "<p id=\"p{i}\">Paragraph {i} of a page that exists to be captured: packet {i} carried it, \
             and a counter somewhere went up by {}.</p>\n",
            i * 17 % 101
        ));
    }
    out.push_str("</body></html>\n");
    out.into_bytes()
}

fn stylesheet() -> Vec<u8> {
    (0..60)
        .map(|i| format!(".column-{i} {{ width: {}px; margin: 0 auto; color: #{:06x}; }}\n", i * 8, i * 4_111))
        .collect::<String>()
        .into_bytes()
}

fn readings() -> Vec<u8> {
    let rows: Vec<String> = (0..80).map(|i| format!("{{\"sensor\":{i},\"value\":{}}}", i * i % 97)).collect();
    format!("[{}]\n", rows.join(",")).into_bytes()
}

fn upload() -> (String, Vec<u8>) {
    let boundary = "----boundary7d1f2c";
    let body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nminutes of the meeting\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"minutes.txt\"\r\n\
         Content-Type: text/plain\r\n\r\n{}--{boundary}--\r\n",
        "All agreed to measure first.\r\n".repeat(40)
    );
    let fields =
        format!("Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {}\r\n", body.len());
    (fields, body.into_bytes())
}

/// Two kept-alive connections with a dozen transactions between them.
pub fn capture() -> Trace {
    let host = "files.example.com";
    let server: SocketAddr = "192.0.2.80:80".parse().expect("a literal address");
    let client = |port| SocketAddr::new([10, 20, 0, 11].into(), port);
    let image = png(48, |x, y| [(x * 5) as u8, (y * 5) as u8, (x * y % 251) as u8]);
    let text = b"GNU is not the only one.\n".repeat(30);
    let (upload_fields, upload_body) = upload();
    let get = |path: &str| request("GET", path, host, "", b"");

    let mut first = Conversation::new(client(49_811), server, START);
    first.open();
    for (question, answer) in [
        (get("/"), response("200 OK", "text/html; charset=utf-8", "", &page("Files", 25))),
        (
            request("GET", "/style.css", host, "Accept-Encoding: gzip\r\n", b""),
            response("200 OK", "text/css", "Content-Encoding: gzip\r\n", &gzip(&stylesheet())),
        ),
        (get("/logo.png"), response("200 OK", "image/png", "", &image)),
        (get("/readings.json"), chunked("application/json", "", &readings(), 700)),
        (get("/log.txt"), chunked("text/plain", "Content-Encoding: gzip\r\n", &gzip(&text.repeat(20)), 64)),
        (get("/favicon.ico"), response("404 Not Found", "text/plain", "", b"not here\n")),
    ] {
        first.send(Direction::ToServer, &question);
        first.send(Direction::ToClient, &answer);
        first.wait(40 * MILLISECOND);
    }
    first.close();

    let mut second = Conversation::new(client(49_812), server, START + 35 * MILLISECOND);
    second.open();
    let part = "Content-Range: bytes 100-299/750\r\nAccept-Ranges: bytes\r\n";
    for (question, answer) in [
        (
            request("HEAD", "/notes.txt", host, "", b""),
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 750\r\n\r\n".to_vec(),
        ),
        (get("/notes.txt"), response("200 OK", "text/plain", "Etag: \"a1\"\r\n", &text)),
        (
            request("GET", "/notes.txt", host, "If-None-Match: \"a1\"\r\n", b""),
            b"HTTP/1.1 304 Not Modified\r\nEtag: \"a1\"\r\n\r\n".to_vec(),
        ),
        (
            request("GET", "/notes.txt", host, "Range: bytes=100-299\r\n", b""),
            response("206 Partial Content", "text/plain", part, &text[100..300]),
        ),
        (
            request("POST", "/upload", host, &upload_fields, &upload_body),
            response("201 Created", "application/json", "Location: /minutes.txt\r\n", b"{\"stored\":true}\n"),
        ),
        (
            request("DELETE", "/minutes.txt", host, "", b""),
            b"HTTP/1.1 204 No Content\r\nServer: httpd\r\n\r\n".to_vec(),
        ),
    ] {
        second.send(Direction::ToServer, &question);
        second.send(Direction::ToClient, &answer);
        second.wait(25 * MILLISECOND);
    }
    second.close();

    let mut trace = Trace::default();
    trace.datagrams(&first.datagrams);
    trace.datagrams(&second.datagrams);
    trace.sort();
    trace
}
