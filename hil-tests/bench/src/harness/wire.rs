//! Bytes on the wire: everything on the loopback interface of a namespace in which nothing else
//! talks, in both directions, with all headers and 14 bytes of link header a packet.

use anyhow::Context;

/// Bytes since the namespace was made.
pub fn bytes_so_far() -> anyhow::Result<u64> {
    // /sys would show the namespace it was mounted in.
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").context("count bytes on lo")?;
    let row = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let sent = row.and_then(|row| row.split_whitespace().nth(8)?.parse().ok());
    sent.context("the kernel does not count bytes on lo")
}
