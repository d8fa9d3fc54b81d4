//! What the buckets of a coarse interval come to so far, so that it can be written without reading them again.

use std::mem::take;

use super::buckets::Word;

/// The words of every key, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sums {
    keys: Vec<i64>,
    words: Vec<f64>,
    /// Start of the latest bucket taken in.
    latest: Option<i64>,
}

impl Sums {
    /// Takes in the rows of a bucket, in the order of keys; `words` has those of a row from its number on. False, and
    /// nothing done, if it does not lie behind all before: last values are those of the latest bucket, and volumes count
    /// by whole buckets.
    #[must_use]
    pub(super) fn add(&mut self, columns: &[Word], bucket: i64, rows: &[(i64, usize)], words: &[f64]) -> bool {
        if self.latest.is_some_and(|latest| latest >= bucket) {
            return false;
        }
        self.latest = Some(bucket);
        let width = columns.len();
        let (keys, sums) = (take(&mut self.keys), take(&mut self.words));
        let largest = keys.len().max(rows.len());
        self.keys.reserve(largest);
        self.words.reserve(largest * width);
        let (mut known, mut rows) = (keys.iter().enumerate().peekable(), rows.iter().peekable());
        while let Some(key) = known.peek().map(|(_, key)| **key).into_iter().chain(rows.peek().map(|row| row.0)).min() {
            let begin = self.words.len();
            self.keys.push(key);
            match known.next_if(|(_, of)| **of == key) {
                Some((place, _)) => self.words.extend_from_slice(&sums[place * width..(place + 1) * width]),
                None => self.words.resize(begin + width, f64::NAN),
            }
            if let Some(&(_, at)) = rows.next_if(|row| row.0 == key) {
                for (index, column) in columns.iter().enumerate() {
                    column.fold.take(&mut self.words[begin + index], column.fold.of_bucket(words[at + index]));
                }
            }
        }
        true
    }

    /// Numbers held.
    pub(super) fn len(&self) -> usize {
        self.keys.len() + self.words.len()
    }

    /// Keys with their words, of which there are so many.
    pub(super) fn rows(&self, width: usize) -> impl ExactSizeIterator<Item = (i64, &[f64])> {
        self.keys.iter().enumerate().map(move |(place, key)| (*key, &self.words[place * width..(place + 1) * width]))
    }
}
