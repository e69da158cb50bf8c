//! Any bytes through `heliostat_wire::oracle::decode_control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_wire::oracle::decode_control(bytes));
