//! Any bytes through `heliostat_wire::oracle::decode_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| heliostat_wire::oracle::decode_session(bytes));
