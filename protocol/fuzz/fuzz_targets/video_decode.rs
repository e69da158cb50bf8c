//! Any bytes through `heliostat_video::oracle::decode`: what a terminal does with an access unit.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_video::oracle::decode(bytes));
