//! Bytes on the wire: everything on the loopback interface of a namespace in which nothing else
//! talks, in both directions, with all headers and 14 bytes of link header a packet.

use std::process::Command;

use anyhow::{Context, ensure};

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

/// Lets the loopback interface carry no more than this, in both directions together.
pub fn limit(mbit: u32) -> anyhow::Result<()> {
    let rate = format!("{mbit}mbit");
    let run = |program: &str, arguments: &[&str]| -> anyhow::Result<()> {
        let status = Command::new(program).args(arguments).status();
        let status = status.with_context(|| format!("run {program} (package iproute2)"))?;
        ensure!(status.success(), "{program} cannot limit the link");
        Ok(())
    };
    // A packet of the loopback interface's own size would be larger than the bucket and be lost.
    run("ip", &["link", "set", "lo", "mtu", "1500"])?;
    let filter = [
        "qdisc", "replace", "dev", "lo", "root", "tbf", "rate", &rate,
    ];
    let bucket = ["burst", "64kb", "latency", "200ms"];
    run("tc", &[&filter[..], &bucket[..]].concat())
}
