//! See `targets::dissectors::smtp`.
#![no_main]

use millstream_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::dissectors::smtp(bytes));
