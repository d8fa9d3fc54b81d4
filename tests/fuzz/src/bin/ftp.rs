//! See `targets::dissectors::ftp`.
#![no_main]

use millstream_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::dissectors::ftp(bytes));
