//! What is told of one second: the keys that were touched in it.

use super::GroupIndex;

/// What somebody wants to know of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attention {
    /// Keys that appear in a bucket.
    pub new_keys: bool,
    /// Every key touched in a second, with its values so far.
    pub updates: bool,
    /// Closed buckets.
    pub buckets: bool,
}

impl Attention {
    /// What either of two wants.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self {
            new_keys: self.new_keys || other.new_keys,
            updates: self.updates || other.updates,
            buckets: self.buckets || other.buckets,
        }
    }
}

/// Keys of one group that were touched in one second, in the order in which that happened.
#[derive(Clone, Debug)]
pub struct SecondKeys {
    group: GroupIndex,
    width: usize,
    /// Ends of the keys in `texts`.
    ends: Vec<u32>,
    texts: Vec<u8>,
    values: Vec<f64>,
}

impl SecondKeys {
    pub(super) fn new(group: GroupIndex, width: usize) -> Self {
        Self { group, width, ends: Vec::new(), texts: Vec::new(), values: Vec::new() }
    }

    pub(super) fn push(&mut self, key: &[u8], values: &[f64]) {
        self.texts.extend_from_slice(key);
        self.ends.push(self.texts.len() as u32);
        self.values.extend_from_slice(&values[..self.width]);
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> GroupIndex {
        self.group
    }

    /// Each key with the values accumulated in the open bucket, not divided by its length; no values if nobody asked.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[f64])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).enumerate().map(|(index, (from, &to))| {
            (&self.texts[from as usize..to as usize], &self.values[index * self.width..(index + 1) * self.width])
        })
    }

    /// Deals the keys out to several lists.
    #[must_use]
    pub fn split(self, parts: usize, part_of: impl Fn(&[u8]) -> usize) -> Vec<Self> {
        if parts < 2 {
            return vec![self];
        }
        let mut split: Vec<Self> = (0..parts).map(|_| Self::new(self.group, self.width)).collect();
        for (key, values) in self.iter() {
            split[part_of(key).min(parts - 1)].push(key, values);
        }
        split
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Attention;
    use crate::metrics::{GroupIndex, Shard, ShardConfig, Snapshot, Vartype, rehearsal};
    use crate::time::Timestamp;

    fn shard(attention: Attention) -> (Shard, GroupIndex) {
        let meters = [Vartype::RateCounter, Vartype::RunningCounter];
        let (mut shard, index) = rehearsal::shard(&meters, ShardConfig::default());
        shard.attend(index, attention);
        shard.advance(Timestamp::new(100, 0), |_| {});
        (shard, index)
    }

    fn second(shard: &mut Shard) -> Vec<(String, Vec<f64>)> {
        let text = |key: &[u8]| String::from_utf8_lossy(key).into_owned();
        let seconds = shard.take_second();
        seconds.iter().flat_map(|keys| keys.iter().map(|(key, values)| (text(key), values.to_vec()))).collect()
    }

    #[test]
    fn each_second_tells_the_keys_touched_in_it_with_their_sums_so_far() {
        let (mut shard, group) = shard(Attention { updates: true, ..Attention::default() });
        shard.update(group, b"b", 0, 5.0);
        shard.update(group, b"a", 0, 1.0);
        shard.update(group, b"b", 0, 5.0);
        assert_eq!(second(&mut shard), [("b".to_owned(), vec![10.0, 0.0]), ("a".to_owned(), vec![1.0, 0.0])]);
        assert_eq!(second(&mut shard), []);
        shard.update(group, b"a", 0, 0.0);
        assert_eq!(second(&mut shard), [("a".to_owned(), vec![1.0, 0.0])]);
        let mut closed = Vec::new();
        shard.advance(Timestamp::new(111, 0), |snapshot| {
            Snapshot::merge(vec![snapshot])[0]
                .for_each(|key, values| closed.push((String::from_utf8_lossy(key).into_owned(), values[0])));
        });
        // The bucket is what it would be without the seconds.
        let expected = [("a".to_owned(), 0.1), ("b".to_owned(), 1.0), ("SYS:GROUP_TOTALS".to_owned(), 1.1)];
        assert_eq!(closed, expected);
        shard.update(group, b"a", 0, 3.0);
        assert_eq!(second(&mut shard), [("a".to_owned(), vec![3.0, 0.0])]);
    }

    #[test]
    fn new_keys_are_told_once_a_bucket_and_carried_totals_are_none() {
        let (mut shard, group) = shard(Attention { new_keys: true, ..Attention::default() });
        let none = Vec::<f64>::new();
        shard.update(group, b"a", 1, 1.0);
        assert_eq!(second(&mut shard), [("a".to_owned(), none.clone())]);
        shard.update(group, b"a", 1, 1.0);
        shard.update(group, b"b", 0, 1.0);
        assert_eq!(second(&mut shard), [("b".to_owned(), none.clone())]);
        shard.advance(Timestamp::new(110, 0), |_| {});
        shard.update(group, b"a", 1, 1.0);
        assert_eq!(second(&mut shard), [], "a running total is in every bucket");
        shard.update(group, b"b", 0, 1.0);
        assert_eq!(second(&mut shard), [("b".to_owned(), none)]);
    }

    #[test]
    fn keys_with_a_running_total_are_told_in_later_buckets_too() {
        let (mut shard, group) = shard(Attention { updates: true, ..Attention::default() });
        shard.update(group, b"a", 1, 2.0);
        assert_eq!(second(&mut shard), [("a".to_owned(), vec![0.0, 2.0])]);
        shard.advance(Timestamp::new(110, 0), |_| {});
        assert_eq!(second(&mut shard), [], "carried over, not touched");
        shard.update(group, b"a", 0, 5.0);
        assert_eq!(second(&mut shard), [("a".to_owned(), vec![5.0, 2.0])]);
    }

    #[test]
    fn groups_nobody_follows_tell_nothing() {
        let (mut shard, group) = shard(Attention::default());
        shard.update(group, b"a", 0, 1.0);
        assert_eq!(second(&mut shard), []);
    }
}
