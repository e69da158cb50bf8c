//! CLOCK_MONOTONIC, the clock of every time this terminal names.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds.
pub fn monotonic_ns() -> u64 {
    // The clock exists on every Linux; a failure here would be the kernel's.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Microseconds.
pub fn monotonic_us() -> u64 {
    monotonic_ns() / 1000
}
