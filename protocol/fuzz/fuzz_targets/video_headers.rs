//! Any bytes through `heliostat_video::oracle::headers`: what is read before a hardware decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_video::oracle::headers(bytes));
