//! What a session says of itself when it is asked.
//!
//! Every field has a default and unknown ones are passed over, so that broker, session and
//! heliostatctl may be of different versions. Counters only grow within their scope: those of
//! [`SessionStats`] from the session's start, those of [`LinkStats`] from the attach. Whoever wants
//! a rate takes the difference of two answers.

use heliostat_wire::id::{AttachId, LayerId};
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets of [`EncodeStats::counts`], in microseconds. The frame interval of a
/// 60 Hz output is among them, for it is the question that the buckets are to answer. Other bounds
/// need another field, since the two sides may be of different versions.
pub const ENCODE_BOUNDS_US: [u32; 10] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_667, 33_333, 66_667, 133_333,
];

/// Layers of which a session says how each does: a desktop has fewer, and a client may make any
/// number.
pub const MAX_LAYERS: usize = 64;

/// Bytes of a carrier's name.
const MAX_CARRIER: usize = 16;

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

impl SessionStats {
    /// The same, with no more in any list than an honest session says: those of all sessions go into
    /// one answer.
    pub fn bounded(mut self) -> Self {
        for times in [&mut self.encode, &mut self.commit_to_link] {
            times.counts.truncate(ENCODE_BOUNDS_US.len() + 1);
        }
        if let Some(link) = &mut self.link {
            if link.carrier.len() > MAX_CARRIER {
                link.carrier.clear();
            }
            link.layers = link.layers.take().map(ShownLayers::bounded);
        }
        self
    }
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
    /// Each of the layers that it shows; absent in sessions that do not say.
    pub layers: Option<ShownLayers>,
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

/// The layers that a terminal shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShownLayers {
    /// Those with the most pixels, the largest first; at most [`MAX_LAYERS`].
    pub largest: Vec<LayerStats>,
    /// How many more there are.
    pub left_out: u32,
}

impl ShownLayers {
    /// Of all that are shown, in any order.
    pub fn new(mut all: Vec<LayerStats>) -> Self {
        let area = |layer: &LayerStats| u64::from(layer.w) * u64::from(layer.h);
        all.sort_unstable_by_key(|layer| (std::cmp::Reverse(area(layer)), layer.layer));
        let all = Self {
            largest: all,
            left_out: 0,
        };
        all.bounded()
    }

    fn bounded(mut self) -> Self {
        let more = self.largest.len().saturating_sub(MAX_LAYERS);
        self.largest.truncate(MAX_LAYERS);
        self.left_out = self.left_out.saturating_add(more as u32);
        self
    }
}

/// How a layer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStats {
    /// Its id on the session link.
    pub layer: LayerId,
    /// Pixels across.
    pub w: u32,
    /// Pixels down.
    pub h: u32,
    /// How its pixels are sent.
    pub kind: LayerKind,
    /// Seconds since which the terminal is known to show exactly its newest pixels. None while some
    /// of it is dirty, goes as a film, or is not acknowledged.
    #[serde(default)]
    pub lossless_since_s: Option<u64>,
}

/// How a layer's pixels are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LayerKind {
    /// All of them as they are.
    Tiles,
    /// Some of them, or all, as a video.
    Film,
    /// In a way that only newer versions know.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(id: u32, w: u32, h: u32) -> LayerStats {
        LayerStats {
            layer: LayerId(id),
            w,
            h,
            kind: LayerKind::Tiles,
            lossless_since_s: Some(3),
        }
    }

    #[test]
    fn the_largest_layers_are_listed_and_the_rest_are_counted() {
        let shown = ShownLayers::new(vec![layer(1, 10, 10), layer(3, 50, 4), layer(2, 4, 50)]);
        let ids = |shown: &ShownLayers| shown.largest.iter().map(|l| l.layer.0).collect::<Vec<_>>();
        assert_eq!((ids(&shown), shown.left_out), (vec![2, 3, 1], 0));
        let many: Vec<_> = (0..MAX_LAYERS as u32 + 7)
            .map(|id| layer(id, id + 1, u32::MAX))
            .collect();
        let shown = ShownLayers::new(many);
        assert_eq!((shown.largest.len(), shown.left_out), (MAX_LAYERS, 7));
        assert_eq!((ids(&shown)[0], ids(&shown)[MAX_LAYERS - 1]), (70, 7));
    }

    #[test]
    fn no_session_says_more_than_an_honest_one() {
        let honest = SessionStats {
            encode: EncodeStats {
                counts: vec![1; ENCODE_BOUNDS_US.len() + 1],
                ..EncodeStats::default()
            },
            link: Some(LinkStats {
                carrier: "QUIC".to_owned(),
                layers: Some(ShownLayers::new(vec![layer(1, 2, 3)])),
                ..LinkStats::default()
            }),
            ..SessionStats::default()
        };
        assert_eq!(honest.clone().bounded(), honest);
        let mut liar = honest.clone();
        liar.encode.counts.push(1);
        liar.commit_to_link.counts = vec![1; 9000];
        let link = liar.link.as_mut().unwrap();
        link.carrier = "q".repeat(MAX_CARRIER + 1);
        link.layers = Some(ShownLayers {
            largest: vec![layer(1, 2, 3); MAX_LAYERS + 2],
            left_out: u32::MAX - 1,
        });
        let bounded = liar.bounded();
        assert_eq!(bounded.encode, honest.encode);
        assert_eq!(
            bounded.commit_to_link.counts.len(),
            honest.encode.counts.len()
        );
        let link = bounded.link.unwrap();
        assert_eq!(link.carrier, "");
        let layers = link.layers.unwrap();
        assert_eq!(
            (layers.largest.len(), layers.left_out),
            (MAX_LAYERS, u32::MAX)
        );
    }

    #[test]
    fn a_layer_of_a_kind_that_only_a_newer_session_knows_is_listed() {
        let newer = r#"{"layer":7,"w":64,"h":32,"kind":"hologram","depth":3}"#;
        let read: LayerStats = serde_json::from_str(newer).unwrap();
        assert_eq!((read.layer, read.kind), (LayerId(7), LayerKind::Other));
        assert_eq!(read.lossless_since_s, None);
        let said = serde_json::to_string(&layer(7, 64, 32)).unwrap();
        let form = r#"{"layer":7,"w":64,"h":32,"kind":"tiles","lossless_since_s":3}"#;
        assert_eq!(said, form);
    }

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
        assert_eq!(link.layers, None);
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
