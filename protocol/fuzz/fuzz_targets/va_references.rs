//! Any bytes through `heliostat_va::decoder::oracle::references`: what is kept of a stream for a hardware
//! decoder.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    heliostat_va::decoder::oracle::references(bytes);
});
