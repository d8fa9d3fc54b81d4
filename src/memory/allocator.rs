//! The allocator of the program.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;

use mimalloc::MiMalloc;

/// mimalloc: records are made on one thread and dropped on another all the time, and the allocator of the C library takes
/// locks for that.
///
/// It keeps free pieces of a size in a list whose links lie in the pieces. To take one is to read its link, which waits for
/// memory where the piece was freed long ago, as strings of Lua are. So with every piece the one after it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

// SAFETY: all that is handed out and taken back is MiMalloc's.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by this function's contract.
        let piece = unsafe { MiMalloc.alloc(layout) };
        if !piece.is_null() {
            // SAFETY: no piece is shorter than a link, nor less aligned, and nothing is assumed of what it holds.
            let next = unsafe { piece.cast::<MaybeUninit<usize>>().read() };
            ask_for(next);
        }
        piece
    }

    #[inline]
    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        // SAFETY: by this function's contract.
        unsafe { MiMalloc.dealloc(piece, layout) };
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by this function's contract.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by this function's contract.
        unsafe { MiMalloc.realloc(piece, layout, size) }
    }
}

/// Asks for the line of the cache at an address, whatever it is.
#[inline(always)]
fn ask_for(address: MaybeUninit<usize>) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction changes nothing that can be seen and never faults.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use std::alloc::{GlobalAlloc, Layout};
    use std::slice;

    use super::Allocator;

    #[test]
    fn pieces_of_any_size_hold_what_is_put_into_them() {
        let mut pieces = Vec::new();
        for round in 0..3_u8 {
            for (size, align) in [(1, 1), (8, 8), (24, 8), (40, 64), (4_096, 16), (70_000, 4_096), (5 << 20, 8)] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not 0.
                let piece = unsafe { Allocator.alloc(layout) };
                assert!(!piece.is_null() && piece.addr().is_multiple_of(align));
                // SAFETY: the piece is that long.
                unsafe { piece.write_bytes(round, size) };
                pieces.push((piece, layout, round));
            }
            // Every other piece is given back, so that later ones come from lists of free ones.
            let mut place = 0;
            pieces.retain(|&(piece, layout, _)| {
                place += 1;
                if place % 2 == 0 {
                    // SAFETY: it was allocated with this layout, and nobody else gives it back.
                    unsafe { Allocator.dealloc(piece, layout) };
                }
                place % 2 != 0
            });
        }
        for (piece, layout, round) in pieces {
            // SAFETY: it was allocated with this layout, and the new size is not 0.
            let longer = unsafe { Allocator.realloc(piece, layout, 2 * layout.size()) };
            // SAFETY: the piece is at least that long, and so much of it was written.
            let kept = unsafe { slice::from_raw_parts(longer, layout.size()) };
            assert!(kept.iter().all(|byte| *byte == round));
            let layout = Layout::from_size_align(2 * layout.size(), layout.align()).unwrap();
            // SAFETY: it was allocated with this layout.
            unsafe { Allocator.dealloc(longer, layout) };
            // SAFETY: the size is not 0.
            let zeroed = unsafe { Allocator.alloc_zeroed(layout) };
            // SAFETY: the piece is that long, and all of it is zero.
            assert!(unsafe { slice::from_raw_parts(zeroed, layout.size()) }.iter().all(|byte| *byte == 0));
            // SAFETY: it was allocated with this layout.
            unsafe { Allocator.dealloc(zeroed, layout) };
        }
    }
}
