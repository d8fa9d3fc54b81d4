//! Asks the system for large pages where a table lies that is read at random places.

/// Bytes of a large page on the processors where it matters; elsewhere nothing is gained and nothing lost.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Asks for large pages under all that a vector has room for. A table of a hundred megabytes in pages of 4 KiB needs more
/// of them than the processor remembers, so that each look-up waits for the page tables too. Does nothing for vectors
/// that are smaller than a large page, and on other systems.
#[cfg_attr(target_os = "linux", expect(unsafe_code, reason = "a call of the system"))]
pub fn ask_large_pages<T>(table: &Vec<T>) {
    #[cfg(target_os = "linux")]
    {
        let start = table.as_ptr().addr().next_multiple_of(LARGE_PAGE);
        let end = (table.as_ptr().addr() + table.capacity() * size_of::<T>()) / LARGE_PAGE * LARGE_PAGE;
        if start < end {
            let start = table.as_ptr().with_addr(start).cast_mut().cast();
            // SAFETY: the range is part of the vector's memory, whose contents the call leaves as they are; a system that
            // refuses changes nothing.
            unsafe { libc::madvise(start, end - start.addr(), libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = table;
}

#[cfg(test)]
mod tests {
    use super::ask_large_pages;

    #[test]
    fn contents_stay_as_they_are() {
        ask_large_pages(&Vec::<u8>::new());
        let mut table = Vec::with_capacity(3 << 20);
        table.extend((0..2_u32 << 18).map(|number| number as u8));
        ask_large_pages(&table);
        assert!(table.iter().zip(0_u32..).all(|(&byte, number)| byte == number as u8));
    }
}
