//! The codings that a header names.

/// Most codings on top of each other that are taken off.
const MAX_CODINGS: usize = 3;

/// A content or transfer coding other than chunked and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dissect::http) enum Coding {
    /// gzip.
    Gzip,
    /// deflate, with or without the zlib frame.
    Deflate,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
    /// Any other.
    Unknown,
}

impl Coding {
    /// The coding of a name.
    pub fn of(name: &[u8]) -> Self {
        const NAMES: [(&[u8], Coding); 6] = [
            (b"gzip", Coding::Gzip),
            (b"x-gzip", Coding::Gzip),
            (b"deflate", Coding::Deflate),
            (b"br", Coding::Brotli),
            (b"zstd", Coding::Zstd),
            (b"x-zstd", Coding::Zstd),
        ];
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or(Self::Unknown, |(_, coding)| *coding)
    }
}

/// The codings of a body, in the order in which they were applied.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::dissect::http) struct Codings {
    list: [Option<Coding>; MAX_CODINGS],
    count: usize,
}

impl Codings {
    /// One more was applied.
    pub fn applied(&mut self, coding: Coding) {
        if let Some(place) = self.list.get_mut(self.count) {
            *place = Some(coding);
        }
        self.count = self.count.saturating_add(1);
    }

    /// True if there are more than are taken off: then none is.
    pub const fn is_too_many(&self) -> bool {
        self.count > MAX_CODINGS
    }

    /// Those that can be taken off, the outermost first: none behind an unknown one.
    pub fn removable(&self) -> impl Iterator<Item = Coding> {
        let count = if self.is_too_many() { 0 } else { self.count };
        self.list[..count].iter().rev().flatten().copied().take_while(|coding| *coding != Coding::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removable(names: &[&str]) -> Vec<Coding> {
        let mut codings = Codings::default();
        names.iter().for_each(|name| codings.applied(Coding::of(name.as_bytes())));
        codings.removable().collect()
    }

    #[test]
    fn the_last_one_applied_comes_off_first() {
        assert_eq!(removable(&["GZip", "br"]), [Coding::Brotli, Coding::Gzip]);
        assert_eq!(removable(&["deflate", "zstd", "x-gzip"]), [Coding::Gzip, Coding::Zstd, Coding::Deflate]);
    }

    #[test]
    fn nothing_comes_off_below_an_unknown_one_nor_of_too_many() {
        assert_eq!(removable(&["gzip", "compress"]), []);
        assert_eq!(removable(&["compress", "gzip"]), [Coding::Gzip]);
        assert_eq!(removable(&["gzip", "gzip", "gzip", "gzip"]), []);
    }
}
