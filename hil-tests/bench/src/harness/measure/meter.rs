//! What is counted over a time: bytes and processor time.

use hil_local::terminal::monotonic_us;

use crate::harness::cpu;
use crate::harness::figures::{Figures, round};
use crate::harness::systems::Running;
use crate::link::Link;

/// The counters when it was started.
pub struct Meter {
    link: Link,
    bytes: u64,
    server: cpu::Times,
    client: cpu::Times,
    at_us: u64,
}

impl Meter {
    /// Starts counting.
    pub fn start(link: &Link, running: &Running) -> anyhow::Result<Self> {
        Ok(Self {
            bytes: link.bytes_so_far()?,
            link: link.clone(),
            server: cpu::times(running.servers),
            client: cpu::times(running.clients),
            at_us: monotonic_us(),
        })
    }

    /// Stops counting and adds what was counted.
    pub fn stop(self, running: &Running, figures: &mut Figures) -> anyhow::Result<()> {
        let ms = |ns: u64| round(ns as f64 / 1e6);
        let server_ns = cpu::between(&self.server, &cpu::times(running.servers));
        let client_ns = cpu::between(&self.client, &cpu::times(running.clients));
        figures.bytes += self.link.bytes_so_far()? - self.bytes;
        figures.server_ms += ms(server_ns);
        figures.client_ms += ms(client_ns);
        figures.seconds += round((monotonic_us() - self.at_us) as f64 / 1e6);
        figures.server_rss_mib = round(cpu::rss_mib(running.servers));
        Ok(())
    }
}
