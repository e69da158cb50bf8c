//! What one run gives.

use serde::Serialize;

use super::cpu::{Process, in_all};
use super::pin::Pins;
use crate::workload::Workload;

/// Percentiles of times, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// 95 of 100 are at most this.
    pub p95: f64,
    /// 99 of 100 are at most this.
    pub p99: f64,
}

impl Times {
    /// Of samples in milliseconds.
    pub fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * samples.len() as f64).ceil() as usize;
            samples.get(rank.max(1) - 1).map(|ms| round(*ms))
        };
        Some(Self {
            p50: at(0.5)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
        })
    }
}

/// How a film looked while it played.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Film {
    /// Frames that were compared with what was drawn.
    pub compared: u32,
    /// PSNR of their mean difference; none where all were exactly right.
    pub psnr_db: Option<f64>,
    /// PSNR of the worst of them; none where all were exactly right.
    pub worst_psnr_db: Option<f64>,
}

/// One line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// The system.
    pub system: String,
    /// The link.
    pub link: String,
    /// What carried the picture, where the system says: `QUIC` or `TCP`.
    pub carrier: Option<String>,
    /// Which processors the ends had to themselves, where they had.
    pub pinned: Option<Pins>,
    /// The workload; `connect` for the way in.
    pub workload: String,
    /// Frames that the clock, the keys or the mouse asked for.
    pub asked: u32,
    /// Frames that the application drew.
    pub drawn: u32,
    /// Different frames seen at the viewer.
    pub seen: u32,
    /// Seconds that the run took.
    pub seconds: f64,
    /// From input to the picture that shows its effect.
    pub input_ms: Option<Times>,
    /// From the time a frame belongs to until it was seen.
    pub late_ms: Option<Times>,
    /// Bytes on the wire in both directions until the picture was at rest.
    pub bytes: u64,
    /// The same for a frame that was seen.
    pub bytes_per_frame: Option<u64>,
    /// Processor time of the server's processes, without the application's.
    pub server_ms: f64,
    /// The same for a frame that was seen.
    pub server_ms_per_frame: Option<f64>,
    /// The same for a second of the workload, without the wait for an exact picture after it; none
    /// where the workload has no length of its own.
    pub server_ms_per_s: Option<f64>,
    /// Processor time of the viewer.
    pub client_ms: f64,
    /// The same for a frame that was seen.
    pub client_ms_per_frame: Option<f64>,
    /// The same for a second of the workload.
    pub client_ms_per_s: Option<f64>,
    /// Resident memory of the server's processes at the end.
    pub server_rss_mib: f64,
    /// What of it is their own.
    pub server_private_mib: f64,
    /// Each of them.
    pub server_memory_mib: Vec<Process>,
    /// Resident memory of the viewer's processes at the end.
    pub client_rss_mib: f64,
    /// What of it is their own.
    pub client_private_mib: f64,
    /// From the last frame drawn until the picture was exactly right; none where it never was.
    pub exact_after_ms: Option<f64>,
    /// PSNR of the picture at rest where it was not exactly right.
    pub psnr_db: Option<f64>,
    /// How the film looked while it played, where there is one.
    pub film: Option<Film>,
    /// The machine's load when the run began.
    pub load: f64,
    /// What went wrong, where something did.
    pub error: Option<String>,
}

impl Figures {
    /// Figures of a run that has not happened.
    pub fn empty(system: &str, link: &str, workload: &str) -> Self {
        Self {
            system: system.to_owned(),
            link: link.to_owned(),
            carrier: None,
            pinned: None,
            workload: workload.to_owned(),
            asked: 0,
            drawn: 0,
            seen: 0,
            seconds: 0.0,
            input_ms: None,
            late_ms: None,
            bytes: 0,
            bytes_per_frame: None,
            server_ms: 0.0,
            server_ms_per_frame: None,
            server_ms_per_s: None,
            client_ms: 0.0,
            client_ms_per_frame: None,
            client_ms_per_s: None,
            server_rss_mib: 0.0,
            server_private_mib: 0.0,
            server_memory_mib: Vec::new(),
            client_rss_mib: 0.0,
            client_private_mib: 0.0,
            exact_after_ms: None,
            psnr_db: None,
            film: None,
            load: super::cpu::load(),
            error: None,
        }
    }

    /// Takes down the memory of both ends.
    pub fn note_memory(&mut self, servers: Vec<Process>, clients: &[Process]) {
        let (server, client) = (in_all(&servers), in_all(clients));
        (self.server_rss_mib, self.server_private_mib) = (server.rss, server.private);
        (self.client_rss_mib, self.client_private_mib) = (client.rss, client.private);
        self.server_memory_mib = servers;
    }

    /// Fills in what follows from the rest.
    pub fn per_frame(mut self) -> Self {
        if self.seen > 0 && self.workload != Workload::Idle.name() {
            let frames = f64::from(self.seen);
            self.bytes_per_frame = Some(self.bytes / u64::from(self.seen));
            self.server_ms_per_frame = Some(round(self.server_ms / frames));
            self.client_ms_per_frame = Some(round(self.client_ms / frames));
        }
        self
    }
}

/// Two digits are more than such figures hold.
pub fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
