//! Records of one kind: all counted, the first ones kept.

/// Counts every record and keeps the first few, for the report.
#[derive(Clone, Debug)]
pub struct Ledger<T> {
    count: u64,
    kept: Vec<T>,
    limit: usize,
}

impl<T> Ledger<T> {
    /// Keeps up to `limit` records.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { count: 0, kept: Vec::new(), limit }
    }

    /// Takes a record in; `make` is called only if it will be kept.
    pub fn add(&mut self, make: impl FnOnce() -> T) {
        self.count += 1;
        if self.kept.len() < self.limit {
            self.kept.push(make());
        }
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
        let room = self.limit.saturating_sub(self.kept.len());
        self.kept.extend(other.kept.into_iter().take(room));
    }
}
