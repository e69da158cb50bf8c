//! Any bytes through `heliostat_wire::oracle::preamble`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_wire::oracle::preamble(bytes));
