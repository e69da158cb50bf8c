//! What is to be said about the link and its streams.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::Frame;

/// Small frames to be sent before any stream's data. Each kind waits once at most, whatever the
/// peer does.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) ping: bool,
    pub(super) pong: bool,
    pub(super) windows: BTreeMap<u64, u64>,
    pub(super) streams: Option<u64>,
    pub(super) received: BTreeSet<u64>,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        let quiet = !self.ping && !self.pong && self.streams.is_none();
        quiet && self.windows.is_empty() && self.received.is_empty()
    }

    /// Appends everything that waits: there is little of it.
    pub(super) fn encode(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.pong) {
            Frame::Pong.encode(out);
        }
        if std::mem::take(&mut self.ping) {
            Frame::Ping.encode(out);
        }
        for (id, limit) in std::mem::take(&mut self.windows) {
            Frame::Window { id, limit }.encode(out);
        }
        if let Some(limit) = self.streams.take() {
            Frame::Streams { limit }.encode(out);
        }
        for id in std::mem::take(&mut self.received) {
            Frame::Received { id }.encode(out);
        }
    }
}
