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
    since: Costs,
}

/// Processor time, of each process, at a moment.
struct Costs {
    server: cpu::Times,
    client: cpu::Times,
    at_us: u64,
}

/// Processor time over a time.
struct Spent {
    server_ms: f64,
    client_ms: f64,
    seconds: f64,
}

impl Costs {
    fn so_far(running: &Running) -> Self {
        Self {
            server: cpu::times(running.servers),
            client: cpu::times(running.clients),
            at_us: monotonic_us(),
        }
    }

    fn until_now(&self, running: &Running) -> Spent {
        let now = Self::so_far(running);
        let ms = |before, after| cpu::between(before, after) as f64 / 1e6;
        Spent {
            server_ms: ms(&self.server, &now.server),
            client_ms: ms(&self.client, &now.client),
            seconds: (now.at_us - self.at_us) as f64 / 1e6,
        }
    }
}

impl Meter {
    /// Starts counting.
    pub fn start(link: &Link, running: &Running) -> anyhow::Result<Self> {
        Ok(Self {
            bytes: link.bytes_so_far()?,
            link: link.clone(),
            since: Costs::so_far(running),
        })
    }

    /// Adds what a second of the workload costs, which has just ended. What comes after it, until the
    /// picture is at rest, takes longer on some systems than on others and would thin this out.
    pub fn note_per_second(&self, running: &Running, figures: &mut Figures) {
        let spent = self.since.until_now(running);
        figures.server_ms_per_s = Some(round(spent.server_ms / spent.seconds));
        figures.client_ms_per_s = Some(round(spent.client_ms / spent.seconds));
    }

    /// Stops counting and adds what was counted.
    pub fn stop(self, running: &Running, figures: &mut Figures) -> anyhow::Result<()> {
        let spent = self.since.until_now(running);
        figures.bytes += self.link.bytes_so_far()? - self.bytes;
        figures.server_ms = round(figures.server_ms + spent.server_ms);
        figures.client_ms = round(figures.client_ms + spent.client_ms);
        figures.seconds = round(figures.seconds + spent.seconds);
        figures.note_memory(cpu::memory(running.servers), &cpu::memory(running.clients));
        Ok(())
    }
}
