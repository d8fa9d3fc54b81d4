//! See `targets::dissectors::ssh`.
#![no_main]

use millstream_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::dissectors::ssh(bytes));
