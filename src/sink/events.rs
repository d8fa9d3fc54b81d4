//! The event stream: everything that scripts produced, one JSON object a line, in the order it happened.
//!
//! A thread of its own formats nothing and writes only; lines are made by the thread that hands them over, so that their
//! order is its order. When the queue is full the sender waits (files) or drops and counts (interfaces).

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::console::WhenFull;
use super::patient::{Haste, Patient};
use crate::processor::yield_to_packets;
use crate::time::Timestamp;

/// Version of the stream, told in its first line.
const VERSION: u32 = 1;
/// Bytes of lines handed over at once.
const PARCEL_BYTES: usize = 64 << 10;
/// Parcels that may wait.
const QUEUE: usize = 64;

/// A field of an event.
#[derive(Clone, Copy, Debug)]
pub enum Field<'a> {
    /// Text that may hold any byte.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
    /// A number; integers are written without a fraction.
    Number(f64),
    /// A count.
    Count(u64),
    /// A truth value.
    Flag(bool),
    /// A list of numbers.
    Numbers(&'a [f64]),
    /// JSON made elsewhere.
    Raw(&'a str),
}

/// What every event carries.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Kind.
    pub ev: &'a str,
    /// Packet time.
    pub time: Timestamp,
    /// File name of the script, or `native:NAME`.
    pub script: &'a str,
    /// `frontend`, `backend` or `async`.
    pub side: &'a str,
}

/// Appends one line.
pub fn write_event(out: &mut Vec<u8>, head: &Head<'_>, fields: &[(&str, Field<'_>)]) {
    let mut binary = false;
    out.extend_from_slice(b"{\"ev\":");
    binary |= write_text(out, head.ev.as_bytes());
    out.extend_from_slice(b",\"t\":");
    write_time(out, head.time);
    out.extend_from_slice(b",\"script\":");
    binary |= write_text(out, head.script.as_bytes());
    out.extend_from_slice(b",\"side\":");
    binary |= write_text(out, head.side.as_bytes());
    for (name, field) in fields {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match field {
            Field::Bytes(bytes) => binary |= write_text(out, bytes),
            Field::Text(text) => binary |= write_text(out, text.as_bytes()),
            Field::Number(number) => write_number(out, *number),
            Field::Count(count) => out.extend_from_slice(count.to_string().as_bytes()),
            Field::Flag(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Field::Numbers(numbers) => {
                out.push(b'[');
                for (i, number) in numbers.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    write_number(out, *number);
                }
                out.push(b']');
            }
            Field::Raw(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
    if binary {
        out.extend_from_slice(b",\"bin\":true");
    }
    out.extend_from_slice(b"}\n");
}

/// Seconds with as many digits as the time has, at most nine.
fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    let (secs, nanos) = (time.secs(), time.subsec_nanos());
    if nanos == 0 {
        out.extend_from_slice(secs.to_string().as_bytes());
    } else if secs >= 0 {
        let text = format!("{secs}.{nanos:09}");
        out.extend_from_slice(text.trim_end_matches('0').as_bytes());
    } else {
        write_number(out, time.as_secs_f64());
    }
}

/// The shortest form that reads back as the same number; JSON has no infinities, they become null.
fn write_number(out: &mut Vec<u8>, number: f64) {
    if !number.is_finite() {
        out.extend_from_slice(b"null");
    } else if number == number.trunc() && number.abs() < 1e15 {
        out.extend_from_slice(format!("{number:.0}").as_bytes());
    } else {
        out.extend_from_slice(format!("{number}").as_bytes());
    }
}

/// A JSON string; bytes that are not valid UTF-8 become `\u00XX`. Returns whether there were any.
pub(super) fn write_text(out: &mut Vec<u8>, mut bytes: &[u8]) -> bool {
    let mut binary = false;
    out.push(b'"');
    loop {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                write_valid(out, text);
                break;
            }
            Err(e) => {
                let (valid, rest) = bytes.split_at(e.valid_up_to());
                if let Ok(text) = std::str::from_utf8(valid) {
                    write_valid(out, text);
                }
                let bad = e.error_len().unwrap_or(rest.len());
                for byte in &rest[..bad] {
                    out.extend_from_slice(format!("\\u00{byte:02x}").as_bytes());
                }
                binary = true;
                bytes = &rest[bad..];
            }
        }
    }
    out.push(b'"');
    binary
}

fn write_valid(out: &mut Vec<u8>, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            c if (c as u32) < 0x20 => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// A JSON string of bytes, for [`Field::Raw`].
#[must_use]
pub fn json_text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    write_text(&mut out, bytes);
    String::from_utf8(out).unwrap_or_default()
}

/// The sending half; one per thread that produces events.
#[derive(Debug)]
pub struct EventSender {
    queue: Sender<Vec<u8>>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
    pending: Vec<u8>,
    lines: u64,
}

impl EventSender {
    /// Adds one event; handed over when enough have come together.
    pub fn event(&mut self, head: &Head<'_>, fields: &[(&str, Field<'_>)]) {
        write_event(&mut self.pending, head, fields);
        self.lines += 1;
        if self.pending.len() >= PARCEL_BYTES {
            self.flush();
        }
    }

    /// Hands over what has come together.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let parcel = std::mem::replace(&mut self.pending, Vec::with_capacity(PARCEL_BYTES + 1024));
        let lost = match self.when_full {
            WhenFull::Block => self.queue.send(parcel).is_err(),
            WhenFull::DropNewest => self.queue.try_send(parcel).is_err(),
        };
        if lost {
            self.dropped.fetch_add(self.lines, Ordering::Relaxed);
        }
        self.lines = 0;
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The writing half.
#[derive(Debug)]
pub struct EventStream {
    queue: Option<Sender<Vec<u8>>>,
    when_full: WhenFull,
    dropped: Arc<AtomicU64>,
    writer: Option<JoinHandle<Option<io::Error>>>,
}

/// How an event stream ended.
#[derive(Debug, Default)]
pub struct StreamEnd {
    /// Events that were not written.
    pub dropped: u64,
    /// Why writing stopped early; a closed pipe is no failure.
    pub failure: Option<io::Error>,
}

impl EventStream {
    /// Opens a file, or standard output for `-`, and writes the version line. In haste a reader that stalls is given up.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn open(path: &Path, when_full: WhenFull, haste: Haste) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::start("standard output", Box::new(Patient::of(&io::stdout(), haste)?), when_full);
        }
        let file = Patient::new(File::create(path)?, haste);
        Self::start(&path.display().to_string(), Box::new(file), when_full)
    }

    /// Starts the writing thread on an output, which is called `name` when it fails.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(name: &str, output: Box<dyn Write + Send>, when_full: WhenFull) -> io::Result<Self> {
        let (queue, parcels) = bounded::<Vec<u8>>(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let (name, lost) = (name.to_owned(), Arc::clone(&dropped));
        let writer = thread::Builder::new().name("events".to_owned()).spawn(move || {
            yield_to_packets();
            write(&name, &parcels, output, &lost)
        })?;
        let first = format!("{{\"ev\":\"version\",\"events\":{VERSION}}}\n").into_bytes();
        // The queue is empty, so this neither waits nor fails.
        let _ = queue.send(first);
        Ok(Self { queue: Some(queue), when_full, dropped, writer: Some(writer) })
    }

    /// A sender for one more thread.
    #[must_use]
    pub fn sender(&self) -> EventSender {
        EventSender {
            queue: self.queue.clone().expect("the queue is there until the stream is closed"),
            when_full: self.when_full,
            dropped: Arc::clone(&self.dropped),
            pending: Vec::new(),
            lines: 0,
        }
    }

    /// Writes what is left; every sender must be gone.
    #[must_use]
    pub fn close(mut self) -> StreamEnd {
        self.queue = None;
        // A panic of the writer has been reported by its thread.
        let failure = self.writer.take().and_then(|writer| writer.join().ok()).flatten();
        StreamEnd { dropped: self.dropped.load(Ordering::Relaxed), failure }
    }
}

/// Writes until the last sender is gone. When the output fails, which is told at once, everything from there on is counted
/// as dropped; a closed pipe is not told of.
fn write(
    name: &str,
    parcels: &Receiver<Vec<u8>>,
    mut output: Box<dyn Write + Send>,
    dropped: &AtomicU64,
) -> Option<io::Error> {
    let count = |bytes: &[u8]| {
        let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
        dropped.fetch_add(lines as u64, Ordering::Relaxed);
    };
    for parcel in parcels {
        let Err((written, error)) = put(&mut output, &parcel) else { continue };
        count(&parcel[written..]);
        let failure = (error.kind() != io::ErrorKind::BrokenPipe).then_some(error);
        if let Some(error) = &failure {
            log::error!("{name}: {error}; the event stream ends here, the run goes on");
        }
        // Senders must not see the queue closed while parcels wait in it that nobody would count.
        parcels.iter().for_each(|parcel| count(&parcel));
        return failure;
    }
    None
}

/// Writes a parcel, which is large or all there is; on failure, the bytes that were written before it.
fn put(output: &mut dyn Write, parcel: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < parcel.len() {
        match output.write(&parcel[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((written, e)),
        }
    }
    output.flush().map_err(|e| (written, e))
}

#[cfg(test)]
mod tests {
    use super::{EventStream, Field, Head, WhenFull, write_event};
    use crate::time::Timestamp;
    use crossbeam_channel::{Receiver, bounded};
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    fn line(fields: &[(&str, Field<'_>)]) -> String {
        let mut out = Vec::new();
        let head = Head { ev: "print", time: Timestamp::new(100, 250_000_000), script: "a.lua", side: "frontend" };
        write_event(&mut out, &head, fields);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn head_and_fields_stand_in_order() {
        let text =
            line(&[("text", Field::Text("x\"y\n")), ("n", Field::Number(3.0)), ("v", Field::Numbers(&[0.5, 2.0]))]);
        assert_eq!(
            text,
            "{\"ev\":\"print\",\"t\":100.25,\"script\":\"a.lua\",\"side\":\"frontend\",\"text\":\"x\\\"y\\n\",\"n\":3,\"v\":[0.5,2]}\n"
        );
    }

    #[test]
    fn invalid_utf8_is_escaped_and_marked() {
        let text = line(&[("text", Field::Bytes(b"a\xffb\xc3"))]);
        assert!(text.contains("\"text\":\"a\\u00ffb\\u00c3\",\"bin\":true}"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }

    /// An output that waits until it is told to go on, and keeps what it was given.
    #[derive(Clone)]
    struct Gate {
        open: Receiver<()>,
        kept: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The gate is open for good once its other end is gone.
            let _ = self.open.recv();
            self.kept.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn send(stream: &EventStream, count: usize) {
        let mut sender = stream.sender();
        let head = Head { ev: "print", time: Timestamp::EPOCH, script: "a.lua", side: "frontend" };
        for i in 0..count {
            sender.event(&head, &[("n", Field::Count(i as u64)), ("text", Field::Text(&"x".repeat(1000)))]);
        }
    }

    #[test]
    fn a_blocking_stream_loses_nothing() {
        let (_, open) = bounded::<()>(0);
        let gate = Gate { open, kept: Arc::default() };
        let stream = EventStream::start("events", Box::new(gate.clone()), WhenFull::Block).unwrap();
        send(&stream, 20_000);
        assert_eq!(stream.close().dropped, 0);
        let kept = gate.kept.lock().unwrap();
        let lines: Vec<&[u8]> = kept.split(|&b| b == b'\n').filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), 20_001);
        assert_eq!(lines[0], b"{\"ev\":\"version\",\"events\":1}");
    }

    #[test]
    fn a_stalled_stream_drops_whole_lines_and_counts_them() {
        let (hold, open) = bounded::<()>(0);
        let gate = Gate { open, kept: Arc::default() };
        let stream = EventStream::start("events", Box::new(gate.clone()), WhenFull::DropNewest).unwrap();
        send(&stream, 20_000);
        drop(hold);
        let dropped = stream.close().dropped;
        let kept = gate.kept.lock().unwrap().iter().filter(|&&b| b == b'\n').count() as u64;
        assert!(dropped > 0);
        assert_eq!(kept - 1 + dropped, 20_000);
    }

    #[test]
    fn a_closed_pipe_ends_the_stream_quietly() {
        let stream = EventStream::start("events", Box::new(Closed), WhenFull::Block).unwrap();
        send(&stream, 20_000);
        let end = stream.close();
        assert!(end.failure.is_none());
        assert_eq!(end.dropped, 20_001, "the line of the version as well");
    }

    /// An output with room for so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(self.0);
            self.0 -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_a_failure_and_lines_without_their_end_are_counted() {
        let stream = EventStream::start("events", Box::new(Disk(1_000_000)), WhenFull::Block).unwrap();
        send(&stream, 20_000);
        let end = stream.close();
        assert_eq!(end.failure.map(|e| e.kind()), Some(io::ErrorKind::StorageFull));
        assert!((18_900..19_200).contains(&end.dropped), "{}", end.dropped);
    }

    #[test]
    fn numbers_read_back_as_the_same() {
        for number in [0.0, -1.5, 1e20, 0.1, 3.333_333_333_333_333_5, 9_007_199_254_740_993.0] {
            let text = line(&[("n", Field::Number(number))]);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["n"].as_f64(), Some(number), "{text}");
        }
        assert!(line(&[("n", Field::Number(f64::NAN))]).contains("\"n\":null"));
    }
}
