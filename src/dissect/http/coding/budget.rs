//! What the decoders of a thread may hold together.

use std::cell::Cell;
use std::marker::PhantomData;

/// Most bytes that all decoders of a thread hold. They are few and large: 48 KiB for deflate, up to 8 MiB for Zstandard
/// and 16 MiB for Brotli.
pub(super) const MAX_HELD: usize = 128 << 20;

thread_local! {
    // Flows of an engine live and die on its thread, so the sum needs no owner that every dissector would have to know.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    bytes: usize,
    /// Must be dropped on the thread that took it.
    here: PhantomData<*const ()>,
}

impl Share {
    /// Takes a share, if there is that much left.
    pub fn take(bytes: usize) -> Option<Self> {
        let held = HELD.get().checked_add(bytes).filter(|held| *held <= MAX_HELD)?;
        HELD.set(held);
        Some(Self { bytes, here: PhantomData })
    }

    /// Sets the share to what is really used, even beyond the limit: then nobody takes a new one.
    pub fn set(&mut self, bytes: usize) {
        HELD.set((HELD.get() - self.bytes).saturating_add(bytes));
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        HELD.set(HELD.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_refused_above_the_limit_and_come_back() {
        let mut first = Share::take(MAX_HELD - 10).expect("all is there");
        assert!(Share::take(11).is_none());
        let second = Share::take(10).expect("ten are left");
        first.set(100);
        drop(second);
        assert_eq!(HELD.get(), 100);
        drop(first);
        assert_eq!(HELD.get(), 0);
    }
}
