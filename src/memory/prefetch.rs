//! Asks the memory for what is needed soon.

use std::ptr;

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Asks for the cache line where a value begins, and does not wait for it. Does nothing on processors other than x86-64.
#[inline(always)]
pub fn prefetch<T: ?Sized>(value: &T) {
    ask(ptr::from_ref(value).cast());
}

/// Asks for all cache lines of a value, whatever the order of its fields.
#[inline(always)]
pub fn prefetch_whole<T: ?Sized>(value: &T) {
    let (start, size): (*const u8, _) = (ptr::from_ref(value).cast(), size_of_val(value));
    for at in (0..size).step_by(LINE) {
        ask(start.wrapping_add(at));
    }
    if align_of_val(value) < LINE {
        ask(start.wrapping_add(size.saturating_sub(1)));
    }
}

/// Asks for the cache lines of some bytes.
#[inline(always)]
pub fn prefetch_bytes(bytes: &[u8]) {
    prefetch_whole(bytes);
}

/// Asks for the cache lines of `LEN` bytes from an offset on, a line's length at most. Nothing is asked of how many there are.
#[inline(always)]
pub fn prefetch_from<const LEN: usize>(bytes: &[u8], offset: usize) {
    const { assert!(LEN > 0 && LEN <= LINE) };
    let start = bytes.as_ptr().wrapping_add(offset);
    ask(start);
    ask(start.wrapping_add(LEN - 1));
}

#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction has no safe form"))]
fn ask(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction changes nothing that can be seen and never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::{prefetch, prefetch_bytes, prefetch_from, prefetch_whole};

    #[test]
    fn values_of_any_size_stay_as_they_are() {
        let (small, large) = ([7_u8; 3], [7_u64; 40]);
        prefetch(&small);
        prefetch(&large[..]);
        prefetch_whole(&());
        prefetch_whole(&small);
        prefetch_whole(&large);
        prefetch_bytes(&small);
        prefetch_bytes(&[]);
        prefetch_from::<54>(&small, 1);
        prefetch_from::<64>(&[], usize::MAX);
        assert_eq!((small, large), ([7; 3], [7; 40]));
    }
}
