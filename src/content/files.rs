//! Bodies become files: written as their bytes come, cut into chunks, handed on when complete.
//!
//! Written in place, on the packet thread. In a file system in memory a write is a copy and never waits for a device,
//! while handing bytes to a writer's thread costs a copy of its own and a hand-over for each piece, and a point to wait for
//! it, since the file has to be there when its callback is made. `tests/bench/README.md` has the figures.

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

/// A file being written.
#[derive(Debug)]
struct Writing {
    path: Rc<str>,
    file: Option<File>,
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
        Self { path: Rc::clone(path), file: None, offset: 0, len: 0, exists: false, cut: false }
    }

    /// Name of the current chunk while it is written. A first chunk may yet become the whole file.
    fn current(&self) -> String {
        if self.offset == 0 { self.path.to_string() } else { self.part() }
    }

    fn part(&self) -> String {
        format!("{}.{}.part", self.path, self.offset)
    }
}

/// The files of one engine that are being written, by number of their content.
#[derive(Debug)]
pub struct Files {
    rules: FileRules,
    writing: HashMap<u64, Writing>,
    /// Those that are open, oldest first; some may have been closed since.
    open: VecDeque<u64>,
    counts: ContentCounts,
}

impl Files {
    /// No files.
    #[must_use]
    pub fn new(rules: FileRules) -> Self {
        Self { rules, writing: HashMap::new(), open: VecDeque::new(), counts: ContentCounts::default() }
    }

    /// The next bytes of a content, with the full name of its file; files that are complete now are added to `finished`.
    pub fn write(&mut self, number: u64, path: &Rc<str>, mut bytes: &[u8], finished: &mut Vec<Finished>) {
        let mut writing = self.writing.remove(&number).unwrap_or_else(|| Writing::new(path));
        while !bytes.is_empty() && !writing.cut {
            if writing.len == self.rules.chunk {
                self.finish_chunk(&mut writing, finished);
            }
            let room = usize::try_from(self.rules.chunk - writing.len).unwrap_or(usize::MAX);
            let piece = &bytes[..bytes.len().min(room)];
            let written = self.append(number, &mut writing, piece);
            bytes = &bytes[written..];
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
        if writing.exists {
            let (path, len) = (writing.current(), writing.len);
            drop(writing.file.take());
            self.hand_on(path, len, Extent::Whole, finished);
        }
    }

    /// Nobody wants a content any more.
    pub fn abandon(&mut self, number: u64) {
        let Some(writing) = self.writing.remove(&number) else { return };
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

    /// Appends bytes to the current chunk; how many were written. Less than all cuts the content there.
    fn append(&mut self, number: u64, writing: &mut Writing, bytes: &[u8]) -> usize {
        let wanted = bytes.len() as u64;
        let written = if self.rules.ram.reserve(wanted) {
            let written = self.put(number, writing, bytes);
            if written < bytes.len() {
                self.rules.ram.release(wanted - written as u64);
            }
            written
        } else {
            0
        };
        writing.len += written as u64;
        if written < bytes.len() || !writing.exists {
            writing.cut = true;
            drop(writing.file.take());
            if writing.len == 0 && std::mem::take(&mut writing.exists) {
                let _gone = fs::remove_file(writing.current());
            }
            if writing.offset + writing.len == 0 {
                self.counts.files_not_written += 1;
            } else {
                self.counts.files_cut += 1;
            }
        }
        written
    }

    /// Opens the file if needed and writes; a full disk writes as much as there is room for.
    fn put(&mut self, number: u64, writing: &mut Writing, bytes: &[u8]) -> usize {
        if writing.file.is_none() {
            let path = writing.current();
            let path = Path::new(&path);
            let opened = if writing.exists { self.rules.ram.reopen(path) } else { self.rules.ram.create(path) };
            let Ok(file) = opened else { return 0 };
            writing.exists = true;
            writing.file = Some(file);
            self.close_oldest();
            self.open.push_back(number);
        }
        let Some(file) = &mut writing.file else { return 0 };
        let mut written = 0;
        while written < bytes.len() {
            match file.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(count) => written += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        written
    }

    fn close_oldest(&mut self) {
        while self.open.len() >= MAX_OPEN {
            let Some(oldest) = self.open.pop_front() else { return };
            if let Some(writing) = self.writing.get_mut(&oldest) {
                writing.file = None;
            }
        }
    }

    /// The current chunk is complete and not the whole content; the next one follows it.
    fn finish_chunk(&mut self, writing: &mut Writing, finished: &mut Vec<Finished>) {
        drop(writing.file.take());
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
        assert!(files.writing.values().filter(|writing| writing.file.is_some()).count() <= super::MAX_OPEN);
        (0..300).for_each(|n| files.end(n, &path(n), &mut done));
        assert!(done.iter().all(|done| fs::read(done.file.path()).unwrap() == b"onetwo"));
    }

    #[test]
    fn what_is_abandoned_leaves_nothing() {
        let (mut files, ram) = files(100, 100);
        let path: Rc<str> = format!("{}/f", ram.directory()).into();
        files.write(1, &path, b"abc", &mut Vec::new());
        files.abandon(1);
        assert!(fs::metadata(&*path).is_err() && ram.used() == 0);
    }
}
