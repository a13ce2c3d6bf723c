//! See `culver_fuzz::compressed_body`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| culver_fuzz::compressed_body(data));
