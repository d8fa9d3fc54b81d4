//! The thread that has the file, and how others reach it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::file::{Jobs, Row, SpillOpenError};

/// Most things that wait to be written, and most bytes of them.
const MAX_WAITING: usize = 8192;
const MAX_WAITING_BYTES: usize = 64 << 20;
/// Most requests in one transaction.
const BATCH: usize = 512;
/// How long an owner waits for what was left to it.
const ADOPTION: Duration = Duration::from_secs(30);

/// Something to be put aside.
#[derive(Debug)]
pub struct Put {
    /// The thing.
    pub bytes: Vec<u8>,
    /// What to call it.
    pub label: String,
    /// Whether it is for the next owner too.
    pub survives: bool,
}

/// What is done about a file that does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenSlow {
    /// It is waited for.
    Wait,
    /// The thing is refused.
    Refuse,
}

/// Why a thing was not put aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutRefused {
    /// Too much waits to be written.
    Slow,
    /// The thread has ended.
    Closed,
}

/// What becomes of a thing.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// Here it is; it is off the file.
    Bytes(Vec<u8>),
    /// It did not get into the file: why.
    Unwritten(String),
    /// It cannot be read: why.
    Unread(String),
}

/// Where answers go: the place, and what became of it.
pub type Answer = Box<dyn Fn(u64, Taken) + Send>;

/// What an earlier owner of a name left: place, bytes and label of each thing.
pub type LeftBehind = Vec<(u64, usize, String)>;

type Adopted = Result<LeftBehind, String>;

enum Request {
    Attach { owner: u64, name: (String, String), answer: Answer, reply: Sender<Adopted> },
    Put(Row),
    Fetch { owner: u64, places: Vec<u64> },
    Discard(u64),
    Release(u64),
}

/// How much waits to be written.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// A file that things are put aside in. It is made when the first owner comes.
#[derive(Debug)]
pub struct SpillFile {
    path: PathBuf,
    most_bytes: Option<u64>,
    open: Mutex<Option<Open>>,
}

/// The thread, and what is known of it.
#[derive(Debug)]
struct Open {
    requests: Sender<Request>,
    waiting: Arc<Waiting>,
    next_place: AtomicU64,
    next_owner: u64,
    thread: Option<JoinHandle<()>>,
}

impl SpillFile {
    /// Beside a store's file.
    #[must_use]
    pub fn beside(store: &Path) -> Self {
        let mut name = store.as_os_str().to_owned();
        name.push(".jobs");
        Self::at(&PathBuf::from(name), None)
    }

    /// At a path; `most_bytes` is what the file may grow to.
    #[must_use]
    pub fn at(path: &Path, most_bytes: Option<u64>) -> Self {
        Self { path: path.to_owned(), most_bytes, open: Mutex::default() }
    }

    /// Registers an owner; gives its number, and what was left behind under the same name: place, bytes and label.
    ///
    /// # Errors
    /// When the file cannot be opened or read; the text says why.
    pub fn attach(&self, plugin: &str, block: &str, answer: Answer) -> Result<(u64, LeftBehind), String> {
        let (owner, receiver) = {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            if open.is_none() {
                *open = Some(Open::start(&self.path, self.most_bytes).map_err(|error| error.to_string())?);
            }
            let Some(open) = open.as_mut() else { return Err("closed".to_owned()) };
            let owner = open.next_owner;
            open.next_owner += 1;
            let (reply, receiver) = bounded(1);
            let name = (plugin.to_owned(), block.to_owned());
            let request = Request::Attach { owner, name, answer, reply };
            open.requests.send(request).map_err(|_| "the thread of the file has ended".to_owned())?;
            (owner, receiver)
        };
        let left = receiver.recv_timeout(ADOPTION).map_err(|_| format!("{}: does not answer", self.path.display()))?;
        left.map(|left| (owner, left)).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Puts something aside; gives its place.
    ///
    /// # Errors
    /// When the file does not keep up and is not to be waited for.
    pub fn put(&self, owner: u64, put: Put, when_slow: WhenSlow) -> Result<u64, PutRefused> {
        let size = put.bytes.len();
        loop {
            {
                let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(open) = open.as_ref() else { return Err(PutRefused::Closed) };
                let (count, bytes) = (&open.waiting.count, &open.waiting.bytes);
                // The first of all may be larger than what may wait.
                let before = count.load(Ordering::Relaxed);
                if before < MAX_WAITING && (before == 0 || bytes.load(Ordering::Relaxed) + size <= MAX_WAITING_BYTES) {
                    let place = open.next_place.fetch_add(1, Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(size, Ordering::Relaxed);
                    let Put { bytes, label, survives } = put;
                    let row = Row { place, owner, survives, label, job: bytes };
                    return open.requests.send(Request::Put(row)).map(|()| place).map_err(|_| PutRefused::Closed);
                }
            }
            if when_slow == WhenSlow::Refuse {
                return Err(PutRefused::Slow);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn ask(&self, request: Request) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.as_ref() {
            // A thread that has ended gives nothing back any more.
            let _ = open.requests.send(request);
        }
    }

    /// Takes things off the file; the answers go to the owner.
    pub fn fetch(&self, owner: u64, places: Vec<u64>) {
        self.ask(Request::Fetch { owner, places });
    }

    /// Forgets a thing.
    pub fn discard(&self, place: u64) {
        self.ask(Request::Discard(place));
    }

    /// An owner is gone: what survives it is for the next of its name.
    pub fn release(&self, owner: u64) {
        self.ask(Request::Release(owner));
    }
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { requests, thread, .. }) = open else { return };
        drop(requests);
        // It writes what was put before it ends; a panic of it has been told already.
        let _ = thread.map(JoinHandle::join);
    }
}

impl Open {
    fn start(path: &Path, most_bytes: Option<u64>) -> Result<Self, SpillOpenError> {
        let jobs = Jobs::open(path, most_bytes)?;
        let (requests, incoming) = unbounded();
        let waiting = Arc::new(Waiting::default());
        let (next_place, next_owner) = (AtomicU64::new(jobs.next_place), jobs.first_owner);
        let tally = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("jobs-disk".to_owned());
        let thread = thread
            .spawn(move || {
                Keeper { jobs, owners: HashMap::new(), undeleted: Vec::new(), waiting: tally }.run(&incoming)
            })
            .map_err(|error| SpillOpenError::File { path: path.to_owned(), error })?;
        Ok(Self { requests, waiting, next_place, next_owner, thread: Some(thread) })
    }
}

struct Keeper {
    jobs: Jobs,
    owners: HashMap<u64, Owner>,
    /// Given away, and still in the file because that could not be written.
    undeleted: Vec<u64>,
    waiting: Arc<Waiting>,
}

struct Owner {
    name: (String, String),
    answer: Answer,
}

/// What is told when a transaction is through.
#[derive(Default)]
struct Told {
    answers: Vec<(u64, u64, Taken)>,
    adopted: Vec<(usize, LeftBehind)>,
}

impl Keeper {
    fn run(&mut self, incoming: &Receiver<Request>) {
        while let Ok(first) = incoming.recv() {
            let mut batch = vec![first];
            batch.extend(incoming.try_iter().take(BATCH - 1));
            self.serve(batch);
            if incoming.is_empty() {
                self.jobs.shrink();
            }
        }
    }

    fn serve(&mut self, mut batch: Vec<Request>) {
        for request in &mut batch {
            if let Request::Attach { owner, name, answer, .. } = request {
                let answer = std::mem::replace(answer, Box::new(|_, _| ()));
                self.owners.insert(*owner, Owner { name: name.clone(), answer });
            }
        }
        match self.attempt(&batch) {
            Ok(told) => self.tell(&batch, told),
            // One after the other, so that the rest fares better than the one that fails.
            Err(_) => batch.iter().for_each(|request| self.serve_alone(request)),
        }
        for request in &batch {
            match request {
                Request::Put(row) => {
                    self.waiting.count.fetch_sub(1, Ordering::Relaxed);
                    self.waiting.bytes.fetch_sub(row.job.len(), Ordering::Relaxed);
                }
                Request::Release(owner) => drop(self.owners.remove(owner)),
                _ => {}
            }
        }
    }

    fn attempt(&mut self, batch: &[Request]) -> rusqlite::Result<Told> {
        let owners = &self.owners;
        let undeleted = std::mem::take(&mut self.undeleted);
        let told = self.jobs.at_once(|jobs| {
            undeleted.iter().try_for_each(|place| jobs.delete(*place))?;
            let mut told = Told::default();
            for (number, request) in batch.iter().enumerate() {
                match request {
                    Request::Attach { owner, name, .. } => {
                        told.adopted.push((number, jobs.adopt(*owner, &name.0, &name.1)?));
                    }
                    Request::Put(row) => {
                        if let Some(Owner { name, .. }) = owners.get(&row.owner) {
                            jobs.put(row, &name.0, &name.1)?;
                        }
                    }
                    Request::Fetch { owner, places } => {
                        for place in places {
                            let taken = match jobs.read(*place)? {
                                Some(bytes) => Taken::Bytes(bytes),
                                None => Taken::Unread("it is not there".to_owned()),
                            };
                            jobs.delete(*place)?;
                            told.answers.push((*owner, *place, taken));
                        }
                    }
                    Request::Discard(place) => jobs.delete(*place)?,
                    Request::Release(owner) => jobs.release(*owner)?,
                }
            }
            Ok(told)
        });
        if told.is_err() {
            self.undeleted = undeleted;
        }
        told
    }

    fn tell(&self, batch: &[Request], told: Told) {
        for (owner, place, taken) in told.answers {
            if let Some(owner) = self.owners.get(&owner) {
                (owner.answer)(place, taken);
            }
        }
        for (number, left) in told.adopted {
            if let Some(Request::Attach { reply, .. }) = batch.get(number) {
                // Whoever asked may have given up.
                let _ = reply.send(Ok(left));
            }
        }
    }

    fn serve_alone(&mut self, request: &Request) {
        let error = match self.attempt(std::slice::from_ref(request)) {
            Ok(told) => return self.tell(std::slice::from_ref(request), told),
            Err(error) => error.to_string(),
        };
        match request {
            Request::Attach { reply, .. } => drop(reply.send(Err(error))),
            Request::Put(row) => {
                if let Some(owner) = self.owners.get(&row.owner) {
                    (owner.answer)(row.place, Taken::Unwritten(error));
                }
            }
            // A full disk can be read. What was given away must not be given once more: it is deleted as soon as can be.
            Request::Fetch { owner, places } => {
                for place in places {
                    let taken = match self.jobs.read(*place) {
                        Ok(Some(bytes)) => Taken::Bytes(bytes),
                        Ok(None) => Taken::Unread("it is not there".to_owned()),
                        Err(error) => Taken::Unread(error.to_string()),
                    };
                    self.undeleted.push(*place);
                    if let Some(owner) = self.owners.get(owner) {
                        (owner.answer)(*place, taken);
                    }
                }
            }
            Request::Discard(place) => self.undeleted.push(*place),
            Request::Release(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Duration;

    use super::{LeftBehind, Put, SpillFile, Taken, WhenSlow};

    struct End {
        owner: u64,
        left: LeftBehind,
        answers: Receiver<(u64, Taken)>,
    }

    fn attach(file: &SpillFile, plugin: &str) -> End {
        let (sender, answers) = channel();
        let answer = Box::new(move |place, taken| sender.send((place, taken)).unwrap_or(()));
        let (owner, left) = file.attach(plugin, "block", answer).unwrap();
        End { owner, left, answers }
    }

    fn put(file: &SpillFile, end: &End, bytes: &[u8]) -> u64 {
        put_as(file, end, Put { bytes: bytes.to_vec(), label: "f".to_owned(), survives: true })
    }

    fn put_as(file: &SpillFile, end: &End, put: Put) -> u64 {
        file.put(end.owner, put, WhenSlow::Wait).unwrap()
    }

    fn next(end: &End) -> (u64, Taken) {
        end.answers.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    fn path(folder: &tempfile::TempDir) -> std::path::PathBuf {
        folder.path().join("s.db")
    }

    #[test]
    fn what_was_put_comes_back_once_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = SpillFile::beside(&path(&folder));
        let end = attach(&file, "p");
        let places: Vec<u64> = (0..1000_u32).map(|n| put(&file, &end, &n.to_le_bytes())).collect();
        file.discard(places[3]);
        file.fetch(end.owner, places.clone());
        for (n, place) in places.iter().enumerate() {
            let expected = if n == 3 {
                Taken::Unread("it is not there".to_owned())
            } else {
                Taken::Bytes((n as u32).to_le_bytes().to_vec())
            };
            assert_eq!(next(&end), (*place, expected));
        }
        file.fetch(end.owner, vec![places[0]]);
        assert!(matches!(next(&end).1, Taken::Unread(_)), "not twice");
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_another_one_begun() {
        let folder = tempfile::tempdir().unwrap();
        {
            let file = SpillFile::beside(&path(&folder));
            let end = attach(&file, "p");
            put(&file, &end, b"lost");
        }
        let name = folder.path().join("s.db.jobs");
        let mut bytes = std::fs::read(&name).unwrap();
        bytes[100..].fill(0xA5);
        std::fs::write(&name, bytes).unwrap();
        let file = SpillFile::beside(&path(&folder));
        let end = attach(&file, "p");
        assert!(end.left.is_empty());
        let place = put(&file, &end, b"kept");
        file.fetch(end.owner, vec![place]);
        assert_eq!(next(&end), (place, Taken::Bytes(b"kept".to_vec())));
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let aside = names.filter(|name| name.to_string_lossy().starts_with("s.db.jobs.damaged-")).count();
        assert_eq!(aside, 1);
    }

    #[test]
    fn the_next_run_takes_up_what_survives_and_a_run_that_ended_is_no_owner() {
        let folder = tempfile::tempdir().unwrap();
        {
            let file = SpillFile::beside(&path(&folder));
            let (end, other) = (attach(&file, "p"), attach(&file, "q"));
            put(&file, &end, b"one");
            put_as(&file, &end, Put { bytes: b"gone".to_vec(), label: String::new(), survives: false });
            put(&file, &end, b"two");
            put(&file, &other, b"of another");
            assert_eq!(attach(&file, "p").left, [], "its owner is alive");
        }
        let file = SpillFile::beside(&path(&folder));
        let end = attach(&file, "p");
        assert_eq!(
            end.left.iter().map(|(_, size, label)| (*size, label.as_str())).collect::<Vec<_>>(),
            [(3, "f"), (3, "f")]
        );
        file.release(end.owner);
        let again = attach(&file, "p");
        assert_eq!(again.left.len(), 2, "within one run, when the owner is gone");
        file.fetch(again.owner, again.left.iter().map(|left| left.0).collect());
        assert_eq!([next(&again).1, next(&again).1], [Taken::Bytes(b"one".to_vec()), Taken::Bytes(b"two".to_vec())]);
    }

    #[test]
    fn a_full_disk_is_told_and_what_is_there_can_be_taken() {
        let folder = tempfile::tempdir().unwrap();
        let file = SpillFile::at(&path(&folder), Some(64 << 10));
        let end = attach(&file, "p");
        let first = put(&file, &end, &[1; 10_000]);
        let many: Vec<u64> = (0..20).map(|_| put(&file, &end, &[2; 10_000])).collect();
        let (place, unwritten) = next(&end);
        assert!(many.contains(&place) && matches!(unwritten, Taken::Unwritten(_)), "{unwritten:?}");
        file.fetch(end.owner, vec![first]);
        let taken = std::iter::repeat_with(|| next(&end)).find(|(place, _)| *place == first).unwrap();
        assert_eq!(taken.1, Taken::Bytes(vec![1; 10_000]));
    }

    fn refusal(at: &Path) -> String {
        SpillFile::at(at, None).attach("p", "b", Box::new(|_, _| ())).unwrap_err()
    }

    #[test]
    fn a_file_that_others_can_write_or_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = SpillFile::at(&path(&folder), None);
        let _end = attach(&file, "p");
        assert!(refusal(&path(&folder)).contains("another run"));
        drop(file);
        std::fs::set_permissions(path(&folder), std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(refusal(&path(&folder)).contains("others can write it"));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(path(&folder), &link).unwrap();
        assert!(!refusal(&link).is_empty());
    }
}
