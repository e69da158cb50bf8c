//! What a session says of itself when it is asked.
//!
//! Every field has a default and unknown ones are passed over, so that broker, session and
//! heliostatctl may be of different versions. Counters only grow within their scope: those of
//! [`SessionStats`] from the session's start, those of [`LinkStats`] from the attach. Whoever wants
//! a rate takes the difference of two answers.

use heliostat_wire::id::AttachId;
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets of [`EncodeStats::counts`], in microseconds. The frame interval of a
/// 60 Hz output is among them, for it is the question that the buckets are to answer. Other bounds
/// need another field, since the two sides may be of different versions.
pub const ENCODE_BOUNDS_US: [u32; 10] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_667, 33_333, 66_667, 133_333,
];

/// What a session has been doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionStats {
    /// Seconds since it started.
    pub up_s: u64,
    /// Milliseconds since it started: the clock for rates. Zero in sessions that do not
    /// say.
    pub up_ms: u64,
    /// Wayland clients connected.
    pub clients: u32,
    /// Windows mapped.
    pub windows: u32,
    /// Outputs that it composes, since the terminal cannot hold all of their layers.
    pub flat_outputs: u32,
    /// How often GLES was given up, by whoever composes and by whoever reads clients' buffers.
    pub gles_failures: u64,
    /// Frames sent since it started.
    pub frames: u64,
    /// Bytes of those frames.
    pub frame_bytes: u64,
    /// Frames acknowledged since it started.
    pub frames_shown: u64,
    /// Tiles brought up to date by frames since it started.
    pub tiles: u64,
    /// Tiles of which terminals have said what they hold, and which could be compared.
    pub cells_checked: u64,
    /// Those of them that they held wrongly: each counts a bug, or damaged memory.
    pub cells_wrong: u64,
    /// How long frames took to encode.
    pub encode: EncodeStats,
    /// How long changes took from their commit until the link had the frame that brings the last of
    /// them, waiting for the terminal included. Counts nothing in sessions that do not say.
    pub commit_to_link: EncodeStats,
    /// Films, and buffers of GPUs.
    pub films: FilmStats,
    /// Private memory in bytes.
    pub private_bytes: u64,
    /// The present attach, if there is one.
    pub link: Option<LinkStats>,
}

/// How long frames took from the first look at their tiles to the bytes that are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EncodeStats {
    /// Median of the last frames in microseconds.
    pub p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub p99_us: Option<u32>,
    /// Microseconds of all frames together.
    pub sum_us: u64,
    /// How many frames took at most each of [`ENCODE_BOUNDS_US`] and longer than the one before,
    /// and last how many took longer than all. Empty in sessions that do not count them.
    pub counts: Vec<u64>,
}

/// What became of films' pictures, from the session's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilmStats {
    /// Those that hardware has encoded, from their clients' buffers.
    pub by_hardware: u64,
    /// Those that were encoded in software.
    pub by_processor: u64,
    /// How often the hardware has failed.
    pub failures: u64,
    /// Bytes of pixels that the processor has read of clients' DMA-BUFs: none while hardware has them.
    pub read_bytes: u64,
    /// Median of the last times from a client's commit to the hardware's driver, in microseconds.
    pub commit_to_encoder_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub commit_to_encoder_p99_us: Option<u32>,
    /// Median of the last times from the hardware's bytes until their frame was with the link, in microseconds.
    pub coded_to_link_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub coded_to_link_p99_us: Option<u32>,
}

/// How a session link is doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinkStats {
    /// The attach, by which one link is told from the next.
    pub attach_id: Option<AttachId>,
    /// What carries it: `QUIC`, or `TCP` where UDP does not pass.
    pub carrier: String,
    /// Round-trip time in microseconds.
    pub rtt_us: u32,
    /// UDP or TCP payload bytes sent on this link.
    pub sent_bytes: u64,
    /// UDP datagrams sent on this link.
    pub sent_datagrams: u64,
    /// UDP or TCP payload bytes received on this link.
    pub received_bytes: u64,
    /// UDP datagrams received on this link.
    pub received_datagrams: u64,
    /// Packets lost.
    pub lost_packets: u64,
    /// Bytes that may be under way at once.
    pub congestion_window_bytes: u64,
    /// Median time from input at the terminal to the frame that shows it, in microseconds.
    pub input_to_photon_p50_us: Option<u32>,
    /// 99th percentile of the same.
    pub input_to_photon_p99_us: Option<u32>,
    /// How many frames have answered input.
    pub input_to_photon_count: u64,
    /// Their times together, in microseconds.
    pub input_to_photon_sum_us: u64,
    /// How far the terminal is behind; absent in sessions that do not say.
    pub behind: Option<Behind>,
}

/// How far a terminal is from holding exactly the newest pixels of every layer that it shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Behind {
    /// Frames that were sent and not acknowledged.
    pub frames_in_flight: u32,
    /// Tiles of those frames.
    pub tiles_in_flight: u64,
    /// Tiles that have changed and were not sent.
    pub dirty_tiles: u64,
    /// Seconds since which the terminal is known to be lossless: nothing is dirty and everything
    /// is acknowledged. None while it is not.
    pub lossless_since_s: Option<u64>,
    /// Layers that are shown; zero in sessions that do not say.
    pub layers: u32,
    /// Those of them that are not known to be exactly the newest pixels.
    pub layers_behind: u32,
    /// For how many milliseconds the one of them has not been that was exact the longest ago. None
    /// where all are exact.
    pub behind_for_ms: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stats_of_an_older_session_lack_fields_and_are_still_read() {
        let stats: SessionStats = serde_json::from_str(r#"{"frames":3}"#).unwrap();
        assert_eq!(stats.frames, 3);
        assert_eq!(stats.link, None);
        let older = r#"{"frames":3,"link":{"rtt_us":5,"sent_bytes":7}}"#;
        let stats: SessionStats = serde_json::from_str(older).unwrap();
        let link = stats.link.unwrap();
        assert_eq!((link.rtt_us, link.sent_bytes), (5, 7));
        assert_eq!((link.attach_id, link.behind), (None, None));
        assert_eq!(stats.encode, EncodeStats::default());
    }

    #[test]
    fn stats_of_a_newer_session_have_more_fields_and_are_still_read() {
        let newer = r#"{"frames":3,"encode":{"p50_us":9,"p90_us":11},"moons":1}"#;
        let stats: SessionStats = serde_json::from_str(newer).unwrap();
        assert_eq!(stats.encode.p50_us, Some(9));
    }

    #[test]
    fn bounds_ascend() {
        assert!(ENCODE_BOUNDS_US.is_sorted_by(|a, b| a < b));
    }
}
