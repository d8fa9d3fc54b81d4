//! Others are told of alerts: over HTTP, and in the log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use millstream::guid::Guid;
use millstream::metrics::{Alert, AlertKind, FlowFacts};
use millstream::sink::eve::AlertItem;
use millstream::sink::syslog::{Syslog, SyslogTarget};
use millstream::sink::webhook::{HookLimits, Webhook, WebhookOptions};
use millstream::sink::{AlertsEnd, Haste};
use millstream::time::{Stopwatch, Timestamp};
use serde_json::Value;
use tempfile::TempDir;

use super::run::{DEMO, begin, dropped, lost, noisy, output, report, run, signal, timed};

/// A server that answers every request as it is told, and hands the bodies on.
fn serve(answer: &'static str) -> (u16, Receiver<Vec<u8>>) {
    serve_with(move |_, stream| {
        let _ = stream.write_all(answer.as_bytes());
    })
}

fn serve_with(answer: impl Fn(usize, &mut TcpStream) + Send + 'static) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bodies, received) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { continue };
            if let Some(body) = request(&stream) {
                let _ = bodies.send(body);
            }
            answer(number, &mut stream);
        }
    });
    (port, received)
}

fn request(stream: impl Read) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn alert() -> std::sync::Arc<AlertItem> {
    let alert = Alert {
        time: Timestamp::new(1, 0),
        group: Guid::from_u128(1),
        flow: None,
        sigid: b"7".to_vec(),
        priority: 1.0,
        message: b"m\xFF\"".to_vec(),
        classification: Vec::new(),
        status: b"ALARM".to_vec(),
        extra: Vec::new(),
        ack: 0,
        kind: AlertKind::Simple,
        ids: None,
    };
    std::sync::Arc::new(AlertItem {
        alert,
        script: "x".into(),
        group: b"g".to_vec(),
        facts: FlowFacts::default(),
        so_far: None,
    })
}

fn limits() -> HookLimits {
    HookLimits {
        connect: Duration::from_millis(500),
        whole: Duration::from_secs(1),
        answer: 64 << 10,
        pauses: vec![Duration::from_millis(20); 4],
        at_end: Duration::from_secs(2),
        in_haste: Duration::from_millis(500),
    }
}

/// Sends alerts to a port and waits until the webhook has ended.
fn post(port: u16, count: usize, limits: HookLimits, pause: Duration) -> AlertsEnd {
    let allowed = vec!["127.0.0.1".parse().unwrap()];
    let url = format!("http://127.0.0.1:{port}/hook?x=1");
    send(WebhookOptions { url, allowed, trusted: None, limits, haste: Haste::default() }, count, pause)
}

fn send(options: WebhookOptions, count: usize, pause: Duration) -> AlertsEnd {
    let webhook = Webhook::start(options).unwrap();
    let sender = webhook.sender();
    (0..count).for_each(|_| sender.send(alert()));
    thread::sleep(pause);
    drop(sender);
    webhook.close()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn every_alert_of_a_run_is_posted_as_an_object() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_400);
    let (port, received) = serve(OK);
    let url = format!("http://127.0.0.1:{port}/");
    let report = report(&["-r", DEMO, "-p", &plugin, "--webhook", &url, "--webhook-allow", "127.0.0.0/8"], 0);
    let hook = output(&report, "webhook");
    let bodies: Vec<Value> = received.try_iter().map(|body| serde_json::from_slice(&body).unwrap()).collect();
    assert_eq!(hook["written"].as_u64(), Some(bodies.len() as u64));
    assert_eq!(lost(hook), dropped(hook, "webhook_queue_full"), "{hook}");
    assert!(!bodies.is_empty());
    assert!(bodies.iter().all(|body| body["event_type"] == "alert" && body["alert"]["severity"] == 2));
}

#[test]
fn a_webhook_calls_nobody_who_is_not_allowed() {
    for (url, allow, word) in [
        ("http://127.0.0.1:9/", None, "--webhook-allow"),
        ("http://127.0.0.1:9/", Some("10.0.0.1"), "may not be called"),
        ("http://localhost.example/", Some("localhost"), "may not be called"),
        ("https://127.0.0.1:9/", Some("10.0.0.1"), "may not be called"),
        ("ftp://127.0.0.1/", Some("127.0.0.1"), "http"),
    ] {
        let mut arguments = vec!["-r", DEMO, "--webhook", url];
        arguments.extend(allow.iter().flat_map(|allow| ["--webhook-allow", allow]));
        let output = run(&arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{url}: {text}");
        assert!(text.contains(word), "{url}: {text}");
    }
}

/// A server over TLS with a certificate for `name` of an authority of its own, whose certificate is the text.
fn serve_tls(name: &str) -> (u16, Receiver<Vec<u8>>, String) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer_key = rcgen::KeyPair::generate().unwrap();
    let root = authority.self_signed(&issuer_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, issuer_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let secret = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], secret).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (bodies, received) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            if let Some(body) = request(&mut stream) {
                let _ = bodies.send(body);
                let _ = stream.write_all(OK.as_bytes());
            }
        }
    });
    (port, received, root)
}

#[test]
fn over_https_certificates_are_checked() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("ca.pem");
    for (name, trusts, delivered) in
        [("localhost", true, 3), ("localhost", false, 0), ("other.example", true, 0), ("127.0.0.1", true, 0)]
    {
        let (port, received, root) = serve_tls(name);
        std::fs::write(&file, root).unwrap();
        let trusted = trusts.then(|| file.clone());
        let allowed = vec!["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        let (limits, haste) = (limits(), Haste::default());
        let options = WebhookOptions { url: format!("https://localhost:{port}/x"), allowed, trusted, limits, haste };
        let end = send(options, 3, Duration::from_millis(1_500));
        assert_eq!((end.delivered, received.try_iter().count()), (delivered, delivered as usize), "{name} {trusts}");
        let lost = if delivered == 0 { vec![("webhook_failed", 3)] } else { Vec::new() };
        assert_eq!(end.dropped, lost, "{name} {trusts}");
    }
}

#[test]
fn a_file_without_certificates_is_refused_before_the_run() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("ca.pem");
    for (text, word) in [
        (Some("nothing"), "no certificate"),
        (Some("-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n"), "PEM"),
        (None, "No such file"),
    ] {
        let _ = std::fs::remove_file(&file);
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let path = file.display().to_string();
        let output = run(&[
            "-r",
            DEMO,
            "--webhook",
            "https://127.0.0.1:9/",
            "--webhook-allow",
            "127.0.0.1",
            "--webhook-ca",
            &path,
        ]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text:?}: {told}");
        assert!(told.contains(word) && told.contains("ca.pem"), "{text:?}: {told}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let (target, hits) = serve(OK);
    let answer = format!("HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{target}/\r\nContent-Length: 0\r\n\r\n");
    let (port, _) = serve_with(move |_, stream| {
        let _ = stream.write_all(answer.as_bytes());
    });
    let end = post(port, 3, limits(), Duration::ZERO);
    assert_eq!((end.delivered, end.dropped), (0, vec![("webhook_refused", 3)]));
    assert_eq!(hits.try_iter().count(), 0);
}

#[test]
fn what_fails_is_tried_a_few_times() {
    let (port, received) = serve("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let end = post(port, 1, limits(), Duration::from_secs(2));
    assert_eq!((end.delivered, end.dropped), (0, vec![("webhook_failed", 1)]));
    assert_eq!(received.try_iter().count(), 5);
}

#[test]
fn what_works_at_the_third_try_is_delivered() {
    let (port, _) = serve_with(|number, stream| {
        let answer = if number < 2 { "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n" } else { OK };
        let _ = stream.write_all(answer.as_bytes());
    });
    let end = post(port, 1, limits(), Duration::from_secs(1));
    assert_eq!((end.delivered, end.dropped), (1, Vec::new()));
}

#[test]
fn what_is_refused_is_not_tried_again() {
    let (port, received) = serve("HTTP/1.1 400 No\r\nContent-Length: 0\r\n\r\n");
    let end = post(port, 2, limits(), Duration::ZERO);
    assert_eq!((end.delivered, end.dropped, received.try_iter().count()), (0, vec![("webhook_refused", 2)], 2));
}

#[test]
fn a_server_that_hangs_drips_or_never_ends_is_given_up_in_time() {
    let hangs = serve_with(|_, _| thread::sleep(Duration::from_secs(3_600)));
    let drips = serve_with(|_, stream| {
        while stream.write_all(b"H").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    let endless = serve_with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 4_096]).is_ok() {}
    });
    for (name, (port, _received), delivered) in [("hangs", hangs, 0), ("drips", drips, 0), ("endless", endless, 1)] {
        let limits = HookLimits { pauses: Vec::new(), ..limits() };
        let (end, time) = timed(|| post(port, 1, limits, Duration::ZERO));
        assert_eq!(end.delivered, delivered, "{name}: {end:?}");
        assert!(time < Duration::from_secs(5), "{name}: {time:?}");
    }
}

#[test]
fn a_server_that_is_not_there_does_not_hold_a_run_up() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_000);
    // A port on which nobody listens any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let arguments = ["-r", DEMO, "-p", &plugin, "--webhook", &url, "--webhook-allow", "127.0.0.1"];
    let (report, time) = timed(|| report(&arguments, 1));
    let hook = output(&report, "webhook");
    assert_eq!(hook["written"], 0);
    assert!(lost(hook) > 0 && report["run"]["packets"] == 3399);
    assert!(time < Duration::from_secs(40), "{time:?}");
}

#[test]
fn what_the_last_try_does_not_deliver_is_a_failure() {
    let (port, _) = serve_with(|number, stream| {
        // By then the run is over.
        thread::sleep(Duration::from_millis(300));
        let answer = if number == 0 { OK } else { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" };
        let _ = stream.write_all(answer.as_bytes());
    });
    let end = post(port, 2, limits(), Duration::ZERO);
    assert_eq!((end.delivered, end.dropped), (1, vec![("webhook_unsent_at_end", 1)]));
    assert_eq!(end.failure.as_deref(), Some("answer 503"));
}

#[test]
fn what_is_refused_is_counted_at_the_first_try_and_at_the_last() {
    let (port, received) = serve_with(|number, stream| {
        let answer = if number == 1 { "503 Busy" } else { "400 No" };
        let _ = stream.write_all(format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").as_bytes());
    });
    let allowed = vec!["127.0.0.1".parse().unwrap()];
    // Nothing is tried again before the end.
    let pauses = vec![Duration::from_secs(3_600)];
    let limits = HookLimits { pauses, whole: Duration::from_secs(20), at_end: Duration::from_secs(20), ..limits() };
    let (url, haste) = (format!("http://127.0.0.1:{port}/"), Haste::default());
    let webhook = Webhook::start(WebhookOptions { url, allowed, trusted: None, limits, haste }).unwrap();
    for _ in 0..2 {
        webhook.sender().send(alert());
        received.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    let end = webhook.close();
    assert_eq!((end.delivered, end.dropped), (0, vec![("webhook_refused", 2)]));
    assert_eq!((end.failure.as_deref(), received.try_iter().count()), (Some("answer 400"), 1));
}

/// A server that takes everything and is not done with its first answer for hours.
fn serve_slowly() -> (u16, Receiver<Vec<u8>>) {
    serve_with(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    })
}

#[test]
fn what_a_slow_server_was_not_told_when_the_run_was_over_is_a_failure() {
    let patient = HookLimits { whole: Duration::from_secs(60), at_end: Duration::from_secs(60), ..limits() };
    for (limits, is_hasty) in
        [(HookLimits { at_end: Duration::from_millis(500), ..patient.clone() }, false), (patient, true)]
    {
        let (port, _received) = serve_slowly();
        let haste = Haste::default();
        if is_hasty {
            haste.begin();
        }
        let allowed = vec!["127.0.0.1".parse().unwrap()];
        let url = format!("http://127.0.0.1:{port}/");
        let options = WebhookOptions { url, allowed, trusted: None, limits, haste };
        // The first is under way when the end comes, and is not waited for longer than all together.
        let (end, time) = timed(|| send(options, 3, Duration::from_millis(300)));
        assert!(time < Duration::from_secs(4), "{time:?}");
        assert_eq!((end.delivered, end.dropped), (1, vec![("webhook_unsent_at_end", 2)]));
        assert_eq!(end.failure.as_deref(), Some("the run was over before every alert was posted"));
    }
}

#[test]
fn a_run_that_is_stopped_does_not_wait_for_a_slow_server() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_000);
    let (port, received) = serve_slowly();
    let url = format!("http://127.0.0.1:{port}/");
    let arguments = ["-r", DEMO, "--loop", "100000", "-p", &plugin, "--webhook", &url, "--webhook-allow", "127.0.0.1"];
    let child = begin(&arguments);
    received.recv_timeout(Duration::from_secs(60)).unwrap();
    signal(&child, "-TERM");
    let (output, time) = timed(|| child.wait_with_output().unwrap());
    assert!(time < Duration::from_secs(5), "{time:?}");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(report.contains("webhook could not be written in full: the run was over"), "{report}");
}

#[test]
fn a_flood_of_alerts_fills_a_queue_and_no_more() {
    let (port, _received) = serve_with(|_, stream| {
        thread::sleep(Duration::from_millis(50));
        let _ = stream.write_all(OK.as_bytes());
    });
    let clock = Stopwatch::start();
    let end = post(port, 5_000, HookLimits { at_end: Duration::from_millis(500), ..limits() }, Duration::ZERO);
    let took = clock.elapsed();
    assert!(took < Duration::from_secs(5), "the rest of the queue alone would take 50 s, this took {took:?}");
    let sum: u64 = end.dropped.iter().map(|(_, count)| count).sum();
    assert_eq!(end.delivered + sum, 5_000);
    assert!(end.dropped.iter().any(|(name, count)| *name == "webhook_queue_full" && *count > 3_000), "{end:?}");
    assert!(end.dropped.iter().any(|(name, count)| *name == "webhook_unsent_at_end" && *count > 900), "{end:?}");
}

#[test]
fn alerts_go_to_the_log_over_udp() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 1_400);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let target = format!("udp:{}", socket.local_addr().unwrap());
    let report = report(&["-r", DEMO, "-p", &plugin, "--syslog", &target], 0);
    assert!(output(&report, "syslog")["written"].as_u64().unwrap() > 0);
    let mut message = [0; 4_096];
    let count = socket.recv(&mut message).unwrap();
    let text = std::str::from_utf8(&message[..count]).expect("valid UTF-8");
    assert!(text.starts_with("<132>1 20") && text.contains(" millstream ") && !text.contains('\n'), "{text}");
}

#[test]
fn alerts_go_to_a_socket_on_this_machine_and_a_full_one_does_not_hold_the_run_up() {
    let dir = TempDir::new().unwrap();
    let plugin = noisy(dir.path(), 400);
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    let target = format!("unix:{}", path.display());
    let report = report(&["-r", DEMO, "-p", &plugin, "--syslog", &target], 1);
    let log = output(&report, "syslog");
    let alerts = log["written"].as_u64().unwrap() + lost(log);
    assert!(lost(log) > 0 && log["written"].as_u64().unwrap() > 0, "nobody reads: {log}");
    socket.set_nonblocking(true).unwrap();
    let mut message = [0; 4_096];
    let received = std::iter::from_fn(|| socket.recv(&mut message).ok()).count() as u64;
    assert_eq!(log["written"].as_u64(), Some(received));
    assert!(alerts > received);
    let nobody = run(&["-r", DEMO, "--syslog", "unix:/nonexistent/log"]);
    assert_eq!(nobody.status.code(), Some(2));
}

#[test]
fn what_is_told_to_a_log_that_has_gone_is_counted() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("log");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let syslog = Syslog::start(SyslogTarget::Local(path.clone())).unwrap();
    let sender = syslog.sender();
    sender.send(alert());
    assert!(socket.recv(&mut [0; 4_096]).unwrap() > 0);
    drop(socket);
    std::fs::remove_file(&path).unwrap();
    // The first finds it gone, the others nothing that they could be sent through.
    (0..4).for_each(|_| sender.send(alert()));
    drop(sender);
    let end = syslog.close();
    assert_eq!((end.delivered, end.dropped), (1, vec![("syslog_not_sent", 4)]));
    assert!(end.failure.is_some());
}
