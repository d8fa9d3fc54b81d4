//! Asks the system for large pages where a table lies that is read at random places.

/// Bytes of a large page on the processors where it matters; elsewhere nothing is gained and nothing lost.
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

/// Most bytes that the allocator takes from what it keeps for a thread; more come from the system and go back there.
const MAX_KEPT: usize = 14 << 20;

/// Has the allocator take the next bytes that this thread asks for, about so many, from large pages: for much that is made
/// of small parts and all used at once. To bring memory in 4 KiB at a time takes several times as long.
pub fn expect_use(bytes: usize) {
    if bytes >= LARGE_PAGE {
        let room: Vec<u8> = Vec::with_capacity(bytes.min(MAX_KEPT));
        ask_large_pages(&room);
        // Without this the compiler leaves the vector out.
        std::hint::black_box(&room);
    }
}

/// Makes room for more in a table that is read at random places. A table that becomes larger than a large page moves into
/// such pages, which have to be asked for before anything lies in them.
#[inline]
pub fn make_room<T>(table: &mut Vec<T>, more: usize) {
    if table.capacity() - table.len() < more {
        move_to_larger(table, more);
    }
}

#[cold]
#[inline(never)]
fn move_to_larger<T>(table: &mut Vec<T>, more: usize) {
    let room = (table.capacity() * 2).max(table.len() + more);
    if room * size_of::<T>() < LARGE_PAGE {
        table.reserve(more);
        return;
    }
    let mut larger = Vec::with_capacity(room);
    ask_large_pages(&larger);
    larger.append(table);
    *table = larger;
}

/// Makes a table as long as this at least, as [`make_room`] does; what is new in it has the same value everywhere.
#[inline]
pub fn lengthen<T: Clone>(table: &mut Vec<T>, len: usize, value: T) {
    if table.len() < len {
        make_room(table, len - table.len());
        table.resize(len, value);
    }
}

/// A table of equal values, in large pages if it is so large.
pub fn filled<T: Clone>(len: usize, value: T) -> Vec<T> {
    let mut table = Vec::new();
    lengthen(&mut table, len, value);
    table
}

/// A table of zeros, in large pages if it is so large. Memory that comes from the system is zero already, so that nothing
/// is written to it before its time.
pub fn zeros(len: usize) -> Vec<u64> {
    let table = vec![0; len];
    ask_large_pages(&table);
    table
}

#[cfg(test)]
mod tests {
    use super::{ask_large_pages, filled, lengthen, make_room, zeros};

    #[test]
    fn contents_stay_as_they_are() {
        ask_large_pages(&Vec::<u8>::new());
        let mut table = Vec::with_capacity(3 << 20);
        table.extend((0..2_u32 << 18).map(|number| number as u8));
        ask_large_pages(&table);
        assert!(table.iter().zip(0_u32..).all(|(&byte, number)| byte == number as u8));
    }

    #[test]
    fn a_table_that_moves_to_larger_pages_keeps_what_is_in_it() {
        let mut table = Vec::new();
        for number in 0..600_000_u64 {
            make_room(&mut table, 1);
            table.push(number);
        }
        assert!(table.iter().copied().eq(0..600_000));
        lengthen(&mut table, 900_000, 7);
        lengthen(&mut table, 10, 8);
        assert_eq!((table.len(), table[599_999], table[600_000], table[899_999]), (900_000, 599_999, 7, 7));
        assert_eq!(filled(3, 'x'), ['x'; 3]);
        assert_eq!(zeros(600_000), [0; 600_000]);
        make_room(&mut Vec::<()>::new(), 1);
    }
}
