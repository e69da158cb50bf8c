//! Any bytes through `heliostat_link::hostile_copies`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_link::hostile_copies(bytes));
