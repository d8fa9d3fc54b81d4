//! See `targets::tls::x509_text`.
#![no_main]

use millstream_fuzz::targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::tls::x509_text(bytes));
