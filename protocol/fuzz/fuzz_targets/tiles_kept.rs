//! Any bytes through `heliostat_tiles::oracle::kept`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_tiles::oracle::kept(bytes));
