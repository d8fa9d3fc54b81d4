//! See `targets::closure_bytes`.
#![no_main]

use millstream_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::closure_bytes(bytes));
