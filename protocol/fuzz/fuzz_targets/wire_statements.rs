//! Any bytes through `heliostat_wire::oracle::statements`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_wire::oracle::statements(bytes));
