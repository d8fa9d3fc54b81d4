//! Which of several shards has a key.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;

/// Deals keys out: each has one owner, the same one in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    count: usize,
}

impl Owners {
    /// So many of them.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self { count: if count == 0 { 1 } else { count } }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.count
    }

    /// The number of the owner of a key.
    #[must_use]
    pub fn place(self, key: &[u8]) -> usize {
        // A fixed seed: who has what must not differ from run to run.
        (FixedState::with_seed(0x6D73).hash_one(key) % self.count as u64) as usize
    }
}

/// The keys of one of several owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPart {
    /// All of them.
    pub owners: Owners,
    /// The number of this one.
    pub own: usize,
}

impl OwnPart {
    /// Whether it has a key.
    #[must_use]
    pub fn has(self, key: &[u8]) -> bool {
        self.owners.place(key) == self.own
    }
}

#[cfg(test)]
mod tests {
    use super::{OwnPart, Owners};

    #[test]
    fn every_key_has_one_owner_and_all_have_some() {
        let owners = Owners::new(3);
        let mut had = [0; 3];
        for n in 0..300_u32 {
            let key = n.to_string();
            let having: Vec<usize> = (0..3).filter(|&own| OwnPart { owners, own }.has(key.as_bytes())).collect();
            assert_eq!(having, [owners.place(key.as_bytes())]);
            had[having[0]] += 1;
        }
        assert!(had.iter().all(|count| *count > 50), "{had:?}");
        assert_eq!((Owners::new(0).place(b"k"), Owners::new(1).place(b"k")), (0, 0));
    }
}
