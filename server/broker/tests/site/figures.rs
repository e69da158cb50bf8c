//! How small.

use std::time::Instant;

use crate::broker::{Broker, people};

/// Tells how long the broker's part of an attach takes as well: card edge to attach, while its
/// session is running.
#[tokio::test]
async fn the_broker_stays_below_20_mib_over_200_attaches() {
    let broker = Broker::start();
    broker.add_card("c1", &people()[0]);
    let mut terminals = Vec::new();
    for number in 0..16 {
        terminals.push(broker.terminal(&format!("t{number}")).await);
    }
    drop(terminals[0].desktop("c1").await);
    let mut times = Vec::new();
    for round in 0..200 {
        let terminal = &mut terminals[round % 16];
        terminal.pull().await;
        let started = Instant::now();
        terminal.insert("c1").await;
        loop {
            // The terminal that had the desktop before may still have been told so.
            if let heliostat_wire::control::ToTerminal::Attach(_) = terminal.recv().await {
                break;
            }
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[100], times[198]);
    let rss_kib = rss_kib(broker.pid());
    eprintln!("edge to attach: p50 {p50:?}, p99 {p99:?}; broker: {rss_kib} KiB");
    assert!(rss_kib < 20 * 1024, "{rss_kib} KiB");
}

pub fn rss_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Rss:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
