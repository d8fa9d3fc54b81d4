//! Records of one kind: all counted, the first ones kept.

/// Bytes of texts that are kept of one kind, but for the record that goes beyond.
const MAX_BYTES: usize = 4 << 20;

/// How much text a record holds.
pub trait Texts {
    /// Bytes of its texts.
    fn bytes(&self) -> usize;
}

/// Counts every record and keeps the first few, for the report.
#[derive(Clone, Debug)]
pub struct Ledger<T> {
    count: u64,
    kept: Vec<T>,
    bytes: usize,
    limit: usize,
}

impl<T: Texts> Ledger<T> {
    /// Keeps up to `limit` records.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { count: 0, kept: Vec::new(), bytes: 0, limit }
    }

    /// Takes a record in; `make` is called only if it will be kept.
    pub fn add(&mut self, make: impl FnOnce() -> T) {
        self.count += 1;
        if self.has_room() {
            self.keep(make());
        }
    }

    fn has_room(&self) -> bool {
        self.kept.len() < self.limit && self.bytes < MAX_BYTES
    }

    fn keep(&mut self, record: T) {
        self.bytes += record.bytes();
        self.kept.push(record);
    }

    /// Counts records of which none would be kept.
    pub fn count_more(&mut self, count: u64) {
        self.count += count;
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first ones.
    #[must_use]
    pub fn kept(&self) -> &[T] {
        &self.kept
    }

    /// Appends the records of another engine.
    pub fn merge(&mut self, other: Self) {
        self.count += other.count;
        for record in other.kept {
            if !self.has_room() {
                break;
            }
            self.keep(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, MAX_BYTES, Texts};

    impl Texts for Vec<u8> {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    #[test]
    fn the_first_are_kept_within_a_number_and_a_size() {
        let mut few = Ledger::new(2);
        (0..3).for_each(|_| few.add(|| vec![0]));
        assert_eq!((few.count(), few.kept().len()), (3, 2));
        let mut large = Ledger::new(1_000);
        (0..100).for_each(|_| large.add(|| vec![0; MAX_BYTES / 10]));
        assert_eq!((large.count(), large.kept().len()), (100, 11));
        large.merge(few);
        assert_eq!((large.count(), large.kept().len()), (103, 11));
    }
}
