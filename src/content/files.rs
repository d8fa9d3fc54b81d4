//! Bodies become files: written as their bytes come, cut into chunks, handed on when complete.
//!
//! Written in place, on the packet thread. In a file system in memory a write is a copy and never waits for a device,
//! while handing bytes to a writer's thread costs a copy of its own and a hand-over for each piece, and a point to wait for
//! it, since the file has to be there when its callback is made. Segments are collected first: to write one takes the system
//! many times as long as to copy it. `tests/bench/README.md` has the figures.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::counts::ContentCounts;
use super::ram_fs::{RamFile, RamFs};

/// Files open at a time; others are opened again when their next bytes come.
const MAX_OPEN: usize = 128;
/// Bytes of an open file that are collected before they are written: whole pages, and few enough to stay in the cache.
const HELD: usize = 16 << 10;

/// How files are written.
#[derive(Clone, Debug)]
pub struct FileRules {
    /// Where.
    pub ram: Arc<RamFs>,
    /// Longest file that is not cut into chunks, and the length of these.
    pub chunk: u64,
}

/// A complete file or chunk.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The file; it stays as long as somebody holds this.
    pub file: Arc<RamFile>,
    /// How much of the content it is.
    pub extent: Extent,
}

/// How much of a content a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// One piece of a larger file.
    Chunk,
}

/// A file that is open.
#[derive(Debug)]
struct Open {
    file: File,
    /// Its last bytes, which are not written yet; never more than [`HELD`].
    held: Vec<u8>,
}

impl Open {
    /// Adds bytes and writes what is too much to hold; how many were lost because they could not be written.
    fn add(&mut self, mut bytes: &[u8]) -> usize {
        if self.held.len() + bytes.len() >= HELD {
            if !self.held.is_empty() {
                let (more, rest) = bytes.split_at(HELD - self.held.len());
                self.held.extend_from_slice(more);
                bytes = rest;
                let lost = self.flush();
                if lost > 0 {
                    return lost + bytes.len();
                }
            }
            let (pages, rest) = bytes.split_at(bytes.len() / HELD * HELD);
            bytes = rest;
            let lost = write(&mut self.file, pages);
            if lost > 0 {
                return lost + bytes.len();
            }
        }
        self.held.extend_from_slice(bytes);
        0
    }

    /// Writes what is held; how many bytes were lost.
    fn flush(&mut self) -> usize {
        let lost = write(&mut self.file, &self.held);
        self.held.clear();
        lost
    }
}

/// Writes bytes, on a full disk as many as there is room for; how many were not written.
fn write(file: &mut File, mut bytes: &[u8]) -> usize {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => break,
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    bytes.len()
}

/// A file being written.
#[derive(Debug)]
struct Writing {
    path: Rc<str>,
    open: Option<Open>,
    /// Offset of the current chunk in the content.
    offset: u64,
    /// Bytes of the current chunk.
    len: u64,
    /// There is a file for the current chunk.
    exists: bool,
    /// Nothing more is written.
    cut: bool,
}

impl Writing {
    fn new(path: &Rc<str>) -> Self {
        Self { path: Rc::clone(path), open: None, offset: 0, len: 0, exists: false, cut: false }
    }

    /// Name of the current chunk while it is written. A first chunk may yet become the whole file.
    fn current(&self) -> String {
        if self.offset == 0 { self.path.to_string() } else { self.part() }
    }

    fn part(&self) -> String {
        format!("{}.{}.part", self.path, self.offset)
    }

    /// Where bytes are held, if these are no more than that and the current chunk have room for.
    fn room_for(&mut self, bytes: usize, chunk: u64) -> Option<&mut Vec<u8>> {
        let is_full = self.len + bytes as u64 >= chunk;
        let held = self.open.as_mut().map(|open| &mut open.held)?;
        (!is_full && !self.cut && held.len() + bytes < HELD).then_some(held)
    }
}

/// The files of one engine that are being written, by number of their content.
#[derive(Debug)]
pub struct Files {
    rules: FileRules,
    writing: HashMap<u64, Writing>,
    /// Those that are open, oldest first; some may have been closed since.
    open: VecDeque<u64>,
    /// Room for what is held, of files that were closed.
    spare: Vec<Vec<u8>>,
    counts: ContentCounts,
}

impl Files {
    /// No files.
    #[must_use]
    pub fn new(rules: FileRules) -> Self {
        Self {
            rules,
            writing: HashMap::new(),
            open: VecDeque::new(),
            spare: Vec::new(),
            counts: ContentCounts::default(),
        }
    }

    /// The next bytes of a content, with the full name of its file; files that are complete now are added to `finished`.
    pub fn write(&mut self, number: u64, path: &Rc<str>, mut bytes: &[u8], finished: &mut Vec<Finished>) {
        if let Some(writing) = self.writing.get_mut(&number)
            && let Some(held) = writing.room_for(bytes.len(), self.rules.chunk)
            && self.rules.ram.reserve(bytes.len() as u64)
        {
            held.extend_from_slice(bytes);
            writing.len += bytes.len() as u64;
            return;
        }
        let mut writing = self.writing.remove(&number).unwrap_or_else(|| Writing::new(path));
        while !bytes.is_empty() && !writing.cut {
            if writing.len == self.rules.chunk {
                self.finish_chunk(&mut writing, finished);
                continue;
            }
            let room = usize::try_from(self.rules.chunk - writing.len).unwrap_or(usize::MAX);
            let piece = &bytes[..bytes.len().min(room)];
            if !self.append(number, &mut writing, piece) {
                break;
            }
            bytes = &bytes[piece.len()..];
            if writing.offset > 0 && writing.len == self.rules.chunk {
                self.finish_chunk(&mut writing, finished);
            }
        }
        self.counts.bytes_not_written += bytes.len() as u64;
        self.writing.insert(number, writing);
    }

    /// A content has ended.
    pub fn end(&mut self, number: u64, path: &Rc<str>, finished: &mut Vec<Finished>) {
        let mut writing = self.writing.remove(&number).unwrap_or_else(|| Writing::new(path));
        if writing.offset > 0 {
            if writing.len > 0 {
                self.finish_chunk(&mut writing, finished);
            }
            return;
        }
        if !writing.exists && !writing.cut {
            // Even an empty file is one.
            self.append(number, &mut writing, &[]);
        }
        self.close(&mut writing);
        if writing.exists {
            self.hand_on(writing.current(), writing.len, Extent::Whole, finished);
        }
    }

    /// Nobody wants a content any more.
    pub fn abandon(&mut self, number: u64) {
        let Some(mut writing) = self.writing.remove(&number) else { return };
        if let Some(mut open) = writing.open.take() {
            open.held.clear();
            self.spare.push(open.held);
        }
        if writing.exists {
            let _gone = fs::remove_file(writing.current());
            self.rules.ram.release(writing.len);
        }
    }

    /// What was done and what was cut off.
    #[must_use]
    pub const fn counts(&self) -> &ContentCounts {
        &self.counts
    }

    /// Appends bytes to the current chunk; false if there is no room for them, which cuts the content before them.
    fn append(&mut self, number: u64, writing: &mut Writing, bytes: &[u8]) -> bool {
        let wanted = bytes.len() as u64;
        if !self.rules.ram.reserve(wanted) {
            self.cut(writing);
            return false;
        }
        if !self.open(number, writing) {
            self.rules.ram.release(wanted);
            self.cut(writing);
            return false;
        }
        writing.len += wanted;
        let lost = writing.open.as_mut().map_or(0, |open| open.add(bytes));
        self.lose(writing, lost);
        true
    }

    /// Opens the file unless it is open; false if the system refuses.
    fn open(&mut self, number: u64, writing: &mut Writing) -> bool {
        if writing.open.is_some() {
            return true;
        }
        let path = writing.current();
        let path = Path::new(&path);
        let opened = if writing.exists { self.rules.ram.reopen(path) } else { self.rules.ram.create(path) };
        let Ok(file) = opened else { return false };
        writing.exists = true;
        self.close_oldest();
        self.open.push_back(number);
        let held = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(HELD));
        writing.open = Some(Open { file, held });
        true
    }

    /// Writes what is held of a file and closes it; what cannot be written cuts the content.
    fn close(&mut self, writing: &mut Writing) {
        let Some(mut open) = writing.open.take() else { return };
        let lost = open.flush();
        self.spare.push(open.held);
        self.lose(writing, lost);
    }

    fn close_oldest(&mut self) {
        while self.open.len() >= MAX_OPEN {
            let Some(oldest) = self.open.pop_front() else { return };
            if let Some(mut writing) = self.writing.remove(&oldest) {
                self.close(&mut writing);
                self.writing.insert(oldest, writing);
            }
        }
    }

    /// The last bytes of the current chunk could not be written.
    fn lose(&mut self, writing: &mut Writing, lost: usize) {
        if lost > 0 {
            let lost = lost as u64;
            writing.len -= lost;
            self.rules.ram.release(lost);
            self.counts.bytes_not_written += lost;
            self.cut(writing);
        }
    }

    /// Nothing more is written of a content.
    fn cut(&mut self, writing: &mut Writing) {
        if std::mem::replace(&mut writing.cut, true) {
            return;
        }
        self.close(writing);
        if writing.len == 0 && std::mem::take(&mut writing.exists) {
            let _gone = fs::remove_file(writing.current());
        }
        if writing.offset + writing.len == 0 {
            self.counts.files_not_written += 1;
        } else {
            self.counts.files_cut += 1;
        }
    }

    /// The current chunk is complete and not the whole content; the next one follows it.
    fn finish_chunk(&mut self, writing: &mut Writing, finished: &mut Vec<Finished>) {
        self.close(writing);
        if writing.cut && writing.offset == 0 {
            // It stays the whole file, as far as there was room.
            return;
        }
        let path = writing.part();
        let moved = writing.offset > 0 || fs::rename(writing.current(), &path).is_ok();
        let len = std::mem::take(&mut writing.len);
        writing.offset += len;
        if std::mem::take(&mut writing.exists) {
            if moved {
                self.hand_on(path, len, Extent::Chunk, finished);
            } else {
                self.rules.ram.release(len);
                self.counts.bytes_not_written += len;
            }
        }
    }

    fn hand_on(&mut self, path: String, len: u64, extent: Extent, finished: &mut Vec<Finished>) {
        self.counts.files += 1;
        self.counts.bytes += len;
        finished.push(Finished { file: Arc::new(RamFile::new(&self.rules.ram, path, len)), extent });
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let numbers: Vec<u64> = self.writing.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.abandon(number));
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, FileRules, Files, Finished};
    use crate::content::{AutoDelete, RamFs, RamFsOptions};
    use std::fs;
    use std::rc::Rc;
    use std::sync::Arc;

    fn files(chunk: u64, limit: u64) -> (Files, Arc<RamFs>) {
        let ram = RamFs::open(&RamFsOptions { directory: None, limit, auto_delete: AutoDelete::On }).unwrap();
        (Files::new(FileRules { ram: Arc::clone(&ram), chunk }), ram)
    }

    fn run(chunk: u64, limit: u64, pieces: &[&[u8]]) -> (Vec<(String, String, bool)>, Files) {
        let (mut files, ram) = files(chunk, limit);
        let path: Rc<str> = format!("{}/f", ram.directory()).into();
        let mut done: Vec<Finished> = Vec::new();
        for piece in pieces {
            files.write(7, &path, piece, &mut done);
        }
        files.end(7, &path, &mut done);
        let seen = done
            .iter()
            .map(|done| {
                let name = done.file.path().rsplit('/').next().unwrap().to_owned();
                (name, fs::read_to_string(done.file.path()).unwrap(), done.extent == Extent::Chunk)
            })
            .collect();
        drop(done);
        assert_eq!(ram.used(), 0, "everything is given back");
        assert!(files.writing.is_empty());
        (seen, files)
    }

    fn named(list: &[(&str, &str, bool)]) -> Vec<(String, String, bool)> {
        list.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), *c)).collect()
    }

    #[test]
    fn a_file_up_to_the_size_of_a_chunk_is_one_file() {
        assert_eq!(run(4, 100, &[b"ab", b"cd"]).0, named(&[("f", "abcd", false)]));
        assert_eq!(run(4, 100, &[]).0, named(&[("f", "", false)]));
    }

    #[test]
    fn a_larger_file_comes_in_chunks_with_their_offsets() {
        let expected = [("f.0.part", "abcd", true), ("f.4.part", "efgh", true), ("f.8.part", "i", true)];
        assert_eq!(run(4, 100, &[b"abcdefghi"]).0, named(&expected));
        assert_eq!(run(4, 100, &[b"abc", b"def", b"gh", b"i"]).0, named(&expected));
        assert_eq!(run(4, 100, &[b"abcdefgh"]).0, named(&expected[..2]), "no empty remainder");
    }

    #[test]
    fn without_room_a_file_is_cut_there_and_counted() {
        let (seen, files) = run(100, 5, &[b"abcd", b"efgh", b"ij"]);
        assert_eq!(seen, named(&[("f", "abcd", false)]));
        let counts = files.counts();
        assert_eq!((counts.files_cut, counts.bytes_not_written, counts.files_not_written), (1, 6, 0));
        let (seen, files) = run(100, 3, &[b"abcd"]);
        assert_eq!(seen, []);
        assert_eq!((files.counts().files_not_written, files.counts().bytes_not_written), (1, 4));
    }

    #[test]
    fn more_files_than_may_be_open_are_written_all_the_same() {
        let (mut files, ram) = files(100, 1 << 20);
        let path = |n: u64| -> Rc<str> { format!("{}/{n}", ram.directory()).into() };
        let mut done = Vec::new();
        for text in [b"one", b"two"] {
            (0..300).for_each(|n| files.write(n, &path(n), text, &mut done));
        }
        assert!(files.writing.values().filter(|writing| writing.open.is_some()).count() <= super::MAX_OPEN);
        (0..300).for_each(|n| files.end(n, &path(n), &mut done));
        assert!(done.iter().all(|done| fs::read(done.file.path()).unwrap() == b"onetwo"));
    }

    #[test]
    fn pieces_of_any_length_are_written_in_order() {
        let bytes: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut files, ram) = files(300_000, 1 << 20);
        let lengths = [1, 1460, super::HELD - 1461, 1, super::HELD, 5, super::HELD - 5, 3 * super::HELD + 7, 100_000];
        let mut done = Vec::new();
        for number in 0..lengths.len() {
            let path: Rc<str> = format!("{}/{number}", ram.directory()).into();
            let mut rest = &bytes[..];
            for &length in lengths.iter().cycle().skip(number) {
                let (piece, more) = rest.split_at(length.min(rest.len()));
                files.write(1, &path, piece, &mut done);
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            files.end(1, &path, &mut done);
            let read: Vec<u8> = done.drain(..).flat_map(|done| fs::read(done.file.path()).unwrap()).collect();
            assert!(read == bytes, "beginning with {}", lengths[number]);
        }
        assert!(files.spare.len() <= super::MAX_OPEN);
    }

    /// A file for reading only takes nothing, as one on a full disk.
    fn fill_disk(files: &mut Files) {
        let writing = files.writing.get_mut(&7).unwrap();
        writing.open.as_mut().unwrap().file = fs::File::open(writing.current()).unwrap();
    }

    #[test]
    fn what_was_held_and_could_not_be_written_cuts_the_file_before_it() {
        let large = vec![b'x'; 2 * super::HELD];
        let long = super::HELD as u64;
        for (chunk, first, more, kept) in [
            (1_000_000, &b"ab"[..], &b"cd"[..], 0),
            (1_000_000, b"ab", &large[..], 0),
            (1_000_000, &large[..], b"cd", 2 * long),
            (1_000_000, &large[1..], b"c", long),
            (4, b"ab", b"cdef", 0),
            (4, b"abcdef", b"gh", 4),
        ] {
            let (mut files, ram) = files(chunk, 1 << 20);
            let path: Rc<str> = format!("{}/f", ram.directory()).into();
            let mut done = Vec::new();
            files.write(7, &path, first, &mut done);
            fill_disk(&mut files);
            files.write(7, &path, more, &mut done);
            files.write(7, &path, b"more", &mut done);
            files.end(7, &path, &mut done);
            let written: u64 = done.iter().map(|done| fs::metadata(done.file.path()).unwrap().len()).sum();
            let all = (first.len() + more.len() + 4) as u64;
            assert_eq!((written, ram.used()), (kept, kept));
            let counts = files.counts();
            assert_eq!((counts.bytes, counts.bytes_not_written), (kept, all - kept));
            assert_eq!((counts.files_not_written, counts.files_cut), if kept == 0 { (1, 0) } else { (0, 1) });
            drop(done);
            assert_eq!(ram.used(), 0);
        }
    }

    #[test]
    fn what_is_abandoned_leaves_nothing() {
        let (mut files, ram) = files(100, 100);
        let path: Rc<str> = format!("{}/f", ram.directory()).into();
        files.write(1, &path, b"abc", &mut Vec::new());
        files.abandon(1);
        assert!(fs::metadata(&*path).is_err() && ram.used() == 0);
        let mut done = Vec::new();
        files.write(2, &path, b"de", &mut done);
        files.end(2, &path, &mut done);
        assert_eq!(fs::read(&*path).unwrap(), b"de");
    }
}
