//! The run's side: listening, and a thread for each client.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};

use super::table::{Requests, answer};
use crate::time::Stopwatch;

/// Clients at a time.
const MOST_CLIENTS: usize = 128;
/// Longest line of a request.
const MOST_BYTES: usize = 64 << 10;
/// How long a client may be silent before or between requests.
const IDLE: Duration = Duration::from_secs(60);
/// How long a request may take to arrive, and an answer to be taken.
const SLOW: Duration = Duration::from_secs(5);
/// How long answers may take to leave when the run has ended.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
/// Pause after a failure to accept, as when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(200);

/// A socket that is there and answers nobody yet.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    file: SocketFile,
}

/// The socket's file, which goes with the run.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Not one that somebody else has put there meanwhile. After a change of user the directory may not be ours.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Bound {
    /// Makes the socket; one that a dead run left is taken away.
    ///
    /// # Errors
    /// When something else lies there or another run answers on it.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let named = || format!("--control {}", path.display());
        if let Ok(there) = std::fs::symlink_metadata(path) {
            if !there.file_type().is_socket() {
                bail!("{}: something that is no socket is there; name another path", named());
            }
            if UnixStream::connect(path).is_ok() {
                bail!("{}: another run answers on it; name another path", named());
            }
            std::fs::remove_file(path).with_context(named)?;
        }
        let listener = UnixListener::bind(path).with_context(named)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).with_context(named)?;
        let inode = std::fs::symlink_metadata(path).with_context(named)?.ino();
        // The directory may be changed before the run ends.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self { listener, file: SocketFile { path, inode } })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }
}

/// Clients that are being served; their streams, so that they can be ended.
#[derive(Default)]
struct Clients {
    ended: AtomicBool,
    /// Clients that have asked and have no answer yet.
    busy: AtomicUsize,
    streams: Mutex<Vec<(u64, UnixStream)>>,
}

impl Clients {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<(u64, UnixStream)>> {
        // A list of streams has no state that a panic could leave half done.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The socket while it answers.
pub struct Server {
    /// Goes away with this.
    file: SocketFile,
    /// The listening socket once more, to wake the thread.
    waker: UnixStream,
    clients: Arc<Clients>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts answering.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(bound: Bound, requests: Arc<Requests>) -> anyhow::Result<Self> {
        let waker = UnixStream::from(OwnedFd::from(bound.listener.try_clone().context("the control socket")?));
        let clients: Arc<Clients> = Arc::default();
        let serving = Arc::clone(&clients);
        let (listener, file) = (bound.listener, bound.file);
        let work = move || listen(&listener, &requests, &serving);
        let thread = thread::Builder::new().name("control".to_owned()).spawn(work).context("starting a thread")?;
        Ok(Self { file, waker, clients, thread })
    }

    /// Stops answering and takes the socket away.
    pub fn stop(self) {
        self.clients.ended.store(true, Ordering::Release);
        // On a listening socket this makes the wait for clients return.
        let _ = self.waker.shutdown(Shutdown::Both);
        let _ = self.thread.join();
        // Whoever waits for something of the run is being told that it has ended.
        let since = Stopwatch::start();
        while self.clients.busy.load(Ordering::Acquire) > 0 && since.elapsed() < LAST_ANSWERS {
            thread::sleep(Duration::from_millis(1));
        }
        for (_, stream) in self.clients.streams().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(self.file);
    }
}

fn listen(listener: &UnixListener, requests: &Arc<Requests>, clients: &Arc<Clients>) {
    let mut number = 0;
    while !clients.ended.load(Ordering::Acquire) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(_) if clients.ended.load(Ordering::Acquire) => return,
            Err(_) => {
                thread::sleep(PAUSE);
                continue;
            }
        };
        number += 1;
        admit(stream, number, requests, clients);
    }
}

fn admit(mut stream: UnixStream, number: u64, requests: &Arc<Requests>, clients: &Arc<Clients>) {
    let _ = stream.set_write_timeout(Some(SLOW));
    let Ok(copy) = stream.try_clone() else { return };
    {
        let mut streams = clients.streams();
        if streams.len() >= MOST_CLIENTS {
            drop(streams);
            let text =
                format!("{{\"ok\":false,\"error\":\"{MOST_CLIENTS} clients are being served; try again later\"}}\n");
            // The buffer of a new connection is empty, so this does not wait.
            let _ = stream.write_all(text.as_bytes());
            return;
        }
        streams.push((number, copy));
    }
    let (requests, serving) = (Arc::clone(requests), Arc::clone(clients));
    let work = move || {
        // A client that goes away in mid-request is no failure.
        let _ = serve(&mut stream, &requests, &serving.busy);
        serving.streams().retain(|(other, _)| *other != number);
    };
    if thread::Builder::new().name("client".to_owned()).spawn(work).is_err() {
        clients.streams().retain(|(other, _)| *other != number);
    }
}

/// Answers line by line until the client goes away, is silent, slow or says too much.
fn serve(stream: &mut UnixStream, requests: &Requests, busy: &AtomicUsize) -> io::Result<()> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut begun: Option<Stopwatch> = None;
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            begun = (!buffer.is_empty()).then(Stopwatch::start);
            busy.fetch_add(1, Ordering::AcqRel);
            let written = stream.write_all(&answer(requests, &line[..end]));
            busy.fetch_sub(1, Ordering::AcqRel);
            written?;
            continue;
        }
        let left = match &begun {
            Some(begun) => SLOW.saturating_sub(begun.elapsed()),
            None => IDLE,
        };
        if buffer.len() > MOST_BYTES || left.is_zero() {
            let why = if left.is_zero() { "the request took too long" } else { "a request has at most 65536 bytes" };
            return stream.write_all(format!("{{\"ok\":false,\"error\":\"{why}\"}}\n").as_bytes());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                begun.get_or_insert_with(Stopwatch::start);
                buffer.extend_from_slice(&chunk[..count]);
            }
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted) => {}
            // Out of time: told above, unless nothing was begun.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) && begun.is_some() => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bound, MOST_CLIENTS, Server};
    use crate::app::control_socket::Requests;
    use serde_json::Map;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    fn started(folder: &tempfile::TempDir) -> (std::path::PathBuf, Server) {
        let path = folder.path().join("x.sock");
        let mut requests = Requests::default();
        requests.add("ping", "answers", |_| Ok(Map::new()));
        let server = Server::start(Bound::new(&path).unwrap(), Arc::new(requests)).unwrap();
        (path, server)
    }

    #[test]
    fn lines_are_answered_one_by_one_and_the_socket_goes_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let (path, server) = started(&folder);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"{\"request\":\"ping\"}\nnonsense\n{\"request\":").unwrap();
        stream.write_all(b"\"ping\"}\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "{\"ok\":true}");
        assert!(lines.next().unwrap().unwrap().contains("not JSON"));
        assert_eq!(lines.next().unwrap().unwrap(), "{\"ok\":true}");
        server.stop();
        assert!(!path.exists());
        assert!(lines.next().is_none());
    }

    #[test]
    fn what_is_too_long_or_too_many_is_refused_and_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let (path, server) = started(&folder);
        let mut long = UnixStream::connect(&path).unwrap();
        // The rest may not be taken any more.
        let _ = long.write_all(&vec![b'x'; 80_000]);
        let mut said = String::new();
        let _ = long.read_to_string(&mut said);
        assert!(said.is_empty() || said.contains("at most 65536 bytes"), "{said}");
        let ping = |mut stream: &UnixStream| {
            stream.write_all(b"{\"request\":\"ping\"}\n").unwrap();
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).unwrap();
            line
        };
        let full: Vec<UnixStream> = (0..MOST_CLIENTS).map(|_| UnixStream::connect(&path).unwrap()).collect();
        assert!(full.iter().filter(|stream| ping(stream).contains("true")).count() >= MOST_CLIENTS - 1);
        let mut said = String::new();
        let _ = UnixStream::connect(&path).unwrap().read_to_string(&mut said);
        assert!(said.contains("clients are being served"), "{said}");
        server.stop();
    }

    #[test]
    fn a_dead_runs_socket_is_taken_and_everything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let living = Bound::new(&path).unwrap();
        assert!(Bound::new(&path).unwrap_err().to_string().ends_with("another run answers on it; name another path"));
        drop(living);
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(Bound::new(&file).unwrap_err().to_string().contains("no socket"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "x");
    }
}
