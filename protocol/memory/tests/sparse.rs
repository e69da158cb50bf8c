//! How much of a large piece is there when little of it was touched. By itself in its process, whose
//! memory nobody else changes meanwhile.

use std::fs::read_to_string;
use std::hint::black_box;

#[global_allocator]
static MEMORY: heliostat_memory::Pages = heliostat_memory::Pages;

/// Resident anonymous memory of this process in KiB.
fn resident_kib() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}

/// What QUIC receives into: 32 messages, each with room for 64 packets of 1472 bytes.
#[test]
fn buffer_of_which_little_is_used_has_little() {
    const MESSAGE: usize = 64 * 1472;
    let before = resident_kib();
    let mut buffer = black_box(vec![0u8; 32 * MESSAGE]);
    for message in buffer.chunks_mut(MESSAGE) {
        message[..100].fill(1);
    }
    black_box(&mut buffer);
    let added = resident_kib() - before;
    assert!((32 * 4..512).contains(&added), "{added} KiB");
}
