//! Asks the memory for what is needed soon.

/// Asks for the cache line of a value, and does not wait for it. Does nothing on processors other than x86-64.
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "the instruction has no safe form"))]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction changes nothing that can be seen and never faults, whatever the address.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(value).cast());
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
